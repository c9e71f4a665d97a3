"""A tile of output locations: stage the taps of all of them once, then let every channel run over the tile."""

from typing import Any, NamedTuple

from stnkit.kernels.compiler.jit import advanced, int64, leaf, malloc, pointer, uint64
from stnkit.kernels.leaves.axis import chain, is_near, locate, padding_slope
from stnkit.kernels.leaves.maps import stage_lattice, stage_thin_plate
from stnkit.kernels.leaves.padding import tame
from stnkit.kernels.leaves.places import held, run
from stnkit.kernels.leaves.sources import lattice, pixel, tangent
from stnkit.kernels.leaves.stage import row_stride, slot
from stnkit.kernels.leaves.taps import stage_taps
from stnkit.kernels.simd.squares import transpose
from stnkit.spec import AFFINE, LANES, THIN_PLATE_SPLINE, TILE

LINE = 64  # bytes that a cache keeps together
STRETCH = 16  # locations, of which a processor's registers hold no more


class Tile(NamedTuple):
    """The stage of one tile: rows of `TILE` locations, one row per axis, or per axis and tap."""

    coords: Any  # pixel coordinates, one row per axis
    lattice: Any  # normalised coordinates of the output locations, one row per axis; for thin plate splines only
    offsets: Any  # into a plane of the image, one row per axis and tap; none if taps are paired, or one
    rows: Any  # offsets where the rows of a footprint can be read; of nearest the one tap's, negative if that is dead
    odd: Any  # not 0 where a tap is dead, or the taps of a row do not lie side by side; if they are paired, bits
    idle: Any  # bits of the taps whose weight is 0; only where the fill value is not finite
    weights: Any
    slopes: Any  # d weight / d pixel, of more than two taps only; elsewhere they are constants
    curves: Any  # d slope / d pixel, likewise
    dots: Any  # tangents of the pixel coordinates, one row per axis
    bars: Any  # cotangents of the pixel coordinates, one row per axis; in the end, of the rows of a map


@leaf
def allocate(channels, extent, spec):
    """Allocate the memory of a stage, eight bytes for each number and offset; return its address, or 0.

    Behind it is room for the cotangents of a tile, where these have to be turned, and for an item's sums.
    """
    behind = (TILE if spec.planar or spec.beside else 0) + (extent[0] * extent[1] * extent[2] if spec.beside else 0)
    return malloc(8 * ((reals(spec) + integers(spec)) * row_stride() + LINE + behind * channels))


@leaf
def scratch_after(memory, spec):
    """Return the address of what is behind a stage."""
    return (memory + LINE - 1) // LINE * LINE + 8 * (reals(spec) + integers(spec)) * row_stride()


@leaf
def transpose_cotangents(turned, cotangents, at, count, cs):
    """Copy the cotangents of a tile from planes, so that the channels of a location lie side by side.

    Blocks of locations fill the lines of a cache in all channels; of a whole block, squares are done in registers.
    """
    apart, wide = cotangents.strides[1], turned.strides[2]
    c = cs[0]
    while c < cs[1]:
        last = min(c + LANES, cs[1])
        p = int64(0)
        while last - c == LANES and p + LANES <= count:
            transpose(turned.memory, p * wide + c - cs[0], wide, cotangents.memory, at + c * apart + p, apart)
            p += LANES
        while p < count:
            for k in range(c, last):
                turned.memory[p * wide + k - cs[0]] = cotangents.memory[at + k * apart + p]
            p += 1
        c = last


@leaf
def reals(spec):
    """Return how many rows of numbers a stage has."""
    rows = weighted(spec)
    moving = (spec.ndim if spec.source_dot else 0) + (spec.lines if spec.source_bar else 0)
    return rows + (2 * rows if spec.sloped else 0) + spec.ndim + spec.lattice_rows + moving


@leaf
def weighted(spec):
    """Return how many rows of weights a stage has: nearest needs none."""
    return spec.ndim * spec.taps if spec.taps > 1 else 0


@leaf
def integers(spec):
    """Return how many rows of offsets and bits a stage has."""
    if spec.taps == 1:
        return 1
    return (0 if spec.paired else spec.ndim * spec.taps) + spec.rows + (1 if spec.fill_finite else 2)


@leaf
def divide(memory, like, index_like, spec):
    """Divide the memory of a stage among its parts: numbers, and then offsets, all from the begin of a line on.

    So which lines compete, and whose addresses look alike, is the same in every run.
    """
    start = (memory + LINE - 1) // LINE * LINE
    return shares(pointer(start, like), pointer(start + 8 * reals(spec) * row_stride(), index_like), spec)


@leaf
def shares(numbers, indices, spec):
    """Return the parts of a stage, whose numbers begin at one pointer and its offsets at another."""
    rows = weighted(spec)
    curved = rows if spec.sloped else 0
    lattice = spec.ndim * row_stride()
    weights = lattice + spec.lattice_rows * row_stride()
    slopes = weights + rows * row_stride()
    curves = slopes + curved * row_stride()
    dots = curves + curved * row_stride()
    bars = dots + (spec.ndim if spec.source_dot else 0) * row_stride()
    lines = (0 if spec.paired else rows) * row_stride()
    return Tile(
        numbers,
        advanced(numbers, lattice),
        indices,
        advanced(indices, lines),
        advanced(indices, lines + spec.rows * row_stride()),
        advanced(indices, lines + (spec.rows + 1) * row_stride()),
        advanced(numbers, weights),
        advanced(numbers, slopes),
        advanced(numbers, curves),
        advanced(numbers, dots),
        advanced(numbers, bars),
    )


