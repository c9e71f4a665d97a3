"""Whole arrays: allocate what a call writes, choose its kernels, and launch them.

Everything here takes NumPy views with a batch axis that have been validated; all that is allocated is
allocated here.
"""

import ctypes
from typing import Any

import numpy as np

from stnkit.backends import interop
from stnkit.backends.cpu.memory import empty
from stnkit.backends.cpu.pixels_read import box
from stnkit.dtypes import arithmetic, bar_dtype
from stnkit.kernels.cpu.call import COTANGENT, FILL, IMAGE, IMAGE_BAR, OUT, SLOTS, SOURCE, SOURCE_BAR
from stnkit.plans import launch as plans
from stnkit.plans import thin_plates
from stnkit.plans.launch import Buffer, Plan
from stnkit.plans.layout import Shape, contiguous, cotangent_strides, layout
from stnkit.spec import CHOOSING, GRID, MAPS, THIN_PLATE_SPLINE, Options

Arrays = dict[int, np.ndarray]  # by their slots
Bars = tuple[np.ndarray | None, np.ndarray | None]

_word = ctypes.c_size_t.from_address


def execute(plan: Plan, arrays: Arrays) -> Arrays:
    """Run a plan on arrays; add the buffers that it allocates to them. A slot that is filled is not allocated anew."""
    for buffer in plan.buffers:
        if buffer.slot not in arrays:
            arrays[buffer.slot] = allocated(buffer)
    addresses = [0] * SLOTS
    for slot, array in arrays.items():
        addresses[slot] = address(array)
    for launch in plan.launches:
        launch.start(*addresses)
    return arrays


def allocated(buffer: Buffer) -> np.ndarray:
    """Allocate a buffer of a plan."""
    return (np.zeros if buffer.cleared else empty)(buffer.shape, buffer.dtype)


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
    if not (image.flags.aligned and image.dtype.isnative):
        every = (slice(None),) * image.ndim
        read = every if options.place else box(image.shape, image.dtype, source, kind, size, options)
        image = interop.boxed(image, read)
    source = readable(source, kind, image.dtype, options.control)
    plan = plans.forward(layout(image), layout(source), kind, size, options)
    given = {IMAGE: image, SOURCE: source, FILL: fill}
    return execute(plan, given if out is None else given | {OUT: out})[OUT]


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
    deterministic: bool = False,
) -> Bars:
    """Return the cotangents of image and source that `wrt` asks for, from that of the output; always deterministic.

    That of the image is added to `into` if there is one. For half precision images it is summed in memory of
    the arithmetic's dtype, as large as the image, and rounded once.
    """
    read = readable(source, kind, image.dtype, options.control)
    cotangent, strides = walkable(cotangent, options, wrt[1] and options.interp not in CHOOSING, planar=True)
    layouts = layout(image), contiguous(image), layout(read)
    plan = plans.backward(*layouts, kind, size, options, wrt, strides, into is not None)
    given = {COTANGENT: cotangent, IMAGE: image, SOURCE: read, FILL: fill}
    made = execute(plan, given if into is None else given | {IMAGE_BAR: into})
    image_bar = into if into is not None else rounded(made.get(IMAGE_BAR), image.dtype)
    return image_bar, source_sums(made[SOURCE_BAR], source, kind, options.control) if wrt[1] else None


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
    values: np.ndarray, grid: np.ndarray, shape: Shape, options: Options, deterministic: bool = False
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


def source_sums(source_bar: np.ndarray, source: np.ndarray, kind: int, control: bytes = b"") -> np.ndarray:
    """Return a source's cotangent from the memory that kernels added to; partial sums in their order."""
    if kind not in MAPS:
        return source_bar.reshape(source.shape)
    sums = source_bar.sum(axis=(0, 1) if len(source) == 1 else 1)
    if kind == THIN_PLATE_SPLINE:
        sums = thin_plates.pull(sums, control, source.shape[-1])
    return np.asarray(sums, source.dtype).reshape(source.shape)


def readable(source: np.ndarray, kind: int, image_dtype: np.dtype[Any], control: bytes = b"") -> np.ndarray:
    """Return a grid as it is, and the few numbers of a map contiguous, in the type of the arithmetic."""
    if kind not in MAPS:
        return source
    numbers = thin_plates.block(source, control) if kind == THIN_PLATE_SPLINE else source
    return np.ascontiguousarray(numbers, arithmetic(image_dtype, source.dtype))


def walkable(
    cotangent: np.ndarray, options: Options, pulled: bool = True, planar: bool = False
) -> tuple[np.ndarray, Shape]:
    """Return a cotangent and its (batch, channel, location) strides, copied where kernels could not walk it."""
    strides = cotangent_strides(layout(cotangent), options, pulled, cotangent.flags.c_contiguous, planar)
    if strides is None:
        return walkable(np.ascontiguousarray(cotangent), options, pulled)
    return cotangent, strides
