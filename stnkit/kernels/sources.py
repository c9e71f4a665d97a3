"""Where a coordinate comes from: one leaf for each source, and the pull-back of a cotangent to its parameters.

A source is read as `coordinate(source, n, point, size, axis, like, spec)`: the coordinate, or the flow, of one
output location on one axis (0, 1, 2 for x, y, z), in the units in which it was given. It is linear in the source's
numbers, so the same leaf reads tangents.
"""

from numba import int64

from stnkit.kernels.axis import drift, locate
from stnkit.kernels.jit import leaf
from stnkit.spec import AFFINE, FLOW


@leaf
def lattice(i, n, like, spec):
    """Return the normalised coordinate of output location `i` of `n`.

    The end locations are -1 and 1 (align_corners), or every location is a pixel centre, (2i + 1) / n - 1.
    A single location is 0.
    """
    T = type(like)
    if spec.align:
        return T(2 * i - (n - 1)) / T(n - 1) if n > 1 else T(0)
    return T(2 * i + 1 - n) / T(n)


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
def coordinate(source, n, point, size, axis, like, spec):
    """Return the coordinate of output location `point` = (z, y, x) of batch item `n` on one axis."""
    at = n * source.strides[0]
    if spec.source == AFFINE:
        x = lattice(point[2], size[2], like, spec)
        y = lattice(point[1], size[1], like, spec)
        z = lattice(point[0], size[0], like, spec)
        return affine(source.memory, at + axis * (spec.ndim + 1), x, y, z, like, spec)
    step, along = (int64(spec.ndim), int64(1)) if spec.dense else (source.strides[3], source.strides[4])
    at += point[0] * source.strides[1] + point[1] * source.strides[2]
    return type(like)(source.memory[at + point[2] * step + axis * along])


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
