"""Arrays as they lie in memory: any layout, shared memory, planes beyond 32-bit offsets, and what a call allocates."""

import importlib
import math
import mmap
import tracemalloc
import types

import numpy as np
import pytest
import torch
from calls import PADDINGS
from covering import every_two_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from samplers import MODES
from strategies import LAYOUTS, numbers, shapes, strange

import stnkit
from stnkit.backends.cpu.memory import MAPPED, PAGE
from stnkit.kernels.cpu import threads


@given(layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 3), data=st.data())
def test_any_layout_gives_the_same_bits(plain, layouts, data):
    """Inputs in any layout give what contiguous ones give, and are not written."""
    extent, size = data.draw(shapes(2)), data.draw(shapes(2))
    image = data.draw(numbers((2, 3, *extent), "float32"))
    grid = data.draw(strange(data.draw(numbers((2, *size, 2), "float32")) * 2))
    cotangent = data.draw(numbers((2, 3, *size), "float32"))
    out = plain.grid_sample(image, grid)
    bars = plain.grid_sample_vjp(cotangent, image, grid)
    views = [LAYOUTS[name](array) for name, array in zip(layouts, (cotangent, image, grid), strict=True)]
    np.testing.assert_array_equal(plain.grid_sample(*views[1:]), out)
    for bar, expected in zip(plain.grid_sample_vjp(*views), bars, strict=True):
        np.testing.assert_array_equal(bar, expected)
    for view, array in zip(views, (cotangent, image, grid), strict=True):
        np.testing.assert_array_equal(view, array)


@pytest.mark.parametrize("name", ["reversed", "reversed gaps", "axes moved", "misaligned"])
def test_layouts_in_machine_code(name):
    random = np.random.default_rng(0)
    image, cotangent = random.uniform(-1, 1, (2, 3, 5, 6)), random.uniform(-1, 1, (2, 3, 4, 7))
    given = cotangent, image, random.uniform(-1.3, 1.3, (2, 4, 7, 2))
    views = [LAYOUTS[name](array.astype(np.float32)) for array in given]
    copies = [np.ascontiguousarray(view) for view in views]
    np.testing.assert_array_equal(stnkit.grid_sample(*views[1:]), stnkit.grid_sample(*copies[1:]))
    for bar, expected in zip(stnkit.grid_sample_vjp(*views), stnkit.grid_sample_vjp(*copies), strict=True):
        np.testing.assert_array_equal(bar, expected)


