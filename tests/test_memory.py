"""Arrays as they lie in memory: any layout, shared memory, planes beyond 32-bit offsets, and what a call allocates."""

import mmap
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from strategies import LAYOUTS, numbers, pixels, shapes, strange

import stnkit
from stnkit.kernels import threads


@given(layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 3), data=st.data())
def test_any_layout_gives_the_same_bits(layouts, data):
    """Inputs in any layout give what contiguous ones give, and are not written."""
    extent, size = data.draw(shapes(2)), data.draw(shapes(2))
    image = data.draw(numbers((2, 3, *extent)))
    px = data.draw(strange(data.draw(pixels((2, *size), extent))))
    cotangent = data.draw(numbers((2, 3, *size)))
    out = stnkit.grid_sample(image, px, coords="pixel")
    bars = stnkit.grid_sample_vjp(cotangent, image, px, coords="pixel")
    views = [LAYOUTS[name](array) for name, array in zip(layouts, (cotangent, image, px), strict=True)]
    np.testing.assert_array_equal(stnkit.grid_sample(*views[1:], coords="pixel"), out)
    for bar, expected in zip(stnkit.grid_sample_vjp(*views, coords="pixel"), bars, strict=True):
        np.testing.assert_array_equal(bar, expected)
    for view, array in zip(views, (cotangent, image, px), strict=True):
        np.testing.assert_array_equal(view, array)


