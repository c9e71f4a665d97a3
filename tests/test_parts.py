"""How a backward call is split, and in which order it sums: no choice of these changes a bit."""

import importlib
import itertools
import math

import numpy as np
import pytest


def drawn(batches, channels, extent, size, dtype=np.float32):
    """Return a cotangent, an image and a grid that leaves the image."""
    random = np.random.default_rng(0)
    images, grids = batches
    image = random.uniform(-1, 1, (images, channels, *extent)).astype(dtype)
    lattice = np.stack(np.meshgrid(*(np.linspace(-1.2, 1.2, n) for n in size), indexing="ij")[::-1], axis=-1)
    turned = lattice @ (np.eye(len(size)) + random.uniform(-0.4, 0.4, (len(size), len(size))))
    grid = (turned + random.uniform(-0.1, 0.1, (grids, *size, len(size)))).astype(dtype)
    return random.uniform(-1, 1, (max(batches), channels, *size)).astype(dtype), image, grid


@pytest.mark.parametrize(
    ("batches", "extent", "size", "options"),
    [
        ((2, 2), (5, 7), (4, 6), {}),
        ((1, 3), (5, 4), (5, 6), {"padding_mode": "reflection"}),
        ((3, 1), (9,), (8,), {"padding_mode": "border"}),
        ((8, 8), (3, 2, 3), (2, 3, 3), {"align_corners": True}),
    ],
    ids=["planes", "image shared", "grid shared", "volumes, one pass"],
)
@pytest.mark.parametrize("channels", [8, 11])
def test_channels_side_by_side(plain, batches, extent, size, options, channels):
    """The image's cotangent of many channels is that of each, and replaces what memory holds."""
    cotangent, image, grid = drawn(batches, channels, extent, size)
    together, _ = plain.grid_sample_vjp(cotangent, image, grid, **options)
    for c in range(channels):
        one = slice(c, c + 1)
        alone, _ = plain.grid_sample_vjp(cotangent[:, one], image[:, one], grid, wrt="image", **options)
        np.testing.assert_array_equal(together[:, one], alone)


def test_channels_are_added_to_what_stands(plain):
    """Sums side by side replace what stands, so a call that accumulates has others."""
    cotangent, image, grid = drawn((2, 2), 9, (5, 7), (4, 6))
    sums = np.ones_like(image)
    plain.grid_sample_vjp(cotangent, image, grid, wrt="image", accumulate_into=sums)
    for c in range(9):
        one, single = slice(c, c + 1), np.ones_like(image[:, :1])
        plain.grid_sample_vjp(cotangent[:, one], image[:, one], grid, wrt="image", accumulate_into=single)
        np.testing.assert_array_equal(sums[:, one], single)


@pytest.mark.parametrize("batches", [(2, 2), (1, 3), (3, 1), (1, 1)], ids=["each", "image", "grid", "one"])
@pytest.mark.parametrize(
    ("channels", "data_format"), [(2, "channels_first"), (9, "channels_first"), (40, "channels_last")]
)
def test_what_memory_held_does_not_matter(plain, monkeypatch, batches, channels, data_format):
    """Cotangents are cleared before anything is added to them: by kernels, or where they are allocated."""
    cotangent, image, grid = drawn(batches, channels, (3, 4), (3, 2))
    if data_format == "channels_last":
        cotangent, image = (np.ascontiguousarray(np.moveaxis(array, 1, -1)) for array in (cotangent, image))
    empty, held = np.empty, [np.nan]

    def used(shape, dtype=float):
        array = empty(shape, dtype)
        if array.dtype.kind == "f":
            array[...] = held[0]
        return array

    monkeypatch.setattr(np, "empty", used)
    for mode, wrt in itertools.product(("bilinear", "nearest"), (("image", "grid"), "image", "grid")):
        options = {"mode": mode, "wrt": wrt, "data_format": data_format}
        held[0] = np.nan
        bars = plain.grid_sample_vjp(cotangent, image, grid, **options)
        held[0] = 1
        for bar, other in zip(bars, plain.grid_sample_vjp(cotangent, image, grid, **options), strict=True):
            assert bar is other is None or np.isfinite(bar).all()
            np.testing.assert_array_equal(bar, other)


