"""Cotangents of image, maps and flow on Dask arrays: sums over chunks, in an order that is fixed."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from stnkit import validation
from stnkit.calls.arguments import Choices, DataFormat, FillValue, PaddingMode, Units, Wrt
from stnkit.calls.derivatives import NAMES
from stnkit.dask import graphs, layers
from stnkit.dask.axes import Chunks, whole
from stnkit.dask.cutting import Asked
from stnkit.dask.entry import entered
from stnkit.dask.extremes import Extremes
from stnkit.spec import AFFINE, FLOW, MAPS

Array = Any


def pulled(
    asked: Asked, cotangent: Array, image: Array, source: Array, choices: Choices, antialias: bool | int = False
) -> tuple[Array | None, Array | None]:
    """Return the Dask arrays of the cotangents that are asked for."""
    name = NAMES[asked.kind]
    wanted = validation.names("wrt", choices.wrt, ("image", name))
    wrt = tuple(word for word, is_wanted in zip(("image", name), wanted, strict=True) if is_wanted)
    validation.flag("deterministic", choices.deterministic)
    call = entered(asked, image, source, choices._replace(wrt=wrt), antialias, cotangent)
    job, form = call.job, call.form
    if wanted[0]:
        validation.differentiable("image", form.image_dtype)
        if not isinstance(image, da.Array):
            msg = (
                "`image` must be a Dask array for its cotangent, which has its chunks; leave it out of `wrt`, or pass "
                "`dask.array.from_array(image)`"
            )
            raise TypeError(msg)
    nothing = np.empty((0,) * len(job.output_chunks), form.dot_dtype)
    parts = layers.array(
        call.prefix, call.token, partial(graphs.pulled, job, call.reads), job.output_chunks, nothing, call.inputs
    )
    image_bar, source_bar = None, None
    if wanted[0]:
        make = partial(graphs.image_bars, job, call.reads, form.image_dtype)
        meta = layers.blank(image, len(job.image_chunks), form.image_dtype)
        image_bar = layers.array(f"{call.prefix}-image", call.token, make, job.image_chunks, meta, [parts])
        image_bar = rechunked(image_bar, image.chunks)
    if wanted[1]:
        chunks = graphs.source_chunks(job)
        make = partial(graphs.source_bars, job, form.source_dtype, not wanted[0])
        meta = layers.blank(source, len(chunks), form.source_dtype)
        source_bar = layers.array(f"{call.prefix}-{name}", call.token, make, chunks, meta, [parts])
        if asked.kind in MAPS or isinstance(source, da.Array):
            source_bar = rechunked(source_bar, whole(source.shape) if asked.kind in MAPS else source.chunks)
    return image_bar, source_bar


def rechunked(array: Array, chunks: Chunks) -> Array:
    """Return an array in some chunks; itself, if it is."""
    return array if array.chunks == chunks else array.rechunk(chunks)


def affine_sample_vjp(
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
    coords: Units = "normalized",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    deterministic: bool = False,
    threads: int = 1,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `affine_sample` back to its image and its maps, chunk by chunk.

    Parameters
    ----------
    cotangent : dask.array.Array
        Of the shape of the output, which gives the size, and of the dtype of `image`; beside an image of integers,
        float64 if `theta` is, else float32. Its chunks are those in which the work is done.
    image, theta : array
        The arguments of `affine_sample`. Only a Dask array has a cotangent.
    wrt : {"image", "theta"} or a sequence of them
        Which cotangents to compute; the work for the other is left out.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, data_format, antialias, threads
        The options of `affine_sample`.
    deterministic : bool
        Whether results must be bitwise reproducible. They always are: sums are trees whose order follows from chunks.

    Returns
    -------
    d_image, d_theta : dask.array.Array or None
        Each of the shape and dtype of its argument; None if it was not asked for. Sums over chunks are in the dtype of
        the arithmetic, and for theta in float64, and rounded once. `d_theta` is one chunk.

    Raises
    ------
    ValueError
        If a shape does not fit, a name is unknown, chunks are of unknown size, or a chunk would read too much.
    TypeError
        If a dtype is not supported or does not fit, or an argument is no array of the kinds above.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> image = da.from_array(np.array([[0.0, 1.0, 4.0]]), chunks=2)
    >>> theta = np.array([[1.0, 0.2]])
    >>> _, d_theta = stnkit.affine_sample_vjp(da.ones((1, 3), chunks=2), image, theta, wrt="theta")
    >>> d_theta.compute().round(6)
    array([[-5.,  0.]])
    """
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, None, deterministic, wrt, coords=coords
    )
    return pulled(Asked("affine_sample_vjp", AFFINE, threads=threads), cotangent, image, theta, choices, antialias)


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
    max_displacement: float | Sequence[float] | None = None,
    bounds: Extremes | None = None,
    deterministic: bool = False,
    threads: int = 1,
) -> tuple[Array | None, Array | None]:
    """Pull a cotangent of `flow_sample` back to its image and its flow, chunk by chunk.

    Parameters
    ----------
    cotangent : dask.array.Array
        Of the shape of the output, and of the dtype of `image`; beside an image of integers, float64 if `flow` is, else
        float32. Its chunks are those in which the work is done.
    image, flow : array
        The arguments of `flow_sample`.
    wrt : {"image", "flow"} or a sequence of them
        Which cotangents to compute; the work for the other is left out.
    mode, prefilter, padding_mode, fill_value, align_corners, units, data_format, max_displacement, bounds, threads
        The options of `flow_sample`.
    deterministic : bool
        Whether results must be bitwise reproducible. They always are.

    Returns
    -------
    d_image, d_flow : dask.array.Array or None
        Each of the shape and dtype of its argument; None if it was not asked for.

    Raises
    ------
    ValueError, TypeError
        As `affine_sample_vjp` does, and if nothing bounds the flow of a large image.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> image = da.from_array(np.array([[0.0, 1.0, 4.0]]), chunks=2)
    >>> flow = da.from_array(np.array([[0.5], [0.0], [-1.0]]), chunks=2)
    >>> d_image, d_flow = stnkit.flow_sample_vjp(da.ones((1, 3), chunks=2), image, flow)
    >>> d_image.compute()
    array([[0.5, 2.5, 0. ]])
    """
    asked = Asked("flow_sample_vjp", FLOW, "auto", threads, max_displacement, bounds)
    choices = Choices(
        mode, prefilter, padding_mode, fill_value, align_corners, data_format, None, deterministic, wrt, units=units
    )
    return pulled(asked, cotangent, image, flow, choices)
