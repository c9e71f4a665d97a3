"""Thin plate splines: the linear system of a lattice of control points, solved once for each lattice.

A spline takes u(p) = sum_k w_k U(|p - c_k|) + A [p, 1], and is to take the control points c_k to theta. With the side
conditions sum_k w_k [c_k, 1] = 0 that is a linear system, so [w; A] is a matrix times theta (Bookstein, 1989).
"""

from typing import NoReturn

import numpy as np

from stnkit.dtypes import FLOAT64
from stnkit.plans.memo import Memo

Shape = tuple[int, ...]

EPS = float(np.finfo(FLOAT64).eps)
FLAT = 2.0**-20  # thinner lattices are flat: points of float32 on a line are 2^-24 of their coordinates beside it
BLOCK = 2**20  # numbers of a table that are computed at once
KEPT = Memo(2**28)  # solutions and tables, 256 MiB of them
COARSE = 2.0**-10  # by how much float32 may miss a smooth map of numbers of the order of one


def radial(square: np.ndarray, ndim: int) -> np.ndarray:
    """Return U(r) of r^2: |r|^3 on one axis, r^2 log r^2 on two, |r| on three."""
    bent: np.ndarray = square * np.log(np.where(square > 0, square, 1)) if ndim == 2 else np.sqrt(square)
    return bent * square if ndim == 1 else bent


def points(control: bytes, ndim: int) -> np.ndarray:
    """Return control points of shape (K, d) from their bytes."""
    return np.frombuffer(control, FLOAT64).reshape(-1, ndim)


