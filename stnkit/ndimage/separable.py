"""Maps that keep axes apart, as zooms and shifts do: one axis after another, in slabs that stay in a cache.

A location of the output reads a few pixels along each axis instead of a box of them, and the weights of an axis are
worked out once for all lines along it. Between two passes there is a slab of the output, so that memory for no more
than that is needed. Masks act on whole rows, so what they leave is a box, and the rest is filled. The nearest pixels
need no passes: a table for each axis says where they are.
"""

import math
from typing import Any

import numpy as np

import stnkit

Shape = tuple[int, ...]

LARGE = 1 << 16  # numbers of an output; of what is smaller, one pass is quicker than several
FOOTPRINT = 8  # pixels of a location in one pass; as many, or more, are not read as fast as those of two passes
SLAB = 1 << 21  # bytes between passes


def is_separable(picture: Any, theta: Any, size: Shape, taps: int) -> bool:
    """Tell whether a picture (C, *S) is large, and read by one tap or by many, under a map that is a diagonal."""
    if not (isinstance(picture, np.ndarray) and isinstance(theta, np.ndarray)):
        return False
    if len(picture) * math.prod(size) < LARGE or 0 in picture.shape:
        return False
    if picture.dtype.itemsize == 2 and taps > 1:  # what lies between passes would be rounded
        return False
    d = len(size)
    apart = d > 1 and theta.shape == (d, d + 1) and np.count_nonzero(theta[:, :d]) == np.count_nonzero(np.diag(theta))
    return bool(apart) and (d == 3 or taps == 1 or taps**d >= FOOTPRINT)


def separable(
    picture: np.ndarray, theta: np.ndarray, dtype: np.dtype[Any], size: Shape, out: np.ndarray | None, options: Any
) -> np.ndarray:
    """Read a picture (C, *S) under a map that is a diagonal, as `affine_sample` does, at coordinates of a dtype."""
    d, options = len(size), dict(options)
    coordinates = [np.arange(n) * theta[d - 1 - k, d - 1 - k] + theta[d - 1 - k, d] for k, n in enumerate(size)]
    if options["mode"] == "spline0":
        return _moved(picture, [u.astype(dtype) for u in coordinates], out, options)
    from stnkit.backends.cpu.memory import empty  # which takes kernels

    out = empty((len(picture), *size), picture.dtype) if out is None else out
    box = [slice(0, n) for n in size]
    if options["padding_mode"] == "mask":
        box = [_inside(u, n) for u, n in zip(coordinates, picture.shape[1:], strict=True)]
        options |= {"padding_mode": "reflection", "align_corners": True}
        if any(part != slice(0, n) for part, n in zip(box, size, strict=True)):
            out[...] = options["fill_value"]
    grids = [u[part].astype(dtype)[:, None] for u, part in zip(coordinates, box, strict=True)]
    if any(len(grid) == 0 for grid in grids):
        return out
    widest = max(math.prod(map(len, grids[1:])), math.prod(picture.shape[2:])) * picture.dtype.itemsize
    step = max(1, SLAB // widest)
    for channel, target in zip(picture, out, strict=True):
        for first in range(0, len(grids[0]), step):
            slab = _along_first(channel, grids[0][first : first + step], options)
            if d == 3:
                slab = stnkit.grid_sample(slab, grids[1], data_format="channels_last", **options)  # the last but one
            start = box[0].start + first
            _along_last(slab, grids[-1], target[(slice(start, start + len(slab)), *box[1:])], options)
    return out


def _moved(picture: np.ndarray, coordinates: list[np.ndarray], out: np.ndarray | None, options: Any) -> np.ndarray:
    """Copy the nearest pixels, whose indices are read from an image of one axis that has them as its pixels."""
    from stnkit.backends.cpu.take import take  # which takes kernels

    numbers = [np.arange(n)[None] for n in picture.shape[1:]]
    named = options | {"fill_value": -1}
    indices = [stnkit.grid_sample(n, u[:, None], **named)[0] for n, u in zip(numbers, coordinates, strict=True)]
    return take(picture, indices, options["fill_value"], out)


def _inside(u: np.ndarray, n: int) -> slice:
    """Return the range of the coordinates that lie within an axis of `n` pixels; they rise, or fall."""
    (found,) = np.nonzero((u >= 0) & (u <= n - 1))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _along_first(array: np.ndarray, grid: np.ndarray, options: Any) -> np.ndarray:
    """Resample along the first axis."""
    flat = array.reshape(len(array), -1)
    made: np.ndarray = stnkit.grid_sample(flat, grid, data_format="channels_last", **options)
    return made.reshape(-1, *array.shape[1:])


def _along_last(array: np.ndarray, grid: np.ndarray, target: np.ndarray, options: Any) -> None:
    """Resample along the last axis, into a target."""
    flat = array.reshape(-1, array.shape[-1])
    if target.flags.c_contiguous:
        stnkit.grid_sample(flat, grid, out=target.reshape(-1, target.shape[-1]), **options)
    else:
        target[...] = stnkit.grid_sample(flat, grid, **options).reshape(target.shape)
