"""One coordinate on one axis: unit to pixel, padding, and the taps that are read, each with its slope.

Pixel coordinates: 0 is the centre of the first pixel and n - 1 that of the last. A tap is an index and a
weight; index -1 is a dead tap, which lies outside the image and reads the fill value. Every map comes with
its derivative, so nothing upstairs derives anything again.
"""

from stnkit.kernels.compiler.jit import floor, in_bounds, leaf, on_gpu, select
from stnkit.kernels.leaves.padding import base, is_inside, is_lost, neighbour, settle, stored
from stnkit.spec import (
    BILINEAR,
    FLOW,
    LABEL,
    MARGIN_WIDTH,
    SPLINE0,
    ZEROS,
    ZEROS_MARGIN,
)


@leaf
def pixels_per_step(n, t, like, spec):
    """Return how many pixels of an axis of `n` one step of an output's lattice of `t` locations is."""
    T = type(like)
    if spec.align:
        return T(n - 1) / T(t - 1) if t > 1 else T(0)
    return T(n) / T(t)


@leaf
def chain(n, t, like, spec):
    """Return d pixel / d unit: how many pixels one unit of a coordinate, or of a flow, is."""
    T = type(like)
    if spec.pixel:
        return pixels_per_step(n, t, like, spec) if spec.source == FLOW else T(1)
    return T(n - 1 if spec.align else n) / T(2)


@leaf
def bounded(u, spec):
    """Return a coordinate kept within 2**90, and what makes NaN of a sum where it is not finite, 0 elsewhere."""
    T = type(u)
    end = T(2.0**90)
    if spec.near:
        return u, T(-0.0)
    return select(u > end, end, select(u < -end, -end, u)), u - u


@leaf
def locate(u, n, spec):
    """Map a coordinate as it is given to pixels; NaN where it is not finite.

    `u - u` is 0 for a finite number and NaN otherwise. The clamp keeps huge finite coordinates finite after
    the scaling; 2**90 pixels is past the end of any image.
    """
    T = type(u)
    v, finite = bounded(u, spec)
    if spec.pixel:
        return v + finite
    if spec.align:
        return (v + T(1)) / T(2) * T(n - 1) + finite
    return ((v + T(1)) * T(n) - T(1)) / T(2) + finite


@leaf
def drift(f, i, n, t, spec):
    """Return the pixel that location `i` of `t` reads when it is moved by flow `f`; NaN if that is not finite.

    The identity of the lattice is exact where the output is as large as the input: the sum rounds once.
    """
    T = type(f)
    f, finite = bounded(f, spec)
    step = pixels_per_step(n, t, f, spec)
    origin = (step - T(1)) / T(2)
    if spec.align:
        origin = T(0) if t > 1 else T(n - 1) / T(2)
    return (T(i) * step + origin) + f * chain(n, t, f, spec) + finite


@leaf
def is_near(x):
    """Tell whether pixel coordinate `x` is finite and small enough for exact index arithmetic."""
    far = type(x)(4194304.0)  # 2**22: halves are exact even in float32
    return x <= far and x >= -far


@leaf
def whole(x, n):
    """Round down: return the index, of the type of `n`, and the same as a number.

    The caller has made `x` near, so that the cast is defined.
    """
    T, K = type(x), type(n)
    if on_gpu():
        i = K(x)
        i = K(i - 1) if T(i) > x else i
        return i, T(i)
    down = floor(x)
    return K(down), down


@leaf
def cubic(t):
    """Weights of the four taps at -1, 0, 1, 2 for the fraction `t`, their slopes, and the slopes of these.

    Keys (1981), cubic convolution, with a = -0.75:
    |s| <= 1:  (a + 2) |s|^3 - (a + 3) |s|^2 + 1;   1 < |s| < 2:  a (|s|^3 - 5 |s|^2 + 8 |s| - 4).
    """
    T = type(t)
    a = T(-0.75)
    b, c = a + T(2), a + T(3)
    s0, s1, s2, s3 = t + T(1), t, T(1) - t, T(2) - t
    w0 = ((a * s0 - T(5) * a) * s0 + T(8) * a) * s0 - T(4) * a
    w1 = (b * s1 - c) * s1 * s1 + T(1)
    w2 = (b * s2 - c) * s2 * s2 + T(1)
    w3 = ((a * s3 - T(5) * a) * s3 + T(8) * a) * s3 - T(4) * a
    v0 = (T(3) * a * s0 - T(10) * a) * s0 + T(8) * a
    v1 = (T(3) * b * s1 - T(2) * c) * s1
    v2 = (T(2) * c - T(3) * b * s2) * s2
    v3 = (T(10) * a - T(3) * a * s3) * s3 - T(8) * a
    q0, q1 = T(6) * a * s0 - T(10) * a, T(6) * b * s1 - T(2) * c
    q2, q3 = T(6) * b * s2 - T(2) * c, T(6) * a * s3 - T(10) * a
    return (w0, w1, w2, w3), (v0, v1, v2, v3), (q0, q1, q2, q3)


