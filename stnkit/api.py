"""The functions a user calls: their signatures, their documentation, and what they accept.

Each function checks its arguments, brings them to one form (NumPy views with a batch axis) and hands them to
`stnkit.ops`, which is imported at the first call, and Numba with it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from stnkit import arrays, check
from stnkit.spec import AFFINE, GRID, Options

Array = Any  # an array of any framework that `stnkit.arrays` can view
FillValue = float | Sequence[float] | np.ndarray
PaddingMode = str | Sequence[str]
Wrt = str | Sequence[str]


def grid_sample(
    image: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Literal["normalized", "pixel"] = "normalized",
    data_format: Literal["channels_first", "channels_last"] = "channels_first",
) -> Array:
    """Interpolate an image at the coordinates of a grid.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C)
        The input, with 1 to 3 spatial axes S = (W,), (H, W) or (D, H, W); float32 or float64.
    grid : array of shape (N, *T, d)
        Where to read each output location, for d = 1, 2 or 3 axes. The last axis is in the order x, y, z,
        and x runs along W. float32 or float64.
    mode : {"bilinear", "nearest", "bicubic"}
        Interpolation along each axis; "bilinear" (also "linear") is linear in 1-D and trilinear in 3-D.
        "nearest" rounds half to even. "bicubic" is Keys' cubic convolution with a = -0.75.
    padding_mode : {"zeros", "border", "reflection", "wrap"} or a sequence of them
        What is read outside the image: `fill_value` ("zeros", also "constant"), the nearest edge pixel, the
        image reflected about its edge, or the image repeated with period n. A sequence names one mode for
        each axis, in the order x, y, z.
    fill_value : float or one for each channel
        What "zeros" padding reads outside the image, blended with the rim.
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or (default) the image's outer edges.
    coords : {"normalized", "pixel"}
        The unit of `grid`. In pixels, 0 is the centre of the first pixel and n - 1 that of the last.
    data_format : {"channels_first", "channels_last"}
        Where the channel axis of `image`, and of the result, is.

    Returns
    -------
    array of shape (N, C, *T) or (N, *T, C)
        In the dtype, the framework and the channel order of `image`.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported, an argument is no array, or the arrays belong to different frameworks.

    Notes
    -----
    Values equal those of `torch.nn.functional.grid_sample`. A batch axis of 1 on either side is shared by
    all items, and without one on both sides the result has none. A coordinate that is not finite reads
    `fill_value` in every padding mode.

    References
    ----------
    Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", 2015, section 3.3.
    Keys, "Cubic convolution interpolation for digital image processing", 1981.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]])
    >>> grid = np.array([[[0.5, 0.0], [2.0, 0.5]]])
    >>> stnkit.grid_sample(image, grid, coords="pixel")
    array([[[0.5, 3.5]]])
    """
    (image_, grid_), leave = arrays.enter(image=image, grid=grid)
    ndim = check.grid_axes(grid_.shape)
    options = check.options(ndim, mode, padding_mode, align_corners, coords, data_format)
    return leave(_sample(image_, grid_, GRID, grid_.shape[-1 - ndim : -1], options, fill_value))


def grid_sample_vjp(
    cotangent: Array,
    image: Array,
    grid: Array,
    *,
    wrt: Wrt = ("image", "grid"),
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Literal["normalized", "pixel"] = "normalized",
    data_format: Literal["channels_first", "channels_last"] = "channels_first",
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `grid_sample` back to its image and its grid.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, and of the dtype of `image`.
    image, grid : array
        The arguments of `grid_sample`.
    wrt : {"image", "grid"} or a sequence of them
        Which cotangents to compute; the work for the other is left out.
    mode, padding_mode, fill_value, align_corners, coords, data_format
        The options of `grid_sample`.
    deterministic : bool
        Whether results must be the same, bit for bit, run after run. On a CPU they always are.

    Returns
    -------
    d_image, d_grid : array or None
        Each of the shape and dtype of its argument; None if it was not asked for. Over a shared batch axis
        it is the sum.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to
        different frameworks.

    Notes
    -----
    Where interpolation has a knot, the slope is the right-hand one. It is 0 where "border" clamps, the edge
    pixel's centre included, for "nearest", and at coordinates that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[[0.0, 1.0, 4.0]]])
    >>> grid = np.array([[[1.5, 0.0]]])
    >>> d_image, d_grid = stnkit.grid_sample_vjp(np.ones((1, 1, 1)), image, grid, coords="pixel")
    >>> d_image
    array([[[0. , 0.5, 0.5]]])
    >>> d_grid
    array([[[ 3. , -2.5]]])
    """
    (cotangent_, image_, grid_), leave = arrays.enter(cotangent=cotangent, image=image, grid=grid)
    ndim = check.grid_axes(grid_.shape)
    options = check.options(ndim, mode, padding_mode, align_corners, coords, data_format)
    asked = check.names("wrt", wrt, ("image", "grid"))
    size = grid_.shape[-1 - ndim : -1]
    bars = _sample_vjp(cotangent_, image_, grid_, GRID, size, options, fill_value, asked)
    return _leave_all(bars, leave)


