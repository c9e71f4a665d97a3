"""What `stnkit warp` makes of real picture files."""

import importlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures_on_disk import PIXELS, load, save
from PIL import Image, ImageCms

from stnkit.cli import pictures
from stnkit.cli.app import BLENDING, SURROUNDING


@pytest.fixture
def run(plain):
    """Return what runs a command line, uncompiled: each kind of picture would have kernels of its own."""
    return importlib.import_module("stnkit.cli.app").run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "photo.png", PIXELS["RGB"])


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("kind", "ending"),
    [(kind, ending) for ending in ("png", "tif") for kind in PIXELS if (kind, ending) != ("F", "png")],
)
def test_the_identity_returns_the_same_pixels(run, tmp_path: Path, kind: str, ending: str, mode: str) -> None:
    source = save(tmp_path / f"in.{ending}", PIXELS[kind])
    target = tmp_path / f"out.{ending}"
    assert run(["warp", str(source), str(target), "--mode", mode]) == 0
    assert pictures.read(target).pixels.dtype == PIXELS[kind].dtype
    np.testing.assert_array_equal(load(target), PIXELS[kind])


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("kind", ["L", "RGB", "I;16"])
@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_quarter_turns_are_exact(run, tmp_path: Path, kind: str, mode: str, turns: int) -> None:
    source = save(tmp_path / "in.png", PIXELS[kind])
    expected = np.rot90(PIXELS[kind], turns)
    size = f"{expected.shape[1]}x{expected.shape[0]}"
    words = ["warp", str(source), str(tmp_path / "out.png"), "--rotate", str(90 * turns)]
    assert run([*words, "--size", size, "--mode", mode]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), expected)


def test_a_square_picture_turns_in_place(run, tmp_path: Path) -> None:
    square = PIXELS["RGB"][:, :9]
    source = save(tmp_path / "in.png", square)
    assert run(["warp", str(source), str(source), "--rotate", "90"]) == 0
    np.testing.assert_array_equal(load(source), np.rot90(square))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_whole_pixel_translations_are_exact(run, photo: Path, tmp_path: Path, mode: str) -> None:
    words = ["warp", str(photo), str(tmp_path / "out.png"), "--translate", "3", "-2", "--mode", mode]
    assert run([*words, "--fill", "10,20,30"]) == 0
    expected = np.broadcast_to(np.array([10, 20, 30], np.uint8), (9, 14, 3)).copy()
    expected[:-2, 3:] = PIXELS["RGB"][2:, :-3]
    np.testing.assert_array_equal(load(tmp_path / "out.png"), expected)


def test_negative_scales_mirror(run, photo: Path, tmp_path: Path) -> None:
    assert run(["warp", "--scale", "-1,1", str(photo), str(tmp_path / "out.png")]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), PIXELS["RGB"][:, ::-1])


def test_scale_enlarges_about_the_centre(run, photo: Path, tmp_path: Path) -> None:
    words = ["warp", str(photo), str(tmp_path / "out.png"), "--scale", "3", "--size", "42x27"]
    assert run([*words, "--mode", "nearest"]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), PIXELS["RGB"].repeat(3, 0).repeat(3, 1))


def test_shear_leans_upright_lines_to_the_right(run, tmp_path: Path) -> None:
    line = np.zeros((21, 21), np.uint8)
    line[:, 10] = 255
    source = save(tmp_path / "in.png", line)
    assert run(["warp", str(source), str(tmp_path / "out.png"), "--shear", "45", "--mode", "nearest"]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), np.eye(21, dtype=np.uint8)[:, ::-1] * 255)


def test_theta_is_the_samplers_matrix(run, photo: Path, tmp_path: Path) -> None:
    theta = ["--theta", "-1", "0", "0", "0", "1", "0"]
    assert run(["warp", str(photo), str(tmp_path / "out.png"), *theta]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), PIXELS["RGB"][:, ::-1])


@pytest.mark.parametrize("mode", BLENDING)
def test_every_mode_is_accepted(run, photo: Path, tmp_path: Path, mode: str) -> None:
    assert run(["warp", str(photo), str(tmp_path / "out.png"), "--rotate", "10", "--mode", mode]) == 0
    assert load(tmp_path / "out.png").shape == (9, 14, 3)


@pytest.mark.parametrize("padding", SURROUNDING)
def test_every_padding_is_accepted(run, photo: Path, tmp_path: Path, padding: str) -> None:
    words = ["warp", str(photo), str(tmp_path / "out.png"), "--translate", "14", "0", "--mode", "nearest"]
    assert run([*words, "--padding", padding]) == 0
    pixels, black = PIXELS["RGB"], np.zeros((1, 1, 3), np.uint8)
    periodic = pixels[:, [12, 13, *range(1, 13)]]  # 13 pixels to the right, the last pixel is the first
    left = {"border": pixels[:, :1], "reflection": pixels[:, ::-1], "wrap": pixels, "periodic": periodic}
    left = left.get(padding, black)
    np.testing.assert_array_equal(load(tmp_path / "out.png"), np.broadcast_to(left, (9, 14, 3)))


