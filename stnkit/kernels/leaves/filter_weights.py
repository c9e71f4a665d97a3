"""Filters on one axis: the weights of the taps for the fraction `t` past a pixel, their slopes, and their curves.

Six of each, of which some may not count. `r` is 1 - t: what a filter gives on one side of a coordinate, it gives on the
other for `r` in place of `t`, where slopes have the other sign.
"""

from stnkit.kernels.compiler.jit import leaf

SQUARE = 1.0966227112321509577  # (pi / 3)^2


@leaf
def mitchell(t):
    """Weights of the four taps at -1, 0, 1, 2: Mitchell and Netravali (1988), with B = C = 1/3.

    |s| <= 1:  (21 |s|^3 - 36 |s|^2 + 16) / 18;   1 < |s| < 2:  (2 - |s|)^2 (8 - 7 |s|) / 18.   They sum to 1.
    """
    T = type(t)
    zero, r = T(0), T(1) - t
    w0, v0, q0, w1, v1, q1 = cubic_side(t, r)
    w3, v3, q3, w2, v2, q2 = cubic_side(r, t)
    return (w0, w1, w2, w3, zero, zero), (v0, v1, -v2, -v3, zero, zero), (q0, q1, q2, q3, zero, zero)


@leaf
def cubic_side(t, r):
    """Return (weight, slope, curve) of `mitchell`'s taps at distances 1 + t and t, on whose side `t` grows."""
    T = type(t)
    sixth, third = T(1) / T(6), T(1) / T(3)
    outer = sixth * third * r * r * (T(7) * r - T(6)), sixth * r * (T(4) - T(7) * r), third * (T(7) * r - T(2))
    near = sixth * third * (T(16) + t * t * (T(21) * t - T(36))), T(0.5) * t * (T(7) * t - T(8)), T(7) * t - T(4)
    return outer[0], outer[1], outer[2], near[0], near[1], near[2]


@leaf
def cubic_rise(t):
    """Return the third derivatives of `mitchell`'s weights, which are constants."""
    T = type(t)
    outer = T(7) / T(3)
    return -outer, T(7), T(-7), outer, T(0), T(0)


@leaf
def lanczos(t):
    """Weights of the six taps at -2 to 3: sinc(s) sinc(s / 3) of Lanczos' window, divided by their sum.

    Duchon (1979). With S(x) = sin(pi x / 3), and sin(pi (k + t)) = +-sin(pi t), which all taps have in common and the
    division takes away, the weight at distance
        t is as S(t) / t^2,   1 + t as -(S(t) + S(r)) / (1 + t)^2,   2 + t as S(r) / (2 + t)^2,
    and so on the other side. Here they are times 3 t r / pi, so that nothing is divided by a small number; nothing
    cancels but in the sum, which is between 0.78 and 1. As (3 / pi S)'' = -(pi / 3)^2 (3 / pi S), slopes and curves
    need no other function.
    """
    T = type(t)
    one, two, r = T(1), T(2), T(1) - t
    h2, v2, q2, h1, v1, q1, h0, v0, q0 = lanczos_side(t, r)
    h3, v3, q3, h4, v4, q4, h5, v5, q5 = lanczos_side(r, t)
    share = one / ((h2 + h3) + (h1 + h4) + (h0 + h5))
    slope = ((v2 - v3) + (v1 - v4) + (v0 - v5)) * share
    curve = ((q2 + q3) + (q1 + q4) + (q0 + q5)) * share
    w0, w1, w2, w3, w4, w5 = h0 * share, h1 * share, h2 * share, h3 * share, h4 * share, h5 * share
    v0, v1, v2 = v0 * share - w0 * slope, v1 * share - w1 * slope, v2 * share - w2 * slope
    v3, v4, v5 = -v3 * share - w3 * slope, -v4 * share - w4 * slope, -v5 * share - w5 * slope
    q0 = q0 * share - two * slope * v0 - curve * w0
    q1 = q1 * share - two * slope * v1 - curve * w1
    q2 = q2 * share - two * slope * v2 - curve * w2
    q3 = q3 * share - two * slope * v3 - curve * w3
    q4 = q4 * share - two * slope * v4 - curve * w4
    q5 = q5 * share - two * slope * v5 - curve * w5
    return (w0, w1, w2, w3, w4, w5), (v0, v1, v2, v3, v4, v5), (q0, q1, q2, q3, q4, q5)


@leaf
def lanczos_side(t, r):
    """Return (h, h', h'') of the taps at distances t, 1 + t and 2 + t, on whose side `t` grows, before the division.

    a, b and c are t r times 3 / pi of S(t), S(t) + S(r) and S(r).
    """
    T = type(t)
    one, two, four, six, square = T(1), T(2), T(4), T(6), T(SQUARE)
    at, bt = sinc_of_third(t)
    ar, br = sinc_of_third(r)
    m, dm = t * r, r - t
    st, ct, sr, cr = t * at, at + t * t * bt, r * ar, -(ar + r * r * br)
    h, dh = r * at, m * bt - at
    ddh = -(two * t * bt + r * (square * at + two * bt))
    s, ds = st + sr, ct + cr
    b, db, ddb = m * s, dm * s + m * ds, two * (dm * ds - s) - square * m * s
    c, dc, ddc = m * sr, dm * sr + m * cr, two * (dm * cr - sr) - square * m * sr
    i, j = one / (one + t), one / (two + t)
    ii, jj = i * i, j * j
    near = h, dh, ddh
    middle = -b * ii, (two * b * i - db) * ii, (four * db * i - ddb - six * b * ii) * ii
    far = c * jj, (dc - two * c * j) * jj, (ddc - four * dc * j + six * c * jj) * jj
    return near[0], near[1], near[2], middle[0], middle[1], middle[2], far[0], far[1], far[2]


@leaf
def sinc_of_third(t):
    """Return sinc(t / 3) = sin(pi t / 3) / (pi t / 3) for `t` in [0, 1], and its slope, divided by `t`.

    A polynomial of t^2, interpolated at Chebyshev's points: it is off by less than 2e-19, its slope by less than 3e-17.
    """
    T = type(t)
    z, value, rise = t * t, T(-1.4351394979294721e-12), T(0)
    value, rise = value * z + T(2.7925712375024311e-10), rise * z + value
    value, rise = value * z - T(3.9731056364345757e-8), rise * z + value
    value, rise = value * z + T(3.9853448741623008e-6), rise * z + value
    value, rise = value * z - T(2.6166231017737428e-4), rise * z + value
    value, rise = value * z + T(1.0021511423250803e-2), rise * z + value
    value, rise = value * z - T(1.8277045187202514e-1), rise * z + value
    value, rise = value * z + T(1), rise * z + value
    return value, rise + rise
