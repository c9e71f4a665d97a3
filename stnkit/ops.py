"""Whole arrays: allocate what a call writes, choose its kernels, and launch them.

Everything here takes NumPy views with a batch axis that the face has validated; all that is allocated is
allocated here.
"""

import math
from typing import Any

import numpy as np

from stnkit.dtypes import FLOAT64, arithmetic, bar_dtype
from stnkit.kernels import cpu
from stnkit.kernels.threads import launch
from stnkit.plan import (
    CHUNKS,
    Plan,
    Shape,
    backward_parts,
    collapse,
    contiguous,
    forward_parts,
    grid_spec,
    layout,
    likes,
    out_strides,
    plan,
    source_layout,
    three,
    tiles,
    zero,
)
from stnkit.spec import AFFINE, GRID, NEAREST, Options

Bars = tuple[np.ndarray | None, np.ndarray | None]


def sample(
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Interpolate `image` at the coordinates that `source`, a grid or theta, gives for an output of `size`."""
    source = readable(source, kind, image.dtype)
    call = plan(layout(image), layout(source), kind, size, options)
    out = np.empty(call.out_shape, image.dtype) if out is None else out
    if out.size:
        parts = forward_parts(call)
        launch(
            cpu.sample,
            call.spec,
            call.work,
            *(address(out), address(image), address(source), address(fill)),
            *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
            *(out_strides(call, options), call.image, call.source),
            *likes(call, "image", "source", "like", "index"),
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
    into: np.ndarray | None = None,
) -> Bars:
    """Return the cotangents of image and source that `wrt` asks for, from that of the output.

    That of the image is added to `into` if there is one. For half precision images it is summed in memory of
    the arithmetic's dtype, as large as the image, and rounded once.
    """
    read = readable(source, kind, image.dtype)
    image_bar = into
    if wrt[0] and into is None:
        image_bar = np.zeros(image.shape, bar_dtype(image.dtype, read.dtype))
    source_bar = source_bars(image, source, kind, size) if wrt[1] else None
    # The slope of nearest is 0 everywhere: its source's cotangent is done as it stands.
    slopes = (wrt[0], wrt[1] and options.interp != NEAREST)
    for asked in _passes(slopes, image, source, image_bar) if cotangent.size else ():
        # The image's cotangent is contiguous whatever the image is: a pass that writes it walks its layout.
        walked = layout(image) if not asked[0] else contiguous(image)
        call = plan(walked, layout(read), kind, size, options)
        parts = backward_parts(call, len(image), len(source), asked)
        _launch_vjp(call, parts, asked, (image_bar, source_bar), cotangent, image, read, fill, options)
    image_bar = image_bar if image_bar is into else rounded(image_bar, image.dtype)
    return image_bar, None if source_bar is None else source_sums(source_bar, source, kind)


def address(array: np.ndarray) -> int:
    """Return where an array's first element lies; `array.ctypes.data` takes several times as long."""
    where: int = array.__array_interface__["data"][0]
    return where


def splat(values: np.ndarray, grid: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    """Add values to an image of `shape` at the coordinates of a grid: the adjoint of `sample` in the image."""
    image = np.broadcast_to(np.zeros((), values.dtype), shape)  # only its layout is read
    size = grid.shape[1:-1]
    fill = np.zeros(image.shape[-1 if options.channels_last else 1], arithmetic(values.dtype, grid.dtype))
    image_bar, _ = sample_vjp(values, image, grid, GRID, size, options, fill, (True, False))
    assert image_bar is not None
    return image_bar


def rounded(image_bar: np.ndarray | None, dtype: np.dtype[Any]) -> np.ndarray | None:
    """Return the image's cotangent in the image's format, rounded once."""
    return image_bar if image_bar is None else np.asarray(image_bar, dtype)


def source_bars(image: np.ndarray, source: np.ndarray, kind: int, size: Shape) -> np.ndarray:
    """Allocate the memory that kernels add a source's cotangent to: the grid's own, or theta's tile by tile."""
    ndim, points = len(size), math.prod(size)
    if kind != AFFINE:
        return np.zeros((len(source), points, ndim), source.dtype)
    batch = max(len(image), len(source)) if len(image) and len(source) else 0
    return np.zeros((batch, tiles(points), ndim * (ndim + 1)), FLOAT64)


def source_sums(source_bar: np.ndarray, source: np.ndarray, kind: int) -> np.ndarray:
    """Return a source's cotangent from the memory that kernels added to; partial sums in their order."""
    if kind != AFFINE:
        return source_bar.reshape(source.shape)
    sums = source_bar.sum(axis=(0, 1) if len(source) == 1 else 1)
    return np.asarray(sums, source.dtype).reshape(source.shape)


def grid(source: np.ndarray, kind: int, size: Shape, align: bool, pixel: bool = False) -> np.ndarray:
    """Write out the coordinates that affine maps, or a flow, give for an output of `size`."""
    batch, ndim = len(source), len(size)
    source = np.ascontiguousarray(source)
    out = np.empty((batch, *size, ndim), source.dtype)
    if out.size:
        spec = grid_spec(ndim, source.dtype, kind, align, pixel)
        _, strides = source_layout(layout(source), kind, size)
        chunks = min(batch * math.prod(size[:-1]), CHUNKS)
        addresses = address(out), address(source)
        launch(cpu.grid, spec, out.size, *addresses, batch, chunks, three(size, 1), strides, zero(source.dtype))
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
            grid_spec(ndim, cotangent.dtype, AFFINE, align),
            cotangent.size,
            *(address(theta_bar), address(cotangent), batch * spans, spans),
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
    if image.flags.c_contiguous and min(len(image), len(source)) >= 8:
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
    cotangent, out_strides = walkable(cotangent, options, asked[1])
    source_bar_strides, witness = (0, 0), zero(FLOAT64)
    if source_bar is not None:
        rows, width = source_bar.shape[1:]
        source_bar_strides = (0 if len(source_bar) == 1 else rows * width, width)
        witness = zero(source_bar.dtype)
    launch(
        cpu.sample_vjp,
        call.spec._replace(image_bar=asked[0], source_bar=asked[1]),
        call.work * sum(asked),
        *(0 if bar is None else address(bar) for bar in bars),
        *(address(cotangent), address(image), address(source), address(fill)),
        *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
        *(out_strides, call.image, call.source, source_bar_strides),
        *likes(call, "image", "dot", "image_bar", "source"),
        witness,
        *likes(call, "like", "index"),
    )


def readable(source: np.ndarray, kind: int, image_dtype: np.dtype[Any]) -> np.ndarray:
    """Return a grid as it is, and the few numbers of theta contiguous, in the type of the arithmetic."""
    if kind != AFFINE:
        return source
    return np.ascontiguousarray(source, arithmetic(image_dtype, source.dtype))


def walkable(cotangent: np.ndarray, options: Options, pulled: bool = True) -> tuple[np.ndarray, Shape]:
    """Return a cotangent and its (batch, channel, location) strides, copied where kernels could not walk it.

    They read neighbouring channels in lanes, and neighbouring locations too where a source's cotangent is `pulled`.
    """
    spatial, channel = (slice(1, -1), -1) if options.channels_last else (slice(2, None), 1)
    strides = tuple(s // cotangent.itemsize for s in cotangent.strides)
    step = collapse(cotangent.shape[spatial], strides[spatial])
    in_lanes = options.channels_last and cotangent.shape[channel] > 1
    inner = strides[channel] if in_lanes else (step if pulled else 1)
    if step is None or (inner != 1 and not cotangent.flags.c_contiguous):
        return walkable(np.ascontiguousarray(cotangent), options, pulled)
    return cotangent, (strides[0], strides[channel], step)