def affine_grid(theta: Array, size: Sequence[int], *, align_corners: bool = False) -> Array:
    """Generate the grid that affine maps give for an output of a size.

    Parameters
    ----------
    theta : array of shape (N, d, d + 1) or (d, d + 1)
        Maps from output to input, both in normalised coordinates, for d = 1, 2 or 3: grid = theta [x, y, z, 1].
        float32 or float64.
    size : sequence of int
        The output's spatial size T: (W,), (H, W) or (D, H, W).
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or (default) the image's outer edges.

    Returns
    -------
    array of shape (N, *T, d) or (*T, d)
        Normalised coordinates in the order x, y, z, in the dtype and framework of `theta`.

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported or an argument is no array.

    References
    ----------
    Jaderberg et al., "Spatial Transformer Networks", 2015, equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> flip = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> stnkit.affine_grid(flip, (1, 2))
    array([[[ 0.5,  0. ],
            [-0.5,  0. ]]])
    """
    from stnkit import ops

    (theta_,), leave = arrays.enter(theta=theta)
    check.dtype("theta", theta_.dtype)
    ndim = check.theta_axes(theta_.shape)
    align = check.flag("align_corners", align_corners)
    out = ops.grid(_batched(theta_, 3), check.size(size, ndim), align)
    return leave(out if theta_.ndim == 3 else out[0])


def affine_grid_vjp(cotangent: Array, *, align_corners: bool = False, deterministic: bool = False) -> Array:
    """Pull a cotangent of `affine_grid` back to theta.

    Parameters
    ----------
    cotangent : array of shape (N, *T, d) or (*T, d)
        Of the grid; float32 or float64.
    align_corners : bool
        As it was given to `affine_grid`.
    deterministic : bool
        Whether results must be the same, bit for bit, run after run. On a CPU they always are.

    Returns
    -------
    array of shape (N, d, d + 1) or (d, d + 1)
        The cotangent of theta, in the dtype and framework of `cotangent`.

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported or an argument is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> stnkit.affine_grid_vjp(np.ones((1, 4, 4, 2)))
    array([[[ 0.,  0., 16.],
            [ 0.,  0., 16.]]])
    """
    from stnkit import ops

    (cotangent_,), leave = arrays.enter(cotangent=cotangent)
    check.dtype("cotangent", cotangent_.dtype)
    ndim = check.grid_axes(cotangent_.shape, "cotangent")
    align = check.flag("align_corners", align_corners)
    theta_bar = ops.grid_vjp(_batched(cotangent_, ndim + 2), align)
    return leave(theta_bar if cotangent_.ndim == ndim + 2 else theta_bar[0])


def affine_sample(
    image: Array,
    theta: Array,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: Literal["channels_first", "channels_last"] = "channels_first",
) -> Array:
    """Interpolate an image under affine maps, without storing a grid.

    Equals `grid_sample(image, affine_grid(theta, size))` with the same options; the coordinates are computed
    where they are used.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C)
        The input; float32 or float64.
    theta : array of shape (N, d, d + 1) or (d, d + 1)
        Maps from output to input, both in normalised coordinates; float32 or float64.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, padding_mode, fill_value, align_corners, data_format
        The options of `grid_sample`.

    Returns
    -------
    array of shape (N, C, *T) or (N, *T, C)
        In the dtype, the framework and the channel order of `image`.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported, an argument is no array, or the arrays belong to different frameworks.

    References
    ----------
    Jaderberg et al., "Spatial Transformer Networks", 2015, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.arange(6.0).reshape(1, 2, 3)
    >>> mirror = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> stnkit.affine_sample(image, mirror)
    array([[[2., 1., 0.],
            [5., 4., 3.]]])
    """
    (image_, theta_), leave = arrays.enter(image=image, theta=theta)
    ndim = check.theta_axes(theta_.shape)
    options = check.options(ndim, mode, padding_mode, align_corners, "normalized", data_format)
    _, spatial = check.image_shape(image_.shape, ndim, options.channels_last)
    out_size = spatial if size is None else check.size(size, ndim)
    return leave(_sample(image_, theta_, AFFINE, out_size, options, fill_value))


