"""Bounds of a thin plate spline on a box of locations, which is divided into cells.

In a cell, each term is the line that touches it at the middle, and a remainder. By Taylor that is at most half the
largest second derivative times the squared distance from the middle; where that has no bound, at a control point, it is
what the term itself comes to there. So cells that are half as wide leave a quarter of the slack.
"""

import math
from collections.abc import Sequence

import numpy as np

from stnkit.bounds.coordinates import ROUNDINGS, Parts, Span

CELLS = {1: 64, 2: 16, 3: 6}  # along each axis, by the number of axes, at most: as the root of its length, up to 1/2
AT_ONCE = 2**18  # pairs of a cell and a control point


def plate(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, lines: Sequence[Span], epsilon: float
) -> Parts | None:
    """Bound a spline in cells of a box: `points` and `weights` are (K, d), `rows` (d, d + 1).

    None if a number of the spline is not finite.
    """
    if not (np.isfinite(weights).all() and np.isfinite(rows).all()):
        return None
    ndim = len(lines)
    counts = [math.ceil(CELLS[ndim] * min(math.sqrt(2 * (last - first)), 1)) for first, last in lines]
    edges = [np.linspace(*line, max(count, 1) + 1) for line, count in zip(lines, counts, strict=True)]
    middles = np.stack([a.ravel() for a in np.meshgrid(*[(e[1:] + e[:-1]) / 2 for e in edges])], axis=-1)
    half = np.array([(e[1] - e[0]) / 2 for e in edges])
    step = max(AT_ONCE // len(points), 1)
    found = [
        _cells(points, weights, rows, middles[start : start + step], half, epsilon)
        for start in range(0, len(middles), step)
    ]
    low, high = (np.concatenate(column) for column in zip(*found, strict=True))
    return low, high


def _cells(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, middles: np.ndarray, half: np.ndarray, epsilon: float
) -> Parts:
    ndim, reach = len(half), float(np.sqrt((half**2).sum()))
    apart = middles[:, None] - points
    r = np.sqrt((apart**2).sum(axis=-1))
    value, over_r, remainder = _term(r, reach, ndim)
    slopes = np.einsum("mk,mkj,ki->mij", over_r, apart, weights) + rows[:, :ndim]
    middle = middles @ rows[:, :ndim].T + rows[:, ndim] + value @ weights
    size = np.abs(value) @ np.abs(weights) + np.abs(middles) @ np.abs(rows[:, :ndim]).T + np.abs(rows[:, ndim])
    off = np.abs(slopes) @ half + remainder @ np.abs(weights)
    off += (ROUNDINGS + len(points)) * epsilon * (size + off)
    return middle - off, middle + off


def _term(r: np.ndarray, reach: float, ndim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return U at distance `r`, its slope divided by r, and how far U may be from that line within `reach`."""
    most = r + reach
    if ndim == 1:  # U'' = 6 r
        return r**3, 3 * r, 3 * most * reach**2
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.maximum(r - reach, 0)
        if ndim == 3:  # U'' is 1 / r, across
            over_r = np.where(r > 0, 1 / r, 0)
            return r, over_r, np.fmin(reach**2 / 2 / least, 2 * reach)
        # U'' is 4 log r + 6, or + 2 across
        log, ends = np.log(np.where(r > 0, r, 1)), np.log(np.stack([least, np.where(most > 0, most, 1)]))
        value, over_r = 2 * r**2 * log, np.where(r > 0, 4 * log + 2, 0)
        bent = np.maximum(np.abs(4 * ends + 6), np.abs(4 * ends + 2)).max(axis=0) * reach**2 / 2
        whole = np.where(most > math.exp(-0.5), 1 / math.e, 0) + np.abs(2 * most**2 * ends[1])
        return value, over_r, np.fmin(bent, whole + np.abs(value) + np.abs(over_r) * r * reach)
