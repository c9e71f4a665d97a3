"""A tile of output locations: stage the taps of all of them once, then let every channel run over the tile."""

from typing import Any, NamedTuple

from numba import int64, uint64

from stnkit.kernels.axis import chain, is_near, locate, tame, taps
from stnkit.kernels.jit import beyond, buffer, leaf, pointer, step
from stnkit.kernels.maps import bend_out, run, spread_out
from stnkit.kernels.point import beside, pitch, slot
from stnkit.kernels.sources import lattice, pixel, tangent
from stnkit.spec import BILINEAR, THIN_PLATE_SPLINE


class Tile(NamedTuple):
    """The stage of one tile: rows of `TILE` locations, one row per axis, or per axis and tap."""

    coords: Any  # pixel coordinates, one row per axis
    scales: Any  # slope of the padding, one row per axis
    offsets: Any  # into a plane of the image, one row per axis and tap
    starts: Any  # offsets along x where a row of taps can be read; those of bilinear are kept within the image
    rows: Any  # offsets where the rows of a footprint can be read, or 0 if that would be outside
    odd: Any  # not 0 where a tap is dead, or the taps of a row do not lie side by side
    weights: Any
    slopes: Any  # d weight / d pixel, for bicubic only; elsewhere they are constants
    curves: Any  # d slope / d pixel, likewise
    dots: Any  # tangents of the pixel coordinates, one row per axis
    bars: Any  # cotangents of the pixel coordinates, one row per axis; in the end, of the rows of a map


@leaf
def allocate(like, index_like, spec):
    """Allocate the memory of a stage: numbers, and offsets. Leaves get pointers, which need no reference counts."""
    rows = spec.ndim * spec.taps
    curved = 2 * rows if spec.sloped else 0
    moving = (spec.ndim if spec.source_dot else 0) + (spec.lines if spec.source_bar else 0)
    return buffer((rows + curved + 2 * spec.ndim + moving) * pitch(), like), buffer(
        (rows + 1 + spec.rows + 1) * pitch(), index_like
    )


@leaf
def divide(numbers, offsets, like, index_like, spec):
    """Divide the memory of a stage among its parts."""
    return shares(pointer(numbers.ctypes.data, like), pointer(offsets.ctypes.data, index_like), spec)


@leaf
def shares(reals, indices, spec):
    """Return the parts of a stage, whose numbers begin at one pointer and its offsets at another."""
    rows = spec.ndim * spec.taps
    curved = rows if spec.sloped else 0
    scales = spec.ndim * pitch()
    weights = scales + spec.ndim * pitch()
    slopes = weights + rows * pitch()
    curves = slopes + curved * pitch()
    dots = curves + curved * pitch()
    bars = dots + (spec.ndim if spec.source_dot else 0) * pitch()
    return Tile(
        reals,
        beyond(reals, scales),
        indices,
        beyond(indices, rows * pitch()),
        beyond(indices, (rows + 1) * pitch()),
        beyond(indices, (rows + 1 + spec.rows) * pitch()),
        beyond(reals, weights),
        beyond(reals, slopes),
        beyond(reals, curves),
        beyond(reals, dots),
        beyond(reals, bars),
    )


@leaf
def release(numbers, offsets):
    """Say that a stage is no longer used: its memory lives until here."""
    return numbers.size + offsets.size


@leaf
def fetch(tile, n, first, count, source, size, extent, like, spec):
    """Stage the pixel coordinates of locations first .. first + count, row by row.

    Tell whether any of them is far. One loop does all axes: the coordinates of a grid's locations are then
    read as they lie in memory.
    """
    far = False
    if spec.source == THIN_PLATE_SPLINE:
        spread_out(tile.scales, first, count, size, like, spec)  # which are staged later
        bend_out(tile.coords, tile.scales, source, n, count, like, spec)
        return locate_all(tile, count, extent, spec)
    p = 0
    while p < count:
        z, y, x, length = run(first, p, count, size)
        for i in range(length):
            at = (z, y, x + i)
            far |= fetch_axis(tile, p + i, int64(0), source, n, at, size, extent, like, spec)
            if spec.ndim > 1:
                far |= fetch_axis(tile, p + i, int64(1), source, n, at, size, extent, like, spec)
            if spec.ndim > 2:
                far |= fetch_axis(tile, p + i, int64(2), source, n, at, size, extent, like, spec)
        p += length
    return far


