"""Whether the shapes of the arrays of a call fit together."""

import functools
import math
from collections.abc import Callable

import numpy as np

from stnkit.spec import AFFINE, FLOW, GRID, PROJECTIVE, THIN_PLATE_SPLINE
from stnkit.validation import hints
from stnkit.validation.options import AXES

Shape = tuple[int, ...]


def same_shape(argument: str, given: Shape, other: str, wanted: Shape) -> None:
    """Refuse an array that is not of the shape of what it belongs to."""
    if given != wanted:
        msg = f"`{argument}` must have the shape of {other}, {wanted}; got {given}"
        raise ValueError(msg)


def writable(argument: str, given: np.ndarray, **inputs: np.ndarray) -> None:
    """Refuse an array to write into that is read-only, has gaps, or shares memory with an input."""
    apart(argument, given, **inputs)
    if not given.flags.c_contiguous:
        msg = f"`{argument}` must be C-contiguous; got strides {given.strides} for shape {given.shape}"
        raise ValueError(msg)


def apart(argument: str, given: np.ndarray, **inputs: np.ndarray) -> None:
    """Refuse an array to write into that is read-only, or shares memory with an input."""
    if not given.flags.writeable:
        msg = f"`{argument}` must be writable; got a read-only array"
        raise ValueError(msg)
    for name, array in inputs.items():
        if np.may_share_memory(given, array):
            msg = f"`{argument}` must not overlap `{name}` in memory, which is read while it is written"
            raise ValueError(msg)


@functools.lru_cache(maxsize=1024)
def grid_axes(shape: Shape, name: str = "grid") -> int:
    """Return on how many axes a grid samples, or refuse its shape."""
    ndim = shape[-1] if shape else 0
    if ndim not in AXES or len(shape) not in (ndim + 1, ndim + 2):
        msg = f"`{name}` must have shape (N, W, 1), (N, H, W, 2) or (N, D, H, W, 3), N optional; got {shape}"
        raise ValueError(msg + hints.to_grid(name, shape))
    return ndim


@functools.lru_cache(maxsize=1024)
def theta_axes(shape: Shape) -> int:
    """Return on how many axes an affine map acts, or refuse its shape."""
    if len(shape) not in (2, 3) or shape[-2] not in AXES or shape[-1] != shape[-2] + 1:
        msg = f"`theta` must have shape (N, 1, 2), (N, 2, 3) or (N, 3, 4), N optional; got {shape}"
        raise ValueError(msg + hints.to_affine(shape))
    return shape[-2]


@functools.lru_cache(maxsize=1024)
def projective_axes(shape: Shape) -> int:
    """Return on how many axes a projective map acts, or refuse its shape."""
    if len(shape) not in (2, 3) or shape[-1] - 1 not in AXES or shape[-2] != shape[-1]:
        msg = f"`theta` must have shape (N, 2, 2), (N, 3, 3) or (N, 4, 4), N optional; got {shape}"
        raise ValueError(msg + hints.to_projective(shape))
    return shape[-1] - 1


def control_axes(control: Shape) -> int:
    """Return on how many axes a thin plate spline acts, or refuse the shape of its control points."""
    if len(control) != 2 or control[-1] not in AXES:
        msg = f"`control_points` must have shape (K, 1), (K, 2) or (K, 3); got {control}"
        raise ValueError(msg)
    return control[-1]


@functools.lru_cache(maxsize=1024)
def spline_axes(theta: Shape, control: Shape) -> int:
    """Return on how many axes a thin plate spline acts, or refuse the shapes of its numbers and control points."""
    ndim = control_axes(control)
    if len(theta) not in (2, 3) or theta[-2:] != control:
        many, _ = control
        msg = f"`theta` must have shape (N, {many}, {ndim}), N optional, for `control_points` of {control}; got {theta}"
        raise ValueError(msg)
    return ndim


_SOURCE_AXES: dict[int, Callable[[Shape], int]] = {
    GRID: grid_axes,
    FLOW: functools.partial(grid_axes, name="flow"),
    AFFINE: theta_axes,
    PROJECTIVE: projective_axes,
}


@functools.lru_cache(maxsize=1024)
def source_axes(kind: int, shape: Shape, control: Shape = ()) -> int:
    """Return on how many axes a source of coordinates acts, or refuse its shape; a spline has control points."""
    return spline_axes(shape, control) if kind == THIN_PLATE_SPLINE else _SOURCE_AXES[kind](shape)


@functools.lru_cache(maxsize=1024)
def image_shape(shape: Shape, ndim: int, channels_last: bool, name: str = "image") -> tuple[int, Shape]:
    """Return an image's channels and spatial size, or refuse its shape."""
    if len(shape) not in (ndim + 1, ndim + 2):
        axes = ", ".join(AXES[ndim])
        layout = f"(N, {axes}, C)" if channels_last else f"(N, C, {axes})"
        order = "channels_last" if channels_last else "channels_first"
        msg = f"`{name}` must have shape {layout}, N optional, for {ndim}-D coordinates and {order}; got {shape}"
        raise ValueError(msg + hints.to_image(name, shape, ndim, channels_last))
    if channels_last:
        return shape[-1], shape[-1 - ndim : -1]
    return shape[-1 - ndim], shape[-ndim:]


@functools.lru_cache(maxsize=1024)
def batch(image: Shape, other: Shape, ndim: int, name: str, batched: int, first: str = "image") -> int:
    """Return the batch size that two arrays share; an axis of 1, or none, is shared by every item.

    `batched` is how many axes `other` has with its batch axis.
    """
    ours = image[0] if len(image) == ndim + 2 else 1
    theirs = other[0] if len(other) == batched else 1
    if ours != theirs and 1 not in (ours, theirs):
        msg = f"`{first}` and `{name}` must have the same batch size, or one of them 1; got {ours} and {theirs}"
        raise ValueError(msg)
    return theirs if ours == 1 else ours


def not_too_large(shape: Shape) -> None:
    """Refuse an output whose bytes no address could count: frameworks end the process, or say it of other arrays."""
    if all(type(n) is int for n in shape) and math.prod(shape) >= 1 << 60:  # symbols are known later
        msg = f"`size` must be that of an output which memory can hold; got an output of shape {shape}"
        raise ValueError(msg)


@functools.lru_cache(maxsize=1024)
def not_empty(image: Shape, spatial: Shape, size: Shape, name: str = "image") -> None:
    """Refuse to sample locations from an image that has no pixels, or to add them to one."""
    if 0 not in size and any(n < 1 for n in spatial):  # of symbols, which `min` would compare with each other
        msg = f"`{name}` must have at least one pixel along every spatial axis; got shape {image}"
        raise ValueError(msg)
