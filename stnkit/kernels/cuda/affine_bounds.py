"""What is known of an affine map before its adjoint is gathered: the map in pixels, an inverse, and whether they do.

In pixels the map is u = M o + b, for a location o that counts from 0 along x, y and z. A pixel is read where u is
within a footprint's reach R of it on every axis: 1 pixel for bilinear, 1/2 for nearest, 2 for bicubic. Ranges of
locations are computed from M, b and an inverse X of M; they must hold every location that reads a pixel, though all of
this is rounded.

Roundings. Let e be half the distance from 1 to the next number, and P = n (1 + the sum of |theta| in the axis' row),
for n pixels: nothing on the way to u exceeds P, nor does a partial sum of M o + b, and none of M o + b - q exceeds 2 P.
On the way of sampling to u there are at most 7 roundings of P / 2 (d products and sums, and a division: 2 d + 1) and 4
of P; M and b have at most 3 of P and 9 of P / 2; the range of a row, at most 10 of 2 P. Together these are 35 e P. R is
raised by `SLACK` e P, nearly twice that.

The inverse may be as wrong as it is. For any X, o = X (u - b) + (1 - X M) o, so that |1 - X M| (t - 1) bounds its
error for t locations; what the roundings of X M and of the box add is at most 4 e (t - 1) and |X| SLACK e P.
The box is widened by 1/4 location, and a map for which all this is greater is not gathered.
"""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.leaves.axis import chain, locate
from stnkit.kernels.leaves.reproducible_sum import whole_add
from stnkit.kernels.leaves.sources import lattice, spacing
from stnkit.spec import BORDER, FLOAT64

SLACK = 64  # times e P: by how much ranges are raised
MOST = 64  # candidates of one pixel, or 16 for each tap where that is more
LONGEST = 1 << 22  # an axis of so many locations is not gathered: twice as many are counted without rounding

# What is remembered of an item's map: whether it is gathered, and for each axis of the image
LINEAR = 0  # a row of M
SHIFT = 3  # b
STEEP = 4  # 1 / M along x; huge where M is 0
LOWEST, HIGHEST = 5, 6  # u of any location
REACH = 7  # R, raised
BACK = 8  # a column of X
AXIS = 11  # numbers for one axis
ROW = 1 + 3 * AXIS  # numbers for one item


@leaf
def entry(n, axis):
    """Return where the numbers of an axis of batch item `n` begin."""
    return n * int64(ROW) + int64(1) + axis * int64(AXIS)


@leaf
def is_gathered(maps, n):
    """Tell whether the image's cotangent of batch item `n` is gathered; otherwise it is scattered."""
    return maps[n * int64(ROW)] > type(maps[0])(0)


@leaf
def bound(i, maps, missed, source, size, extent, like, spec):
    """Write down the map of batch item number `i`, and whether it is gathered; count it if it is not."""
    n = int64(i)
    for axis in range(3):
        describe(maps, n, axis, source, size, extent, like, spec)
    invert(maps, n)
    fits = is_near(maps, n, source, size, extent, like, spec) and is_cheap(maps, n, size, extent, like, spec)
    maps[n * int64(ROW)] = type(like)(1) if fits else type(like)(0)
    if not fits:
        whole_add(missed, int64(0), int64(1))


@leaf
def describe(maps, n, axis, source, size, extent, like, spec):
    """Write down M, b and what follows from them for one axis; an axis that is not there maps to itself."""
    T = type(like)
    at, row, pixels = entry(n, axis), n * source.strides[0] + axis * (spec.ndim + 1), extent[2 - axis]
    here = axis < spec.ndim
    unit = chain(pixels, size[2 - axis], like, spec)
    shift = T(source.memory[row + spec.ndim]) if here else T(0)
    for k in range(3):
        theta = T(source.memory[row + k]) if here and k < spec.ndim else T(0)
        shift += theta * lattice(0, size[2 - k], like, spec)
        step = unit * theta * spacing(size[2 - k], like, spec)
        maps[at + LINEAR + k] = step if here else T(1 if axis == k else 0)
    shift = locate(T(0), pixels, spec) + unit * shift if here else T(0)
    lowest, highest = shift, shift
    for k in range(3):
        travel = maps[at + LINEAR + k] * T(size[2 - k] - 1)
        lowest += travel if travel < T(0) else T(0)
        highest += travel if travel > T(0) else T(0)
    maps[at + SHIFT] = shift
    maps[at + STEEP] = T(1) / at_least(maps[at + LINEAR], T(2.0**-100))
    maps[at + LOWEST], maps[at + HIGHEST] = lowest, highest
    maps[at + REACH] = T(spec.taps) / T(2) + slack(n, axis, source, extent, like, spec)


