"""How a call is laid out: sizes, strides, the kernel's spec, and how the work is split into parts.

Everything here follows from layouts and options alone, so it is worked out once for a kind of call and
remembered; a repeated call only fetches addresses.
"""

import functools
import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from stnkit.dtypes import FLOAT64, blending, dot_dtype
from stnkit.kernels.compiler.digests import digest
from stnkit.plans.strides import gapless
from stnkit.spec import DTYPES, GRID, LANES, MAPS, TAPS, THIN_PLATE_SPLINE, TILE, Options, Place, Spec

Shape = tuple[int, ...]
Layout = tuple[Shape, Shape, np.dtype[Any]]  # shape, strides in bytes, dtype

PARTS = 16  # work is split at least so far, where the shapes allow it
CHUNKS = 64  # parts are handed to threads in at most so many chunks, each with scratch memory of its own
ITEMS = 8  # from so many on, whole items are parts of a backward call
BANDS = 8  # parts of an image, of which a thread takes several together
MUCH = 1 << 17  # taps; less work is not split further
LOCATION = 3  # taps, as which a location counts at least: it takes about as long to work it out
CHANNELS = 8  # of a part, about as many at least, where a forward call is split by them
BESIDE = 1 << 20  # numbers of an item, whose channels are brought side by side if it has no more
CACHE = 6 << 20  # bytes of an image or a source; to prefetch a smaller one takes longer than it saves
NARROW = 1 << 29  # planes that span fewer elements are addressed by 32-bit offsets


class Sampling(NamedTuple):
    """The sampling of an image, laid out. Sizes and strides are brought to three axes and count elements."""

    spec: Spec
    out_shape: Shape
    work: int  # taps that are read; where these are few, locations count too
    batch: int
    channels: int
    tiles: int
    size: Shape  # of the output: z y x
    extent: Shape  # of the image, of the whole one: z y x
    image: Shape  # strides: batch, channel, z, y, x
    source: Shape  # strides: batch, z, y, x, axis
    like: np.dtype[Any]  # of the arithmetic
    whole: Shape  # the size of the whole output: z y x
    place: Shape  # of tiles: as kernels take it
    prefetch: Shape  # whether image and source, of tiles the whole ones, are too large for a cache

    @property
    def sizes(self) -> Shape:
        """The output's size as kernels have it: of a tile, that of the whole, where the tile starts, and its own."""
        return (*self.whole, *self.place[:6]) if self.spec.placed else self.size

    @property
    def extents(self) -> Shape:
        """The image's size, likewise."""
        return (*self.extent, *self.place[6:]) if self.spec.placed else self.extent


class Strided(Protocol):
    """What a plan needs to know of an array, wherever it lies."""

    @property
    def shape(self) -> Shape: ...  # noqa: D102  # as NumPy has it
    @property
    def strides(self) -> Shape: ...  # noqa: D102  # as NumPy has it
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102  # as NumPy has it


def layout(array: Strided) -> Layout:
    """Return what a plan needs to know of an array."""
    return array.shape, array.strides, array.dtype


def contiguous(array: Strided) -> Layout:
    """Return the layout of an array of the same shape and dtype without gaps."""
    return array.shape, gapless(array.shape, array.dtype.itemsize), array.dtype


@functools.lru_cache(maxsize=4096)
def sampling(image: Layout, source: Layout, kind: int, size: Shape, options: Options) -> Sampling:
    """Lay out the sampling of an image at the coordinates of a source, for an output of `size`."""
    ndim = len(size)
    channels, spatial, image_strides = _image(image, options)
    full, source_strides = source_layout(source, kind, size)
    whole, place = placed(full, kind, options.place, three(spatial, 1))
    pixels, out = spatial, size
    if options.place is not None:
        pixels, out = options.place.image_size, options.place.out_size or size  # which a grid does not have
    extent = three(options.without_margin(pixels), 1)
    shared = (image[0][0], source[0][0])
    batch = max(shared) if min(shared) else 0
    points = math.prod(size)
    span = sum((n - 1) * abs(s) for n, s in zip(three(spatial, 1), image_strides[2:], strict=True))
    wide = max(span, *pixels) >= NARROW
    interleaved = options.channels_last and channels > 1
    spec = Spec(
        ndim=ndim,
        interp=options.interp,
        padding=options.padding,
        align=options.align,
        pixel=options.pixel,
        interleaved=interleaved,
        lanes=min(channels, LANES) if interleaved else LANES,
        packed=image_strides[1 if interleaved else 4] == 1,
        source=kind,
        dense=kind not in MAPS and source_strides[3:] == (ndim, 1),
        apart=kind not in MAPS and source_strides[3] == 1 < ndim,
        image_dtype=DTYPES[image[2].name],
        dot_dtype=DTYPES[dot_dtype(image[2], source[2]).name],
        source_dtype=DTYPES[source[2].name],
        fill_finite=options.fill_finite,
        wide=wide,
        placed=options.place is not None,
        around=options.place is not None and goes_around(options.place, spatial),
        digest=digest(),
    )
    return Sampling(
        spec=spec,
        out_shape=(batch, *size, channels) if options.channels_last else (batch, channels, *size),
        work=batch * channels * points * max(TAPS[options.interp] ** ndim, LOCATION),
        batch=batch,
        channels=channels,
        tiles=tiles(points),
        size=full,
        extent=extent,
        image=image_strides,
        source=source_strides,
        like=blending(image[2], source[2] if options.place is None else FLOAT64, options.interp),
        whole=whole,
        place=place,
        prefetch=(
            int(_bytes(image, spatial, pixels) > CACHE),
            int(kind not in MAPS and _bytes(source, size, out) > CACHE),
        ),
    )


