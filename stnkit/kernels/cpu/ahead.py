"""Asking for the coordinates of the next tile while the pixels of one are read.

A tile's coordinates are read in one go, which no processor foresees: the next tile would begin with waiting for them.
"""

from stnkit.kernels.compiler.jit import View, leaf, pointer
from stnkit.kernels.cpu.call import SOURCE
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.places import own
from stnkit.kernels.simd.lanes import width
from stnkit.kernels.simd.neighbours import touch
from stnkit.spec import TILE


@leaf
def coming(words, call, n, first, spec):
    """View the coordinates of the tile after that which begins at location `first`: strides of location and axis.

    Where rows have gaps it is the tile itself, which does no harm.
    """
    batch, _, row, step, along = call.source
    gapless = own(call.size, 0, spec) * own(call.size, 1, spec) == 1 or row == step * own(call.size, 2, spec)
    at = n * batch + (first + TILE if gapless else first) * step
    return View(pointer(words[SOURCE], zero(spec.source_dtype)), (at, step, along))


@leaf
def ask(coordinates, k, p, points, spec):
    """Ask for the coordinates of location `p`, and of as many from there on as `points` has lanes, in round `k`.

    In the first round alone: the other rounds are of other channels. Channels that lie side by side have no rounds, and
    are so many that coordinates are little beside them.
    """
    if (spec.dense or spec.apart) and not spec.interleaved and k == 0:
        at, step, along = coordinates.strides
        for axis in range(spec.ndim):
            spread = axis * along if spec.apart else axis * width(points)
            touch(coordinates.memory, at + p * step + spread)