def squares(locations: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return the squared distance of every location from every control point."""
    apart: np.ndarray = sum((p[:, None] - c) ** 2 for p, c in zip(locations.T, control.T, strict=True))
    return apart


def basis(locations: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return [U(|p - c_1|), ..., U(|p - c_K|), p, 1] for every location p: of shape (P, K + d + 1)."""
    bent = radial(squares(locations, control), control.shape[-1])
    return np.concatenate([bent, locations, np.ones((len(locations), 1))], axis=1)


def solution(control: bytes, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two matrices, (K, K) and (K + d + 1, K): theta times the first, and then the second, is [w; A].

    Their product would be one matrix, but of numbers as large as those of the inverse of an ill-conditioned system.
    Rounded, they would spoil every map; the two spoil none that is smooth.

    Raises
    ------
    ValueError
        If the control points determine no spline, or none in float64.
    """
    found: tuple[np.ndarray, np.ndarray] | None = KEPT.find((control, ndim))
    if found is None:
        found = _solved(points(control, ndim))
        KEPT.keep((control, ndim), found, len(control) + sum(matrix.nbytes for matrix in found))
    return found


def _solved(lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve the system on the weights that the side conditions leave, where U is definite.

    Let [c, 1] = Q R, of which the first d + 1 columns of Q are P, and the others Z. The side conditions say w = Z v,
    and there +-Z' U Z = L L'. So v = +-inv(L') inv(L) Z' theta, and A = inv(R) P' (theta - U w). For R, points are
    moved to their mean and scaled to 1. Cholesky's method, which finds L, fails where the system is singular.
    """
    _refuse_degenerate(lattice)
    count, ndim = lattice.shape
    middle = lattice.mean(axis=0)
    extent = np.abs(lattice - middle).max()
    flat = np.concatenate([(lattice - middle) / extent, np.ones((count, 1))], axis=1)
    q, r = np.linalg.qr(flat, mode="complete")
    plane, rest = q[:, : ndim + 1], q[:, ndim + 1 :]
    square = squares(lattice, lattice)
    bent = radial(square, ndim)
    sign = -1 if ndim == 3 else 1
    bending = sign * (rest.T @ bent @ rest)
    try:
        modes = np.linalg.solve(np.linalg.cholesky(bending), rest.T)
    except np.linalg.LinAlgError:
        modes = np.full(1, np.inf)
    # What rounding is multiplied by is the norm of the inverse, which is at most its trace.
    rounded = EPS * max(np.linalg.norm(bending), np.abs(bent).max())
    if not rounded * (modes**2).sum() < 1:
        _refuse_close(lattice, square)
    weights = sign * modes.T
    affine = np.linalg.solve(r[: ndim + 1], np.concatenate([-plane.T @ bent @ weights, np.eye(ndim + 1)], axis=1))
    affine[:ndim] /= extent
    affine[ndim] -= middle @ affine[:ndim]
    first = np.concatenate([modes, plane.T])
    second = np.concatenate([np.pad(weights, ((0, 0), (0, ndim + 1))), affine])
    first.flags.writeable = second.flags.writeable = False
    return first, second


def _refuse_close(lattice: np.ndarray, square: np.ndarray) -> NoReturn:
    np.fill_diagonal(square, np.inf)
    first, second = np.unravel_index(square.argmin(), square.shape)
    msg = (
        f"`control_points` lie too close to each other: float64 has too few digits for a spline of these "
        f"{len(lattice)}, of which numbers {first} and {second} are {np.sqrt(square[first, second]):.1e} apart, while "
        f"all extend over {np.ptp(lattice, axis=0).max():.1e}"
    )
    raise ValueError(msg)


def refuse_float32(control: bytes, ndim: int) -> None:
    """Refuse control points for whose splines float32 has too few digits.

    At a location K terms are added, each with about four roundings. They are large, and cancel, where points lie close
    to each other: those of a smooth map, and more so those of its rounding to float32, by up to 2^-24 at each point.
    """
    key = "terms", control, ndim
    terms: float | None = KEPT.find(key)
    if terms is None:
        terms = _terms(control, ndim)
        KEPT.keep(key, terms, len(control))
    if not 4 * terms * 2.0**-24 < COARSE:
        msg = (
            f"`control_points` lie too close to each other for float32: terms of {terms:.0e} in all cancel at a "
            "location, so that even a smooth spline would be far off; pass `theta` in float64"
        )
        raise ValueError(msg)


def _terms(control: bytes, ndim: int) -> float:
    """Return the sum of the magnitudes of what a location adds, for a smooth map that is rounded to float32."""
    lattice = points(control, ndim)
    first, second = solution(control, ndim)
    shifted = lattice - lattice.mean(axis=0)
    smooth = np.abs(second @ (first @ (shifted / np.abs(shifted).max()) ** 2)).max(axis=1)
    rounding = 2.0**-24 * np.abs(second @ first).sum(axis=1)
    return float((np.abs(basis(lattice, lattice)) @ (smooth + rounding)).max())


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
    if extents[-1] <= FLAT * extents[0]:
        word = {2: "collinear", 3: "coplanar"}[ndim]
        msg = f"`control_points` are {word}: all {count} lie on one {_FLAT[ndim]}, so that no spline is given beside it"
        raise ValueError(msg)


def block(theta: np.ndarray, control: bytes) -> np.ndarray:
    """Return what kernels read of each spline, in float64: control points, weights, and the affine part by rows."""
    batch, count, ndim = theta.shape
    first, second = solution(control, ndim)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite makes all locations read the fill value
        numbers = second @ (first @ theta.astype(FLOAT64))
    flat = np.broadcast_to(points(control, ndim).reshape(1, -1), (batch, count * ndim))
    weights = numbers[:, :count].reshape(batch, count * ndim)
    affine = numbers[:, count:].swapaxes(1, 2).reshape(batch, ndim * (ndim + 1))
    return np.concatenate([flat, weights, affine], axis=1)


def pull(bars: np.ndarray, control: bytes, ndim: int) -> np.ndarray:
    """Return the cotangent of theta from that of `block`; the control points are constants."""
    first, second = solution(control, ndim)
    count = len(first)
    bars = np.atleast_2d(bars)[:, count * ndim :]
    weights = bars[:, : count * ndim].reshape(-1, count, ndim)
    affine = bars[:, count * ndim :].reshape(-1, ndim, ndim + 1).swapaxes(1, 2)
    theta_bar: np.ndarray = first.T @ (second.T @ np.concatenate([weights, affine], axis=1))
    return theta_bar


def table(control: bytes, size: Shape, align: bool) -> np.ndarray:
    """Return the matrix (locations, K) that takes theta to the grid: what each location takes of each control point.

    One that exceeds what may be kept in all is computed in each call.
    """
    found: np.ndarray | None = KEPT.find((control, size, align))
    if found is None:
        found = _table(control, size, align)
        KEPT.keep((control, size, align), found, len(control) + found.nbytes)
    return found


def _table(control: bytes, size: Shape, align: bool) -> np.ndarray:
    lattice = points(control, len(size))
    first, second = solution(control, len(size))
    lines = [(2 * np.arange(n) + (0 if align else 1) - (n - 1 if align else n)) / max(n - align, 1) for n in size]
    locations = np.stack([axis.ravel() for axis in np.meshgrid(*lines, indexing="ij")[::-1]], axis=-1)
    matrix = np.empty((len(locations), len(lattice)))
    step = max(BLOCK // len(lattice), 1)
    for start in range(0, len(locations), step):
        np.matmul(basis(locations[start : start + step], lattice) @ second, first, out=matrix[start : start + step])
    return matrix
