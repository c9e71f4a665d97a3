"""Warping block by block: the bits of one call, in bounded memory, and on from where a run was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_source_box import OPS, calls, run

ROOT = Path(__file__).parents[1]
DTYPES = ("float32", "float64", "float16", "uint8", "int16", ">f4")


@st.composite
def cuts(draw, op):
    """Draw a call with channels, and how it is cut."""
    op, image, source, size, _, options = draw(calls(op, antialias=False))
    last, channels = draw(st.booleans()), draw(st.integers(1, 2))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    batch = draw(st.sampled_from(sorted({1, len(source)})))
    random = np.random.default_rng(len(size) + channels)
    shape = (batch, *image.shape[2:], channels) if last else (batch, channels, *image.shape[2:])
    image = random.uniform(0, 99, shape).astype(dtype)
    fill = draw(st.sampled_from([0, 7]))
    options |= {"data_format": "channels_last" if last else "channels_first"}
    options |= {"fill_value": [fill + k for k in range(channels)] if draw(st.booleans()) else fill}
    chunks = tuple(draw(st.integers(1, n)) for n in size)
    return op, image, source, size, options, chunks, draw(st.sampled_from(["1MB", 9000]))


@pytest.mark.parametrize("op", OPS)
def test_an_image_in_blocks_has_the_bits_of_one_call(plain, op):
    @settings(max_examples=15)
    @given(cuts(op))
    def check(call):
        op, image, source, size, options, chunks, memory = call
        whole = run(plain, op, image, source, size, (), options)
        out = np.full_like(whole, 11)
        got = plain.tiles.warp_blocks(image, source, out, kind=op, chunks=chunks, memory=memory, **options)
        assert got is out
        assert out.tobytes() == whole.tobytes()

    check()


def test_several_workers_and_any_axes_before_the_spatial_ones(plain):
    """Channels, slices and times: one map for all of them, in blocks of some."""
    image = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2, 20, 30))
    theta = np.array([[0.8, 0.3, 0.1], [-0.4, 1.2, 0.2]])
    whole = plain.affine_sample(image.reshape(1, 12, 20, 30), theta[None], (17, 9)).reshape(2, 3, 2, 17, 9)
    for chunks, workers in (((1, 2, 1, 8, 5), 3), ("auto", 2), ((6, 6), 1)):
        out = np.full_like(whole, np.nan)
        plain.tiles.warp_blocks(image, theta, out, chunks=chunks, workers=workers, fill_value=0.5)
        expected = np.where(whole == 0, out, whole)  # outside, the fill value
        np.testing.assert_array_equal(
            out,
            plain.affine_sample(image.reshape(1, 12, 20, 30), theta[None], (17, 9), fill_value=0.5).reshape(
                expected.shape
            ),
        )
    out = np.empty_like(whole[:, 0, 0])
    plain.tiles.warp_blocks(image[:, 0, 0], theta[None], out)  # a batch of one is none
    np.testing.assert_array_equal(out, whole[:, 0, 0])


def test_splines_are_filtered_in_blocks(plain):
    """With the halo, what is cut off is below the rounding of coefficients: so many times their number of terms."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 1, 80, 90))
    theta = np.array([[[0.9, 0.1, 0.0], [-0.1, 0.8, 0.1]]])
    for order, padding in ((3, "zeros"), (5, "reflection"), (2, "wrap"), (4, "border")):
        options = {"mode": f"spline{order}", "padding_mode": padding, "fill_value": 0.25}
        whole = plain.affine_sample(image, theta, (40, 30), **options)
        out = np.empty_like(whole)
        plain.tiles.warp_blocks(image, theta, out, chunks=(13, 11), **options)
        np.testing.assert_allclose(out, whole, rtol=0, atol=2.0**-44)


def test_antialias_of_a_whole_map(plain):
    image = np.random.default_rng(0).uniform(-1, 1, (1, 2, 60, 60))
    theta = np.array([[1.0, 0.2, 0.0], [-0.2, 1.0, 0.1]])
    out = np.empty((1, 2, 20, 20))
    plain.tiles.warp_blocks(image, theta, out, chunks=(7, 20), antialias=True)
    whole = plain.affine_sample(image, theta[None], (20, 20), antialias=4)  # hypot(3, 0.6), rounded up
    np.testing.assert_array_equal(out, whole)
    with pytest.raises(ValueError, match=r"pass a number for 'projective'"):
        plain.tiles.warp_blocks(image, np.eye(3), out, kind="projective", antialias=True)