@pytest.mark.parametrize(
    ("batch", "channels", "extent", "size", "padding"),
    [
        (1, 3, (32, 5), (60, 18), "zeros"),
        (2, 1, (40, 3), (30, 36), "border"),
        (1, 1, (33, 6), (30, 36), "reflection"),
        (1, 1, (32, 2, 3), (42, 5, 5), "zeros"),
    ],
)
def test_bands(plain, monkeypatch, batch, channels, extent, size, padding):
    """However many pieces the bands of images are taken in, each cotangent has the bits of two whole passes."""
    layout, plans = (importlib.import_module(f"stnkit.plans.{name}") for name in ("layout", "launch"))
    spec, names = importlib.import_module("stnkit.spec"), ("image", "grid")
    words = importlib.import_module("stnkit.kernels.cpu.call")
    cotangent, image, grid = drawn((batch, batch), channels, extent, size)
    given = cotangent, image, grid
    expected = [plain.grid_sample_vjp(*given, wrt=name, padding_mode=padding)[k] for k, name in enumerate(names)]
    monkeypatch.setattr(layout, "MUCH", 0)
    choices = spec.Options(spec.BILINEAR, (spec.PADDING_MODES[padding],) * 3, False, False, False)
    points = math.prod(size)
    strides = channels * points, points, 1
    layouts = *map(layout.layout, (image, image, grid)), 0, size, choices, (True, True), strides, False
    (launch,) = plans.backward.__wrapped__(*layouts).launches
    kernel = launch.factory(launch.spec)
    assert kernel.name == "sample_vjp_banded"
    fill = np.zeros(channels, np.float32)
    for pieces in (1, 3):
        bars = np.full_like(image, np.nan), np.full_like(grid, np.nan)  # which are cleared
        block = np.array(launch.call.words, np.int64)
        slots = {"COTANGENT": cotangent, "IMAGE": image, "SOURCE": grid, "IMAGE_BAR": bars[0], "SOURCE_BAR": bars[1]}
        for slot, array in (slots | {"FILL": fill}).items():
            block[getattr(words, slot)] = array.ctypes.data
        ends = [k * launch.call.chunks // pieces for k in range(pieces + 1)]
        assert not any(kernel.function(block.ctypes.data, *both) for both in itertools.pairwise(ends))
        for bar, wanted in zip(bars, expected, strict=True):
            np.testing.assert_array_equal(bar, wanted)


def test_what_is_prefetched(plain):
    """An image, or a grid, of all items that is larger than a cache; and one channel lies a plane from the next."""
    layout, spec = importlib.import_module("stnkit.plans.layout"), importlib.import_module("stnkit.spec")
    choices = spec.Options(spec.BILINEAR, (spec.ZEROS,) * 3, False, False, False)

    def planned(image, source, kind=spec.GRID, place=None):
        arrays = layout.layout(image), layout.layout(source)
        return layout.sampling(*arrays, kind, source.shape[1:-1], choices._replace(place=place))

    side = math.isqrt(layout.CACHE // 4)
    small, large = (np.empty((n, n), np.float32) for n in (side, side + 1))
    few, many = (np.empty((1, 1, n, 2), np.float32) for n in (layout.CACHE // 8, layout.CACHE // 8 + 1))
    assert planned(small[None, None], few).prefetch == (0, 0)
    assert planned(large[None, None], few).prefetch == (1, 0)
    assert planned(small[None, None], many).prefetch == (0, 1)
    halves = np.empty((2, 1, side, side // 2 + 1), np.float32)
    assert planned(halves, few).prefetch == (1, 0)
    start, tile = (0, 0), small[None, None, :9]  # of wholes that a cache holds, of larger ones, and of both
    for wide, long in itertools.product((0, 1), repeat=2):
        place = spec.Place(start, (1, few.shape[2] + long), start, (side, side + wide))
        for flow in (few, few[:, :, :7]):
            assert planned(tile, flow, spec.FLOW, place).prefetch == (wide, long)
        grids = place._replace(out_start=(), out_size=())  # as checks leave it: a grid has its locations itself
        assert planned(tile, (few, many)[long], spec.GRID, grids).prefetch == (wide, long)
    for image in (small[None, None], small.reshape(1, 1, side, side)):
        assert planned(image, few).image[1] == side * side
