"""Grids of maps that are no affine ones, as formulas: made of operations that any framework differentiates.

Kernels compute the same numbers faster. These are for where a framework has to see the parts: to differentiate to any
order, to map over batches, or to compile. `xp` is the framework's namespace, and `arange` its function of that name,
in the dtype of theta.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Array = Any
Arange = Callable[[Any], Array]


class Rows(NamedTuple):
    """What a projective map makes of every location: u = r / w."""

    coordinates: list[Array]
    depth: Array  # w; 1 where a location is lost
    lost: Array  # at or behind the horizon, or not finite


def lattice(size: Sequence[Any], align: bool, arange: Arange, rank: int) -> list[Array]:
    """Return the normalised coordinates of an output along x, y, z, with `rank` axes that broadcast over it."""
    lines = []
    for axis, n in enumerate(reversed(size)):
        line = (2 * arange(n) - (n - 1)) / max(n - 1, 1) if align else (2 * arange(n) + (1 - n)) / n
        lines.append(line.reshape((*(1,) * (rank - 1 - axis), -1, *(1,) * axis)))
    return lines


def projective(theta: Array, size: Sequence[Any], align: bool, xp: Any, arange: Arange) -> Array:
    """Return the grid of projective maps, of shape (..., *T, d)."""
    return xp.stack(_rows(theta, lattice(size, align, arange, _rank(theta)), xp).coordinates, -1)


def projective_jvp(theta: Array, theta_dot: Array, size: Sequence[Any], align: bool, xp: Any, arange: Arange) -> Array:
    """Return the grid's tangent: u' = (r' - u w') / w."""
    lines = lattice(size, align, arange, _rank(theta))
    found = _rows(theta, lines, xp)
    *rows_dot, depth_dot = (_line(theta_dot, row, lines) for row in range(len(size) + 1))
    pairs = zip(found.coordinates, rows_dot, strict=True)
    moved = [(r_dot - _finite(found, u, xp) * depth_dot) / found.depth for u, r_dot in pairs]
    return xp.stack([xp.where(found.lost, 0.0, u_dot) for u_dot in moved], -1)


def projective_vjp(bar: Array, theta: Array, align: bool, xp: Any, arange: Arange) -> Array:
    """Return the cotangent of theta: r_bar = u_bar / w and w_bar = -(sum of r_bar u), times the locations."""
    ndim = theta.shape[-1] - 1
    lines = [*lattice(bar.shape[-1 - ndim : -1], align, arange, _rank(theta)), 1.0]
    found = _rows(theta, lines[:-1], xp)
    bars = [xp.where(found.lost, 0.0, bar[..., axis]) / found.depth for axis in range(ndim)]
    pulled = [r * _finite(found, u, xp) for r, u in zip(bars, found.coordinates, strict=True)]
    bars.append(-functools.reduce(operator.add, pulled))
    axes = tuple(range(-ndim, 0))
    flat = [xp.sum(r * line, axes) for r in bars for line in lines]
    return xp.stack(flat, -1).reshape(theta.shape)


def _rank(theta: Array) -> int:
    """Return how many axes a coordinate of the grid has: those of the batch, and of the output."""
    rank: int = theta.ndim - 2 + theta.shape[-1] - 1
    return rank


def _line(theta: Array, row: int, lines: list[Array]) -> Array:
    """Return one row of theta applied to (x, y, z, 1)."""
    at = (..., *(None,) * len(lines))
    value = theta[..., row, len(lines)][at]
    for axis in reversed(range(len(lines))):
        value = theta[..., row, axis][at] * lines[axis] + value
    return value


def _rows(theta: Array, lines: list[Array], xp: Any) -> Rows:
    """Apply projective maps. What is lost is divided by 1 instead, so that no derivative is 0 times infinity.

    Kernels lose a location where u overflows; here it is lost where the derivative u / w does, a little before.
    """
    *rows, depth = (_line(theta, row, lines) for row in range(len(lines) + 1))
    lost = ~((depth > 0) & xp.isfinite(depth))
    near = xp.where(lost, 1.0, depth)
    for r in rows:
        lost = lost | ~xp.isfinite(r / near / near)
    near = xp.where(lost, 1.0, depth)
    return Rows([xp.where(lost, float("nan"), xp.where(lost, 0.0, r) / near) for r in rows], near, lost)


def _finite(found: Rows, u: Array, xp: Any) -> Array:
    return xp.where(found.lost, 0.0, u)
