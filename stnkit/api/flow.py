"""Displacements: the grid of a flow, sampling under it without a grid, and the derivatives of both."""

from stnkit._dispatch import dispatch
from stnkit.api._sampling import on_views, sampled
from stnkit.calls import grids
from stnkit.calls.arguments import Array, Choices, DataFormat, FillValue, PaddingMode, Units, Wrt
from stnkit.calls.derivatives import DOUBLE_VJP, JVP, SAMPLE, VJP
from stnkit.spec import FLOW, Place


@dispatch
def flow_grid(flow: Array, *, units: Units = "pixel", align_corners: bool = False, place: Place | None = None) -> Array:
    """Generate the grid of a flow: the locations of its own lattice, each moved by it.

    Parameters
    ----------
    flow : array of shape (N, *T, d) or (*T, d)
        By how much to move each location, in the order x, y, z. Half precision gives a grid of float32.
    units : {"pixel", "normalized"}
        The unit of `flow`: pixels of its own lattice T, or normalised.
    align_corners : bool
        Whether -1 and 1 are the centres of the corner locations, or (default) the lattice's outer edges.
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
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or an argument is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> stnkit.flow_grid(np.array([[0.0], [1.0]]))
    array([[-0.5],
           [ 1.5]])
    """
    return on_views(grids.grid, FLOW, Choices(align_corners=align_corners, place=place, units=units), flow=flow)


@dispatch
def flow_grid_vjp(
    cotangent: Array,
    *,
    units: Units = "pixel",
    align_corners: bool = False,
    place: Place | None = None,
    deterministic: bool = False,
) -> Array:
    """Pull a cotangent of `flow_grid` back to the flow.

    Parameters
    ----------
    cotangent : array of shape (N, *T, d) or (*T, d)
        Of the grid.
    units, align_corners, place
        As they were given to `flow_grid`.
    deterministic : bool
        Whether results must be bitwise reproducible. They always are.

    Returns
    -------
    array of shape (N, *T, d) or (*T, d)
        The cotangent of the flow, in the dtype and framework of `cotangent`.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or an argument is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> stnkit.flow_grid_vjp(np.ones((4, 1)))
    array([[0.5],
           [0.5],
           [0.5],
           [0.5]])
    """
    choices = Choices(align_corners=align_corners, place=place, deterministic=deterministic, units=units)
    return on_views(grids.grid_vjp, FLOW, choices, cotangent=cotangent)


@dispatch
def flow_grid_jvp(
    flow: Array, d_flow: Array, *, units: Units = "pixel", align_corners: bool = False, place: Place | None = None
) -> tuple[Array, Array]:
    """Push a tangent of a flow forward through `flow_grid`.

    Parameters
    ----------
    flow : array of shape (N, *T, d) or (*T, d)
        The argument of `flow_grid`.
    d_flow : array
        Its tangent, of the same shape and dtype.
    units, align_corners, place
        The options of `flow_grid`.

    Returns
    -------
    grid, d_grid : array of shape (N, *T, d) or (*T, d)
        The grid and its tangent.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, or an argument is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> stnkit.flow_grid_jvp(np.zeros((2, 1)), np.ones((2, 1)))
    (array([[-0.5],
           [ 0.5]]), array([[1.],
           [1.]]))
    """
    choices = Choices(align_corners=align_corners, place=place, units=units)
    return on_views(grids.grid_jvp, FLOW, choices, flow=flow, d_flow=d_flow)


