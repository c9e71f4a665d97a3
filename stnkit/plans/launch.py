"""Plans: what a call allocates, and which kernels it runs, on a CPU.

A plan follows from layouts and options alone, so it is remembered. NumPy's arrays, torch's and XLA's are sampled by the
same plans: an executor allocates the buffers, puts the addresses of all arrays into their slots, and runs the launches.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stnkit.dtypes import FLOAT64, bar_dtype, dot_dtype
from stnkit.kernels import cpu, cpu_maps, cpu_order, cpu_tangent, threads
from stnkit.kernels.call import IMAGE_BAR, OUT, OUT_DOT, SOURCE_BAR, Call
from stnkit.kernels.jit import Kernel
from stnkit.plans.layout import (
    CHUNKS,
    Layout,
    Sampling,
    Shape,
    backward_parts,
    forward_parts,
    grid_spec,
    out_strides,
    sampling,
    source_layout,
    three,
    tiles,
)
from stnkit.spec import AFFINE, MAPS, NEAREST, PROJECTIVE, THIN_PLATE_SPLINE, Options, Spec

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

    factory: Callable[[Spec], Kernel]
    spec: Spec
    work: int  # taps that are read
    call: Call
    writes: tuple[int, ...]  # slots

    @property
    def threaded(self) -> bool:
        """Whether it may run on more than one thread."""
        return self.work >= threads.SMALL and self.call.chunks > 1

    @functools.cached_property
    def start(self) -> threads.Launch:
        """What runs it: it takes the addresses of arrays, one for each slot."""
        return threads.launch(self.factory(self.spec), self.call, self.work)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a call allocates, and what it runs."""

    buffers: tuple[Buffer, ...]
    launches: tuple[Launch, ...]


@functools.lru_cache(maxsize=4096)
def forward(image: Layout, source: Layout, kind: int, size: Shape, options: Options) -> Plan:
    """Plan the sampling of an image."""
    call = sampling(image, source, kind, size, options)
    launch = Launch(cpu.sample, call.spec, call.work, _forward_call(call, options), (OUT,))
    return _plan((Buffer(OUT, call.out_shape, image[2]),), launch)


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
) -> Plan:
    """Plan the cotangents of image and source that `wrt` asks for.

    `gapless` is the image's layout if it had no gaps, which its cotangent has: a launch that writes that walks it.
    `cotangent` has the strides of the output's cotangent.
    """
    buffers = []
    if wrt[0]:
        buffers.append(Buffer(IMAGE_BAR, image[0], bar_dtype(image[2], source[2]), cleared=True))
    if wrt[1]:
        buffers.append(source_bar(image[0][0], source, kind, size))
    # The slope of nearest is 0 everywhere: its source's cotangent is done as it stands.
    slopes = (wrt[0], wrt[1] and options.interp != NEAREST)
    images, sources = image[0][0], source[0][0]
    outputs = math.prod(sampling(image, source, kind, size, options).out_shape)
    launches = []
    for asked in _passes(slopes, image == gapless, images, sources, outputs):
        call = sampling(gapless if asked[0] else image, source, kind, size, options)
        parts = backward_parts(call, images, sources, asked)
        spec = call.spec._replace(image_bar=asked[0], source_bar=asked[1])
        words = _backward_call(call, parts, cotangent, buffers[-1] if asked[1] else None)
        writes = (IMAGE_BAR,) * asked[0] + (SOURCE_BAR,) * asked[1]
        launches.append(Launch(cpu.sample_vjp, spec, call.work * sum(asked), words, writes))
    return _plan(tuple(buffers), *launches)


@functools.lru_cache(maxsize=4096)
def jvp(
    image: Layout, source: Layout, kind: int, size: Shape, options: Options, image_dot: bool, source_dot: bool
) -> Plan:
    """Plan the sampling of an image, and its tangent along those that are given; arrays lie as their tangents do."""
    call = sampling(image, source, kind, size, options)
    spec = call.spec._replace(image_dot=image_dot, source_dot=source_dot)
    launch = Launch(cpu_tangent.sample_jvp, spec, 2 * call.work, _forward_call(call, options), (OUT, OUT_DOT))
    dot = Buffer(OUT_DOT, call.out_shape, dot_dtype(image[2], source[2]))
    return _plan((Buffer(OUT, call.out_shape, image[2]), dot), launch)


