"""Splines and filters compiled: footprints of every width, read in pieces, in lanes of locations and of channels."""

import bounds
import numpy as np
import oracles
import pytest

import stnkit

CASES = [  # axes, mode, channels, last, dtype
    (1, "spline2", 2, False, "float32"),
    (2, "spline3", 3, False, "float32"),
    (2, "spline4", 3, True, "float64"),
    (3, "spline5", 9, True, "float32"),
    (1, "mitchell", 9, True, "float64"),
    (2, "lanczos3", 3, False, "float32"),
]


@pytest.mark.parametrize(("d", "mode", "channels", "last", "dtype"), CASES)
def test_compiled(d, mode, channels, last, dtype):
    """Values and cotangents where rows are read as they lie, at the rim, and outside."""
    random = np.random.default_rng(d)
    extent, size = (11, 12, 13)[-d:], (3, 5, 7)[-d:]
    shape, out = ((2, *part, channels) if last else (2, channels, *part) for part in (extent, size))
    image, cotangent = random.uniform(-1, 1, shape).astype(dtype), random.uniform(-1, 1, out).astype(dtype)
    grid = random.uniform(-1.4, 1.4, (2, *size, d)).astype(dtype)
    options = {
        "mode": mode,
        "prefilter": False,
        "fill_value": 0.5,
        "data_format": "channels_last" if last else "channels_first",
    }
    limits = bounds.Size(d, mode, dtype, max(extent), 1.4, channels=channels, points=grid[..., 0].size)
    got = stnkit.grid_sample(image, grid, **options)
    expected = oracles.grid_sample(image, grid, **options)
    np.testing.assert_allclose(got, expected, rtol=0, atol=bounds.value(limits))
    d_image, d_grid = stnkit.grid_sample_vjp(cotangent, image, grid, **options)
    image_bar, grid_bar = oracles.grid_sample_vjp(cotangent, image, grid, **options)
    readers = oracles.readers(image, grid, **options)
    np.testing.assert_array_less(np.abs(d_image - image_bar), bounds.d_image(limits._replace(points=readers)) + 1e-300)
    np.testing.assert_allclose(d_grid, grid_bar, rtol=0, atol=bounds.d_grid(limits))
