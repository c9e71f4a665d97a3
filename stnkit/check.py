"""What a call may look like: options, shapes and dtypes are checked here, once, and errors are worded here.

Every check is a function of hashable words and shapes, memoised, so that a repeated call pays for a
dictionary look-up. Messages say what is wrong, what was given and what is accepted, and the accepted names
come from the tables of `spec`.
"""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stnkit import hints
from stnkit.dtypes import arithmetic, is_float
from stnkit.spec import (
    BFLOAT16,
    COORDS,
    DATA_FORMATS,
    DTYPES,
    MODES,
    NEAREST,
    PADDING_MODES,
    UINT8,
    UNITS,
    Options,
)

Shape = tuple[int, ...]

BOOLEAN = (bool, np.bool_)  # as a tuple: torch's compiler cannot read a union before 2.9
PaddingMode = str | Sequence[str]

_AXES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}


def options(
    ndim: int,
    mode: str,
    padding_mode: PaddingMode,
    align_corners: bool,
    data_format: str,
    coords: str = "normalized",
    units: str = "normalized",
) -> Options:
    """Translate the words of a call on `ndim` axes to the kernels' words."""
    if not isinstance(padding_mode, str):
        if not isinstance(padding_mode, Sequence):
            msg = f"`padding_mode` must be a name or a sequence of names; got {padding_mode!r}"
            raise TypeError(msg)
        padding_mode = tuple(padding_mode)
    given = (mode, padding_mode, align_corners, data_format, coords, units)
    try:
        return _options(ndim, *given)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        msg = (
            "`mode`, `padding_mode`, `data_format`, `coords` and `units` must be names and `align_corners` True or "
            f"False; got {given!r}"
        )
        raise TypeError(msg) from error


@functools.lru_cache(maxsize=1024, typed=True)  # True is not 1
def _options(
    ndim: int,
    mode: str,
    padding_mode: str | tuple[str, ...],
    align_corners: bool,
    data_format: str,
    coords: str,
    units: str,
) -> Options:
    names = (padding_mode,) * ndim if isinstance(padding_mode, str) else padding_mode
    if len(names) != ndim:
        msg = (
            f"`padding_mode` must be one name, or one per axis in the order {', '.join('xyz'[:ndim])}; "
            f"got {len(names)} names: {names!r}"
        )
        raise ValueError(msg)
    paddings = [_word("padding_mode", name, PADDING_MODES) for name in names]
    x, y, z = (paddings + paddings[:1] * 3)[:3]
    return Options(
        interp=_word("mode", mode, MODES),
        padding=(x, y, z),
        align=flag("align_corners", align_corners),
        pixel=_word("coords", coords, COORDS) or _word("units", units, UNITS),
        channels_last=_word("data_format", data_format, DATA_FORMATS),
    )


def flag(argument: str, given: Any) -> bool:
    """Return a choice between True and False."""
    if not isinstance(given, BOOLEAN):
        msg = f"`{argument}` must be True or False; got {given!r}"
        raise TypeError(msg)
    return bool(given)


def antialias(given: Any, most: int) -> bool | int:
    """Return whether a map's footprint is to be covered, or by how many places along each axis."""
    if isinstance(given, BOOLEAN):
        return bool(given)
    try:
        places = operator.index(given)
    except TypeError as error:
        msg = f"`antialias` must be True, False or an integer from 1 to {most}; got {given!r}"
        raise TypeError(msg) from error
    if not 1 <= places <= most:
        msg = f"`antialias` must be True, False or an integer from 1 to {most}; got {given!r}"
        raise ValueError(msg)
    return places


def _word(argument: str, name: Any, table: dict[str, Any]) -> Any:
    if not isinstance(name, str):
        msg = f"`{argument}` must be a name; got {name!r}"
        raise TypeError(msg)
    if name not in table:
        msg = f"`{argument}` must be one of {', '.join(map(repr, table))}; got {name!r}"
        raise ValueError(msg)
    return table[name]


