"""Maps that are no affine ones, over a tile of output locations: coordinates, and how cotangents come back.

Leaves here work on rows of a stage: `lattice_rows` are the normalised coordinates of the tile's locations, one row per
axis. Each loop over locations is one that compilers vectorise.
"""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.leaves.places import run
from stnkit.kernels.leaves.radial import radial
from stnkit.kernels.leaves.sources import affine, depth, lattice, mapped, outer_squared_distance
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import full, load, total, width


@leaf
def stage_lattice(lattice_rows, first, count, size, like, spec):
    """Stage the normalised coordinates of locations first .. first + count of the output."""
    p = 0
    while p < count:
        k, j, i, length = run(first, p, count, size, spec)
        y, z = lattice(j, size[1], like, spec), lattice(k, size[0], like, spec)
        for q in range(length):
            lattice_rows[slot(int64(0), p + q)] = lattice(i + q, size[2], like, spec)
            if spec.ndim > 1:
                lattice_rows[slot(int64(1), p + q)] = y
            if spec.ndim > 2:
                lattice_rows[slot(int64(2), p + q)] = z
        p += length


@leaf
def stage_lattice_point(lattice_rows, at, size, like, spec):
    """Stage the normalised coordinates of the one location that stands at (z, y, x) of the output."""
    lattice_rows[slot(int64(0), int64(0))] = lattice(at[2], size[2], like, spec)
    if spec.ndim > 1:
        lattice_rows[slot(int64(1), int64(0))] = lattice(at[1], size[1], like, spec)
    if spec.ndim > 2:
        lattice_rows[slot(int64(2), int64(0))] = lattice(at[0], size[0], like, spec)


@leaf
def staged_location(lattice_rows, p, like, spec):
    """Return the (x, y, z) of a staged location."""
    T = type(like)
    y = lattice_rows[slot(int64(1), p)] if spec.ndim > 1 else T(0)
    z = lattice_rows[slot(int64(2), p)] if spec.ndim > 2 else T(0)
    return lattice_rows[slot(int64(0), p)], y, z


@leaf
def stage_thin_plate(out, lattice_rows, source, n, count, like, spec):
    """Stage where a thin plate spline takes the locations; one control point after the other, as `plate` does."""
    T = type(like)
    theta, many = source.memory, source.strides[4]
    at = n * source.strides[0]
    weights = at + many * spec.ndim
    for axis in range(spec.ndim):
        row = weights + many * spec.ndim + axis * (spec.ndim + 1)
        for p in range(count):
            x, y, z = staged_location(lattice_rows, p, like, spec)
            out[slot(axis, p)] = affine(theta, row, x, y, z, like, spec)
    for k in range(many):
        point, weight = at + k * spec.ndim, weights + k * spec.ndim
        c, wx = T(theta[point]), T(theta[weight])
        wy = T(theta[weight + 1]) if spec.ndim > 1 else T(0)
        wz = T(theta[weight + 2]) if spec.ndim > 2 else T(0)
        for p in range(count):
            x, y, z = staged_location(lattice_rows, p, like, spec)
            u = radial(x - c, outer_squared_distance(theta, point, y, z, like, spec), spec)
            out[slot(int64(0), p)] += wx * u
            if spec.ndim > 1:
                out[slot(int64(1), p)] += wy * u
            if spec.ndim > 2:
                out[slot(int64(2), p)] += wz * u


@leaf
def sum_weight_cotangents(theta_bar, to, bars, lattice_rows, scratch, source, n, count, like, many, spec):
    """Add coordinates' cotangents, times U, to those of the weights of a thin plate spline.

    `scratch` is a row, and `many` are the lanes that sum.
    """
    T = type(like)
    theta, points = source.memory, source.strides[4]
    at = n * source.strides[0]
    for k in range(points):
        point = at + k * spec.ndim
        c = T(theta[point])
        for p in range(count):
            x, y, z = staged_location(lattice_rows, p, like, spec)
            scratch[slot(int64(0), p)] = radial(x - c, outer_squared_distance(theta, point, y, z, like, spec), spec)
        for axis in range(spec.ndim):
            theta_bar[to + (points + k) * spec.ndim + axis] += dot(bars, axis, scratch, count, like, many)


@leaf
def dot(bars, axis, row, count, like, many):
    """Return the sum of the products of two rows."""
    sums = full(type(like)(0), many)
    p = int64(0)
    while p + width(many) <= count:
        sums = sums + load(bars, slot(axis, p), many) * load(row, slot(int64(0), p), many)
        p += width(many)
    rest = total(sums, like)
    while p < count:
        rest += bars[slot(axis, p)] * row[slot(int64(0), p)]
        p += 1
    return rest


@leaf
def projective_pullback(bars, lattice_rows, source, n, count, like, spec):
    """Turn the cotangents of a projective map's coordinates to those of its rows, of which there is one more.

    With u = r / w: r_bar = u_bar / w, and w_bar = -(sum of r_bar u). A location at or behind the horizon passes
    exactly 0, and so does one whose coordinates are not finite.
    """
    T = type(like)
    at = n * source.strides[0]
    for p in range(count):
        x, y, z = staged_location(lattice_rows, p, like, spec)
        w = depth(source.memory, at, x, y, z, like, spec)
        lost, last = w != w, T(0)
        for axis in range(spec.ndim):
            u = mapped(source, at, x, y, z, axis, like, spec)
            lost |= u - u != T(0)
        for axis in range(spec.ndim):
            bar = bars[slot(axis, p)] / w
            bar = T(0) if lost else bar
            u = mapped(source, at, x, y, z, axis, like, spec)
            last -= T(0) if lost else bar * u
            bars[slot(axis, p)] = bar
        bars[slot(int64(spec.ndim), p)] = last
