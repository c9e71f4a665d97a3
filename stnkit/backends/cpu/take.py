"""Copying pixels by tables, on whole arrays."""

from collections.abc import Sequence

import numpy as np

from stnkit.backends.cpu.execute import execute
from stnkit.kernels.cpu.call import FILL, IMAGE, MISSING, NEIGHBOURS, OUT, SINGLE, SOURCE
from stnkit.plans import take as plans

SHORT = 16  # neighbours on average, below which runs of them are not told apart


def take(image: np.ndarray, indices: Sequence[np.ndarray], fill: float, out: np.ndarray | None = None) -> np.ndarray:
    """Return out[c, i, j, k] = image[c] at (indices[0][i], indices[1][j], indices[2][k]), for 1 to 3 axes.

    Where an index is negative it is the fill value. `out` has no gaps.
    """
    size = tuple(len(index) for index in indices)
    offsets = []
    for axis, index in enumerate(indices, 1):
        if image.strides[axis] < 0:
            image, index = np.flip(image, axis), np.where(index < 0, -1, image.shape[axis] - 1 - index)
        offsets.append(np.where(index < 0, -1, index * (image.strides[axis] // image.itemsize)))
    runs = runs_of(offsets[-1])
    none = [np.zeros(1, np.int64)] * (3 - len(size))
    tables = np.concatenate([[len(runs)], *none, *offsets, runs.ravel()]).astype(np.int64, copy=False)
    plan = plans.take(len(image), size, image.dtype, image.strides[0] // image.itemsize)
    given = {IMAGE: image, SOURCE: tables, FILL: np.full(1, fill, image.dtype)}
    return execute(plan, given if out is None else given | {OUT: out})[OUT]


def runs_of(offsets: np.ndarray) -> np.ndarray:
    """Return the runs of a row, (end, kind): of what is missing, of neighbours, and of single pixels if many are."""
    missing = offsets < 0
    alike = missing[1:] == missing[:-1]
    next_to = alike & (missing[1:] | (np.diff(offsets) == 1))
    kind = NEIGHBOURS
    if SHORT * np.count_nonzero(~next_to) > len(offsets):
        next_to, kind = alike, SINGLE
    ends = np.append(np.flatnonzero(~next_to) + 1, len(offsets))
    return np.stack([ends, np.where(missing[ends - 1], MISSING, kind)], axis=1)
