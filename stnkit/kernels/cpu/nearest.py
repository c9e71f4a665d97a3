"""How nearest moves pixels, as they are stored: where channels are planes, several locations and channels at once."""

from numba import int64

from stnkit.kernels.compiler.jit import beyond, leaf
from stnkit.kernels.leaves.point import AHEAD, slot
from stnkit.kernels.simd.lanes import alive, full, gather, living, load, store, width
from stnkit.kernels.simd.neighbours import ones, touch

BLOCK = 4  # channels that are read together: where a location is, is then read once for all of them


@leaf
def move_tile(out, to, image, at, raws, tile, count, cs, places, spec):
    """Copy what the locations of one tile read, one block of channels after the other."""
    number = tile.weights[0]
    first = cs[0]
    while first < cs[1]:
        last = min(first + BLOCK, cs[1])
        p = int64(0)
        while p + width(places) <= count:
            move(out, to + p, image, at, raws, tile, p, first, last, places, spec)
            p += width(places)
        while p < count:
            move(out, to + p, image, at, raws, tile, p, first, last, number, spec)
            p += 1
        first = last


@leaf
def move(out, to, image, at, raws, tile, p, first, last, places, spec):
    """Copy channels first .. last of location `p`, or of as many from there on as `places` has lanes.

    Pixels of every second location further on are asked for: a map that turns the image changes its row as often.
    """
    where = slot(int64(0), p)
    if alive(tile.rows, where, places):
        for c in range(first, last):
            plane = beyond(image.memory, at + c * image.strides[1])
            touch(plane, tile.rows, where + AHEAD, places)
            touch(plane, tile.rows, where + AHEAD + 2, places)
            store(out.memory, to + c * out.strides[1], ones(plane, int64(0), tile.rows, where, places))
    else:
        for c in range(first, last):
            outside = full(raws[c], places)
            pixels = pick(image.memory, at + c * image.strides[1], outside, tile, p, places, places, spec.reading)
            store(out.memory, to + c * out.strides[1], pixels)


@leaf
def pick(image, at, fill, tile, p, places, many, spec):
    """Return what location `p` reads by nearest, as it is stored; so is the fill value."""
    offset = load(tile.rows, slot(int64(0), p), places)
    return living(offset, gather(image, at, offset, many), fill)
