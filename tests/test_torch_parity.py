"""Compiled kernels against torch, or the oracle, on pictures of several tiles; that bits are those of plain Python, and
that threads change none, are tests of their own.
"""

import bounds
import cases
import numpy as np
import oracles
import pytest
import torch_reference
from cases import CASES

import stnkit


def run(package, image, grid, cotangent, options):
    return package.grid_sample(image, grid, **options), *package.grid_sample_vjp(cotangent, image, grid, **options)


def limits(case, image, grid):
    reach = np.abs(grid).max()
    size = bounds.Size(len(case.extent), case.mode, case.dtype, max(case.extent), reach, channels=case.channels)
    readers = oracles.readers(image, grid, **case.options)
    return bounds.value(size), bounds.d_image(size._replace(points=readers)), bounds.d_grid(size)


def agree_with_reference(case, got, image, grid, cotangent):
    """Agree with torch in the dtype of the case, and in float64 on the same numbers; or with the oracle."""
    allowed = limits(case, image, grid)
    for dtype in {case.dtype, "float64"}:
        given = [array.astype(dtype) for array in (cotangent, image, grid)]
        if torch_reference.has(len(case.extent), case.mode, case.padding_mode):
            expected = torch_reference.grid_sample(*given, **case.options)
        else:
            bars = oracles.grid_sample_vjp(*given, **case.options)
            expected = oracles.grid_sample(*given[1:], **case.options), *bars
        for name, a, b, limit in zip(("out", "d_image", "d_grid"), got, expected, allowed, strict=True):
            assert a.dtype == case.dtype
            assert a.shape == b.shape
            excess = np.abs(a - b) - limit
            assert excess.max() <= 0, (name, dtype, np.abs(a - b).max(), limit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_parity(case):
    image, grid, cotangent = cases.arrays(case)
    agree_with_reference(case, run(stnkit, image, grid, cotangent, case.options), image, grid, cotangent)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_affine(plain, d, dtype):
    """`affine_sample` and its cotangents are those of the grid that the maps give."""
    random = np.random.default_rng(d)
    extent, size = (9, 10, 11)[-d:], (5, 6, 7)[-d:]
    image = random.uniform(-1, 1, (2, 3, *extent)).astype(dtype)
    theta = random.uniform(-1, 1, (2, d, d + 1)).astype(dtype)
    cotangent = random.uniform(-1, 1, (2, 3, *size)).astype(dtype)
    grid = plain.affine_grid(theta, size)
    np.testing.assert_array_equal(plain.affine_sample(image, theta, size), plain.grid_sample(image, grid))
    d_image, d_theta = plain.affine_sample_vjp(cotangent, image, theta)
    expected, d_grid = plain.grid_sample_vjp(cotangent, image, grid)
    np.testing.assert_array_equal(d_image, expected)
    limit = bounds.d_theta(d_grid, dtype)
    np.testing.assert_allclose(d_theta, oracles.affine_grid_vjp(d_grid), rtol=0, atol=limit)
    np.testing.assert_allclose(d_theta, plain.affine_grid_vjp(d_grid), rtol=0, atol=limit)
    e = np.finfo(dtype).eps
    np.testing.assert_allclose(grid, oracles.affine_grid(theta, size), rtol=0, atol=3 * (d + 1) ** 2 * e)
