"""Plans: what a call allocates, and which kernels it runs, on a CPU.

A plan follows from layouts and options alone, so it is remembered. NumPy's arrays, torch's and XLA's are sampled by the
same plans: an executor allocates the buffers, puts the addresses of all arrays into their slots, and runs the launches.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stnkit.dtypes import FLOAT64, bar_dtype
from stnkit.kernels.cpu import factories, threads
from stnkit.kernels.cpu.call import IMAGE_BAR, OUT, SOURCE_BAR, Arguments
from stnkit.kernels.cpu.factories import Factory, Kernel
from stnkit.plans.layout import (
    BANDS,
    CHUNKS,
    ITEMS,
    Layout,
    Sampling,
    Shape,
    backward_parts,
    forward_parts,
    grid_spec,
    is_banded,
    is_beside,
    out_strides,
    placed,
    sampling,
    source_layout,
    three,
    tiles,
)
from stnkit.spec import AFFINE, CHOOSING, MAPS, Options, Place, Spec

LITTLE = 1 << 13  # numbers of an output: for fewer, threads would not pay


class Buffer(NamedTuple):
    """An array that a call allocates."""

    slot: int
    shape: Shape
    dtype: np.dtype[Any]
    cleared: bool = False  # before kernels add to it, or write a part of it


@dataclass(frozen=True, eq=False)
class Launch:
    """One run of a kernel."""

    factory: Factory
    spec: Spec
    work: int  # taps that are read
    call: Arguments
    writes: tuple[int, ...]  # slots

    @property
    def threaded(self) -> bool:
        """Whether it may run on more than one thread."""
        return not threads.is_small(self.call, self.work)

    @functools.cached_property
    def kernel(self) -> Kernel:
        """The kernel."""
        return self.factory(self.spec)

    @functools.cached_property
    def start(self) -> threads.Run:
        """What runs it: it takes the addresses of arrays, one for each slot."""
        return threads.launch(self.kernel, self.call, self.work)

    @functools.cached_property
    def serial(self) -> tuple[threads.Run, Any]:
        """What runs it on one thread without more ado, and what has to live as long."""
        return threads.serial(self.kernel, self.call, self.work)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a call allocates, and what it runs."""

    buffers: tuple[Buffer, ...]
    launches: tuple[Launch, ...]


@functools.lru_cache(maxsize=4096)
def forward(image: Layout, source: Layout, kind: int, size: Shape, options: Options) -> Plan:
    """Plan the sampling of an image."""
    call = sampling(image, source, kind, size, options)
    launch = Launch(factories.SAMPLE, call.spec, call.work, forward_call(call, options), (OUT,))
    return planned((Buffer(OUT, call.out_shape, image[2]),), launch)


@functools.lru_cache(maxsize=4096)
def backward(
    image: Layout,
    gapless: Layout,
    source: Layout,
    kind: int,
    size: Shape,
    options: Options,
    wrt: tuple[bool, bool],
    cotangent: Shape,
    adding: bool,
) -> Plan:
    """Plan the cotangents of image and source that `wrt` asks for.

    `gapless` is the image's layout if it had no gaps, which its cotangent has: a launch that writes that walks it.
    `cotangent` has the strides of the output's cotangent. If `adding`, the image's is added to what a buffer holds.
    """
    buffers = []
    whole = sampling(gapless, source, kind, size, options)
    images, sources = image[0][0], source[0][0]
    # The slope of nearest is 0 everywhere: its source's cotangent is done as it stands.
    slopes = (wrt[0], wrt[1] and options.interp not in CHOOSING)
    fresh = (
        slopes[0] and whole.work > 0 and not (adding or whole.spec.margined or whole.spec.placed),
        slopes[1] and whole.work > 0 and sources == whole.batch and not whole.spec.mapped,
    )
    beside = fresh[0] and cotangent[2] == 1 and is_beside(whole)
    if wrt[0]:
        buffers.append(Buffer(IMAGE_BAR, image[0], bar_dtype(image[2], source[2]), cleared=not fresh[0]))
    if wrt[1]:
        buffers.append(source_bar(images, source, kind, size)._replace(cleared=not fresh[1]))
    outputs = math.prod(whole.out_shape)
    launches = []
    planar = whole.spec.interleaved and cotangent[1] != 1
    banded = slopes[0] and image == gapless and images == sources and not planar and is_banded(whole)
    for asked in _passes(slopes, image == gapless, images, sources, outputs, banded) if outputs else ():
        call = whole if asked[0] else sampling(image, source, kind, size, options)
        parts = (call.batch, 1, BANDS) if banded else backward_parts(call, images, sources, asked, beside)
        spec = call.spec._replace(image_bar=asked[0], source_bar=asked[1], planar=planar, beside=beside and asked[0])
        words = backward_call(call, parts, cotangent, buffers[-1] if asked[1] else None)
        words = words._replace(fresh=tuple(map(int, fresh)))
        writes = (IMAGE_BAR,) * asked[0] + (SOURCE_BAR,) * asked[1]
        factory = factories.SAMPLE_VJP_BANDED if banded else factories.SAMPLE_VJP
        launches.append(Launch(factory, spec, call.work * sum(asked), words, writes))
    return planned(tuple(buffers), *launches)