def test_transparent_neighbours_lend_no_colour(run, tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[:, :4] = (200, 0, 0, 255)
    pixels[:, 4:] = (0, 255, 0, 0)
    source = save(tmp_path / "in.png", pixels)
    assert run(["warp", str(source), str(tmp_path / "out.png"), "--translate", "0.5", "0"]) == 0
    out = load(tmp_path / "out.png")
    visible = out[out[..., 3] > 0]
    np.testing.assert_array_equal(visible[:, :3], np.broadcast_to((200, 0, 0), visible[:, :3].shape))
    np.testing.assert_array_equal(out[1, :, 3], [128, 255, 255, 255, 128, 0, 0, 0])


def test_bicubic_overshoot_is_saturated(run, tmp_path: Path) -> None:
    pixels = np.repeat(np.array([[0, 0, 0, 255, 255, 255]], np.uint8), 4, 0)
    source = save(tmp_path / "in.png", pixels)
    words = ["--translate", "0.5", "0", "--mode", "bicubic", "--padding", "border"]
    assert run(["warp", str(source), str(tmp_path / "out.png"), *words]) == 0
    assert list(load(tmp_path / "out.png")[1]) == [0, 0, 0, 128, 255, 255]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_the_exif_orientation_is_applied(run, tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    source = save(tmp_path / f"in.{ending}", PIXELS["RGB"], exif=exif)
    assert run(["warp", str(source), str(tmp_path / "out.png")]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), np.rot90(PIXELS["RGB"], -1))


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_colours(run, tmp_path: Path, transparent: bool) -> None:
    image = Image.fromarray(PIXELS["RGB"]).quantize(8)
    image.save(tmp_path / "in.png", **({"transparency": 0} if transparent else {}))
    assert run(["warp", str(tmp_path / "in.png"), str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "in.png") as source:
        expected = np.array(source.convert("RGBA" if transparent else "RGB"))
    np.testing.assert_array_equal(load(tmp_path / "out.png"), expected)


def test_bilevel_pictures_become_gray(run, tmp_path: Path) -> None:
    save(tmp_path / "in.png", PIXELS["L"] > 127)
    assert run(["warp", str(tmp_path / "in.png"), str(tmp_path / "out.png")]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png"), (PIXELS["L"] > 127) * np.uint8(255))


def test_jpegs_are_read_and_written(run, tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "in.jpg", quality=95)
    assert run(["warp", str(tmp_path / "in.jpg"), str(tmp_path / "out.JPEG")]) == 0
    with Image.open(tmp_path / "out.JPEG") as out:
        assert (out.format, out.mode, out.size) == ("JPEG", "RGB", (60, 40))
        assert np.abs(np.array(out)[..., 0].astype(int) - smooth).max() <= 8


def test_the_colour_profile_is_kept(run, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = save(tmp_path / "in.png", PIXELS["RGB"], icc_profile=profile)
    assert run(["warp", str(source), str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "out.png") as out:
        assert out.info["icc_profile"] == profile


def test_16_bit_colour_is_announced_as_reduced(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    row = b"\0" + np.arange(0, 60000, 10000).astype(">u2").tobytes()
    source = tmp_path / "in.png"
    source.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))
    assert run(["warp", str(source), str(tmp_path / "out.png")]) == 0
    assert capsys.readouterr().err == f"stnkit: {source}: 16-bit colour was read as 8-bit\n"
    np.testing.assert_array_equal(load(tmp_path / "out.png").ravel(), np.arange(0, 60000, 10000) >> 8)


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_pages_that_are_not_read_are_announced(run, tmp_path: Path, capsys, ending: str) -> None:
    source = tmp_path / f"in.{ending}"
    first, *others = (Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 20, 30))
    first.save(source, save_all=True, append_images=others)
    assert run(["warp", str(source), str(tmp_path / "out.png")]) == 0
    assert capsys.readouterr().err == f"stnkit: {source}: the first of 3 pages was read\n"
    np.testing.assert_array_equal(load(tmp_path / "out.png"), 10)


def test_a_link_to_the_output_is_followed(run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    assert run(["warp", str(photo), str(tmp_path / "link.png")]) == 0
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(load(tmp_path / "real.png"), PIXELS["RGB"])


def test_every_kind_that_is_read_can_be_written_somewhere() -> None:
    written = {kind for kinds in pictures.HOLDS.values() for kind in kinds}
    assert set(pictures.KINDS.values()) <= written
    assert set(pictures.FORMATS.values()) == set(pictures.HOLDS)
