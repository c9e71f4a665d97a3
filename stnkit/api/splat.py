"""The adjoint of sampling as an operation of its own, and the spatial derivative of an image."""

from collections.abc import Sequence

import numpy as np

from stnkit import validation
from stnkit._dispatch import dispatch
from stnkit.backends import backend, interop
from stnkit.calls.sampling import (
    Array,
    DataFormat,
    FillValue,
    PaddingMode,
    Units,
    Wrt,
    export_all,
    prepare,
    vjp,
    widened,
)
from stnkit.spec import GRID, Options


@dispatch
def grid_splat(
    values: Array,
    grid: Array,
    size: Sequence[int],
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
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
    mode, padding_mode, align_corners, coords, data_format
        The options of `grid_sample`. With "zeros" padding, what falls outside is lost.
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
    steady = validation.flag("deterministic", deterministic)
    (values_, grid_), export = interop.import_arrays(values=values, grid=grid)
    ndim = validation.grid_axes(grid_.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format, coords=coords)
    return export(_splat(values_, grid_, validation.size(size, ndim), options, steady))


@dispatch
def grid_splat_vjp(
    cotangent: Array,
    values: Array,
    grid: Array,
    *,
    wrt: Wrt = ("values", "grid"),
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
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
    mode, padding_mode, align_corners, coords, data_format
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
    steady = validation.flag("deterministic", deterministic)
    (cotangent_, values_, grid_), export = interop.import_arrays(cotangent=cotangent, values=values, grid=grid)
    asked = validation.names("wrt", wrt, ("values", "grid"))
    ndim = validation.grid_axes(grid_.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format, coords=coords)
    spatial = validation.output_size(cotangent_.shape, ndim, data_format)
    shape, batched = image_shape(values_, grid_, spatial, options)
    validation.same_shape("cotangent", cotangent_.shape, "the splat", shape if batched else shape[1:])
    validation.same_dtype("cotangent", cotangent_.dtype, "`values`", values_.dtype)
    size = grid_.shape[-1 - ndim : -1]
    call = prepare(cotangent_, grid_, GRID, size, options, 0.0)
    spread = np.broadcast_to(values_, call.form.out_shape)
    values_bar, grid_bar = None, None
    if asked[0]:
        shared = values_.ndim < ndim + 2 or len(values_) == 1
        here = backend(call.image)
        values_bar = call.run(here.sample_total, then=(shape[0],)) if shared and batched else call.run(here.sample)
        values_bar = here.converted(values_bar.reshape(values_.shape), values_.dtype)
    if asked[1]:
        _, grid_bar = vjp(call, spread, "grid", None, steady)
    first, second = export_all((values_bar, grid_bar), export)
    return first, second


@dispatch
def grid_count(
    grid: Array,
    size: Sequence[int],
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
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
    steady = validation.flag("deterministic", deterministic)
    (grid_,), export = interop.import_arrays(grid=grid)
    ndim = validation.grid_axes(grid_.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, "channels_first", coords=coords)
    validation.coordinate_dtype("grid", grid_.dtype)
    wide = widened(grid_)
    ones = backend(wide).ones(wide, (*grid_.shape[: -1 - ndim], 1, *grid_.shape[-1 - ndim : -1]))
    counts = _splat(ones, wide, validation.size(size, ndim), options, steady)
    return export(np.squeeze(counts, axis=-1 - ndim))


@dispatch
def grid_gradient(
    image: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
) -> Array:
    """Differentiate the interpolated image at the coordinates of a grid, along each axis.

    Parameters
    ----------
    image, grid : array
        The arguments of `grid_sample`.
    mode, padding_mode, fill_value, align_corners, coords, data_format
        The options of `grid_sample`.

    Returns
    -------
    array of shape (N, C, *T, d) or (N, *T, C, d)
        Derivatives in the order x, y, z, per unit of `coords`; in the dtype of `image`, or of the arithmetic
        beside an image of integers. At a knot it is the right-hand one.

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
    (image_, grid_), export = interop.import_arrays(image=image, grid=grid)
    ndim = validation.grid_axes(grid_.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format, coords=coords)
    call = prepare(image_, grid_, GRID, grid_.shape[-1 - ndim : -1], options, fill_value)
    return export(call.unbatch(call.run(backend(call.image).sample_gradient)))


def splat_double_jvp(
    values: np.ndarray,
    grid: np.ndarray,
    d_grid: np.ndarray,
    dd_grid: np.ndarray,
    size: Sequence[int],
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    deterministic: bool = False,
) -> np.ndarray:
    """Return the second derivative of `grid_splat` along two tangents of its grid, for adapters."""
    ndim = validation.grid_axes(grid.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format, coords=coords)
    for name, dot in (("d_grid", d_grid), ("dd_grid", dd_grid)):
        validation.same_shape(name, dot.shape, "`grid`", grid.shape)
        validation.same_dtype(name, dot.dtype, "`grid`", grid.dtype)
    wide, whole, shape, batched = _prepared(values, grid, validation.size(size, ndim), options)
    first, second = (widened(dot).reshape(wide.shape) for dot in (d_grid, dd_grid))
    out: np.ndarray = backend(whole).splat_double_jvp(whole, wide, first, second, shape, options, deterministic)
    return out if batched else out[0]


def _splat(
    values: np.ndarray, grid: np.ndarray, spatial: tuple[int, ...], options: Options, deterministic: bool
) -> np.ndarray:
    wide, whole, shape, batched = _prepared(values, grid, spatial, options)
    out: np.ndarray = backend(whole).splat(whole, wide, shape, options, deterministic)
    return out if batched else out[0]


def _prepared(
    values: np.ndarray, grid: np.ndarray, spatial: tuple[int, ...], options: Options
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], bool]:
    """Check values and a grid; return grid and values with a batch axis, the image's shape, and whether it keeps it."""
    shape, batched = image_shape(values, grid, spatial, options)
    ndim = len(spatial)
    wide = widened(grid)
    wide = wide if wide.ndim == ndim + 2 else wide[None]
    values = values if values.ndim == ndim + 2 else values[None]
    validation.not_empty(shape, spatial, wide.shape[1:-1])
    return wide, np.broadcast_to(values, (shape[0], *values.shape[1:])), shape, batched


def image_shape(
    values: np.ndarray, grid: np.ndarray, spatial: tuple[int, ...], options: Options
) -> tuple[tuple[int, ...], bool]:
    """Check values against a grid; return the shape of the image with its batch axis, and whether it keeps it."""
    ndim = len(spatial)
    validation.addable("values", values.dtype)
    validation.coordinate_dtype("grid", grid.dtype)
    channels, points = validation.image_shape(values.shape, ndim, options.channels_last, "values")
    size = grid.shape[-1 - ndim : -1]
    validation.same_shape("values", points, "the grid's locations", size)
    batch = validation.batch(values.shape, grid.shape, ndim, "grid", ndim + 2, "values")
    shape = (batch, *spatial, channels) if options.channels_last else (batch, channels, *spatial)
    return shape, values.ndim == ndim + 2 or grid.ndim == ndim + 2
