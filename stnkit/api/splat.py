"""The adjoint of sampling as an operation of its own, and the spatial derivative of an image."""

from collections.abc import Sequence

from stnkit._dispatch import dispatch
from stnkit.api._sampling import on_views
from stnkit.calls import splatting
from stnkit.calls.arguments import Array, Choices, DataFormat, FillValue, PaddingMode, Units, Wrt
from stnkit.prefilter import compose
from stnkit.spec import Place


@dispatch
def grid_splat(
    values: Array,
    grid: Array,
    size: Sequence[int],
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    place: Place | None = None,
    deterministic: bool = False,
) -> Array:
    """Add values to an empty image at the coordinates of a grid: the adjoint of `grid_sample` in the image.

    Where `grid_sample` reads a weighted sum of pixels, this adds the value to the same pixels with the same
    weights. It is also known as push, scatter or forward warping.

    Parameters
    ----------
    values : array of shape (N, C, *T) or (N, *T, C)
        What to add at each location. float16, bfloat16, float32 or float64.
    grid : array of shape (N, *T, d)
        Where to add it, in the order x, y, z.
    size : sequence of int
        The image's spatial size S.
    mode, prefilter, padding_mode, align_corners, coords, data_format
        The options of `grid_sample`. With "zeros" padding, what falls outside is lost.
    place : stnkit.tiles.Place, optional
        Where the image lies in the whole one, if it is a tile, as in `grid_sample`. What falls beside it is lost.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    array of shape (N, C, *S) or (N, *S, C)
        In the dtype, the framework and the channel order of `values`. Half precision is summed in float32, or
        float64 if the grid is, and rounded once.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported, an argument is no array, or the arrays belong to different frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> values = np.array([[1.0, 10.0]])  # one channel, two locations of a 1-D image
    >>> grid = np.array([[0.5], [2.0]])
    >>> stnkit.grid_splat(values, grid, (4,), coords="pixel")
    array([[ 0.5,  0.5, 10. ,  0. ]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, 0.0, align_corners, data_format, place, deterministic, size=size, coords=coords
    )
    return on_views(compose.splat_here, choices, values=values, grid=grid)


@dispatch
def grid_splat_vjp(
    cotangent: Array,
    values: Array,
    grid: Array,
    *,
    wrt: Wrt = ("values", "grid"),
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    place: Place | None = None,
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `grid_splat` back to its values and its grid.

    Parameters
    ----------
    cotangent : array
        Of the shape of the image that `grid_splat` returned, which gives its size, and of the dtype of `values`.
    values, grid : array
        The arguments of `grid_splat`.
    wrt : {"values", "grid"} or a sequence of them
        Which cotangents to compute; the work for the other is left out.
    mode, prefilter, padding_mode, align_corners, coords, data_format, place
        The options of `grid_splat`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    d_values, d_grid : array or None
        Each of the shape and dtype of its argument; None if it was not asked for. `d_values` is
        `grid_sample(cotangent, grid)`.

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
    >>> values, grid = np.array([[1.0, 10.0]]), np.array([[0.5], [2.0]])
    >>> cotangent = np.array([[0.0, 1.0, 4.0, 9.0]])
    >>> stnkit.grid_splat_vjp(cotangent, values, grid, coords="pixel")
    (array([[0.5, 4. ]]), array([[ 1.],
           [50.]]))
    """
    choices = Choices(
        mode, prefilter, padding_mode, 0.0, align_corners, data_format, place, deterministic, wrt, coords=coords
    )
    return on_views(compose.splat_vjp_here, choices, cotangent=cotangent, values=values, grid=grid)


@dispatch
def grid_count(
    grid: Array,
    size: Sequence[int],
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    place: Place | None = None,
    deterministic: bool = False,
) -> Array:
    """Count how often a grid reads each pixel: the splat of ones, by weight.

    Parameters
    ----------
    grid : array of shape (N, *T, d) or (*T, d)
        The coordinates, in the order x, y, z.
    size : sequence of int
        The image's spatial size S.
    mode, padding_mode, align_corners, coords
        The options of `grid_sample`.
    place : stnkit.tiles.Place, optional
        Where the image lies in the whole one, if it is a tile, as in `grid_sample`. What falls beside it is lost.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    array of shape (N, *S) or (*S,)
        In the framework of `grid`, and in its dtype; float32 for half precision.

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
    >>> stnkit.grid_count(np.array([[0.5], [2.0], [2.0]]), (4,), coords="pixel")
    array([0.5, 0.5, 2. , 0. ])
    """
    choices = Choices(
        mode=mode,
        padding_mode=padding_mode,
        align_corners=align_corners,
        place=place,
        deterministic=deterministic,
        size=size,
        coords=coords,
    )
    return on_views(splatting.count, choices, grid=grid)


@dispatch
def grid_gradient(
    image: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    place: Place | None = None,
) -> Array:
    """Differentiate the interpolated image at the coordinates of a grid, along each axis.

    Parameters
    ----------
    image, grid : array
        The arguments of `grid_sample`.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format
        The options of `grid_sample`.
    place : stnkit.tiles.Place, optional
        Where the image lies in the whole one, if it is a tile, as in `grid_sample`. What falls beside it is lost.

    Returns
    -------
    array of shape (N, C, *T, d) or (N, *T, C, d)
        Derivatives in the order x, y, z, per unit of `coords`; in the dtype of `image`; of an image of
        integers in float64 if `grid` is, else in float32. At a knot it is the right-hand one.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported, an argument is no array, or the arrays belong to different frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> import stnkit
    >>> image = np.array([[0.0, 1.0, 4.0, 9.0]])
    >>> stnkit.grid_gradient(image, np.array([[0.5], [2.0]]), coords="pixel")
    array([[[1.],
            [5.]]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, coords=coords)
    return on_views(compose.gradient_here, choices, image=image, grid=grid)
