"""Affine maps of pixels: the grid of their coordinates is sampled, and every derivative is that of the grid's."""

import numpy as np
import pytest

PIXELS = {"coords": "pixel", "padding_mode": "reflection"}
SIZES = {1: ((7,), (4,)), 2: ((6, 7), (3, 4)), 3: ((5, 6, 7), (2, 3, 4))}


def draw(d):
    """Draw (image, theta, size), and the indices of all locations, x first, with a 1 behind."""
    random, (extent, size) = np.random.default_rng(d), SIZES[d]
    theta = np.concatenate([np.eye(d) * 1.3 + random.normal(0, 0.1, (2, d, d)), random.normal(size=(2, d, 1))], -1)
    axes = np.meshgrid(*map(np.arange, size), indexing="ij")[::-1]
    return random.normal(size=(2, 2, *extent)), theta, size, np.stack([*axes, np.ones(size)], -1)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "spline3"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_is_its_grid(plain, d, mode):
    """Values, and derivatives of first and second order."""
    image, theta, size, indices = draw(d)
    random, options = np.random.default_rng(0), PIXELS | {"mode": mode}
    grid = np.einsum("nij,...j->n...i", theta, indices)
    out = plain.affine_sample(image, theta, size, **options)
    np.testing.assert_allclose(out, plain.grid_sample(image, grid, **options), rtol=0, atol=1e-12)
    cotangent, image_dot, dot = (
        random.normal(size=out.shape),
        *map(random.normal, (0, 0), (1, 1), (image.shape, theta.shape)),
    )
    grid_dot = np.einsum("nij,...j->n...i", dot, indices)
    image_bar, theta_bar = plain.affine_sample_vjp(cotangent, image, theta, **options)
    expected, grid_bar = plain.grid_sample_vjp(cotangent, image, grid, **options)
    np.testing.assert_allclose(image_bar, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(theta_bar, along(grid_bar, indices), rtol=0, atol=1e-11)
    _, out_dot = plain.affine_sample_jvp(image, theta, image_dot, dot, size, **options)
    _, expected = plain.grid_sample_jvp(image, grid, image_dot, grid_dot, **options)
    np.testing.assert_allclose(out_dot, expected, rtol=0, atol=1e-11)
    bars = plain.affine_sample_double_vjp(image_dot, dot, cotangent, image, theta, **options)
    *same, grid_bar = plain.grid_sample_double_vjp(image_dot, grid_dot, cotangent, image, grid, **options)
    for bar, expected in zip(bars, [*same, along(grid_bar, indices)], strict=True):
        np.testing.assert_allclose(bar, expected, rtol=0, atol=1e-10)


def along(grid_bar, indices):
    """Return the cotangent of maps for that of their grids."""
    n, d = len(grid_bar), grid_bar.shape[-1]
    return np.einsum("npi,pj->nij", grid_bar.reshape(n, -1, d), indices.reshape(-1, d + 1))


def test_antialiased(plain):
    """A step of the output is as many pixels as theta says."""
    image = np.arange(12.0)[None]
    theta = np.array([[3.0, 1.0]])
    got = plain.affine_sample(image, theta, (4,), coords="pixel", antialias=True)
    np.testing.assert_allclose(got, [[1, 4, 7, 10]], rtol=0, atol=1e-12)


def test_foreign_byte_order(plain):
    """The box that is read of a large image is found, and nothing else is copied."""
    image = np.random.default_rng(0).normal(size=(1, 400, 400))
    theta = np.array([[1.0, 0.0, 100.0], [0.0, 1.0, 200.0]])
    got = plain.affine_sample(image.astype(">f8"), theta, (3, 4), coords="pixel")
    np.testing.assert_array_equal(got, image[:, 200:203, 100:104])


def test_compiled():
    """Machine code reads the same."""
    import stnkit

    image, theta, size, indices = draw(2)
    grid = np.einsum("nij,...j->n...i", theta, indices)
    got = stnkit.affine_sample(image, theta, size, coords="pixel")
    np.testing.assert_allclose(got, stnkit.grid_sample(image, grid, coords="pixel"), rtol=0, atol=1e-12)
