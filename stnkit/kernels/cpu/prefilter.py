"""Loops over the lines of an array, which are filtered to a spline's coefficients several at once.

A block of lines is copied so that those which are done at once lie side by side, filtered there, and copied back. Each
block is filtered by one thread.
"""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import advanced, free, kernel, leaf, malloc, pointer
from stnkit.kernels.cpu.call import IMAGE, OUT, SHORT_OF_MEMORY
from stnkit.kernels.cpu.words import arguments_at, words_at
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.prefilter import find_coefficients
from stnkit.kernels.simd.lanes import lanes, load, store, width
from stnkit.kernels.simd.squares import transpose
from stnkit.spec import LANES, Spec


@functools.cache
def spline_filter(spec: Spec) -> Any:
    """Build the kernel that filters an array (batch, n, inner) along its middle axis; it may do so in place."""

    def spline_filter(words, first, last):
        return over_lines(words, first, last, spec)

    return kernel(spline_filter, spec)


@leaf
def over_lines(address, first_chunk, last_chunk, spec):
    """Filter the blocks of lines of some chunks; return a status."""
    words = words_at(address)
    call = arguments_at(words, spec)
    like = zero(spec.image_dtype)
    image, out, many = pointer(words[IMAGE], like), pointer(words[OUT], like), lanes(like, spec)
    n, inner = call.size[1], call.size[2]
    count, at_once = call.batch * inner, width(many)
    memory = malloc(8 * n * at_once)
    if memory == 0:
        return SHORT_OF_MEMORY
    block = pointer(memory, like)
    blocks = (count + at_once - 1) // at_once
    for item in range(first_chunk * blocks // call.chunks, last_chunk * blocks // call.chunks):
        first = item * at_once
        wide = min(at_once, count - first)
        copy_lines(block, image, first, wide, n, inner, bool(1), many)
        find_coefficients(block, at_once, n, many, spec)
        copy_lines(block, out, first, wide, n, inner, bool(0), many)
    free(memory)
    return 0


@leaf
def copy_lines(block, array, first, wide, n, inner, inwards, many):
    """Copy `wide` lines, from number `first` on, into a block or back, where they lie side by side.

    They are as many as there are lanes, a multiple of `LANES`, or fewer; the lanes left over hold zeros. Neighbours are
    copied row by row, as each row of the array may lie in a page of memory of its own.
    """
    if wide == width(many) and first % inner + wide <= inner:
        array = advanced(array, first // inner * n * inner + first % inner)
        for i in range(n):
            if inwards:
                store(block, i * width(many), load(array, i * inner, many))
            else:
                store(array, i * inner, load(block, i * width(many), many))
    else:
        turned = n // LANES * LANES if inner == 1 and wide == width(many) else 0
        for k in range(wide // LANES):  # rows of the array are columns of the block
            line = (first + k * LANES) * n
            for i in range(turned // LANES):
                outside, inside = line + i * LANES, i * LANES * width(many) + k * LANES
                if inwards:
                    transpose(block, inside, width(many), array, outside, n)
                else:
                    transpose(array, outside, n, block, inside, width(many))
        for k in range(wide):
            line = first + k
            at = line // inner * n * inner + line % inner
            for i in range(turned, n):
                if inwards:
                    block[i * width(many) + k] = array[at + i * inner]
                else:
                    array[at + i * inner] = block[i * width(many) + k]
        if inwards:
            for k in range(wide, width(many)):
                for i in range(n):
                    block[i * width(many) + k] = type(block[0])(0)