def affine_sample_vjp(
    cotangent: Array,
    image: Array,
    theta: Array,
    *,
    wrt: Wrt = ("image", "theta"),
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    data_format: Literal["channels_first", "channels_last"] = "channels_first",
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `affine_sample` back to its image and its maps, without storing a grid.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, which gives the size, and of the dtype of `image`.
    image, theta : array
        The arguments of `affine_sample`.
    wrt : {"image", "theta"} or a sequence of them
        Which cotangents to compute; the work for the other is left out.
    mode, padding_mode, fill_value, align_corners, data_format
        The options of `affine_sample`.
    deterministic : bool
        Whether results must be the same, bit for bit, run after run. On a CPU they always are.

    Returns
    -------
    d_image, d_theta : array or None
        Each of the shape and dtype of its argument; None if it was not asked for. Over a shared batch axis
        it is the sum.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or does not fit, an argument is no array, or the arrays belong to
        different frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[[0.0, 1.0, 4.0]]])
    >>> theta = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.0]])
    >>> _, d_theta = stnkit.affine_sample_vjp(np.ones((1, 1, 3)), image, theta, wrt="theta")
    >>> d_theta.round(6)
    array([[-5.      ,  0.      ,  0.      ],
           [-1.083333,  0.      , -2.5     ]])
    """
    (cotangent_, image_, theta_), leave = arrays.enter(cotangent=cotangent, image=image, theta=theta)
    ndim = check.theta_axes(theta_.shape)
    options = check.options(ndim, mode, padding_mode, align_corners, "normalized", data_format)
    asked = check.names("wrt", wrt, ("image", "theta"))
    _, size = check.image_shape(cotangent_.shape, ndim, options.channels_last, "cotangent")
    bars = _sample_vjp(cotangent_, image_, theta_, AFFINE, size, options, fill_value, asked)
    return _leave_all(bars, leave)


def _sample(
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: tuple[int, ...],
    options: Options,
    fill_value: FillValue,
) -> np.ndarray:
    from stnkit import ops

    fill = _checked(image, source, kind, size, options, fill_value)
    ndim = len(size)
    axes = _source_axes(kind, ndim)
    out = ops.sample(_batched(image, ndim + 2), _batched(source, axes), kind, size, options, fill)
    return out if image.ndim == ndim + 2 or source.ndim == axes else out[0]


def _sample_vjp(
    cotangent: np.ndarray,
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: tuple[int, ...],
    options: Options,
    fill_value: FillValue,
    asked: tuple[bool, ...],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    from stnkit import ops

    fill = _checked(image, source, kind, size, options, fill_value)
    ndim = len(size)
    axes = _source_axes(kind, ndim)
    channels, _ = check.image_shape(image.shape, ndim, options.channels_last)
    batch = check.batch(image.shape, source.shape, ndim, _NAMES[kind], axes)
    wanted = (*size, channels) if options.channels_last else (channels, *size)
    if image.ndim == ndim + 2 or source.ndim == axes:
        wanted = (batch, *wanted)
    check.same_shape("cotangent", cotangent.shape, "the output", wanted)
    check.same_dtype("cotangent", cotangent.dtype, "image", image.dtype)
    image_bar, source_bar = ops.sample_vjp(
        _batched(cotangent, ndim + 2),
        _batched(image, ndim + 2),
        _batched(source, axes),
        kind,
        size,
        options,
        fill,
        (asked[0], asked[1]),
    )
    return (
        None if image_bar is None else image_bar.reshape(image.shape),
        None if source_bar is None else source_bar.reshape(source.shape),
    )


_NAMES = {GRID: "grid", AFFINE: "theta"}


def _checked(
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: tuple[int, ...],
    options: Options,
    fill_value: FillValue,
) -> np.ndarray:
    """Refuse an image or source that does not fit, and return the fill value of each channel."""
    name, ndim = _NAMES[kind], len(size)
    check.dtype("image", image.dtype)
    check.dtype(name, source.dtype)
    channels, spatial = check.image_shape(image.shape, ndim, options.channels_last)
    check.batch(image.shape, source.shape, ndim, name, _source_axes(kind, ndim))
    check.not_empty(image.shape, spatial, size)
    return check.fill(fill_value, channels, image.dtype, source.dtype)


def _source_axes(kind: int, ndim: int) -> int:
    """Return how many axes a source has with its batch axis."""
    return 3 if kind == AFFINE else ndim + 2


def _batched(array: np.ndarray, axes: int) -> np.ndarray:
    return array if array.ndim == axes else array[None]


def _leave_all(
    bars: tuple[np.ndarray | None, np.ndarray | None], leave: arrays.Leave
) -> tuple[Array | None, Array | None]:
    first, second = bars
    return None if first is None else leave(first), None if second is None else leave(second)
