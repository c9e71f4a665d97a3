"""Footprints: how far apart, in pixels of the image, a map puts neighbouring locations of its output.

That decides how many places a location is the mean of, along each axis of the output. It is a matter of numbers, and
has no derivative, so NumPy works it out for every framework.
"""

import itertools
from collections.abc import Callable

import numpy as np

from stnkit.api.shifts import Lattice
from stnkit.spec import AFFINE, FLOW

MOST = 16  # places along one axis
SLACK = 1 / 64  # of a pixel: what rounding makes of a map that does not shrink, even in half precision

Factors = tuple[int, ...]
Group = tuple[slice, Factors]  # items of a batch, and how many places each of their locations has, in x, y, z


def groups(antialias: bool | int, lattice: Lattice, lengths: np.ndarray | None = None) -> list[Group]:
    """Return neighbouring items of a batch that have the same number of places, and how many, in x, y, z.

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


def _of_theta(theta: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Return the lengths of the Jacobian's columns, (N, d): it is the same everywhere."""
    d = len(lattice.pitches)
    jacobian = theta[..., :d] * np.array(lattice.halves)[:, None] * np.array(lattice.pitches)
    lengths: np.ndarray = np.hypot.reduce(abs(jacobian), axis=-2).reshape(-1, d)
    return lengths


def _of_flow(flow: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Return the largest finite lengths of the Jacobian's columns, (N, d): identity and differences of the flow."""
    d = len(lattice.pitches)
    items = flow if flow.ndim == d + 2 else flow[None]
    halves, pitches = np.array(lattice.halves), np.array(lattice.pitches)
    units = halves * pitches if lattice.pixel else halves
    columns = []
    for j, own in enumerate(np.diag(halves * pitches)):
        moved = np.diff(items, axis=-2 - j) * units if items.shape[-2 - j] > 1 else np.zeros((len(items), *[1] * d, d))
        steps = np.hypot.reduce(abs(moved + own), axis=-1)
        columns.append(np.where(np.isfinite(steps), steps, 0).max(axis=tuple(range(1, d + 1)), initial=0))
    return np.stack(columns, axis=-1)


# How long the steps along each axis of the output are for the items of a batch, (N, d).
FOOTPRINTS: dict[int, Callable[[np.ndarray, Lattice], np.ndarray]] = {AFFINE: _of_theta, FLOW: _of_flow}
