"""Loops that carry tangents: the forward derivative of `sample`, and the backward derivative of its vjp.

Arrays, strides and parts are those of `cpu`. A tangent is laid out as what it is a tangent of; one that is not
given is zero, and is left out of the machine code.
"""

import functools
from typing import Any

from numba import int64, prange

from stnkit.kernels.axis import chain
from stnkit.kernels.cpu import (
    add_bars,
    channel,
    clear_bars,
    position,
    put_source_bar,
    ranges,
    share,
    span,
    spread_tile,
    vectored,
)
from stnkit.kernels.formats import narrow, widen
from stnkit.kernels.jit import View, kernel, leaf, pointer, step
from stnkit.kernels.lanes import full, lanes, load, store, unless_zero, width
from stnkit.kernels.nearest import pick
from stnkit.kernels.point import TILE, bend, blend, is_calm, slot
from stnkit.kernels.tile import allocate, divide, finish_bars, lowest, release, stage, stage_dots, steepness
from stnkit.spec import NEAREST, Spec


@functools.cache
def sample_jvp(spec: Spec) -> Any:
    """Build the kernel of a value and its tangent, in one pass over the same taps.

    out' = sample(image', u) + (d sample / d u) u', the sum over the axes of u.
    """

    def sample_jvp(
        out_at, out_dot_at, image_at, image_dot_at, source_at, source_dot_at, fill_at,
        batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, image_like, dot_like, source_like, like, index_like,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec.serial)
        for chunk in prange(chunks):
            out = View(pointer(out_at, image_like), out_strides)
            out_dot = pointer(out_dot_at, dot_like)
            image = View(pointer(image_at, image_like), image_strides)
            image_dot = View(pointer(image_dot_at, dot_like), image_strides)
            source = View(pointer(source_at, source_like), source_strides)
            source_dot = View(pointer(source_dot_at, source_like), source_strides)
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
                        if spec.source_dot:
                            stage_dots(tile, n, first, count, source, source_dot, size, extent, like, spec.serial)
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        fill_tile_jvp(
                            out,
                            out_dot,
                            to,
                            image,
                            image_dot,
                            at,
                            fills,
                            raws,
                            tile,
                            count,
                            cs,
                            places,
                            many,
                            spec.serial,
                        )
            release(memory)

    return kernel(sample_jvp, spec)


@step
def fill_tile_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, count, cs, places, many, spec):
    """Interpolate the channels `cs` of one tile, and their tangents."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    number = tile.weights[0]
    for a in range(outer):
        b = int64(0)
        while b + width(many) <= vectored(inner, spec):
            fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, cs, places, many, spec)
            b += width(many)
        while b < inner:
            fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, cs, number, number, spec)
            b += 1


@leaf
def fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, cs, places, many, spec):
    """Interpolate number `b` of the inner loop, or several, and the tangent."""
    p, c = position(a, b, cs, spec)
    number = tile.weights[0]
    none = full(type(number)(0), many)
    where = to + (p * out.strides[2] + c if spec.interleaved else c * out.strides[1] + p)
    plane = at + c * image.strides[1]
    outside = channel(fills, c, many, spec)
    calm = is_calm(tile, p, places, spec.reading)
    value, dx, dy, dz = blend(image, spec.image_dtype, plane, outside, tile, p, calm, places, many, spec.reading)
    value_dot = none
    if spec.source_dot:
        value_dot = value_dot + along(tile, p, dx, dy, dz, places, many, spec)
    if spec.image_dot:
        tangent, _, _, _ = blend(image_dot, spec.dot_dtype, plane, none, tile, p, calm, places, many, spec.reading)
        value_dot = value_dot + tangent
    if spec.interp == NEAREST:
        stored = channel(raws, c, many, spec)
        store(out.memory, where, pick(image.memory, plane, stored, tile, p, places, many, spec.reading))
    else:
        store(out.memory, where, narrow(value, image.memory[0], spec.image_dtype))
    store(out_dot, where, narrow(value_dot, out_dot[where], spec.dot_dtype))


@leaf
def along(tile, p, dx, dy, dz, places, many, spec):
    """Return the derivative of location `p`, or several, along the tangent of its pixel coordinates.

    An axis along which it does not move adds exactly 0, be the image infinite there.
    """
    u = full(load(tile.dots, slot(int64(0), p), places), many)
    value_dot = unless_zero(u, u * dx)
    if spec.ndim > 1:
        u = full(load(tile.dots, slot(int64(1), p), places), many)
        value_dot = value_dot + unless_zero(u, u * dy)
    if spec.ndim > 2:
        u = full(load(tile.dots, slot(int64(2), p), places), many)
        value_dot = value_dot + unless_zero(u, u * dz)
    return value_dot


@leaf
def moves(tile, p, places, many, spec):
    """Count the axes along which the tangent of a location's pixel coordinates is not 0."""
    one = full(type(tile.dots[0])(1), many)
    axes = unless_zero(full(load(tile.dots, slot(int64(0), p), places), many), one)
    if spec.ndim > 1:
        axes = axes + unless_zero(full(load(tile.dots, slot(int64(1), p), places), many), one)
    if spec.ndim > 2:
        axes = axes + unless_zero(full(load(tile.dots, slot(int64(2), p), places), many), one)
    return axes


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
        plane = lowest(image_strides, extent, spec.serial)
        for chunk in prange(chunks):
            out_bar_bar = View(pointer(out_bar_bar_at, dot_like), out_strides)
            image_bar = View(pointer(image_bar_at, image_bar_like), image_strides)
            source_bar = View(pointer(source_bar_at, source_bar_like), source_bar_strides)
            out_bar = View(pointer(out_bar_at, dot_like), out_bar_strides)
            image = View(pointer(image_at, image_like), image_strides)
            image_dot = View(pointer(image_dot_at, dot_like), image_strides)
            source = View(pointer(source_at, source_like), source_strides)
            source_dot = View(pointer(source_dot_at, source_like), source_strides)
            fills = pointer(fill_at, like)
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
                        if spec.source_dot:
                            stage_dots(tile, n, first, count, source, source_dot, size, extent, like, spec.serial)
                        at = n * image_strides[0] + plane
                        g_at = n * out_bar_strides[0] + first * out_bar_strides[2]
                        if spec.image_bar:
                            spread_tile(image_bar, at, out_bar, g_at, tile, count, cs, many, bool(1), spec.serial)
                        if spec.source_bar or spec.out_bar:
                            to = n * out_strides[0] + first * out_strides[2]
                            bend_tile(
                                out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills,
                                tile, count, cs, places, many, spec.serial,
                            )  # fmt: skip
                        if spec.source_bar:
                            finish_bars(tile, count, size, extent, like, spec.serial)
                            put_source_bar(source_bar, source, tile, n, t, first, count, size, like, spec.serial)
            release(memory)

    return kernel(sample_double_vjp, spec)


