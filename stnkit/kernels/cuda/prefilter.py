"""The filter that finds a spline's coefficients on NVIDIA GPUs: a thread finds one of them, from the pixels around it.

The recursions by which a CPU filters a line come to a convolution of the padded line, with

    h[j] = the sum over the poles z of c z**|j|

for a factor c of each pole. It is cut off where all that follows comes to less than the rounding of a 1. A thread reads
a few dozen pixels, then, where a recursion reads one or two; but there are as many threads as coefficients, and what
neighbours read are neighbours, or the same, whatever the axis. Most read no pixel beyond an end of the line, and do not
ask for each whether it is.

The sum is Horner's, from the outermost pixels inwards: x[0] + z (x[-1] + x[1] + z (x[-2] + x[2] + ...)). What is
rounded on the way shrinks with the powers that follow.
"""

import functools
import itertools
import math
from typing import Any

import numpy as np

from stnkit.kernels.compiler.jit import in_bounds, int64, leaf, opaque, pointer
from stnkit.kernels.cuda.numbering import split
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.prefilter import POLES
from stnkit.spec import REFLECTION, SPLINE2, Spec

Terms = tuple[tuple[float, float], tuple[float, float]]  # poles, of which one may be 0, and their factors


@functools.cache
def spline_filter(spec: Spec) -> Any:
    like, terms = zero(spec.image_dtype), response(spec.interp)
    taps = reach(terms, np.finfo(type(like)).eps / 2)

    def body(i, out_at, image_at, n, inner):
        pointer(out_at, like)[i] = coefficient(i, pointer(image_at, like), n, inner, taps, terms, like, spec)

    return body


def response(interp: int) -> Terms:
    """Return the poles of a filter, and their factors c. Each pole z filters by (1 - z)**2 / ((1 - z D) (1 - z / D)).

    D shifts by a pixel. The product of these is a sum of fractions, each of which goes on as a geometric series.
    """
    poles = [z for z in POLES[interp - SPLINE2] if z != 0]
    gain = math.prod((1 - z) ** 2 for z in poles)
    factors = [gain / (1 - z * z) / math.prod(1 + w * w - w * (z + 1 / z) for w in poles if w != z) for z in poles]
    return POLES[interp - SPLINE2], (factors[0], factors[1] if len(poles) > 1 else 0.0)


def reach(terms: Terms, least: float) -> int:
    """Return how many pixels count on either side: the magnitudes of all that follow sum to no more than `least`."""

    def beyond(taps: int) -> float:
        return 2 * sum(abs(c) * abs(z) ** (taps + 1) / (1 - abs(z)) for z, c in zip(*terms, strict=True))

    return next(taps for taps in itertools.count() if beyond(taps) <= least)


@leaf
def coefficient(i, image, n, inner, taps, terms, like, spec):
    """Return coefficient number `i` of an array (batch, n, inner) that is filtered along its middle axis.

    With `spec.image_bar` it is that of the transpose: see `find_coefficients`.
    """
    index, T = type(i), type(like)
    step, row = (index(1), i) if spec.packed else (index(inner), split(i, inner)[0])
    _, k = split(row, n)
    poles, factors = terms
    z, w = T(poles[0]), T(poles[1])
    sum_z, sum_w = T(0), T(0)
    if taps < k < n - 1 - taps:  # no pixel that is read is at an end
        low, high = int64(i) - taps * step, int64(i) + taps * step
        for _ in range(taps):
            both = image[low] + image[high]
            sum_z = sum_z * z + both
            sum_w = sum_w * w + both
            low += step
            high -= step
    else:
        for j in range(opaque(taps)):
            low, high = index(k + j - taps), index(k + taps - j)
            both = pixel(image, i, k, low, index(n), step, spec) + pixel(image, i, k, high, index(n), step, spec)
            sum_z = sum_z * z + both
            sum_w = sum_w * w + both
    own = pixel(image, i, k, k, index(n), step, spec)
    value = (sum_z * z + own) * T(factors[0])
    if spec.degree > 3:
        value += (sum_w * w + own) * T(factors[1])
    return value * T(0.5) if is_single(k, n, spec) else value


@leaf
def pixel(image, i, k, place, n, step, spec):
    """Return what stands at a place of the padded line in which number `i` stands at `k`, with a transpose's weight."""
    at = place
    while not in_bounds(at, n):
        at = folded(at, n, spec)
    value = image[int64(i) + (at - k) * step]
    return value + value if is_single(at, n, spec) else value


@leaf
def folded(at, n, spec):
    """Return what is padded to a place beyond one end of a line: a place in it, or beyond its other end."""
    T = type(at)
    if spec.padding[0] != REFLECTION:
        return T(at + n) if at < 0 else T(at - n)
    outermost = 0 if spec.align else 1  # whether the pixels at the ends are repeated
    return T(-at - outermost) if at < 0 else T(n - 1 + (n - 1 - at) + outermost)


@leaf
def is_single(at, n, spec):
    """Tell whether a pixel is one of the two that stand once in a period, where others stand twice, in a transpose."""
    if spec.image_bar and spec.padding[0] == REFLECTION and spec.align:
        return at == 0 or at == n - 1
    return bool(0)
