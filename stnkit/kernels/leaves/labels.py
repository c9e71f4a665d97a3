"""One output location: choose among the labels that its taps read the one of the greatest weight."""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.leaves.point import corner
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import full, gather, living, load, preferred, same


@leaf
def heaviest(image, at, fill, tile, p, points, many, spec):
    """Return the label of the greatest linear weight at location `p`, the smaller one of two.

    It is as it is stored; so is the fill value. A label weighs as much as all taps that read it. They are added in one
    order for every label, so labels that lie as in a mirror weigh the same.
    """
    none = full(type(tile.weights[0])(0), many)
    best, most = fill, none
    for i in range(1 << spec.ndim):
        value, _ = weighed(image, at, fill, tile, p, int64(i), points, many, spec)
        weight = none
        for j in range(1 << spec.ndim):
            other, share = weighed(image, at, fill, tile, p, int64(j), points, many, spec)
            weight = weight + same(value, other, full(share, many), none)
        best, most = preferred(weight, most, value, best), preferred(weight, most, weight, most)
    return best


@leaf
def weighed(image, at, fill, tile, p, i, points, many, spec):
    """Return what corner number `i` reads, of two on each axis, and its weight."""
    offset = corner(tile, p, i >> 2, i >> 1 & 1, i & 1, points, spec)
    share = load(tile.weights, slot(i & 1, p), points)
    if spec.ndim > 1:
        share = share * load(tile.weights, slot(2 + (i >> 1 & 1), p), points)
    if spec.ndim > 2:
        share = share * load(tile.weights, slot(4 + (i >> 2), p), points)
    return living(offset, gather(image, at, offset, many), fill), share