def names(argument: str, given: str | Iterable[str], accepted: tuple[str, str]) -> tuple[bool, bool]:
    """Tell for each accepted name whether it is among those given."""
    if not isinstance(given, Iterable):
        msg = f"`{argument}` must name some of {', '.join(map(repr, accepted))}; got {given!r}"
        raise TypeError(msg)
    wanted = (given,) if isinstance(given, str) else tuple(given)
    for name in wanted:
        if name not in accepted:
            msg = f"`{argument}` must name some of {', '.join(map(repr, accepted))}; got {name!r}"
            raise ValueError(msg)
    first, second = accepted
    return first in wanted, second in wanted


@functools.lru_cache(maxsize=256)
def image_dtype(argument: str, given: np.dtype[Any], interp: int) -> None:
    """Refuse an image whose format no kernel reads, or none but that of nearest."""
    if given.name not in DTYPES:
        hint = ""
        if given.kind == "c":
            hint = "; pass a real view, with real and imaginary parts as two channels"
        elif given.kind == "O":
            hint = "; an object array holds no numbers that a kernel can read"
        msg = f"`{argument}` must have dtype {_listed(DTYPES)}; got {given.name}{hint}"
        raise TypeError(msg)
    if DTYPES[given.name] > UINT8 and interp != NEAREST:
        msg = (
            f"`{argument}` of dtype {given.name} can be sampled by mode 'nearest' alone; for other modes pass "
            f"{_listed(name for name, code in DTYPES.items() if code <= UINT8)}"
        )
        raise TypeError(msg)


@functools.lru_cache(maxsize=256)
def coordinate_dtype(argument: str, given: np.dtype[Any]) -> None:
    """Refuse coordinates, or parameters of them, in a format that is no floating point."""
    if not is_float(given):
        accepted = _listed(name for name, code in DTYPES.items() if code <= BFLOAT16)
        msg = f"`{argument}` must have dtype {accepted}; got {given.name}"
        raise TypeError(msg)


@functools.lru_cache(maxsize=256)
def addable(argument: str, given: np.dtype[Any]) -> None:
    """Refuse values to add up in a format that is no floating point."""
    if not is_float(given):
        accepted = _listed(name for name, code in DTYPES.items() if code <= BFLOAT16)
        msg = (
            f"`{argument}` must have dtype {accepted}, as fractions of them are added; got {given.name}; convert to "
            "floating point before, and round the sums"
        )
        raise TypeError(msg)


@functools.lru_cache(maxsize=256)
def differentiable(argument: str, given: np.dtype[Any]) -> None:
    """Refuse the derivative of an image of integers."""
    if not is_float(given):
        msg = (
            f"`{argument}`: an image of dtype {given.name} has no derivative; "
            "convert the image to floating point, or leave it out"
        )
        raise TypeError(msg)


def averaged(given: np.dtype[Any]) -> None:
    """Refuse to average an image of integers, but of uint8."""
    if DTYPES[given.name] > UINT8:
        msg = f"`antialias` takes means, which an image of dtype {given.name} cannot hold; convert it to floating point"
        raise TypeError(msg)


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def same_dtype(argument: str, given: np.dtype[Any], other: str, wanted: np.dtype[Any]) -> None:
    """Refuse an array that is not of the dtype of what it belongs to."""
    if given != wanted:
        msg = f"`{argument}` must have the dtype of {other}, {wanted.name}; got {given.name}"
        raise TypeError(msg)


def same_shape(argument: str, given: Shape, other: str, wanted: Shape) -> None:
    """Refuse an array that is not of the shape of what it belongs to."""
    if given != wanted:
        msg = f"`{argument}` must have the shape of {other}, {wanted}; got {given}"
        raise ValueError(msg)


