"""The alignment demo: it finds the maps, draws its sheet, and repeats itself; and the digits of both demos."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import make_digits
from stnkit.cli.app import run
from stnkit.demo.align.report import image_error
from stnkit.demo.align.task import CANVAS, LANDMARKS, alignment, displacement, distortions
from stnkit.demo.data import load_digits
from stnkit.demo.descent import STAGES, blurred, identities, stage_ends
from stnkit.transforms.centred_affine import theta_of

ROOT = Path(__file__).parent.parent


def test_the_default_demo_aligns_nearly_all_digits() -> None:
    result = alignment(count=256, steps=400, seed=0, advance=lambda: None)
    assert np.median(result.before) > 8.0
    assert np.median(result.after) < 0.2
    assert np.mean(result.after < 1.0) > 0.95
    # A stroke tells little of the map's width across it; nearly all that stay off are ones.
    assert np.mean(result.after[result.labels != 1] < 1.0) > 0.99
    error = image_error(result.recovered, result.originals)
    assert error < 0.25 * image_error(result.distorted, result.originals)


def test_a_short_demo_writes_its_sheet_and_lowers_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = []
    result = alignment(count=20, steps=80, seed=3, advance=lambda: steps.append(1))
    assert len(steps) == 80
    assert result.history.shape == (81, 20)
    assert np.median(result.after) < 0.25 * np.median(result.before)

    out = tmp_path / "sheet.png"
    assert run(["demo", "align", "--count", "20", "--steps", "80", "--seed", "3", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "20 digits, 80 steps" in shown
    for after in (f"{np.median(result.after):.2f} px", f"{np.mean(result.after < 1.0):.1%}"):
        assert after in shown
    with Image.open(out) as sheet:
        sheet.load()
        assert sheet.format == "PNG"
        assert min(sheet.size) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("words", [["align", "--count", "3", "--steps", "5"], ["learn", "--epochs", "1"]])
def test_the_same_seed_gives_the_same_picture(tmp_path: Path, words: list[str]) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(["demo", *words, "--out", str(tmp_path / f"{name}.png"), "--seed", str(seed)]) == 0
    one, same, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert one == same
    assert one != other


@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_number_of_digits_is_drawn(tmp_path: Path, count: int) -> None:
    out = tmp_path / "sheet.png"
    assert run(["demo", "align", "--count", str(count), "--steps", "1", "--out", str(out)]) == 0
    assert out.exists()


def test_it_draws_without_a_terminal(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "align", "--count", "2", "--steps", "2"]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "stnkit-demo.png").exists()


def test_the_true_map_displaces_nothing() -> None:
    maps = distortions(50, np.random.default_rng(0))
    truth = LANDMARKS @ np.swapaxes(maps[..., :2], -1, -2) + maps[..., None, :, 2]
    size = (CANVAS, CANVAS)
    inverse = np.linalg.inv(np.concatenate([maps, np.tile([[[0.0, 0.0, 1.0]]], (50, 1, 1))], axis=1))[:, :2]
    np.testing.assert_allclose(displacement(theta_of(inverse, size, size), truth), 0.0, atol=1e-12)
    np.testing.assert_allclose(
        displacement(identities(50), truth), np.linalg.norm(truth - LANDMARKS, axis=-1).max(-1), rtol=1e-12
    )


def test_the_blur_keeps_ink_and_spreads_it() -> None:
    dot = np.zeros((1, 1, 41, 41), np.float32)
    dot[0, 0, 20, 20] = 1.0
    out = blurred(dot, 3.0)
    assert out.dtype == np.float32
    assert out.sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(out[0, 0], out[0, 0].T)
    offsets = np.arange(41) - 20
    assert (out[0, 0].sum(0) * offsets**2).sum() == pytest.approx(9.0, rel=0.03)  # cut at three deviations


def test_the_stages_share_all_steps() -> None:
    for steps in (1, 3, 4, 401):
        ends = stage_ends(steps)
        assert (ends[0], ends[-1], len(ends)) == (0, steps, len(STAGES) + 1)
        assert ends == sorted(ends)


@pytest.mark.parametrize(("split", "count"), [("train", 100), ("test", 50)])
def test_the_digits_are_balanced(split: str, count: int) -> None:
    images, labels = load_digits(split)
    assert (images.shape, images.dtype, labels.dtype) == ((10 * count, 28, 28), np.uint8, np.uint8)
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, count))
    assert images.max(axis=(1, 2)).min() > 200
    np.testing.assert_array_equal(images[:, 0, :], 0)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="`split` must be one of 'train', 'test'; got 'all'"):
        load_digits("all")


def test_the_digits_can_be_made_again(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = ROOT / "stnkit" / "demo" / "data" / "mnist_subset.npz"  # its first digits of every class are all it has
    for name in ("a.npz", "b.npz"):
        monkeypatch.setattr(sys, "argv", ["make_digits", str(source), "--out", str(tmp_path / name)])
        make_digits.main()
        assert capsys.readouterr().out.startswith(f"{tmp_path / name}: ")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(source) as expected, np.load(tmp_path / "a.npz") as made:
        assert sorted(made) == sorted(expected)
        for name in expected:
            np.testing.assert_array_equal(made[name], expected[name])