@leaf
def locate_all(tile, count, extent, spec):
    """Turn staged coordinates to those of pixels, and tell whether any of them is far."""
    far = False
    for axis in range(spec.ndim):
        for p in range(count):
            px = locate(tile.coords[slot(axis, p)], extent[2 - axis], spec)
            tile.coords[slot(axis, p)] = px
            far |= not is_near(px)
    return far


@leaf
def fetch_axis(tile, p, axis, source, n, at, size, extent, like, spec):
    """Stage the pixel coordinate of one location on one axis, and tell whether it is far."""
    px = pixel(source, n, at, size, axis, extent[2 - axis], like, spec)
    tile.coords[slot(axis, p)] = px
    return not is_near(px)


@leaf
def settle_far(tile, count, extent, spec):
    """Make every coordinate of the tile near, or NaN on all axes if it is not finite on one."""
    for p in range(count):
        lost = False
        for axis in range(spec.ndim):
            x = tile.coords[slot(axis, p)]
            lost |= x != x
        for axis in range(spec.ndim):
            x = tile.coords[slot(axis, p)]
            if lost:
                tile.coords[slot(axis, p)] = type(x)(float("nan"))
            elif not is_near(x):
                tile.coords[slot(axis, p)] = tame(x, extent[2 - axis], spec.padding[axis], spec)


@leaf
def place(tile, p, extent, strides, spec):
    """Stage the taps of one location on all axes, and whether any of them is dead, or those of a row lie apart."""
    odd = place_axis(tile, p, int64(0), extent[2], strides[4], spec.padding[0], spec)
    if spec.ndim > 1:
        odd |= place_axis(tile, p, int64(1), extent[1], strides[3], spec.padding[1], spec)
    if spec.ndim > 2:
        odd |= place_axis(tile, p, int64(2), extent[0], strides[2], spec.padding[2], spec)
    tile.odd[slot(int64(0), p)] = odd


@leaf
def place_axis(tile, p, axis, n, stride, padding, spec):
    """Stage the taps of one location on one axis. Return 0 if none is dead, and on x if they lie side by side.

    `stride` steps one pixel along the axis. Where it is negative, offsets count from the axis' far end, so
    that offsets of living taps are never negative.
    """
    K = type(tile.offsets[0])
    n, stride = K(n), K(stride)
    bias = K((1 - n) * stride) if stride < 0 else K(0)
    row = axis * spec.taps
    (j0, j1, j2, j3), ws, vs, qs, scale = taps(tile.coords[slot(axis, p)], n, padding, spec)
    tile.scales[slot(axis, p)] = scale
    if axis == 0:
        tile.starts[slot(int64(0), p)] = K(start(j0, n, spec) * stride + bias)
    odd = keep(tile, row, p, j0, ws[0], vs[0], qs[0], stride, bias, spec)
    if spec.taps > 1:
        odd = K(odd | keep(tile, row + 1, p, j1, ws[1], vs[1], qs[1], stride, bias, spec))
        odd = K(odd | K(j1 - j0 - 1)) if axis == 0 else odd
    if spec.taps > 2:
        odd = K(odd | keep(tile, row + 2, p, j2, ws[2], vs[2], qs[2], stride, bias, spec))
        odd = K(odd | keep(tile, row + 3, p, j3, ws[3], vs[3], qs[3], stride, bias, spec))
        odd = K(odd | K(j2 - j1 - 1) | K(j3 - j2 - 1)) if axis == 0 else odd
    return odd


@leaf
def start(j, n, spec):
    """Return from which pixel the row of taps that begins with `j` can be read; for bilinear, also if it is dead."""
    K = type(n)
    if spec.interp != BILINEAR:
        return j
    last = K(n - 2)
    j = j if j < last else last
    return j if j > 0 else K(0)


@leaf
def keep(tile, row, p, j, w, v, q, stride, bias, spec):
    """Stage one tap. Return 1 if it is dead, else 0."""
    K = type(j)
    far = K(-(1 << 61)) if spec.wide else K(-(1 << 29))
    tile.offsets[slot(row, p)] = K(j * stride + bias) if j >= 0 else far
    tile.weights[slot(row, p)] = w
    if spec.sloped:
        tile.slopes[slot(row, p)] = v
        tile.curves[slot(row, p)] = q
    return K(1) if j < 0 else K(0)


