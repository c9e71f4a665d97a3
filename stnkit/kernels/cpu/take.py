"""Copying pixels row by row, as tables say that have the pixel of each location on each axis.

No coordinate is worked out for a location. Most rows are runs: what is not there, neighbours, and single pixels.
"""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import advanced, int64, kernel, leaf, pointer
from stnkit.kernels.cpu.call import FILL, IMAGE, MISSING, NEIGHBOURS, OUT, SOURCE
from stnkit.kernels.cpu.parts import quotient
from stnkit.kernels.cpu.words import arguments_at, words_at
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.simd.lanes import lanes, store, width
from stnkit.kernels.simd.neighbours import ones
from stnkit.spec import INT64, Spec


@functools.cache
def take(spec: Spec) -> Any:
    """Build the kernel: out[c, z, y, x] = image[c] at what three tables say of z, y and x.

    The tables, one after the other, hold how far an element is from the first, or a negative number if there is none.
    Before them stands how many runs a row has, and behind them where each ends, and what it is.
    """

    def take(words, first, last):
        return over_rows(words, first, last, spec)

    return kernel(take, spec)


@leaf
def over_rows(address, first_chunk, last_chunk, spec):
    """Copy the rows of some chunks; return a status."""
    words = words_at(address)
    call = arguments_at(words, spec)
    like = zero(spec.image_dtype)
    image, out = pointer(words[IMAGE], like), pointer(words[OUT], like)
    table = pointer(words[SOURCE], zero(INT64))
    fill, runs, tables = pointer(words[FILL], like)[0], table[0], advanced(table, 1)
    depth, height, wide = call.size
    rows = call.channels * depth * height
    for item in range(quotient(first_chunk * rows, call.chunks), quotient(last_chunk * rows, call.chunks)):
        plane = quotient(item, height)
        c = quotient(plane, depth)
        z, y = tables[plane - c * depth], tables[depth + item - plane * height]
        row, target = advanced(image, c * call.image[1] + z + y), advanced(out, item * wide)
        if z < 0 or y < 0:
            put_fill(target, fill, int64(0), wide)
        else:
            take_row(target, row, advanced(tables, depth + height), runs, wide, fill, lanes(like, spec))
    return 0


@leaf
def take_row(target, row, table, runs, wide, fill, many):
    """Copy one row, run by run."""
    begin = int64(0)
    for k in range(runs):
        end, kind = table[wide + 2 * k], table[wide + 2 * k + 1]
        if kind == MISSING:
            put_fill(target, fill, begin, end)
        elif kind == NEIGHBOURS:
            put_neighbours(target, row, begin, table[begin], end)
        else:
            i = begin
            while i + width(many) <= end:
                store(target, i, ones(row, int64(0), table, i, many))
                i += width(many)
            while i < end:
                target[i] = row[table[i]]
                i += 1
        begin = end


@leaf
def put_fill(target, fill, begin, end):
    """Fill a run."""
    for i in range(begin, end):
        target[i] = fill


@leaf
def put_neighbours(target, row, begin, first, end):
    """Copy a run of neighbours, the first of which is told."""
    for i in range(end - begin):
        target[begin + i] = row[first + i]