class Watched:
    """An array that counts the numbers that are read of it."""

    def __init__(self, array):
        self.array, self.read = array, []
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key):
        part = self.array[key]
        self.read.append(part.size)
        return part


def test_a_flow_is_read_block_by_block(plain):
    random = np.random.default_rng(0)
    image, flow = random.uniform(-1, 1, (1, 1, 40, 40)), random.uniform(-3, 3, (1, 40, 40, 2))
    seen, field = Watched(image), Watched(flow)
    out = np.empty((1, 1, 40, 40))
    plain.tiles.warp_blocks(seen, field, out, kind="flow", chunks=(8, 8))
    np.testing.assert_array_equal(out, plain.flow_sample(image, flow))
    assert max(field.read) == 8 * 8 * 2
    assert max(seen.read) <= 15**2
    with pytest.raises(ValueError, match=r"`flow` must have shape \(N, \*T, d\) for an output of size \(40, 39\)"):
        plain.tiles.warp_blocks(image, flow, np.empty((1, 1, 40, 39)), kind="flow")


def test_a_block_that_reads_too_much_is_done_in_parts(plain):
    """One that shrinks the whole image to a few locations; and one location that reads too much is refused."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 1, 64, 64))
    seen, out = Watched(image), np.empty((1, 1, 4, 4))
    theta = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    plain.tiles.warp_blocks(seen, theta, out, memory=9000)
    np.testing.assert_array_equal(out, plain.affine_sample(image, theta[None], (4, 4)))
    assert max(seen.read) < 600
    whole = {"mode": "spline3", "padding_mode": "wrap"}
    with pytest.raises(ValueError, match=r"one location of the output, \(0, 0\), takes .* bytes of memory"):
        plain.tiles.warp_blocks(image, theta, out, memory=9000, **whole)


SCRIPT = """
import os, time
import numpy as np
import stnkit.tiles

class Slow(np.ndarray):
    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        os.write(1, b"block\\n")
        time.sleep({pause})

image = np.load("image.npy", mmap_mode="r")
out = np.memmap("out", "float64", "r+", shape=(1, 1, 48, 48))
filename = out.filename
out = out.view(Slow)
out.filename = filename
theta = np.array([[0.8, 0.3, 0.1], [-0.4, 1.2, 0.2]])
stnkit.tiles.warp_blocks(image, theta, out, chunks=(8, 8), workers={workers}, resume=True)
print("done", flush=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_goes_on(plain, tmp_path, workers):
    """SIGKILL in the middle of it: the next run does what is left, and what was in flight, and no more."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 1, 48, 48))
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "out").write_bytes(b"\0" * 8 * 48 * 48)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    record = tmp_path / "out.stnkit-blocks"

    def start(pause):
        command = [sys.executable, "-c", SCRIPT.format(pause=pause, workers=workers)]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)

    with start(0.05) as first:
        for _ in range(10):
            assert first.stdout.readline() == "block\n"
        first.send_signal(signal.SIGKILL)
        first.communicate()
    finished = record.read_bytes().rpartition(b"\n")[2].count(b"1")
    assert 10 - 2 * workers <= finished < 36
    with start(0) as second:
        lines = second.communicate()[0].splitlines()
    assert lines == ["block"] * (36 - finished) + ["done"]
    assert not record.exists()
    out = np.memmap(tmp_path / "out", "float64", "r", shape=(1, 1, 48, 48))
    theta = np.array([[[0.8, 0.3, 0.1], [-0.4, 1.2, 0.2]]])
    np.testing.assert_array_equal(out, plain.affine_sample(image, theta))


def test_a_record_of_another_warp_is_refused(plain, tmp_path):
    image, out, record = np.ones((1, 1, 8, 8)), np.full((1, 1, 8, 8), 5.0), tmp_path / "record"

    class Full(np.ndarray):
        def __setitem__(self, key, value):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        plain.tiles.warp_blocks(image, np.eye(2, 3), out.view(Full), chunks=(4, 4), resume=record)
    assert record.exists()
    for change in ({"source": 2 * np.eye(2, 3)}, {"chunks": (4, 8)}, {"mode": "nearest"}, {"fill_value": 1.0}):
        given = {"source": np.eye(2, 3), "chunks": (4, 4), "resume": record} | change
        with pytest.raises(ValueError, match="records finished blocks of another warp"):
            plain.tiles.warp_blocks(image, out=out, **given)
    assert (out == 5).all()
    plain.tiles.warp_blocks(image, np.eye(2, 3), out, chunks=(4, 4), resume=record)
    np.testing.assert_array_equal(out, image)
    assert not record.exists()
    with pytest.raises(ValueError, match="`resume=True` needs an output on disk"):
        plain.tiles.warp_blocks(image, np.eye(2, 3), out, resume=True)


LIMITED = """
import resource, sys
import numpy as np
import stnkit
from stnkit.tiles import warp_blocks
n = 2048
image = np.memmap("image", "float32", "r", shape=(1, n, n))
out = np.memmap("out", "float32", "w+", shape=(1, n, n))
angle = 0.5
theta = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0]])
warp_blocks(image[:, :64, :64], theta, np.empty((1, 64, 64), "float32"))  # what is loaded once
used = 4096 * int(open("/proc/self/statm").read().split()[5])
resource.setrlimit(resource.RLIMIT_DATA, (used + (8 << 20),) * 2)  # 8 MiB more than it has
try:
    np.ones((n, n), "float32")