@step
def bend_tile(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, count, cs, places, many, spec):
    """Write the cotangents of one tile's cotangents, and stage those of its pixel coordinates."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    number = tile.weights[0]
    if spec.source_bar:
        clear_bars(tile, count, spec)
    for a in range(outer):
        b = int64(0)
        while b + width(many) <= vectored(inner, spec):
            twist(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, cs, places, many, spec)
            b += width(many)
        while b < inner:
            twist(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, cs, number, number, spec)
            b += 1


@leaf
def twist(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, cs, places, many, spec):
    """Do for number `b` of the inner loop, or several, what `bend_tile` does."""
    p, c = position(a, b, cs, spec)
    number = tile.weights[0]
    none = full(type(number)(0), many)
    plane = at + c * image.strides[1]
    calm = is_calm(tile, p, places, spec.reading)
    value, dx, dy, dz = none, none, none, none
    if spec.image_dot:
        value, dx, dy, dz = blend(image_dot, spec.dot_dtype, plane, none, tile, p, calm, places, many, spec.reading)
    if spec.source_dot:
        outside = channel(fills, c, many, spec)
        value_, dx_, dy_, dz_ = bend(image, spec.image_dtype, plane, outside, tile, p, calm, places, many, spec.reading)
        moved = moves(tile, p, places, many, spec)
        value, dx = value + unless_zero(moved, value_), dx + unless_zero(moved, dx_)
        dy, dz = dy + unless_zero(moved, dy_), dz + unless_zero(moved, dz_)
    if spec.out_bar:
        where = to + (p * out_bar_bar.strides[2] + c if spec.interleaved else c * out_bar_bar.strides[1] + p)
        store(out_bar_bar.memory, where, narrow(value, out_bar_bar.memory[where], spec.dot_dtype))
    if spec.source_bar:
        where = g_at + p * out_bar.strides[2] + c * out_bar.strides[1]
        g = widen(load(out_bar.memory, where, many), number, spec.dot_dtype)
        add_bars(tile, p, g * dx, g * dy, g * dz, places, spec)


@functools.cache
def sample_gradient(spec: Spec) -> Any:
    """Build the kernel of the interpolated image's derivatives: out[n, c, p, axis], per unit of coordinates."""

    def sample_gradient(
        out_at, image_at, source_at, fill_at, batch, channels, parts, chunks, size, extent,
        out_strides, image_strides, source_strides, image_like, dot_like, source_like, like, index_like,
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        items = parts[0] * parts[1] * parts[2]
        plane = lowest(image_strides, extent, spec.serial)
        for chunk in prange(chunks):
            out = View(pointer(out_at, dot_like), out_strides)
            image = View(pointer(image_at, image_like), image_strides)
            source = View(pointer(source_at, source_like), source_strides)
            fills = pointer(fill_at, like)
            memory = allocate(spec.serial)
            tile = divide(memory, like, index_like, spec.serial)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                ns, cs, ts = ranges(item, parts, batch, channels, (points + TILE - 1) // TILE)
                for n in range(ns[0], ns[1]):
                    for t in range(ts[0], ts[1]):
                        first, count = span(t, points)
                        stage(tile, n, first, count, source, size, extent, image_strides, like, spec.reading)
                        at = n * image_strides[0] + plane
                        to = n * out_strides[0] + first * out_strides[2]
                        slope_tile(out, to, image, at, fills, tile, count, cs, size, extent, spec.serial)
            release(memory)

    return kernel(sample_gradient, spec)


@leaf
def slope_tile(out, to, image, at, fills, tile, count, cs, size, extent, spec):
    """Write the derivatives of the channels `cs` of one tile."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    zero = type(tile.weights[0])(0)
    for a in range(outer):
        for b in range(inner):
            p, c = position(a, b, cs, spec)
            where = (to + p * out.strides[2] + c * out.strides[1]) * spec.ndim
            plane = at + c * image.strides[1]
            calm = is_calm(tile, p, zero, spec.reading)
            _, dx, dy, dz = blend(image, spec.image_dtype, plane, fills[c], tile, p, calm, zero, zero, spec.reading)
            for axis in range(spec.ndim):
                slope = dx if axis == 0 else (dy if axis == 1 else dz)
                scale = steepness(tile, axis, p, extent, spec.padding[axis], spec)
                slope *= scale * chain(extent[2 - axis], size[2 - axis], zero, spec)
                there = out.memory[where + axis]
                out.memory[where + axis] = narrow(slope if scale != zero else zero, there, spec.dot_dtype)