@leaf
def at_least(x, least):
    """Return a number that is divided by, or `least` if it is closer to 0 than that."""
    return x if abs(x) > least else least


@leaf
def slack(n, axis, source, extent, like, spec):
    """Return by how many pixels roundings may move u on an axis, and more."""
    T = type(like)
    if axis >= spec.ndim:
        return T(0)
    row = n * source.strides[0] + axis * (spec.ndim + 1)
    size = T(1)
    for k in range(spec.ndim + 1):
        size += abs(T(source.memory[row + k]))
    return T(SLACK) * half_ulp(like, spec) * T(extent[2 - axis]) * size


@leaf
def half_ulp(like, spec):
    """Return by how much, of itself, a rounded number may be wrong; theta is in the type of the arithmetic."""
    T = type(like)
    return T(2.0**-53) if spec.source_dtype == FLOAT64 else T(2.0**-24)


@leaf
def invert(maps, n):
    """Write down the inverse of M, by cofactors; if there is none, whatever: `is_near` finds out."""
    x, y, z = entry(n, 0), entry(n, 1), entry(n, 2)
    det = type(maps[0])(0)
    for k in range(3):
        det += maps[x + LINEAR + k] * minor(maps, y, z, k)
    det = at_least(det, type(det)(2.0**-100))
    for k in range(3):
        maps[x + BACK + k] = minor(maps, y, z, k) / det
        maps[y + BACK + k] = minor(maps, z, x, k) / det
        maps[z + BACK + k] = minor(maps, x, y, k) / det


@leaf
def minor(maps, one, other, k):
    """Return component `k` of the cross product of two rows of M."""
    a, b = (k + 1) % 3, (k + 2) % 3
    first, second = one + LINEAR, other + LINEAR
    return maps[first + a] * maps[second + b] - maps[first + b] * maps[second + a]


@leaf
def is_near(maps, n, source, size, extent, like, spec):
    """Tell whether M and X are so good that ranges, as wide as they are made, hold every location; NaN is not."""
    T = type(like)
    quarter = T(1) / T(4)
    good = True
    for j in range(3):
        error = T(0)
        for axis in range(3):
            moved = slack(n, axis, source, extent, like, spec)
            error += abs(maps[entry(n, axis) + BACK + j]) * moved
            good = good and moved <= quarter
        for k in range(3):
            rest = T(1 if j == k else 0)
            for axis in range(3):
                rest -= maps[entry(n, axis) + BACK + j] * maps[entry(n, axis) + LINEAR + k]
            error += (abs(rest) + T(4) * half_ulp(like, spec)) * T(size[2 - k] - 1)
        good = good and error <= quarter and size[2 - j] < LONGEST
    return good


@leaf
def is_cheap(maps, n, size, extent, like, spec):
    """Tell whether no pixel has many candidates: at most as many as the box around the widest range holds."""
    T = type(like)
    many, most = T(1), T(max(MOST, 16 * spec.taps * spec.rows))
    for j in range(3):
        half = T(1) / T(4)
        for axis in range(3):
            at = entry(n, axis)
            wide = maps[at + REACH]
            if spec.padding[axis] == BORDER and axis < spec.ndim:
                below, beyond = -maps[at + LOWEST], maps[at + HIGHEST] - T(extent[2 - axis] - 1)
                wide += ((below if below > T(0) else T(0)) + (beyond if beyond > T(0) else T(0))) / T(2)
            half += abs(maps[at + BACK + j]) * wide
        count, there = T(2) * half + T(1), T(size[2 - j])
        many *= there if count > there else count
    return many <= most
