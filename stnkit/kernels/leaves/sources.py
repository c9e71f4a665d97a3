"""Where a coordinate comes from: one leaf for each source, and the pull-back of a cotangent to its parameters.

A source is read as `coordinate(source, n, point, size, axis, like, spec)`: the coordinate, or the flow, of one
output location on one axis (0, 1, 2 for x, y, z), in the units in which it was given. But for a projective map it is
linear in the source's numbers, so the same leaf reads tangents.
"""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.leaves.axis import drift, locate
from stnkit.kernels.leaves.places import own, start
from stnkit.kernels.leaves.radial import radial
from stnkit.spec import AFFINE, FLOW, PROJECTIVE, THIN_PLATE_SPLINE


@leaf
def lattice(i, n, like, spec):
    """Return the normalised coordinate of output location `i` of `n`, or `i` itself for a map of pixels.

    The end locations are -1 and 1 (align_corners), or every location is a pixel centre, (2i + 1) / n - 1.
    A single location is 0.
    """
    T = type(like)
    if spec.pixel and spec.source == AFFINE:
        return T(i)
    if spec.align:
        return T(2 * i - (n - 1)) / T(n - 1) if n > 1 else T(0)
    return T(2 * i + 1 - n) / T(n)


@leaf
def spacing(n, like, spec):
    """Return how far apart the normalised coordinates of neighbouring output locations are, of `n`; positive."""
    T = type(like)
    steps = n - 1 if spec.align and n > 1 else n
    return T(2) / T(steps)


@leaf
def affine(theta, at, x, y, z, like, spec):
    """Return one row of an affine map applied to (x, y, z, 1); `at` is where the row begins."""
    T = type(like)
    if spec.ndim == 1:
        return T(theta[at]) * x + T(theta[at + 1])
    if spec.ndim == 2:
        return T(theta[at]) * x + (T(theta[at + 1]) * y + T(theta[at + 2]))
    return T(theta[at]) * x + (T(theta[at + 1]) * y + (T(theta[at + 2]) * z + T(theta[at + 3])))


@leaf
def depth(theta, at, x, y, z, like, spec):
    """Return what a projective map, which begins at `at`, divides by at (x, y, z): its last row, if it is positive.

    It is 0 on the horizon, and negative behind it: there it is NaN, and so it is where it is not finite.
    """
    T = type(like)
    w = affine(theta, at + spec.ndim * (spec.ndim + 1), x, y, z, like, spec)
    return w if (w > T(0) and w - w == T(0)) else T(float("nan"))


@leaf
def thin_plate(theta, at, many, x, y, z, axis, like, spec):
    """Return one axis of a thin plate spline at (x, y, z).

    At `at` stand `many` control points, then their weights, then the rows of the affine part.
    """
    T = type(like)
    weights = at + many * spec.ndim
    u = affine(theta, weights + many * spec.ndim + axis * (spec.ndim + 1), x, y, z, like, spec)
    for k in range(many):
        rest = outer_squared_distance(theta, at + k * spec.ndim, y, z, like, spec)
        u += T(theta[weights + k * spec.ndim + axis]) * radial(x - T(theta[at + k * spec.ndim]), rest, spec)
    return u


@leaf
def outer_squared_distance(theta, at, y, z, like, spec):
    """Return what the axes but x add to the squared distance of (x, y, z) from the control point at `at`."""
    T = type(like)
    square = T(0)
    if spec.ndim > 1:
        v = y - T(theta[at + 1])
        square = v * v
    if spec.ndim > 2:
        v = z - T(theta[at + 2])
        square += v * v
    return square


@leaf
def mapped(source, at, x, y, z, axis, like, spec):
    """Return one axis of what a map, which begins at `at`, makes of (x, y, z)."""
    if spec.source == THIN_PLATE_SPLINE:
        return thin_plate(source.memory, at, source.strides[4], x, y, z, axis, like, spec)
    u = affine(source.memory, at + axis * (spec.ndim + 1), x, y, z, like, spec)
    if spec.source == PROJECTIVE:
        u /= depth(source.memory, at, x, y, z, like, spec)
    return u


@leaf
def coordinate(source, n, point, size, axis, like, spec):
    """Return the coordinate of output location `point` = (z, y, x) of batch item `n` on one axis."""
    at = n * source.strides[0]
    if spec.mapped:
        x = lattice(point[2], size[2], like, spec)
        y = lattice(point[1], size[1], like, spec)
        z = lattice(point[0], size[0], like, spec)
        return mapped(source, at, x, y, z, axis, like, spec)
    step, along = (int64(spec.ndim), int64(1)) if spec.dense else (source.strides[3], source.strides[4])
    step = int64(1) if spec.apart else step
    at += (point[0] - start(size, 0, spec)) * source.strides[1] + (point[1] - start(size, 1, spec)) * source.strides[2]
    return type(like)(source.memory[at + (point[2] - start(size, 2, spec)) * step + axis * along])


@leaf
def tangent(source, source_dot, n, point, size, axis, like, spec):
    """Return the tangent of `coordinate`, in its units, along that of the source.

    A projective map is u = r / w, a row through the last one, so u' = (r' - u w') / w.
    """
    u_dot = coordinate(source_dot, n, point, size, axis, like, spec)
    if spec.source == PROJECTIVE:
        x = lattice(point[2], size[2], like, spec)
        y = lattice(point[1], size[1], like, spec)
        z = lattice(point[0], size[0], like, spec)
        at = n * source.strides[0]
        row, last = axis * (spec.ndim + 1), spec.ndim * (spec.ndim + 1)
        r_dot = affine(source_dot.memory, at + row, x, y, z, like, spec)
        w_dot = affine(source_dot.memory, at + last, x, y, z, like, spec)
        u = mapped(source, at, x, y, z, axis, like, spec)
        u_dot = (r_dot - u * w_dot) / depth(source.memory, at, x, y, z, like, spec)
    return u_dot


@leaf
def pixel(source, n, point, size, axis, extent, like, spec):
    """Return the pixel coordinate of output location `point` on one axis, of `extent` pixels."""
    u = coordinate(source, n, point, size, axis, like, spec)
    if spec.source == FLOW:
        return drift(u, point[2 - axis], extent, size[2 - axis], spec)
    return locate(u, extent, spec)


@leaf
def normalized(source, n, point, size, axis, like, spec):
    """Return the normalised coordinate that a source gives for output location `point` on one axis."""
    u = coordinate(source, n, point, size, axis, like, spec)
    if spec.source != FLOW:
        return u
    T = type(like)
    t = size[2 - axis]
    steps = t - 1 if spec.align else t
    pixel = T(2) / T(steps) if steps > 0 else T(0)
    return lattice(point[2 - axis], t, like, spec) + (u * pixel if spec.pixel else u)


@leaf
def put_row(out, at, source, n, z, y, size, like, spec):
    """Write the normalised coordinates that a source gives for one row of locations."""
    first = start(size, 2, spec)
    for x in range(own(size, 2, spec)):
        for axis in range(spec.ndim):
            out[at + x * spec.ndim + axis] = normalized(source, n, (z, y, first + x), size, axis, like, spec)
