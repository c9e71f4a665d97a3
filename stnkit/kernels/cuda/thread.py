"""What one thread of a GPU does: one output location, over channels that it takes one by one or side by side.

A location's stage is the tile of the other loops with one location in it. Its memory is the thread's own, every index
into it is a constant once loops are unrolled, and so the compiler keeps it in registers. Tasks are numbered so that
neighbouring threads write neighbours: by location where a channel is a plane, by channels where pixels hold them.
Arrays, strides and sizes are those of `kernels.cpu`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import View, int64, intrinsic, leaf
from stnkit.kernels.cpu.loops import clear_bars, fill, grid_cotangent, image_cotangent
from stnkit.kernels.cpu.order import differentiate
from stnkit.kernels.cpu.tangents import double_vjp_point, fill_jvp
from stnkit.kernels.cpu.tile import finish_bars, locate_all, lowest, settle_far, shares, stage_coordinate, stage_dot
from stnkit.kernels.cuda.maps import put_map
from stnkit.kernels.cuda.merging import add_nothing, add_together, matches
from stnkit.kernels.cuda.numbering import located, task, warp_slot, whole_warps
from stnkit.kernels.cuda.warp import group_total
from stnkit.kernels.leaves.formats import narrow
from stnkit.kernels.leaves.maps import stage_lattice_point, stage_thin_plate
from stnkit.kernels.leaves.places import locations
from stnkit.kernels.leaves.point import blend, rows_in_order
from stnkit.kernels.leaves.stage import PITCH, slot
from stnkit.kernels.leaves.taps import stage_taps
from stnkit.kernels.simd.lanes import full, lanes, load, store, width
from stnkit.kernels.simd.triples import put_triple
from stnkit.spec import THIN_PLATE_SPLINE

ROWS = 72  # more than any stage has; what is not used is not kept
VECTOR = 16  # bytes that one access moves, at most


def hold(example: Any) -> Any:
    """Return memory of the thread's own, for the stage of one location, of numbers of the type of `example`.

    It belongs to the function that asks for it, and is gone when that returns, as compilers say where they inline it.
    """
    return np.zeros(ROWS * PITCH, type(example))


@intrinsic(hold, lambda example: types.CPointer(example))
def _hold(context, builder, signature, args):
    number = context.get_value_type(signature.args[0])
    block = cgutils.alloca_once(builder, ir.ArrayType(number, ROWS * (1 if is_gpu(context) else PITCH)))
    block.align = VECTOR  # which lanes that are kept here may count on
    return builder.bitcast(block, number.as_pointer())


@leaf
def stage(tile, n, at, source, size, extent, strides, like, spec):
    """Stage the one location that stands at (z, y, x)."""
    if fetch(tile, n, at, source, size, extent, like, spec):
        settle_far(tile, int64(1), extent, spec)
    stage_taps(tile, int64(0), extent, strides, spec)


@leaf
def fetch(tile, n, at, source, size, extent, like, spec):
    """Stage the location's pixel coordinates, and tell whether any of them is far."""
    if spec.source == THIN_PLATE_SPLINE:
        stage_lattice_point(tile.lattice, at, size, like, spec)
        stage_thin_plate(tile.coords, tile.lattice, source, n, int64(1), like, spec)
        return locate_all(tile, int64(1), extent, spec)
    far = stage_coordinate(tile, int64(0), int64(0), source, n, at, size, extent, like, spec)
    if spec.ndim > 1:
        far |= stage_coordinate(tile, int64(0), int64(1), source, n, at, size, extent, like, spec)
    if spec.ndim > 2:
        far |= stage_coordinate(tile, int64(0), int64(2), source, n, at, size, extent, like, spec)
    return far


@leaf
def stage_motion(tile, n, at, source, source_dot, size, extent, like, spec):
    """Stage the tangents of the location's pixel coordinates."""
    if spec.source == THIN_PLATE_SPLINE:
        stage_thin_plate(tile.dots, tile.lattice, source_dot, n, int64(1), like, spec)
    stage_dot(tile, int64(0), int64(0), spec.padding[0], n, at, source, source_dot, size, extent, like, spec)
    if spec.ndim > 1:
        stage_dot(tile, int64(0), int64(1), spec.padding[1], n, at, source, source_dot, size, extent, like, spec)
    if spec.ndim > 2:
        stage_dot(tile, int64(0), int64(2), spec.padding[2], n, at, source, source_dot, size, extent, like, spec)


