"""Loops over batch items, channels and tiles on CPU threads: one factory for each operation.

The work of a call is split into parts along three axes (batch, channels, tiles of output locations). How
many parts is decided by the shapes alone, each part writes memory of its own, in a fixed order, and threads
take whole parts: so results are the same, bit for bit, on any number of threads.

What a kernel takes is said in `call`.
"""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import View, clear, free, int64, kernel, leaf, pointer
from stnkit.kernels.cpu.ahead import ask, coming, is_scattered, next_plane, prefetch_pixels
from stnkit.kernels.cpu.beside import begin_sums, end_sums, scatter_beside, sums
from stnkit.kernels.cpu.call import (
    COTANGENT,
    FILL,
    IMAGE,
    IMAGE_BAR,
    OUT,
    SHORT_OF_MEMORY,
    SOURCE,
    SOURCE_BAR,
)
from stnkit.kernels.cpu.nearest import copy_tile, pick
from stnkit.kernels.cpu.parts import ranges, span
from stnkit.kernels.cpu.scatter import scatter_planes
from stnkit.kernels.cpu.tile import (
    allocate,
    divide,
    finish_bars,
    lowest,
    put_bars,
    scratch_after,
    stage,
    sum_bars,
    transpose_cotangents,
)
from stnkit.kernels.cpu.words import arguments_at, words_at
from stnkit.kernels.leaves.fills import beyond, channel
from stnkit.kernels.leaves.formats import narrow, widen, zero
from stnkit.kernels.leaves.labels import heaviest
from stnkit.kernels.leaves.maps import projective_pullback, stage_lattice, sum_weight_cotangents
from stnkit.kernels.leaves.places import locations
from stnkit.kernels.leaves.point import blend, rows_in_order
from stnkit.kernels.leaves.scatter import scatter
from stnkit.kernels.leaves.stage import row_stride, slot
from stnkit.kernels.simd.lanes import lanes, load, store, total, width
from stnkit.spec import LABEL, PROJECTIVE, THIN_PLATE_SPLINE, TILE, Spec


