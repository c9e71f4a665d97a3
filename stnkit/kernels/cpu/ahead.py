"""Prefetching: of the coordinates of the next tile while the pixels of one are read, and of pixels further on.

A tile's coordinates are read in one go, and pixels in the order of a map, neither of which a processor foresees.
"""

from stnkit.kernels.compiler.jit import View, advanced, int64, leaf, pointer
from stnkit.kernels.cpu.call import SOURCE
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.places import own
from stnkit.kernels.leaves.stage import PREFETCH_DISTANCE, slot
from stnkit.kernels.simd.lanes import width
from stnkit.kernels.simd.neighbours import prefetch, touch
from stnkit.spec import TILE

PROBE = 32  # locations, of which one is compared with the next
NEAR = 32  # numbers, about as many as a line of the cache holds
NEARBY = 1 << 16  # numbers of an image; the next channel of a smaller one is in a cache
COMPACT = 1 << 17  # numbers of a plane; what a tile reads of a larger one is too much for a cache


@leaf
def coming(words, call, n, first, spec):
    """View the coordinates of the tile after that which begins at location `first`.

    The strides are where it begins, those of location and axis, at which location its row ends, how much further the
    next row then is than the next location, and whether coordinates are prefetched. Of a tile of many rows with gaps it
    is the tile itself, which does no harm.
    """
    batch, plane, row, step, along = call.source
    height, width = own(call.size, 1, spec), own(call.size, 2, spec)
    gap = row - step * width if own(call.size, 0, spec) * height > 1 else int64(0)
    after = first + TILE if gap == 0 or 2 * width >= TILE else first
    line, x = after // width, after % width
    at = n * batch + line // height * plane + line % height * row + x * step
    return View(pointer(words[SOURCE], zero(spec.source_dtype)), (at, step, along, width - x, gap, call.prefetch[1]))


@leaf
def ask(coordinates, k, p, points, spec):
    """Prefetch the coordinates of location `p`, and of as many from there on as `points` has lanes, in round `k`.

    In the first round alone: the other rounds are of other channels. Channels that lie side by side have no rounds, and
    are so many that coordinates are little beside them.
    """
    at, step, along, end, gap, wanted = coordinates.strides
    if (spec.dense or spec.apart) and not spec.interleaved and k == 0 and wanted != 0:
        at += gap if p >= end else 0
        for axis in range(spec.ndim):
            spread = axis * along if spec.apart else axis * width(points)
            touch(coordinates.memory, at + p * step + spread)


@leaf
def next_plane(image, at, c, cs, next_too, distant, spec):
    """Return whether pixels are prefetched while channel `c` is read, of which plane, and how many locations ahead.

    With `next_too` it is the plane of the next channel, if what a tile reads of it fits a cache; else the same plane,
    of an image that is too large for one (`distant`), or has channels side by side. Past the last location, what the
    stage held before is prefetched, which does no harm.
    """
    wide, plane = cs[1] - cs[0], image.strides[1]
    planes = next_too and spec.paired and not spec.interleaved
    beside = planes and c + 1 < cs[1] and plane <= COMPACT and wide * plane > NEARBY
    memory = advanced(image.memory, at + (c + 1 if beside else c) * plane)
    wanted = spec.packed and (spec.interleaved or beside or distant)
    return wanted, memory, (int64(0) if beside else int64(PREFETCH_DISTANCE))


@leaf
def prefetch_pixels(plane, p, tile, scattered, points, spec):
    """Prefetch the pixels of location `p`; those of others that are done at once are near, if not `scattered`."""
    for row in range(spec.rows):
        where = slot(row, p)
        prefetch(plane, tile.rows, where, points)
        if scattered:
            prefetch(plane, tile.rows, where + 1, points)
            prefetch(plane, tile.rows, where + 2, points)
            prefetch(plane, tile.rows, where + 3, points)


@leaf
def is_scattered(tile, image, count, distant, spec):
    """Tell whether many neighbouring locations of a tile read pixels of a large plane that lie apart.

    In a map they come in rows.
    """
    if spec.mapped or spec.interleaved or not (spec.paired or spec.nearest):
        return False
    if not distant or image.strides[1] <= COMPACT:
        return False
    probes, apart = count // PROBE, 0
    for k in range(probes):
        step = int64(tile.rows[slot(int64(0), k * PROBE + 1)]) - int64(tile.rows[slot(int64(0), k * PROBE)])
        apart += 1 if step > NEAR or step < -NEAR else 0
    return 4 * apart > probes
