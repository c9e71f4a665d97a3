"""Samples at indices of pixels in JAX, which are those of a grid with x first, in every transformation."""

import jax
import jax.numpy as jnp
import numpy as np

SIZES = {1: (7,), 2: (5, 6), 3: (3, 4, 5)}


def check(grid_sample, sample_at, ndim, mode, dtype, rounding):
    """Compare values, tangents, a Hessian, and gradients in batches over each subset of the arguments."""
    random, options = np.random.default_rng(ndim), {"mode": mode, "padding_mode": "reflection", "coords": "pixel"}
    images = jnp.asarray(random.normal(size=(2, 2, *SIZES[ndim])), dtype)
    where = jnp.asarray(random.uniform(-2, 8, (2, ndim, 4)), dtype)

    def at_indices(image, indices):
        return sample_at(image, indices, **options)

    def at_grid(image, indices):
        grid = jnp.moveaxis(indices[::-1], 0, -1).reshape(*(1,) * (ndim - 1), -1, ndim)
        return grid_sample(image, grid, **options)

    def slopes(f):
        return jax.grad(lambda *both: (f(*both) ** 2).sum(), (0, 1))

    def same(transform, *arguments):
        with jax.numpy_rank_promotion("raise"):
            got, expected = (jax.jit(transform(function))(*arguments) for function in (at_indices, at_grid))
        for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            scale = max(1.0, float(jnp.abs(other).max(initial=0)))
            np.testing.assert_allclose(one, other, rtol=0, atol=rounding * scale)

    given = images[0], where[0]
    same(lambda f: f, *given)
    same(lambda f: lambda *both: jax.jvp(f, both, both), *given)
    same(lambda f: jax.jacfwd(slopes(f), (0, 1)), *given)
    for axes in ((0, None), (None, 0), (0, 0)):
        batch = [arrays if axis == 0 else arrays[0] for arrays, axis in zip((images, where), axes, strict=True)]
        same(lambda f, axes=axes: jax.vmap(slopes(f), axes), *batch)
