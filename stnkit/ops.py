"""Whole arrays: allocate what a call writes, choose its kernels, and launch them.

Everything here takes NumPy views with a batch axis that the face has validated; all that is allocated is
allocated here.
"""

import math
from typing import Any

import numpy as np

from stnkit.kernels import cpu
from stnkit.kernels.threads import launch
from stnkit.plan import (
    CHUNKS,
    FLOAT64,
    Plan,
    Shape,
    affine_spec,
    arithmetic,
    backward_parts,
    collapse,
    forward_parts,
    layout,
    plan,
    three,
    tiles,
    zero,
)
from stnkit.spec import GRID, NEAREST, Options

Bars = tuple[np.ndarray | None, np.ndarray | None]


def sample(
    image: np.ndarray, source: np.ndarray, kind: int, size: Shape, options: Options, fill: np.ndarray
) -> np.ndarray:
    """Interpolate `image` at the coordinates that `source`, a grid or theta, gives for an output of `size`."""
    source = _readable(source, kind, image.dtype)
    call = plan(layout(image), layout(source), kind, size, options)
    out = np.empty(call.out_shape, image.dtype)
    if out.size:
        points = math.prod(size)
        steps = (1, call.channels) if options.channels_last else (points, 1)
        parts = forward_parts(call)
        launch(
            cpu.sample,
            call.spec,
            call.work,
            *(out.ctypes.data, image.ctypes.data, source.ctypes.data, fill.ctypes.data),
            *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
            *((call.channels * points, *steps), call.image, call.source),
            *call.witnesses,
        )
    return out


def sample_vjp(
    cotangent: np.ndarray,
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    wrt: tuple[bool, bool],
) -> Bars:
    """Return the cotangents of image and source that `wrt` asks for, from that of the output."""
    read = _readable(source, kind, image.dtype)
    image_bar = np.zeros(image.shape, image.dtype) if wrt[0] else None
    source_bar = None
    if wrt[1]:
        ndim, points = len(size), math.prod(size)
        batch = max(len(image), len(source)) if len(image) and len(source) else 0
        if kind == GRID:
            source_bar = np.zeros((len(source), points, ndim), source.dtype)
        else:
            source_bar = np.zeros((batch, tiles(points), ndim * (ndim + 1)), FLOAT64)
    # The slope of nearest is 0 everywhere: its source's cotangent is done as it stands.
    slopes = (wrt[0], wrt[1] and options.interp != NEAREST)
    for asked in _passes(slopes, image, source, image_bar) if cotangent.size else ():
        # The image's cotangent is contiguous whatever the image is: a pass that writes it walks its layout.
        walked = image_bar if asked[0] and image_bar is not None else image
        call = plan(layout(walked), layout(read), kind, size, options)
        parts = backward_parts(call, len(image), len(source), asked)
        _launch_vjp(call, parts, asked, (image_bar, source_bar), cotangent, image, read, fill, options)
    if source_bar is None or kind == GRID:
        return image_bar, None if source_bar is None else source_bar.reshape(source.shape)
    sums = source_bar.sum(axis=(0, 1) if len(source) == 1 else 1)
    return image_bar, np.asarray(sums, source.dtype).reshape(source.shape)


def grid(theta: np.ndarray, size: Shape, align: bool) -> np.ndarray:
    """Write out the coordinates that affine maps give for an output of `size`."""
    batch, ndim = theta.shape[:2]
    theta = np.ascontiguousarray(theta)
    out = np.empty((batch, *size, ndim), theta.dtype)
    if out.size:
        launch(
            cpu.grid,
            affine_spec(ndim, theta.dtype, align),
            out.size,
            *(out.ctypes.data, theta.ctypes.data, batch, min(batch * math.prod(size[:-1]), CHUNKS)),
            *(three(size, 1), (ndim * (ndim + 1), 0, 0, 0, 0), zero(theta.dtype)),
        )
    return out


def grid_vjp(cotangent: np.ndarray, align: bool) -> np.ndarray:
    """Return the cotangent of affine maps from that of the grid they give."""
    batch, *size, ndim = cotangent.shape
    cotangent = np.ascontiguousarray(cotangent)
    spans = tiles(math.prod(size))
    theta_bar = np.zeros((batch, spans, ndim * (ndim + 1)), FLOAT64)
    if cotangent.size:
        launch(
            cpu.grid_vjp,
            affine_spec(ndim, cotangent.dtype, align),
            cotangent.size,
            *(theta_bar.ctypes.data, cotangent.ctypes.data, batch * spans, spans),
            *(min(batch * spans, CHUNKS), three(tuple(size), 1), zero(cotangent.dtype)),
        )
    return np.asarray(theta_bar.sum(axis=1), cotangent.dtype).reshape(batch, ndim, ndim + 1)


def _passes(
    wrt: tuple[bool, bool], image: np.ndarray, source: np.ndarray, image_bar: np.ndarray | None
) -> list[tuple[bool, bool]]:
    """Decide which passes give the cotangents asked for.

    One pass serves both, with whole batch items as parts, if the image's cotangent is laid out as the image
    is and nothing is shared. It stages every tile once, but a small batch leaves threads idle.
    """
    if image_bar is None or not wrt[1]:
        return [wrt] if any(wrt) else []
    if image_bar.strides == image.strides and min(len(image), len(source)) >= 8:
        return [(True, True)]
    return [(True, False), (False, True)]


def _launch_vjp(
    call: Plan,
    parts: Shape,
    asked: tuple[bool, bool],
    bars: Bars,
    cotangent: np.ndarray,
    image: np.ndarray,
    source: np.ndarray,
    fill: np.ndarray,
    options: Options,
) -> None:
    source_bar = bars[1]
    cotangent, out_strides = _walkable(cotangent, options)
    source_bar_strides, witness = (0, 0), zero(FLOAT64)
    if source_bar is not None:
        rows, width = source_bar.shape[1:]
        source_bar_strides = (0 if len(source_bar) == 1 else rows * width, width)
        witness = zero(source_bar.dtype)
    image_like, source_like, like, index_like = call.witnesses
    launch(
        cpu.sample_vjp,
        call.spec._replace(image_bar=asked[0], source_bar=asked[1]),
        call.work * sum(asked),
        *(0 if bar is None else bar.ctypes.data for bar in bars),
        *(cotangent.ctypes.data, image.ctypes.data, source.ctypes.data, fill.ctypes.data),
        *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
        *(out_strides, call.image, call.source, source_bar_strides),
        *(image_like, source_like, witness, like, index_like),
    )


def _readable(source: np.ndarray, kind: int, image_dtype: np.dtype[Any]) -> np.ndarray:
    """Return a grid as it is, and the few numbers of theta contiguous, in the type of the arithmetic."""
    if kind == GRID:
        return source
    return np.ascontiguousarray(source, arithmetic(image_dtype, source.dtype))


def _walkable(cotangent: np.ndarray, options: Options) -> tuple[np.ndarray, Shape]:
    """Return a cotangent and its (batch, channel, location) strides; copied if locations have no one stride."""
    spatial, channel = (slice(1, -1), -1) if options.channels_last else (slice(2, None), 1)
    strides = tuple(s // cotangent.itemsize for s in cotangent.strides)
    step = collapse(cotangent.shape[spatial], strides[spatial])
    if step is None:
        return _walkable(np.ascontiguousarray(cotangent), options)
    return cotangent, (strides[0], strides[channel], step)