@given(layout=st.sampled_from(sorted(LAYOUTS)), data=st.data())
def test_any_layout_of_theta(layout, data):
    image, theta = data.draw(numbers((2, 3, 4, 5))), data.draw(numbers((2, 2, 3)))
    view = LAYOUTS[layout](theta)
    out = stnkit.affine_sample(image, theta)
    np.testing.assert_array_equal(stnkit.affine_sample(image, view), out)
    for a, b in zip(
        stnkit.affine_sample_vjp(out, image, view), stnkit.affine_sample_vjp(out, image, theta), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    grid = stnkit.affine_grid(theta, (4, 5))
    np.testing.assert_array_equal(stnkit.affine_grid(view, (4, 5)), grid)
    np.testing.assert_array_equal(stnkit.affine_grid_vjp(LAYOUTS[layout](grid)), stnkit.affine_grid_vjp(grid))


@given(axes=st.sets(st.integers(0, 3)), data=st.data())
def test_axes_of_stride_0(axes, data):
    """A broadcast axis is walked without a copy; a cotangent belongs to the array as it was given."""
    whole = data.draw(numbers((2, 3, 4, 5)))
    image = np.broadcast_to(whole[tuple(slice(1) if a in axes else slice(None) for a in range(4))], whole.shape)
    px = np.broadcast_to(data.draw(pixels((1, 3), (4, 5))), (2, 4, 3, 2))
    cotangent = np.broadcast_to(data.draw(numbers((3, 1, 1))), (2, 3, 4, 3))
    out = stnkit.grid_sample(image, px, coords="pixel")
    np.testing.assert_array_equal(out, stnkit.grid_sample(image.copy(), px.copy(), coords="pixel"))
    bars = stnkit.grid_sample_vjp(cotangent, image, px, coords="pixel")
    expected = stnkit.grid_sample_vjp(cotangent.copy(), image.copy(), px.copy(), coords="pixel")
    for a, b in zip(bars, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_do_not_share_memory_with_inputs():
    image, theta = np.ones((1, 1, 2, 2)), np.eye(2, 3)[None]
    grid = stnkit.affine_grid(theta, (2, 2))
    assert not np.shares_memory(grid, theta)
    out = stnkit.grid_sample(image, grid)
    for bar in stnkit.grid_sample_vjp(out, image, grid):
        assert not any(np.shares_memory(bar, array) for array in (image, grid, out))
        assert bar.flags.writeable


@pytest.fixture(scope="module")
def vast():
    """Give 2**33 + 2**20 bytes of float32 zeros that take room only where they are written."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return np.frombuffer(mmap.mmap(-1, 2**33 + 2**20, flags=flags), np.float32)


def rows(memory, step):
    """Return a (1, 1, 2, 4) image whose rows lie `step` elements apart, holding 1 .. 8."""
    image = as_strided(memory, (1, 1, 2, 4), (0, 0, 4 * step, 4))
    image[...] = np.arange(1, 9).reshape(2, 4)
    return image


@pytest.mark.parametrize("step", [2**29, 2**31, -(2**31)], ids=str)
def test_offsets_of_64_bits(vast, step):
    """Elements of one plane that lie beyond what 32 bits can count are read where they are."""
    image = rows(vast if step > 0 else vast[2**31 :], step)
    small = image.copy()
    px = np.array([[[[0.5, 0.5], [2.25, 0.75], [3.5, 1.5], [-0.5, 0.0]]]], np.float32)
    out = stnkit.grid_sample(image, px, coords="pixel")
    np.testing.assert_array_equal(out, stnkit.grid_sample(small, px, coords="pixel"))
    for a, b in zip(
        stnkit.grid_sample_vjp(out, image, px, coords="pixel"),
        stnkit.grid_sample_vjp(out, small, px, coords="pixel"),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_plane_of_more_than_2_to_the_31_elements(vast):
    """A long axis: a coordinate of float64 reaches its last pixels, and a tap beyond it is outside."""
    n = 2**31 + 100
    vast[n - 2 : n] = [3.0, 5.0]
    image = vast[:n].reshape(1, 1, n)
    px = np.array([n - 1.5, n - 1.0, n - 0.5, float(n)]).reshape(1, 4, 1)
    assert stnkit.grid_sample(image, px, coords="pixel").ravel().tolist() == [4, 5, 2.5, 0]
    ones = np.ones((1, 1, 4), np.float32)
    _, d_grid = stnkit.grid_sample_vjp(ones, image, px, wrt="grid", coords="pixel")
    assert d_grid.ravel().tolist() == [2, -5, -5, 0]


def test_the_cotangent_of_a_plane_beyond_32_bits(vast):
    """2**29 float32 take 2**31 bytes; they are allocated untouched, and only what is read is added to."""
    n = 2**29 + 100
    image = vast[:n].reshape(1, 1, n)
    px = np.array([n - 1.5, n - 1.0, n - 0.5, float(n), 0.25]).reshape(1, 5, 1)
    d_image, _ = stnkit.grid_sample_vjp(np.ones((1, 1, 5), np.float32), image, px, wrt="image", coords="pixel")
    assert d_image[0, 0, -3:].tolist() == [0, 0.5, 2]
    assert d_image[0, 0, :3].tolist() == [0.75, 0.25, 0]


@pytest.mark.parametrize("axis", [0, 1])
def test_items_and_channels_far_apart(vast, axis):
    """Batch items and channels 2**31 elements apart, in planes that are small."""
    shape, steps = [2, 2, 2, 4], [32, 64, 16, 4]
    steps[axis] = 4 * 2**31
    image = as_strided(vast, shape, steps)
    image[...] = np.arange(32).reshape(shape)
    px = np.random.default_rng(0).uniform(-1, 4, (2, 3, 3, 2)).astype(np.float32)
    out = stnkit.grid_sample(image, px, coords="pixel")
    np.testing.assert_array_equal(out, stnkit.grid_sample(image.copy(), px, coords="pixel"))
    for a, b in zip(
        stnkit.grid_sample_vjp(out, image, px, coords="pixel"),
        stnkit.grid_sample_vjp(out, image.copy(), px, coords="pixel"),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


ITEMS, SIDE = 16, 256
CUBIC = {"mode": "bicubic", "padding_mode": "border", "align_corners": True}
ALLOCATING = {  # the function, and for each array its items and what it is, an image, or a grid or a flow
    "grid_sample": ("grid_sample", "16 image, 1 grid", {}),
    "vjp, shared grid": ("grid_sample_vjp", "16 image, 16 image, 1 grid", {}),
    "vjp, shared grid alone": ("grid_sample_vjp", "16 image, 16 image, 1 grid", {"wrt": "grid"}),
    "vjp, shared image": ("grid_sample_vjp", "16 image, 1 image, 16 grid", {}),
    "jvp, shared grid": ("grid_sample_jvp", "16 image, 1 grid, 16 image, 1 grid", {}),
    "double vjp, shared grid": ("grid_sample_double_vjp", "16 image, 1 grid, 16 image, 16 image, 1 grid", CUBIC),
    "double vjp, shared image": ("grid_sample_double_vjp", "1 image, 16 grid, 16 image, 1 image, 16 grid", CUBIC),
    "flow": ("flow_sample", "16 image, 1 grid", {}),
    "flow vjp, shared flow": ("flow_sample_vjp", "16 image, 16 image, 1 grid", {"wrt": "flow"}),
    "splat, shared values": ("grid_splat", "1 image, 16 grid", {"size": (SIDE, SIDE)}),
    "splat, shared grid": ("grid_splat", "16 image, 1 grid", {"size": (SIDE, SIDE)}),
    "splat vjp, shared grid": ("grid_splat_vjp", "16 image, 16 image, 1 grid", {}),
    "count": ("grid_count", "16 grid", {"size": (SIDE, SIDE)}),
    "gradient, shared grid": ("grid_gradient", "16 image, 1 grid", {}),
}


def material(items, kind):
    """Draw an array between -1 and 1; each item of an image of two channels, or of a grid, takes half a MiB."""
    shape = {"image": (2, SIDE, SIDE), "grid": (SIDE, SIDE, 2)}[kind]
    return np.random.default_rng(0).uniform(-1, 1, (int(items), *shape)).astype(np.float32)


@pytest.mark.parametrize("name", ALLOCATING)
def test_a_call_allocates_its_results_alone(name, monkeypatch):
    """Beyond its results a call takes less than one item, let alone one array of all: scratch, of one thread here."""
    monkeypatch.setattr(threads, "SMALL", 1 << 62)
    function, arrays, options = ALLOCATING[name]
    inputs = [material(*array.split()) for array in arrays.split(", ")]
    call = getattr(stnkit, function)
    call(*inputs, **options)  # compiles it, and fills what is remembered
    tracemalloc.start()
    try:
        results = call(*inputs, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    results = [array for array in (results if isinstance(results, tuple) else [results]) if array is not None]
    item = 4 * 2 * SIDE * SIDE
    assert peak >= sum(array.nbytes for array in results)
    assert peak - sum(array.nbytes for array in results) < item
