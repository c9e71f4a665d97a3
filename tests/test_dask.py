"""Dask arrays: any chunks give the bits of the whole, graphs stay small, and what cannot work is said."""

import doctest
import importlib
import itertools
import os
import pickle
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from stnkit.transforms import control_lattice

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

NAMES = ("affine_sample", "projective_sample", "thin_plate_spline_sample", "flow_sample", "grid_sample")
MODES = ("nearest", "bilinear", "bicubic", "spline0", "spline3", "lanczos3")
PADDINGS = ("zeros", "border", "reflection", "wrap", "mask", "periodic")
DTYPES = ("float32", "float64", "float16", "uint8", "uint16", "int32")
SHARED = {
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


class Case(NamedTuple):
    """A call on whole arrays, and how they are cut into chunks."""

    name: str
    image: np.ndarray
    source: np.ndarray
    fixed: tuple[np.ndarray, ...]  # control points
    size: tuple[int, ...]
    options: dict[str, Any]
    chunks: tuple[Any, ...]  # of the image
    out_chunks: tuple[Any, ...]  # of the output's spatial axes
    source_chunks: tuple[Any, ...]

    @property
    def is_map(self) -> bool:
        return self.name not in ("flow_sample", "grid_sample")

    def whole(self, package):
        sized = (self.size,) if self.is_map else ()
        call = getattr(package, self.name)
        return call(self.image, self.source.astype(float), *self.fixed, *sized, **self.options)

    def chunked(self, package, image, source, **options):
        sized = (self.size,) if self.is_map else ()
        call = getattr(package.dask, self.name)
        return call(image, source, *self.fixed, *sized, **self.options, **options)


def cuts(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw sizes of chunks of an axis, some of which may be empty."""
    places = st.lists(st.integers(0, n), max_size=3).map(lambda ends: [0, *sorted(ends), n])
    return places.map(lambda ends: tuple(b - a for a, b in itertools.pairwise(ends)))


@st.composite
def cases(draw: st.DrawFn, modes: tuple[str, ...] = MODES, dtypes: tuple[str, ...] = DTYPES) -> Case:
    name, d = draw(st.sampled_from(NAMES)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(SEEDS))
    longest = (17, 8, 5)[d - 1]
    extent, size = (tuple(draw(st.integers(1, longest)) for _ in range(d)) for _ in range(2))
    counts = draw(st.sampled_from([(2, 2), (1, 2), (2, 1), (None, 1), (1, None), (None, None)]))
    channels, last = draw(st.integers(1, 3)), draw(st.booleans())
    inner = (*extent, channels) if last else (channels, *extent)
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = inner if counts[0] is None else (counts[0], *inner)
    image = random.uniform(-1, 1, shape) if dtype.kind == "f" else random.integers(0, 200, shape)
    many = () if counts[1] is None else (counts[1],)
    fixed: tuple[np.ndarray, ...] = ()
    options: dict[str, Any] = {}
    if name == "thin_plate_spline_sample":
        fixed = (control_lattice((2,) * d),)
        source = fixed[0] + random.uniform(-0.5, 0.5, (*many, 2**d, d))
    elif name in ("flow_sample", "grid_sample"):
        unit = draw(st.sampled_from(["pixel", "normalized"]))
        options["units" if name == "flow_sample" else "coords"] = unit
        source = random.uniform(-1, 1, (*many, *size, d)) * draw(st.sampled_from([0.2, 2.0]))
        source = source * (max(extent) / 2 if unit == "pixel" else 1)
        if draw(st.booleans()):
            source[(0,) * source.ndim] = np.nan
    else:
        source = random.uniform(-1, 1, (*many, d, d + 1))
        if name == "projective_sample":
            row = random.uniform(-0.7, 0.7, (*many, 1, d))
            source = np.concatenate([source, np.concatenate([row, np.ones((*many, 1, 1))], -1)], -2)
    paddings = draw(st.one_of(st.sampled_from(PADDINGS), st.tuples(*[st.sampled_from(PADDINGS)] * d)))
    options |= {
        "mode": draw(st.sampled_from(modes)),
        "prefilter": False,  # with it, a chunk is filtered with what lies around it
        "padding_mode": paddings,
        "align_corners": draw(st.booleans()),
        "data_format": "channels_last" if last else "channels_first",
        "fill_value": draw(st.sampled_from([0, 7, list(range(channels))])),
    }
    return Case(
        name,
        image.astype(dtype),
        source.astype(draw(st.sampled_from(["float32", "float64"]))),
        fixed,
        size,
        options,
        tuple(draw(cuts(n)) for n in shape),
        tuple(draw(cuts(n)) for n in size),
        tuple(draw(cuts(n)) for n in source.shape),
    )


def equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=80, **SHARED)
@given(case=cases())
def test_any_chunks_give_the_bits_of_the_whole(plain, case: Case) -> None:
    import stnkit
    import stnkit.dask

    whole, image = case.whole(stnkit), da.from_array(case.image, case.chunks)
    given = {"chunks": case.out_chunks}
    sources = [(case.source, {})]
    if not case.is_map:
        lattice = da.from_array(case.source, case.source_chunks)
        with np.errstate(all="ignore"):
            found = stnkit.dask.bounds(lattice)
        sources = [(lattice, {"bounds": found}), (lattice, {})]
        if case.name == "flow_sample":
            sources += [(lattice, {"max_displacement": float(np.nanmax(abs(case.source), initial=0))})]
    with dask.config.set(scheduler="sync"):
        for source, more in sources:
            out = case.chunked(stnkit, image, source, **given, **more)
            assert out.shape == whole.shape
            first = out.ndim - len(case.size) - (case.options["data_format"] == "channels_last")
            assert out.chunks[first:][: len(case.size)] == case.out_chunks
            equal(out.compute(), whole)
        equal(case.chunked(stnkit, Store(case.image), sources[-1][0], **given).compute(), whole)


class Store:
    """What is no array, but is read as one, box by box."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        part = self.array[where]
        self.most = max(self.most, part.size)
        return part


@st.composite
def exact(draw: st.DrawFn) -> Case:
    """Draw a call whose numbers are eighths, so that sums are exact in any order."""
    d = draw(st.integers(1, 3))
    random = np.random.default_rng(draw(SEEDS))
    extent = tuple(draw(st.integers(1, (17, 8, 5)[d - 1])) for _ in range(d))
    counts = draw(st.sampled_from([(2, 2), (1, 2), (2, 1), (None, 1), (1, None), (None, None)]))
    channels, last = draw(st.integers(1, 3)), draw(st.booleans())
    inner = (*extent, channels) if last else (channels, *extent)
    shape = inner if counts[0] is None else (counts[0], *inner)
    image = random.integers(0, 9, shape).astype(draw(st.sampled_from(["float32", "float64", "float16", "uint8"])))
    many = () if counts[1] is None else (counts[1],)
    options = {
        "padding_mode": draw(st.sampled_from(PADDINGS)),
        "fill_value": draw(st.sampled_from([0, 3])),
        "data_format": "channels_last" if last else "channels_first",
    }
    if draw(st.booleans()):
        name, source = "affine_sample", random.integers(-9, 9, (*many, d, d + 1)) / 8
        options["coords"] = "pixel"
    else:
        name, source = "flow_sample", random.integers(-24, 24, (*many, *extent, d)) / 8
    return Case(
        name,
        image,
        source,
        (),
        extent,
        options,
        tuple(draw(cuts(n)) for n in shape),
        tuple(draw(cuts(n)) for n in extent),
        tuple(draw(cuts(n)) for n in source.shape),
    )


@settings(max_examples=40, **SHARED)
@given(case=exact(), seed=SEEDS, data=st.data())
def test_cotangents_are_sums_over_chunks(plain, case: Case, seed: int, data) -> None:
    import stnkit
    import stnkit.dask

    shape = case.whole(stnkit).shape
    integers = case.image.dtype.kind != "f"
    g = np.random.default_rng(seed).integers(-4, 5, shape).astype(float if integers else case.image.dtype)
    name = "theta" if case.is_map else "flow"
    call = f"{case.name}_vjp"
    asked = {"wrt": name if integers else data.draw(st.sampled_from(["image", name, ("image", name)]))}
    expected = getattr(stnkit, call)(g, case.image, case.source, **asked, **case.options)
    image, source, more = da.from_array(case.image, case.chunks), case.source, {}
    if not case.is_map:
        source, more = da.from_array(source, case.source_chunks), {"max_displacement": 3}
    cotangent = da.from_array(g, tuple(data.draw(cuts(n)) for n in shape))
    bars = getattr(stnkit.dask, call)(cotangent, image, source, **asked, **case.options, **more)
    for bar, whole, like in zip(bars, expected, (image, source), strict=True):
        assert (bar is None) == (whole is None)
        if bar is not None:
            assert case.is_map or bar.chunks == like.chunks
            equal(bar.compute(scheduler="sync"), whole)


def test_splines_are_filtered_with_what_lies_around(plain) -> None:
    """What a filter of degree 3 leaves of a pixel 16 further on, in float32, or 32 in float64, is below a rounding."""
    import stnkit

    random, theta = np.random.default_rng(0), np.array([[0.9, 0.1, 0.05], [-0.1, 0.8, 0.0]])
    for dtype in ("float32", "float64"):
        image = random.random((1, 50, 70)).astype(dtype)
        out = stnkit.affine_sample(da.from_array(image, (1, 20, 30)), theta, mode="spline3", chunks=20)
        whole = stnkit.affine_sample(image, theta, mode="spline3")
        # a coefficient is a sum with weights whose sizes add up to 3 on each axis, of 32 numbers; a value, of 16
        bound = 9 * (32 + 16) * np.finfo(dtype).eps
        np.testing.assert_allclose(out.compute(scheduler="sync"), whole, rtol=0, atol=bound)


def test_subsamples_lie_where_they_do_in_the_whole(plain) -> None:
    import stnkit

    image, shrink = np.random.default_rng(0).random((2, 30, 40)), np.array([[2.1, 0.3, 0.05], [-0.2, 1.6, 0.0]])
    chunked = da.from_array(image, (1, 9, 16))
    for antialias in (True, 2):
        out = stnkit.affine_sample(chunked, shrink, (20, 26), antialias=antialias, chunks=7)
        equal(out.compute(scheduler="sync"), stnkit.affine_sample(image, shrink, (20, 26), antialias=antialias))
    with pytest.raises(ValueError, match="pass their number"):
        stnkit.projective_sample(chunked, np.eye(3), antialias=True)


def test_a_store_is_read_box_by_box(plain) -> None:
    import stnkit.dask

    store = Store(np.random.default_rng(0).random((1, 1, 64, 64)))
    out = stnkit.dask.affine_sample(store, np.eye(2, 3), chunks=8)
    equal(out.compute(scheduler="sync"), store.array)
    assert store.most <= 10 * 10
    assert list(map(len, out.chunks)) == [1, 1, 8, 8]


def test_a_mapped_file_is_opened_in_tasks(plain, tmp_path) -> None:
    import stnkit.dask

    image = np.random.default_rng(0).random((1, 9, 9))
    for order in ("C", "F"):
        mapped = np.memmap(tmp_path / order, float, "w+", 0, image.shape, order)
        mapped[...] = image
        mapped.flush()
        out = stnkit.dask.affine_sample(mapped, np.eye(2, 3), coords="pixel", chunks=4)
        assert len(pickle.dumps(out.dask)) < 20_000
        equal(pickle.loads(pickle.dumps(out)).compute(scheduler="sync"), image)
        equal(
            stnkit.dask.affine_sample(mapped[:, 2:], np.eye(2, 3), coords="pixel").compute(scheduler="sync"),
            image[:, 2:],
        )


def test_a_graph_of_many_chunks_is_small() -> None:
    """100,000 chunks: no task is made before it runs, and boxes are found in seconds."""
    import stnkit

    turn = np.array([[0.9, -0.4, 0.0], [0.4, 0.9, 0.1]])
    image = da.zeros((1, 317 * 256, 317 * 256), chunks=(1, 1024, 1024), dtype=np.float32)
    before = time.process_time()
    out = stnkit.affine_sample(image, turn, chunks=256)
    assert time.process_time() - before < 5
    assert out.npartitions > 100_000
    assert len(out.dask.layers) == 2
    assert len(pickle.dumps(out.dask)) < 5e6
    (layer,) = [one for name, one in out.dask.layers.items() if name == out.name]
    assert not layer.is_materialized()
    part = out.dask.cull({(out.name, 0, 158, 158)})
    sizes = [len(one) for one in part.layers.values()]
    assert max(sizes) < 20, sizes  # the task and what all tasks share, and the chunks that it reads


def test_what_cannot_work_is_said(plain) -> None:
    import stnkit
    import stnkit.dask

    theta, image = np.eye(2, 3), da.ones((1, 8, 8), chunks=4)
    unknown = da.ones((8, 8), chunks=4)[da.ones(8, chunks=4) > 0][None]
    with pytest.raises(ValueError, match=r"`image.compute_chunk_sizes\(\)`"):
        stnkit.affine_sample(unknown, theta)
    with pytest.raises(ValueError, match=r"`input.compute_chunk_sizes\(\)`"):
        plain.ndimage.shift(unknown[0], 0.5)
    with pytest.raises(ValueError, match=r"`coordinates.compute_chunk_sizes\(\)`"):
        plain.ndimage.map_coordinates(image[0], unknown[0].T[:2])
    with pytest.raises(TypeError, match="`image` is a masked array"):
        stnkit.affine_sample(da.ma.masked_greater(image, 0), theta)
    with pytest.raises(TypeError, match=r"pass `theta.compute\(\)`"):
        stnkit.affine_sample(image, da.from_array(theta))
    with pytest.raises(ValueError, match="`theta` must have shape"):
        stnkit.affine_sample(image, np.eye(3))
    with pytest.raises(ValueError, match="`chunks` must be 'auto', a number, or 2 of them"):
        stnkit.affine_sample(image, theta, chunks=(1, 2, 3))
    for chunks in (0, -5, 2.5, (0, 4), "much"):
        with pytest.raises(ValueError, match="`chunks` must be 'auto', a number of 1 or more, or 2 of them"):
            stnkit.affine_sample(image, theta, chunks=chunks)
    with pytest.raises(ValueError, match="`threads` must be an integer of 1 or more"):
        stnkit.affine_sample(image, theta, threads=0)
    with pytest.raises(TypeError, match="a store with `shape`, `dtype` and `\\[\\]`"):
        stnkit.dask.affine_sample([[1.0]], theta)
    with pytest.raises(TypeError, match=r"pass `image.compute\(\)`"):
        stnkit.affine_sample_jvp(image, theta, None, theta)
    with pytest.raises(TypeError, match="must be a Dask array for its cotangent"):
        stnkit.dask.affine_sample_vjp(image, np.ones((1, 8, 8)), theta)
    with pytest.raises(TypeError, match="unexpected keyword argument 'out'"):
        stnkit.affine_sample(image, theta, out=np.ones((1, 8, 8)))


def test_too_much_memory_is_said(plain) -> None:
    import stnkit

    with dask.config.set({"array.chunk-size": "1 kB"}):
        image, flow = da.ones((1, 64, 64), chunks=8), da.zeros((64, 64, 2), chunks=8)
        with pytest.raises(
            ValueError, match=r"32.00 kiB .* `max_displacement`, or `bounds=stnkit.dask.bounds\(flow\)`"
        ):
            stnkit.flow_sample(image, flow)
        with pytest.raises(ValueError, match=r"pass `bounds=stnkit.dask.bounds\(grid\)`"):
            stnkit.grid_sample(image, flow)
        assert stnkit.flow_sample(image, flow, max_displacement=1).npartitions == 64
        small = np.diag([9.0, 9.0])
        with pytest.raises(ValueError, match=r"would read 32.00 kiB of the image at once.*pass smaller `chunks`"):
            stnkit.affine_sample(image, np.c_[small, [0, 0]], chunks=64)
        assert max(stnkit.affine_sample(image, np.c_[small, [0, 0]]).chunks[1]) < 64
        horizon = np.array([[1.0, 0, 0], [0, 1, 0], [0.9, 0.9, 0.05]])
        with pytest.raises(ValueError, match="pass smaller `chunks`"):
            stnkit.projective_sample(image, horizon, chunks=64)
        far = stnkit.flow_sample(image, flow + 20, max_displacement=1)
        with pytest.raises(ValueError, match="farther than the bounds allow"):
            far.compute(scheduler="sync")


def test_chunks_of_auto_are_of_bytes(plain) -> None:
    import stnkit

    identity = np.eye(2, 3)
    few = da.zeros((1, 4096, 4096), chunks=(1, 23, 4096), dtype=np.float32)
    assert max(stnkit.affine_sample(few, identity).chunks[1]) >= 2000  # not 23
    many = da.zeros((3, 1, 4096, 4096), chunks=(1, 1, -1, -1), dtype=np.float32)
    assert stnkit.affine_sample(many, identity).chunks[0] == (1, 1, 1)


def test_one_thread_works_in_a_task() -> None:
    import stnkit
    from stnkit.kernels.cpu import threads

    seen = []
    image = da.from_array(np.ones((1, 512, 512), np.float32), chunks=256)
    real = threads.available
    threads.available = lambda work: seen.append(real(work)) or seen[-1]
    try:
        for count in (1, 2):
            stnkit.affine_sample(image, np.eye(2, 3), chunks=512, threads=count).compute(scheduler="sync")
    finally:
        threads.available = real
    assert seen[0] == 1
    assert seen[1] > 1


EXPRESSIONS = """
import dask
dask.config.set({"array.query-planning": True})
import dask.array as da, numpy as np, stnkit, stnkit.dask
assert da.ARRAY_EXPR_ENABLED
image, theta = np.random.default_rng(0).random((2, 40, 50)), np.array([[0.9, 0.2, 0.1], [-0.2, 0.8, 0.0]])
whole = stnkit.affine_sample(image, theta, (30, 45))
chunked = da.from_array(image, chunks=(1, 13, 20))
out = stnkit.affine_sample(chunked, theta, (30, 45), chunks=(7, 20))
assert np.array_equal(out.compute(scheduler="sync"), whole)
assert np.array_equal((out + 1.0).compute(scheduler="sync"), whole + 1)
store = stnkit.dask.affine_sample(image, theta, (30, 45), chunks=(7, 20))
assert np.array_equal(store.compute(scheduler="sync"), whole)
bars = dask.compute(*stnkit.affine_sample_vjp(out, chunked, theta), scheduler="sync")
for bar, expected in zip(bars, stnkit.affine_sample_vjp(whole, image, theta), strict=True):
    assert np.allclose(bar, expected, rtol=1e-12)
"""


@pytest.mark.skipif(dask.__version__ < "2026", reason="the option is of newer releases")
def test_arrays_may_be_expressions() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", EXPRESSIONS], check=True, env=environment)


def test_examples_print_what_they_show(plain) -> None:
    module = importlib.import_module("stnkit.dask")
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        for example in doctest.DocTestFinder(recurse=False).find(getattr(module, name), name, module=False, globs={}):
            with dask.config.set(scheduler="sync"):
                assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


def test_importing_dask_parts_loads_no_scheduler() -> None:
    script = "import stnkit.dask, sys; assert not {'distributed', 'numba', 'zarr', 'torch', 'jax'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("mode", ["constant", "grid-constant", "nearest", "mirror", "reflect", "wrap", "grid-wrap"])
def test_functions_of_scipy(plain, order: int, mode: str) -> None:
    """Bits are those of the whole, but of coefficients, which are filtered chunk by chunk: see above."""
    from stnkit import ndimage

    random, options = np.random.default_rng(0), {"order": order, "mode": mode, "cval": 0.5}
    image, turn = random.random((31, 34)), np.array([[0.9, 0.2], [-0.2, 0.8]])
    points = random.uniform(-3, 36, (2, 6, 5))
    chunked, apart = da.from_array(image, chunks=(12, 15)), da.from_array(points, chunks=(1, 4, 3))
    bound = 9 * (64 + 16) * np.finfo(float).eps if order > 1 else 0
    expected = ndimage.affine_transform(image, turn, [3.0, 5.0], (9, 11), **options)
    found = ndimage.affine_transform(chunked, turn, [3.0, 5.0], (9, 11), **options)
    np.testing.assert_allclose(found.compute(scheduler="sync"), expected, rtol=0, atol=bound)
    expected = ndimage.map_coordinates(image, points, **options)
    for one, other in ((chunked, points), (chunked, apart), (image, apart)):
        found = ndimage.map_coordinates(one, other, **options)
        np.testing.assert_allclose(found.compute(scheduler="sync"), expected, rtol=0, atol=bound)


def test_functions_of_scipy_keep_channels_and_integers(plain) -> None:
    from stnkit import ndimage

    image = np.random.default_rng(0).integers(0, 255, (2, 3, 12, 13)).astype("uint8")
    chunked = da.from_array(image, chunks=(1, 3, 5, 6))
    for call in (
        lambda given: ndimage.shift(given, (0, 0, 2.5, -1.25), order=1),
        lambda given: ndimage.rotate(given, 20, (2, 3), order=1),
        lambda given: ndimage.zoom(given, (1, 1, 1.5, 0.5), order=1),
    ):
        out = call(chunked)
        equal(out.compute(scheduler="sync"), call(image))
        assert out.chunks[0] == (1, 1)
    with pytest.raises(ValueError, match="as Dask's arrays are worked out later; pass a dtype"):
        ndimage.shift(chunked, 1, output=np.empty(image.shape))
    for function in (ndimage.spline_filter, ndimage.spline_filter1d):
        with pytest.raises(TypeError, match=r"`input` is an array of Dask, .*; pass `input.compute\(\)`"):
            function(chunked)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i2", ">c8", ">f2", "f2", "<u4"])
def test_functions_of_scipy_give_the_dtype_that_is_asked_for(plain, dtype: str) -> None:
    from stnkit import ndimage

    image = np.random.default_rng(0).random((6, 7)) * 100
    chunked = da.from_array(image, chunks=(4, 5))
    for call in (
        lambda given: ndimage.shift(given, 0, output=dtype),
        lambda given: ndimage.shift(given, (0.5, 1), dtype, order=1),
        lambda given: ndimage.zoom(given, 1.5, np.dtype(dtype), order=1),
        lambda given: ndimage.map_coordinates(given, np.ones((2, 3)), dtype, order=1),
    ):
        out, expected = call(chunked), call(image)
        assert out.dtype == out.compute(scheduler="sync").dtype == expected.dtype == np.dtype(dtype)
        equal(out.compute(scheduler="sync"), expected)


def test_chunks_that_lie_in_one_array_are_read_there():
    from stnkit.dask import tasks

    image = np.arange(42.0).reshape(6, 7)
    chunks, box = ((2, 4), (3, 4)), (slice(1, 5), slice(2, 6))
    views = {(i, j): image[2 * i : 2 + 4 * i, 3 * j : 3 + 4 * j] for i in (0, 1) for j in (0, 1)}
    copies = {index: part.copy() for index, part in views.items()}
    moved = views | {(1, 0): image[1:5, :3]}
    for near, shares in ((views, True), (copies, False), (moved, False)):
        expected = np.block([[near[0, 0], near[0, 1]], [near[1, 0], near[1, 1]]])[box]
        got = tasks.joined(list(near), list(near.values()), chunks, box, image.dtype)
        np.testing.assert_array_equal(got, expected)
        assert np.shares_memory(got, image) == shares
