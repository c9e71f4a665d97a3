"""Fill values: as many as channels, representable in the image, and whether they can be blended."""

import functools
from typing import Any

import numpy as np

from stnkit.dtypes import blending, is_float
from stnkit.spec import CHOOSING

_NUMBER, _LISTS = (int, float), (list, tuple)  # as tuples: torch's compiler cannot read a union before 2.9


def fill(
    given: Any, channels: int, interp: int, image: np.dtype[Any], source: np.dtype[Any]
) -> tuple[np.ndarray, bool]:
    """Return the fill value as one number for each channel, and whether it is finite or cannot meet a weight of 0.

    It comes in the type of the arithmetic; for nearest, which moves pixels as they are, in the image's.
    """
    like = image if interp in CHOOSING else blending(image, source)
    if type(given) is float or type(given) is int:
        return _constant(given, channels, like, image, interp)
    values = _array(given, channels)
    if values.ndim == 0:
        return _constant(values.item(), channels, like, image, interp)
    _representable(values, image)
    values = np.ascontiguousarray(values, like)
    return values, _harmless(values, interp)


def _array(given: Any, channels: int | None) -> np.ndarray:
    """Return a fill value as an array of real numbers: of no axis, or of one for channels."""
    many = "" if channels is None else f"{channels}, "
    _refuse_gradient(given)
    if isinstance(given, np.ma.MaskedArray):
        msg = "`fill_value` is a masked array, whose mask would be lost; pass `.filled(...)` instead"
        raise TypeError(msg)
    try:
        values = np.asarray(given)
    except ValueError as error:
        msg = f"`fill_value` must be one number, or {many}one for each channel; got {given!r}"
        raise ValueError(msg) from error
    if values.dtype.kind not in "fiub":
        msg = f"`fill_value` must be a real number, or one for each channel; got {given!r}"
        raise TypeError(msg)
    if values.ndim and values.shape != (len(values) if channels is None else channels,):
        msg = f"`fill_value` must be one number, or {many}one for each channel; got shape {values.shape}"
        raise ValueError(msg)
    return values


def _refuse_gradient(fill_value: Any) -> None:
    """Refuse a fill value that a derivative is asked of."""
    if getattr(fill_value, "requires_grad", False):
        msg = "`fill_value` requires a gradient, which no function here gives; pass `fill_value.detach()`"
        raise TypeError(msg)


def any_fill(given: Any) -> Any:
    """Return a fill value as what can be kept, a number or a tuple; how many channels there are is not known yet."""
    if type(given) is float or type(given) is int:
        return given
    kept = _array(given, None).tolist()
    return tuple(kept) if isinstance(kept, list) else kept


def numbers(fill_value: Any) -> list[float]:
    """Return the numbers of a fill value: one, or one for each channel."""
    if isinstance(fill_value, _NUMBER):
        return [float(fill_value)]
    if isinstance(fill_value, _LISTS):  # which torch's compiler cannot read as an array
        return [float(value) for value in fill_value]
    _refuse_gradient(fill_value)
    return [float(value) for value in np.atleast_1d(np.asarray(fill_value)).tolist()]


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
    return interp in CHOOSING or bool(np.isfinite(values).all())


def _representable(values: np.ndarray, image: np.dtype[Any]) -> None:
    """Refuse a fill value that an image of integers cannot hold."""
    if is_float(image):
        return
    low, high = (0, 1) if image.kind == "b" else (np.iinfo(image).min, np.iinfo(image).max)
    for value in values.ravel().tolist():
        if not (low <= value <= high and value == int(value)):
            msg = f"`fill_value` must be an integer from {low} to {high} for an image of {image.name}; got {value}"
            raise ValueError(msg)
