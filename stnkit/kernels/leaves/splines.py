"""B-splines on one axis: the weights of the taps, their slopes and curves, and further derivatives."""

from stnkit.kernels.compiler.jit import leaf
from stnkit.spec import SPLINE2, SPLINE3, SPLINE4


@leaf
def spline(t, spec):
    """Weights of a B-spline's taps for the fraction `t`, their slopes, and the slopes of these: six of each.

    By the recursion of Cox and de Boor for equidistant knots: weight k of degree p is
    ((t + p - k) b + (k + 1 - t) a) / p for the weights b = k - 1 and a = k of one degree less, and its slope is b - a.
    No term is negative, so nothing cancels.
    """
    T = type(t)
    zero, one, two, r = T(0), T(1), T(2), T(1) - t
    half, third = T(0.5), T(1) / T(3)
    b0, b1, b2 = half * r * r, half * ((t + one) * r + (two - t) * t), half * t * t
    if spec.interp == SPLINE2:
        slopes, curves = (-r, r - t, t, zero, zero, zero), (one, -two, one, zero, zero, zero)
        return (b0, b1, b2, zero, zero, zero), slopes, curves
    c0, c3 = third * r * b0, third * t * b2
    c1, c2 = third * ((t + two) * b0 + (two - t) * b1), third * ((t + one) * b1 + (T(3) - t) * b2)
    if spec.interp == SPLINE3:
        slopes, curves = (-b0, b0 - b1, b1 - b2, b2, zero, zero), (r, t - two * r, r - two * t, t, zero, zero)
        return (c0, c1, c2, c3, zero, zero), slopes, curves
    fourth = T(0.25)
    d0, d4 = fourth * r * c0, fourth * t * c3
    d1, d2 = fourth * ((t + T(3)) * c0 + (two - t) * c1), fourth * ((t + two) * c1 + (T(3) - t) * c2)
    d3 = fourth * ((t + one) * c2 + (T(4) - t) * c3)
    if spec.interp == SPLINE4:
        slopes = (-c0, c0 - c1, c1 - c2, c2 - c3, c3, zero)
        return (d0, d1, d2, d3, d4, zero), slopes, (b0, b1 - two * b0, b0 - two * b1 + b2, b1 - two * b2, b2, zero)
    fifth = T(1) / T(5)
    e0, e5 = fifth * r * d0, fifth * t * d4
    e1, e2 = fifth * ((t + T(4)) * d0 + (two - t) * d1), fifth * ((t + T(3)) * d1 + (T(3) - t) * d2)
    e3, e4 = fifth * ((t + two) * d2 + (T(4) - t) * d3), fifth * ((t + one) * d3 + (T(5) - t) * d4)
    curves = (c0, c1 - two * c0, c0 - two * c1 + c2, c1 - two * c2 + c3, c2 - two * c3, c3)
    return (e0, e1, e2, e3, e4, e5), (-d0, d0 - d1, d1 - d2, d2 - d3, d3 - d4, d4), curves


@leaf
def spline_slopes(t, times, spec):
    """Return the derivatives, of order `times`, of the weights of a B-spline's taps: six, per pixel.

    They are differences, taken as often, of weights of a degree that is as much less.
    """
    T = type(t)
    zero, one = T(0), T(1)
    w0, w1, w2, w3, w4, w5 = one if times <= spec.degree else zero, zero, zero, zero, zero, zero
    for below in range(spec.degree - times):
        p = T(below + 1)
        w5 = ((t + p - T(5)) * w4 + (T(6) - t) * w5) / p
        w4 = ((t + p - T(4)) * w3 + (T(5) - t) * w4) / p
        w3 = ((t + p - T(3)) * w2 + (T(4) - t) * w3) / p
        w2 = ((t + p - T(2)) * w1 + (T(3) - t) * w2) / p
        w1 = ((t + p - one) * w0 + (T(2) - t) * w1) / p
        w0 = (one - t) * w0 / p
    for _ in range(times):
        w0, w1, w2, w3, w4, w5 = -w0, w0 - w1, w1 - w2, w2 - w3, w3 - w4, w4 - w5
    return w0, w1, w2, w3, w4, w5
