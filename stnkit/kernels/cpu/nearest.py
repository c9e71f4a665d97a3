"""How nearest moves pixels, as they are stored: where channels are planes, several locations and channels at once."""

from stnkit.kernels.compiler.jit import advanced, int64, leaf
from stnkit.kernels.cpu.ahead import ask, is_scattered
from stnkit.kernels.leaves.stage import PREFETCH_DISTANCE, slot
from stnkit.kernels.simd.lanes import full, gather, living, load, none_negative, store, width
from stnkit.kernels.simd.neighbours import ones, prefetch
from stnkit.spec import FLOAT64

BLOCK = 4  # channels that are read together: where a location is, is then read once for all of them


@leaf
def copy_tile(out, to, image, at, raws, tile, count, cs, after, distant, points, spec):
    """Copy what the locations of one tile read, one block of channels after the other."""
    number = tile.weights[0]
    scattered = is_scattered(tile, image, count, distant, spec)
    first = cs[0]
    while first < cs[1]:
        last = min(first + BLOCK, cs[1])
        p = int64(0)
        while p + width(points) <= count:
            ask(after, first - cs[0], p, points, spec)
            copy_location(out, to + p, image, at, raws, tile, p, first, last, distant, scattered, points, spec)
            p += width(points)
        while p < count:
            copy_location(out, to + p, image, at, raws, tile, p, first, last, bool(0), bool(0), number, spec)
            p += 1
        first = last


@leaf
def copy_location(out, to, image, at, raws, tile, p, first, last, distant, scattered, points, spec):
    """Copy channels first .. last of location `p`, or of as many from there on as `points` has lanes.

    Of an image that is too large for a cache (`distant`), pixels of every second location further on are prefetched: a
    map that turns the image changes its row as often. If locations are `scattered`, each lies in a line of its own; in
    a grid's pixels of 8 bytes, several do.
    """
    where = slot(int64(0), p)
    if none_negative(tile.rows, where, points):
        for c in range(first, last):
            plane = advanced(image.memory, at + c * image.strides[1])
            if distant:
                prefetch(plane, tile.rows, where + PREFETCH_DISTANCE, points)
                prefetch(plane, tile.rows, where + PREFETCH_DISTANCE + 2, points)
            if distant and (scattered or (spec.image_dtype == FLOAT64 and not spec.mapped)):
                prefetch(plane, tile.rows, where + PREFETCH_DISTANCE + 1, points)
                prefetch(plane, tile.rows, where + PREFETCH_DISTANCE + 3, points)
            store(out.memory, to + c * out.strides[1], ones(plane, int64(0), tile.rows, where, points))
    else:
        for c in range(first, last):
            outside = full(raws[c], points)
            pixels = pick(image.memory, at + c * image.strides[1], outside, tile, p, points, points, spec.reading)
            store(out.memory, to + c * out.strides[1], pixels)


@leaf
def pick(image, at, fill, tile, p, points, many, spec):
    """Return what location `p` reads by nearest, as it is stored; so is the fill value."""
    offset = load(tile.rows, slot(int64(0), p), points)
    return living(offset, gather(image, at, offset, many), fill)
