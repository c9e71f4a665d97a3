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

from stnkit.spec import COORDS, DATA_FORMATS, DTYPES, MODES, PADDING_MODES, Options

Shape = tuple[int, ...]
PaddingMode = str | Sequence[str]

_AXES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}


def options(
    ndim: int, mode: str, padding_mode: PaddingMode, align_corners: bool, coords: str, data_format: str
) -> Options:
    """Translate the words of a call on `ndim` axes to the kernels' words."""
    if not isinstance(padding_mode, str):
        if not isinstance(padding_mode, Sequence):
            msg = f"`padding_mode` must be a name or a sequence of names; got {padding_mode!r}"
            raise TypeError(msg)
        padding_mode = tuple(padding_mode)
    given = (mode, padding_mode, align_corners, coords, data_format)
    try:
        return _options(ndim, *given)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        msg = (
            "`mode`, `padding_mode`, `coords` and `data_format` must be names and `align_corners` True or False; "
            f"got {given!r}"
        )
        raise TypeError(msg) from error


@functools.lru_cache(maxsize=1024, typed=True)  # True is not 1
def _options(
    ndim: int,
    mode: str,
    padding_mode: str | tuple[str, ...],
    align_corners: bool,
    coords: str,
    data_format: str,
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
        pixel=_word("coords", coords, COORDS),
        channels_last=_word("data_format", data_format, DATA_FORMATS),
    )


def flag(argument: str, given: Any) -> bool:
    """Return a choice between True and False."""
    if not isinstance(given, bool | np.bool_):
        msg = f"`{argument}` must be True or False; got {given!r}"
        raise TypeError(msg)
    return bool(given)


def _word(argument: str, name: Any, table: dict[str, Any]) -> Any:
    if not isinstance(name, str):
        msg = f"`{argument}` must be a name; got {name!r}"
        raise TypeError(msg)
    if name not in table:
        msg = f"`{argument}` must be one of {', '.join(map(repr, table))}; got {name!r}"
        raise ValueError(msg)
    return table[name]


def names(argument: str, given: str | Iterable[str], accepted: tuple[str, ...]) -> tuple[bool, ...]:
    """Tell for each accepted name whether it is among those given."""
    if not isinstance(given, Iterable):
        msg = f"`{argument}` must name some of {', '.join(map(repr, accepted))}; got {given!r}"
        raise TypeError(msg)
    wanted = (given,) if isinstance(given, str) else tuple(given)
    for name in wanted:
        if name not in accepted:
            msg = f"`{argument}` must name some of {', '.join(map(repr, accepted))}; got {name!r}"
            raise ValueError(msg)
    return tuple(name in wanted for name in accepted)


@functools.lru_cache(maxsize=256)
def dtype(argument: str, given: np.dtype[Any]) -> None:
    """Refuse a dtype that no kernel reads."""
    if given.name in DTYPES:
        return
    hint = ""
    if given.kind == "c":
        hint = "; pass real and imaginary parts as two channels, `image.view(real dtype)`"
    elif given.kind == "O":
        hint = "; an object array holds no numbers that a kernel can read"
    msg = f"`{argument}` must have dtype {' or '.join(DTYPES)}; got {given.name}{hint}"
    raise TypeError(msg)


def same_dtype(argument: str, given: np.dtype[Any], other: str, wanted: np.dtype[Any]) -> None:
    """Refuse an array that is not of the dtype of the array that it belongs to."""
    if given != wanted:
        msg = f"`{argument}` must have the dtype of `{other}`, {wanted.name}; got {given.name}"
        raise TypeError(msg)


def same_shape(argument: str, given: Shape, other: str, wanted: Shape) -> None:
    """Refuse an array that is not of the shape of the array that it belongs to."""
    if given != wanted:
        msg = f"`{argument}` must have the shape of {other}, {wanted}; got {given}"
        raise ValueError(msg)


