"""Loops that carry tangents: the forward derivative of `sample`, and the backward derivative of its vjp.

Arrays, strides and parts are those of `cpu`. A tangent is laid out as what it is a tangent of; one that is not
given is zero, and is left out of the machine code.
"""

import functools
from typing import Any

from numba import int64, prange

from stnkit.kernels.axis import chain
from stnkit.kernels.cpu import put_source_bar, ranges, share, span, spread_tile
from stnkit.kernels.formats import narrow, widen
from stnkit.kernels.jit import View, kernel, leaf, pointer
from stnkit.kernels.point import TILE, bend, blend, pick, slot
from stnkit.kernels.tile import allocate, finish_bars, lowest, stage, stage_dots
from stnkit.spec import NEAREST, Spec


@functools.cache
def sample_jvp(spec: Spec) -> Any:
    """Build the kernel of a value and its tangent, in one pass over the same taps.

    out' = sample(image', u) + (d sample / d u) u', the sum over the axes of u.
    """

    def sample_jvp(
        out_at, out_dot_at, image_at, image_dot_at, source_at, source_dot_at, fill_at,
        batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, fill_like, image_like, dot_like, source_like, like, index_like,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec)
        for chunk in prange(chunks):
            out = View(pointer(out_at, image_like), out_strides)
            out_dot = pointer(out_dot_at, dot_like)
            image = View(pointer(image_at, image_like), image_strides)
            image_dot = pointer(image_dot_at, dot_like)
            source = View(pointer(source_at, source_like), source_strides)
            source_dot = View(pointer(source_dot_at, source_like), source_strides)
            fills = pointer(fill_at, fill_like)
            tile = allocate(like, index_like, spec)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first, count = span(t, points)
                        clean = stage(tile, n, first, count, source, size, extent, image_strides, like, spec)
                        if spec.source_dot:
                            stage_dots(tile, n, first, count, source_dot, size, extent, like, spec)
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        fill_tile_jvp(out, out_dot, to, image, image_dot, at, fills, tile, count, cs, clean, spec)

    return kernel(sample_jvp, spec)


@leaf
def fill_tile_jvp(out, out_dot, to, image, image_dot, at, fills, tile, count, cs, clean, spec):
    """Interpolate the channels `cs` of one tile, and their tangents."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    zero = type(tile.weights[0])(0)
    for a in range(outer):
        for b in range(inner):
            p, c = (a, b) if spec.interleaved else (b, a)
            c += cs[0]
            where = to + (p * out.strides[2] + c if spec.interleaved else c * out.strides[1] + p)
            plane = at + c * image.strides[1]
            value, dx, dy, dz = blend(image.memory, spec.image_dtype, plane, fills[c], tile, p, clean, spec)
            value_dot = zero
            if spec.source_dot:
                value_dot += along(tile, p, dx, dy, dz, spec)
            if spec.image_dot:
                tangent, _, _, _ = blend(image_dot, spec.dot_dtype, plane, zero, tile, p, clean, spec)
                value_dot += tangent
            if spec.interp == NEAREST:
                out.memory[where] = pick(image.memory, plane, fills[c], tile, p, spec)
            else:
                out.memory[where] = narrow(value, out.memory[where], spec.image_dtype)
            out_dot[where] = narrow(value_dot, out_dot[where], spec.dot_dtype)


@leaf
def along(tile, p, dx, dy, dz, spec):
    """Return the derivative of location `p` along the tangent of its pixel coordinates.

    An axis along which it does not move adds exactly 0, be the image infinite there.
    """
    zero = type(dx)(0)
    u = tile.dots[slot(int64(0), p)]
    total = dx * u if u != zero else zero
    if spec.ndim > 1:
        u = tile.dots[slot(int64(1), p)]
        total += dy * u if u != zero else zero
    if spec.ndim > 2:
        u = tile.dots[slot(int64(2), p)]
        total += dz * u if u != zero else zero
    return total


@leaf
def moves(tile, p, spec):
    """Tell whether the tangent of location `p`'s pixel coordinates is not 0 on all axes."""
    moved = tile.dots[slot(int64(0), p)] != 0
    if spec.ndim > 1:
        moved |= tile.dots[slot(int64(1), p)] != 0
    if spec.ndim > 2:
        moved |= tile.dots[slot(int64(2), p)] != 0
    return moved