@leaf
def turn(c, spec):
    """Return channel `c` of the one location as the loops of tiles number it: outer, inner."""
    return (int64(0), c) if spec.interleaved else (c, int64(0))


@leaf
def every(channels, many, spec):
    """Return how many channels there are: of triples the compiler knows, and makes no loop."""
    return int64(width(many)) if spec.triples else channels


@leaf
def sample(i, out, image, source, fills, raws, channels, group, groups, size, extent, like, index_like, spec):
    """Interpolate one location, in one group of `group` channels; of whole warps, `groups` is as in `scatter`."""
    if spec.together:
        n, p, part, _ = whole_warps(i, groups, channels, group, locations(size, spec))
    else:
        n, p, part = task(i, locations(size, spec), groups, spec)
    tile = shares(hold(like), hold(index_like), spec)
    stage(tile, n, located(p, size, spec), source, size, extent, image.strides, like, spec)
    if spec.triples:
        fill_triple(out, image, fills, raws, tile, n, int64(i) - n * groups, size, extent, like, spec)
        return
    fill_group(out, image, fills, raws, tile, n, p, part, channels, group, extent, like, spec)


@leaf
def sample_order(
    i, out, image, source, fills, raws, channels, group, groups, size, extent, order, like, index_like, spec
):  # fmt: skip
    """Interpolate one location with weights differentiated, in one group of `group` channels."""
    n, p, part = task(i, locations(size, spec), groups, spec)
    tile = shares(hold(like), hold(index_like), spec)
    stage(tile, n, located(p, size, spec), source, size, extent, image.strides, like, spec)
    differentiate(tile, int64(1), order, size, extent, like, spec)
    fill_group(out, image, fills, raws, tile, n, p, part, channels, group, extent, like, spec)


@leaf
def fill_group(out, image, fills, raws, tile, n, p, part, channels, group, extent, like, spec):
    """Interpolate group number `part` of channels at the location that is staged."""
    many, none = lanes(like, spec), (int64(0), int64(0))
    at = n * image.strides[0] + lowest(image.strides, extent, spec)
    to = n * out.strides[0] + int64(p) * out.strides[2]
    c, last = part * group, min(part * group + group, channels)
    if spec.paired and rows_in_order(tile, int64(0), like, spec):
        fill_planes(out, to, image, at, tile, c, last, like, spec)
        return
    while c < last:
        a, b = turn(c, spec)
        fill(out, to, image, at, fills, raws, tile, a, b, none, like, many, spec)
        c += width(many)


@leaf
def fill_planes(out, to, image, at, tile, c, last, like, spec):
    """Interpolate planes c .. last - 1, with no dead tap; a few at once, so that all their reads are on the way."""
    stored = image.memory[0]
    step = out.strides[1]
    while c + 2 < last:
        v0 = plane_value(image, at, tile, c, like, spec)
        v1 = plane_value(image, at, tile, c + 1, like, spec)
        v2 = plane_value(image, at, tile, c + 2, like, spec)
        store(out.memory, to + c * step, narrow(v0, stored, spec.image_dtype))
        store(out.memory, to + (c + 1) * step, narrow(v1, stored, spec.image_dtype))
        store(out.memory, to + (c + 2) * step, narrow(v2, stored, spec.image_dtype))
        c += 3
    if c < last:
        store(out.memory, to + c * step, narrow(plane_value(image, at, tile, c, like, spec), stored, spec.image_dtype))
        c += 1
    if c < last:
        store(out.memory, to + c * step, narrow(plane_value(image, at, tile, c, like, spec), stored, spec.image_dtype))


@leaf
def plane_value(image, at, tile, c, like, spec):
    """Interpolate plane `c` at the location that is staged, which has no dead tap."""
    return plain_value(image, at + c * image.strides[1], tile, like, like, spec)