@leaf
def over_tiles(address, first_chunk, last_chunk, body, spec):
    """Stage every tile of some chunks, one after another, and do `body` for it; return a status."""
    words = words_at(address)
    call = arguments_at(words, spec)
    memory = allocate(call.channels, call.extent, spec)
    if memory == 0:
        return SHORT_OF_MEMORY
    like = zero(spec.arithmetic_dtype)
    tile = divide(memory, like, zero(spec.index_dtype), spec)
    source = View(pointer(words[SOURCE], zero(spec.source_dtype)), call.source)
    plane = lowest(call.image, call.extent, spec)
    points = locations(call.size, spec)
    items = call.parts[0] * call.parts[1] * call.parts[2]
    for item in range(first_chunk * items // call.chunks, last_chunk * items // call.chunks):
        ns, cs, ts = ranges(item, call.parts, call.batch, call.channels, (points + TILE - 1) // TILE)
        for n in range(ns[0], ns[1]):
            at = n * call.image[0] + plane
            alone = call.image[0] != 0  # and no item that all others add to
            if spec.image_bar and (spec.beside or call.fresh[0]) and (alone or n == ns[0]):
                begin_sums(words, call, memory, at, cs, spec)
            for t in range(ts[0], ts[1]):
                first, count = span(t, points)
                stage(tile, n, first, count, source, call.size, call.extent, call.image, like, spec.reading)
                body(words, call, tile, memory, n, cs, t, at, spec)
            if spec.beside and (alone or n + 1 == ns[1]):
                end_sums(words, call, memory, at, cs, spec)
    free(memory)
    return 0


@functools.cache
def sample(spec: Spec) -> Any:
    """Build the forward kernel: out[n, c, p] = image[n, c] interpolated at the coordinates of p."""

    def sample(words, first, last):
        return over_tiles(words, first, last, sample_tile, spec)

    return kernel(sample, spec)


@leaf
def sample_tile(words, call, tile, memory, n, cs, t, at, spec):
    """Interpolate the channels `cs` of one tile."""
    like, stored = zero(spec.arithmetic_dtype), zero(spec.image_dtype)
    out, image = View(pointer(words[OUT], stored), call.out), View(pointer(words[IMAGE], stored), call.image)
    fills, raws = pointer(words[FILL], like), pointer(words[FILL], stored)
    many, points = lanes(like, spec), lanes(like, spec.one_location)
    first, count = span(t, locations(call.size, spec))
    to = n * call.out[0] + first * call.out[2]
    after, distant = coming(words, call, n, first, spec), call.prefetch[0] != 0
    fill_tile(out, to, image, at, fills, raws, tile, count, cs, after, distant, points, many, spec)


@leaf
def fill_tile(out, to, image, at, fills, raws, tile, count, cs, after, distant, points, many, spec):
    """Interpolate the channels `cs` of one tile; the innermost loop runs along neighbours in memory."""
    if spec.nearest and not spec.interleaved:
        copy_tile(out, to, image, at, raws, tile, count, cs, after, distant, points, spec)
    else:
        cs = settled(cs, many, spec)
        wide = cs[1] - cs[0]
        outer, inner = (count, wide) if spec.interleaved else (wide, count)
        number = tile.weights[0]
        scattered = is_scattered(tile, image, count, distant, spec)
        for a in range(outer):
            b = int64(0)
            wanted, plane, shift = next_plane(image, at, channel_of(a, cs, spec), cs, bool(1), distant, spec)
            while b + width(many) <= vectored(inner, spec):
                if wanted:
                    prefetch_ahead(plane, shift, tile, a, b, cs, scattered, points, spec)
                ask(after, a, b, points, spec)
                fill(out, to, image, at, fills, raws, tile, a, b, cs, points, many, spec)
                b += width(many)
            while b < inner:
                fill(out, to, image, at, fills, raws, tile, a, b, cs, number, number, spec)
                b += 1


@leaf
def settled(cs, many, spec):
    """Return the channels of a part; where they fit the lanes, a part has all of them, as the compiler is told here."""
    return (int64(0), width(many)) if spec.whole else cs


@leaf
def prefetch_ahead(plane, shift, tile, a, b, cs, scattered, points, spec):
    """Prefetch pixels for number `b` of the inner loop; channels that lie side by side come with the first."""
    if not (spec.interleaved and b > 0):
        p, _ = position(a, b, cs, spec)
        prefetch_pixels(plane, p + shift, tile, scattered, points, spec)


@leaf
def fill(out, to, image, at, fills, raws, tile, a, b, cs, points, many, spec):
    """Interpolate number `b` of the inner loop, or as many from there on as `many` has lanes."""
    p, c = position(a, b, cs, spec)
    where = to + (p * out.strides[2] + c if spec.interleaved else c * out.strides[1] + p)
    plane = at + c * image.strides[1]
    if spec.nearest:
        stored = channel(raws, c, many, spec)
        store(out.memory, where, pick(image.memory, plane, stored, tile, p, points, many, spec.reading))
    elif spec.interp == LABEL:
        stored = channel(raws, c, many, spec)
        store(out.memory, where, heaviest(image.memory, plane, stored, tile, p, points, many, spec.reading))
    else:
        outside = beyond(fills, c, tile, p, many, spec)
        in_order = rows_in_order(tile, p, points, spec.reading)
        value, _, _, _ = blend(image, spec.image_dtype, plane, outside, tile, p, in_order, points, many, spec.reading)
        store(out.memory, where, narrow(value, image.memory[0], spec.image_dtype))


@leaf
def vectored(inner, spec):
    """Return how much of the inner loop may be done in lanes: channels only where they lie side by side."""
    return inner if spec.packed or not spec.interleaved else int64(0)


@leaf
def position(a, b, cs, spec):
    """Return (location, channel) of number `b` of the inner loop in round `a` of the outer loop."""
    return (a, b + cs[0]) if spec.interleaved else (b, a + cs[0])


@leaf
def channel_of(a, cs, spec):
    """Return the channel of round `a` of the outer loop, the first if the inner loop goes through them."""
    return cs[0] if spec.interleaved else a + cs[0]


@functools.cache
def sample_vjp(spec: Spec) -> Any:
    """Build the backward kernel of `sample`: cotangents of the image and of the source, as the spec asks.

    Both are added to what stands in `image_bar` and `source_bar`, so a batch item that several share receives the sum;
    what is `fresh` is cleared first. The strides of the image are those of its cotangent too.
    """

    def sample_vjp(words, first, last):
        return over_tiles(words, first, last, sample_tile_vjp, spec)

    return kernel(sample_vjp, spec)


@leaf
def sample_tile_vjp(words, call, tile, memory, n, cs, t, at, spec):
    """Add what one tile brings to the cotangents of image and source."""
    like = zero(spec.arithmetic_dtype)
    out_bar = View(pointer(words[COTANGENT], zero(spec.dot_dtype)), call.cotangent)
    many, points = lanes(like, spec), lanes(like, spec.one_location)
    first, count = span(t, locations(call.size, spec))
    to, distant = n * call.cotangent[0] + first * call.cotangent[2], call.prefetch[0] != 0
    if spec.planar or spec.beside:
        turned = View(pointer(scratch_after(memory, spec), zero(spec.dot_dtype)), (int64(0), int64(1), cs[1] - cs[0]))
        transpose_cotangents(turned, out_bar, to, count, cs)
        if spec.beside:
            scatter_beside(sums(call, memory, cs, spec), turned, tile, count, many, spec)
        else:
            out_bar, to = turned, -cs[0]
    if spec.image_bar and not spec.beside:
        image_bar = View(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), call.image)
        image_cotangent_tile(image_bar, at, out_bar, to, tile, count, cs, distant, many, bool(0), spec)
    if spec.source_bar:
        image = View(pointer(words[IMAGE], zero(spec.image_dtype)), call.image)
        fills = pointer(words[FILL], like)
        grid_cotangent_tile(image, at, fills, out_bar, to, tile, count, cs, distant, points, many, spec)
        finish_source_bar(words, call, tile, n, t, first, count, like, spec)


@leaf
def finish_source_bar(words, call, tile, n, t, first, count, like, spec):
    """Add the staged cotangents of a tile's pixel coordinates to those of a grid, or to the tile's own partial sum."""
    bars = View(pointer(words[SOURCE_BAR], zero(spec.source_bar_dtype)), call.source_bar)
    source = View(pointer(words[SOURCE], zero(spec.source_dtype)), call.source)
    finish_bars(tile, count, call.size, call.extent, like, spec)
    if spec.mapped:
        at = n * bars.strides[0] + t * bars.strides[1]
        put_map_bar(bars.memory, at, source, tile, n, first, count, call.size, like, spec)
    else:
        at = n * bars.strides[0] + first * bars.strides[1]
        if call.fresh[1]:
            clear(bars.memory, at, count * spec.ndim)
        put_bars(bars.memory, at, tile, count, spec)


@leaf
def put_map_bar(theta_bar, to, source, tile, n, first, count, size, like, spec):
    """Add the tile's cotangents to those of theta, from `to` on. Coordinates are no longer needed."""
    if spec.source == PROJECTIVE or spec.source == THIN_PLATE_SPLINE:
        stage_lattice(tile.coords, first, count, size, like, spec)
    if spec.source == PROJECTIVE:
        projective_pullback(tile.bars, tile.coords, source, n, count, like, spec)
    if spec.source == THIN_PLATE_SPLINE:
        many = lanes(like, spec.sums)
        sum_weight_cotangents(theta_bar, to, tile.bars, tile.coords, tile.lattice, source, n, count, like, many, spec)
        to += 2 * source.strides[4] * spec.ndim
    sum_bars(theta_bar, to, tile.bars, 0, row_stride(), 1, first, count, size, like, spec)


@leaf
def image_cotangent_tile(image_bar, at, out_bar, to, tile, count, cs, distant, many, bent, spec):
    """Add the cotangents of one tile to the image's: the adjoint of `fill_tile`.

    Locations are done one by one, as neighbours add to the same pixels; channels that lie side by side in lanes.
    """
    if spec.paired and not spec.interleaved and not bent:
        cs = scatter_planes(image_bar, at, out_bar, to, tile, count, cs, spec)
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    number = tile.weights[0]
    for a in range(outer):
        b = int64(0)
        wanted, plane, shift = next_plane(image_bar, at, channel_of(a, cs, spec), cs, bool(0), distant, spec)
        while spec.interleaved and b + width(many) <= vectored(inner, spec):
            if wanted:
                prefetch_ahead(plane, shift, tile, a, b, cs, bool(0), number, spec)
            image_cotangent(image_bar, at, out_bar, to, tile, a, b, cs, many, bent, spec)
            b += width(many)
        while b < inner:
            if wanted and spec.rows > 2:  # to fewer, additions take so long that pixels come in time
                prefetch_ahead(plane, shift, tile, a, b, cs, bool(0), number, spec)
            image_cotangent(image_bar, at, out_bar, to, tile, a, b, cs, number, bent, spec)
            b += 1


@leaf
def image_cotangent(image_bar, at, out_bar, to, tile, a, b, cs, many, bent, spec):
    """Add to the image's cotangent what number `b` of the inner loop, or several channels from there on, bring."""
    p, c = position(a, b, cs, spec)
    where = to + p * out_bar.strides[2] + c * out_bar.strides[1]
    g = widen(load(out_bar.memory, where, many), tile.weights[0], spec.dot_dtype)
    scatter(image_bar, at + c * image_bar.strides[1], g, tile, p, bent, spec.reading)


@leaf
def grid_cotangent_tile(image, at, fills, out_bar, to, tile, count, cs, distant, points, many, spec):
    """Stage the cotangents of the tile's pixel coordinates, summed over the channels `cs`."""
    cs = settled(cs, many, spec)
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    number = tile.weights[0]
    clear_bars(tile, count, spec)
    for a in range(outer):
        b = int64(0)
        wanted, plane, shift = next_plane(image, at, channel_of(a, cs, spec), cs, bool(1), distant, spec)
        while b + width(many) <= vectored(inner, spec):
            if wanted:
                prefetch_ahead(plane, shift, tile, a, b, cs, bool(0), points, spec)
            grid_cotangent(image, at, fills, out_bar, to, tile, a, b, cs, points, many, spec)
            b += width(many)
        while b < inner:
            grid_cotangent(image, at, fills, out_bar, to, tile, a, b, cs, number, number, spec)
            b += 1


@leaf
def grid_cotangent(image, at, fills, out_bar, to, tile, a, b, cs, points, many, spec):
    """Add to the cotangents of pixel coordinates what number `b` of the inner loop, or several, bring."""
    p, c = position(a, b, cs, spec)
    where = to + p * out_bar.strides[2] + c * out_bar.strides[1]
    g = widen(load(out_bar.memory, where, many), tile.weights[0], spec.dot_dtype)
    plane = at + c * image.strides[1]
    outside = beyond(fills, c, tile, p, many, spec)
    in_order = rows_in_order(tile, p, points, spec.reading)
    _, dx, dy, dz = blend(image, spec.image_dtype, plane, outside, tile, p, in_order, points, many, spec.reading)
    add_bars(tile, p, g * dx, g * dy, g * dz, points, spec)


@leaf
def clear_bars(tile, count, spec):
    """Set the cotangents of pixel coordinates to 0."""
    for axis in range(spec.ndim):
        for p in range(count):
            tile.bars[slot(axis, p)] = type(tile.bars[0])(0)


@leaf
def add_bars(tile, p, dx, dy, dz, points, spec):
    """Add to the cotangents of pixel coordinates from `p` on; lanes of one location are summed."""
    add_bar(tile, int64(0), p, dx, points, spec)
    if spec.ndim > 1:
        add_bar(tile, int64(1), p, dy, points, spec)
    if spec.ndim > 2:
        add_bar(tile, int64(2), p, dz, points, spec)


@leaf
def add_bar(tile, axis, p, bar, points, spec):
    at = slot(axis, p)
    store(tile.bars, at, load(tile.bars, at, points) + total(bar, points))