@leaf
def stage_coordinates(tile, n, first, count, source, size, extent, like, spec):
    """Stage the pixel coordinates of locations first .. first + count, row by row.

    Tell whether any of them is far. One loop does all axes: the coordinates of a grid's locations are then
    read as they lie in memory.
    """
    far = False
    if spec.source == THIN_PLATE_SPLINE:
        stage_lattice(tile.lattice, first, count, size, like, spec)
        stage_thin_plate(tile.coords, tile.lattice, source, n, count, like, spec)
        return locate_all(tile, count, extent, spec)
    each = spec.source != AFFINE  # whose coordinates rise along a row, or fall, from one end to the other
    p = 0
    while p < count:
        z, y, x, length = run(first, p, count, size, spec)
        for i in range(stretched(length, spec)):
            at = (z, y, x + i)
            far |= each & stage_coordinate(tile, p + i, int64(0), source, n, at, size, extent, like, spec)
            if spec.ndim > 1:
                far |= each & stage_coordinate(tile, p + i, int64(1), source, n, at, size, extent, like, spec)
            if spec.ndim > 2:
                far |= each & stage_coordinate(tile, p + i, int64(2), source, n, at, size, extent, like, spec)
        if not each:
            for axis in range(spec.ndim):
                ends = tile.coords[slot(axis, p)], tile.coords[slot(axis, p + length - 1)]
                far |= not (is_near(ends[0]) and is_near(ends[1]))
        p += length
    return far


@leaf
def stretched(length, spec):
    """Return how many locations of a row are worked out: of a map, so many that no loop over lanes has a rest.

    What lies past the row's end is written over by the next row, or never read; a row of the stage has room for it.
    """
    return (length + STRETCH - 1) // STRETCH * STRETCH if spec.near and spec.mapped else length


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
def stage_coordinate(tile, p, axis, source, n, at, size, extent, like, spec):
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
def stage(tile, n, first, count, source, size, extent, strides, like, spec):
    """Stage locations first .. first + count of batch item `n`; once more, and with care, if one of them is far."""
    if stage_coordinates(tile, n, first, count, source, size, extent, like, spec.checked):
        stage_coordinates(tile, n, first, count, source, size, extent, like, spec)
        settle_far(tile, count, extent, spec)
        for p in range(count):
            stage_taps(tile, p, extent, strides, spec)
    else:
        for p in range(count):
            stage_taps(tile, p, extent, strides, spec.checked)


@leaf
def steepness(tile, axis, p, extent, padding, spec):
    """Return the slope of the padding where a location's coordinate is, on one axis; 0 if that is not finite."""
    return padding_slope(tile.coords[slot(axis, p)], type(tile.odd[0])(extent[2 - axis]), padding, spec)


@leaf
def stage_dots(tile, n, first, count, source, source_dot, size, extent, like, spec):
    """Stage the tangents of pixel coordinates.

    A coordinate on which the padding has no slope, or that is not finite, moves nothing: exactly 0.
    """
    if spec.source == THIN_PLATE_SPLINE:
        stage_thin_plate(tile.dots, tile.lattice, source_dot, n, count, like, spec)
    dots_of(tile, n, first, count, int64(0), spec.padding[0], source, source_dot, size, extent, like, spec)
    if spec.ndim > 1:
        dots_of(tile, n, first, count, int64(1), spec.padding[1], source, source_dot, size, extent, like, spec)
    if spec.ndim > 2:
        dots_of(tile, n, first, count, int64(2), spec.padding[2], source, source_dot, size, extent, like, spec)


@leaf
def dots_of(tile, n, first, count, axis, padding, source, source_dot, size, extent, like, spec):
    """Stage the tangents of one axis."""
    p = 0
    while p < count:
        z, y, x, length = run(first, p, count, size, spec)
        for i in range(length):
            stage_dot(tile, p + i, axis, padding, n, (z, y, x + i), source, source_dot, size, extent, like, spec)
        p += length


@leaf
def stage_dot(tile, p, axis, padding, n, at, source, source_dot, size, extent, like, spec):
    """Stage the tangent of one location's pixel coordinate on one axis; of thin plates, the coordinate's is there."""
    zero = type(like)(0)
    scale = steepness(tile, axis, p, extent, padding, spec)
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
        many, _ = held(extent[2 - axis], extent, 2 - axis, spec.padding[axis], spec)
        total += (many - 1) * stride if stride < 0 else 0
    return total


@leaf
def finish_bars(tile, count, size, extent, like, spec):
    """Bring the staged cotangents of pixel coordinates to the units in which coordinates were given.

    A coordinate on which the padding has no slope, or that is not finite, gets exactly 0.
    """
    finish_axis(tile, count, int64(0), spec.padding[0], size, extent, like, spec)
    if spec.ndim > 1:
        finish_axis(tile, count, int64(1), spec.padding[1], size, extent, like, spec)
    if spec.ndim > 2:
        finish_axis(tile, count, int64(2), spec.padding[2], size, extent, like, spec)


@leaf
def finish_axis(tile, count, axis, padding, size, extent, like, spec):
    """Bring the cotangents of one axis to the units of the coordinates."""
    zero = type(like)(0)
    unit = chain(extent[2 - axis], size[2 - axis], like, spec)
    for p in range(count):
        scale = steepness(tile, axis, p, extent, padding, spec)
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
            z, y, x, length = run(first, p, count, size, spec)
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