@leaf
def plain_value(image, at, tile, like, many, spec):
    """Interpolate what begins at `at`, one number or as many as `many` has lanes, where no tap is dead."""
    none = full(type(like)(0), many)
    value, _, _, _ = blend(image, spec.image_dtype, at, none, tile, int64(0), bool(1), like, many, spec.reading)
    return value


@leaf
def fill_triple(out, image, fills, raws, tile, n, row, size, extent, like, spec):
    """Interpolate the three channels of the location that is staged, and write them with the warp's others."""
    many, none, own = lanes(like, spec), (int64(0), int64(0)), hold(raws[0])
    at, to = n * image.strides[0] + lowest(image.strides, extent, spec), n * out.strides[0]
    if spec.paired and rows_in_order(tile, int64(0), like, spec):
        store(own, int64(0), narrow(plain_value(image, at, tile, like, many, spec), image.memory[0], spec.image_dtype))
    else:
        fill(View(own, out.strides), int64(0), image, at, fills, raws, tile, none[0], none[1], none, like, many, spec)
    step = int64(width(many))
    put_triple(out.memory, to + row * step, to + locations(size, spec) * step, load(own, int64(0), many))


@leaf
def sample_jvp(
    i, out, out_dot, image, image_dot, source, source_dot, fills, raws, channels, group, groups, size, extent,
    like, index_like, spec,
):  # fmt: skip
    """Interpolate one location and its tangent, in one group of `group` channels."""
    n, p, part = task(i, locations(size, spec), groups, spec)
    tile = shares(hold(like), hold(index_like), spec)
    stage(tile, n, located(p, size, spec), source, size, extent, image.strides, like, spec)
    if spec.source_dot:
        stage_motion(tile, n, located(p, size, spec), source, source_dot, size, extent, like, spec)
    many, none = lanes(like, spec), (int64(0), int64(0))
    at = n * image.strides[0] + lowest(image.strides, extent, spec)
    to = n * out.strides[0] + int64(p) * out.strides[2]
    c, last = part * group, min(part * group + group, channels)
    while c < last:
        a, b = turn(c, spec)
        fill_jvp(out, out_dot, to, image, image_dot, at, fills, raws, tile, a, b, none, like, many, spec)
        c += width(many)


@leaf
def scatter(
    i, image_bar, out_bar, source, source_dot, channels, group, groups, size, extent, order, like, index_like, spec
):  # fmt: skip
    """Add one location's cotangent to the image's, in one group of `group` channels.

    Weights are those of the tangent of its coordinates, if there is one, or differentiated to an order on each axis.
    Of whole warps, `groups` is how many locations a batch item has once it is filled up to these.
    """
    if spec.together:
        n, p, part, there = whole_warps(i, groups, channels, group, locations(size, spec))
    else:
        n, p, part = task(i, locations(size, spec), groups, spec)
    at_xyz = located(p, size, spec)
    tile = shares(hold(like), hold(index_like), spec)
    stage(tile, n, at_xyz, source, size, extent, image_bar.strides, like, spec)
    if spec.source_dot:
        stage_motion(tile, n, at_xyz, source, source_dot, size, extent, like, spec)
    if spec.source_bar:
        differentiate(tile, int64(1), order, size, extent, like, spec)
    found = int64(0)
    if spec.together:
        add_nothing(tile, not there, spec)
        found = matches(tile, spec)
    many, none = lanes(like, spec), (int64(0), int64(0))
    at = n * image_bar.strides[0] + lowest(image_bar.strides, extent, spec)
    to = n * out_bar.strides[0] + int64(p) * out_bar.strides[2]
    c, last = part * group, min(part * group + group, every(channels, many, spec))
    while c < last:
        a, b = turn(c, spec)
        if spec.together:
            add_together(image_bar, at, out_bar, to, tile, found, c, many, spec)
        else:
            bent = bool(1) if spec.source_dot else bool(0)
            image_cotangent(image_bar, at, out_bar, to, tile, a, b, none, many, bent, spec)
        c += width(many)


