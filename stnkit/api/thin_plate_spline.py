"""Grids of thin plate splines, sampling under them without a grid, and the derivatives of both."""

from collections.abc import Sequence

from stnkit._dispatch import dispatch
from stnkit.api._sampling import on_views, sampled
from stnkit.calls import grids
from stnkit.calls.arguments import Array, Choices, DataFormat, FillValue, PaddingMode, Wrt
from stnkit.calls.derivatives import JVP, SAMPLE, VJP
from stnkit.spec import THIN_PLATE_SPLINE, Place


@dispatch
def thin_plate_spline_grid(
    theta: Array, control_points: Array, size: Sequence[int], *, align_corners: bool = False, place: Place | None = None
) -> Array:
    """Generate the grid that thin plate splines give for an output of a size.

    A spline reads control point k of the output at theta[k] in the input, and between them it bends as little as
    possible. It is linear in theta.

    Parameters
    ----------
    theta : array of shape (N, K, d) or (K, d)
        Where the input is read for each control point, in normalised coordinates, for d = 1, 2 or 3. Half precision
        gives a grid of float32.
    control_points : array of shape (K, d)
        Positions in the output, in normalised coordinates: d + 1 or more, not all on one line or plane, and no two at
        one place. They are constants, of any framework. `stnkit.transforms.control_lattice` lays out regular ones.
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
        Normalised coordinates in the order x, y, z.

    Raises
    ------
    ValueError
        If a shape does not fit, or the control points determine no spline, or none in float32.
    TypeError
        If a dtype is not supported, an argument is no array, or the arrays belong to different frameworks.

    Notes
    -----
    The linear system of a lattice is solved once, in float64, and remembered.

    References
    ----------
    Bookstein, "Principal Warps: Thin-Plate Splines and the Decomposition of Deformations", 1989.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> points = np.array([[-1.0], [0.0], [1.0]])
    >>> stnkit.thin_plate_spline_grid(points + [[0.0], [0.5], [0.0]], points, (5,), align_corners=True)
    array([[-1.     ],
           [-0.15625],
           [ 0.5    ],
           [ 0.84375],
           [ 1.     ]])
    """
    choices = Choices(align_corners=align_corners, place=place, control_points=control_points, size=size)
    return on_views(grids.grid, THIN_PLATE_SPLINE, choices, theta=theta)


@dispatch
def thin_plate_spline_grid_vjp(
    cotangent: Array,
    theta: Array,
    control_points: Array,
    *,
    align_corners: bool = False,
    place: Place | None = None,
    deterministic: bool = False,
) -> Array:
    """Pull a cotangent of `thin_plate_spline_grid` back to theta.

    Parameters
    ----------
    cotangent : array of shape (N, *T, d) or (*T, d)
        Of the grid, and of its dtype.
    theta : array of shape (N, K, d) or (K, d)
        The argument of `thin_plate_spline_grid`; the grid is linear in it, so its shape and dtype alone count.
    control_points : array of shape (K, d)
        As they were given to `thin_plate_spline_grid`.
    align_corners, place
        Likewise.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are.

    Returns
    -------
    array
        The cotangent of theta, of its shape and dtype.

    Raises
    ------
    ValueError
        If a shape does not fit, or the control points determine no spline, or none in float32.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> points = np.array([[-1.0], [1.0]])
    >>> stnkit.thin_plate_spline_grid_vjp(np.ones((4, 1)), points, points).round(6)
    array([[2.],
           [2.]])
    """
    choices = Choices(
        align_corners=align_corners, place=place, deterministic=deterministic, control_points=control_points
    )
    return on_views(grids.grid_vjp, THIN_PLATE_SPLINE, choices, cotangent=cotangent, theta=theta)


@dispatch
def thin_plate_spline_grid_jvp(
    theta: Array,
    d_theta: Array,
    control_points: Array,
    size: Sequence[int],
    *,
    align_corners: bool = False,
    place: Place | None = None,
) -> tuple[Array, Array]:
    """Push a tangent of theta forward through `thin_plate_spline_grid`.

    Parameters
    ----------
    theta : array of shape (N, K, d) or (K, d)
        The argument of `thin_plate_spline_grid`.
    d_theta : array
        Its tangent, of the same shape and dtype.
    control_points : array of shape (K, d)
        As for `thin_plate_spline_grid`.
    size : sequence of int
        The output's spatial size T.
    align_corners, place
        The options of `thin_plate_spline_grid`.

    Returns
    -------
    grid, d_grid : array of shape (N, *T, d) or (*T, d)
        The grid and its tangent. A grid is linear in theta, so the tangent is the grid of `d_theta`.

    Raises
    ------
    ValueError
        If a shape does not fit, or the control points determine no spline, or none in float32.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> points = np.array([[-1.0], [1.0]])
    >>> _, d_grid = stnkit.thin_plate_spline_grid_jvp(points, np.array([[0.0], [1.0]]), points, (2,))
    >>> d_grid.round(6)
    array([[0.25],
           [0.75]])
    """
    choices = Choices(align_corners=align_corners, place=place, control_points=control_points, size=size)
    return on_views(grids.grid_jvp, THIN_PLATE_SPLINE, choices, theta=theta, d_theta=d_theta)