@functools.cache
def sample_double_vjp(spec: Spec) -> Any:
    """Build the backward kernel of `sample_vjp`, for cotangents of its results: image' and u'.

    With g the cotangent of the output, the vjp's results pair with them to
        < sample(image', u) + (d sample / d u) u', g >,
    the tangent of the output along (image', u'), so the derivative of this is
        in g:      that tangent,
        in image:  the adjoint of (d sample / d u) u', applied to g,
        in u:      the sum over channels of g ((d sample(image') / d u) + (d^2 sample / d u^2) u').
    """

    def sample_double_vjp(
        out_bar_bar_at, image_bar_at, source_bar_at, out_bar_at, image_at, image_dot_at, source_at, source_dot_at,
        fill_at, batch, channels, parts, chunks, size, extent,
        out_strides, out_bar_strides, image_strides, source_strides, source_bar_strides,
        image_like, dot_like, image_bar_like, source_like, source_bar_like, like, index_like,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec)
        for chunk in prange(chunks):
            out_bar_bar = View(pointer(out_bar_bar_at, dot_like), out_strides)
            image_bar = View(pointer(image_bar_at, image_bar_like), image_strides)
            source_bar = View(pointer(source_bar_at, source_bar_like), source_bar_strides)
            out_bar = View(pointer(out_bar_at, dot_like), out_bar_strides)
            image = View(pointer(image_at, image_like), image_strides)
            image_dot = pointer(image_dot_at, dot_like)
            source = View(pointer(source_at, source_like), source_strides)
            source_dot = View(pointer(source_dot_at, source_like), source_strides)
            fills = pointer(fill_at, like)
            tile = allocate(like, index_like, spec)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first, count = span(t, points)
                        clean = stage(tile, n, first, count, source, size, extent, image_strides, like, spec)
                        if spec.source_dot:
                            stage_dots(tile, n, first, count, source_dot, size, extent, like, spec)
                        at = n * image_strides[0] + plane
                        g_at = n * out_bar_strides[0] + first * out_bar_strides[2]
                        if spec.image_bar:
                            spread_tile(image_bar, at, out_bar, g_at, tile, count, cs, clean, bool(1), spec)
                        if spec.source_bar or spec.out_bar:
                            to = n * out_strides[0] + first * out_strides[2]
                            bend_tile(
                                out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills,
                                tile, count, cs, clean, spec,
                            )  # fmt: skip
                        if spec.source_bar:
                            finish_bars(tile, count, size, extent, like, spec)
                            put_source_bar(source_bar, tile, n, t, first, count, size, like, spec)

    return kernel(sample_double_vjp, spec)


@leaf
def bend_tile(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, count, cs, clean, spec):
    """Write the cotangents of one tile's cotangents, and stage those of its pixel coordinates."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    zero = type(tile.weights[0])(0)
    if spec.source_bar:
        for axis in range(spec.ndim):
            for p in range(count):
                tile.bars[slot(axis, p)] = zero
    for a in range(outer):
        for b in range(inner):
            p, c = (a, b) if spec.interleaved else (b, a)
            c += cs[0]
            plane = at + c * image.strides[1]
            value, dx, dy, dz = zero, zero, zero, zero
            if spec.image_dot:
                value, dx, dy, dz = blend(image_dot, spec.dot_dtype, plane, zero, tile, p, clean, spec)
            if spec.source_dot:
                value_, dx_, dy_, dz_ = bend(image.memory, spec.image_dtype, plane, fills[c], tile, p, clean, spec)
                if moves(tile, p, spec):
                    value, dx, dy, dz = value + value_, dx + dx_, dy + dy_, dz + dz_
            if spec.out_bar:
                where = to + (p * out_bar_bar.strides[2] + c if spec.interleaved else c * out_bar_bar.strides[1] + p)
                out_bar_bar.memory[where] = narrow(value, out_bar_bar.memory[where], spec.dot_dtype)
            if spec.source_bar:
                g = widen(out_bar.memory[g_at + p * out_bar.strides[2] + c * out_bar.strides[1]], zero, spec.dot_dtype)
                tile.bars[slot(int64(0), p)] += g * dx
                if spec.ndim > 1:
                    tile.bars[slot(int64(1), p)] += g * dy
                if spec.ndim > 2:
                    tile.bars[slot(int64(2), p)] += g * dz


@functools.cache
def sample_gradient(spec: Spec) -> Any:
    """Build the kernel of the interpolated image's derivatives: out[n, c, p, axis], per unit of coordinates."""

    def sample_gradient(
        out_at, image_at, source_at, fill_at, batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, image_like, dot_like, source_like, like, index_like,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec)
        for chunk in prange(chunks):
            out = View(pointer(out_at, dot_like), out_strides)
            image = View(pointer(image_at, image_like), image_strides)
            source = View(pointer(source_at, source_like), source_strides)
            fills = pointer(fill_at, like)
            tile = allocate(like, index_like, spec)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first, count = span(t, points)
                        clean = stage(tile, n, first, count, source, size, extent, image_strides, like, spec)
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        slope_tile(out, to, image, at, fills, tile, count, cs, size, extent, clean, spec)

    return kernel(sample_gradient, spec)


@leaf
def slope_tile(out, to, image, at, fills, tile, count, cs, size, extent, clean, spec):
    """Write the derivatives of the channels `cs` of one tile."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    zero = type(tile.weights[0])(0)
    for a in range(outer):
        for b in range(inner):
            p, c = (a, b) if spec.interleaved else (b, a)
            c += cs[0]
            where = (to + p * out.strides[2] + c * out.strides[1]) * spec.ndim
            plane = at + c * image.strides[1]
            _, dx, dy, dz = blend(image.memory, spec.image_dtype, plane, fills[c], tile, p, clean, spec)
            for axis in range(spec.ndim):
                slope = dx if axis == 0 else (dy if axis == 1 else dz)
                scale = tile.scales[slot(axis, p)]
                slope *= scale * chain(extent[2 - axis], size[2 - axis], zero, spec)
                out.memory[where + axis] = narrow(
                    slope if scale != zero else zero, out.memory[where + axis], spec.dot_dtype
                )
