"""The experiments of the documentation: their data, distortions, networks, checkpoints and tables."""

import contextlib
import gzip
import importlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch
from PIL import Image

from stnkit.demo.data import load_digits

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
ROOMS = sorted({path.stem for path in EXAMPLES.glob("*.py")} - {"keras_transformer"})  # which `in_keras` runs


@pytest.fixture(scope="module")
def rooms():
    """Import the scripts, which are no part of the package, as they import one another."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ROOMS})
    finally:
        sys.path.remove(str(EXAMPLES))
        for name in ROOMS:
            sys.modules.pop(name, None)


def small(count=60):
    """Return an MNIST of a few digits."""
    arrays = {}
    for split in ("train", "test"):
        images, labels = load_digits(split)
        arrays |= {f"x_{split}": images[:count], f"y_{split}": labels[:count]}
    return arrays


@pytest.fixture
def mnist(tmp_path):
    np.savez(tmp_path / "mnist.npz", **small())
    return tmp_path / "mnist.npz"


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_and_a_folder_hold_the_same(rooms, mnist, tmp_path, packed):
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, array in small().items():
        path = folder / rooms.data.IDX_FILES[name]
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            path.write_bytes(idx(array))
    for one, other in zip(rooms.data.load(mnist), rooms.data.load(folder), strict=True):
        np.testing.assert_array_equal(one, other)
    train, labels, *_ = rooms.data.load(mnist)
    assert (train.dtype, train.max(), labels.dtype) == (np.float32, 1.0, np.int64)


def broken(tmp_path):
    """Make what may stand where MNIST should, each with what is wrong with it."""
    yield tmp_path / "none", "No such file"
    (tmp_path / "empty").mkdir()
    yield tmp_path / "empty", "No such file"
    (tmp_path / "text.npz").write_text("no archive")
    yield tmp_path / "text.npz", "no MNIST"
    good = small()
    for name, change in (
        ("lacks", {"y_test": None}),
        ("sides", {"x_train": good["x_train"][:, :27]}),
        ("count", {"y_train": good["y_train"][1:]}),
        ("floats", {"x_test": good["x_test"].astype(float)}),
        ("classes", {"y_test": good["y_test"] + 10}),
        ("nothing", {"x_test": good["x_test"][:0], "y_test": good["y_test"][:0]}),
    ):
        arrays = {key: value for key, value in (good | change).items() if value is not None}
        np.savez(tmp_path / f"{name}.npz", **arrays)
        yield tmp_path / f"{name}.npz", "no MNIST"
    whole = (tmp_path / "lacks.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    yield tmp_path / "cut.npz", "no MNIST"
    whole = idx(good["x_train"])
    for name, damage in (("short", b"\0\0"), ("kind", whole.replace(b"\x08", b"\x0d", 1)), ("end", whole[:-1])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train-images-idx3-ubyte").write_bytes(damage)
        yield folder, "no MNIST"


def test_broken_data_are_refused_with_the_layout(rooms, tmp_path):
    for path, says in broken(tmp_path):
        with pytest.raises(ValueError, match=r"expected is an .npz with uint8 arrays x_train") as refused:
            rooms.data.load(path)
        assert says in str(refused.value)
        assert str(path) in str(refused.value)


def test_the_console_refuses_in_one_line(tmp_path):
    command = [sys.executable, str(EXAMPLES / "mnist.py"), "--data", str(tmp_path / "none")]
    paths = os.pathsep.join([str(EXAMPLES.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "expected is" in done.stderr
    assert "https://" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_homographies_carry_corners_where_they_should(rooms):
    rng = np.random.default_rng(0)
    end = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    start = end + rng.normal(0, 0.2, (5, 4, 2))
    maps = rooms.distortions.homographies(start, end)
    landed = np.concatenate([start, np.ones((5, 4, 1))], axis=-1) @ maps.swapaxes(1, 2)
    np.testing.assert_allclose(landed[..., :2] / landed[..., 2:], np.broadcast_to(end, (5, 4, 2)), atol=1e-12)


def test_convex_quadrilaterals_are_told_from_others(rooms):
    frame = [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    dented, crossed, turned = ([*frame[:2], [-0.5, -0.5], frame[3]], [frame[k] for k in (1, 0, 2, 3)], frame[::-1])
    answers = rooms.distortions.convex(np.array([frame, dented, crossed, turned], float))
    assert list(answers) == [True, False, False, False]


@pytest.mark.parametrize("kind", ["R", "RTS", "P", "E", "TC"])
def test_distortions_are_the_papers_size_and_repeat(rooms, kind):
    digits = load_digits()[0][:40] / np.float32(255)
    distortion = rooms.distortions.DISTORTIONS[kind]
    one, same, other = (distortion.make(digits, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.shape == (40, 1, distortion.canvas, distortion.canvas)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert 0 <= one.min() <= one.max() <= 1
    ink = one.sum(axis=(1, 2, 3)) / digits.sum(axis=(1, 2))
    # A rotation keeps ink; a scale s multiplies it by s^2; patches add. Where corners nearly meet, P leaves little.
    least, most = {"R": (0.97, 1.03), "RTS": (0.45, 1.5), "P": (0.0, 2.5), "E": (0.4, 1.1), "TC": (0.99, 4.0)}[kind]
    assert least < ink.min() <= ink.max() < most


def test_a_turn_by_nothing_is_the_digit(rooms):
    digits = load_digits()[0][:3] / np.float32(255)
    still = rooms.distortions.affine(digits, np.zeros(3), np.ones(3), np.array([[0, 0], [3, 0], [0, -2]]), 42)
    np.testing.assert_allclose(still[0, 0, 7:35, 7:35], digits[0], atol=1e-5)
    np.testing.assert_allclose(still[1, 0, 7:35, 10:38], digits[1], atol=1e-5)
    np.testing.assert_allclose(still[2, 0, 5:33, 7:35], digits[2], atol=1e-5)


@pytest.mark.parametrize("kind", ["R", "RTS", "P", "E", "TC"])
def test_networks_are_no_larger_than_the_plain_ones(rooms, kind):
    networks, distortion = rooms.networks, rooms.distortions.DISTORTIONS[kind]
    for name in networks.NETWORKS:
        for transform in networks.TRANSFORMS if name.startswith("ST-") else ("",):
            network = networks.build(name, distortion, transform)
            least, most = networks.WIDTHS[name.removeprefix("ST-")]
            assert least <= len(network[1][1 if "FCN" in name else 0].bias) <= most
            plain = networks.parameters(networks.build(name.removeprefix("ST-"), distortion))
            assert networks.parameters(network) <= plain


@pytest.mark.parametrize("transform", ["affine", "projective", "tps"])
@pytest.mark.parametrize("kind", ["FCN", "CNN"])
def test_transformers_begin_with_images_as_they_are_and_learn(rooms, kind, transform):
    torch.manual_seed(0)
    images = torch.rand(2, 1, 28, 28)
    network = rooms.networks.build(f"ST-{kind}", rooms.distortions.DISTORTIONS["R"], transform)
    torch.testing.assert_close(network[0](images), images, rtol=0, atol=1e-4)
    network(images).square().sum().backward()
    head = network[0].localization[1]
    assert head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("room", ["cluttered", "traffic_signs"])
def test_the_other_scripts_refuse_in_one_line(rooms, tmp_path, monkeypatch, capsys, room):
    assert script(rooms, monkeypatch, room, "--data", tmp_path / "none") == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "expected is" in captured.err
    assert "https://" in captured.err


class Stop(Exception):
    """Stands for whatever ends a run."""


def plan_and_images(rooms, steps=7):
    images, labels = load_digits()
    digits = images / np.float32(255)
    return rooms.training.Plan("tiny", seed=3, steps=steps, batch=20, momentum=0.9), rooms.training.Images(
        digits[:60], labels[:60].astype(np.int64), digits[60:90], labels[60:90].astype(np.int64)
    )


def train(rooms, folder, plan, images, stop_at=None):
    """Train a small network, or stop when as many epochs have begun."""
    torch.manual_seed(plan.seed)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    epochs = []

    def report(progress):
        epochs.append(progress.epoch)
        if progress.epoch == stop_at:
            raise Stop

    with contextlib.suppress(Stop):
        rooms.training.train(network, images, rooms.distortions.rotated, plan, folder, report)
    return network, epochs


def test_an_interrupted_run_ends_as_one_that_was_not(rooms, tmp_path):
    plan, images = plan_and_images(rooms)
    whole, epochs = train(rooms, tmp_path / "whole", plan, images)
    assert epochs == [0, 1, 2, 3]  # 3 steps an epoch, and one step in the last
    train(rooms, tmp_path / "cut", plan, images, stop_at=2)
    assert not list((tmp_path / "cut").glob("*.json"))
    resumed, epochs = train(rooms, tmp_path / "cut", plan, images)
    assert epochs == [2, 3]
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    results = [json.loads((tmp_path / name / "tiny-momentum0.9-seed3.json").read_text()) for name in ("whole", "cut")]
    for result in results:
        assert result.pop("seconds") > 0
    assert results[0] == results[1]
    assert results[0]["step"] == 7
    assert len(results[0]["errors"]) == len(results[0]["losses"]) == 3


def test_an_interrupt_within_an_epoch_loses_that_epoch_alone(rooms, tmp_path):
    plan, images = plan_and_images(rooms)
    calls = []

    def distort(digits, rng):
        calls.append(len(digits))
        if len(calls) == 7:  # the test images, three steps, two steps more
            raise KeyboardInterrupt
        return rooms.distortions.rotated(digits, rng)

    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    with pytest.raises(KeyboardInterrupt):
        rooms.training.train(network, images, distort, plan, tmp_path, lambda progress: None)
    _, epochs = train(rooms, tmp_path, plan, images)
    assert epochs == [1, 2, 3]


def test_checkpoints_that_do_not_fit_are_refused(rooms, tmp_path):
    plan, images = plan_and_images(rooms)
    train(rooms, tmp_path, plan, images, stop_at=1)
    (kept,) = tmp_path.glob("*.checkpoint")
    longer, _ = plan_and_images(rooms, steps=9)
    with pytest.raises(ValueError, match=r"of another run .* choose another --folder"):
        train(rooms, tmp_path, longer, images)
    whole = kept.read_bytes()
    other = torch.load(kept, weights_only=True)
    other["network"].popitem()
    torch.save(other, kept)
    with pytest.raises(ValueError, match="of another version of this network; delete it"):
        train(rooms, tmp_path, plan, images)
    kept.write_bytes(whole)
    for damage in (b"", kept.read_bytes()[:500], b"no checkpoint at all"):
        kept.write_bytes(damage)
        with pytest.raises(ValueError, match=r"a damaged checkpoint .* delete it to begin anew"):
            train(rooms, tmp_path, plan, images)


def script(rooms, monkeypatch, room, *words):
    """Run a script in this process as its last lines do."""
    monkeypatch.setattr(sys, "argv", [f"{room}.py", *map(str, words)])
    parser = rooms.experiment.parser("") if room != "traffic_signs" else rooms.command.parser("", "")
    if room == "mnist":
        parser.add_argument("--distortion", nargs="+", choices=rooms.mnist.KINDS, default=rooms.mnist.KINDS)
    if room == "traffic_signs":
        parser.add_argument("--network", nargs="+", default=("CNN", "ST-CNN"))
    parser.set_defaults(threads=1)
    before = torch.get_num_threads(), numba.get_num_threads()
    try:
        return rooms.command.run(getattr(rooms, room).main, parser)
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def test_every_network_is_trained_and_put_beside_the_paper(rooms, mnist, monkeypatch, capsys):
    words = ["--data", mnist, "--folder", mnist.parent / "runs", "--steps", 1]
    assert script(rooms, monkeypatch, "mnist", *words, "--distortion", "R", "P") == 0
    shown, progress = capsys.readouterr()
    rows = [line for line in shown.splitlines() if line.startswith(("| R ", "| P "))]
    assert len(rows) == 16
    assert rows[0].startswith("| R | FCN | 0 | ")
    assert rows[0].endswith(" % | 2.1 % | 1 | 0 | 0 |")
    assert "R-ST-CNN-tps-seed0: epoch 1, step 1 of 1" in progress
    assert script(rooms, monkeypatch, "mnist", *words, "--distortion", "R", "P") == 0  # nothing is left to do
    assert capsys.readouterr().out == shown


def test_clutter_is_trained_on(rooms, mnist, monkeypatch, capsys):
    words = ["--data", mnist, "--folder", mnist.parent / "runs", "--steps", 1, "--network", "ST-FCN"]
    assert script(rooms, monkeypatch, "cluttered", *words, "--transform", "affine") == 0
    assert "| TC | ST-FCN affine | 0 | " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "0"], "--steps and --threads must be at least 1"),
        (["--momentum", "1"], "--momentum from 0 to below 1"),
        (["--seed", "-1"], "--seed at least 0"),
    ],
)
def test_bad_options_are_refused(rooms, mnist, monkeypatch, capsys, words, says):
    assert script(rooms, monkeypatch, "mnist", "--data", mnist, *words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert says in captured.err


def test_an_interrupt_says_how_to_go_on(rooms, mnist, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(rooms.mnist, "main", interrupted)
    assert script(rooms, monkeypatch, "mnist", "--data", mnist) == 130
    assert "goes on from the last whole epoch" in capsys.readouterr().err


@pytest.fixture
def signs(tmp_path):
    """Make a folder of the benchmark's layout, with two classes of pictures of different sizes."""
    rng = np.random.default_rng(0)
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"

    def write(folder, table, classes):
        folder.mkdir(parents=True)
        lines = [head]
        for number, label in enumerate(classes):
            height, width = rng.integers(15, 60, 2)
            pixels = np.full((height, width, 3), 40 + 100 * label, np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:05}.ppm")
            lines.append(f"{number:05}.ppm;{width};{height};5;5;{width - 5};{height - 5};{label}")
        (folder / table).write_text("\n".join(lines) + "\n")

    for label in (0, 1):
        write(tmp_path / "GTSRB/Final_Training/Images" / f"{label:05}", f"GT-{label:05}.csv", [label] * 6)
    write(tmp_path / "GTSRB/Final_Test/Images", "GT-final_test.csv", [0, 1, 1])
    return tmp_path / "GTSRB"


