"""Options of a call: the names that users write, translated to those of kernels."""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stnkit.spec import COORDS, DATA_FORMATS, MODES, PADDING_MODES, UNITS, Options

Shape = tuple[int, ...]

BOOLEAN = (bool, np.bool_)  # as a tuple: torch's compiler cannot read a union before 2.9
UNORDERED = (set, frozenset, dict)
PaddingMode = str | Sequence[str]

AXES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}  # spatial ones, by their number


def options(
    ndim: int,
    mode: str,
    padding_mode: PaddingMode,
    align_corners: bool,
    data_format: str,
    coords: str = "normalized",
    units: str = "normalized",
) -> Options:
    """Translate the names of a call's choices on `ndim` axes to what kernels take."""
    if not isinstance(padding_mode, str):
        if not isinstance(padding_mode, Sequence):
            msg = f"`padding_mode` must be one of {_listed(PADDING_MODES)}, or a sequence of them; got {padding_mode!r}"
            raise TypeError(msg)
        padding_mode = tuple(padding_mode)
    given = (mode, padding_mode, align_corners, data_format, coords, units)
    try:
        return _options(ndim, *given)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
    return _options.__wrapped__(ndim, *given)  # says which of them is no name


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
    paddings = [choice("padding_mode", name, PADDING_MODES) for name in names]
    x, y, z = (paddings + paddings[:1] * 3)[:3]
    return Options(
        interp=choice("mode", mode, MODES),
        padding=(x, y, z),
        align=flag("align_corners", align_corners),
        pixel=choice("coords", coords, COORDS) or choice("units", units, UNITS),
        channels_last=choice("data_format", data_format, DATA_FORMATS),
    )


def flag(argument: str, given: Any) -> bool:
    """Return a choice between True and False."""
    if not isinstance(given, BOOLEAN):
        msg = f"`{argument}` must be True or False; got {given!r}"
        raise TypeError(msg)
    return bool(given)


def count(argument: str, given: Any) -> int:
    """Return a number of things, of which there is one at least."""
    msg = f"`{argument}` must be an integer of 1 or more; got {given!r}"
    try:
        found = operator.index(given)
    except TypeError as error:
        raise TypeError(msg) from error
    if found < 1 or isinstance(given, BOOLEAN):
        raise ValueError(msg)
    return found


def antialias(given: Any, most: int) -> bool | int:
    """Return whether a map's footprint is to be covered, or by how many subsamples along each axis."""
    if isinstance(given, BOOLEAN):
        return bool(given)
    try:  # no message before there is an error: torch's compiler cannot write a number that it does not know
        subsamples = operator.index(given)
    except TypeError as error:
        msg = f"`antialias` must be True, False or an integer from 1 to {most}; got {given!r}"
        raise TypeError(msg) from error
    if not 1 <= subsamples <= most:
        msg = f"`antialias` must be True, False or an integer from 1 to {most}; got {given!r}"
        raise ValueError(msg)
    return subsamples


def choice(argument: str, name: Any, table: dict[str, Any]) -> Any:
    """Return what a name stands for in a table."""
    if not isinstance(name, str) or name not in table:
        msg = f"`{argument}` must be one of {_listed(table)}; got {name!r}"
        raise ValueError(msg) if isinstance(name, str) else TypeError(msg)
    return table[name]


def names(argument: str, given: str | Iterable[str], accepted: tuple[str, str]) -> tuple[bool, bool]:
    """Tell for each accepted name whether it is among those given."""
    if not isinstance(given, Iterable):
        msg = f"`{argument}` must name some of {_listed(accepted)}; got {given!r}"
        raise TypeError(msg)
    wanted = (given,) if isinstance(given, str) else tuple(given)
    for name in wanted:
        if name not in accepted:
            msg = f"`{argument}` must name some of {_listed(accepted)}; got {name!r}"
            raise ValueError(msg)
    first, second = accepted
    return first in wanted, second in wanted


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def units(given: str) -> bool:
    """Return whether a flow is in pixels."""
    return bool(choice("units", given, UNITS))


def lattice(given: Any) -> Shape:
    """Return how many points a lattice has along each axis."""
    try:
        counts = tuple(operator.index(n) for n in given)
    except TypeError as error:
        msg = f"`shape` must be a sequence of 1 to 3 integers; got {given!r}"
        raise TypeError(msg) from error
    if len(counts) not in AXES or min(counts) < 2:
        msg = f"`shape` must be 1 to 3 integers, each 2 or more; got {counts}"
        raise ValueError(msg)
    return counts


def size(given: Any, ndim: int | None = None, argument: str = "size") -> Shape:
    """Return the spatial size of an output as a tuple of ints; of any number of axes, where none is said."""
    try:
        if isinstance(given, UNORDERED):
            raise TypeError  # as of what has no integers
        sizes = tuple(map(operator.index, given))
    except TypeError as error:
        msg = f"`{argument}` must be a sequence of {_sizes(ndim)}; got {given!r}"
        raise TypeError(msg) from error
    if (len(sizes) not in AXES if ndim is None else len(sizes) != ndim) or min(sizes) < 0:
        many, order = _sizes(ndim).split(", ", 1)
        hint = " (only the spatial size, without N and C)" if ndim and len(sizes) == ndim + 2 else ""
        msg = f"`{argument}` must be {many} >= 0, {order}{hint}; got {sizes}"
        raise ValueError(msg)
    return sizes


def _sizes(ndim: int | None) -> str:
    """Say how many integers a size has, and of which axes."""
    order = " or ".join(f"({', '.join(axes)})" for many, axes in AXES.items() if ndim in (None, many))
    return f"{ndim or '1 to 3'} integers, {order}"
