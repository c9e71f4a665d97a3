"""Reading an image elsewhere: at coordinates, under a matrix, shifted, zoomed and rotated."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit.dtypes import dtype_name
from stnkit.ndimage import geometry
from stnkit.ndimage.errors import ArgumentError
from stnkit.ndimage.fast_path import on_views, remembering
from stnkit.ndimage.frameworks import COMPLEX, Array, is_lazy, known_size, namespace
from stnkit.ndimage.mapping import entered, grid, mapped, ranked, same, stacked
from stnkit.ndimage.outputs import asked, delivered, supported
from stnkit.ndimage.resampling import resampled


@on_views
@remembering
def map_coordinates(
    input: Array,
    coordinates: Array,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: complex = 0.0,
    prefilter: bool = True,
) -> Array:
    """Read an image at coordinates, as `scipy.ndimage.map_coordinates` does.

    Parameters
    ----------
    input : array of shape S
        The image, with 1 to 3 axes: bool, integers, float16, float32, float64 or complex. Of NumPy, torch, JAX or CuPy,
        or numbers.
    coordinates : array of shape (d, *T), or d arrays of shape T
        In pixels: for each of the d axes of `input`, in their order, where each element of the output is read.
    output : array or dtype, optional
        Where the result is written to, or its dtype; that of `input` by default.
    order : {0, 1, 2, 3, 4, 5}
        The degree of the spline: 0 for the nearest pixel, where halves are rounded up, and 1 for linear interpolation.
    mode : {"reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "grid-wrap", "wrap"}
        What stands outside the image, as in SciPy. "constant" is `cval` alone outside the centres of the outermost
        pixels; "grid-constant" is interpolated between these and `cval`.
    cval : number
        What "constant" and "grid-constant" read outside; complex for a complex image.
    prefilter : bool
        Whether the image's coefficients are to be found, for orders above 1; False if `input` holds them.

    Returns
    -------
    array of shape T
        In the framework of `input`.

    Raises
    ------
    ValueError
        If a shape does not fit, `output` cannot be written to, or an order or a mode is unknown. Where SciPy raises
        RuntimeError, it is one too.
    TypeError
        If a dtype is not supported, or arrays belong to different frameworks.
    NotImplementedError
        If more than 3 axes are resampled.

    Notes
    -----
    The arithmetic is float32 where `input` and output are float32 or narrower, and float64 otherwise, or if coordinates
    are. Integers are rounded half away from 0, and saturate. A coordinate that is not finite reads `cval`. torch and
    JAX differentiate the result in `input` and `coordinates`.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> image = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    >>> ndimage.map_coordinates(image, [[0.5, 1.0], [1.5, 0.0]], order=1)
    array([3., 3.])
    """
    image, xp, how = entered(input, order, mode, cval, prefilter)
    coordinates = stacked(coordinates, image)
    if is_lazy(coordinates) and isinstance(image, np.ndarray):
        image = namespace(coordinates).asarray(image)
        xp = namespace(image)
    if dtype_name(coordinates) in COMPLEX:
        msg = "`coordinates` must be real: Complex type not supported"
        raise TypeError(msg)
    supported("coordinates", dtype_name(coordinates))
    known_size("coordinates", coordinates)
    size = tuple(coordinates.shape[1:])
    ranked(image.ndim, len(size))
    if coordinates.shape[0] != image.ndim:
        msg = (
            f"`coordinates` must have shape ({image.ndim}, ...) for an input of {image.ndim} axes; got "
            f"{tuple(coordinates.shape)}: invalid shape for coordinate array"
        )
        raise ArgumentError(msg)
    target = asked(output, image, size)
    geometry.few(range(image.ndim), "map_coordinates")
    points, row = grid(coordinates, image, xp)
    if target.array is not None and isinstance(target.array, np.ndarray) and target.array.flags.c_contiguous:
        flat = target._replace(array=target.array.reshape(row))
    else:
        flat = target._replace(array=None)
    found = resampled(image, tuple(range(image.ndim)), row, points, False, how, flat, xp).reshape(size)
    return target.array if flat.array is not None else delivered(found, target, xp)


@on_views
def affine_transform(
    input: Array,
    matrix: Array,
    offset: Any = 0.0,
    output_shape: Sequence[int] | None = None,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: complex = 0.0,
    prefilter: bool = True,
) -> Array:
    """Read an image under an affine map, as `scipy.ndimage.affine_transform` does.

    Output pixel o reads the image at `matrix @ o + offset`.

    Parameters
    ----------
    input : array of shape S
        The image, as `map_coordinates` takes it; up to 3 of its d axes are resampled.
    matrix : array of shape (d, d), (d,), (d, d + 1) or (d + 1, d + 1)
        The matrix, its diagonal, or a homogeneous one, whose last column stands in place of `offset`; (d, t) for an
        output of t axes.
    offset : number or sequence of numbers
        The pixel that the first pixel of the output reads.
    output_shape : sequence of int, optional
        The shape of the output; by default that of `output`, if it is an array, or of `input`.
    output, order, mode, cval, prefilter
        The options of `map_coordinates`.

    Returns
    -------
    array of shape `output_shape`
        In the framework of `input`.

    Raises
    ------
    ValueError, TypeError, NotImplementedError
        As `map_coordinates` does, and if `matrix` or `offset` does not fit.

    Notes
    -----
    No coordinates are stored. Axes on which the map leaves every pixel where it is are not resampled, and there may be
    any number of them. torch and JAX differentiate the result in `input`, `matrix` and `offset`.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> ndimage.affine_transform(np.array([0.0, 1.0, 4.0]), [0.5], output_shape=(5,), order=1)
    array([0. , 0.5, 1. , 2.5, 4. ])
    """
    image, xp, how = entered(input, order, mode, cval, prefilter)
    if output_shape is None:
        is_array = hasattr(output, "shape") and hasattr(output, "ndim") and not isinstance(output, (type, np.dtype))
        output_shape = output.shape if is_array else image.shape
    size = geometry.shaped(output_shape, "output_shape")
    ranked(image.ndim, len(size))
    way = geometry.affine(matrix, offset, image.ndim, len(size), image)
    return mapped(image, way, size, output, how, "affine_transform", xp)


@on_views
def shift(
    input: Array,
    shift: Any,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: complex = 0.0,
    prefilter: bool = True,
) -> Array:
    """Shift an image, as `scipy.ndimage.shift` does.

    Parameters
    ----------
    input : array of shape S
        The image, as `map_coordinates` takes it; up to 3 of its axes are shifted.
    shift : number or sequence of numbers
        By how many pixels, along all axes or each.
    output, order, mode, cval, prefilter
        The options of `map_coordinates`.

    Returns
    -------
    array of shape S
        In the framework of `input`.

    Raises
    ------
    ValueError, TypeError, NotImplementedError
        As `map_coordinates` does, and if there are not as many shifts as axes.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> ndimage.shift(np.array([1.0, 2.0, 4.0]), 0.5, order=1, mode="nearest")
    array([1. , 1.5, 3. ])
    """
    image, xp, how = entered(input, order, mode, cval, prefilter)
    ranked(image.ndim, image.ndim)
    return mapped(image, geometry.moved(shift, image.ndim, image), tuple(image.shape), output, how, "shift", xp)


@on_views
def zoom(
    input: Array,
    zoom: Any,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: complex = 0.0,
    prefilter: bool = True,
    *,
    grid_mode: bool = False,
) -> Array:
    """Zoom an image, as `scipy.ndimage.zoom` does.

    Parameters
    ----------
    input : array of shape S
        The image, as `map_coordinates` takes it; up to 3 of its axes are zoomed.
    zoom : float or sequence of float
        The factor, along all axes or each. The size of the output is rounded, half to even.
    output, order, mode, cval, prefilter
        The options of `map_coordinates`.
    grid_mode : bool
        Whether an axis reaches from edge to edge of its outermost pixels, or (default) from centre to centre.

    Returns
    -------
    array
        In the framework of `input`.

    Raises
    ------
    ValueError, TypeError, NotImplementedError
        As `map_coordinates` does, and if there are not as many factors as axes.

    Warns
    -----
    UserWarning
        If `grid_mode` goes with mode "constant" or "wrap", which do not know of edges.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> ndimage.zoom(np.array([1.0, 2.0, 4.0]), 5 / 3, order=1)
    array([1. , 1.5, 2. , 3. , 4. ])
    """
    image, xp, how = entered(input, order, mode, cval, prefilter)
    ranked(image.ndim, image.ndim)
    factors = geometry.each_axis(zoom, image.ndim, "zoom")
    if not (np.isfinite(factors) & (factors >= 0)).all():
        msg = f"`zoom` must be finite, and not negative: negative dimensions are not allowed; got {zoom!r}"
        raise ArgumentError(msg)
    size = tuple(round(n * float(factor)) for n, factor in zip(image.shape, factors, strict=True))
    if (factors == 1).all() and prefilter:
        return same(image, size, output, xp)
    if grid_mode and mode in ("constant", "wrap"):
        text = f"It is recommended to use mode 'grid-{mode}' instead of '{mode}' where `grid_mode` is True"
        warnings.warn(text, stacklevel=2)
    way = geometry.zoomed(tuple(image.shape), size, bool(grid_mode), how.order)
    return mapped(image, way, size, output, how, "zoom", xp)


@on_views
def rotate(
    input: Array,
    angle: float,
    axes: Sequence[int] = (1, 0),
    reshape: bool = True,
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: complex = 0.0,
    prefilter: bool = True,
) -> Array:
    """Rotate an image in the plane of two of its axes, as `scipy.ndimage.rotate` does.

    Parameters
    ----------
    input : array of shape S
        The image, as `map_coordinates` takes it, but with 2 or more axes.
    angle : float
        In degrees.
    axes : sequence of two int
        The plane.
    reshape : bool
        Whether the output is as large as the whole rotated image.
    output, order, mode, cval, prefilter
        The options of `map_coordinates`.

    Returns
    -------
    array
        In the framework of `input`.

    Raises
    ------
    ValueError, TypeError
        As `map_coordinates` does, and if `axes` are not two axes of the image.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> ndimage.rotate(np.array([[1.0, 2.0], [3.0, 4.0]]), 90, order=1)
    array([[2., 4.],
           [1., 3.]])
    """
    image, xp, how = entered(input, order, mode, cval, prefilter)
    plane = geometry.rotated(tuple(image.shape), angle, axes, bool(reshape))
    size = list(image.shape)
    for axis, n in zip(plane.axes, plane.size, strict=True):
        size[axis] = n
    target = asked(output, image, tuple(size))
    source = geometry.theta(plane.map, (0, 1))
    return resampled(image, plane.axes, plane.size, source, True, how, target, xp)
