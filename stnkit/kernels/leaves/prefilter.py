"""The filter that finds a spline's coefficients: one line of pixels, in place.

The samples of a B-spline are a convolution of its coefficients. Its inverse is, for each pole z of the filter, a
recursion from the first pixel to the last and one back: Unser, Aldroubi and Eden (1991). Each begins with what it would
have come to on the padded line, a sum that is cut off where powers of z are too small to matter.
"""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.simd.lanes import load, store
from stnkit.spec import REFLECTION, SPLINE2

POLES = (  # of the filters for splines of degree 2 to 5
    (-0.1715728752538099024, 0.0),  # sqrt(8) - 3
    (-0.26794919243112270647, 0.0),  # sqrt(3) - 2
    (-0.36134122590022017709, -0.013725429297339121360),
    (-0.43057534709997379185, -0.043096288203264653823),
)
HORIZON = 64  # steps, beyond which powers of a pole, all below 0.431, are below 4e-24


@leaf
def poles(like, spec):
    """Return the poles of the filter, of which there may be one; the second is then 0."""
    T = type(like)
    z, other = POLES[spec.interp - SPLINE2]
    return T(z), T(other)


@leaf
def find_coefficients(line, step, n, many, spec):
    """Filter a line of `n` samples, or as many lines as `many` has lanes, whose numbers are `step` apart.

    With `spec.image_bar` it is the transpose of that. A filter of a periodic or a symmetric line is its own, and one
    that is mirrored at the first and the last pixel is, but for the weights of these two.
    """
    z, other = poles(line[0], spec)
    T = type(line[0])
    if n > 1:
        gain = (T(1) - z) * (T(1) - T(1) / z)
        if spec.degree > 3:
            gain = gain * ((T(1) - other) * (T(1) - T(1) / other))
        if spec.image_bar:
            weigh_ends(line, step, n, T(2), many, spec)
        recur(line, step, n, z, gain, many, spec)
        if spec.degree > 3:
            recur(line, step, n, other, T(1), many, spec)
        if spec.image_bar:
            weigh_ends(line, step, n, T(0.5), many, spec)


@leaf
def weigh_ends(line, step, n, factor, many, spec):
    """Multiply the first and the last number of a mirrored line, which stand for themselves alone."""
    if spec.padding[0] == REFLECTION and spec.align:
        store(line, int64(0), load(line, int64(0), many) * factor)
        store(line, (n - 1) * step, load(line, (n - 1) * step, many) * factor)


@leaf
def recur(line, step, n, z, gain, many, spec):
    """Filter a line, times a factor, by one pole, in both directions."""
    before = first(line, step, n, z, gain, many, spec)
    store(line, int64(0), before)
    for i in range(1, n):
        before = load(line, i * step, many) * gain + before * z
        store(line, i * step, before)
    after = last(line, step, n, z, many, spec)
    store(line, (n - 1) * step, after)
    for k in range(1, n):
        at = (n - 1 - k) * step
        after = after * z + load(line, at, many) * (-z)
        store(line, at, after)


@leaf
def power(z, n):
    """Return z**n, or what is as good as 0."""
    value = type(z)(1)
    for _ in range(min(n, HORIZON)):
        value *= z
    return value


@leaf
def first(line, step, n, z, gain, many, spec):
    """Return what the recursion forwards begins with: the sum of z**i times the number that stands i before it.

    Numbers are those of the line, times `gain`.
    """
    T = type(z)
    begin, end = load(line, int64(0), many) * gain, load(line, (n - 1) * step, many) * gain
    zi = z
    if spec.padding[0] != REFLECTION:
        total = begin
        for i in range(1, min(n, HORIZON)):
            total = total + load(line, (n - i) * step, many) * gain * zi
            zi *= z
        return total * (T(1) / (T(1) - power(z, n)))
    if spec.align:
        zn = power(z, n - 1)
        total = begin + end * zn
        for i in range(1, min(n - 1, HORIZON)):
            low, high = load(line, i * step, many) * gain, load(line, (n - 1 - i) * step, many) * gain
            total = total + (low + high * zn) * zi
            zi *= z
        return total * (T(1) / (T(1) - zn * zn))
    zn = power(z, n)
    total = begin + end * zn
    for i in range(1, min(n, HORIZON)):
        low, high = load(line, i * step, many) * gain, load(line, (n - 1 - i) * step, many) * gain
        total = total + (low + high * zn) * zi
        zi *= z
    return begin + total * (z / (T(1) - zn * zn))


@leaf
def last(line, step, n, z, many, spec):
    """Return what the recursion backwards begins with, after that forwards."""
    T = type(z)
    end = load(line, (n - 1) * step, many)
    if spec.padding[0] != REFLECTION:
        total, zi = end, z
        for i in range(min(n - 1, HORIZON)):
            total = total + load(line, i * step, many) * zi
            zi *= z
        return total * (z / (power(z, n) - T(1)))
    if spec.align:
        return (load(line, (n - 2) * step, many) * z + end) * (z / (z * z - T(1)))
    return end * (z / (z - T(1)))
