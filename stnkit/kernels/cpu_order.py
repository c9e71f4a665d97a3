"""Loops that differentiate in the coordinates, to any order on each axis, and their adjoints.

Sampling is a product of one weight for each axis, so any of its derivatives in the coordinates is sampling with
differentiated weights. Arrays, strides and parts are those of `cpu`. The orders are numbers of a call, in the order
x, y, z, and no choice of the spec: one machine code serves them all.
"""

import functools
from typing import Any

from numba import int64, prange

from stnkit.kernels.axis import chain, cubic
from stnkit.kernels.cpu import fill_tile, ranges, share, span, spread_tile
from stnkit.kernels.jit import View, kernel, leaf, pointer
from stnkit.kernels.lanes import lanes
from stnkit.kernels.place import drop
from stnkit.kernels.point import TILE, slot
from stnkit.kernels.tile import allocate, divide, lowest, release, stage, steepness
from stnkit.spec import BICUBIC, Spec


@functools.cache
def sample_order(spec: Spec) -> Any:
    """Build the kernel of a derivative: out[n, c, p] = (d / d u)^order of `sample`, per unit of coordinates."""

    def sample_order(
        out_at, image_at, source_at, fill_at, batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides,
        image_like, source_like, like, index_like, order,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec.serial)
        for chunk in prange(chunks):
            out = View(pointer(out_at, image_like), out_strides)
            image = View(pointer(image_at, image_like), image_strides)
            source = View(pointer(source_at, source_like), source_strides)
            fills, raws = pointer(fill_at, like), pointer(fill_at, image_like)
            many, places = lanes(like, spec), lanes(like, spec.places)
            memory = allocate(spec.serial)
            tile = divide(memory, like, index_like, spec.serial)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first, count = span(t, points)
                        stage(tile, n, first, count, source, size, extent, image_strides, like, spec.reading)
                        differentiate(tile, count, order, size, extent, like, spec.serial)
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        fill_tile(out, to, image, at, fills, raws, tile, count, cs, places, many, spec.serial)
            release(memory)

    return kernel(sample_order, spec)


@functools.cache
def splat_order(spec: Spec) -> Any:
    """Build the adjoint of `sample_order` in the image: it adds to what stands in `image_bar`."""

    def splat_order(
        image_bar_at, out_bar_at, source_at, batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, source_bar_strides,
        image_like, dot_like, image_bar_like, source_like, source_bar_like, like, index_like, order,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec.serial)
        for chunk in prange(chunks):
            image_bar = View(pointer(image_bar_at, image_bar_like), image_strides)
            out_bar = View(pointer(out_bar_at, dot_like), out_strides)
            source = View(pointer(source_at, source_like), source_strides)
            many = lanes(like, spec)
            memory = allocate(spec.serial)
            tile = divide(memory, like, index_like, spec.serial)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first, count = span(t, points)
                        stage(tile, n, first, count, source, size, extent, image_strides, like, spec.reading)
                        differentiate(tile, count, order, size, extent, like, spec.serial)
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        spread_tile(image_bar, at, out_bar, to, tile, count, cs, many, bool(0), spec.serial)
            release(memory)

    return kernel(splat_order, spec)


@leaf
def differentiate(tile, count, order, size, extent, like, spec):
    """Replace the weights of a tile by their derivatives in the coordinates, of the order of each axis.

    A pixel coordinate is piecewise linear in what gives it, so (d / d u)^k w = w^(k) (d pixel / d u)^k. A location
    that the padding does not let move, or that is not finite, has dead taps of weight 0: be the image infinite there,
    its derivative is 0.
    """
    bend(tile, int64(0), spec.padding[0], count, order[0], size, extent, like, spec)
    if spec.ndim > 1:
        bend(tile, int64(1), spec.padding[1], count, order[1], size, extent, like, spec)
    if spec.ndim > 2:
        bend(tile, int64(2), spec.padding[2], count, order[2], size, extent, like, spec)


@leaf
def bend(tile, axis, padding, count, times, size, extent, like, spec):
    """Replace the weights of one axis; which it is has to be a constant, as a GPU has no rows of registers."""
    T = type(like)
    unit = chain(extent[2 - axis], size[2 - axis], like, spec)
    if times > 0:
        for p in range(count):
            step = steepness(tile, axis, p, extent, padding, spec) * unit
            factor = T(1)
            for _ in range(times):
                factor *= step
            for tap in range(spec.taps):
                at = slot(axis * spec.taps + tap, p)
                tile.weights[at] = slope(tile, at, tap, times, spec) * factor
            drop(tile, axis, p, factor == T(0), spec)


@leaf
def slope(tile, at, tap, times, spec):
    """Return the derivative, of order `times`, of the weight of tap number `tap` that is staged at `at`, per pixel."""
    T = type(tile.weights[0])
    if spec.interp == BICUBIC:
        _, _, low = cubic(T(0))
        _, _, high = cubic(T(1))  # curves are linear: the third derivative is what they rise by
        value = tile.slopes[at] if times == 1 else tile.curves[at]
        value = high[tap] - low[tap] if times == 3 else value
        return value if times < 4 else T(0)
    return (T(1) if tap > 0 else T(-1)) if times == 1 else T(0)
