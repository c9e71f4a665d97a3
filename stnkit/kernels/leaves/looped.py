"""Taps of splines and filters on one axis, which are read in loops: each with its weight, slope and curve."""

from stnkit.kernels.compiler.jit import leaf, select
from stnkit.kernels.leaves.axis import whole
from stnkit.kernels.leaves.filter_weights import cubic_rise, lanczos, mitchell
from stnkit.kernels.leaves.padding import base, is_lost, neighbour, settle, tap_period
from stnkit.kernels.leaves.splines import spline, spline_slopes
from stnkit.spec import MASK, MITCHELL

UNKNOWN = float("nan")


@leaf
def first_tap(x, n, spec):
    """Return the index of the first tap for near `x`, of the type of `n`, and the fraction past its knot."""
    T, K = type(x), type(n)
    half = T(0.5) if spec.taps % 2 == 1 else T(0)
    i, down = whole(x + half, n)
    return K(i - (spec.taps - 1) // 2), (x - down) + half


@leaf
def weigh(t, spec):
    """Return the weights of the taps for the fraction `t`, their slopes, and the slopes of these: six of each."""
    if spec.spline:
        return spline(t, spec)
    return mitchell(t) if spec.interp == MITCHELL else lanczos(t)


@leaf
def derivatives(t, times, spec):
    """Return the derivatives, of order `times` from 1 on, of the weights: six, per pixel.

    Those of `lanczos3` above the second are not known here, and nobody may ask for them.
    """
    if spec.spline:
        return spline_slopes(t, times, spec)
    T = type(t)
    _, v, q = weigh(t, spec)
    third, more = cubic_rise(t), T(0)
    if spec.interp != MITCHELL:
        more = T(UNKNOWN)
        third = (more, more, more, more, more, more)
    return (
        ordered(times, v[0], q[0], third[0], more),
        ordered(times, v[1], q[1], third[1], more),
        ordered(times, v[2], q[2], third[2], more),
        ordered(times, v[3], q[3], third[3], more),
        ordered(times, v[4], q[4], third[4], more),
        ordered(times, v[5], q[5], third[5], more),
    )


@leaf
def ordered(times, first, second, third, more):
    """Return the derivative of an order."""
    return first if times == 1 else (second if times == 2 else (third if times == 3 else more))


@leaf
def looped_taps(x, n, padding, spec):
    """Return the taps at near or NaN pixel coordinate `x`: (first index, weights, slopes, curves, lost).

    Six of each; those past `spec.taps` are not used. The index of tap k is `looped_tap` of the first's. A coordinate
    that is not finite reads dead taps only, of which one has all weight, and passes no gradient.
    """
    T = type(x)
    zero, one = T(0), T(1)
    lost = is_lost(x, n, padding, spec)
    y, _ = settle(select(lost, zero, x), n, padding, spec)
    i, t = first_tap(y, n, spec)
    (w0, w1, w2, w3, w4, w5), slopes, curves = weigh(t, spec)
    w0, w1, w2 = select(lost, one, w0), select(lost, zero, w1), select(lost, zero, w2)
    w3, w4, w5 = select(lost, zero, w3), select(lost, zero, w4), select(lost, zero, w5)
    return base(i, n, padding, spec), (w0, w1, w2, w3, w4, w5), slopes, curves, lost


@leaf
def looped_tap(first, k, lost, n, padding, spec):
    """Return the number, in memory, of the pixel that tap `k` reads, or -1 for a dead tap."""
    K = type(n)
    i, span = K(first + k), tap_period(n, padding, spec)
    if span > 0 and padding != MASK:
        i = K(i - span) if i >= span else i  # six taps reach over so many periods of two pixels
    return select(lost, K(-1), neighbour(i, n, padding, spec))
