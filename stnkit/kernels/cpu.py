"""Loops over batch items, channels and tiles on CPU threads: one factory for each operation.

The work of a call is split into parts along three axes (batch, channels, tiles of output locations). How
many parts is decided by the shapes alone, each part writes memory of its own, in a fixed order, and threads
take whole parts: so results are the same, bit for bit, on any number of threads.

Arrays come as addresses with strides in elements: an image's are (batch, channel, z, y, x), an output's
(batch, channel, location), a grid's (batch, z, y, x, axis). The `_like` arguments are zeros that carry a type.
"""

import functools
from typing import Any

from numba import int64, prange

from stnkit.kernels.jit import kernel, leaf, pointer
from stnkit.kernels.point import TILE, blend, slot, spread
from stnkit.kernels.sources import coordinate
from stnkit.kernels.tile import allocate, finish_bars, lowest, put_bars, stage, sum_bars
from stnkit.spec import AFFINE, Spec


@leaf
def share(total, part, parts):
    """Return the half-open range that is part number `part` of `parts` of `total` things."""
    return part * total // parts, (part + 1) * total // parts


@leaf
def ranges(item, parts, batch, channels, tiles):
    """Return the batch items, channels and tiles of work item `item`."""
    _, groups, spans = parts
    n = share(batch, item // (groups * spans), parts[0])
    c = share(channels, item // spans % groups, groups)
    return n, c, share(tiles, item % spans, spans)


@functools.cache
def sample(spec: Spec) -> Any:
    """Build the forward kernel: out[n, c, p] = image[n, c] interpolated at the coordinates of p."""

    def sample(
        out, image, source, fill, batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, image_like, source_like, like, index_like,
    ):  # fmt: skip
        outs, images = pointer(out, image_like), pointer(image, image_like)
        sources, fills = pointer(source, source_like), pointer(fill, like)
        points = size[0] * size[1] * size[2]
        plane = lowest(image_strides, extent, spec)
        items = parts[0] * parts[1] * parts[2]
        for chunk in prange(chunks):
            tile = allocate(like, index_like, spec)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first = t * TILE
                        count = TILE if TILE < points - first else points - first
                        clean = stage(
                            tile, first, count, sources, n * source_strides[0], source_strides,
                            size, extent, image_strides, like, spec,
                        )  # fmt: skip
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        if clean:
                            fill_tile(
                                outs, to, images, at, fills, tile, count, cs,
                                out_strides, image_strides, bool(1), spec,
                            )  # fmt: skip
                        else:
                            fill_tile(
                                outs, to, images, at, fills, tile, count, cs,
                                out_strides, image_strides, bool(0), spec,
                            )  # fmt: skip

    return kernel(sample, spec)


@leaf
def fill_tile(out, to, image, at, fills, tile, count, cs, out_strides, image_strides, clean, spec):
    """Interpolate the channels `cs` of one tile; the innermost loop runs along neighbours in memory."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    for a in range(outer):
        for b in range(inner):
            p, c = (a, b) if spec.interleaved else (b, a)
            c += cs[0]
            where = to + (p * out_strides[2] + c if spec.interleaved else c * out_strides[1] + p)
            value, _, _, _ = blend(image, at + c * image_strides[1], fills[c], tile, p, clean, spec)
            out[where] = value


@functools.cache
def sample_vjp(spec: Spec) -> Any:
    """Build the backward kernel of `sample`: cotangents of the image and of the source, as the spec asks.

    Both are added to what stands in `image_bar` and `source_bar`, so a batch item that several share
    receives the sum. `image_strides` describe the image and its cotangent alike.
    """

    def sample_vjp(
        image_bar, source_bar, cotangent, image, source, fill, batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, bar_strides,
        image_like, source_like, bar_like, like, index_like,
    ):  # fmt: skip
        image_bars, source_bars = pointer(image_bar, image_like), pointer(source_bar, bar_like)
        outs, images = pointer(cotangent, image_like), pointer(image, image_like)
        sources, fills = pointer(source, source_like), pointer(fill, like)
        points = size[0] * size[1] * size[2]
        plane = lowest(image_strides, extent, spec)
        items = parts[0] * parts[1] * parts[2]
        for chunk in prange(chunks):
            tile = allocate(like, index_like, spec)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first = t * TILE
                        count = TILE if TILE < points - first else points - first
                        clean = stage(
                            tile, first, count, sources, n * source_strides[0], source_strides,
                            size, extent, image_strides, like, spec,
                        )  # fmt: skip
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        if spec.image_bar:
                            spread_tile(
                                image_bars, at, outs, to, tile, count, cs, out_strides, image_strides, clean, spec
                            )
                        if spec.source_bar:
                            pull_tile(
                                images, at, fills, outs, to, tile, count, cs, out_strides, image_strides, clean, spec
                            )
                            finish_bars(tile, count, extent, like, spec)
                            to = n * bar_strides[0]
                            if spec.source == AFFINE:
                                to += t * bar_strides[1]
                                sum_bars(source_bars, to, tile.bars, 0, TILE, 1, first, count, size, like, spec)
                            else:
                                put_bars(source_bars, to + first * bar_strides[1], tile, count, spec)

    return kernel(sample_vjp, spec)


@leaf
def spread_tile(image_bar, at, cotangent, to, tile, count, cs, out_strides, image_strides, clean, spec):
    """Add the cotangents of one tile to the image: the adjoint of `fill_tile`."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    T = type(tile.weights[0])
    for a in range(outer):
        for b in range(inner):
            p, c = (a, b) if spec.interleaved else (b, a)
            c += cs[0]
            g = T(cotangent[to + p * out_strides[2] + c * out_strides[1]])
            spread(image_bar, at + c * image_strides[1], g, tile, p, clean, spec)


@leaf
def pull_tile(
    image, at, fills, cotangent, to, tile, count, cs, out_strides, image_strides, clean, spec
):
    """Stage the cotangents of the tile's pixel coordinates, summed over the channels `cs`."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    T = type(tile.weights[0])
    for axis in range(spec.ndim):
        for p in range(count):
            tile.bars[slot(axis, p)] = T(0)
    for a in range(outer):
        for b in range(inner):
            p, c = (a, b) if spec.interleaved else (b, a)
            c += cs[0]
            g = T(cotangent[to + p * out_strides[2] + c * out_strides[1]])
            _, dx, dy, dz = blend(image, at + c * image_strides[1], fills[c], tile, p, clean, spec)
            tile.bars[slot(int64(0), p)] += g * dx
            if spec.ndim > 1:
                tile.bars[slot(int64(1), p)] += g * dy
            if spec.ndim > 2:
                tile.bars[slot(int64(2), p)] += g * dz


@functools.cache
def grid(spec: Spec) -> Any:
    """Build the kernel that writes a source's coordinates out as a grid (batch, location, axis)."""

    def grid(out, source, batch, chunks, size, source_strides, source_like):
        outs, sources = pointer(out, source_like), pointer(source, source_like)
        rows = size[0] * size[1]
        for chunk in prange(chunks):
            first_row, last_row = share(batch * rows, int64(chunk), chunks)
            for item in range(first_row, last_row):
                n, z, y = item // rows, item % rows // size[1], item % size[1]
                for x in range(size[2]):
                    for axis in range(spec.ndim):
                        outs[(item * size[2] + x) * spec.ndim + axis] = coordinate(
                            sources, n * source_strides[0], source_strides, (z, y, x), size, axis, source_like, spec
                        )

    return kernel(grid, spec)


@functools.cache
def grid_vjp(spec: Spec) -> Any:
    """Build the kernel that sums a grid's cotangent to those of the maps: one partial sum for each tile."""

    def grid_vjp(theta_bar, cotangent, items, tiles, chunks, size, like):
        bars, cotangents = pointer(theta_bar, 0.0), pointer(cotangent, like)
        points = size[0] * size[1] * size[2]
        width = spec.ndim * (spec.ndim + 1)
        for chunk in prange(chunks):
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                first = item % tiles * TILE
                count = TILE if TILE < points - first else points - first
                at = (item // tiles * points + first) * spec.ndim
                sum_bars(bars, item * width, cotangents, at, 1, spec.ndim, first, count, size, like, spec)

    return kernel(grid_vjp, spec)
