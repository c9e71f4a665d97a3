"""What `stnkit warp` makes of images in zarr and in tiled TIFF, which may be larger than memory."""

import errno
import importlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")
tifffile = pytest.importorskip("tifffile")

ROOT = Path(__file__).parents[1]
TURN = ["--rotate", "30", "--scale", "1.5"]


@pytest.fixture
def run(plain):
    """Return what runs a command line, uncompiled."""
    return importlib.import_module("stnkit.cli.app").run


def turned(package, image, size=None, *, scale=1.5, **options):
    """Return what TURN makes of an image, by the sampler alone."""
    from stnkit.transforms import centred_affine

    extent = image.shape[-2:] if options.get("data_format") != "channels_last" else image.shape[-3:-1]
    theta = centred_affine.theta_of(centred_affine.seen(30.0, (scale, scale)), extent, size or extent)
    whole = image.reshape(-1, *image.shape[-2:]) if image.ndim > 2 and "data_format" not in options else image
    whole = whole[None] if image.ndim == 2 else whole
    return package.affine_sample(whole, theta, size or extent, **options)


def ome(path, image, version):
    """Save an image as OME-Zarr, with two resolutions."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    axes = [{"name": name, "type": kind} for name, kind in (("c", "channel"), ("y", "space"), ("x", "space"))]
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5 * 2**k, 0.25 * 2**k]}]}
        for k in range(2)
    ]
    image_of = {"name": "cells", "axes": axes, "datasets": datasets}
    about = {"multiscales": [image_of], "omero": {"channels": [{"label": "DNA"}, {"label": "actin"}]}}
    group.attrs.update({"ome": {"version": version, **about}} if version == "0.5" else about)
    for k in range(2):
        part = image[:, :: 2**k, :: 2**k]
        array = group.create_array(str(k), shape=part.shape, chunks=(1, 32, 32), dtype=part.dtype)
        array[...] = part
    return about


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(run, plain, tmp_path, version):
    """The largest resolution is warped, and what is said of it is kept."""
    image = np.random.default_rng(0).integers(0, 60000, (2, 70, 90)).astype("uint16")
    about = ome(tmp_path / "in.zarr", image, version)
    out = tmp_path / "out.zarr"
    assert run(["warp", str(tmp_path / "in.zarr"), str(out), *TURN, "--fill", "5,7", "--workers", "2"]) == 0
    found = zarr.open_group(out, mode="r")
    np.testing.assert_array_equal(found["0"][...], turned(plain, image, fill_value=(5, 7)))
    kept = found.attrs.asdict()
    kept = kept["ome"] if version == "0.5" else kept
    assert kept["omero"] == about["omero"]
    own = about["multiscales"][0]
    assert kept["multiscales"] == [{**own, "datasets": own["datasets"][:1]}]
    assert found["0"].chunks == (1, 32, 32)
    assert found["0"].metadata.zarr_format == (3 if version == "0.5" else 2)
    assert not list(tmp_path.rglob("*stnkit*"))
    args = ["warp", str(tmp_path / "in.zarr"), str(tmp_path / "wide.zarr"), "--size", "100x60"]
    assert run(args) == 0
    found = zarr.open_group(tmp_path / "wide.zarr", mode="r")
    kept = found.attrs.asdict().get("ome", found.attrs.asdict())
    steps = kept["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert steps[1] == {"type": "translation", "translation": [0.0, 2.5, -1.25]}  # 5 rows cut, 5 columns added
    np.testing.assert_array_equal(found["0"][:, :, 5:95], image[:, 5:65])


def test_an_array_of_zarr(run, plain, tmp_path, capsys):
    image = np.random.default_rng(0).uniform(-1, 1, (40, 50)).astype("float32")
    source = zarr.create_array(tmp_path / "in.zarr", shape=(40, 50), chunks=(16, 16), dtype="f4", attributes={"a": 1})
    source[...] = image
    out = tmp_path / "out.zarr"
    args = ["warp", str(tmp_path / "in.zarr"), str(out), *TURN, "--mode", "bicubic", "--chunks", "32x16"]
    assert run(args) == 0
    found = zarr.open_array(out, mode="r+")
    np.testing.assert_array_equal(found[...], turned(plain, image, mode="bicubic")[0])
    assert found.attrs["a"] == 1
    found[...] = 0
    assert run(args) == 0  # an output of that shape is written anew
    assert zarr.open_array(out, mode="r")[...].any()
    before = out.stat().st_mtime_ns, found[...].copy()
    assert run([*args, "--size", "20x20"]) == 2
    assert "exists, and is not of shape (20, 20) and dtype float32: (40, 50) of float32; nothing was" in (
        capsys.readouterr().err
    )
    assert (out.stat().st_mtime_ns, True) == (before[0], (found[...] == before[1]).all())


@pytest.mark.parametrize("kind", ["gray", "rgb", "pages"])
def test_tiff(run, plain, tmp_path, monkeypatch, kind):
    """A tiled file, compressed, becomes a tiled file; it need not fit in memory."""
    monkeypatch.setattr(importlib.import_module("stnkit.cli.tiff"), "TILE", 32)
    random = np.random.default_rng(0)
    shape = {"gray": (50, 70), "rgb": (50, 70, 3), "pages": (3, 50, 70)}[kind]
    image = random.integers(0, 255, shape).astype("uint8" if kind == "rgb" else "uint16")
    photometric = "rgb" if kind == "rgb" else "minisblack"
    tifffile.imwrite(tmp_path / "in.tif", image, tile=(16, 16), photometric=photometric, compression="zlib")
    args = [
        "warp",
        str(tmp_path / "in.tif"),
        str(tmp_path / "out.tif"),
        *TURN,
        "--memory",
        "200KB",
        "--mode",
        "nearest",
    ]
    assert run(args) == 0
    own = {"data_format": "channels_last"} if kind == "rgb" else {}
    expected = turned(plain, image, mode="nearest", **own).reshape(shape)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].is_tiled
        assert file.pages[0].photometric.name.lower() == photometric
        np.testing.assert_array_equal(file.asarray(), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.tif"]
    assert run([*args[:2], str(tmp_path / "out.zarr"), *TURN, "--mode", "nearest"]) == 0
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "out.zarr", mode="r")[...], expected)


@pytest.mark.parametrize("ending", ["zarr", "tif"])
def test_a_full_disk(tmp_path, ending):
    """One line, status 2, and the next run goes on; here a process may write no file of more than some kilobytes."""
    image = np.random.default_rng(0).integers(0, 60000, (64, 64)).astype("uint16")
    image[:32] = 0  # of which zarr writes no file
    if ending == "zarr":
        source = zarr.create_array(tmp_path / "in.zarr", shape=image.shape, chunks=(32, 64), dtype="u2")
        source[...] = image
    else:
        tifffile.imwrite(tmp_path / "in.tif", image, tile=(16, 16))
    command = [
        sys.executable,
        "-m",
        "stnkit",
        "warp",
        f"in.{ending}",
        f"out.{ending}",
        "--chunks",
        "64x32" if ending == "zarr" else "256x256",
    ]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def warp(limit):
        def small():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        return subprocess.run(
            command, cwd=tmp_path, env=environment, preexec_fn=small, capture_output=True, text=True, timeout=300
        )

    done = warp(4_000)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"out.{ending}: {os.strerror(errno.EFBIG)}; once there is room, the same command goes on" in done.stderr
    assert not (tmp_path / "out.tif").exists()
    done = warp(resource.RLIM_INFINITY)
    assert done.returncode == 0, done.stderr
    if ending == "zarr":
        out = zarr.open_array(tmp_path / "out.zarr", mode="r")[...]
    else:
        out = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(out, image)
    assert not list(tmp_path.rglob("*stnkit*"))


def test_a_damaged_chunk(run, tmp_path, capsys):
    array = zarr.create_array(tmp_path / "in.zarr", shape=(32, 32), chunks=(16, 16), dtype="f4")
    array[...] = np.arange(1024.0).reshape(32, 32)
    (tmp_path / "in.zarr" / "c" / "1" / "0").write_bytes(b"junk")
    assert run(["warp", str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr")]) == 2
    said = capsys.readouterr().err
    assert "in.zarr: damaged image (" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.zarr", "out.zarr"], "none.zarr: No such file or directory"),
        (["in.zarr", "in.zarr"], "in.zarr: the output must be another file than the input"),
        (["in.zarr", "out.png"], "out.png: images are warped in blocks from and to .zarr, .tif, .tiff"),
        (["in.png", "out.tif", "--memory", "1GB"], "in.png: images are warped in blocks from and to"),
        (["empty.zarr", "out.zarr"], "empty.zarr: a zarr group without `multiscales`"),
        (["bad.zarr", "out.zarr"], "bad.zarr: not a zarr array or group"),
        (["bad.tif", "out.tif", "--memory", "1GB"], "bad.tif: not a TIFF image"),
        (["in.zarr", "out.zarr", "--memory", "much"], "--memory must be a number of bytes"),
        (["in.tif", "out.tif", "--memory", "much"], "--memory must be a number of bytes"),
        (["in.zarr", "out.zarr", "--chunks", "20x20"], "--chunks must be multiples of those that the output is stored"),
        (["in.zarr", "out.zarr", "--workers", "0"], "--workers must be at least 1; got 0"),
        (["in.zarr", "out.zarr", "--fill", "1,2"], "--fill must be one number, or 1"),
        (["complex.zarr", "out.zarr"], "complex.zarr must have dtype float32"),
        (["bool.zarr", "out.zarr"], "bool.zarr of dtype bool can be sampled by modes 'nearest'"),
        (["flat.zarr", "out.zarr"], "flat.zarr: an image has two axes or more, and none is empty; got shape (0, 32)"),
        (["in.zarr", "out.zarr", "--memory", ""], "--memory must be a number of bytes"),
        (["in.png", "out.png", "--workers", "0"], "in.png: images are warped in blocks from and to .zarr, .tif, .tiff"),
        (["in.png", "out.png", "--workers", "4"], "in.png: images are warped in blocks from and to .zarr, .tif, .tiff"),
        (["in.zarr", "out.zarr", "--padding", "wrap", "--fill", "1"], "--fill is read with --padding zeros and mask"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    zarr.create_array("in.zarr", shape=(32, 32), chunks=(16, 16), dtype="f4")
    zarr.create_array("flat.zarr", shape=(0, 32), chunks=(16, 16), dtype="f4")
    zarr.create_array("complex.zarr", shape=(32, 32), chunks=(16, 16), dtype="c8")
    zarr.create_array("bool.zarr", shape=(32, 32), chunks=(16, 16), dtype="bool")
    tifffile.imwrite("in.tif", np.zeros((32, 32), "f4"), tile=(16, 16))
    zarr.open_group("empty.zarr", mode="w")
    (tmp_path / "bad.zarr").write_text("no")
    (tmp_path / "bad.tif").write_text("no")
    (tmp_path / "in.png").write_text("no")
    before = sorted(tmp_path.rglob("*"))
    assert run(["warp", *args]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