@functools.lru_cache(maxsize=4096)
def grid(source: Layout, kind: int, size: Shape, align: bool, pixel: bool, place: Place | None = None) -> Plan:
    """Plan the writing of a source's coordinates as a grid."""
    out = Buffer(OUT, (source[0][0], *size, len(size)), source[2])
    spec = grid_spec(len(size), source[2], kind, align, pixel, place is not None)
    words = grid_call(source, kind, size, source[0][0] * math.prod(size[:-1]), place)
    return planned((out,), Launch(factories.GRID, spec, math.prod(out.shape), words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def affine_grid_vjp(batch: int, size: Shape, dtype: np.dtype[Any], align: bool, place: Place | None = None) -> Plan:
    """Plan the cotangent of affine maps from that of their grids, without gaps."""
    ndim = len(size)
    theta = (batch, ndim, ndim + 1), (ndim * (ndim + 1) * dtype.itemsize, 0, 0), dtype
    bars = source_bar(batch, theta, AFFINE, size)
    words = grid_call(theta, AFFINE, size, batch * tiles(math.prod(size)), place)
    spec = grid_spec(ndim, dtype, AFFINE, align, placed=place is not None)
    return planned((bars,), Launch(factories.GRID_VJP, spec, batch * math.prod(size) * ndim, words, (SOURCE_BAR,)))


def source_bar(images: int, source: Layout, kind: int, size: Shape) -> Buffer:
    """Return what a source's cotangent is added to: the grid's own, or a map's tile by tile.

    `images` is a batch size, and `source` the layout of what kernels read.
    """
    points, sources = math.prod(size), source[0][0]
    if kind not in MAPS:
        return Buffer(SOURCE_BAR, (sources, points, len(size)), source[2], cleared=True)
    batch = max(images, sources) if images and sources else 0
    return Buffer(SOURCE_BAR, (batch, tiles(points), math.prod(source[0][1:])), FLOAT64, cleared=True)


def planned(buffers: tuple[Buffer, ...], *launches: Launch) -> Plan:
    """Make a plan of launches, without those that have nothing to do."""
    return Plan(buffers, tuple(launch for launch in launches if launch.work))


def forward_call(call: Sampling, options: Options) -> Arguments:
    """Return what a forward kernel takes after addresses, for an output without gaps."""
    return _tiled_call(call, forward_parts(call))._replace(out=out_strides(call, options))


def backward_call(call: Sampling, parts: Shape, cotangent: Shape, bars: Buffer | None) -> Arguments:
    """Return what a backward kernel takes after addresses; `bars` is what the source's cotangent is added to."""
    batch, rows, width = (1, 0, 0) if bars is None else bars.shape
    strides = (0 if batch == 1 else rows * width, width)
    return _tiled_call(call, parts)._replace(cotangent=cotangent, source_bar=strides)


def _tiled_call(call: Sampling, parts: Shape) -> Arguments:
    chunks = min(math.prod(parts), CHUNKS)
    words = Arguments(call.batch, call.channels, parts, chunks, call.whole, call.extent, call.image, call.source)
    return words._replace(place=call.place, prefetch=call.prefetch)


def grid_call(source: Layout, kind: int, size: Shape, items: int, place: Place | None = None) -> Arguments:
    """Return what a kernel takes that writes or reads grids: `items` is what threads take in chunks."""
    strides = source_layout(source, kind, size)[1]
    whole, where = placed(three(size, 1), kind, place)
    return Arguments(batch=source[0][0], chunks=min(items, CHUNKS), size=whole, source=strides, place=where)


def _passes(
    wrt: tuple[bool, bool], alike: bool, images: int, sources: int, outputs: int, banded: bool
) -> list[tuple[bool, bool]]:
    """Decide which passes give the cotangents asked for; `images` and `sources` are batch sizes.

    One pass serves both, with whole batch items as parts, or with bands of them (`banded`), if the image's cotangent is
    laid out as the image is (`alike`) and nothing is shared. It stages every tile once, but a small batch leaves
    threads idle where there is work for them; `outputs` is how many numbers the output has.
    """
    if not all(wrt):
        return [wrt] if any(wrt) else []
    if banded or (alike and images == sources and (images >= ITEMS or outputs < LITTLE)):
        return [(True, True)]
    return [(True, False), (False, True)]
