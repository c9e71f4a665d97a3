"""Whole arrays: allocate what a call writes, choose its kernels, and launch them.

Everything here takes NumPy views with a batch axis that the face has validated; all that is allocated is
allocated here.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit import arrays, recipes, spline
from stnkit.boxes import box
from stnkit.dtypes import arithmetic, bar_dtype
from stnkit.kernels import cpu
from stnkit.kernels.threads import launch
from stnkit.plan import (
    CHUNKS,
    Layout,
    Shape,
    contiguous,
    cotangent_strides,
    grid_spec,
    layout,
    source_layout,
    three,
    tiles,
    zero,
)
from stnkit.spec import AFFINE, GRID, MAPS, NEAREST, THIN_PLATE_SPLINE, Options

Bars = tuple[np.ndarray | None, np.ndarray | None]

_word = ctypes.c_size_t.from_address


def sample(
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Interpolate `image` at the coordinates that `source`, a grid or theta, gives for an output of `size`.

    Of an image that kernels cannot read, the box that they read is copied.
    """
    if not arrays.is_native(image):
        image = arrays.boxed(image, box(image.shape, image.dtype, source, kind, size, options))
    source = readable(source, kind, image.dtype, options.control)
    shape, run = recipes.forward(layout(image), layout(source), kind, size, options)
    out = np.empty(shape, image.dtype) if out is None else out
    if out.size:
        launch(*run.head, address(out), address(image), address(source), address(fill), *run.numbers)
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
    deterministic: bool = True,
) -> Bars:
    """Return the cotangents of image and source that `wrt` asks for, from that of the output; always deterministic.

    That of the image is added to `into` if there is one. For half precision images it is summed in memory of
    the arithmetic's dtype, as large as the image, and rounded once.
    """
    read = readable(source, kind, image.dtype, options.control)
    image_bar = into
    if wrt[0] and into is None:
        image_bar = np.zeros(image.shape, bar_dtype(image.dtype, read.dtype))
    source_bar = source_bars(image, read, kind, size) if wrt[1] else None
    if cotangent.size:
        cotangent, strides = walkable(cotangent, options, wrt[1] and options.interp != NEAREST)
        layouts = layout(image), contiguous(image), layout(read)
        places = [0 if bar is None else address(bar) for bar in (image_bar, source_bar)]
        places += map(address, (cotangent, image, read, fill))
        for run in recipes.backward(*layouts, kind, size, options, wrt, strides, cotangent.size):
            launch(*run.head, *places, *run.numbers)
    image_bar = image_bar if image_bar is into else rounded(image_bar, image.dtype)
    return image_bar, None if source_bar is None else source_sums(source_bar, source, kind, options.control)


