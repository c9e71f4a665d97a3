"""The coefficients of the spline that passes through an image's pixels."""

from collections.abc import Sequence
from typing import Any

from stnkit import validation
from stnkit._dispatch import dispatch
from stnkit.backends import backend, interop
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls.arguments import Array


@dispatch
def spline_filter(
    image: Array,
    *,
    order: int = 3,
    padding_mode: str = "zeros",
    align_corners: bool = False,
    axes: int | Sequence[int] | None = None,
    out: Array | None = None,
) -> Array:
    """Return the coefficients of the spline that passes through the pixels of an image.

    With mode "spline3" and `prefilter=False`, `grid_sample` reads them: at the centre of a pixel, the sampled value is
    then the image's. Without that option it finds them itself; filter an image that is sampled many times.

    Parameters
    ----------
    image : array
        With any number of axes, of which some are filtered.
    order : {2, 3, 4, 5}
        The degree of the spline, as in mode "spline3".
    padding_mode : {"zeros", "border", "reflection", "wrap"}
        What stands outside the image, as the samplers' option. The filter of "zeros" is that of "reflection" with
        `align_corners`, and that of "border" is that of "reflection" without.
    align_corners : bool
        Which reflection, as the samplers' option.
    axes : int or sequence of int, optional
        Which axes are filtered; by default all but the first two, which are batch and channels.
    out : array, optional
        Where to write the result; it may be the image itself.

    Returns
    -------
    array
        Of the shape of the image: float64 for float64 and for integers of 32 and 64 bits, else float32.

    Raises
    ------
    ValueError
        If an order, a name or an axis is not among those accepted, or `out` does not fit.
    TypeError
        If a dtype is not supported, or an argument is no array.

    Notes
    -----
    The values are those of `scipy.ndimage.spline_filter` with mode "mirror", "reflect" or "grid-wrap". Where an axis
    has a few pixels only, SciPy's "reflect" is not exact, and this is.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 6.0, 0.0]])
    >>> coefficients = stnkit.spline_filter(image, padding_mode="wrap", axes=-1)
    >>> grid = np.arange(3.0)[:, None]
    >>> options = {"prefilter": False, "coords": "pixel", "padding_mode": "wrap"}
    >>> stnkit.grid_sample(coefficients, grid, mode="spline3", **options).round(9) + 0.0
    array([[0., 6., 0.]])
    """
    options = validation.spline(order, padding_mode, align_corners)
    written = {} if out is None else {"out": out}
    (view, *into), export = interop.import_arrays(image=image, **written)
    filtered = validation.filtered_axes(axes, view.ndim)
    dtype = validation.coefficient_dtype("image", view.dtype.name)
    if into:
        validation.same_shape("out", into[0].shape, "`image`", view.shape)
        validation.same_dtype("out", into[0].dtype, "the coefficients", dtype)
        validation.writable("out", into[0], **({} if _place(into[0]) == _place(view) else {"image": view}))
    here = backend(view)
    made = here.spline_filter(here.converted(view, dtype), filtered, options, False, *into)
    return export(made) if out is None else out


def _place(view: Any) -> tuple[Any, ...]:
    """Return where a view's numbers lie, and how."""
    return (view.address if type(view) is DeviceArray else view.ctypes.data), view.strides, view.dtype


@dispatch
def spline_filter_vjp(
    cotangent: Array,
    *,
    order: int = 3,
    padding_mode: str = "zeros",
    align_corners: bool = False,
    axes: int | Sequence[int] | None = None,
) -> Array:
    """Pull a cotangent of a spline's coefficients back to the image: the transpose of `spline_filter`.

    Parameters
    ----------
    cotangent : array
        Of the shape of the coefficients; float32 or float64.
    order, padding_mode, align_corners, axes
        The options of `spline_filter`.

    Returns
    -------
    array
        Of the shape and dtype of the cotangent.

    Raises
    ------
    ValueError
        If an order, a name or an axis is not among those accepted.
    TypeError
        If a dtype is not supported, or an argument is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> cotangent = np.array([[0.0, 6.0, 0.0]])
    >>> stnkit.spline_filter_vjp(cotangent, padding_mode="wrap", axes=-1).round(9)
    array([[-2., 10., -2.]])
    """
    options = validation.spline(order, padding_mode, align_corners)
    (view,), export = interop.import_arrays(cotangent=cotangent)
    filtered = validation.filtered_axes(axes, view.ndim)
    dtype = validation.coefficient_dtype("cotangent", view.dtype.name)
    validation.same_dtype("cotangent", view.dtype, "the coefficients", dtype)
    return export(backend(view).spline_filter(view, filtered, options, True))
