"""Asking for the coordinates of the next tile while the pixels of one are read, and whether to ask for all of these.

A tile's coordinates are read in one go, which no processor foresees: the next tile would begin with waiting for them.
"""

from stnkit.kernels.compiler.jit import View, int64, leaf, pointer
from stnkit.kernels.cpu.call import SOURCE
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.places import own
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import width
from stnkit.kernels.simd.neighbours import touch
from stnkit.spec import TILE

PROBE = 32  # locations, of which one is compared with the next
NEAR = 32  # numbers, about as many as a line of the cache holds
COMPACT = 1 << 17  # numbers of a plane; what a tile reads of a larger one is too much for a cache


@leaf
def coming(words, call, n, first, spec):
    """View the coordinates of the tile after that which begins at location `first`.

    The strides are where it begins, those of location and axis, at which location its row ends, and how much further
    the next row then is than the next location. Of a tile of many rows with gaps it is the tile itself, which does no
    harm.
    """
    batch, plane, row, step, along = call.source
    height, width = own(call.size, 1, spec), own(call.size, 2, spec)
    gap = row - step * width if own(call.size, 0, spec) * height > 1 else int64(0)
    after = first + TILE if gap == 0 or 2 * width >= TILE else first
    line, x = after // width, after % width
    at = n * batch + line // height * plane + line % height * row + x * step
    return View(pointer(words[SOURCE], zero(spec.source_dtype)), (at, step, along, width - x, gap))


@leaf
def ask(coordinates, k, p, points, spec):
    """Ask for the coordinates of location `p`, and of as many from there on as `points` has lanes, in round `k`.

    In the first round alone: the other rounds are of other channels. Channels that lie side by side have no rounds, and
    are so many that coordinates are little beside them.
    """
    if (spec.dense or spec.apart) and not spec.interleaved and k == 0:
        at, step, along, end, gap = coordinates.strides
        at += gap if p >= end else 0
        for axis in range(spec.ndim):
            spread = axis * along if spec.apart else axis * width(points)
            touch(coordinates.memory, at + p * step + spread)


@leaf
def is_scattered(tile, image, count, spec):
    """Tell whether many neighbouring locations of a tile read pixels of a large plane that lie apart.

    In a map they come in rows.
    """
    if spec.mapped or spec.interleaved or not (spec.paired or spec.nearest) or image.strides[1] <= COMPACT:
        return False
    probes, apart = count // PROBE, 0
    for k in range(probes):
        step = int64(tile.rows[slot(int64(0), k * PROBE + 1)]) - int64(tile.rows[slot(int64(0), k * PROBE)])
        apart += 1 if step > NEAR or step < -NEAR else 0
    return 4 * apart > probes
