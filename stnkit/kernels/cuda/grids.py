"""What one thread of a GPU does for a grid of coordinates: one location, and its part of a map's cotangent."""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.cpu.grids import finite_tangent
from stnkit.kernels.cpu.tile import shares
from stnkit.kernels.cuda.maps import put_map
from stnkit.kernels.cuda.numbering import located, split, warp_slot
from stnkit.kernels.cuda.thread import hold
from stnkit.kernels.leaves.places import locations
from stnkit.kernels.leaves.sources import normalized
from stnkit.kernels.leaves.stage import slot


@leaf
def grid(i, out, source, size, like, spec):
    """Write the coordinates that a source gives for one location."""
    n, p = split(i, locations(size, spec))
    at = located(p, size, spec)
    for axis in range(spec.ndim):
        out[int64(i) * spec.ndim + axis] = normalized(source, int64(n), at, size, axis, like, spec)


@leaf
def grid_jvp(i, out, source, source_dot, size, like, spec):
    """Write the tangents of the coordinates that a map gives for one location."""
    n, p = split(i, locations(size, spec))
    at = located(p, size, spec)
    for axis in range(spec.ndim):
        out[int64(i) * spec.ndim + axis] = finite_tangent(source, source_dot, int64(n), at, size, axis, like, spec)


@leaf
def grid_vjp(i, partial, grid_bar, source, rows, size, like, spec):
    """Sum one location's cotangent to the warp's part of that of the map."""
    points = locations(size, spec)
    n, p, _, there = warp_slot(i, rows, points, spec)
    tile = shares(hold(like), hold(int64(0)), spec)
    at = (n * points + int64(p)) * spec.ndim
    for axis in range(spec.ndim):
        tile.bars[slot(axis, int64(0))] = grid_bar[at + axis]
    put_map(i, partial, tile, source, n, located(p, size, spec), there, size, like, spec)
