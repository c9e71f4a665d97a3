"""Paddings for splines: what is masked, periods of n - 1 pixels, and margins in memory."""

import bounds
import numpy as np
import oracles
import pytest
from cases import margin, unit

import stnkit

MODES = ("nearest", "spline0", "bilinear", "bicubic", "spline2", "spline3", "spline5")
PADDINGS = ("mask", "periodic", "zeros_margin", "border_margin")
WIDTH = oracles.MARGIN


def draw(d, padding, align, last=False):
    """Draw (image, grid, cotangent): locations inside, at the rim, outside, and beyond a margin; away from knots."""
    random = np.random.default_rng(d)
    extent, size = (3, 4, 5)[-d:], (2, 3, 9)[-d:]
    grid = unit(margin(random, (2, *size, d), -2 - (WIDTH + 3), 5 + WIDTH + 3), extent, align, "normalized")
    held = tuple(n + 2 * WIDTH for n in extent) if "margin" in padding else extent
    image, cotangent = random.uniform(-1, 1, (2, 2, *held)), random.uniform(-1, 1, (2, 2, *size))
    if last:
        image, cotangent = (np.ascontiguousarray(np.moveaxis(array, 1, -1)) for array in (image, cotangent))
    return image, grid, cotangent


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("d", "align", "last"), [(1, True, False), (2, False, True), (3, True, False)])
def test_is_what_it_is_defined_to_be(plain, mode, padding, d, align, last):
    """Values, and cotangents of image and grid."""
    if d == 3 and mode not in ("spline0", "bilinear", "spline2"):
        d = 2
    image, grid, cotangent = draw(d, padding, align, last)
    options = {"mode": mode, "prefilter": False, "padding_mode": padding, "align_corners": align, "fill_value": 0.5}
    options |= {"data_format": "channels_last"} if last else {}
    near = np.abs(grid).max()
    bound = "nearest" if mode == "spline0" else mode
    limits = bounds.Size(d, bound, "float64", max(image.shape[1:]), near, channels=2, points=grid[..., 0].size)
    got, expected = plain.grid_sample(image, grid, **options), oracles.grid_sample(image, grid, **options)
    np.testing.assert_allclose(got, expected, rtol=0, atol=bounds.value(limits))
    found = plain.grid_sample_vjp(cotangent, image, grid, **options)
    image_bar, grid_bar = oracles.grid_sample_vjp(cotangent, image, grid, **options)
    np.testing.assert_allclose(found[0], image_bar, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], grid_bar, rtol=0, atol=max(bounds.d_grid(limits), 1e-300))


def along(package, line, points, **options):
    """Sample a line at pixel coordinates."""
    image = np.asarray(line, float)[None]
    return package.grid_sample(image, np.asarray(points, float)[:, None], coords="pixel", **options)[0].tolist()


def test_masked(plain):
    """Outside [0, n - 1] nothing is interpolated, be it NaN or infinite, and the rim itself is the image's."""
    points = [-1e-9, 0, 0.5, 2, 2 + 1e-9, np.nan, -np.inf, 1e30]
    options = {"padding_mode": "mask", "fill_value": 7.0, "prefilter": False}
    for mode, middle in (("spline0", 3.0), ("bilinear", 2.0), ("spline3", None)):
        got = along(plain, [1, 3, 9], points, mode=mode, **options)
        assert [got[0], *got[4:]] == [7] * 5
        if mode != "spline3":
            assert got[1:4] == [1, middle, 9]


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_last_row_is_the_last_that_is_read(plain, dtype, d):
    """A location in the last row reads none beyond it, where NaN stands in memory."""
    whole = np.full((5,) * d, np.nan, dtype)
    image = whole[(slice(0, 4),) * (d - 1)]
    image[...] = np.random.default_rng(d).normal(size=image.shape)
    grid = np.full((*(1,) * (d - 1), 16, d), 3, dtype)
    grid[..., 0] = np.arange(16) % 4
    options = {"mode": "bilinear", "padding_mode": "mask", "align_corners": True, "coords": "pixel"}
    got = plain.grid_sample(image[None, None], grid[None], **options).ravel()
    np.testing.assert_array_equal(got, image[(3,) * (d - 1)][np.arange(16) % 4])


@pytest.mark.parametrize("padding", ["wrap", "zeros", "mask"])
@pytest.mark.parametrize(("step", "start"), [(2.0**33 + 0.25, 0), (-(2.0**33) - 0.25, 15 * (2.0**33 + 0.25))])
def test_a_row_of_a_map_that_is_far_at_one_end(plain, step, start, padding):
    """Its locations read what those of a grid read that has their coordinates."""
    image = np.arange(20.0).reshape(1, 1, 4, 5)
    theta = np.array([[[step, 0, start], [0, 1, 0.5]]])
    grid = np.stack(np.broadcast_arrays(step * np.arange(16.0) + start, np.arange(2.0)[:, None] + 0.5), axis=-1)[None]
    options = {"mode": "bilinear", "padding_mode": padding, "align_corners": True, "coords": "pixel"}
    expected = plain.grid_sample(image, grid, **options)
    np.testing.assert_array_equal(plain.affine_sample(image, theta, (2, 16), **options), expected)


def test_periods_of_one_pixel_less(plain):
    """The last pixel is where the first is; only within the image each is itself."""
    got = along(plain, [1, 3, 9], [-2, -1.5, -0.5, 0, 2, 2.5, 4, 5], padding_mode="periodic")
    assert got == [9, 2, 6, 1, 9, 2, 1, 3]
    assert along(plain, [5], [-3.25, 0, 8.5], padding_mode="periodic") == [5, 5, 5]


def test_half_way_up(plain):
    """Of two pixels that are equally far, order 0 takes the one to the right, and nearest the even one."""
    points = [-0.5, 0.5, 1.5, 2.5]
    assert along(plain, [1, 2, 3, 4], points, mode="spline0") == [1, 2, 3, 4]
    assert along(plain, [1, 2, 3, 4], points, mode="nearest") == [1, 1, 3, 3]


def test_a_margin_has_to_fit(plain):
    """Memory of 24 pixels is two margins without an image between them."""
    grid = np.zeros((1, 1))
    with pytest.raises(ValueError, match="at least one pixel"):
        plain.grid_sample(np.ones((1, 24)), grid, padding_mode="zeros_margin")
    assert plain.grid_sample(np.ones((1, 25)), grid, padding_mode="zeros_margin").item() == 1


@pytest.mark.parametrize("padding", PADDINGS)
def test_compiled(padding):
    """Machine code reads pairs, rows and single taps as Python does."""
    for mode in ("bilinear", "spline3"):
        image, grid, _ = draw(2, padding, False)
        options = {"mode": mode, "prefilter": False, "padding_mode": padding, "fill_value": 0.5}
        expected, got = (package.grid_sample(image, grid, **options) for package in (oracles, stnkit))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
