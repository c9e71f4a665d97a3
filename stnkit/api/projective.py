"""Grids of projective maps, sampling under them without a grid, and the derivatives of both."""

from collections.abc import Sequence

import numpy as np

from stnkit import validation
from stnkit._dispatch import dispatch
from stnkit.antialias.compose import antialiased_here
from stnkit.backends import backend, interop
from stnkit.calls.sampling import (
    Array,
    Call,
    DataFormat,
    FillValue,
    PaddingMode,
    Wrt,
    export_all,
    forward,
    jvp,
    map_bars,
    map_grids,
    prepare,
    vjp,
    widened,
)
from stnkit.spec import PROJECTIVE


@dispatch
def projective_grid(theta: Array, size: Sequence[int], *, align_corners: bool = False) -> Array:
    """Generate the grid that projective maps give for an output of a size.

    Parameters
    ----------
    theta : array of shape (N, d + 1, d + 1) or (d + 1, d + 1)
        Maps from output to input, both in normalised coordinates, for d = 1, 2 or 3: with (r, w) = theta [x, y, z, 1],
        grid = r / w. Half precision gives a grid of float32.
    size : sequence of int
        The output's spatial size T: (W,), (H, W) or (D, H, W).
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or (default) the image's outer edges.

    Returns
    -------
    array of shape (N, *T, d) or (*T, d)
        Normalised coordinates in the order x, y, z; NaN at the horizon and behind it, where w <= 0.

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported or an argument is no array.

    Notes
    -----
    Maps are not scaled: theta and 2 theta give the same grid, and -theta looks the other way, behind the horizon.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> tilt = np.array([[1.0, 0.0], [0.5, 1.0]])
    >>> stnkit.projective_grid(tilt, (2,), align_corners=True)
    array([[-2.        ],
           [ 0.66666667]])
    """
    (theta_,), export = interop.import_arrays(theta=theta)
    validation.coordinate_dtype("theta", theta_.dtype)
    out_size = validation.size(size, validation.projective_axes(theta_.shape))
    align = validation.flag("align_corners", align_corners)
    return export(map_grids(theta_, PROJECTIVE, out_size, align))


@dispatch
def projective_grid_vjp(
    cotangent: Array, theta: Array, *, align_corners: bool = False, deterministic: bool = False
) -> Array:
    """Pull a cotangent of `projective_grid` back to theta.

    Parameters
    ----------
    cotangent : array of shape (N, *T, d) or (*T, d)
        Of the grid, and of its dtype.
    theta : array of shape (N, d + 1, d + 1) or (d + 1, d + 1)
        The argument of `projective_grid`.
    align_corners : bool
        As it was given to `projective_grid`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are.

    Returns
    -------
    array
        The cotangent of theta, of its shape and dtype. A location at or behind the horizon adds exactly 0.

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> stnkit.projective_grid_vjp(np.ones((2, 1)), np.eye(2), align_corners=True)
    array([[ 0.,  2.],
           [-2.,  0.]])
    """
    validation.flag("deterministic", deterministic)
    (cotangent_, theta_), export = interop.import_arrays(cotangent=cotangent, theta=theta)
    validation.coordinate_dtype("theta", theta_.dtype)
    ndim, align = validation.projective_axes(theta_.shape), validation.flag("align_corners", align_corners)
    return export(map_bars(cotangent_, theta_, ndim, PROJECTIVE, align))


