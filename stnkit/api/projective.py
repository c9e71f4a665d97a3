"""Grids of projective maps, sampling under them without a grid, and the derivatives of both."""

from collections.abc import Sequence

from stnkit._dispatch import dispatch
from stnkit.api._sampling import on_views, sampled
from stnkit.calls import grids
from stnkit.calls.arguments import Array, Choices, DataFormat, FillValue, PaddingMode, Wrt
from stnkit.calls.derivatives import JVP, SAMPLE, VJP
from stnkit.spec import PROJECTIVE, Place


@dispatch
def projective_grid(
    theta: Array, size: Sequence[int], *, align_corners: bool = False, place: Place | None = None
) -> Array:
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
    place : stnkit.tiles.Place, optional
        Where the output lies in the whole one, if it is a tile: the grid is a part of that of the whole, in float64.
        Nothing is asked of `image_start` and `image_size`.

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
    return on_views(grids.grid, PROJECTIVE, Choices(align_corners=align_corners, place=place, size=size), theta=theta)


@dispatch
def projective_grid_vjp(
    cotangent: Array,
    theta: Array,
    *,
    align_corners: bool = False,
    place: Place | None = None,
    deterministic: bool = False,
) -> Array:
    """Pull a cotangent of `projective_grid` back to theta.

    Parameters
    ----------
    cotangent : array of shape (N, *T, d) or (*T, d)
        Of the grid, and of its dtype.
    theta : array of shape (N, d + 1, d + 1) or (d + 1, d + 1)
        The argument of `projective_grid`.
    align_corners, place
        As they were given to `projective_grid`.
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
    choices = Choices(align_corners=align_corners, place=place, deterministic=deterministic)
    return on_views(grids.grid_vjp, PROJECTIVE, choices, cotangent=cotangent, theta=theta)


@dispatch
def projective_grid_jvp(
    theta: Array, d_theta: Array, size: Sequence[int], *, align_corners: bool = False, place: Place | None = None
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
    align_corners, place
        The options of `projective_grid`.

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
    choices = Choices(align_corners=align_corners, place=place, size=size)
    return on_views(grids.grid_jvp, PROJECTIVE, choices, theta=theta, d_theta=d_theta)


@dispatch
def projective_sample(
    image: Array,
    theta: Array,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
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
    mode, prefilter, padding_mode, fill_value, align_corners, data_format
        The options of `grid_sample`.
    antialias : bool or int
        Whether locations are supersampled, for maps that shrink: the mean of as many samples along each axis of the
        output as a step of it spans pixels of the image. An integer from 1 to 16 is their number, whatever the map.
    place : stnkit.tiles.Place, optional
        Where the output and the image lie in the whole of each, if they are tiles: see `grid_sample`. `size` is then
        that of the output's tile, and has to be given.
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
    half precision or of integers is copied to the dtype of the arithmetic, and the mean is rounded once.

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
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, size=size)
    return sampled(SAMPLE, PROJECTIVE, (image, theta), choices, antialias, out)


@dispatch
def projective_sample_vjp(
    cotangent: Array,
    image: Array,
    theta: Array,
    *,
    wrt: Wrt = ("image", "theta"),
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
    accumulate_into: Array | None = None,
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `projective_sample` back to its image and its maps.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, which gives the size, and of the dtype of `image`; beside an image of
        integers, float64 if `theta` is, else float32.
    image, theta : array
        The arguments of `projective_sample`.
    wrt : {"image", "theta"} or a sequence of them
        Which cotangents to compute; the work for the other is left out. An image of integers has none.
    mode, prefilter, padding_mode, fill_value, align_corners, data_format, antialias, place
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
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, deterministic, wrt)
    return sampled(VJP, PROJECTIVE, (cotangent, image, theta), choices, antialias, accumulate_into)


@dispatch
def projective_sample_jvp(
    image: Array,
    theta: Array,
    d_image: Array | None,
    d_theta: Array | None,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
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
    mode, prefilter, padding_mode, fill_value, align_corners, data_format, antialias, place
        The options of `projective_sample`.

    Returns
    -------
    out, d_out : array
        The output and its tangent, from one pass. The tangent has the dtype of `image`; beside an image of
        integers, float64 if `theta` is, else float32.

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
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, size=size)
    return sampled(JVP, PROJECTIVE, (image, theta, d_image, d_theta), choices, antialias)