@dispatch
def thin_plate_spline_sample(
    image: Array,
    theta: Array,
    control_points: Array,
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
    """Interpolate an image under thin plate splines, without storing a grid.

    Equals `grid_sample(image, thin_plate_spline_grid(theta, control_points, size))` with the same options; the
    coordinates are computed where they are used.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C)
        The input, of any dtype that `grid_sample` takes.
    theta : array of shape (N, K, d) or (K, d)
        Where the input is read for each control point, in normalised coordinates. Half precision is widened to
        float32.
    control_points : array of shape (K, d)
        Positions in the output, as for `thin_plate_spline_grid`. They are constants.
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
        If a shape does not fit, a name is unknown, or the control points determine no spline, or none in float32.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Notes
    -----
    With `antialias=True`, the number of samples along an axis is how many pixels of the image a step of the output
    along it spans, from half a step before a location to half a step after: the largest of the item's locations,
    rounded up, and 16 at most. A map that shrinks nothing has one sample and the bits of the plain call. The number
    has no derivative: it jumps, and between jumps derivatives are exact. A call costs as many plain ones as a
    location has samples. An image of half precision or of integers is copied to the dtype of the arithmetic, and the
    mean is rounded once.

    References
    ----------
    Jaderberg et al., "Spatial Transformer Networks", 2015, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> from stnkit.transforms import control_lattice
    >>> image = np.arange(6.0).reshape(1, 2, 3)
    >>> points = control_lattice((2, 2))
    >>> stnkit.thin_plate_spline_sample(image, -points, points).round(6)  # each corner reads the one across
    array([[[5., 4., 3.],
            [2., 1., 0.]]])
    """
    choices = Choices(
        mode,
        prefilter,
        padding_mode,
        fill_value,
        align_corners,
        data_format,
        place,
        control_points=control_points,
        size=size,
    )
    return sampled(SAMPLE, THIN_PLATE_SPLINE, (image, theta), choices, antialias, out)


@dispatch
def thin_plate_spline_sample_vjp(
    cotangent: Array,
    image: Array,
    theta: Array,
    control_points: Array,
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
    """Pull a cotangent of `thin_plate_spline_sample` back to its image and its theta.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, which gives the size, and of the dtype of `image`; beside an image of
        integers, float64 if `theta` is, else float32.
    image, theta, control_points : array
        The arguments of `thin_plate_spline_sample`.
    wrt : {"image", "theta"} or a sequence of them
        Which cotangents to compute; the work for the other is left out. An image of integers has none.
    mode, prefilter, padding_mode, fill_value, align_corners, data_format, antialias, place
        The options of `thin_plate_spline_sample`.
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
        If a shape does not fit, a name is unknown, or the control points determine no spline, or none in float32.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Notes
    -----
    Where interpolation has a knot, the slope is the right-hand one. It is 0 where "border" clamps, the edge
    pixel's centre included, for "nearest", and at coordinates that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> from stnkit.transforms import control_lattice
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> points = control_lattice((2,))
    >>> theta = points + 0.2
    >>> _, d_theta = stnkit.thin_plate_spline_sample_vjp(np.ones((1, 3)), image, theta, points, wrt="theta")
    >>> d_theta.round(6)
    array([[ 2.5],
           [-2.5]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, deterministic, wrt, control_points
    )
    return sampled(VJP, THIN_PLATE_SPLINE, (cotangent, image, theta), choices, antialias, accumulate_into)


@dispatch
def thin_plate_spline_sample_jvp(
    image: Array,
    theta: Array,
    d_image: Array | None,
    d_theta: Array | None,
    control_points: Array,
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
    """Push tangents of image and theta forward through `thin_plate_spline_sample`.

    Parameters
    ----------
    image, theta : array
        The arguments of `thin_plate_spline_sample`.
    d_image, d_theta : array or None
        Tangents, each of the shape and dtype of its argument; None stands for zero, and costs nothing. An image
        of integers has none.
    control_points : array of shape (K, d)
        As for `thin_plate_spline_sample`.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, prefilter, padding_mode, fill_value, align_corners, data_format, antialias, place
        The options of `thin_plate_spline_sample`.

    Returns
    -------
    out, d_out : array
        The output and its tangent, from one pass. The tangent has the dtype of `image`; beside an image of
        integers, float64 if `theta` is, else float32.

    Raises
    ------
    ValueError
        If a shape does not fit, a name is unknown, or the control points determine no spline, or none in float32.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> from stnkit.transforms import control_lattice
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> points = control_lattice((2,))
    >>> out, d_out = stnkit.thin_plate_spline_sample_jvp(image, points + 0.2, None, np.ones((2, 1)), points)
    >>> d_out.round(6)
    array([[ 1.5,  4.5, -6. ]])
    """
    choices = Choices(
        mode,
        prefilter,
        padding_mode,
        fill_value,
        align_corners,
        data_format,
        place,
        control_points=control_points,
        size=size,
    )
    return sampled(JVP, THIN_PLATE_SPLINE, (image, theta, d_image, d_theta), choices, antialias)