@dispatch
def projective_grid_jvp(
    theta: Array, d_theta: Array, size: Sequence[int], *, align_corners: bool = False
) -> tuple[Array, Array]:
    """Push a tangent of theta forward through `projective_grid`.

    Parameters
    ----------
    theta : array of shape (N, d + 1, d + 1) or (d + 1, d + 1)
        The argument of `projective_grid`.
    d_theta : array
        Its tangent, of the same shape and dtype.
    size : sequence of int
        The output's spatial size T.
    align_corners : bool
        The option of `projective_grid`.

    Returns
    -------
    grid, d_grid : array of shape (N, *T, d) or (*T, d)
        The grid and its tangent, which is 0 at and behind the horizon.

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported or does not fit, or an argument is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> tilting = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> stnkit.projective_grid_jvp(np.eye(2), tilting, (2,), align_corners=True)
    (array([[-1.],
           [ 1.]]), array([[-1.],
           [-1.]]))
    """
    (theta_, theta_dot), export = interop.import_arrays(theta=theta, d_theta=d_theta)
    validation.coordinate_dtype("theta", theta_.dtype)
    validation.same_shape("d_theta", theta_dot.shape, "`theta`", theta_.shape)
    validation.same_dtype("d_theta", theta_dot.dtype, "`theta`", theta_.dtype)
    out_size = validation.size(size, validation.projective_axes(theta_.shape))
    align = validation.flag("align_corners", align_corners)
    grid = map_grids(theta_, PROJECTIVE, out_size, align)
    return export(grid), export(_dots(theta_, theta_dot, out_size, align))


def _dots(theta: np.ndarray, theta_dot: np.ndarray, size: tuple[int, ...], align: bool) -> np.ndarray:
    wide, dots = (widened(a if a.ndim == 3 else a[None]) for a in (theta, theta_dot))
    grid_dot: np.ndarray = backend(wide).projective_grid_jvp(wide, dots, size, align)
    return grid_dot if theta.ndim == 3 else grid_dot[0]


@dispatch
def projective_sample(
    image: Array,
    theta: Array,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    out: Array | None = None,
) -> Array:
    """Interpolate an image under projective maps, without storing a grid.

    Equals `grid_sample(image, projective_grid(theta, size))` with the same options; the coordinates are computed
    where they are used. Locations at and behind the horizon read the fill value.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C)
        The input, of any dtype that `grid_sample` takes.
    theta : array of shape (N, d + 1, d + 1) or (d + 1, d + 1)
        Maps from output to input, both in normalised coordinates, as for `projective_grid`. Half precision is
        widened to float32.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, padding_mode, fill_value, align_corners, data_format
        The options of `grid_sample`.
    antialias : bool or int
        Whether locations are supersampled, for maps that shrink: the mean of as many samples along each axis of the
        output as a step of it spans pixels of the image. An integer from 1 to 16 is their number, whatever the map.
    out : array, optional
        Where to write the result: of its shape and dtype, C-contiguous, and apart from the inputs in memory.

    Returns
    -------
    array of shape (N, C, *T) or (N, *T, C)
        In the dtype, the framework and the channel order of `image`.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Notes
    -----
    With `antialias=True`, the number of samples along an axis is how many pixels of the image a step of the output
    along it spans, from half a step before a location to half a step after: the largest of the item's locations,
    rounded up, and 16 at most. Steps that start or end at the horizon or behind it do not count. A sample at or
    behind the horizon reads the fill value and passes no gradient, so that a location next to it is a blend.

    A map that shrinks nothing has one sample and the bits of the plain call. The number has no derivative: it jumps,
    and between jumps derivatives are exact. A call costs as many plain ones as a location has samples. An image of
    half precision or uint8 is copied to the dtype of the arithmetic, and the mean is rounded once.

    References
    ----------
    Hartley and Zisserman, "Multiple View Geometry in Computer Vision", 2004, section 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.arange(6.0).reshape(1, 2, 3)
    >>> turn = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> stnkit.projective_sample(image, turn)
    array([[[5., 4., 3.],
            [2., 1., 0.]]])
    """
    if antialias is not False:
        return antialiased_here(projective_sample, locals())
    (image_, theta_, out_), export = interop.import_arrays("out", later="image", image=image, theta=theta, out=out)
    call = prepared(image_, theta_, size, mode, padding_mode, fill_value, align_corners, data_format)
    result = forward(call, out_)
    return export(result) if out is None else out


