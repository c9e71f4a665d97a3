"""From arguments to resampling: what all functions check, and how coordinates and maps become calls."""

from typing import Any

import numpy as np

from stnkit.dtypes import dtype_name
from stnkit.ndimage import geometry
from stnkit.ndimage.boundaries import boundary, degree
from stnkit.ndimage.errors import ArgumentError
from stnkit.ndimage.frameworks import (
    COMPLEX,
    Array,
    Namespace,
    dtype_of,
    is_foreign,
    is_lazy,
    is_of_jax,
    joined,
    known_size,
    namespace,
    of_one_framework,
)
from stnkit.ndimage.geometry import Map, Shape
from stnkit.ndimage.outputs import asked, delivered, rounded
from stnkit.ndimage.resampling import How, resampled


def entered(input: Array, order: Any, mode: Any, cval: Any, prefilter: Any) -> tuple[Array, Namespace, How]:
    """Return an image as an array, its framework, and the options; refuse those that are unknown."""
    how = How(degree(order), mode, cval, bool(prefilter))
    boundary(mode)
    image = input if is_foreign(input) else np.asarray(input)
    known_size("input", image)
    return image, namespace(image), how


def ranked(rank: int, out_rank: int) -> None:
    """Refuse arrays without axes."""
    if rank < 1 or out_rank < 1:
        msg = f"input and output rank must be > 0; got {rank} and {out_rank}"
        raise ArgumentError(msg)


def mapped(image: Array, way: Map, size: Shape, output: Any, how: How, function: str, xp: Namespace) -> Array:
    """Read an image under a map; on the axes that it leaves as they are, nothing is to be read elsewhere."""
    shape = tuple(image.shape)
    target = asked(output, image, size)
    kept = geometry.still(way, shape, size) if how.passes else ()
    axes = tuple(k for k in range(image.ndim) if k not in kept)
    if not axes:
        return same(image, size, output, xp)
    geometry.few(axes if len(size) == len(shape) else size, function)
    geometry.few(axes, function)
    source = geometry.theta(way, axes)
    if len(size) == len(shape):
        return resampled(image, axes, tuple(size[k] for k in axes), source, True, how, target, xp)
    count = max(len(size), len(shape))
    whole = image.reshape(*(1,) * (count - len(shape)), *shape)
    wide = (*(1,) * (count - len(size)), *size)
    made = resampled(whole, tuple(range(count)), wide, source, True, how, target._replace(array=None), xp)
    return delivered(made.reshape(size), target, xp)


def same(image: Array, size: Shape, output: Any, xp: Namespace) -> Array:
    """Return a copy of an image, in the dtype or the array that is asked for."""
    target = asked(output, image, size)
    copied = np.array(image, image.dtype.newbyteorder("=")) if xp is np else xp.asarray(image, copy=True)
    return delivered(copied if dtype_name(image) in COMPLEX else rounded(copied, target.real, xp), target, xp)


def stacked(coordinates: Any, image: Array) -> Array:
    """Return coordinates as one array; those of a sequence are stacked in the framework of its arrays."""
    given = coordinates if isinstance(coordinates, (list, tuple)) else ()
    foreign = [axis for axis in given if is_foreign(axis)]
    if not foreign or (isinstance(image, np.ndarray) and not any(map(is_lazy, foreign))):
        return coordinates if is_foreign(coordinates) else np.asarray(coordinates)
    first, *others = foreign
    xp = namespace(first)
    for axis in others:
        of_one_framework(axis, "coordinates", first)
    axes = [axis if is_foreign(axis) else joined(axis, first, xp) for axis in given]
    if len({tuple(axis.shape) for axis in axes}) > 1:
        shapes = ", ".join(str(tuple(axis.shape)) for axis in axes)
        msg = f"`coordinates` must have one shape for all axes; got {shapes}"
        raise ArgumentError(msg)
    return xp.stack(axes)


def grid(coordinates: Array, image: Array, xp: Namespace) -> tuple[Array, Shape]:
    """Return coordinates as samplers take them, and the size of what is read: locations in as many axes as the image.

    They become a grid, x first, of one row of locations, which for arrays of NumPy is a view. Of JAX, where it would be
    a copy, they stay indices (d, n). A lazy image has locations in the axes that these have, if there are as many:
    chunks stay as they are.
    """
    own = namespace(coordinates)
    if not dtype_name(coordinates).startswith(("float", "bfloat")):
        coordinates = coordinates.astype(np.float64) if own is np else own.astype(coordinates, own.float32)
    count = coordinates.shape[0]
    if is_lazy(image) and coordinates.ndim == count + 1:
        return own.moveaxis(own.flip(coordinates, axis=0), 0, -1), tuple(coordinates.shape[1:])
    points = coordinates.reshape(count, -1)
    size = (*(1,) * (count - 1), points.shape[1])
    if not is_of_jax(image):
        points = points[::-1].T if own is np else own.permute_dims(own.flip(points, axis=0), (1, 0))
    if own is np and xp is not np and not is_lazy(image):
        points = joined(np.ascontiguousarray(points), image, xp, dtype_of(dtype_name(points), xp))
    return points if is_of_jax(image) else points.reshape(*size, count), size
