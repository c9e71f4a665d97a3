"""Projective maps and thin plate splines as grids, in any array namespace.

Both are given from output to input in normalised coordinates, as theta is.
"""

from types import ModuleType
from typing import Any

import numpy as np

import stnkit

Array = Any  # of NumPy or of torch


def projective_sample(image: Array, theta: Array, size: tuple[int, int] | None = None) -> Array:
    """Sample images (N, C, H, W) under homographies (N, 3, 3)."""
    size = tuple(image.shape[2:]) if size is None else size
    points = lattice(size, theta)
    grid = points @ theta[:, None, :2, :2].swapaxes(-1, -2) + theta[:, None, None, :2, 2]
    depth = points @ theta[:, None, 2, :2, None] + theta[:, None, None, 2:, 2]
    where = namespace(theta).where
    ahead = depth > 0  # of the horizon; the rest reads paper
    return stnkit.grid_sample(image, where(ahead, grid / where(ahead, depth, 1.0), np.nan))


def thin_plate_spline_sample(
    image: Array, theta: Array, control_points: Array, size: tuple[int, int] | None = None
) -> Array:
    """Sample images (N, C, H, W) where splines through (K, 2) control points carry them to (N, K, 2)."""
    size = tuple(image.shape[2:]) if size is None else size
    weights = like(theta, spline_weights(np.asarray(control_points, np.float64), size))
    return stnkit.grid_sample(image, (weights @ theta).reshape(len(theta), *size, 2))


def lattice(size: tuple[int, int], array: Array) -> Array:
    """Return the pixel centres of an output, (H, W, 2), in the namespace and dtype of an array."""
    return like(array, stnkit.affine_grid(np.eye(2, 3), size))


def namespace(array: Array) -> ModuleType:
    """Return the module that an array's functions are in."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def like(array: Array, values: np.ndarray) -> Array:
    """Return NumPy values in the namespace and dtype of an array."""
    if isinstance(array, np.ndarray):
        return values.astype(array.dtype)
    return namespace(array).from_numpy(values).to(array)


def spline_weights(control_points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the matrix that carries the images of K control points to those of all output locations.

    A spline is a sum of U(r) = r^2 log r about the control points and an affine map; the sum has no affine part.
    """
    count = len(control_points)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _radial(control_points, control_points)
    system[:count, count:] = np.c_[np.ones(count), control_points]
    system[count:, :count] = system[:count, count:].T
    places = stnkit.affine_grid(np.eye(2, 3), size).reshape(-1, 2)
    basis = np.c_[_radial(places, control_points), np.ones(len(places)), places]
    return basis @ np.linalg.solve(system, np.eye(count + 3, count))


def _radial(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = ((a[:, None] - b) ** 2).sum(-1)
    return 0.5 * square * np.log(np.where(square == 0, 1, square))