@leaf
def sample_vjp(
    i, image_bar, source_bar, out_bar, image, source, fills, channels, repeat, rows, size, extent,
    like, index_like, spec,
):  # fmt: skip
    """Pull one location's cotangent back to the source, over all channels, and to the image if the spec asks for it.

    `repeat` is how many batch items share the source, and are done one after another.
    """
    n, p, slot_at, there = warp_slot(i, rows, locations(size, spec), spec)
    at_xyz = located(p, size, spec)
    tile = shares(hold(like), hold(index_like), spec)
    stage(tile, n, at_xyz, source, size, extent, image.strides, like, spec)
    many, none = lanes(like, spec), (int64(0), int64(0))
    channels, plane = every(channels, many, spec), lowest(image.strides, extent, spec)
    clear_bars(tile, int64(1), spec)
    together, found = spec.image_bar and spec.together, int64(0)
    if together:
        add_nothing(tile, not there, spec)
        found = matches(tile, spec)
    for m in range(n * repeat, n * repeat + repeat if there or together else n * repeat):
        at = m * image.strides[0] + plane
        to = m * out_bar.strides[0] + int64(p) * out_bar.strides[2]
        c = slot_at * width(many)
        while c < channels:
            a, b = turn(c, spec)
            grid_cotangent(image, at, fills, out_bar, to, tile, a, b, none, like, many, spec)
            if together:
                add_together(image_bar, at, out_bar, to, tile, found, c, many, spec)
            elif spec.image_bar:  # last: no read moves ahead of it
                image_cotangent(image_bar, at, out_bar, to, tile, a, b, none, many, bool(0), spec)
            c += width(many) * int64(spec.group)
    hand_over(i, source_bar, tile, source, n, p, at_xyz, slot_at, there, size, extent, like, spec)


@leaf
def sample_double_vjp(
    i, out_bar_bar, image_bar, source_bar, out_bar, image, image_dot, source, source_dot, fills,
    channels, repeat, rows, size, extent, like, index_like, spec,
):  # fmt: skip
    """Do for one location, over all channels, what the backward pass of `sample_vjp` asks for."""
    n, p, slot_at, there = warp_slot(i, rows, locations(size, spec), spec)
    at_xyz = located(p, size, spec)
    tile = shares(hold(like), hold(index_like), spec)
    stage(tile, n, at_xyz, source, size, extent, image.strides, like, spec)
    if spec.source_dot:
        stage_motion(tile, n, at_xyz, source, source_dot, size, extent, like, spec)
    many, none = lanes(like, spec), (int64(0), int64(0))
    plane = lowest(image.strides, extent, spec)
    if spec.source_bar:
        clear_bars(tile, int64(1), spec)
    for m in range(n * repeat, n * repeat + repeat if there else n * repeat):
        at = m * image.strides[0] + plane
        g_at = m * out_bar.strides[0] + int64(p) * out_bar.strides[2]
        to = m * out_bar_bar.strides[0] + int64(p) * out_bar_bar.strides[2]
        c = slot_at * width(many)
        while c < channels:
            a, b = turn(c, spec)
            if spec.source_bar or spec.out_bar:
                double_vjp_point(
                    out_bar_bar, to, out_bar, g_at, image, image_dot, at, fills, tile, a, b, none, like, many, spec,
                )  # fmt: skip
            if spec.image_bar:
                image_cotangent(image_bar, at, out_bar, g_at, tile, a, b, none, many, bool(1), spec)
            c += width(many) * int64(spec.group)
    if spec.source_bar:
        hand_over(i, source_bar, tile, source, n, p, at_xyz, slot_at, there, size, extent, like, spec)


@leaf
def hand_over(i, source_bar, tile, source, n, p, at_xyz, slot_at, there, size, extent, like, spec):
    """Write the cotangents of one location's coordinates, or the warp's part of those of a map."""
    for axis in range(spec.ndim):
        at = slot(axis, int64(0))
        tile.bars[at] = group_total(tile.bars[at], spec)
    finish_bars(tile, int64(1), size, extent, like, spec)
    counts = there and slot_at == 0
    if spec.mapped:
        put_map(i, source_bar.memory, tile, source, n, at_xyz, counts, size, like, spec)
    elif counts:
        to = n * source_bar.strides[0] + int64(p) * int64(spec.ndim)
        for axis in range(spec.ndim):
            source_bar.memory[to + axis] = tile.bars[slot(axis, int64(0))]