def writable(argument: str, given: np.ndarray, **inputs: np.ndarray) -> None:
    """Refuse an array to write into that is read-only, has gaps, or shares memory with an input."""
    if not given.flags.writeable:
        msg = f"`{argument}` must be writable; got a read-only array"
        raise ValueError(msg)
    if not given.flags.c_contiguous:
        msg = f"`{argument}` must be C-contiguous; got strides {given.strides} for shape {given.shape}"
        raise ValueError(msg)
    for name, array in inputs.items():
        if np.may_share_memory(given, array):
            msg = f"`{argument}` must not overlap `{name}` in memory, which is read while it is written"
            raise ValueError(msg)


@functools.lru_cache(maxsize=1024)
def grid_axes(shape: Shape, name: str = "grid") -> int:
    """Return on how many axes a grid samples, or refuse its shape."""
    ndim = shape[-1] if shape else 0
    if ndim not in _AXES or len(shape) not in (ndim + 1, ndim + 2):
        msg = f"`{name}` must have shape (N, W, 1), (N, H, W, 2) or (N, D, H, W, 3), N optional; got {shape}"
        raise ValueError(msg + hints.to_grid(name, shape))
    return ndim


def units(given: str) -> bool:
    """Return whether a flow is in pixels."""
    return bool(_word("units", given, UNITS))


@functools.lru_cache(maxsize=1024)
def theta_axes(shape: Shape) -> int:
    """Return on how many axes an affine map acts, or refuse its shape."""
    if len(shape) not in (2, 3) or shape[-2] not in _AXES or shape[-1] != shape[-2] + 1:
        msg = f"`theta` must have shape (N, 1, 2), (N, 2, 3) or (N, 3, 4), N optional; got {shape}"
        raise ValueError(msg + hints.to_affine(shape))
    return shape[-2]


@functools.lru_cache(maxsize=1024)
def projective_axes(shape: Shape) -> int:
    """Return on how many axes a projective map acts, or refuse its shape."""
    if len(shape) not in (2, 3) or shape[-1] - 1 not in _AXES or shape[-2] != shape[-1]:
        msg = f"`theta` must have shape (N, 2, 2), (N, 3, 3) or (N, 4, 4), N optional; got {shape}"
        raise ValueError(msg + hints.to_projective(shape))
    return shape[-1] - 1


def control_axes(control: Shape) -> int:
    """Return on how many axes a thin plate spline acts, or refuse the shape of its control points."""
    if len(control) != 2 or control[-1] not in _AXES:
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


@functools.lru_cache(maxsize=1024)
def image_shape(shape: Shape, ndim: int, channels_last: bool, name: str = "image") -> tuple[int, Shape]:
    """Return an image's channels and spatial size, or refuse its shape."""
    if len(shape) not in (ndim + 1, ndim + 2):
        axes = ", ".join(_AXES[ndim])
        layout = f"(N, {axes}, C)" if channels_last else f"(N, C, {axes})"
        word = "channels_last" if channels_last else "channels_first"
        msg = f"`{name}` must have shape {layout}, N optional, for {ndim}-D coordinates and {word}; got {shape}"
        raise ValueError(msg + hints.to_image(name, shape, ndim, channels_last))
    if channels_last:
        return shape[-1], shape[-1 - ndim : -1]
    return shape[-1 - ndim], shape[-ndim:]


def output_size(cotangent: Shape, ndim: int, data_format: str) -> Shape:
    """Return the spatial size of an output from the shape of its cotangent."""
    last = _word("data_format", data_format, DATA_FORMATS)
    return image_shape(cotangent, ndim, last, "cotangent")[1]


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


@functools.lru_cache(maxsize=1024)
def not_empty(image: Shape, spatial: Shape, size: Shape) -> None:
    """Refuse to sample locations from an image that has no pixels."""
    if 0 not in size and 0 in spatial:
        msg = f"`image` must have at least one pixel along every spatial axis; got shape {image}"
        raise ValueError(msg)


