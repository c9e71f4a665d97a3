"""The coefficients of splines."""

from typing import Any

import numpy as np

import stnkit
from stnkit.dtypes import dtype_name
from stnkit.ndimage.boundaries import boundary, degree
from stnkit.ndimage.fast_path import on_views
from stnkit.ndimage.frameworks import (
    COMPLEX,
    FLOATS,
    Array,
    Namespace,
    cast,
    is_foreign,
    is_lazy,
    namespace,
    wide_float,
)
from stnkit.ndimage.outputs import Output, asked, delivered, rounded


@on_views
def spline_filter1d(
    input: Array, order: int = 3, axis: int = -1, output: Any = np.float64, mode: str = "mirror"
) -> Array:
    """Find the coefficients of a spline along one axis, as `scipy.ndimage.spline_filter1d` does.

    Parameters
    ----------
    input : array
        With any number of axes, of a dtype and a framework that `map_coordinates` takes.
    order : {0, 1, 2, 3, 4, 5}
        The degree of the spline; up to 1 the coefficients are the pixels.
    axis : int
        Along which axis.
    output : array or dtype
        Where the result is written to, or its dtype.
    mode : str
        What stands outside, as in `map_coordinates`: "reflect", "grid-mirror" and "nearest" have one filter,
        "grid-wrap" another, and all others that of "mirror".

    Returns
    -------
    array
        Of the shape and the framework of `input`.

    Raises
    ------
    ValueError
        If an order, a mode or an axis is unknown, or `output` does not fit. Where SciPy raises RuntimeError, it is one
        too.
    TypeError
        If a dtype is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> ndimage.spline_filter1d(np.array([0.0, 6.0, 0.0]), mode="grid-wrap").round(9)
    array([-2., 10., -2.])
    """
    found = degree(order)
    image = input if is_foreign(input) else np.asarray(input)
    target = asked(output, image, tuple(image.shape))
    if found < 2:
        return _filtered(image, found, (), mode, target)
    boundary(mode)
    if not -image.ndim <= axis < image.ndim:
        raise np.exceptions.AxisError(axis, image.ndim)
    return _filtered(image, found, (axis % image.ndim - image.ndim,), mode, target)


@on_views
def spline_filter(input: Array, order: int = 3, output: Any = np.float64, mode: str = "mirror") -> Array:
    """Find the coefficients of a spline along all axes, as `scipy.ndimage.spline_filter` does.

    Parameters
    ----------
    input : array
        As `spline_filter1d` takes it.
    order : {2, 3, 4, 5}
        The degree of the spline.
    output : array or dtype
        Where the result is written to, or its dtype.
    mode : str
        What stands outside, as in `spline_filter1d`.

    Returns
    -------
    array
        Of the shape and the framework of `input`.

    Raises
    ------
    ValueError
        If an order or a mode is unknown, or `output` does not fit. Where SciPy raises RuntimeError, it is one too.
    TypeError
        If a dtype is not supported.

    Notes
    -----
    Integers are cut off after all axes; SciPy cuts off after each.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> pixels = np.eye(3)
    >>> coefficients = ndimage.spline_filter(pixels)
    >>> ndimage.map_coordinates(coefficients, [[0, 1], [1, 1]], prefilter=False).round(9) + 0.0
    array([0., 1.])
    """
    found = degree(order, 2)
    image = input if is_foreign(input) else np.asarray(input)
    target = asked(output, image, tuple(image.shape))
    return _filtered(image, found, tuple(range(-image.ndim, 0)), mode, target)


def _filtered(image: Array, order: int, axes: tuple[int, ...], mode: Any, target: Output) -> Array:
    if is_lazy(image):
        msg = "`input` is an array of Dask, whose chunks are filtered where they are read; pass `input.compute()`"
        raise TypeError(msg)
    xp = namespace(image)
    if dtype_name(image) in COMPLEX:
        parts = [_part(part, order, axes, mode, target, xp) for part in (xp.real(image), xp.imag(image))]
        return delivered(cast(parts[0] + 1j * parts[1], target.dtype, xp), target, xp)
    return delivered(_part(image, order, axes, mode, target, xp), target, xp)


def _part(image: Array, order: int, axes: tuple[int, ...], mode: Any, target: Output, xp: Namespace) -> Array:
    """Filter real numbers, in the real part of the target's dtype; integers are cut off, as SciPy's filter does."""
    own = dtype_name(image)
    wide = "float64" in (own, target.real) or own not in FLOATS or target.real not in FLOATS
    work = cast(image, wide_float(xp) if wide else "float32", xp)
    if axes and image.size if xp is np else axes:
        edge = boundary(mode)
        padding = edge.margin or edge.padding
        work = stnkit.spline_filter(work, order=order, padding_mode=padding, align_corners=edge.align, axes=axes)
    elif xp is np and work is image:
        work = np.array(image, image.dtype.newbyteorder("="))
    if target.real not in FLOATS:
        work = xp.trunc(work)
    return rounded(work, target.real, xp)
