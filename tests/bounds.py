"""How far a result may be from the exact one: bounds derived from rounding, never tuned.

Let e be the machine epsilon (2**-23 or 2**-52); one rounding is wrong by at most e / 2 of its result.

Coordinate. px = ((u + 1) n - 1) / 2 takes three roundings of numbers below (|u| + 1) n + 1; the fold of
"reflection" takes at most five more, of numbers below `reach` = (|u| + 1) n + 2 n. Both sides of a comparison
round, so they differ by at most delta = 8 e reach pixels. An affine coordinate is itself a sum of d + 1
products: its error, at most (d + 1) e sum |theta|, comes on top, as n times that.

Taps. Of one axis, for bilinear and bicubic: W bounds the sum of the weights' magnitudes (1; 1.375, at t = 1/2),
S that of their slopes (2; 3, at t = 1/2), S2 that of their second derivatives (0; 12, at t = 0). The weights of
splines sum to 1 and none is negative, and derivatives are differences of those of a lower degree: 1, 2, 4. Those of
filters are 1.139, 2.334, 9.334 of mitchell and 1.544, 3.164, 9.680 of lanczos3, all rounded up. Weights and
slopes are evaluated with an absolute error of `taps` e (1; below 16 by running error analysis of the cubic's
Horner form, whose intermediates are below 6, and of splines, at most five roundings for each degree: checked in exact
arithmetic in `test_leaves.py`).

Value. The blend of d axes moves by at most d W**(d-1) S delta A for an image below A, the weights add
d W**(d-1) K taps e A, and the sums, nested, of K terms each round by d (K + 1) e W**d A.

Cotangents. The same with one weight replaced by its slope, times the chain n / 2 and the cotangent G, summed
over C channels (d_grid); or with G in place of the image, summed over the P locations that read a pixel (d_image).

These are worst cases. In float64 results must also agree to 1e-12, which is what the documentation promises
for data and sizes of the order of one: some 4500 roundings.
"""

import math
from typing import NamedTuple

import numpy as np


class Size(NamedTuple):
    """What a bound depends on."""

    d: int
    mode: str
    dtype: str
    n: int  # longest axis of the image
    u: float  # largest coordinate, in the units given
    image: float = 1.0  # largest magnitude in the image and of the fill value
    cotangent: float = 1.0
    channels: int = 1
    points: int | np.ndarray = 1  # locations that read a pixel, at most, or for each pixel
    theta: float = 0.0  # largest sum of magnitudes of a row of theta, where there is one


_TAPS = {
    "nearest": (1, 1.0, 0.0, 0.0, 0.0),
    "bilinear": (2, 1.0, 2.0, 0.0, 1.0),
    "bicubic": (4, 1.375, 3.0, 12.0, 16.0),
    **{f"spline{degree}": (degree + 1, 1.0, 2.0, 4.0, 16.0) for degree in range(2, 6)},
    "mitchell": (4, 1.14, 2.34, 9.34, 16.0),
    "lanczos3": (6, 1.55, 3.17, 9.7, 16.0),
}


def _rounding(s: Size) -> tuple[float, float]:
    """Return (e, delta)."""
    e = float(np.finfo(s.dtype).eps)
    reach = (s.u + 3) * s.n
    return e, 8 * e * reach + (s.d + 1) * e * s.theta * s.n


def _promised(bound: float, s: Size) -> float:
    return min(bound, 1e-12) if s.dtype == "float64" else bound


def value(s: Size) -> float:
    """Bound the error of an output."""
    e, delta = _rounding(s)
    k, w, slope, _, taps = _TAPS[s.mode]
    moved = s.d * w ** (s.d - 1) * (slope * delta + k * taps * e)
    return (moved + s.d * (k + 1) * e * w**s.d) * s.image


def d_image(s: Size) -> float | np.ndarray:
    """Bound the error of an image's cotangent."""
    e, _ = _rounding(s)
    _, w, *_ = _TAPS[s.mode]
    return s.points * s.cotangent * (value(s) / s.image + (s.points + 1) * e * w**s.d)


