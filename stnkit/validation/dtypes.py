"""Which dtypes of images, coordinates and derivatives are accepted."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from stnkit.dtypes import is_float
from stnkit.spec import BFLOAT16, CHOOSING, DTYPES, LABEL, MOVED


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
    if interp == LABEL and is_float(given):
        accepted = _listed(name for name, code in DTYPES.items() if code > BFLOAT16)
        msg = f"`{argument}` must have dtype {accepted} for mode 'label', as labels are whole; got {given.name}"
        raise TypeError(msg)
    if DTYPES[given.name] in MOVED and interp not in CHOOSING:
        msg = (
            f"`{argument}` of dtype {given.name} can be sampled by modes 'nearest' and 'label' alone; for other modes "
            f"pass {_listed(name for name, code in DTYPES.items() if code not in MOVED)}"
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


def averaged(given: np.dtype[Any], interp: int) -> None:
    """Refuse to average an image that has no means, or labels."""
    if interp == LABEL:
        msg = "`antialias` takes means, which labels have none of; leave it out, or pass another `mode`"
        raise ValueError(msg)
    if DTYPES[given.name] in MOVED:
        msg = f"`antialias` takes means, which an image of dtype {given.name} cannot hold; convert it to floating point"
        raise TypeError(msg)


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def same_dtype(argument: str, given: Any, other: str, wanted: Any) -> None:
    """Refuse an array that is not of the dtype of what it belongs to; dtypes are those of any framework."""
    if given != wanted:
        names = [getattr(dtype, "name", str(dtype).rpartition(".")[-1]) for dtype in (wanted, given)]
        msg = f"`{argument}` must have the dtype of {other}, {names[0]}; got {names[1]}"
        raise TypeError(msg)