@functools.lru_cache(maxsize=4096)
def double_vjp(
    image: Layout,
    gapless: Layout,
    source: Layout,
    kind: int,
    size: Shape,
    options: Options,
    dots: tuple[bool, bool],
    cotangent: Shape,
) -> Plan:
    """Plan the derivative of a vjp: the cotangents of the output's cotangent, the image and the source.

    `dots` tells whether cotangents of those of image and source are given. `cotangent` has the strides of the output's
    cotangent.
    """
    first = sampling(image, source, kind, size, options)
    bars = source_bar(image[0][0], source, kind, size)
    buffers = (
        Buffer(OUT, first.out_shape, dot_dtype(image[2], source[2]), cleared=True),
        Buffer(IMAGE_BAR, image[0], bar_dtype(image[2], source[2]), cleared=True),
        bars,
    )
    images, sources = image[0][0], source[0][0]
    slopes = options.interp != NEAREST
    bent = slopes and dots[1]  # whether the image has a cotangent
    if not any(dots):
        passes = []
    elif image == gapless and min(images, sources) >= 8:
        passes = [(True, bent, slopes)]
    else:
        passes = [(True, False, slopes), (False, bent, False)]
    launches = []
    for out_too, image_too, source_too in passes:
        if not (out_too or image_too):
            continue
        call = sampling(gapless if image_too else image, source, kind, size, options)
        parts = backward_parts(call, images, sources, (image_too, source_too or out_too))
        spec = call.spec._replace(
            image_dot=dots[0], source_dot=dots[1], image_bar=image_too, source_bar=source_too, out_bar=out_too
        )
        words = _backward_call(call, parts, cotangent, bars)._replace(out=out_strides(call, options))
        writes = (OUT,) * out_too + (IMAGE_BAR,) * image_too + (SOURCE_BAR,) * source_too
        launches.append(Launch(cpu_tangent.sample_double_vjp, spec, 3 * call.work, words, writes))
    return _plan(buffers, *launches)


