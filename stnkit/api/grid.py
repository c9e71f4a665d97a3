"""Sampling at the coordinates of a grid, and its derivatives."""

from stnkit._dispatch import dispatch
from stnkit.api._sampling import sampled
from stnkit.calls.arguments import Array, Choices, DataFormat, FillValue, PaddingMode, Units, Wrt
from stnkit.calls.derivatives import DOUBLE_VJP, JVP, SAMPLE, VJP
from stnkit.spec import GRID, Place


@dispatch
def grid_sample(
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
    out: Array | None = None,
) -> Array:
    """Interpolate an image at the coordinates of a grid.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C)
        The input, with 1 to 3 spatial axes S = (W,), (H, W) or (D, H, W). float16, bfloat16, float32,
        float64, or integers of 8 to 32 bits, signed or not; with modes "nearest" and
        "label", int64, uint64 and bool too.
    grid : array of shape (N, *T, d)
        Where to read each output location, for d = 1, 2 or 3 axes. The last axis is in the order x, y, z,
        and x runs along W. Half precision is widened to float32. For lists of points see the notes.
    mode : {"bilinear", "nearest", "bicubic", "mitchell", "lanczos3", "spline0", "spline1", ..., "spline5", "label"}
        Interpolation along each axis; "bilinear" (also "linear") is linear in 1-D and trilinear in 3-D.
        "nearest" rounds half to even, and "spline0" up. "bicubic" is Keys' cubic convolution with a = -0.75.
        "mitchell" is Mitchell and Netravali's cubic with B = C = 1/3, and "lanczos3" Lanczos' filter of six taps, whose
        weights are divided by their sum. Splines of that degree ("spline1" is "bilinear") pass through the pixels.
        "label", for integers and bool, gives the number whose pixels have the greatest weight in "bilinear"; of two the
        smaller.
    prefilter : bool
        Whether a spline's coefficients are computed from the image (default), or the image has them already, as
        `spline_filter` returns them. Other modes have none.
    padding_mode : {"zeros", "border", "reflection", "wrap", "mask", "periodic"} or a sequence of them
        What is read outside the image: `fill_value` ("zeros", also "constant"), the nearest edge pixel, the
        image reflected about its edge, the image repeated with period n, `fill_value` for all of a location that
        lies outside the outermost pixels' centres ("mask"), or the image repeated with period n - 1 ("periodic").
        "zeros_margin" and "border_margin" are for images with 12 pixels more at each end of the axis, beyond which
        they do what their name says. A sequence names one mode for each axis, in the order x, y, z.
    fill_value : float or one for each channel
        What "zeros" padding reads outside the image, blended with edge pixels. It may be NaN or infinite, and does not
        count where its weight is 0, or no more than coordinates are rounded by.
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or (default) the image's outer edges.
    coords : {"normalized", "pixel"}
        The unit of `grid`. In pixels, 0 is the centre of the first pixel and n - 1 that of the last.
    data_format : {"channels_first", "channels_last"}
        Where the channel axis of `image`, and of the result, is.
    place : stnkit.tiles.Place, optional
        Where the image lies in the whole one, if it is a tile: see the notes. A grid says itself where locations read,
        so that nothing is asked of `out_start` and `out_size`.
    out : array, optional
        Where to write the result: of its shape and dtype, C-contiguous, and apart from the inputs in memory.

    Returns
    -------
    array of shape (N, C, *T) or (N, *T, C)
        In the dtype, the framework and the channel order of `image`. float16 and bfloat16 are rounded once, to
        nearest even; integers are rounded half to even and saturated.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported, an argument is no array, or the arrays belong to different frameworks.

    Notes
    -----
    Values equal those of `torch.nn.functional.grid_sample`. A batch axis of 1 on either side is shared by
    all items, and without one on both sides the result has none. So a grid of shape (N, P, 2) is one of N x P locations
    that all images share, and gives (N, C, N, P); for P points in each image pass `grid[:, None]`, which gives
    (N, C, 1, P), and for P points in all of them `grid[None, None]` of (P, 2). A coordinate that is not finite reads
    `fill_value` in every padding mode. The arithmetic is float32, or float64 if an array is, or the
    image is of 32-bit integers. A large image that is not aligned, or not of native byte order, is copied: the box
    between the lowest and the highest coordinates.

    A spline is that of the image as `padding_mode` continues it, and passes through the pixels. For "zeros" and
    "border", the image is padded by 12 pixels at each end before it is filtered; further outside, the fill value or the
    outermost coefficient is read. There the error is at most 1.4e-4 of the image's magnitude with "spline5", 3e-7 with
    "spline3", and in the image below 2e-9. A fill value that is not finite cannot be filtered: if one channel has such
    a one, "zeros" is done as "mask". To sample an image many times, filter it once with `spline_filter`, and pass
    `prefilter=False`.

    With `place`, image and output are tiles of larger ones. Grids, flows and maps are widened to float64, coordinates
    are computed from the sizes of the whole, the padding is that of the whole image, and where a pixel lies in the tile
    is found last. So any tiling gives the bits of the whole call in float64: values, tangents, and the cotangents of
    grids and flows. Of what is summed over locations, as cotangents of images and maps, a tile gives its part. Results
    in the dtype of what was widened have float64. A pixel that the tile does not hold reads `fill_value`, and its
    cotangent is lost. A tile may go on from the last pixel of an axis to the first, as "wrap" and "periodic" read it.
    What is filtered in a call ends at the tile: of that end, 16 pixels away, at most 5e-5 of the image's magnitude is
    left on one axis with "spline5", and 1e-8 with "spline3"; 7e-11 and 2e-17 at 32 pixels. `antialias=True` is for
    affine maps; others need the number. Subsamples of a flow read the locations beside theirs: tiles have to overlap.
    torch's autograd and `jax.grad` differentiate samplers, grids and splats with `place` once, outside of compilers and
    transforms.

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
    >>> stnkit.grid_sample(image, grid, coords="pixel", mode="spline3", padding_mode="reflection").round(3)
    array([[[0.425, 3.5  ]]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, coords=coords)
    return sampled(SAMPLE, GRID, (image, grid), choices, False, out)


@dispatch
def grid_sample_vjp(
    cotangent: Array,
    image: Array,
    grid: Array,
    *,
    wrt: Wrt = ("image", "grid"),
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    place: Place | None = None,
    accumulate_into: Array | None = None,
    deterministic: bool = False,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `grid_sample` back to its image and its grid.

    Parameters
    ----------
    cotangent : array
        Of the shape of the output, and of the dtype of `image`; beside an image of integers,
        float64 if `grid` is, else float32.
    image, grid : array
        The arguments of `grid_sample`.
    wrt : {"image", "grid"} or a sequence of them
        Which cotangents to compute; the work for the other is left out. An image of integers has none.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format, place
        The options of `grid_sample`.
    accumulate_into : array, optional
        Where to add the image's cotangent: of the image's shape, C-contiguous, of the image's dtype, or of the
        arithmetic's (float32, or float64) for half precision. It is returned as `d_image`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    d_image, d_grid : array or None
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
    >>> image = np.array([[[0.0, 1.0, 4.0]]])
    >>> grid = np.array([[[1.5, 0.0]]])
    >>> d_image, d_grid = stnkit.grid_sample_vjp(np.ones((1, 1, 1)), image, grid, coords="pixel")
    >>> d_image
    array([[[0. , 0.5, 0.5]]])
    >>> d_grid
    array([[[ 3. , -2.5]]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, deterministic, wrt, coords=coords
    )
    return sampled(VJP, GRID, (cotangent, image, grid), choices, False, accumulate_into)


@dispatch
def grid_sample_jvp(
    image: Array,
    grid: Array,
    d_image: Array | None,
    d_grid: Array | None,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    place: Place | None = None,
) -> tuple[Array, Array]:
    """Push tangents of image and grid forward through `grid_sample`.

    Parameters
    ----------
    image, grid : array
        The arguments of `grid_sample`.
    d_image, d_grid : array or None
        Tangents, each of the shape and dtype of its argument; None stands for zero, and costs nothing. An image
        of integers has none.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format, place
        The options of `grid_sample`.

    Returns
    -------
    out, d_out : array
        The output and its tangent, from one pass. The tangent has the dtype of `image`; beside an image of
        integers, float64 if `grid` is, else float32.

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
    >>> image = np.array([[[0.0, 1.0, 4.0]]])
    >>> grid = np.array([[[1.5, 0.0]]])
    >>> to_the_right = np.array([[[1.0, 0.0]]])
    >>> stnkit.grid_sample_jvp(image, grid, None, to_the_right, coords="pixel")
    (array([[[2.5]]]), array([[[3.]]]))
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, coords=coords)
    return sampled(JVP, GRID, (image, grid, d_image, d_grid), choices)


