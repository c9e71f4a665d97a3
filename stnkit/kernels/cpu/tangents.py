"""Loops that carry tangents: the forward derivative of `sample`, and the backward derivative of its vjp.

Parts are those of `loops`. A tangent is laid out as what it is a tangent of; one that is not
given is zero, and is left out of the machine code.
"""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import View, int64, kernel, leaf, pointer
from stnkit.kernels.cpu.call import COTANGENT, FILL, IMAGE, IMAGE_BAR, IMAGE_DOT, OUT, OUT_DOT, SOURCE, SOURCE_DOT
from stnkit.kernels.cpu.loops import (
    add_bars,
    clear_bars,
    finish_source_bar,
    image_cotangent_tile,
    over_tiles,
    position,
    vectored,
)
from stnkit.kernels.cpu.nearest import pick
from stnkit.kernels.cpu.parts import span
from stnkit.kernels.cpu.tile import stage_dots, steepness
from stnkit.kernels.leaves.axis import chain
from stnkit.kernels.leaves.fills import beyond, channel
from stnkit.kernels.leaves.formats import narrow, widen, zero
from stnkit.kernels.leaves.places import locations
from stnkit.kernels.leaves.point import blend, directional_derivative, rows_in_order
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import full, lanes, load, store, unless_zero, width
from stnkit.spec import Spec


@functools.cache
def sample_jvp(spec: Spec) -> Any:
    """Build the kernel of a value and its tangent, in one pass over the same taps.

    out' = sample(image', u) + (d sample / d u) u', the sum over the axes of u.
    """

    def sample_jvp(words, first, last):
        return over_tiles(words, first, last, sample_tile_jvp, spec)

    return kernel(sample_jvp, spec)


@leaf
def sample_tile_jvp(words, call, tile, memory, n, cs, t, at, spec):
    """Interpolate the channels `cs` of one tile, and their tangents."""
    like, stored, tangent = zero(spec.arithmetic_dtype), zero(spec.image_dtype), zero(spec.dot_dtype)
    out, out_dot = View(pointer(words[OUT], stored), call.out), pointer(words[OUT_DOT], tangent)
    image = View(pointer(words[IMAGE], stored), call.image)
    image_dot = View(pointer(words[IMAGE_DOT], tangent), call.image)
    fills, raws = pointer(words[FILL], like), pointer(words[FILL], stored)
    many, points = lanes(like, spec), lanes(like, spec.one_location)
    first, count = span(t, locations(call.size, spec))
    if spec.source_dot:
        stage_tangents(words, call, tile, n, first, count, like, spec)
    to = n * call.out[0] + first * call.out[2]
    fill_tile_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, count, cs, points, many, spec)


@leaf
def stage_tangents(words, call, tile, n, first, count, like, spec):
    """Stage the tangents of a tile's pixel coordinates."""
    source = View(pointer(words[SOURCE], zero(spec.source_dtype)), call.source)
    source_dot = View(pointer(words[SOURCE_DOT], zero(spec.source_dtype)), call.source)
    stage_dots(tile, n, first, count, source, source_dot, call.size, call.extent, like, spec)


