"""Bounds of the pixel coordinates that a source gives for a box of output locations.

What an affine map, a flow or a grid gives is bounded exactly, rounding included: the operations here are those of
kernels in float64, and each of them is monotonic. Other maps are bounded with some slack.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from stnkit.spec import Options

Span = tuple[float, float]  # lowest and highest; none lies between them if the first is larger
Shape = tuple[int, ...]
Parts = tuple[np.ndarray, np.ndarray]  # lowest and highest of (part of the box, axis), in the order x, y, z

FAR = 2.0**90  # past the end of any image: kernels clamp coordinates to it
STEEP = 2.0**-20  # of the terms of a projective map's last row: below it is too near to the horizon for rounding
ROUNDINGS = 16  # more than an operation of a map makes, were they all in one direction


def lattice(i: float, n: int, align: bool, pixel: bool) -> float:
    """Return the coordinate of output location `i` of `n`, as kernels do; `i` may lie between two locations."""
    if pixel:
        return float(i)
    if align:
        return (2 * i - (n - 1)) / (n - 1) if n > 1 else 0.0
    return (2 * i + 1 - n) / n


def located(u: float, n: int, options: Options) -> float:
    """Return a coordinate of a map or a grid in pixels of an axis of `n`, as kernels do."""
    u = min(max(u, -FAR), FAR)
    if options.pixel:
        return u
    if options.align:
        return (u + 1.0) / 2.0 * (n - 1)
    return ((u + 1.0) * n - 1.0) / 2.0


def affine(theta: Sequence[Sequence[float]], lines: Sequence[Span]) -> list[Span] | None:
    """Bound an affine map, by rows, on a box: `lines` are its first and last coordinates, in the order x, y, z.

    Each row takes its extremes at a corner. None if no coordinate is finite, as a number of the map is not.
    """
    spans: list[Span] = []
    for row in theta:
        if not math.isfinite(sum(row)) and not all(map(math.isfinite, row)):
            return None
        low = high = row[-1]
        for a, (first, last) in zip(reversed(row[:-1]), reversed(lines), strict=True):
            low, high = (a * first + low, a * last + high) if a >= 0 else (a * last + low, a * first + high)
        if math.isnan(low) or math.isnan(high):  # infinities cancelled
            low, high = -math.inf, math.inf
        spans.append((low, high))
    return spans


def corners(lines: Sequence[Span]) -> np.ndarray:
    """Return the corners of a box, and 1 after each."""
    return np.array(list(itertools.product(*lines, (1.0,))))


def projective(theta: np.ndarray, lines: Sequence[Span], epsilon: float) -> Parts | None:
    """Bound a projective map on the part of a box that lies before the horizon; None if there is none.

    A quotient of two linear functions takes its extremes at corners where the denominator is positive. A box across the
    horizon is cut there, and near to it coordinates go to infinity on the side that the numerator has.
    """
    ndim = len(lines)
    if not np.isfinite(theta).all():
        return None
    points = corners(lines)
    rows = points @ theta.T
    terms = np.abs(points) @ np.abs(theta).T
    least = max(STEEP, ROUNDINGS**2 * epsilon) * terms[:, ndim].max()
    slack = ROUNDINGS * epsilon * terms.max(axis=0)
    if rows[:, ndim].max() < -slack[ndim]:
        return None
    before = _cut(rows, least)
    low, high = np.full(ndim, np.inf), np.full(ndim, -np.inf)
    if len(before):
        u = before[:, :ndim] / before[:, ndim:]
        off = (slack[:ndim] + np.abs(u) * slack[ndim]) / before[:, ndim:].min()
        low, high = (u - off).min(axis=0), (u + off).max(axis=0)
    if rows[:, ndim].min() < least:  # some lie between here and the horizon, or too near to it to say
        near = -_cut(-_cut(rows, -slack[ndim]), -least)
        if len(near):
            far = near[:, :ndim].min(axis=0) - slack[:ndim], near[:, :ndim].max(axis=0) + slack[:ndim]
            low = np.minimum(low, np.where(far[0] > 0, far[0] / (2 * least), -np.inf))
            high = np.maximum(high, np.where(far[1] < 0, far[1] / (2 * least), np.inf))
    return (low[None], high[None]) if (low <= high).all() else None


def _cut(rows: np.ndarray, least: float) -> np.ndarray:
    """Cut a box, given by what its corners have, where the last number is `least`; return the corners of what is above.

    Corners of the box are in the order of their places, as binary numbers; others are not linked, so that each is
    linked to every other, which adds none outside.
    """
    inside = rows[:, -1] >= least
    if inside.all() or not inside.any():
        return rows[inside]
    above, below = rows[inside][:, None], rows[~inside][None]
    t = (least - below[..., -1:]) / (above[..., -1:] - below[..., -1:])
    met = (below + t * (above - below)).reshape(-1, rows.shape[1])
    met[:, -1] = least
    return np.concatenate([rows[inside], met])


def steps(n: int, t: int, align: bool) -> tuple[float, float]:
    """Return how many pixels one step of an output's lattice is, and the pixel of its first location."""
    if align:
        return ((n - 1) / (t - 1), 0.0) if t > 1 else (0.0, (n - 1) / 2)
    step = n / t
    return step, (step - 1) / 2


def drift(n: int, t: int, options: Options) -> float:
    """Return how many pixels one unit of a flow is."""
    if options.pixel:
        return steps(n, t, options.align)[0]
    return (n - 1 if options.align else n) / 2


def drifted(
    bounds: Sequence[np.ndarray], ranges: Sequence[Span], size: Shape, extent: Shape, options: Options
) -> Parts:
    """Bound where a flow between two bounds takes the locations of a box; all is in the order x, y, z."""
    spans = []
    for k, (t, n, (first, last)) in enumerate(zip(size, extent, ranges, strict=True)):
        (step, origin), scale = steps(n, t, options.align), drift(n, t, options)
        low, high = (min(max(float(bound[k]), -FAR), FAR) * scale for bound in bounds)
        spans.append(((first * step + origin) + low, (last * step + origin) + high))
    low, high = np.array(spans, float).T
    return low[None], high[None]


def of_locations(
    block: np.ndarray,
    starts: Sequence[int] | None,
    size: Shape,
    extent: Shape,
    options: Options,
    within: Sequence[Span],
) -> Parts | None:
    """Bound the coordinates of each location of a block (..., d), which is of a flow if it has `starts`, or of a grid.

    A location one of whose coordinates is not finite, or not within a span beyond which nothing is read, does not
    count. All but the block is in the order x, y, z.
    """
    axes = []
    for k, (t, n) in enumerate(zip(size, extent, strict=True)):
        u = block[..., k].astype(float)
        np.clip(u, -FAR, FAR, out=u, where=np.isfinite(u))
        if starts is not None:
            step, origin = steps(n, t, options.align)
            i = np.arange(starts[k], starts[k] + u.shape[-1 - k]).reshape(-1, *[1] * k)
            axes.append((i * step + origin) + u * drift(n, t, options))
        elif options.pixel:
            axes.append(u)
        else:
            axes.append((u + 1.0) / 2.0 * (n - 1) if options.align else ((u + 1.0) * n - 1.0) / 2.0)
    there = np.ones(axes[0].shape, bool)
    for axis, (low, high) in zip(axes, within, strict=True):
        there &= (axis >= low) & (axis <= high) & np.isfinite(axis)
    if not there.any():
        return None
    lowest = np.array([[axis.min(where=there, initial=np.inf) for axis in axes]])
    return lowest, np.array([[axis.max(where=there, initial=-np.inf) for axis in axes]])