def _bytes(array: Layout, size: Shape, whole: Shape) -> int:
    """Return how many bytes an array has; if it is a tile, of `size`, those of the whole, as no cache holds a tile."""
    shape, _, dtype = array
    return math.prod(shape) * dtype.itemsize * math.prod(whole) // (math.prod(size) or 1)


def goes_around(place: Place, spatial: Shape) -> bool:
    """Tell whether an image's tile goes on from the last pixel of an axis to the first."""
    return any(a + m > n for a, m, n in zip(place.image_start, spatial, place.image_size, strict=True))


def placed(size: Shape, kind: int, place: Place | None, image: Shape = (1, 1, 1)) -> tuple[Shape, Shape]:
    """Return the size of the whole output, and where tiles lie, as kernels take it; a grid has all locations itself."""
    if place is None:
        return size, (0,) * 12
    if kind == GRID:
        return size, (0, 0, 0, *size, *three(place.image_start, 0), *image)
    return three(place.out_size, 1), (*three(place.out_start, 0), *size, *three(place.image_start, 0), *image)


def _image(image: Layout, options: Options) -> tuple[int, Shape, Shape]:
    """Return an image's channels, spatial size and strides; a batch of one is shared by all items.

    The stride of an axis of one pixel is 0, so that the next pixel is the same; that of one channel is a plane.
    """
    shape, strides, dtype = image
    n, *steps = (s // dtype.itemsize for s in strides)
    if options.channels_last:
        shape, steps = (shape[0], shape[-1], *shape[1:-1]), [steps[-1], *steps[:-1]]
    batch = 0 if shape[0] == 1 else n
    channel = math.prod(shape[2:]) if shape[1] == 1 else steps[0]
    spatial = tuple(0 if many == 1 else step for many, step in zip(shape[2:], steps[1:], strict=True))
    return shape[1], shape[2:], (batch, channel, *three(spatial, 0))


def source_layout(source: Layout, kind: int, size: Shape) -> tuple[Shape, Shape]:
    """Return the output's size and the source's strides; a grid without gaps is walked as one long row.

    A map has a stride along the batch alone. In place of its last, that of a thin plate spline tells how many control
    points it has.
    """
    shape, strides, dtype = source
    n, *steps = (s // dtype.itemsize for s in strides)
    batch = 0 if shape[0] == 1 else n
    if kind in MAPS:
        ndim = len(size)
        many = (shape[1] - ndim * (ndim + 1)) // (2 * ndim) if kind == THIN_PLATE_SPLINE else 0
        return three(size, 1), (batch, 0, 0, 0, many)
    step = collapse(shape[1:-1], tuple(steps[:-1])) if kind == GRID else None
    if step is None:
        return three(size, 1), (batch, *three(tuple(steps[:-1]), 0), steps[-1])
    return (1, 1, math.prod(size)), (batch, 0, 0, step, steps[-1])


def out_strides(call: Sampling, options: Options) -> Shape:
    """Return the (batch, channel, location) strides of an output as it is allocated."""
    points = math.prod(call.size)
    if options.channels_last:
        return call.channels * points, 1, call.channels
    return call.channels * points, points, 1


def grid_spec(
    ndim: int, dtype: np.dtype[Any], kind: int, align: bool, pixel: bool = False, placed: bool = False
) -> Spec:
    """Return the spec of the kernels that write coordinates out, and of their derivative."""
    code = DTYPES[dtype.name]
    return Spec(
        ndim,
        align=align,
        pixel=pixel,
        source=kind,
        image_dtype=code,
        source_dtype=code,
        placed=placed,
        digest=digest(),
    )


def forward_parts(call: Sampling) -> Shape:
    """Split a forward call by batch item and tile; by channels too, where these are few and work is much."""
    items = call.batch * call.tiles
    if items >= PARTS or call.work < MUCH:
        return call.batch, 1, call.tiles
    return call.batch, min(-(-call.channels // CHANNELS), -(-PARTS // items)), call.tiles


def is_beside(call: Sampling) -> bool:
    """Tell whether the channels of an image's cotangent are brought side by side while it is summed.

    There are enough of them to fill lanes, and an item's sums fit a cache.
    """
    planes = call.spec.paired and not (call.spec.interleaved or call.spec.margined or call.spec.placed)
    return planes and call.channels >= LANES and call.channels * math.prod(call.extent) <= BESIDE


def is_banded(call: Sampling) -> bool:
    """Tell whether parts of a backward call have bands of an image, which is not shared, to add to.

    Items alone are too few parts, and so are channels; coordinates cost so little that parts may stage them again.
    """
    few, rows = call.batch < ITEMS and call.channels < LANES, call.extent[3 - call.spec.ndim]
    cheap = call.spec.paired and not (call.spec.margined or call.spec.placed) and call.spec.source != THIN_PLATE_SPLINE
    return few and cheap and call.spec.ndim > 1 and rows >= 4 * BANDS and call.work >= MUCH


def backward_parts(call: Sampling, images: int, sources: int, wrt: tuple[bool, bool], beside: bool = False) -> Shape:
    """Split a backward call so that no two parts add to the same memory.

    `images` and `sources` are the batch sizes of the two arrays; what several items share, one part owns. Channels may
    be brought side by side (`beside`).
    """
    if wrt == (True, True):
        return call.batch, 1, 1
    if wrt[0]:
        owners = 1 if images == 1 else call.batch
        return owners, max(1, min(_shares(call, owners, beside), -(-PARTS // owners))), 1
    shared = not call.spec.mapped and sources == 1
    return 1 if shared else call.batch, 1, call.tiles


def _shares(call: Sampling, owners: int, beside: bool) -> int:
    """Return in how many shares the channels of an image's cotangent may be split.

    Each share stages all locations once more. So it has channels for that to pay, and all that fit the lanes; unless
    there are too few parts for a handful of threads.
    """
    channels, interleaved = call.channels, call.spec.interleaved or beside
    each, few = (LANES, 4 if owners == 1 else 1) if interleaved else (3, 12 // owners)
    return max(-(-channels // each), min(channels, few))


def tiles(points: int) -> int:
    """Return how many tiles hold `points` output locations."""
    return -(-points // TILE)


def cotangent_strides(
    cotangent: Layout, options: Options, pulled: bool, whole: bool, planar: bool = False
) -> Shape | None:
    """Return a cotangent's strides: batch, channel, location; None if kernels could not walk it.

    They read neighbouring channels in lanes, and neighbouring locations too where a source's cotangent is `pulled`.
    What has no gaps, and is `whole`, can always be walked; so can channels that are planes, if they may be `planar`.
    """
    shape, strides, dtype = cotangent
    if 0 in shape:
        return 0, 0, 0
    spatial, channel = (slice(1, -1), -1) if options.channels_last else (slice(2, None), 1)
    steps = tuple(s // dtype.itemsize for s in strides)
    step = collapse(shape[spatial], steps[spatial])
    in_lanes = options.channels_last and shape[channel] > 1
    inner = steps[channel] if in_lanes else (step if pulled else 1)
    if step is None or not (inner == 1 or whole or (planar and in_lanes and step == 1)):
        return None
    return steps[0], steps[channel], step


def collapse(shape: Shape, strides: Shape) -> int | None:
    """Return the one stride that walks several axes in order, or None if there is none."""
    step, expected = 0, None
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n == 1:
            continue
        if expected is None:
            step = stride
        elif stride != expected:
            return None
        expected = stride * n
    return step


def three(axes: Shape, value: int) -> Shape:
    """Prepend axes to make three: a 2-D image is a 3-D image one pixel deep."""
    return (value,) * (3 - len(axes)) + tuple(axes)