@dispatch
def grid_sample_double_vjp(
    dd_image: Array | None,
    dd_grid: Array | None,
    cotangent: Array,
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
    deterministic: bool = False,
) -> tuple[Array, Array | None, Array]:
    """Pull cotangents of the results of `grid_sample_vjp` back to its arguments: reverse mode, second order.

    Parameters
    ----------
    dd_image, dd_grid : array or None
        Cotangents of the results `d_image` and `d_grid`; None stands for zero, and costs nothing.
    cotangent, image, grid : array
        The arguments of `grid_sample_vjp`.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format, place
        The options of `grid_sample`.
    deterministic : bool
        Whether results must be bitwise reproducible. On a CPU they always are; on a GPU, the order of `atomicAdd` is
        nondeterministic otherwise.

    Returns
    -------
    d_cotangent, d_image, d_grid : array
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
    >>> image = np.array([[[0.0, 1.0, 4.0], [0.0, 2.0, 8.0]]])
    >>> grid = np.array([[[1.5, 0.0]]])
    >>> dd_grid = np.array([[[1.0, 0.0]]])
    >>> _, _, d_grid = stnkit.grid_sample_double_vjp(None, dd_grid, np.ones((1, 1, 1)), image, grid, coords="pixel")
    >>> d_grid
    array([[[0., 3.]]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, place, deterministic, coords=coords
    )
    return sampled(DOUBLE_VJP, GRID, (dd_image, dd_grid, cotangent, image, grid), choices)
