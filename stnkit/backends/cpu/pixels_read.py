"""Which part of an image a sampler reads: from what bounds its coordinates, the numbers of a grid or of a map."""

import itertools
import math

import numpy as np

from stnkit.dtypes import arithmetic
from stnkit.spec import AFFINE, FLOW, GRID, MARGIN_WIDTH, MARGINS, PERIODIC, PROJECTIVE, REFLECTION, WRAP, Options

Shape = tuple[int, ...]
Bounds = tuple[np.ndarray, np.ndarray]  # of coordinates, lowest and highest, one for each of the axes x, y, z

# On each side of a coordinate a footprint reaches two pixels, or three; where pixels are read as pairs, one more.
AROUND = 3
ROUNDINGS = 1024  # of which more than a kernel has made by the time that it has a coordinate, all in one direction
STEEP = 64  # where a projective map's last row is so much smaller than its terms, its roundings are not bounded


def box(
    shape: Shape, dtype: np.dtype, source: np.ndarray, kind: int, size: Shape, options: Options
) -> tuple[slice, ...]:
    """Return the box of an image that is read: all of an axis where its bounds are not known, or it is read around."""
    extent = shape[1:-1] if options.channels_last else shape[2:]
    with np.errstate(all="ignore"):
        low, high = _pixels(source, kind, size, options.without_margin(extent), options)
    epsilon = float(np.finfo(arithmetic(dtype.newbyteorder("="), source.dtype)).eps)
    parts = [
        _part(float(low[k]), float(high[k]), extent[-1 - k], options.padding[k], epsilon)
        for k in reversed(range(len(extent)))
    ]
    every = slice(None)
    return (every, *parts, every) if options.channels_last else (every, every, *parts)


def _part(low: float, high: float, n: int, padding: int, epsilon: float) -> slice:
    """Return the pixels of an axis that are read for coordinates between two bounds, in pixels; NaN is not known."""
    if math.isnan(low) or math.isnan(high):
        return slice(0, n)
    if low > high:  # no coordinate is finite, so no pixel is read
        return slice(0, 1)
    if padding in MARGINS:
        low, high = low + MARGIN_WIDTH, high + MARGIN_WIDTH
    around = AROUND + ROUNDINGS * epsilon * max(n, abs(low), abs(high))
    if padding in (REFLECTION, WRAP, PERIODIC) and not (low - around >= 0 and high + around <= n - 1):
        return slice(0, n)
    return slice(int(min(max(low - around, 0), n - 1)), int(min(max(high + around, 0), n - 1)) + 1)


def _pixels(source: np.ndarray, kind: int, size: Shape, extent: Shape, options: Options) -> Bounds:
    """Bound the pixel coordinates of all locations, finite ones alone."""
    n, t = np.array(extent[::-1], float), np.array(size[::-1], float)
    scale = (n - 1 if options.align else n) / 2
    if kind == FLOW:
        step = np.where(t > 1, (n - 1) / np.maximum(t - 1, 1), 0) if options.align else n / t
        first = np.where(t > 1, 0, (n - 1) / 2) if options.align else (step - 1) / 2
        low, high = (bound * (step if options.pixel else scale) for bound in _extremes(source))
        return first + low, first + (t - 1) * step + high
    low, high = _coordinates(source, kind, t, options)
    if options.pixel:
        return low, high
    middle = (n - 1) / 2
    return middle + low * scale, middle + high * scale


def _coordinates(source: np.ndarray, kind: int, t: np.ndarray, options: Options) -> Bounds:
    """Bound the coordinates that a grid holds, or that a map gives for a lattice of `t` locations on each axis."""
    if kind == GRID:
        return _extremes(source)
    ndim = len(t)
    unknown = np.full(ndim, np.nan)
    if kind not in (AFFINE, PROJECTIVE):
        return unknown, unknown
    if options.pixel:
        first, last = np.zeros(ndim), t - 1
    else:
        last = np.where(t > 1, 1.0, 0.0) if options.align else (t - 1) / t
        first = -last
    corners = np.array(list(itertools.product(*zip(first, last, strict=True), (1.0,))))
    rows = corners @ source.astype(float).swapaxes(-1, -2)  # maps take lines to lines, so corners bound what is between
    if kind == PROJECTIVE:
        terms = np.abs(source[:, ndim].astype(float)).sum(axis=-1)[:, None]
        if not (rows[..., ndim] * STEEP > terms).all():
            return unknown, unknown
        rows = rows[..., :ndim] / rows[..., ndim:]
    return rows.min(axis=(0, 1)), rows.max(axis=(0, 1))


def _extremes(array: np.ndarray) -> Bounds:
    """Return the lowest and the highest finite number of each axis; infinite, and the wrong way round, if none is."""
    axes = [array[..., k] for k in range(array.shape[-1])]
    finite = [np.isfinite(axis) for axis in axes]
    low = [axis.min(where=there, initial=np.inf) for axis, there in zip(axes, finite, strict=True)]
    high = [axis.max(where=there, initial=-np.inf) for axis, there in zip(axes, finite, strict=True)]
    return np.array(low, float), np.array(high, float)