@step
def stage(tile, n, first, count, source, size, extent, strides, like, spec):
    """Stage locations first .. first + count of batch item `n`."""
    if fetch(tile, n, first, count, source, size, extent, like, spec):
        settle_far(tile, count, extent, spec)
    for p in range(count):
        place(tile, p, extent, strides, spec)
        if spec.packed:
            line_up(tile, p, spec)


@leaf
def line_up(tile, p, spec):
    """Stage where the rows of a footprint can be read."""
    K = type(tile.offsets[0])
    taps = spec.taps
    for k in range(taps if spec.ndim > 2 else 1):
        for j in range(taps if spec.ndim > 1 else 1):
            offset = K(tile.starts[slot(int64(0), p)] + beside(tile, p, k, j, int64(0), spec))
            tile.rows[slot(taps * k + j, p)] = offset if offset > 0 else K(0)


@leaf
def stage_dots(tile, n, first, count, source, source_dot, size, extent, like, spec):
    """Stage the tangents of pixel coordinates, of which the places are no longer needed.

    A coordinate on which the padding has no slope, or that is not finite, moves nothing: exactly 0.
    """
    if spec.source == THIN_PLATE_SPLINE:
        spread_out(tile.coords, first, count, size, like, spec)
        bend_out(tile.dots, tile.coords, source_dot, n, count, like, spec)
    for axis in range(spec.ndim):
        p = 0
        while p < count:
            z, y, x, length = run(first, p, count, size)
            for i in range(length):
                stage_dot(tile, p + i, axis, n, (z, y, x + i), source, source_dot, size, extent, like, spec)
            p += length


@leaf
def stage_dot(tile, p, axis, n, at, source, source_dot, size, extent, like, spec):
    """Stage the tangent of one location's pixel coordinate on one axis; of thin plates, the coordinate's is there."""
    zero = type(like)(0)
    scale = tile.scales[slot(axis, p)]
    unit = chain(extent[2 - axis], size[2 - axis], like, spec)
    if spec.source == THIN_PLATE_SPLINE:
        dot = tile.dots[slot(axis, p)] * scale * unit
    else:
        dot = tangent(source, source_dot, n, at, size, axis, like, spec) * scale * unit
    tile.dots[slot(axis, p)] = dot if scale != zero else zero


@leaf
def lowest(strides, extent, spec):
    """Return where the lowest address of a plane lies, relative to its first pixel."""
    total = 0
    for axis in range(spec.ndim):
        stride = strides[4 - axis]
        total += (extent[2 - axis] - 1) * stride if stride < 0 else 0
    return total


@leaf
def finish_bars(tile, count, size, extent, like, spec):
    """Bring the staged cotangents of pixel coordinates to the units in which coordinates were given.

    A coordinate on which the padding has no slope, or that is not finite, gets exactly 0.
    """
    zero = type(like)(0)
    for axis in range(spec.ndim):
        unit = chain(extent[2 - axis], size[2 - axis], like, spec)
        for p in range(count):
            scale = tile.scales[slot(axis, p)]
            bar = tile.bars[slot(axis, p)] * scale * unit
            tile.bars[slot(axis, p)] = bar if scale != zero else zero


@leaf
def put_bars(grid_bar, at, tile, count, spec):
    """Add the tile's cotangents to those of a grid's locations."""
    for p in range(count):
        for axis in range(spec.ndim):
            grid_bar[at + p * spec.ndim + axis] += tile.bars[slot(axis, p)]


@leaf
def sum_bars(theta_bar, to, bars, at, axis_step, step, first, count, size, like, spec):
    """Add coordinates' cotangents, times the location they stand at, to those of an affine map.

    With u = theta [x, y, z, 1]: theta_bar = sum of u_bar [x, y, z, 1]. y and z are constant along a row, so
    a row needs two sums. A projective map has one more row of theta.
    """
    T = type(like)
    for axis in range(spec.lines):
        row_to = to + axis * (spec.ndim + 1)
        p = 0
        while p < count:
            z, y, x, length = run(first, p, count, size)
            total, moment = T(0), T(0)
            for i in range(p, p + length):
                g = T(bars[uint64(at + axis * axis_step + i * step)])
                total += g
                moment += g * lattice(x + i - p, size[2], like, spec)
            theta_bar[row_to] += moment
            if spec.ndim > 1:
                theta_bar[row_to + 1] += total * lattice(y, size[1], like, spec)
            if spec.ndim > 2:
                theta_bar[row_to + 2] += total * lattice(z, size[0], like, spec)
            theta_bar[row_to + spec.ndim] += total
            p += length