def converted(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array in a dtype; as it is, if it has that."""
    return np.asarray(array, dtype)


def scaled(array: np.ndarray, factors: np.ndarray | None) -> np.ndarray:
    """Return a new array: this one, times factors along its last axis; None is 1."""
    return array.copy() if factors is None else np.asarray(array * factors, array.dtype)


def added(like: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays, or zeros, in the shape and dtype of one."""
    total = np.zeros(like.shape, like.dtype)
    for part in parts:
        total += part
    return total


def ones(like: np.ndarray, shape: Shape) -> np.ndarray:
    """Return ones of a shape, of which one is kept, where an array lies and in its dtype."""
    return np.broadcast_to(np.ones((), like.dtype), shape)


def sample_total(
    image: np.ndarray, source: np.ndarray, kind: int, size: Shape, options: Options, fill: np.ndarray, batch: int
) -> np.ndarray:
    """Return the sum of `sample` over a batch, as a batch of one, in the dtype in which cotangents are summed."""
    image = image.astype(bar_dtype(image.dtype, source.dtype))
    channels = image.shape[-1 if options.channels_last else 1]
    total = np.zeros((1, *size, channels) if options.channels_last else (1, channels, *size), image.dtype)
    for n in range(batch):
        one, its = (array if len(array) == 1 else array[n : n + 1] for array in (image, source))
        total += sample(one, its, kind, size, options, fill)
    return total


def address(array: np.ndarray) -> int:
    """Return where an array's first element lies.

    NumPy's C interface has it as the first field of an array, after the head of every object. What Python offers for
    it takes several times as long, which small calls would feel.
    """
    return _word(id(array) + object.__basicsize__).value


def splat(
    values: np.ndarray, grid: np.ndarray, shape: Shape, options: Options, deterministic: bool = True
) -> np.ndarray:
    """Add values to an image of `shape` at the coordinates of a grid: the adjoint of `sample` in the image.

    Sums are always deterministic.
    """
    image = np.broadcast_to(np.zeros((), values.dtype), shape)  # only its layout is read
    size = grid.shape[1:-1]
    fill = np.zeros(image.shape[-1 if options.channels_last else 1], arithmetic(values.dtype, grid.dtype))
    image_bar, _ = sample_vjp(values, image, grid, GRID, size, options, fill, (True, False))
    assert image_bar is not None
    return image_bar


def rounded(image_bar: np.ndarray | None, dtype: np.dtype[Any]) -> np.ndarray | None:
    """Return the image's cotangent in the image's format, rounded once."""
    return image_bar if image_bar is None else np.asarray(image_bar, dtype)


def source_bars(image: np.ndarray, read: np.ndarray, kind: int, size: Shape) -> np.ndarray:
    """Allocate the memory that kernels add a source's cotangent to; `read` is what they read."""
    return np.zeros(*recipes.bars_form(len(image), read.shape, kind, size, read.dtype))


def source_sums(source_bar: np.ndarray, source: np.ndarray, kind: int, control: bytes = b"") -> np.ndarray:
    """Return a source's cotangent from the memory that kernels added to; partial sums in their order."""
    if kind not in MAPS:
        return source_bar.reshape(source.shape)
    sums = source_bar.sum(axis=(0, 1) if len(source) == 1 else 1)
    if kind == THIN_PLATE_SPLINE:
        sums = spline.pull(sums, control, source.shape[-1])
    return np.asarray(sums, source.dtype).reshape(source.shape)


def grid(source: np.ndarray, kind: int, size: Shape, align: bool, pixel: bool = False) -> np.ndarray:
    """Write out the coordinates that affine or projective maps, or a flow, give for an output of `size`."""
    batch, ndim = len(source), len(size)
    source = np.ascontiguousarray(source)
    out = np.empty((batch, *size, ndim), source.dtype)
    if out.size:
        spec = grid_spec(ndim, source.dtype, kind, align, pixel)
        launch(cpu.grid, spec, out.size, address(out), address(source), *grid_numbers(layout(source), kind, size))
    return out


def grid_numbers(source: Layout, kind: int, size: Shape) -> recipes.Numbers:
    """Return what the kernel that writes coordinates out takes after its addresses."""
    batch = source[0][0]
    _, strides = source_layout(source, kind, size)
    return batch, min(batch * math.prod(size[:-1]), CHUNKS), three(size, 1), strides, zero(source[2])


def grid_vjp(cotangent: np.ndarray, align: bool) -> np.ndarray:
    """Return the cotangent of affine maps from that of the grid they give."""
    batch, *size, ndim = cotangent.shape
    cotangent = np.ascontiguousarray(cotangent)
    theta_bar = np.zeros(*recipes.bars_form(batch, (batch, ndim, ndim + 1), AFFINE, tuple(size), cotangent.dtype))
    if cotangent.size:
        spec = grid_spec(ndim, cotangent.dtype, AFFINE, align)
        numbers = grid_vjp_numbers(batch, tuple(size), cotangent.dtype)
        launch(cpu.grid_vjp, spec, cotangent.size, address(theta_bar), address(cotangent), *numbers)
    return np.asarray(theta_bar.sum(axis=1), cotangent.dtype).reshape(batch, ndim, ndim + 1)


def grid_vjp_numbers(batch: int, size: Shape, dtype: np.dtype[Any]) -> recipes.Numbers:
    """Return what the kernel that sums a grid's cotangent takes after its addresses."""
    spans = tiles(math.prod(size))
    return batch * spans, spans, min(batch * spans, CHUNKS), three(size, 1), zero(dtype)


def readable(source: np.ndarray, kind: int, image_dtype: np.dtype[Any], control: bytes = b"") -> np.ndarray:
    """Return a grid as it is, and the few numbers of a map contiguous, in the type of the arithmetic."""
    if kind not in MAPS:
        return source
    numbers = spline.block(source, control) if kind == THIN_PLATE_SPLINE else source
    return np.ascontiguousarray(numbers, arithmetic(image_dtype, source.dtype))


def walkable(cotangent: np.ndarray, options: Options, pulled: bool = True) -> tuple[np.ndarray, Shape]:
    """Return a cotangent and its (batch, channel, location) strides, copied where kernels could not walk it."""
    strides = cotangent_strides(layout(cotangent), options, pulled, cotangent.flags.c_contiguous)
    if strides is None:
        return walkable(np.ascontiguousarray(cotangent), options, pulled)
    return cotangent, strides