@functools.lru_cache(maxsize=4096)
def gradient(image: Layout, source: Layout, kind: int, size: Shape, options: Options) -> Plan:
    """Plan the derivatives of a sampled image with respect to its coordinates, one for each axis."""
    call = sampling(image, source, kind, size, options)
    out = Buffer(OUT, (*call.out_shape, len(size)), dot_dtype(image[2], source[2]), cleared=True)
    if options.interp == NEAREST:
        return Plan((out,), ())
    spec, words = call.spec._replace(source_bar=True), _forward_call(call, options)
    return _plan((out,), Launch(cpu_tangent.sample_gradient, spec, 2 * call.work, words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def derivative(image: Layout, source: Layout, kind: int, size: Shape, options: Options, order: Shape) -> Plan:
    """Plan a derivative of a sampled image in its coordinates, of an order, which is not 0, for each of x, y, z."""
    call = sampling(image, source, kind, size, options)
    spec, words = call.spec._replace(source_bar=True), _forward_call(call, options)._replace(order=xyz(order))
    out = Buffer(OUT, call.out_shape, image[2])
    return _plan((out,), Launch(cpu_order.sample_order, spec, call.work, words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def splat(
    image: Layout, source: Layout, kind: int, size: Shape, options: Options, cotangent: Shape, order: Shape
) -> Plan:
    """Plan the adjoint, in the image, of a derivative in the coordinates; that of order 0 is sampling itself.

    `image` is the layout of an image without gaps, in the dtype of the values that are added to it, and `cotangent` has
    the strides of these.
    """
    call = sampling(image, source, kind, size, options)
    parts = backward_parts(call, image[0][0], source[0][0], (True, False))
    words = _backward_call(call, parts, cotangent, None)._replace(order=xyz(order))
    factory, spec = cpu.sample_vjp, call.spec._replace(image_bar=True)
    if any(order):
        factory, spec = cpu_order.splat_order, call.spec._replace(source_bar=True)
    bar = Buffer(IMAGE_BAR, image[0], bar_dtype(image[2], source[2]), cleared=True)
    return _plan((bar,), Launch(factory, spec, call.work, words, (IMAGE_BAR,)))


@functools.lru_cache(maxsize=4096)
def grid(source: Layout, kind: int, size: Shape, align: bool, pixel: bool) -> Plan:
    """Plan the writing of a source's coordinates as a grid; `source` is the layout of what kernels read."""
    ndim, batch, dtype = len(size), source[0][0], source[2]
    spec = grid_spec(ndim, dtype, kind, align, pixel)
    out = Buffer(OUT, (batch, *size, ndim), dtype)
    plate = kind == THIN_PLATE_SPLINE
    chunks = tiles(math.prod(size)) if plate else math.prod(size[:-1])
    words = _grid_call(source, kind, size, batch * chunks)
    factory = cpu_maps.plate_grid if plate else cpu.grid
    return _plan((out,), Launch(factory, spec, math.prod(out.shape), words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def affine_grid_vjp(batch: int, size: Shape, dtype: np.dtype[Any], align: bool) -> Plan:
    """Plan the cotangent of affine maps from that of their grids, without gaps."""
    ndim = len(size)
    theta = (batch, ndim, ndim + 1), (ndim * (ndim + 1) * dtype.itemsize, 0, 0), dtype
    bars = source_bar(batch, theta, AFFINE, size)
    words = _grid_call(theta, AFFINE, size, batch * tiles(math.prod(size)))
    spec = grid_spec(ndim, dtype, AFFINE, align)
    return _plan((bars,), Launch(cpu.grid_vjp, spec, batch * math.prod(size) * ndim, words, (SOURCE_BAR,)))


@functools.lru_cache(maxsize=4096)
def map_grid_vjp(source: Layout, kind: int, size: Shape, align: bool) -> Plan:
    """Plan the cotangent of maps from that of their grids, without gaps; `source` is of what kernels read."""
    batch, ndim = source[0][0], len(size)
    bars = source_bar(batch, source, kind, size)
    spec = grid_spec(ndim, source[2], kind, align)._replace(source_bar=True)
    words = _grid_call(source, kind, size, batch * tiles(math.prod(size)))._replace(source_bar=(0, bars.shape[-1]))
    return _plan((bars,), Launch(cpu_maps.map_grid_vjp, spec, batch * math.prod(size) * ndim, words, (SOURCE_BAR,)))


@functools.lru_cache(maxsize=4096)
def projective_grid_jvp(theta: Layout, size: Shape, align: bool) -> Plan:
    """Plan the tangent of the grid that projective maps give."""
    batch, ndim = theta[0][0], len(size)
    out = Buffer(OUT_DOT, (batch, *size, ndim), theta[2])
    words = _grid_call(theta, PROJECTIVE, size, batch * math.prod(size))
    spec = grid_spec(ndim, theta[2], PROJECTIVE, align)
    return _plan((out,), Launch(cpu_maps.map_grid_jvp, spec, math.prod(out.shape), words, (OUT_DOT,)))


def source_bar(images: int, source: Layout, kind: int, size: Shape) -> Buffer:
    """Return what a source's cotangent is added to: the grid's own, or a map's tile by tile.

    `images` is a batch size, and `source` the layout of what kernels read.
    """
    points, sources = math.prod(size), source[0][0]
    if kind not in MAPS:
        return Buffer(SOURCE_BAR, (sources, points, len(size)), source[2], cleared=True)
    batch = max(images, sources) if images and sources else 0
    return Buffer(SOURCE_BAR, (batch, tiles(points), math.prod(source[0][1:])), FLOAT64, cleared=True)


def xyz(order: Shape) -> Shape:
    """Return an order on three axes."""
    return (*order, 0, 0)[:3]


def _plan(buffers: tuple[Buffer, ...], *launches: Launch) -> Plan:
    """Make a plan of launches, without those that have nothing to do."""
    return Plan(buffers, tuple(launch for launch in launches if launch.work))


def _forward_call(call: Sampling, options: Options) -> Call:
    """Return what a forward kernel takes after addresses, for an output without gaps."""
    return _tiled_call(call, forward_parts(call))._replace(out=out_strides(call, options))


def _backward_call(call: Sampling, parts: Shape, cotangent: Shape, bars: Buffer | None) -> Call:
    """Return what a backward kernel takes after addresses; `bars` is what the source's cotangent is added to."""
    batch, rows, width = (1, 0, 0) if bars is None else bars.shape
    strides = (0 if batch == 1 else rows * width, width)
    return _tiled_call(call, parts)._replace(cotangent=cotangent, source_bar=strides)


def _tiled_call(call: Sampling, parts: Shape) -> Call:
    chunks = min(math.prod(parts), CHUNKS)
    return Call(call.batch, call.channels, parts, chunks, call.size, call.extent, call.image, call.source)


def _grid_call(source: Layout, kind: int, size: Shape, items: int) -> Call:
    """Return what a kernel takes that writes or reads grids: `items` is what threads take in chunks."""
    strides = source_layout(source, kind, size)[1]
    return Call(batch=source[0][0], chunks=min(items, CHUNKS), size=three(size, 1), source=strides)


def _passes(wrt: tuple[bool, bool], alike: bool, images: int, sources: int, outputs: int) -> list[tuple[bool, bool]]:
    """Decide which passes give the cotangents asked for; `images` and `sources` are batch sizes.

    One pass serves both, with whole batch items as parts, if the image's cotangent is laid out as the image
    is (`alike`) and nothing is shared. It stages every tile once, but a small batch leaves threads idle where there
    is work for them; `outputs` is how many numbers the output has.
    """
    if not all(wrt):
        return [wrt] if any(wrt) else []
    if alike and images == sources and (images >= 8 or outputs < LITTLE):
        return [(True, True)]
    return [(True, False), (False, True)]
