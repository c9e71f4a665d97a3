"""The samplers of flows and grids on Dask arrays: the same bits, chunk by chunk."""

from collections.abc import Sequence
from typing import Any

from stnkit.calls.arguments import Choices, DataFormat, FillValue, PaddingMode, Units
from stnkit.dask.call import Array, sampled
from stnkit.dask.cutting import Asked
from stnkit.dask.extremes import Extremes
from stnkit.spec import FLOW, GRID


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
    max_displacement: float | Sequence[float] | None = None,
    bounds: Extremes | None = None,
    chunks: Any = "auto",
    threads: int = 1,
) -> Array:
    """Interpolate an image in chunks at the locations of the output, each moved by a flow.

    The chunks have the bits of `stnkit.flow_sample` of the whole image and a flow of float64.

    Parameters
    ----------
    image : dask.array.Array, numpy.ndarray, or a store, of shape (N, C, *S) or (N, *S, C)
        The input, as `affine_sample` takes it.
    flow : dask.array.Array or numpy.ndarray of shape (N, *T, d)
        By how much to move each output location, in the order x, y, z.
    mode, prefilter, padding_mode, fill_value, align_corners, units, data_format
        The options of `stnkit.flow_sample`.
    max_displacement : float or sequence of float, optional
        By how much the flow moves at most, in its `units`: one number, or one for each axis in the order x, y, z. A
        flow that moves farther is an error when the output is computed.
    bounds : Extremes, optional
        What `bounds` found of this flow. One of the two is needed if the image is a Dask array and large: what a chunk
        reads is asked when the graph is made, before the flow is there. A store is asked when it is.
    chunks : "auto", int, or sequence of them, or of sequences of int
        Those of the output's spatial axes; "auto" are those of a `flow` that is a Dask array.
    threads : int
        On how many threads of Numba a task may run.

    Returns
    -------
    dask.array.Array of shape (N, C, *T) or (N, *T, C)
        In the dtype and the channel order of `image`.

    Raises
    ------
    ValueError, TypeError
        As `affine_sample` does, and if nothing bounds the flow of a large image.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> image = da.from_array(np.array([[0.0, 1.0, 4.0]]), chunks=2)
    >>> flow = da.from_array(np.array([[0.5], [0.0], [-1.0]]), chunks=2)
    >>> stnkit.flow_sample(image, flow, max_displacement=1).compute()
    array([[0.5, 1. , 1. ]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, units=units)
    return sampled(Asked("flow_sample", FLOW, chunks, threads, max_displacement, bounds), image, flow, choices)


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
    bounds: Extremes | None = None,
    chunks: Any = "auto",
    threads: int = 1,
) -> Array:
    """Interpolate an image in chunks at the coordinates of a grid.

    The chunks have the bits of `stnkit.grid_sample` of the whole image and a grid of float64.

    Parameters
    ----------
    image : dask.array.Array, numpy.ndarray, or a store, of shape (N, C, *S) or (N, *S, C)
        The input, as `affine_sample` takes it.
    grid : dask.array.Array or numpy.ndarray of shape (N, *T, d)
        Where to read, in the order x, y, z.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format
        The options of `stnkit.grid_sample`.
    bounds : Extremes, optional
        What `bounds` found of this grid; needed if the image is a Dask array and large.
    chunks, threads
        The options of `flow_sample`.

    Returns
    -------
    dask.array.Array of shape (N, C, *T) or (N, *T, C)
        In the dtype and the channel order of `image`.

    Raises
    ------
    ValueError, TypeError
        As `affine_sample` does, and if nothing bounds the grid of a large image.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> image = da.from_array(np.array([[0.0, 1.0, 4.0]]), chunks=2)
    >>> grid = da.from_array(np.array([[0.5], [2.0]]), chunks=1)
    >>> stnkit.grid_sample(image, grid, coords="pixel").compute()
    array([[0.5, 4. ]])
    """
    choices = Choices(mode, prefilter, padding_mode, fill_value, align_corners, data_format, coords=coords)
    return sampled(Asked("grid_sample", GRID, chunks, threads, bounds=bounds), image, grid, choices)