def test_traffic_signs_are_read_and_learnt(rooms, signs, monkeypatch, capsys):
    images = rooms.traffic_signs.load(signs)
    assert images.train.shape == (12, 3, 48, 48)
    assert images.train.dtype == np.uint8
    assert list(images.test_labels) == [0, 1, 1]
    np.testing.assert_array_equal(images.test[0], 40)
    assert script(rooms, monkeypatch, "traffic_signs", "--data", signs, "--folder", signs / "runs", "--steps", 2) == 0
    shown = capsys.readouterr().out
    assert "CNN, seed 0: " in shown
    assert "ST-CNN, seed 0: " in shown


def test_broken_traffic_signs_are_refused_with_the_layout(rooms, signs):
    test = signs / "Final_Test" / "Images"
    table = (test / "GT-final_test.csv").read_text()
    for damage in (table.replace("00001.ppm", "gone.ppm"), table.split("\n")[0], table.replace("ClassId", "Class")):
        (test / "GT-final_test.csv").write_text(damage)
        with pytest.raises(ValueError, match="expected is a folder with Final_Training"):
            rooms.traffic_signs.load(signs)
    (test / "GT-final_test.csv").unlink()
    with pytest.raises(ValueError, match=r"GT-\*.csv.*expected is a folder with Final_Training"):
        rooms.traffic_signs.load(signs)


def test_the_documentation_shows_the_kept_results(rooms, tmp_path):
    page = rooms.table.PAGE.read_text(encoding="utf-8")
    assert rooms.table.text(rooms.table.RESULTS) in page
    (tmp_path / "page.md").write_text(page.replace("150,000", "1"), encoding="utf-8")
    rooms.table.write(tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
