"""How the threads of a GPU sum the cotangents of coordinates to those of a map: by warps, and then the warps' parts."""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.cuda.warp import warp_size, warp_total
from stnkit.kernels.leaves.maps import projective_pullback, stage_lattice_point, staged_location
from stnkit.kernels.leaves.radial import radial
from stnkit.kernels.leaves.sources import lattice, outer_squared_distance
from stnkit.kernels.leaves.stage import slot
from stnkit.spec import AFFINE, PROJECTIVE, THIN_PLATE_SPLINE


@leaf
def put_map(i, partial, tile, source, n, at, counts, size, like, spec):
    """Write a warp's sum of what its locations give to a map's cotangent, from those of their coordinates.

    A thread that does not count gives nothing. Of a thin plate spline there stand the weights, and then the columns of
    the affine part; of other maps their rows.
    """
    if spec.source != AFFINE:
        stage_lattice_point(tile.coords, at, size, like, spec)
    if spec.source == PROJECTIVE:
        projective_pullback(tile.bars, tile.coords, source, n, int64(1), like, spec)
    for line in range(spec.lines):
        kept = slot(line, int64(0))
        tile.bars[kept] = tile.bars[kept] if counts else type(like)(0)
    bent, axes, across = int64(0), int64(spec.ndim), int64(spec.ndim + 1)
    if spec.source == THIN_PLATE_SPLINE:
        bent = source.strides[4] * axes
    to = int64(i) // warp_size() * (bent + spec.lines * across)
    leads = int64(i) % warp_size() == 0
    if spec.source == THIN_PLATE_SPLINE:
        put_bends(partial, to, tile, source, n, leads, like, spec)
        to += bent
    x, y, z = (
        lattice(at[2], size[2], like, spec),
        lattice(at[1], size[1], like, spec),
        lattice(at[0], size[0], like, spec),
    )
    row, step = (int64(1), axes) if spec.source == THIN_PLATE_SPLINE else (across, int64(1))
    put_row(partial, to, step, tile.bars[slot(int64(0), int64(0))], x, y, z, leads, spec)
    if spec.lines > 1:
        put_row(partial, to + row, step, tile.bars[slot(int64(1), int64(0))], x, y, z, leads, spec)
    if spec.lines > 2:
        put_row(partial, to + 2 * row, step, tile.bars[slot(int64(2), int64(0))], x, y, z, leads, spec)
    if spec.lines > 3:
        put_row(partial, to + 3 * row, step, tile.bars[slot(int64(3), int64(0))], x, y, z, leads, spec)


@leaf
def put_row(partial, to, step, u, x, y, z, leads, spec):
    """Write a warp's part of the cotangent of one row of a map; the thread that leads the warp does."""
    by_x, by_y, by_z, by_1 = warp_total(u * x), u, u, warp_total(u)
    if spec.ndim > 1:
        by_y = warp_total(u * y)
    if spec.ndim > 2:
        by_z = warp_total(u * z)
    if leads:
        partial[to] = by_x
        if spec.ndim > 1:
            partial[to + step] = by_y
        if spec.ndim > 2:
            partial[to + 2 * step] = by_z
        partial[to + spec.ndim * step] = by_1


@leaf
def put_bends(partial, to, tile, source, n, leads, like, spec):
    """Write a warp's part of the cotangents of the weights of a thin plate spline: those of coordinates, times U."""
    T = type(like)
    at = n * source.strides[0]
    x, y, z = staged_location(tile.coords, int64(0), like, spec)
    for k in range(source.strides[4]):
        point = at + k * spec.ndim
        u = radial(x - T(source.memory[point]), outer_squared_distance(source.memory, point, y, z, like, spec), spec)
        for axis in range(spec.ndim):
            bar = warp_total(tile.bars[slot(axis, int64(0))] * u)
            if leads:
                partial[to + k * spec.ndim + axis] = bar


@leaf
def theta_sums(i, sums, partial, rows, part, entries, like):
    """Add up one entry of `part` of the `rows` that a map has, or of those that are left, in a fixed order.

    A warp does one entry. Each thread carries what its additions round off along: Neumaier (1974).
    """
    T = type(like)
    total, rest = T(0), T(0)
    number = int64(i) // warp_size()
    parts = (rows + part - 1) // part
    n, e = number // entries, number % entries
    first = n % parts * part
    last, at = min(first + part, rows), n // parts * rows
    row = first + int64(i) % warp_size()
    while row < last:
        x = T(partial[(at + row) * entries + e])
        both = total + x
        rest += (total - both) + x if abs(total) >= abs(x) else (x - both) + total
        total = both
        row += warp_size()
    value = warp_total(total + rest)
    if int64(i) % warp_size() == 0:
        sums[number] = value
