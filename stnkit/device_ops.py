"""Whole arrays on a GPU: allocate what a call writes, choose its kernels, and launch them, as `ops` does on a CPU.

Everything here takes `DeviceArray`s with a batch axis that the face has validated. All that is allocated is allocated
by the framework of the arrays, and all that is launched is launched on its stream.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from stnkit.device_arrays import DeviceArray
from stnkit.device_arrays import gapless as strides_of
from stnkit.device_memory import (
    added,
    aligned,
    constant,
    contiguous,
    converted,
    ones,
    product,
    run,
    scaled,
    total,
    zeros,
)
from stnkit.dtypes import arithmetic, bar_dtype
from stnkit.kernels import cuda, device
from stnkit.kernels.bins import HEAD, WORDS
from stnkit.kernels.jit import digest
from stnkit.plan import (
    Layout,
    Plan,
    Shape,
    cotangent_strides,
    grid_spec,
    layout,
    out_strides,
    plan,
    source_layout,
    three,
)
from stnkit.plan import contiguous as gapless
from stnkit.spec import AFFINE, DTYPES, GRID, NEAREST, Options, Spec

__all__ = ["added", "converted", "ones", "scaled"]  # operations that are those of whole arrays

Bars = tuple[DeviceArray | None, DeviceArray | None]

VECTOR = 16  # bytes that one thread reads or writes at once, at most
BUSY = 1 << 19  # threads that keep any GPU busy


def sample(
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Interpolate `image` at the coordinates that `source`, a grid or theta, gives for an output of `size`."""
    image, source = aligned(image), readable(source, kind, image.dtype)
    call = plan(layout(image), layout(source), kind, size, options)
    out = image.place.empty(call.out_shape, image.dtype) if out is None else out
    if out.size:
        spec = vectored(call, image, out)
        group = channels_each(call, spec)
        fills = constant(image.place, fill)
        run(
            *(image.place, cuda.sample, spec, call.batch * math.prod(call.size) * -(-call.channels // group)),
            (out.address, image.address, source.address, fills.address),
            *(call.channels, group, call.size, call.extent, out_strides(call, options), call.image, call.source),
        )
    return out


def vectored(call: Plan, *pictures: DeviceArray) -> Spec:
    """Return a call's spec for a GPU: channels that lie side by side are taken as many as fit one access."""
    spec = call.spec._replace(lanes=1, packed=False)
    if not (spec.interleaved and call.spec.packed):
        return spec
    widest = max(picture.itemsize for picture in pictures)
    lanes = VECTOR // widest
    while lanes > 1 and not all(fits(picture, call.channels, lanes) for picture in pictures):
        lanes //= 2
    return spec._replace(lanes=lanes, aligned=lanes > 1)


def grouped(call: Plan, spec: Spec) -> Spec:
    """Return a spec by which neighbouring threads share the channels of one location, where these lie side by side."""
    group, vectors = 1, call.channels // spec.lanes if spec.interleaved else 1
    while 2 * group <= min(vectors, device.WARP):
        group *= 2
    return spec._replace(group=group)


def fits(picture: DeviceArray, channels: int, lanes: int) -> bool:
    """Tell whether every `lanes` channels of a picture lie at a multiple of their size."""
    step = lanes * picture.itemsize
    others = [s for n, s in zip(picture.shape[:-1], picture.strides[:-1], strict=True) if n > 1]
    return channels % lanes == 0 and not any(s % step for s in (picture.address, *others))


def channels_each(call: Plan, spec: Spec) -> int:
    """Return how many channels a thread takes: so many that a location is staged for few threads, but all are busy."""
    if spec.interleaved:
        return spec.lanes
    points = call.batch * math.prod(call.size)
    return max(-(-call.channels * points // BUSY), min(4, call.channels), 1) if points else 1


def readable(source: DeviceArray, kind: int, image_dtype: np.dtype[Any]) -> DeviceArray:
    """Return a grid as it is, and the few numbers of theta contiguous, in the type of the arithmetic."""
    if kind != AFFINE:
        return aligned(source)
    return contiguous(converted(aligned(source), arithmetic(image_dtype, source.dtype)))


def sample_total(
    image: DeviceArray, source: DeviceArray, kind: int, size: Shape, options: Options, fill: np.ndarray, batch: int
) -> DeviceArray:
    """Return the sum of `sample` over a batch, as a batch of one, in the dtype in which cotangents are summed."""
    wide = converted(image, bar_dtype(image.dtype, source.dtype))
    return total(sample(wide, source, kind, size, options, fill))


def sample_vjp(
    cotangent: DeviceArray,
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    wrt: tuple[bool, bool],
    into: DeviceArray | None = None,
    deterministic: bool = False,
) -> Bars:
    """Return the cotangents of image and source that `wrt` asks for, from that of the output.

    That of the image is added to `into` if there is one. For half precision images it is summed in memory of the
    arithmetic's dtype, as large as the image, and rounded once.
    """
    image, read = aligned(image), readable(source, kind, image.dtype)
    cotangent, strides = walkable(cotangent, options)
    slopes = wrt[1] and options.interp != NEAREST  # the slope of nearest is 0 everywhere
    image_bar, source_bar = into, None
    if wrt[0] and into is None:
        image_bar = zeros(image.place, image.shape, bar_dtype(image.dtype, read.dtype))
    if wrt[1] and not (slopes and cotangent.size):
        source_bar = zeros(source.place, source.shape, read.dtype)
    if cotangent.size:
        both = wrt[0] and slopes and not deterministic and image.flags.c_contiguous
        if wrt[0] and not both:
            call = plan(gapless(image), layout(read), kind, size, options)
            scatter(call, image_bar, cotangent, strides, read, deterministic)
        if slopes:
            call = plan(layout(image), layout(read), kind, size, options)
            spec = grouped(call, vectored(call, image, cotangent))._replace(image_bar=both, source_bar=True)
            seat = seats(call, spec, read)
            fills = constant(image.place, fill)
            run(
                *(image.place, cuda.sample_vjp, spec, seat.items),
                (
                    *(image_bar.address if both and image_bar else 0, seat.memory.address),
                    *(cotangent.address, image.address, read.address, fills.address),
                ),
                *(call.channels, seat.repeat, seat.rows, call.size, call.extent),
                *(strides, call.image, call.source, seat.strides),
            )
            source_bar = seat.sums()
    image_bar = image_bar if into is not None or image_bar is None else converted(image_bar, image.dtype)
    return image_bar, source_bar


def scatter(
    call: Plan,
    image_bar: DeviceArray | None,
    cotangent: DeviceArray,
    strides: Shape,
    source: DeviceArray,
    deterministic: bool,
    source_dot: DeviceArray | None = None,
    order: Shape = (0, 0, 0),
) -> None:
    """Add a cotangent to an image's that has no gaps; `strides` are the cotangent's.

    Weights are those of the coordinates' tangents if there are any, or differentiated to an order on each axis.
    """
    assert image_bar is not None
    curved = any(order)
    spec = vectored(call, image_bar, cotangent)._replace(
        image_bar=True, source_dot=source_dot is not None, source_bar=curved
    )
    group = channels_each(call, spec)
    sums, factory = image_bar, cuda.scatter
    if deterministic:
        spec = spec._replace(lanes=1, aligned=False)
        group = channels_each(call, spec)
        sums, factory = bins(call, spec, image_bar, cotangent, source_dot, curved), cuda.scatter_binned
    run(
        *(image_bar.place, factory, spec, call.batch * math.prod(call.size) * -(-call.channels // group)),
        (sums.address, cotangent.address, source.address, 0 if source_dot is None else source_dot.address),
        *(call.batch, call.channels, group, call.size, call.extent, strides, call.image, call.source, order),
    )

    if deterministic:
        run(image_bar.place, cuda.from_bins, spec, image_bar.size, (image_bar.address, sums.address))


def bins(
    call: Plan,
    spec: Spec,
    image_bar: DeviceArray,
    cotangent: DeviceArray,
    source_dot: DeviceArray | None,
    curved: bool,
) -> DeviceArray:
    """Return empty bins for an image's cotangent, whose unit is small enough for the largest number they can reach.

    A weight is at most 1. One that is differentiated is at most 2 on each axis, times the tangent of the pixel's
    coordinate: a unit is at most a whole extent of pixels, and a map adds one tangent more than there are axes.
    Weights that are `curved` are differentiated twice.
    """
    place, ndim = image_bar.place, spec.ndim
    memory = zeros(place, (HEAD + WORDS * image_bar.size,), np.dtype(np.int64))
    shared = call.batch // len(image_bar)
    adds = (shared * math.prod(call.size) * spec.taps**ndim).bit_length()
    peaks = [peak(cotangent, call)]
    unit = (2 * ndim * (ndim + 1) * max(call.extent)).bit_length()
    adds += 2 * unit if curved else 0
    if source_dot is not None:
        peaks.append(peak(source_dot, call))
        adds += unit
    run(place, cuda.opened, spec, 1, (memory.address, peaks[0].address, peaks[-1].address), adds)
    return memory


def peak(array: DeviceArray, call: Plan) -> DeviceArray:
    """Return the representation of an array's largest finite number, in the type of the arithmetic."""
    array = contiguous(array)
    found = zeros(array.place, (1,), np.dtype(np.int64))
    threads = min(array.size, BUSY)
    code = DTYPES[array.dtype.name]
    spec = Spec(0, image_dtype=code, source_dtype=DTYPES[call.like.name], digest=digest())
    run(array.place, cuda.largest, spec, threads, (found.address, array.address), array.size, threads)
    return found


class Seats(NamedTuple):
    """How threads are numbered where those of a warp add up, and the memory of what they add up to."""

    source: DeviceArray
    memory: DeviceArray
    items: int
    repeat: int  # batch items that share a source's location
    rows: int  # locations of a batch item, filled up to whole warps
    strides: Shape  # of the memory: batch, location

    def sums(self) -> DeviceArray:
        """Return the source's cotangent."""
        if self.memory.shape == self.source.shape:
            return self.memory
        return theta_sums(self.memory, self.source)


def seats(call: Plan, spec: Spec, source: DeviceArray) -> Seats:
    """Return how threads are numbered, and where they write: a grid's cotangent, or warps' parts of theta's."""
    points, ndim = math.prod(call.size), spec.ndim
    rows = points + -points % device.WARP
    if spec.source == AFFINE:
        entries, parts = ndim * (ndim + 1), rows * spec.group // device.WARP
        memory = source.place.empty((call.batch, parts, entries), call.like)
        return Seats(source, memory, call.batch * rows * spec.group, 1, rows, (parts * entries, entries))
    shared = len(source)
    memory = source.place.empty(source.shape, source.dtype)
    return Seats(source, memory, shared * rows * spec.group, call.batch // shared, rows, (points * ndim, ndim))


def theta_sums(parts: DeviceArray, theta: DeviceArray) -> DeviceArray:
    """Return the cotangent of maps from the warps' parts, in theta's shape and the parts' dtype."""
    batch, rows, entries = parts.shape
    maps = len(theta)
    out = theta.place.empty(theta.shape, parts.dtype)
    if out.size:
        code = DTYPES[parts.dtype.name]
        spec = Spec(0, image_dtype=code, source_dtype=code, digest=digest())
        run(
            *(theta.place, cuda.theta_sums, spec, maps * entries * device.WARP),
            *((out.address, parts.address), batch // maps * rows, entries),
        )
    return out


def walkable(cotangent: DeviceArray, options: Options) -> tuple[DeviceArray, Shape]:
    """Return a cotangent and its (batch, channel, location) strides, copied where kernels could not walk it."""
    strides = cotangent_strides(layout(cotangent), options, False, True)
    channel = options.channels_last and cotangent.shape[-1] > 1
    if strides is None or (channel and strides[1] != 1) or not cotangent.flags.aligned:
        return walkable(product(aligned(cotangent)), options)
    return cotangent, strides


def splat(
    values: DeviceArray, grid: DeviceArray, shape: Shape, options: Options, deterministic: bool = False
) -> DeviceArray:
    """Add values to an image of `shape` at the coordinates of a grid: the adjoint of `sample` in the image."""
    grid = aligned(grid)
    image_bar = zeros(values.place, shape, bar_dtype(values.dtype, grid.dtype))
    if values.size:
        values, strides = walkable(values, options)
        call = plan(image_layout(shape, values.dtype), layout(grid), GRID, grid.shape[1:-1], options)
        scatter(call, image_bar, values, strides, grid, deterministic)
    return converted(image_bar, values.dtype)


def image_layout(shape: Shape, dtype: np.dtype[Any]) -> Layout:
    """Return the layout of an image without gaps."""
    return shape, strides_of(shape, dtype.itemsize), dtype


def grid(source: DeviceArray, kind: int, size: Shape, align: bool, pixel: bool = False) -> DeviceArray:
    """Write out the coordinates that affine maps, or a flow, give for an output of `size`."""
    source = aligned(source) if kind != AFFINE else contiguous(aligned(source))
    batch, ndim = len(source), len(size)
    out = source.place.empty((batch, *size, ndim), source.dtype)
    if out.size:
        spec = grid_spec(ndim, source.dtype, kind, align, pixel)
        full, strides = source_layout(layout(source), kind, size)
        run(source.place, cuda.grid, spec, batch * math.prod(size), (out.address, source.address), full, strides)
    return out


def grid_vjp(cotangent: DeviceArray, align: bool) -> DeviceArray:
    """Return the cotangent of affine maps from that of the grid they give."""
    batch, *size, ndim = cotangent.shape
    cotangent = contiguous(aligned(cotangent))
    theta = (batch, ndim, ndim + 1)
    if not cotangent.size:
        return zeros(cotangent.place, theta, cotangent.dtype)
    points, entries = math.prod(size), ndim * (ndim + 1)
    rows = points + -points % device.WARP
    parts = cotangent.place.empty((batch, rows // device.WARP, entries), cotangent.dtype)
    spec = grid_spec(ndim, cotangent.dtype, AFFINE, align)
    places = parts.address, cotangent.address
    run(cotangent.place, cuda.grid_vjp, spec, batch * rows, places, rows, three(tuple(size), 1))
    return theta_sums(parts, DeviceArray(0, theta, (), parts.dtype, parts.place, None))