@pytest.mark.parametrize("function", ["grid_sample", "flow_sample"])
def test_coordinates_in_planes(function):
    """An array for each axis, whole or a part of a larger one, over several tiles; one location is far away."""
    random = np.random.default_rng(0)
    image, whole = random.random((2, 3, 9, 8), np.float32), random.uniform(-1.2, 1.2, (2, 2, 50, 60)).astype(np.float32)
    whole[0, 1, 45, 30], whole[1, 0, 3, 4] = 1e9, np.nan
    call = getattr(stnkit, function)
    for planes in (whole, whole[:, ::-1], whole[..., 2:47, 5:]):
        grid = np.moveaxis(planes, 1, -1)
        np.testing.assert_array_equal(call(image, grid), call(image, np.ascontiguousarray(grid)))


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
    whole = data.draw(numbers((2, 3, 4, 5), "float32"))
    image = np.broadcast_to(whole[tuple(slice(1) if a in axes else slice(None) for a in range(4))], whole.shape)
    grid = np.broadcast_to(data.draw(numbers((1, 3, 2), "float32")) * 2, (2, 4, 3, 2))
    cotangent = np.broadcast_to(data.draw(numbers((3, 1, 1), "float32")), (2, 3, 4, 3))
    out = stnkit.grid_sample(image, grid)
    np.testing.assert_array_equal(out, stnkit.grid_sample(image.copy(), grid.copy()))
    bars = stnkit.grid_sample_vjp(cotangent, image, grid)
    expected = stnkit.grid_sample_vjp(cotangent.copy(), image.copy(), grid.copy())
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
    image, d_image = vast[:n].reshape(1, 1, n), np.zeros((1, 1, n), np.float32)
    px = np.array([n - 1.5, n - 1.0, n - 0.5, float(n), 0.25]).reshape(1, 5, 1)
    cotangent = np.ones((1, 1, 5), np.float32)
    stnkit.grid_sample_vjp(cotangent, image, px, wrt="image", accumulate_into=d_image, coords="pixel")
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
ALLOCATING = {  # the function, and for each array its items and what it is, an image, or a grid or a flow
    "grid_sample": ("grid_sample", "16 image, 1 grid", {}),
    "vjp, shared grid": ("grid_sample_vjp", "16 image, 16 image, 1 grid", {}),
    "vjp, shared grid alone": ("grid_sample_vjp", "16 image, 16 image, 1 grid", {"wrt": "grid"}),
    "vjp, shared image": ("grid_sample_vjp", "16 image, 1 image, 16 grid", {}),
    "jvp, shared grid": ("grid_sample_jvp", "16 image, 1 grid, 16 image, 1 grid", {}),
    "double vjp, shared grid": ("grid_sample_double_vjp", "16 image, 1 grid, 16 image, 16 image, 1 grid", {}),
    "double vjp, shared image": ("grid_sample_double_vjp", "1 image, 16 grid, 16 image, 1 image, 16 grid", {}),
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


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["NumPy", "torch"])
def test_large_results_begin_at_a_large_page(make):
    """Those of first calls, and of repeated ones; the C library would put a header before them."""
    side = math.isqrt(MAPPED // 4)
    image, theta = make(np.ones((1, 1, 4, 4), np.float32)), make(np.eye(2, 3, dtype=np.float32)[None])
    for _ in range(3):
        out = np.asarray(stnkit.affine_sample(image, theta, (side + 1, side), mode="nearest"))
        assert out.ctypes.data % PAGE == 0
        assert (out == 1).all()


def foreign(array, how):
    """Return the numbers of an array as no kernel can read them."""
    if how == "swapped":
        return array.astype(array.dtype.newbyteorder())
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(array.tobytes(), np.uint8)
    return np.ndarray(array.shape, array.dtype, memory)


@pytest.fixture
def boxing(plain, monkeypatch):
    """Give the uncompiled package, which boxes images of any size; what it has not copied to a box is NaN, or 99."""
    package = importlib.import_module("stnkit.backends.interop")
    poisoned = {**vars(np), "empty": lambda size, dtype: np.full(size, np.nan if dtype.kind == "f" else 99, dtype)}
    monkeypatch.setattr(package, "LARGE", 0)
    monkeypatch.setattr(package, "np", types.SimpleNamespace(**poisoned))
    return plain


def narrow(op, d, random):
    """Return arguments that read a part of each axis, some of it outside, for an output of (1, 2, 3)[-d:]."""
    size = (1, 2, 3)[-d:]
    grid = random.uniform(-0.2, 0.3, (2, *size, d)) + random.choice([-1.0, 0.0, 0.4, 1.0], (2, *[1] * d, d))
    if op in ("grid", "flow"):
        return (grid,)
    theta = np.concatenate([random.uniform(-0.1, 0.1, (2, d, d)), grid[:, *[0] * d, :, None]], axis=-1)
    if op == "projective":
        last = np.concatenate([random.uniform(-0.1, 0.1, (2, 1, d)), np.ones((2, 1, 1))], axis=-1)
        theta = np.concatenate([theta, last], axis=1)
    return theta, size


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS, op=["grid", "affine", "flow", "projective"])
def test_a_box_has_all_that_is_read(boxing, d, mode, padding, op):
    """Of an image that no kernel can read, a box is copied: values have the bits of those of a native image."""
    random = np.random.default_rng([d, len(mode), len(padding), len(op)])
    for how, align, last in [("swapped", False, False), ("swapped", True, True), ("unaligned", True, False)]:
        source, *size = narrow(op, d, random)
        dtype = "int32" if mode == "nearest" and last else "float32" if last else "float64"
        extent = (17, 19, 23)[-d:]
        image = random.uniform(-50, 50, (1 + last, *extent, 2) if last else (1 + align, 2, *extent)).astype(dtype)
        if how == "unaligned":
            source.flat[:2] = np.nan, 1e30
        options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 3}
        options["data_format"] = "channels_last" if last else "channels_first"
        options |= {"units": "normalized"} if op == "flow" else {}
        sample = getattr(boxing, f"{op}_sample")
        out = sample(foreign(image, how), source, *size, **options)
        np.testing.assert_array_equal(out, sample(image, source, *size, **options), str((options, how)))
        assert out.dtype == image.dtype


def test_axes_of_a_foreign_image_in_any_order(boxing):
    """So are images with axes in another order or reversed; derivatives copy the whole."""
    random = np.random.default_rng(0)
    whole = random.uniform(-1, 1, (2, 3, 9, 11))
    px = random.uniform(6, 12, (2, 2, 3, 2))
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)):
        swapped = whole.transpose(order).astype(">f8").transpose(np.argsort(order))[..., ::-1, ::2]
        image = swapped.astype(float, order="C")
        out = boxing.grid_sample(swapped, px, coords="pixel")
        np.testing.assert_array_equal(out, boxing.grid_sample(image, px, coords="pixel"))
        got = boxing.grid_sample_vjp(out, swapped, px, coords="pixel")
        for bar, expected in zip(got, boxing.grid_sample_vjp(out, image, px, coords="pixel"), strict=True):
            np.testing.assert_array_equal(bar, expected)
    shared = np.broadcast_to(whole[:1, :1].astype(">f8"), whole.shape)
    out = boxing.grid_sample(shared, px, coords="pixel")
    np.testing.assert_array_equal(out, boxing.grid_sample(shared.astype(float), px, coords="pixel"))


