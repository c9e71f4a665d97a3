"""Footprints: how far apart, in pixels of the image, a map puts neighbouring locations of its output.

That decides how many subsamples a location is the mean of, along each axis of the output. It is a matter of numbers,
and has no derivative, so NumPy works it out for every framework; for arrays on a GPU, the GPU does, and a number for
each item and axis is copied to main memory.
"""

import functools
import itertools
from collections.abc import Callable

import numpy as np

from stnkit.antialias.subsamples import MOVES, Lattice, Steps, moved_points, part
from stnkit.backends import backend
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls.arguments import Array
from stnkit.calls.control_points import key_of
from stnkit.calls.grids import GridForm, written
from stnkit.dtypes import FLOAT64
from stnkit.spec import AFFINE, FLOW, PROJECTIVE, THIN_PLATE_SPLINE

MOST = 16  # subsamples along one axis
SLACK = 1 / 64  # of a pixel: what rounding makes of a map that does not shrink, even in half precision

Factors = tuple[int, ...]
Group = tuple[slice, Factors]  # items of a batch, and how many subsamples each of their locations has, in x, y, z


def groups(antialias: bool | int, lattice: Lattice, lengths: np.ndarray | None = None) -> list[Group]:
    """Return neighbouring items of a batch that have the same number of subsamples, and how many, in x, y, z.

    An item's number depends on its own map alone. Beside an integer, which is the number, no lengths are needed.
    """
    if lengths is None:
        return [(slice(None), tuple(int(antialias) if pitch else 1 for pitch in lattice.pitches))]
    finite = np.where(np.isfinite(lengths), lengths, 0)
    rows = np.clip(np.ceil(finite - SLACK), 1, MOST).astype(int)
    starts = [0, *(np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1), len(rows)]
    if len(rows) < 2 or len(starts) == 2:
        return [(slice(None), tuple(rows[0].tolist()) if len(rows) else (1,) * len(lattice.pitches))]
    return [(slice(a, b), tuple(rows[a].tolist())) for a, b in itertools.pairwise(starts)]


def _of_theta(theta: Array, lattice: Lattice, points: np.ndarray | None = None) -> np.ndarray:
    """Return the lengths of the Jacobian's columns, (N, d): it is the same everywhere."""
    d, theta = len(lattice.pitches), _here(theta)
    jacobian = theta[..., :d] * np.array(lattice.halves)[:, None] * np.array(lattice.pitches)
    lengths: np.ndarray = np.hypot.reduce(abs(jacobian), axis=-2).reshape(-1, d)
    return lengths


def _of_flow(flow: Array, lattice: Lattice, points: np.ndarray | None = None) -> np.ndarray:
    """Return the largest finite lengths of the Jacobian's columns, (N, d): identity and differences of the flow."""
    d = len(lattice.pitches)
    items = flow if flow.ndim == d + 2 else flow[None]
    halves, pitches = np.array(lattice.halves), np.array(lattice.pitches)
    units = halves * pitches if lattice.pixel else halves
    columns = []
    for j, own in enumerate(np.diag(halves * pitches)):
        if items.shape[-2 - j] > 1:
            columns.append(_longest(part(items, -2 - j, 1, None), part(items, -2 - j, None, -1), units, own))
        else:
            columns.append(np.full(len(items), own[j]))
    return np.stack(columns, axis=-1)


def _of_map(kind: int, theta: Array, lattice: Lattice, points: np.ndarray | None = None) -> np.ndarray:
    """Return the largest finite lengths of steps from half a step before a location to half a step after it, (N, d).

    What is at or behind a horizon has no coordinates, so that no step to it counts.
    """
    items = theta if theta.ndim == 3 else theta[None]
    items = backend(items).converted(items, FLOAT64)  # in which rounding makes no subsample more
    halves = np.array(lattice.halves)
    columns = []
    for ahead in 0.5 * np.eye(len(halves)):
        there, back = (_moved_grid(kind, items, side, lattice, points) for side in (ahead, -ahead))
        columns.append(_longest(there, back, halves, np.zeros(len(halves))))
    return np.stack(columns, axis=-1)


def _moved_grid(kind: int, theta: Array, steps: Steps, lattice: Lattice, points: np.ndarray | None) -> Array:
    """Return the coordinates beside each location."""
    moved = MOVES[kind].moved(theta, steps, lattice, np.concatenate)
    control = b"" if points is None else key_of(moved_points(points, steps, lattice, np.concatenate))
    return written(moved, GridForm(kind, lattice.size, lattice.align, control=control))


def _longest(ahead: Array, back: Array, units: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the largest finite length of the vectors (ahead - back) * units + own of each item, (N,)."""
    if type(ahead) is DeviceArray:
        from stnkit.backends.cuda import memory

        return memory.longest(ahead, back, units.tolist(), own.tolist())
    steps = (ahead - back) * units + own
    lengths = np.hypot.reduce(abs(steps), axis=-1)
    longest: np.ndarray = np.where(np.isfinite(lengths), lengths, 0).max(axis=tuple(range(1, lengths.ndim)), initial=0)
    return longest


def _here(array: Array) -> np.ndarray:
    """Return the few numbers of maps in main memory."""
    if type(array) is DeviceArray:
        from stnkit.backends.cuda import memory

        return memory.fetched(array)
    view: np.ndarray = array
    return view


# How long the steps along each axis of the output are for the items of a batch, (N, d), in pixels of the image.
FOOTPRINTS: dict[int, Callable[[Array, Lattice, np.ndarray | None], np.ndarray]] = {
    AFFINE: _of_theta,
    FLOW: _of_flow,
    PROJECTIVE: functools.partial(_of_map, PROJECTIVE),
    THIN_PLATE_SPLINE: functools.partial(_of_map, THIN_PLATE_SPLINE),
}
