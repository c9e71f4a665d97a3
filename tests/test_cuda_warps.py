"""What the threads of a GPU's warp do together, by 32 threads of which none waits for one that is elsewhere."""

import importlib

import numpy as np
import pytest
from emulation import warps
from emulation.pretended import lent, pretended, returned

SIZES = {1: ((50,), (45,)), 2: ((7, 9), (6, 7)), 3: ((3, 4, 5), (3, 4, 4))}
ULP = 2.0**-53


def places(random, ndim, size, extent):
    """Return a grid whose neighbours are a pixel apart, one location far out, and one whose coordinates are none."""
    pixels = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")[::-1], axis=-1) - 0.5
    grid = (2 * (pixels + random.uniform(-0.2, 0.2, (2, *size, ndim))) + 1) / np.array(extent[::-1]) - 1
    flat = grid.reshape(2, -1, ndim)
    flat[0, 3], flat[1, 5] = 1e6, np.nan
    return grid


@pytest.fixture
def library(plain):
    importlib.import_module("stnkit.kernels.cuda.runtime")
    return plain


def compare(function, *arguments, terms, **options):
    """Compare with the CPU's loops: terms of size 1 are added up in another order. Return what was added alone."""
    added, record = [], []
    here = function(*arguments, **options)
    with pretended(record, run=warps.launch) as runtime, warps.in_warps(runtime, added):
        there = returned(function(*map(lent, arguments), **options))
    for expected, result in zip(*((r if isinstance(r, tuple) else (r,)) for r in (here, there)), strict=True):
        if expected is not None:
            np.testing.assert_allclose(result, expected, rtol=0, atol=4 * terms * terms * ULP)
    assert any(spec.together for _, spec, *_ in record)
    return len(added)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("ndim", SIZES)
def test_neighbours_add_to_one_pixel_once(library, ndim, padding):
    """Of planes; of 2 to the number of axes additions for each location and channel, some half are left."""
    random = np.random.default_rng(ndim)
    extent, size = SIZES[ndim]
    image, cotangent = (random.uniform(-1, 1, (2, 2, *part)) for part in (extent, size))
    grid = places(random, ndim, size, extent)
    options, terms = {"padding_mode": padding}, 2 * int(np.prod(size))
    both = compare(library.grid_sample_vjp, cotangent, image, grid, terms=terms, **options)
    image_alone = compare(library.grid_sample_vjp, cotangent, image, grid, terms=terms, wrt="image", **options)
    splat = compare(library.grid_splat, cotangent, grid, terms=terms, size=extent, **options)
    assert both == image_alone == splat <= 0.75 * 2 * terms * 2**ndim


def test_maps_give_their_cotangents_too(library):
    random = np.random.default_rng(0)
    image, cotangent = random.uniform(-1, 1, (2, 2, 7, 9)), random.uniform(-1, 1, (2, 2, 6, 7))
    theta = np.eye(2, 3) + random.uniform(-0.1, 0.1, (2, 2, 3))
    compare(library.affine_sample_vjp, cotangent, image, theta, terms=2 * 42)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("ndim", SIZES)
def test_three_channels_side_by_side_are_exchanged(library, ndim, mode):
    random = np.random.default_rng(ndim)
    extent, size = SIZES[ndim]
    image, cotangent = (random.uniform(-1, 1, (2, *part, 3)) for part in (extent, size))
    grid = places(random, ndim, size, extent)
    options, terms = {"mode": mode, "data_format": "channels_last"}, 3 * int(np.prod(size))
    compare(library.grid_sample, image, grid, terms=3, fill_value=[0.5, -0.25, 1.0], **options)
    assert compare(library.grid_sample_vjp, cotangent, image, grid, terms=terms, **options) == 0
    assert compare(library.grid_sample_vjp, cotangent, image, grid, terms=terms, wrt="image", **options) == 0
    assert compare(library.grid_splat, cotangent, grid, terms=terms, size=extent, **options) == 0
