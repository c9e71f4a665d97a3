"""Thin plate splines: the linear system of a lattice of control points, solved once for each lattice.

A spline takes u(p) = sum_k w_k U(|p - c_k|) + A [p, 1], and is to take the control points c_k to theta. With the side
conditions sum_k w_k [c_k, 1] = 0 that is a linear system, so [w; A] is a matrix times theta (Bookstein, 1989).
"""

import functools

import numpy as np

from stnkit.dtypes import FLOAT64

Shape = tuple[int, ...]

FLAT = 2.0**-23  # thinner lattices are flat: points of float32 that lie on a line do so no more closely
EXACT = 1e-9  # how closely a spline of numbers of the order of one interpolates; what solves a system worse is refused


def radial(square: np.ndarray, ndim: int) -> np.ndarray:
    """Return U(r) of r^2: |r|^3 on one axis, r^2 log r^2 on two, |r| on three."""
    bent: np.ndarray = square * np.log(np.where(square > 0, square, 1)) if ndim == 2 else np.sqrt(square)
    return bent * square if ndim == 1 else bent


@functools.lru_cache(maxsize=256)
def points(control: bytes, ndim: int) -> np.ndarray:
    """Return control points of shape (K, d) from their bytes."""
    return np.frombuffer(control, FLOAT64).reshape(-1, ndim)


def basis(places: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return [U(|p - c_1|), ..., U(|p - c_K|), p, 1] for every place p: of shape (P, K + d + 1)."""
    apart = places[:, None] - control
    bent = radial((apart**2).sum(axis=-1), control.shape[-1])
    return np.concatenate([bent, places, np.ones((len(places), 1))], axis=1)


@functools.lru_cache(maxsize=256)
def solution(control: bytes, ndim: int) -> np.ndarray:
    """Return the matrix (K + d + 1, K) that takes theta to the weights, and then to the affine part's columns.

    Raises
    ------
    ValueError
        If the control points determine no spline, or none as exactly as is promised.
    """
    lattice = points(control, ndim)
    count = len(lattice)
    _refuse_degenerate(lattice)
    rows = basis(lattice, lattice)
    system = np.zeros((count + ndim + 1,) * 2)
    system[:count] = rows
    system[count:, :count] = rows[:, count:].T
    try:
        matrix = np.linalg.solve(system, np.eye(len(system), count))
        error = float(np.abs(rows @ matrix - np.eye(count)).sum(axis=1).max())
    except np.linalg.LinAlgError:
        error = np.inf
    if not error <= EXACT:
        msg = (
            f"`control_points` lie too close to each other, or to one {_FLAT[ndim]}: the spline would miss them by up "
            f"to {error:.0e}, and {EXACT:.0e} is accepted"
        )
        raise ValueError(msg)
    matrix.flags.writeable = False
    return matrix


_FLAT = {1: "point", 2: "line", 3: "plane"}


def _refuse_degenerate(lattice: np.ndarray) -> None:
    count, ndim = lattice.shape
    if count < ndim + 1:
        msg = f"`control_points` must be at least {ndim + 1} for {ndim} axes; got {count}"
        raise ValueError(msg)
    if not np.isfinite(lattice).all():
        first = int(np.flatnonzero(~np.isfinite(lattice).all(axis=1))[0])
        msg = f"`control_points` must be finite; got {lattice[first].tolist()} as number {first}"
        raise ValueError(msg)
    _, first_at, copies = np.unique(lattice, axis=0, return_index=True, return_counts=True)
    if copies.max() > 1:
        first = int(first_at[copies.argmax()])
        again = int(np.flatnonzero((lattice == lattice[first]).all(axis=1))[1])
        msg = f"`control_points` must differ; got {lattice[first].tolist()} as numbers {first} and {again}"
        raise ValueError(msg)
    extents = np.linalg.svd(lattice - lattice.mean(axis=0), compute_uv=False)
    if extents[-1] <= count * FLAT * extents[0]:
        word = {2: "collinear", 3: "coplanar"}[ndim]
        msg = f"`control_points` are {word}: all {count} lie on one {_FLAT[ndim]}, so that no spline is given beside it"
        raise ValueError(msg)


def block(theta: np.ndarray, control: bytes) -> np.ndarray:
    """Return what kernels read of each spline, in float64: control points, weights, and the affine part by rows."""
    batch, count, ndim = theta.shape
    numbers = solution(control, ndim) @ theta.astype(FLOAT64)
    flat = np.broadcast_to(points(control, ndim).reshape(1, -1), (batch, count * ndim))
    weights = numbers[:, :count].reshape(batch, count * ndim)
    affine = numbers[:, count:].swapaxes(1, 2).reshape(batch, ndim * (ndim + 1))
    return np.concatenate([flat, weights, affine], axis=1)


def pull(bars: np.ndarray, control: bytes, ndim: int) -> np.ndarray:
    """Return the cotangent of theta from that of `block`; the control points are constants."""
    matrix = solution(control, ndim)
    count = matrix.shape[1]
    bars = np.atleast_2d(bars)[:, count * ndim :]
    weights = bars[:, : count * ndim].reshape(-1, count, ndim)
    affine = bars[:, count * ndim :].reshape(-1, ndim, ndim + 1).swapaxes(1, 2)
    theta_bar: np.ndarray = matrix.T @ np.concatenate([weights, affine], axis=1)
    return theta_bar


@functools.lru_cache(maxsize=16)
def table(control: bytes, size: Shape, align: bool) -> np.ndarray:
    """Return the matrix (locations, K) that takes theta to the grid: what each location takes of each control point."""
    lines = [(2 * np.arange(n) + (0 if align else 1) - (n - 1 if align else n)) / max(n - align, 1) for n in size]
    places = np.stack([axis.ravel() for axis in np.meshgrid(*lines, indexing="ij")[::-1]], axis=-1)
    lattice = points(control, len(size))
    matrix: np.ndarray = basis(places, lattice) @ solution(control, len(size))
    return matrix