def d_grid(s: Size) -> float:
    """Bound the error of a grid's cotangent, away from knots, or at coordinates that are exact."""
    e, delta = _rounding(s)
    k, w, slope, bend, taps = _TAPS[s.mode]
    big = max(w, slope)
    moved = (bend + (s.d - 1) * slope) * big ** (s.d - 1) * delta
    rounded = s.d * big**s.d * k * taps * e + (s.d * (k + 1) + s.channels + 3) * e * big**s.d
    return s.n * s.channels * s.cotangent * s.image * (moved + rounded)


def d_theta(d_grid: np.ndarray, dtype: str) -> float:
    """Bound the error of theta's cotangent as the sum of `d_grid` times the locations it stands at.

    A location is below 1 and rounds twice; a row is summed in the arithmetic's type, rows in float64, and the
    sum is rounded once: (W + 4) e times the sum of magnitudes, for rows of W locations.
    """
    return (d_grid.shape[-2] + 4) * float(np.finfo(dtype).eps) * float(np.abs(d_grid.astype(float)).sum())


POLES = {  # of the filters of splines
    2: [math.sqrt(8) - 3],
    3: [math.sqrt(3) - 2],
    4: [-0.36134122590022017709, -0.013725429297339121360],
    5: [-0.43057534709997379185, -0.043096288203264653823],
}


def recursive_filter(order: int, axes: int, e: float) -> float:
    """Bound the error of a CPU's filter of numbers below 1, by e / 2 for each rounding.

    A pole z scales by (1 - z)(1 - 1 / z), which rounds thrice, and recurs twice: a step rounds twice, and the errors
    before it sum like a geometric series. A recursion begins with a sum of at most 64 terms, which rounds each twice.
    """
    value, error = 1.0, 0.0
    for _ in range(axes):
        for z in map(abs, POLES[order]):
            gain = (1 + z) * (1 + 1 / z)
            value, error = value * gain, error * gain + 3 * e * value * gain
            value = value / (1 - z)
            error = error / (1 - z) + (64 + 1 / (1 - z)) * e * value
            value = value * z / (1 - z)
            error = error * z / (1 - z) + (64 + 2 / (1 - z)) * e * value
    return error


def convolved_filter(order: int, axes: int, e: float, transpose: bool = False) -> float:
    """Bound the error of a GPU's filter of numbers below 1, by u = e / 2 for each rounding.

    What is cut off comes to u at most. A pole of magnitude a gives c (x + z s), where s, below A = 2 / (1 - a), is a
    sum by Horner's scheme. A step of it adds two pixels, which rounds 2 u, and rounds the product, the pole in it, and
    the sum; what was wrong before shrinks by a. The same roundings follow once outside, where the factor c, which is
    computed in float64 by at most 16 operations, and its product round too. In a transpose of a mirrored line the
    pixels at its ends are doubled first. What comes in wrong grows as the numbers do, by the sum of |h|: that of h
    times (-1)**j. Products of roundings are below a thousandth of all that.
    """
    u, most = e / 2, math.prod(((1 + abs(z)) / (1 - abs(z))) ** 2 for z in POLES[order])
    own, size = u, 0.0
    for z, c in response(order):
        a = abs(z)
        reached = 2 / (1 - a)
        whole = 1 + a * reached
        step = (2 + (2 * a + 1) * reached) * u / (1 - a)
        own += abs(c) * (a * step + 2 * a * reached * u + whole * u) + abs(c) * whole * (2 * u + 16 * 2.0**-53)
        size += abs(c) * whole
    own, twice = (own + size * u) * 1.001, 2 if transpose else 1
    value, error = 1.0, 0.0
    for _ in range(axes):
        value, error = twice * most * value, twice * (most * error + own * value)
    return error


def response(order: int) -> list[tuple[float, float]]:
    """Return the poles z of a filter, and the factors c by which its impulse response is the sum of c z**|j|.

    The factor is the residue of the z-transform, to which a pole w brings (1 - w)**2 / ((1 - w d) (1 - w / d)).
    """
    poles = POLES[order]
    found = []
    for z in poles:
        others = math.prod((1 - w) ** 2 / ((1 - w * z) * (1 - w / z)) for w in poles if w != z)
        found.append((z, (1 - z) / (1 + z) * others))
    return found
