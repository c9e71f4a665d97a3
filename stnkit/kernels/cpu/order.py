"""Loops that differentiate in the coordinates, to any order on each axis, and their adjoints.

Sampling is a product of one weight for each axis, so any of its derivatives in the coordinates is sampling with
differentiated weights. Parts are those of `loops`. The orders are numbers of a call, in the order
x, y, z, and no choice of the spec: one machine code serves them all.
"""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import View, int64, kernel, leaf, pointer, select
from stnkit.kernels.cpu.call import COTANGENT, IMAGE_BAR
from stnkit.kernels.cpu.loops import image_cotangent_tile, over_tiles, sample_tile
from stnkit.kernels.cpu.parts import span
from stnkit.kernels.cpu.tile import steepness
from stnkit.kernels.leaves.axis import chain, cubic
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.looped import derivatives, first_tap
from stnkit.kernels.leaves.places import locations
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.leaves.taps import drop
from stnkit.kernels.simd.lanes import lanes
from stnkit.spec import BICUBIC, Spec


@functools.cache
def sample_order(spec: Spec) -> Any:
    """Build the kernel of a derivative: out[n, c, p] = (d / d u)^order of `sample`, per unit of coordinates."""

    def sample_order(words, first, last):
        return over_tiles(words, first, last, sample_tile_order, spec)

    return kernel(sample_order, spec)


@leaf
def sample_tile_order(words, call, tile, memory, n, cs, t, at, spec):
    """Write the derivative of the channels `cs` of one tile."""
    _, count = span(t, locations(call.size, spec))
    differentiate(tile, count, call.order, call.size, call.extent, zero(spec.arithmetic_dtype), spec)
    sample_tile(words, call, tile, memory, n, cs, t, at, spec)


@functools.cache
def splat_order(spec: Spec) -> Any:
    """Build the adjoint of `sample_order` in the image: it adds to what stands in `image_bar`."""

    def splat_order(words, first, last):
        return over_tiles(words, first, last, splat_tile_order, spec)

    return kernel(splat_order, spec)


@leaf
def splat_tile_order(words, call, tile, memory, n, cs, t, at, spec):
    """Add what one tile brings to the image's cotangent."""
    like = zero(spec.arithmetic_dtype)
    first, count = span(t, locations(call.size, spec))
    differentiate(tile, count, call.order, call.size, call.extent, like, spec)
    image_bar = View(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), call.image)
    out_bar = View(pointer(words[COTANGENT], zero(spec.dot_dtype)), call.cotangent)
    to, distant = n * call.cotangent[0] + first * call.cotangent[2], call.prefetch[0] != 0
    image_cotangent_tile(image_bar, at, out_bar, to, tile, count, cs, distant, lanes(like, spec), bool(0), spec)


@leaf
def differentiate(tile, count, order, size, extent, like, spec):
    """Replace the weights of a tile by their derivatives in the coordinates, of the order of each axis.

    A pixel coordinate is piecewise linear in what gives it, so (d / d u)^k w = w^(k) (d pixel / d u)^k. A location
    that the padding does not let move, or that is not finite, has dead taps of weight 0: be the image infinite there,
    its derivative is 0.
    """
    differentiate_axis(tile, int64(0), spec.padding[0], count, order[0], size, extent, like, spec)
    if spec.ndim > 1:
        differentiate_axis(tile, int64(1), spec.padding[1], count, order[1], size, extent, like, spec)
    if spec.ndim > 2:
        differentiate_axis(tile, int64(2), spec.padding[2], count, order[2], size, extent, like, spec)


@leaf
def differentiate_axis(tile, axis, padding, count, times, size, extent, like, spec):
    """Replace the weights of one axis; which it is has to be a constant, as a GPU has no rows of registers."""
    T = type(like)
    unit = chain(extent[2 - axis], size[2 - axis], like, spec)
    if times > 0:
        for p in range(count):
            step = steepness(tile, axis, p, extent, padding, spec) * unit
            factor = T(1)
            for _ in range(times):
                factor *= step
            if spec.looped:
                differentiate_looped(tile, axis, p, extent[2 - axis], times, factor, spec)
            else:
                for tap in range(spec.taps):
                    at = slot(axis * spec.taps + tap, p)
                    tile.weights[at] = slope(tile, at, tap, times, spec) * factor
            drop(tile, axis, p, factor == T(0), spec)


@leaf
def differentiate_looped(tile, axis, p, n, times, factor, spec):
    """Be `differentiate_axis` for one location of a spline or filter, which is finite if the factor is not 0."""
    x = tile.coords[slot(axis, p)]
    _, t = first_tap(select(x != x, type(x)(0), x), type(tile.odd[0])(n), spec)
    weights = derivatives(t, times, spec)
    for tap in range(spec.taps):
        tile.weights[slot(axis * spec.taps + tap, p)] = weights[tap] * factor


@leaf
def slope(tile, at, tap, times, spec):
    """Return the derivative, of order `times`, of the weight of tap number `tap` that is staged at `at`, per pixel."""
    T = type(tile.weights[0])
    if spec.interp == BICUBIC:
        _, _, low = cubic(T(0))
        _, _, high = cubic(T(1))  # curves are linear: the third derivative is what they rise by
        value = tile.slopes[at] if times == 1 else tile.curves[at]
        value = high[tap] - low[tap] if times == 3 else value
        return value if times < 4 else T(0)
    return (T(1) if tap > 0 else T(-1)) if times == 1 else T(0)