@leaf
def fill_tile_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, count, cs, points, many, spec):
    """Interpolate the channels `cs` of one tile, and their tangents."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    number = tile.weights[0]
    for a in range(outer):
        b = int64(0)
        while b + width(many) <= vectored(inner, spec):
            fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, cs, points, many, spec)
            b += width(many)
        while b < inner:
            fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, cs, number, number, spec)
            b += 1


@leaf
def fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, cs, points, many, spec):
    """Interpolate number `b` of the inner loop, or several, and the tangent."""
    p, c = position(a, b, cs, spec)
    number = tile.weights[0]
    none = full(type(number)(0), many)
    where = to + (p * out.strides[2] + c if spec.interleaved else c * out.strides[1] + p)
    plane = at + c * image.strides[1]
    outside = beyond(fills, c, tile, p, many, spec)
    in_order = rows_in_order(tile, p, points, spec.reading)
    value, dx, dy, dz = blend(image, spec.image_dtype, plane, outside, tile, p, in_order, points, many, spec.reading)
    value_dot = none
    if spec.source_dot:
        value_dot = value_dot + along(tile, p, dx, dy, dz, points, many, spec)
    if spec.image_dot:
        tangent, _, _, _ = blend(image_dot, spec.dot_dtype, plane, none, tile, p, in_order, points, many, spec.reading)
        value_dot = value_dot + tangent
    if spec.nearest:
        stored = channel(raws, c, many, spec)
        store(out.memory, where, pick(image.memory, plane, stored, tile, p, points, many, spec.reading))
    else:
        store(out.memory, where, narrow(value, image.memory[0], spec.image_dtype))
    store(out_dot, where, narrow(value_dot, out_dot[where], spec.dot_dtype))


@leaf
def along(tile, p, dx, dy, dz, points, many, spec):
    """Return the derivative of location `p`, or several, along the tangent of its pixel coordinates."""
    value_dot = rise(full(load(tile.dots, slot(int64(0), p), points), many), dx)
    if spec.ndim > 1:
        value_dot = value_dot + rise(full(load(tile.dots, slot(int64(1), p), points), many), dy)
    if spec.ndim > 2:
        value_dot = value_dot + rise(full(load(tile.dots, slot(int64(2), p), points), many), dz)
    return value_dot


@leaf
def rise(step, slope):
    """Return what a step along an axis adds: exactly 0 if there is no step or no slope, be the other infinite.

    A step may be: near the horizon of a projective map one overflows, where locations are far outside the image.
    """
    return unless_zero(step, unless_zero(slope, step * slope))


@leaf
def moves(tile, p, points, many, spec):
    """Count the axes along which the tangent of a location's pixel coordinates is not 0."""
    one = full(type(tile.dots[0])(1), many)
    axes = unless_zero(full(load(tile.dots, slot(int64(0), p), points), many), one)
    if spec.ndim > 1:
        axes = axes + unless_zero(full(load(tile.dots, slot(int64(1), p), points), many), one)
    if spec.ndim > 2:
        axes = axes + unless_zero(full(load(tile.dots, slot(int64(2), p), points), many), one)
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

    def sample_double_vjp(words, first, last):
        return over_tiles(words, first, last, sample_tile_double_vjp, spec)

    return kernel(sample_double_vjp, spec)


@leaf
def sample_tile_double_vjp(words, call, tile, memory, n, cs, t, at, spec):
    """Add what one tile brings to the cotangents of image and source, and write that of the cotangent."""
    like, tangent = zero(spec.arithmetic_dtype), zero(spec.dot_dtype)
    out_bar = View(pointer(words[COTANGENT], tangent), call.cotangent)
    many, points = lanes(like, spec), lanes(like, spec.one_location)
    first, count = span(t, locations(call.size, spec))
    if spec.source_dot:
        stage_tangents(words, call, tile, n, first, count, like, spec)
    g_at, distant = n * call.cotangent[0] + first * call.cotangent[2], call.prefetch[0] != 0
    if spec.image_bar:
        image_bar = View(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), call.image)
        image_cotangent_tile(image_bar, at, out_bar, g_at, tile, count, cs, distant, many, bool(1), spec)
    if spec.source_bar or spec.out_bar:
        image = View(pointer(words[IMAGE], zero(spec.image_dtype)), call.image)
        image_dot = View(pointer(words[IMAGE_DOT], tangent), call.image)
        out_bar_bar, fills = View(pointer(words[OUT], tangent), call.out), pointer(words[FILL], like)
        to = n * call.out[0] + first * call.out[2]
        double_vjp_tile(
            out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, count, cs, points, many, spec
        )  # fmt: skip
    if spec.source_bar:
        finish_source_bar(words, call, tile, n, t, first, count, like, spec)


