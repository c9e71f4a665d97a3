"""The samplers of maps on Dask arrays: the same bits, chunk by chunk."""

from collections.abc import Sequence
from typing import Any

from stnkit.calls.arguments import Choices, DataFormat, FillValue, PaddingMode, Units
from stnkit.dask.call import Array, sampled
from stnkit.dask.cutting import Asked
from stnkit.spec import AFFINE, PROJECTIVE, THIN_PLATE_SPLINE


def affine_sample(
    image: Array,
    theta: Array,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    chunks: Any = "auto",
    threads: int = 1,
) -> Array:
    """Interpolate an image in chunks under affine maps.

    The chunks have the bits of `stnkit.affine_sample` of the whole image, under a map of float64.

    Parameters
    ----------
    image : dask.array.Array, numpy.ndarray, or a store, of shape (N, C, *S) or (N, *S, C)
        The input. A store has `shape`, `dtype` and `[]`, as an array of zarr; tasks read from it what they need.
    theta : numpy.ndarray of shape (N, d, d + 1) or (d, d + 1)
        Maps from output to input, both in normalised coordinates, or in pixels: see `coords`.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format
        The options of `stnkit.affine_sample`. With `prefilter`, chunks are filtered with what lies around them, which
        leaves as much as rounding does.
    antialias : bool or int
        As there; for projective maps and splines a number of subsamples, and not True, for which a task has too little.
    chunks : "auto", int, or sequence of them, or of sequences of int
        Those of the output's spatial axes. Batch and channels are in the chunks of the image. "auto" makes chunks of
        as many bytes as those of the image have, from 16 MiB to Dask's option `array.chunk-size`, or smaller ones where
        they read much more than they hold.
    threads : int
        On how many threads of Numba a task may run.

    Returns
    -------
    dask.array.Array of shape (N, C, *T) or (N, *T, C)
        In the dtype and the channel order of `image`: a task for each chunk.

    Raises
    ------
    ValueError
        If a shape does not fit, a name is unknown, chunks are of unknown size, or a chunk of the output would read more
        of the image than ten times `array.chunk-size`.
    TypeError
        If a dtype is not supported, or an argument is no array of the kinds above.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> image = da.arange(6.0, chunks=2).reshape(1, 2, 3)
    >>> mirror = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> stnkit.affine_sample(image, mirror, chunks=2).compute()
    array([[[2., 1., 0.],
            [5., 4., 3.]]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, size=size, coords=coords)
    return sampled(Asked("affine_sample", AFFINE, chunks, threads), image, theta, choices, antialias)


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
    chunks: Any = "auto",
    threads: int = 1,
) -> Array:
    """Interpolate an image in chunks under projective maps.

    The chunks have the bits of `stnkit.projective_sample` of the whole image, under a map of float64.

    Parameters
    ----------
    image : dask.array.Array, numpy.ndarray, or a store, of shape (N, C, *S) or (N, *S, C)
        The input, as `affine_sample` takes it.
    theta : numpy.ndarray of shape (N, d + 1, d + 1) or (d + 1, d + 1)
        Homogeneous matrices from output to input, both in normalised coordinates.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, prefilter, padding_mode, fill_value, align_corners, data_format, antialias, chunks, threads
        The options of `affine_sample`.

    Returns
    -------
    dask.array.Array of shape (N, C, *T) or (N, *T, C)
        In the dtype and the channel order of `image`.

    Raises
    ------
    ValueError, TypeError
        As `affine_sample` does. Chunks near to a horizon read far: more of them, and smaller ones, read less.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> image = da.arange(6.0, chunks=2).reshape(1, 2, 3)
    >>> stnkit.projective_sample(image, np.diag([-1.0, 1.0, 1.0])).compute()
    array([[[2., 1., 0.],
            [5., 4., 3.]]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, size=size)
    return sampled(Asked("projective_sample", PROJECTIVE, chunks, threads), image, theta, choices, antialias)


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
    chunks: Any = "auto",
    threads: int = 1,
) -> Array:
    """Interpolate an image in chunks under thin plate splines.

    The chunks have the bits of `stnkit.thin_plate_spline_sample` of the whole image, under a spline of float64.

    Parameters
    ----------
    image : dask.array.Array, numpy.ndarray, or a store, of shape (N, C, *S) or (N, *S, C)
        The input, as `affine_sample` takes it.
    theta : numpy.ndarray of shape (N, K, d) or (K, d)
        Where each control point reads in the input, in normalised coordinates.
    control_points : array of shape (K, d)
        Positions in the output, in normalised coordinates. They are in the graph once, as theta is.
    size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    mode, prefilter, padding_mode, fill_value, align_corners, data_format, antialias, chunks, threads
        The options of `affine_sample`.

    Returns
    -------
    dask.array.Array of shape (N, C, *T) or (N, *T, C)
        In the dtype and the channel order of `image`.

    Raises
    ------
    ValueError, TypeError
        As `affine_sample` does.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> from stnkit.transforms import control_lattice
    >>> image, points = da.arange(6.0, chunks=2).reshape(1, 2, 3), control_lattice((2, 2))
    >>> stnkit.thin_plate_spline_sample(image, points * [-1, 1], points).compute().round(9)
    array([[[2., 1., 0.],
            [5., 4., 3.]]])
    """
    asked = Asked("thin_plate_spline_sample", THIN_PLATE_SPLINE, chunks, threads)
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, control_points=control_points, size=size
    )
    return sampled(asked, image, theta, choices, antialias)