@dispatch
def projective_sample_vjp(
    cotangent: Array,
    image: Array,
    theta: Array,
    *,
    wrt: Wrt = ("image", "theta"),
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    accumulate_into: Array | None = None,
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `projective_sample` back to its image and its maps.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, which gives the size, and of the dtype of `image`; beside an image of
        integers, of the dtype of the arithmetic.
    image, theta : array
        The arguments of `projective_sample`.
    wrt : {"image", "theta"} or a sequence of them
        Which cotangents to compute; the work for the other is left out. An image of integers has none.
    mode, padding_mode, fill_value, align_corners, data_format, antialias
        The options of `projective_sample`.
    accumulate_into : array, optional
        Where to add the image's cotangent: of the image's shape, C-contiguous, of the image's dtype, or of the
        arithmetic's (float32, or float64) for half precision. It is returned as `d_image`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are.

    Returns
    -------
    d_image, d_theta : array or None
        Each of the shape and dtype of its argument; None if it was not asked for. Over a shared batch axis it
        is the sum. That of a half precision image is summed in the arithmetic's dtype and rounded once.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Notes
    -----
    Where interpolation has a knot, the slope is the right-hand one. It is 0 where "border" clamps, the edge
    pixel's centre included, for "nearest", at and behind the horizon, and at coordinates that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> theta = np.array([[1.0, 0.2], [0.0, 1.0]])
    >>> _, d_theta = stnkit.projective_sample_vjp(np.ones((1, 3)), image, theta, wrt="theta")
    >>> d_theta.round(3) + 0.0
    array([[-5.,  0.],
           [ 3.,  5.]])
    """
    if antialias is not False:
        return antialiased_here(projective_sample_vjp, locals())
    validation.flag("deterministic", deterministic)
    (cotangent_, image_, theta_, into), export = interop.import_arrays(
        "accumulate_into", cotangent=cotangent, image=image, theta=theta, accumulate_into=accumulate_into
    )
    size = output_size(cotangent_, theta_, data_format)
    call = prepared(image_, theta_, size, mode, padding_mode, fill_value, align_corners, data_format)
    image_bar, source_bar = export_all(vjp(call, cotangent_, wrt, into, deterministic), export)
    return (image_bar if accumulate_into is None else accumulate_into), source_bar


@dispatch
def projective_sample_jvp(
    image: Array,
    theta: Array,
    d_image: Array | None,
    d_theta: Array | None,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
) -> tuple[Array, Array]:
    """Push tangents of image and maps forward through `projective_sample`.

    Parameters
    ----------
    image, theta : array
        The arguments of `projective_sample`.
    d_image, d_theta : array or None
        Tangents, each of the shape and dtype of its argument; None stands for zero, and costs nothing. An image
        of integers has none.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, padding_mode, fill_value, align_corners, data_format, antialias
        The options of `projective_sample`.

    Returns
    -------
    out, d_out : array
        The output and its tangent, from one pass. The tangent has the dtype of `image`; beside an image of
        integers, that of the arithmetic.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> theta = np.array([[1.0, 0.2], [0.0, 1.0]])
    >>> shift = np.array([[0.0, 1.0], [0.0, 0.0]])
    >>> out, d_out = stnkit.projective_sample_jvp(image, theta, None, shift)
    >>> d_out.round(6)
    array([[ 1.5,  4.5, -6. ]])
    """
    if antialias is not False:
        return antialiased_here(projective_sample_jvp, locals())
    (image_, theta_, image_dot, source_dot), export = interop.import_arrays(
        "d_image", "d_theta", image=image, theta=theta, d_image=d_image, d_theta=d_theta
    )
    call = prepared(image_, theta_, size, mode, padding_mode, fill_value, align_corners, data_format)
    out, out_dot = jvp(call, image_dot, source_dot)
    return export(out), export(out_dot)


def output_size(cotangent: np.ndarray, theta: np.ndarray, data_format: DataFormat) -> tuple[int, ...]:
    """Return the spatial size of an output from its cotangent."""
    return validation.output_size(cotangent.shape, validation.projective_axes(theta.shape), data_format)


def prepared(
    image: np.ndarray,
    theta: np.ndarray,
    size: Sequence[int] | None,
    mode: str,
    padding_mode: PaddingMode,
    fill_value: FillValue,
    align_corners: bool,
    data_format: DataFormat,
) -> Call:
    """Check an image and projective maps, and bring them to one form."""
    ndim = validation.projective_axes(theta.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format)
    _, spatial = validation.image_shape(image.shape, ndim, options.channels_last)
    out_size = spatial if size is None else validation.size(size, ndim)
    return prepare(image, theta, PROJECTIVE, out_size, options, fill_value)