except MemoryError:
    print("limited")
warp_blocks(image, theta, out, memory="4MB")
print(float(out[0, n // 2, n // 2]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux'")
def test_memory_is_bounded(tmp_path):
    """An image of 16 MiB, where there are 8 for all; mapped files do not count, and copies of them do."""
    np.full((2048, 2048), 3, "float32").tofile(tmp_path / "image")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.stdout.split() == ["limited", "3.0"], done.stderr


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(plain, tmp_path, version):
    """An array on disk, whose chunks are written once each, with a record in its folder."""
    zarr = pytest.importorskip("zarr")
    image = np.random.default_rng(0).integers(0, 1000, (2, 50, 70)).astype("uint16")
    source = zarr.create_array(tmp_path / "in", shape=image.shape, chunks=(1, 16, 32), dtype="u2", zarr_format=version)
    source[...] = image
    sharded = {"shards": (2, 20, 20)} if version == 3 else {}
    out = zarr.create_array(
        tmp_path / "out", shape=(2, 30, 45), chunks=(1, 10, 10), dtype="u2", zarr_format=version, **sharded
    )
    theta = np.array([[0.8, 0.3, 0.1], [-0.4, 1.2, 0.2]])
    plain.tiles.warp_blocks(source, theta, out, chunks=(20, 20), workers=2, resume=True, mode="bicubic")
    np.testing.assert_array_equal(out[...], plain.affine_sample(image, theta, (30, 45), mode="bicubic"))
    assert not list(tmp_path.rglob("*stnkit*"))
    with pytest.raises(ValueError, match="`chunks` must be multiples of those that the output is stored in"):
        plain.tiles.warp_blocks(source, theta, out, chunks=(15, 20))
    with pytest.raises(ValueError, match="`out` must not be `image`"):
        plain.tiles.warp_blocks(out, theta, zarr.open_array(tmp_path / "out"))


def test_items_that_share_a_chunk(plain, tmp_path):
    """Each item has a map of its own; workers never write to the same chunk at once."""
    zarr = pytest.importorskip("zarr")
    random = np.random.default_rng(0)
    image, theta = random.uniform(-1, 1, (1, 2, 20, 20)), random.uniform(-1, 1, (5, 2, 3))
    out = zarr.create_array(tmp_path / "out", shape=(5, 2, 16, 16), chunks=(2, 2, 8, 8), dtype="f8")
    plain.tiles.warp_blocks(image, theta, out, workers=3, memory=200_000, chunks=(8, 8))
    np.testing.assert_array_equal(out[...], plain.affine_sample(image, theta, (16, 16)))


class Loose:
    """A store that masks what it reads, or one of another framework's dtype."""

    shape = (1, 1, 8, 8)

    def __init__(self, dtype):
        self.dtype = dtype

    def __getitem__(self, where):
        return np.ma.masked_less(np.zeros(self.shape, self.dtype)[where], 1)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"out": np.empty((1, 1, 8, 9))}, None, ""),
        ({"out": np.empty((1, 2, 8, 8))}, ValueError, r"`out` must have shape \(1, 1, 8, 8\); got \(1, 2, 8, 8\)"),
        (
            {"out": np.empty((1, 1, 8, 8), "f4")},
            TypeError,
            "`out` must have the dtype of `image`, float64; got float32",
        ),
        ({"out": 3}, TypeError, "`out` must have `shape`, `dtype` and `\\[\\]`; got int"),
        ({"source": np.zeros((2, 2, 3))}, ValueError, r"`out` must have shape \(2, 1, 8, 8\)"),
        ({"image": np.ones(8)}, ValueError, "`image` and `out` must have the same number of axes"),
        ({"memory": "lots"}, ValueError, '`memory` must be a number of bytes, or as in "2GB"'),
        ({"memory": 0}, ValueError, "`memory` must be 1 byte or more"),
        ({"chunks": (0, 1)}, ValueError, "`chunks` must be 'auto', or integers of 1 and more"),
        ({"chunks": 5}, ValueError, "`chunks` must be 'auto', or integers of 1 and more"),
        ({"workers": 0}, ValueError, "`workers` must be an integer of 1 or more; got 0"),
        ({"resume": None}, TypeError, "`resume` must be True, False or a path; got None"),
        ({"workers": 1.5}, TypeError, "`workers` must be an integer of 1 or more; got 1.5"),
        ({"kind": "spiral"}, ValueError, "`kind` must be one of 'affine'"),
        ({"fill_value": [1, 2]}, ValueError, "`fill_value` must be one number, or 1"),
        ({"mode": "label"}, TypeError, "`image` must have dtype .* for mode 'label'"),
        ({"kind": "flow", "source": None}, TypeError, "`source` must have `shape`, `dtype` and"),
        ({"image": Loose("torch.float64")}, TypeError, "`image` must have a dtype of NumPy; got torch.float64"),
        ({"image": Loose("f8")}, TypeError, "`image` is a masked array"),
        ({"image": np.ma.ones((1, 1, 8, 8))}, TypeError, "`image` is a masked array"),
        ({"coords": "pixel", "kind": "projective"}, ValueError, "`coords` is for 'affine' and 'grid', and `kind` is"),
        ({"units": "normalized"}, ValueError, "`units` is for 'flow', and `kind` is 'affine'"),
        ({"control_points": np.eye(2)}, ValueError, "`control_points` is for 'thin_plate_spline', and `kind` is"),
        ({"out": np.broadcast_to(5.0, (1, 1, 8, 8))}, ValueError, "`out` must be writable"),
        ({"source": np.ma.ones((2, 3))}, TypeError, "`source` is a masked array"),
    ],
)
def test_bad_input(plain, change, kind, message):
    given = {"image": np.ones((1, 1, 8, 8)), "source": np.eye(2, 3), "out": np.full((1, 1, 8, 8), 5.0)} | change
    if kind is None:
        plain.tiles.warp_blocks(**given)
        return
    with pytest.raises(kind, match=message):
        plain.tiles.warp_blocks(**given)
    assert given["out"] is not None


def test_an_output_that_is_read_is_refused(plain):
    image = np.arange(64.0).reshape(1, 1, 8, 8)
    flow = np.zeros((8, 8, 2))
    with pytest.raises(ValueError, match="`out` must not overlap `image` in memory"):
        plain.tiles.warp_blocks(image, -np.eye(2, 3), image[..., ::-1, :])
    with pytest.raises(ValueError, match="`out` must not overlap `source` in memory"):
        plain.tiles.warp_blocks(image, flow, flow[None, None, :, :, 0], kind="flow")
    stored = Loose("f8")
    with pytest.raises(ValueError, match="`out` must not be `image`, which is read while it is written"):
        plain.tiles.warp_blocks(stored, np.eye(2, 3), stored)
    np.testing.assert_array_equal(image, np.arange(64.0).reshape(1, 1, 8, 8))


def test_progress_is_shown(plain, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
    image = np.ones((1, 1, 8, 8))
    plain.tiles.warp_blocks(image, np.eye(2, 3), np.empty_like(image), chunks=(4, 4), progress=True)
    assert "blocks" in capsys.readouterr().err
