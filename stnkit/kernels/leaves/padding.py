"""Paddings on one axis: what a coordinate outside the image, and a tap outside it, read."""

from numpy import int32

from stnkit.kernels.compiler.jit import in_bounds, leaf, select
from stnkit.spec import (
    BORDER,
    BORDER_MARGIN,
    FLOAT64,
    MARGIN_WIDTH,
    MASK,
    PERIODIC,
    REFLECTION,
    SPLINE0,
    WRAP,
    ZEROS,
    ZEROS_MARGIN,
)


@leaf
def is_centred(padding, spec):
    """Tell whether taps beyond the edge are reflected at the centre of the outermost pixel."""
    return (padding == REFLECTION and spec.align) or padding == MASK or padding == PERIODIC


@leaf
def tap_period(n, padding, spec):
    """Return after how many pixels the taps of the padded image repeat themselves, or 0 if they do not."""
    K = type(n)
    if padding == WRAP:
        return n
    if is_centred(padding, spec):
        return K(2 * (n - 1))
    return K(2 * n) if padding == REFLECTION else K(0)


@leaf
def period(n, padding, spec):
    """Return after how many pixels the padded image repeats itself, or 0 if it does not."""
    K = type(n)
    if padding == PERIODIC:
        return K(n - 1)
    return K(0) if padding == MASK else tap_period(n, padding, spec)


@leaf
def has_margin(padding):
    """Tell whether memory goes on beyond the image."""
    return padding == ZEROS_MARGIN or padding == BORDER_MARGIN


@leaf
def stored(n, padding):
    """Return how many pixels of an axis memory holds, of which `n` are the image's."""
    return type(n)(n + 2 * MARGIN_WIDTH) if has_margin(padding) else n


@leaf
def is_lost(x, n, padding, spec):
    """Tell whether a location reads the fill value alone: its coordinate is NaN, or outside where that is masked.

    In float32, what lies outside by no more than coordinates are rounded by is at the edge: else an output that ends
    where the image does would lose its last row.
    """
    T = type(x)
    if padding == MASK:
        slack = T(0) if spec.arithmetic_dtype == FLOAT64 else T(n) * T(2.0**-20)
        return not (x >= -slack and x <= T(n - 1) + slack)
    return x != x and not spec.near


@leaf
def is_inside(padding, spec):
    """Tell whether what is not lost lies from the first pixel to the last: its index needs no more than rounding."""
    return padding == MASK and spec.arithmetic_dtype == FLOAT64


@leaf
def tame(x, n, padding, spec):
    """Move a far pixel coordinate, finite, to a near one that reads the same.

    `%` is exact for floating point, at any magnitude. Outside a padding that repeats, four pixels beyond
    what memory holds is as good as infinitely far for every kernel's footprint, which reaches less than four pixels.
    """
    T = type(x)
    span = period(n, padding, spec)
    if span > 0:
        return x % T(span)
    if padding == REFLECTION or padding == PERIODIC:
        return T(0)
    beyond = T(4 + MARGIN_WIDTH) if has_margin(padding) else T(4)
    low, high = -beyond, T(n - 1) + beyond
    return low if x < low else (high if x > high else x)


@leaf
def fold(x, span):
    """Reduce near `x` to [0, span) by whole periods."""
    T = type(x)
    y = x / T(span)
    k = T(int32(y))
    k = k - T(1) if k > y else k
    r = x - k * T(span)
    r = r + T(span) if r < T(0) else r
    return r - T(span) if r >= T(span) else r


@leaf
def clip(x, n):
    """Clamp to the pixel centres; the slope is 0 from the edge outwards, the edge itself included."""
    T = type(x)
    last = T(n - 1)
    inside = x > T(0) and x < last
    y = T(0) if x <= T(0) else (last if x >= last else x)
    return y, T(1) if inside else T(0)


@leaf
def repeat(x, n):
    """Move a near `x` to [0, n - 1] by whole periods of n - 1; from below to the last pixel rather than the first."""
    T = type(x)
    last = T(n - 1)
    if n == 1:
        return T(0)
    if x >= T(0) and x <= last:
        return x
    r = fold(x, n - 1)
    return last if x < T(0) and r == T(0) else r


@leaf
def settle(x, n, padding, spec):
    """Apply a padding that acts on the coordinate: return (x, slope).

    border clamps to [0, n - 1]. reflection folds about 0 and n - 1 (align_corners) or about -0.5 and
    n - 0.5, and then clamps; its slope is +1 or -1 by the parity of the fold, 0 where it is clamped.
    periodic folds by n - 1 pixels what is outside. With more than two taps, border and reflection act on each tap's
    index instead, as the others always do: see `neighbour`.
    """
    T = type(x)
    if padding == PERIODIC:
        return repeat(x, n), T(1)
    if spec.taps > 2 or (padding != BORDER and padding != REFLECTION):
        return x, T(1)
    sign = T(1)
    if padding == REFLECTION:
        if spec.align:
            if n == 1:
                return T(0), T(0)
            r = fold(x, 2 * (n - 1))
            sign = T(-1) if r > T(n - 1) else T(1)
            y = T(2 * (n - 1)) - r if r > T(n - 1) else r
            if spec.interp == SPLINE0:  # half a pixel past the last one, the pixel to the right is the last but one
                y = T(n - 2) if (r == T(n - 1) + T(0.5) and x > T(0)) else y
            x = y
        else:
            r = fold(x + T(0.5), 2 * n)
            sign = T(-1) if r > T(n) else T(1)
            x = (T(2 * n) - r if r > T(n) else r) - T(0.5)
    y, slope = clip(x, n)
    return y, sign * slope


@leaf
def base(i, n, padding, spec):
    """Bring the index of the first tap into the period of a padding that acts on indices; a mask leaves it near."""
    if padding == WRAP or (spec.taps > 2 and padding != MASK):
        span = tap_period(n, padding, spec)
        if span > 0:
            i = type(n)(i % span) if (i < 0 or i >= span) else i
    return i


@leaf
def mirrored(i, n):
    """Mirror an index, half a footprint outside at most, at the centres of the outermost pixels, which are `n`."""
    K = type(n)
    last = K(n - 1)
    for _ in range(2):  # of two pixels, a footprint of six taps reaches over two mirrors
        i = K(-i) if i < 0 else i
        i = K(2 * last - i) if i > last else i
    return K(0) if n == 1 else i


@leaf
def neighbour(i, n, padding, spec):
    """Return the number, in memory, of the pixel that tap `i` reads, or -1 for a dead tap.

    After `base`, a tap lies at most a footprint outside one period, so one or two steps bring it in.
    """
    K = type(n)
    if has_margin(padding):
        i, n = K(i + MARGIN_WIDTH), stored(n, padding)
    if padding == ZEROS or padding == ZEROS_MARGIN:
        return select(in_bounds(i, n), i, K(-1))
    if padding == BORDER or padding == BORDER_MARGIN or (spec.taps <= 2 and padding != WRAP):
        last = K(n - 1)
        i = select(i < last, i, last)
        return i if spec.taps <= 2 and is_inside(padding, spec) else select(i > 0, i, K(0))
    if padding == MASK:
        return mirrored(i, n)
    span = tap_period(n, padding, spec)
    i = K(i + span) if i < 0 else i
    i = K(i - span) if i >= span else i
    i = K(i - span) if i >= span else i
    if is_centred(padding, spec):
        i = K(span - i) if i >= n else i
    elif padding == REFLECTION:
        i = K(span - 1 - i) if i >= n else i
    return K(0) if n == 1 else i