@functools.lru_cache(maxsize=1024)
def grid_axes(shape: Shape, name: str = "grid") -> int:
    """Return on how many axes a grid samples, or refuse its shape."""
    ndim = shape[-1] if shape else 0
    if ndim not in _AXES or len(shape) not in (ndim + 1, ndim + 2):
        msg = f"`{name}` must have shape (N, W, 1), (N, H, W, 2) or (N, D, H, W, 3), N optional; got {shape}"
        raise ValueError(msg)
    return ndim


@functools.lru_cache(maxsize=1024)
def theta_axes(shape: Shape) -> int:
    """Return on how many axes an affine map acts, or refuse its shape."""
    if len(shape) not in (2, 3) or shape[-2] not in _AXES or shape[-1] != shape[-2] + 1:
        msg = f"`theta` must have shape (N, 1, 2), (N, 2, 3) or (N, 3, 4), N optional; got {shape}"
        raise ValueError(msg)
    return shape[-2]


@functools.lru_cache(maxsize=1024)
def image_shape(shape: Shape, ndim: int, channels_last: bool, name: str = "image") -> tuple[int, Shape]:
    """Return an image's channels and spatial size, or refuse its shape."""
    if len(shape) not in (ndim + 1, ndim + 2):
        axes = ", ".join(_AXES[ndim])
        layout = f"(N, {axes}, C)" if channels_last else f"(N, C, {axes})"
        word = "channels_last" if channels_last else "channels_first"
        msg = f"`{name}` must have shape {layout}, N optional, for {ndim}-D coordinates and {word}; got {shape}"
        raise ValueError(msg)
    if channels_last:
        return shape[-1], shape[-1 - ndim : -1]
    return shape[-1 - ndim], shape[-ndim:]


@functools.lru_cache(maxsize=1024)
def batch(image: Shape, other: Shape, ndim: int, name: str, batched: int) -> int:
    """Return the batch size that two arrays share; an axis of 1, or none, is shared by every item.

    `batched` is how many axes `other` has with its batch axis.
    """
    ours = image[0] if len(image) == ndim + 2 else 1
    theirs = other[0] if len(other) == batched else 1
    if ours != theirs and 1 not in (ours, theirs):
        msg = f"`image` and `{name}` must have the same batch size, or one of them 1; got {ours} and {theirs}"
        raise ValueError(msg)
    return theirs if ours == 1 else ours


@functools.lru_cache(maxsize=1024)
def not_empty(image: Shape, spatial: Shape, size: Shape) -> None:
    """Refuse to sample locations from an image that has no pixels."""
    if 0 not in size and 0 in spatial:
        msg = f"`image` must have at least one pixel along every spatial axis; got shape {image}"
        raise ValueError(msg)


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


def fill(given: Any, channels: int, *dtypes: np.dtype[Any]) -> np.ndarray:
    """Return the fill value as one number for each channel, in the type of the arithmetic."""
    like = np.dtype(np.float64 if np.dtype(np.float64) in dtypes else np.float32)
    if type(given) is float or type(given) is int:
        return _constant(float(given), channels, like)
    try:
        values = np.asarray(given)
    except ValueError as error:
        msg = f"`fill_value` must be one number, or {channels}, one for each channel; got {given!r}"
        raise ValueError(msg) from error
    if values.dtype.kind not in "fiub":
        msg = f"`fill_value` must be a real number, or one for each channel; got {given!r}"
        raise TypeError(msg)
    if values.ndim == 0:
        return _constant(float(values), channels, like)
    if values.shape != (channels,):
        msg = f"`fill_value` must be one number, or {channels}, one for each channel; got shape {values.shape}"
        raise ValueError(msg)
    return np.ascontiguousarray(values, like)


@functools.lru_cache(maxsize=256)
def _constant(value: float, channels: int, like: np.dtype[Any]) -> np.ndarray:
    filled = np.full(channels, value, like)
    filled.flags.writeable = False
    return filled