@dispatch
def flow_sample(
    image: Array,
    flow: Array,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    units: Units = "pixel",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
    out: Array | None = None,
) -> Array:
    """Interpolate an image at the locations of the output, each moved by a flow.

    Equals `grid_sample(image, flow_grid(flow))` with the same options, but the identity is added in the kernel,
    in pixels, where small displacements keep their digits: the accurate choice in half precision.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C)
        The input, of any dtype that `grid_sample` takes.
    flow : array of shape (N, *T, d)
        By how much to move each output location, in the order x, y, z. Half precision is widened to float32.
    mode, prefilter, padding_mode, fill_value, align_corners, data_format
        The options of `grid_sample`.
    units : {"pixel", "normalized"}
        The unit of `flow`: pixels of its own lattice T, which are the input's where T = S, or normalised.
    antialias : bool or int
        Whether locations are supersampled, for maps that shrink: the mean of as many samples along each axis of the
        output as a step of it spans pixels of the image. An integer from 1 to 16 is their number, whatever the map.
    place : stnkit.tiles.Place, optional
        Where the output and the image lie in the whole of each, if they are tiles: see `grid_sample`.
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
    With align_corners an axis of one location has no pixel pitch: a flow in pixels has no effect along it.

    With `antialias=True`, the number of samples along an axis is how many pixels of the image one step of the output
    along it spans, the largest of the item's, rounded up, and 16 at most. Between locations the flow is interpolated
    linearly, with its derivative; beyond the outermost ones its last straight line goes on. A flow that shrinks
    nothing has one sample and the bits of the plain call. The number has no derivative: it jumps, and between jumps
    derivatives are exact. A call costs as many plain ones as a location has samples. An image of half precision or
    of integers is copied to the dtype of the arithmetic, and the mean is rounded once.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> flow = np.array([[0.5], [0.0], [-1.0]])
    >>> stnkit.flow_sample(image, flow)
    array([[0.5, 1. , 1. ]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, units=units)
    return sampled(SAMPLE, FLOW, (image, flow), choices, antialias, out)


@dispatch
def flow_sample_vjp(
    cotangent: Array,
    image: Array,
    flow: Array,
    *,
    wrt: Wrt = ("image", "flow"),
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    units: Units = "pixel",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
    accumulate_into: Array | None = None,
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `flow_sample` back to its image and its flow.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, and of the dtype of `image`; beside an image of integers,
        float64 if `flow` is, else float32.
    image, flow : array
        The arguments of `flow_sample`.
    wrt : {"image", "flow"} or a sequence of them
        Which cotangents to compute; the work for the other is left out. An image of integers has none.
    mode, prefilter, padding_mode, fill_value, align_corners, units, data_format, antialias, place
        The options of `flow_sample`.
    accumulate_into : array, optional
        Where to add the image's cotangent: of the image's shape, C-contiguous, of the image's dtype, or of the
        arithmetic's (float32, or float64) for half precision. It is returned as `d_image`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    d_image, d_flow : array or None
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
    pixel's centre included, for "nearest", and at coordinates that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> flow = np.array([[0.5], [0.0], [-1.0]])
    >>> d_image, d_flow = stnkit.flow_sample_vjp(np.ones((1, 3)), image, flow)
    >>> d_image
    array([[0.5, 2.5, 0. ]])
    >>> d_flow
    array([[1.],
           [3.],
           [3.]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, deterministic, wrt, units=units
    )
    return sampled(VJP, FLOW, (cotangent, image, flow), choices, antialias, accumulate_into)


@dispatch
def flow_sample_jvp(
    image: Array,
    flow: Array,
    d_image: Array | None,
    d_flow: Array | None,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    units: Units = "pixel",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
) -> tuple[Array, Array]:
    """Push tangents of image and flow forward through `flow_sample`.

    Parameters
    ----------
    image, flow : array
        The arguments of `flow_sample`.
    d_image, d_flow : array or None
        Tangents, each of the shape and dtype of its argument; None stands for zero, and costs nothing. An image
        of integers has none.
    mode, prefilter, padding_mode, fill_value, align_corners, units, data_format, antialias, place
        The options of `flow_sample`.

    Returns
    -------
    out, d_out : array
        The output and its tangent, from one pass. The tangent has the dtype of `image`; beside an image of
        integers, float64 if `flow` is, else float32.

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
    >>> flow = np.array([[0.5], [0.0], [-1.0]])
    >>> stnkit.flow_sample_jvp(image, flow, None, np.ones((3, 1)))
    (array([[0.5, 1. , 1. ]]), array([[1., 3., 3.]]))
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, units=units)
    return sampled(JVP, FLOW, (image, flow, d_image, d_flow), choices, antialias)


@dispatch
def flow_sample_double_vjp(
    dd_image: Array | None,
    dd_flow: Array | None,
    cotangent: Array,
    image: Array,
    flow: Array,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    units: Units = "pixel",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    place: Place | None = None,
    deterministic: bool = False,
) -> tuple[Array, Array | None, Array]:
    """Pull cotangents of the results of `flow_sample_vjp` back to its arguments: reverse mode, second order.

    Parameters
    ----------
    dd_image, dd_flow : array or None
        Cotangents of the results `d_image` and `d_flow`; None stands for zero, and costs nothing.
    cotangent, image, flow : array
        The arguments of `flow_sample_vjp`.
    mode, prefilter, padding_mode, fill_value, align_corners, units, data_format, antialias, place
        The options of `flow_sample`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    d_cotangent, d_image, d_flow : array
        Each of the shape and dtype of its argument; `d_image` is None for an image of integers.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to different
        frameworks.

    Notes
    -----
    Derivatives of slopes are those between knots: what a slope jumps by at a knot does not count.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 1.0, 4.0]])  # one channel of a 1-D image
    >>> flow = np.array([[0.5], [0.0], [-1.0]])
    >>> dd_flow = np.ones((3, 1))
    >>> d_cotangent, d_image, _ = stnkit.flow_sample_double_vjp(None, dd_flow, np.ones((1, 3)), image, flow)
    >>> d_cotangent
    array([[1., 3., 3.]])
    >>> d_image
    array([[-1., -1.,  2.]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, deterministic, units=units
    )
    return sampled(DOUBLE_VJP, FLOW, (dd_image, dd_flow, cotangent, image, flow), choices, antialias)