def lattice(given: Any) -> Shape:
    """Return how many points a lattice has along each axis."""
    try:
        counts = tuple(operator.index(n) for n in given)
    except TypeError as error:
        msg = f"`shape` must be a sequence of 1 to 3 integers; got {given!r}"
        raise TypeError(msg) from error
    if len(counts) not in _AXES or min(counts) < 2:
        msg = f"`shape` must be 1 to 3 integers, each 2 or more; got {counts}"
        raise ValueError(msg)
    return counts


def size(given: Any, ndim: int) -> Shape:
    """Return the spatial size of an output as a tuple of ints."""
    try:
        sizes = tuple(operator.index(n) for n in given)
    except TypeError as error:
        msg = f"`size` must be a sequence of {ndim} integers, ({', '.join(_AXES[ndim])}); got {given!r}"
        raise TypeError(msg) from error
    if len(sizes) != ndim or min(sizes) < 0:
        hint = " (only the spatial size, without N and C)" if len(sizes) == ndim + 2 else ""
        msg = f"`size` must be {ndim} integers >= 0, ({', '.join(_AXES[ndim])}){hint}; got {sizes}"
        raise ValueError(msg)
    return sizes


def fill(
    given: Any, channels: int, interp: int, image: np.dtype[Any], source: np.dtype[Any]
) -> tuple[np.ndarray, bool]:
    """Return the fill value as one number for each channel, and whether it is finite or cannot meet a weight of 0.

    It comes in the type of the arithmetic; for nearest, which moves pixels as they are, in the image's.
    """
    like = image if interp == NEAREST else arithmetic(image, source)
    if type(given) is float or type(given) is int:
        return _constant(given, channels, like, image, interp)
    constant(given)
    try:
        values = np.asarray(given)
    except ValueError as error:
        msg = f"`fill_value` must be one number, or {channels}, one for each channel; got {given!r}"
        raise ValueError(msg) from error
    if values.dtype.kind not in "fiub":
        msg = f"`fill_value` must be a real number, or one for each channel; got {given!r}"
        raise TypeError(msg)
    if values.ndim == 0:
        return _constant(values.item(), channels, like, image, interp)
    if values.shape != (channels,):
        msg = f"`fill_value` must be one number, or {channels}, one for each channel; got shape {values.shape}"
        raise ValueError(msg)
    _representable(values, image)
    values = np.ascontiguousarray(values, like)
    return values, _harmless(values, interp)


def constant(fill_value: Any) -> None:
    """Refuse a fill value that a derivative is asked of."""
    if getattr(fill_value, "requires_grad", False):
        msg = "`fill_value` requires a gradient, which no function here gives; pass `fill_value.detach()`"
        raise TypeError(msg)


@functools.lru_cache(maxsize=256)
def _constant(
    value: float, channels: int, like: np.dtype[Any], image: np.dtype[Any], interp: int
) -> tuple[np.ndarray, bool]:
    _representable(np.asarray(value), image)
    try:
        filled = np.full(channels, value or 0).astype(like)  # -0.0 and 0.0 are one key: both give 0.0
    except OverflowError as error:
        msg = f"`fill_value` must be a number that float64 can hold; got an integer of {int(value).bit_length()} bits"
        raise ValueError(msg) from error
    filled.flags.writeable = False
    return filled, _harmless(filled, interp)


def _harmless(values: np.ndarray, interp: int) -> bool:
    """Tell whether fill values are finite, or read by nearest, which weighs nothing."""
    return interp == NEAREST or bool(np.isfinite(values).all())


def _representable(values: np.ndarray, image: np.dtype[Any]) -> None:
    """Refuse a fill value that an image of integers cannot hold."""
    if is_float(image):
        return
    low, high = (0, 1) if image.kind == "b" else (np.iinfo(image).min, np.iinfo(image).max)
    for value in values.ravel().tolist():
        if not (low <= value <= high and value == int(value)):
            msg = f"`fill_value` must be an integer from {low} to {high} for an image of {image.name}; got {value}"
            raise ValueError(msg)