def test_a_large_image_of_foreign_byte_order_in_machine_code():
    random = np.random.default_rng(0)
    image = random.uniform(-1, 1, (2, 3, 300, 300))
    px = random.uniform(291, 302, (2, 3, 5, 2))
    px[0, 0, 0] = np.nan
    out = stnkit.grid_sample(image.astype(">f8"), px, coords="pixel")
    np.testing.assert_array_equal(out, stnkit.grid_sample(image, px, coords="pixel"))


def test_a_place_of_a_gibibyte_on_disk(plain, tmp_path):
    """Reading a memory-mapped big-endian cube at one place takes memory for a box around that place."""
    cube = np.memmap(tmp_path / "cube", ">f8", "w+", shape=(1, 1, 512, 512, 512))  # a file of holes
    assert cube.nbytes == 2**30
    cube[0, 0, 499:502, 399:402, 299:302] = np.arange(27.0).reshape(3, 3, 3)
    x, y, z = (300.25 + 0.5) / 256 - 1, (400.5 + 0.5) / 256 - 1, (500.75 + 0.5) / 256 - 1
    theta = np.array([[0, 0, 0, x], [0, 0, 0, y], [0, 0, 0, z]])
    value = 13 + 0.25 + 0.5 * 3 + 0.75 * 9
    calls = {
        "grid": lambda: plain.grid_sample(cube, np.array([x, y, z]).reshape(1, 1, 1, 1, 3)),
        "affine": lambda: plain.affine_sample(cube, theta[None], (1, 1, 1)),
        "flow": lambda: plain.flow_sample(cube, np.array([x, y, z]).reshape(1, 1, 1, 1, 3), units="normalized"),
        "projective": lambda: plain.projective_sample(cube, np.vstack([theta, np.eye(4)[3]])[None], (1, 1, 1)),
    }
    for name, call in calls.items():
        tracemalloc.start()
        try:
            out = call()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert out.item() == pytest.approx(value, abs=1e-9), name
        assert peak < 2**22, (name, peak)


@pytest.mark.parametrize("wrt", [("image",), ("grid",), ("image", "grid")], ids="-".join)
@pytest.mark.parametrize("channels", [2, 11])
def test_cotangents_of_planes_for_pixels(plain, channels, wrt):
    """As a loss gives them that is computed from channels-first arrays: the same bits as of a copy, in all modes."""
    random = np.random.default_rng(channels)
    image = random.uniform(-1, 1, (2, 4, 5, channels)).astype(np.float32)
    grid = random.uniform(-1.3, 1.3, (2, 5, 7, 2)).astype(np.float32)
    planes = random.uniform(-1, 1, (2, channels, 5, 7)).astype(np.float32).transpose(0, 2, 3, 1)
    for mode in ("nearest", "bilinear", "bicubic"):
        options = {"wrt": wrt, "mode": mode, "data_format": "channels_last"}
        found = plain.grid_sample_vjp(planes, image, grid, **options)
        expected = plain.grid_sample_vjp(np.ascontiguousarray(planes), image, grid, **options)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_cotangents_of_planes_in_machine_code():
    """Of several tiles, the last of them not full."""
    random = np.random.default_rng(0)
    image = random.uniform(-1, 1, (1, 13, 12, 11)).astype(np.float32)
    grid = random.uniform(-1.3, 1.3, (1, 50, 41, 2)).astype(np.float32)
    planes = random.uniform(-1, 1, (1, 11, 50, 41)).astype(np.float32).transpose(0, 2, 3, 1)
    found = stnkit.grid_sample_vjp(planes, image, grid, data_format="channels_last")
    expected = stnkit.grid_sample_vjp(np.ascontiguousarray(planes), image, grid, data_format="channels_last")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_reversed_arrays_uncompiled(plain, mode):
    """Indices below 0 are those of memory before an address, and not of its end."""
    random = np.random.default_rng(0)
    image, grid = random.random((2, 3, 5, 6)), random.uniform(-1.3, 1.3, (2, 4, 4, 2))
    cotangent = random.random((2, 3, 4, 4))[:, ::-1]
    for turned in (image[:, ::-1], image[..., ::-1], image[::-1, :, ::-1]):
        for other in (grid, grid[..., ::-1], grid[:, ::-1]):
            given = turned.copy(), other.copy()
            expected = plain.grid_sample(*given, mode=mode)
            np.testing.assert_array_equal(plain.grid_sample(turned, other, mode=mode), expected)
            if mode != "nearest":
                bars = plain.grid_sample_vjp(cotangent, turned, other, mode=mode)
                for bar, wanted in zip(bars, plain.grid_sample_vjp(cotangent.copy(), *given, mode=mode), strict=True):
                    np.testing.assert_array_equal(bar, wanted)
