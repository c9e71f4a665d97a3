"""What neighbouring locations add to one pixel is added up by the threads of a warp, and reaches memory once.

The right pixel of a location is often the left one of the next, as maps seldom shrink or turn much. So the thread that
has the next one adds both: for each row of pixels, a number of one thread goes to the next, in place of every second
addition to memory, which take longest. What other threads add comes in any order.
"""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.cuda.warp import before, matched
from stnkit.kernels.leaves.formats import add, narrow, widen
from stnkit.kernels.leaves.point import corner, lines, planes, tap
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.leaves.taps import drop
from stnkit.kernels.simd.lanes import load
from stnkit.kernels.simd.triples import add_triple
from stnkit.spec import FLOAT32

HERE, NEXT = 1, 2  # bits of a row: the number of the thread before is added here, or this one's by the next


@leaf
def add_nothing(tile, gone, spec):
    """Make all taps of a location dead where the thread has none: it takes part in what its warp does."""
    if spec.nearest:
        at = slot(int64(0), int64(0))
        tile.rows[at] = type(tile.rows[0])(-1) if gone else tile.rows[at]
    else:
        drop(tile, int64(0), int64(0), gone, spec)


@leaf
def matches(tile, spec):
    """Return two bits for each row of the one location: `HERE` and `NEXT`."""
    found = int64(0)
    if not spec.nearest:
        number = tile.weights[0]
        for k in range(planes(spec)):
            for j in range(lines(spec)):
                left = corner(tile, int64(0), k, j, int64(0), number, spec)
                right = corner(tile, int64(0), k, j, int64(1), number, spec)
                found |= int64(matched(left, right)) << (2 * (spec.taps * k + j))
    return found


@leaf
def add_together(image_bar, at, out_bar, to, tile, found, c, many, spec):
    """Add to the image's cotangent what channel `c` of the one location brings, or three, and the one before."""
    number, p = tile.weights[0], int64(0)
    g = widen(load(out_bar.memory, to + c * out_bar.strides[1], many), number, spec.dot_dtype)
    plane = at + c * image_bar.strides[1]
    if spec.nearest:
        put(image_bar.memory, plane, int64(tile.rows[slot(int64(0), p)]), g, bool(1), number, spec)
        return
    x0, _, _ = tap(tile, int64(0), int64(0), p, number, spec)
    x1, _, _ = tap(tile, int64(0), int64(1), p, number, spec)
    for k in range(planes(spec)):
        wz = type(number)(1)
        if spec.ndim > 2:
            wz, _, _ = tap(tile, 2 * spec.taps, k, p, number, spec)
        for j in range(lines(spec)):
            wy = type(number)(1)
            if spec.ndim > 1:
                wy, _, _ = tap(tile, spec.taps, j, p, number, spec)
            left, right = wz * wy * x0 * g, wz * wy * x1 * g
            bits, moved = found >> (2 * (spec.taps * k + j)), before(right)
            left = left + moved if bits & HERE else left
            first = int64(corner(tile, p, k, j, int64(0), number, spec))
            second = int64(corner(tile, p, k, j, int64(1), number, spec))
            put(image_bar.memory, plane, first, left, bool(1), number, spec)
            put(image_bar.memory, plane, second, right, not bits & NEXT, number, spec)


@leaf
def put(memory, at, offset, value, own, number, spec):
    """Add in place what is this thread's `own` to add, unless the offset is negative."""
    if spec.triples:
        add_triple(memory, at, offset if own else int64(-1), narrow(value, memory[at], FLOAT32), spec)
    elif own and offset >= 0:
        add(memory, at + offset, value, number, spec)
