"""Geometry: matrices, offsets, factors and angles as users give them, and the maps of pixels that they are."""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit.dtypes import dtype_name
from stnkit.ndimage.errors import ArgumentError
from stnkit.ndimage.frameworks import (
    COMPLEX,
    FLOATS,
    Array,
    Namespace,
    cast,
    is_foreign,
    joined,
    namespace,
    of_one_framework,
)

Shape = tuple[int, ...]
MOST = 3  # axes that are sampled


class Map(NamedTuple):
    """An affine map from the pixels of an output to those of an image, in the order of their axes."""

    matrix: Array  # of as many rows as the image has axes, and as many columns as the output has
    offset: Array


def shaped(given: Any, name: str) -> Shape:
    """Return a shape as a tuple of ints."""
    try:
        return tuple(operator.index(n) for n in given)
    except TypeError as error:
        msg = f"`{name}` must be a sequence of integers; got {given!r}"
        raise TypeError(msg) from error


def real(given: Any, name: str) -> np.ndarray:
    """Return numbers as an array of float64; refuse what is none, or has an imaginary part."""
    try:
        found = np.asarray(given)
        found = np.vectorize(float, otypes=[float])(found) if found.dtype.kind == "O" else found
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be real numbers; got {given!r}"
        raise TypeError(msg) from error
    if found.dtype.kind not in "biuf" and found.dtype.name not in FLOATS:
        msg = f"`{name}` must be real numbers; got {given!r}"
        raise TypeError(msg)
    return found.astype(np.float64)


def beside(given: Any, name: str, like: Array) -> None:
    """Refuse an array of another framework than the image's, or of complex numbers."""
    of_one_framework(given, name, like)
    if is_foreign(given) and dtype_name(given) in COMPLEX:
        msg = f"`{name}` must be real numbers; got {dtype_name(given)}"
        raise TypeError(msg)


def each_axis(given: Any, count: int, name: str) -> np.ndarray:
    """Return a number for each axis."""
    numbers = real(given, name)
    if numbers.ndim == 0:
        return np.full(count, numbers)
    if numbers.shape != (count,):
        msg = (
            f"`{name}` must be one number, or {count}, one for each axis of the input; got shape {numbers.shape}: "
            "sequence argument must have length equal to input rank"
        )
        raise ArgumentError(msg)
    return numbers


def affine(matrix: Any, offset: Any, rank: int, out_rank: int, like: Array) -> Map:
    """Return the map of a matrix, which may be a diagonal or homogeneous, and an offset; refuse what does not fit."""
    if is_foreign(matrix) or is_foreign(offset):
        xp = namespace(matrix if is_foreign(matrix) else offset)
        one = matrix if is_foreign(matrix) else offset
        for name, given in (("matrix", matrix), ("offset", offset)):
            beside(given, name, like)
        matrix = matrix if is_foreign(matrix) else joined(matrix, one, xp)
    else:
        xp, matrix = np, real(matrix, "matrix")
    if matrix.ndim not in (1, 2) or matrix.shape[0] < 1:
        msg = f"`matrix` must have 1 or 2 axes; got shape {tuple(matrix.shape)}: no proper affine matrix provided"
        raise ArgumentError(msg)
    accepted = f"({rank},), ({rank}, {out_rank}), ({rank}, {rank + 1}) or ({rank + 1}, {rank + 1})"
    if matrix.ndim == 2 and matrix.shape[1] == rank + 1 and matrix.shape[0] in (rank, rank + 1):
        if matrix.shape[0] == rank + 1:
            _last_row(matrix, rank, xp)
        offset, matrix = matrix[:rank, rank], matrix[:rank, :rank]
    if matrix.shape[0] != rank or (matrix.ndim == 2 and matrix.shape[1] != out_rank):
        msg = f"`matrix` must have shape {accepted} for an input of {rank} axes; got {tuple(matrix.shape)}"
        raise ArgumentError(msg)
    if matrix.ndim == 1:
        if out_rank != rank:
            msg = f"`matrix` must have shape ({rank}, {out_rank}) for an output of {out_rank} axes; got a diagonal"
            raise ArgumentError(msg)
        matrix = np.diag(matrix) if xp is np else matrix[:, None] * joined(np.eye(rank), matrix, xp)
    if not is_foreign(offset):
        offset = each_axis(offset, rank, "offset")
        offset = offset if xp is np else joined(offset, matrix, xp)
    elif tuple(offset.shape) not in ((), (rank,)):
        msg = f"`offset` must be one number, or {rank}; got shape {tuple(offset.shape)}"
        raise ArgumentError(msg)
    elif offset.ndim == 0:
        offset = xp.broadcast_to(offset, (rank,))
    return Map(matrix, offset)


def _last_row(matrix: Array, rank: int, xp: Namespace) -> None:
    """Refuse a homogeneous matrix whose last row is another; what a transform has not worked out is believed."""
    try:
        row = [float(number) for number in matrix[rank]]
    except (TypeError, RuntimeError):  # from tracers of JAX, and from torch's vmap
        return
    if row != [0.0] * rank + [1.0]:
        msg = f"the bottom row of a homogeneous `matrix` must be {[0] * rank + [1]}; got {row}"
        raise ValueError(msg)


def moved(shift: Any, rank: int, like: Array) -> Map:
    """Return the map of a shift."""
    beside(shift, "shift", like)
    if not is_foreign(shift):
        return Map(np.eye(rank), -each_axis(shift, rank, "shift"))
    xp = namespace(shift)
    if tuple(shift.shape) not in ((), (rank,)):
        msg = f"`shift` must be one number, or {rank}, one for each axis of the input; got shape {tuple(shift.shape)}"
        raise ArgumentError(msg)
    return Map(joined(np.eye(rank), shift, xp), -xp.broadcast_to(shift, (rank,)))


