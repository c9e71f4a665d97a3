"""Arguments of a filter: a spline's degree, what stands beyond the edge, and the axes that are filtered."""

import operator
from typing import Any

import numpy as np

from stnkit.spec import (
    BORDER,
    BORDER_MARGIN,
    DTYPES,
    INT32,
    MASK,
    MODES,
    PADDING_MODES,
    PERIODIC,
    REFLECTION,
    SPLINE2,
    SPLINE5,
    WRAP,
    ZEROS,
    ZEROS_MARGIN,
    Options,
)
from stnkit.validation.options import choice, flag

Shape = tuple[int, ...]

FILTERED = {name: code for name, code in MODES.items() if SPLINE2 <= code <= SPLINE5}  # modes that read coefficients
ORDERS = {int(name[-1]): code for name, code in FILTERED.items()}
# What a filter takes for each padding of a sampler: the period, or a reflection at a pixel's centre (True) or at its
# edge. For a sampler that reflects, `align_corners` says at which.
BOUNDARIES = {
    ZEROS: (REFLECTION, True),
    BORDER: (REFLECTION, False),
    REFLECTION: (REFLECTION, None),
    WRAP: (WRAP, False),
    MASK: (REFLECTION, True),
    PERIODIC: (REFLECTION, True),
    ZEROS_MARGIN: (REFLECTION, True),
    BORDER_MARGIN: (REFLECTION, False),
}


def prefiltered(mode: Any, prefilter: Any) -> bool:
    """Tell whether the image of a call is filtered before it is sampled."""
    return flag("prefilter", prefilter) and isinstance(mode, str) and mode in FILTERED


def spline(order: Any, padding_mode: Any, align_corners: Any) -> Options:
    """Translate a filter's choices to what kernels take."""
    degree = _integer("order", order, ", ".join(map(str, ORDERS)))
    if degree not in ORDERS:
        msg = f"`order` must be one of {', '.join(map(str, ORDERS))}; got {order!r}"
        raise ValueError(msg)
    padding, align = choice("padding_mode", padding_mode, PADDING_MODES), flag("align_corners", align_corners)
    padding, own = BOUNDARIES[padding]
    align = align if own is None else own
    return Options(ORDERS[degree], (padding,) * 3, align, pixel=False, channels_last=False)


def filtered_axes(given: Any, ndim: int) -> Shape:
    """Return axes as negative numbers, each once; all but the first two if none are given."""
    if given is None:
        if ndim < 3:
            msg = f"`axes` must be given for an array of {ndim} axes: without them, all but the first two are filtered"
            raise ValueError(msg)
        return tuple(range(2 - ndim, 0))
    many = given if isinstance(given, (tuple, list)) else (given,)
    axes = tuple(_integer("axes", axis, "an integer, or a sequence of them") for axis in many)
    found = tuple(axis if axis < 0 else axis - ndim for axis in axes)
    if not all(-ndim <= axis < 0 for axis in found) or len(set(found)) < len(found):
        msg = f"`axes` must be different axes of an array that has {ndim}; got {given!r}"
        raise ValueError(msg)
    return found


def coefficient_dtype(argument: str, given: str) -> np.dtype[Any]:
    """Return the dtype of a spline's coefficients for that of an image, by its name."""
    if given not in DTYPES:
        msg = f"`{argument}` must have dtype {', '.join(DTYPES)}; got {given}"
        raise TypeError(msg)
    wide = given == "float64" or DTYPES[given] >= INT32
    return np.dtype(np.float64 if wide else np.float32)


def _integer(argument: str, given: Any, accepted: str) -> int:
    try:
        return operator.index(given)
    except TypeError as error:
        msg = f"`{argument}` must be {accepted}; got {given!r}"
        raise TypeError(msg) from error