@leaf
def taps(x, n, padding, spec):
    """Return the taps of near or NaN pixel coordinate `x`: (indices, weights, slopes, curves, padding's slope).

    Of all modes but splines and filters, for which there are `looped_taps`. Four of each; those past `spec.taps` are
    not used. Slopes are d weight / d pixel, and curves are d slope / d pixel. At a knot the fraction is 0, so both are
    the right-hand ones. A coordinate that is not finite reads dead taps only, in equal shares, which sum to the fill
    value without rounding, and passes no gradient.
    """
    T, K = type(x), type(n)
    zero, one, dead = T(0), T(1), K(-1)
    none = (zero, zero, zero, zero)
    if spec.interp == BILINEAR or spec.interp == LABEL:
        (i, j), (alive, other), t, slope = couple(x, n, padding, spec)
        indices = (select(alive, i, dead), select(other, j, dead), dead, dead)
        return indices, (one - t, t, zero, zero), (-one, one, zero, zero), none, slope
    lost = is_lost(x, n, padding, spec)
    known = spec.nearest and spec.near  # a lost one is then a number whose index may be any
    y, slope = settle(x if known else select(lost, zero, x), n, padding, spec)
    i, down = whole(y, n)
    t = y - down
    slope = select(lost, zero, slope)
    if spec.nearest:
        up = spec.interp == SPLINE0 or (i & 1) == 1  # the other rounds half to even
        i = K(i + 1) if (t > T(0.5) or (t == T(0.5) and up)) else i
        if not is_inside(padding, spec):
            i = neighbour(base(i, n, padding, spec), n, padding, spec)
        j = select(lost, dead, i)
        return (j, dead, dead, dead), (one, zero, zero, zero), none, none, zero
    i = base(K(i - 1), n, padding, spec)
    j0 = select(lost, dead, neighbour(i, n, padding, spec))
    j1 = select(lost, dead, neighbour(K(i + 1), n, padding, spec))
    j2 = select(lost, dead, neighbour(K(i + 2), n, padding, spec))
    j3 = select(lost, dead, neighbour(K(i + 3), n, padding, spec))
    (w0, w1, w2, w3), slopes, curves = cubic(t)
    w0, w1, w2, w3 = (
        weight_or_quarter(lost, w0),
        weight_or_quarter(lost, w1),
        weight_or_quarter(lost, w2),
        weight_or_quarter(lost, w3),
    )
    return (j0, j1, j2, j3), (w0, w1, w2, w3), slopes, curves, slope


@leaf
def couple(x, n, padding, spec):
    """Return the taps of bilinear as `taps` does: (indices, are they alive, the weight of the second, padding's slope).

    The index of a dead tap may be any.
    """
    T, K = type(x), type(n)
    lost = is_lost(x, n, padding, spec)
    y, slope = settle(select(lost, T(0), x), n, padding, spec)
    i, down = whole(y, n)
    t, slope = select(lost, T(0.5), y - down), select(lost, T(0), slope)
    i = base(i, n, padding, spec)
    j = K(i + 1)
    if padding == ZEROS or padding == ZEROS_MARGIN:
        many = stored(n, padding)
        i, j = (K(i + MARGIN_WIDTH), K(j + MARGIN_WIDTH)) if padding == ZEROS_MARGIN else (i, j)
        return (i, j), (in_bounds(i, many) & (not lost), in_bounds(j, many) & (not lost)), t, slope
    return (neighbour(i, n, padding, spec), neighbour(j, n, padding, spec)), (not lost, not lost), t, slope


@leaf
def weight_or_quarter(lost, w):
    """Return a weight of four, or one quarter where the coordinate is lost."""
    return select(lost, type(w)(0.25), w)


@leaf
def padding_slope(x, n, padding, spec):
    """Return the slope of the padding at near or NaN pixel coordinate `x`; 0 if that is NaN."""
    T = type(x)
    if spec.looped:
        lost = is_lost(x, n, padding, spec)
        _, slope = settle(select(lost, T(0), x), n, padding, spec)
        return select(lost, T(0), slope)
    _, _, _, _, slope = taps(x, n, padding, spec)
    return slope