@leaf
def double_vjp_tile(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, count, cs, points, many, spec):
    """Write the cotangents of one tile's cotangents, and stage those of its pixel coordinates."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    number = tile.weights[0]
    if spec.source_bar:
        clear_bars(tile, count, spec)
    for a in range(outer):
        b = int64(0)
        while b + width(many) <= vectored(inner, spec):
            double_vjp_point(
                out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, cs, points, many, spec
            )
            b += width(many)
        while b < inner:
            double_vjp_point(
                out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, cs, number, number, spec
            )
            b += 1


@leaf
def double_vjp_point(out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, cs, points, many, spec):
    """Do for number `b` of the inner loop, or several, what `double_vjp_tile` does."""
    p, c = position(a, b, cs, spec)
    number = tile.weights[0]
    none = full(type(number)(0), many)
    plane = at + c * image.strides[1]
    in_order = rows_in_order(tile, p, points, spec.reading)
    value, dx, dy, dz = none, none, none, none
    if spec.image_dot:
        value, dx, dy, dz = blend(image_dot, spec.dot_dtype, plane, none, tile, p, in_order, points, many, spec.reading)
    if spec.source_dot:
        outside = beyond(fills, c, tile, p, many, spec)
        value_, dx_, dy_, dz_ = directional_derivative(
            image, spec.image_dtype, plane, outside, tile, p, in_order, points, many, spec.reading
        )
        moved = moves(tile, p, points, many, spec)
        value, dx = value + unless_zero(moved, value_), dx + unless_zero(moved, dx_)
        dy, dz = dy + unless_zero(moved, dy_), dz + unless_zero(moved, dz_)
    if spec.out_bar:
        where = to + (p * out_bar_bar.strides[2] + c if spec.interleaved else c * out_bar_bar.strides[1] + p)
        store(out_bar_bar.memory, where, narrow(value, out_bar_bar.memory[where], spec.dot_dtype))
    if spec.source_bar:
        where = g_at + p * out_bar.strides[2] + c * out_bar.strides[1]
        g = widen(load(out_bar.memory, where, many), number, spec.dot_dtype)
        add_bars(tile, p, g * dx, g * dy, g * dz, points, spec)


@functools.cache
def sample_gradient(spec: Spec) -> Any:
    """Build the kernel of the interpolated image's derivatives: out[n, c, p, axis], per unit of coordinates."""

    def sample_gradient(words, first, last):
        return over_tiles(words, first, last, sample_tile_gradient, spec)

    return kernel(sample_gradient, spec)


@leaf
def sample_tile_gradient(words, call, tile, memory, n, cs, t, at, spec):
    """Write the derivatives of the channels `cs` of one tile."""
    out = View(pointer(words[OUT], zero(spec.dot_dtype)), call.out)
    image = View(pointer(words[IMAGE], zero(spec.image_dtype)), call.image)
    first, count = span(t, locations(call.size, spec))
    fills, to = pointer(words[FILL], zero(spec.arithmetic_dtype)), n * call.out[0] + first * call.out[2]
    gradient_tile(out, to, image, at, fills, tile, count, cs, call.size, call.extent, spec)


@leaf
def gradient_tile(out, to, image, at, fills, tile, count, cs, size, extent, spec):
    """Write the derivatives of the channels `cs` of one tile."""
    wide = cs[1] - cs[0]
    outer, inner = (count, wide) if spec.interleaved else (wide, count)
    zero = type(tile.weights[0])(0)
    for a in range(outer):
        for b in range(inner):
            p, c = position(a, b, cs, spec)
            where = (to + p * out.strides[2] + c * out.strides[1]) * spec.ndim
            plane = at + c * image.strides[1]
            in_order = rows_in_order(tile, p, zero, spec.reading)
            _, dx, dy, dz = blend(image, spec.image_dtype, plane, fills[c], tile, p, in_order, zero, zero, spec.reading)
            for axis in range(spec.ndim):
                slope = dx if axis == 0 else (dy if axis == 1 else dz)
                scale = steepness(tile, axis, p, extent, spec.padding[axis], spec)
                slope *= scale * chain(extent[2 - axis], size[2 - axis], zero, spec)
                there = out.memory[where + axis]
                out.memory[where + axis] = narrow(slope if scale != zero else zero, there, spec.dot_dtype)
