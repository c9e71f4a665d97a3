"""The same bits on any number of threads and run after run, where work is split into several parts."""

import numba
import numpy as np
import pytest

import stnkit


def draw(images, grids, channels=4, size=(64, 64)):
    random = np.random.default_rng(0)
    batch = max(images, grids)
    image = random.uniform(-1, 1, (images, channels, 40, 40)).astype(np.float32)
    grid = random.uniform(-1.2, 1.2, (grids, *size, 2)).astype(np.float32)
    return random.uniform(-1, 1, (batch, channels, *size)).astype(np.float32), image, grid


def on_threads(call):
    """Return the results of a call on 1 to 4 threads, twice each."""
    results, before = [], numba.get_num_threads()
    try:
        for threads in sorted({1, 2, 3, numba.config.NUMBA_NUM_THREADS} & set(range(before + 1))):
            numba.set_num_threads(threads)
            results += [call(), call()]
    finally:
        numba.set_num_threads(before)
    assert len(results) > 2
    return results


@pytest.mark.parametrize(
    ("images", "grids"), [(3, 3), (1, 3), (3, 1), (1, 1), (9, 9)], ids=["each", "image", "grid", "plane", "many"]
)
def test_grid_sample(images, grids):
    """Shared images and grids, a single plane, and a batch whose two cotangents take one pass."""
    cotangent, image, grid = draw(images, grids)

    def call():
        out = stnkit.grid_sample(image, grid)
        return [out, *stnkit.grid_sample_vjp(cotangent, image, grid)]

    first, *others = on_threads(call)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_pass_is_two_passes():
    """Both cotangents at once are the same bits as one at a time."""
    cotangent, image, grid = draw(9, 9)
    together = stnkit.grid_sample_vjp(cotangent, image, grid)
    for bar, wrt, index in zip(together, ("image", "grid"), (0, 1), strict=True):
        np.testing.assert_array_equal(bar, stnkit.grid_sample_vjp(cotangent, image, grid, wrt=wrt)[index])


@pytest.mark.parametrize(("images", "maps"), [(3, 3), (3, 1)], ids=["each", "theta"])
def test_affine_sample(images, maps):
    cotangent, image, _ = draw(images, images)
    theta = np.random.default_rng(1).uniform(-1, 1, (maps, 2, 3)).astype(np.float32)

    def call():
        grid = stnkit.affine_grid(theta, (160, 160))
        out = stnkit.affine_sample(image, theta, (64, 64))
        bars = stnkit.affine_sample_vjp(cotangent, image, theta)
        return [grid, out, *bars, stnkit.affine_grid_vjp(grid)]

    first, *others = on_threads(call)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)