def zoomed(shape: Shape, size: Shape, grid_mode: bool, order: int) -> Map:
    """Return the map of a zoom: first and last pixels stay where they are, or with `grid_mode` the outer edges do.

    Half way between two pixels the nearest is the upper one, and rounding must not make it the other: coordinates of
    order 0 are raised by more than they are rounded by, and by less than any other location is from such a place.
    """
    inputs, outputs = np.array(shape), np.array(size)
    if not grid_mode:
        inputs, outputs = inputs - 1, outputs - 1
    steps = np.divide(inputs, outputs, out=np.ones(len(shape)), where=outputs != 0)
    if not grid_mode:
        return Map(np.diag(steps), np.zeros(len(shape)))
    raised = 2 * np.finfo(float).eps * inputs * ((steps != 1) & (order == 0))
    return Map(np.diag(steps), 0.5 * steps - 0.5 + raised)


class Plane(NamedTuple):
    """A rotation in a plane of two axes."""

    axes: tuple[int, int]
    size: Shape
    map: Map


def rotated(shape: Shape, angle: float, axes: Iterable[int], reshape: bool) -> Plane:
    """Return the rotation by an angle, in degrees, about the centre of the plane of two axes."""
    ndim, given = len(shape), list(axes)
    if ndim < 2:
        msg = "input array should be at least 2D"
        raise ValueError(msg)
    if len(given) != 2:
        msg = f"`axes` should contain exactly two values; got {given!r}"
        raise ValueError(msg)
    if not all(float(axis).is_integer() for axis in given):
        msg = f"`axes` should contain only integer values; got {given!r}"
        raise ValueError(msg)
    first, second = sorted(int(axis) + (ndim if axis < 0 else 0) for axis in given)
    if first < 0 or second >= ndim or first == second:
        msg = f"invalid rotation plane specified: `axes` must be two axes of an array that has {ndim}; got {given!r}"
        raise ValueError(msg)
    try:
        turn = float(angle)
    except (TypeError, ValueError) as error:
        msg = f"`angle` must be one real number; got {angle!r}"
        raise TypeError(msg) from error
    if not math.isfinite(turn):
        msg = f"`angle` must be finite; got {angle!r}"
        raise ValueError(msg)
    cosine, sine = degrees(turn)
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    inside = np.array([shape[first], shape[second]])
    size = inside
    if reshape:
        corners = matrix @ np.array([[0, 0, inside[0], inside[0]], [0, inside[1], 0, inside[1]]], float)
        size = (np.ptp(corners, axis=1) + 0.5).astype(int)
    offset = (inside - 1) / 2 - matrix @ ((size - 1) / 2)
    return Plane((first, second), (int(size[0]), int(size[1])), Map(matrix, offset))


def degrees(angle: float) -> tuple[float, float]:
    """Return cosine and sine of an angle in degrees: exact where they are 0, 1 or -1."""
    quarter = round(angle / 90)
    rest = math.radians(angle - 90 * quarter)
    c, s = math.cos(rest), math.sin(rest)
    return ((c, s), (-s, c), (-c, -s), (s, -c))[quarter % 4]


def still(way: Map, shape: Shape, size: Shape) -> Shape:
    """Return the axes on which each pixel of the output is that of the image; none where numbers are not known."""
    if is_foreign(way.matrix) or is_foreign(way.offset) or way.matrix.shape[0] != way.matrix.shape[1]:
        return ()
    if not (way.offset == 0).any():
        return ()
    eye = np.eye(len(shape))
    own = (way.matrix == eye).all(axis=0) & (way.matrix == eye).all(axis=1) & (way.offset == 0)
    return tuple(k for k in range(len(shape)) if own[k] and shape[k] == size[k])


def few(axes: Sequence[int], function: str) -> None:
    """Refuse to sample on more axes than kernels do."""
    if len(axes) > MOST:
        msg = (
            f"{len(axes)} axes are resampled, and stnkit resamples up to {MOST}; use scipy.ndimage.{function} for more"
        )
        raise NotImplementedError(msg)


def theta(way: Map, axes: Shape) -> Array:
    """Return the map of some axes as samplers take it: x first. An axis that is missing on one side is the slowest."""
    matrix, offset = way
    if is_foreign(matrix) or is_foreign(offset):
        xp = namespace(matrix)
        matrix, offset = _beside(matrix, offset, xp)
        rows, columns = matrix.shape
        count = max(rows, columns)
        blocks = [xp.flip(matrix, axis=(0, 1))]
        if columns < count:
            blocks.append(joined(np.zeros((rows, count - columns)), matrix, xp))
        line = xp.concat([*blocks, xp.flip(offset)[:, None]], axis=1)
        if rows < count:
            line = xp.concat([line, joined(np.zeros((count - rows, count + 1)), matrix, xp)], axis=0)
        return line
    if matrix.shape[0] == matrix.shape[1] != len(axes):
        matrix, offset = matrix[np.ix_(axes, axes)], offset[list(axes)]
    rows, columns = matrix.shape
    count = max(rows, columns)
    numbers = np.zeros((count, count + 1))
    numbers[:rows, :columns], numbers[:rows, count] = matrix[::-1, ::-1], offset[::-1]
    return numbers


def _beside(matrix: Array, offset: Array, xp: Namespace) -> tuple[Array, Array]:
    """Bring two arrays of a framework to the wider one's dtype."""
    name = "float64" if "float64" in (dtype_name(matrix), dtype_name(offset)) else "float32"
    return cast(matrix, name, xp), cast(offset, name, xp)
