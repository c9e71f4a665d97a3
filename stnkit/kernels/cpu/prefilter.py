"""Loops over the lines of an array, which are filtered to a spline's coefficients several at once.

A block of lines is copied so that those which are done at once lie side by side, filtered there, and copied back. Each
block is filtered by one thread.
"""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import advanced, free, kernel, leaf, malloc, pointer
from stnkit.kernels.cpu.call import IMAGE, OUT, SHORT_OF_MEMORY, arguments_at, words_at
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.prefilter import find_coefficients
from stnkit.kernels.simd.lanes import lanes, load, store, width
from stnkit.spec import Spec


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
    call = arguments_at(words)
    like = zero(spec.image_dtype)
    image, out, many = pointer(words[IMAGE], like), pointer(words[OUT], like), lanes(like, spec)
    n, inner = call.size[1], call.size[2]
    count = call.batch * inner
    memory = malloc(8 * n * width(many))
    if memory == 0:
        return SHORT_OF_MEMORY
    block = pointer(memory, like)
    blocks = (count + width(many) - 1) // width(many)
    for item in range(first_chunk * blocks // call.chunks, last_chunk * blocks // call.chunks):
        first = item * width(many)
        wide = min(width(many), count - first)
        copy_lines(block, image, first, wide, n, inner, bool(1), many)
        find_coefficients(block, width(many), n, many, spec)
        copy_lines(block, out, first, wide, n, inner, bool(0), many)
    free(memory)
    return 0


@leaf
def copy_lines(block, array, first, wide, n, inner, inwards, many):
    """Copy `wide` lines, from number `first` on, into a block or back; as lanes where they are neighbours."""
    if wide == width(many) and first % inner + wide <= inner:
        array = advanced(array, first // inner * n * inner + first % inner)
        for i in range(n):
            if inwards:
                store(block, i * width(many), load(array, i * inner, many))
            else:
                store(array, i * inner, load(block, i * width(many), many))
    else:
        for k in range(wide):
            line = first + k
            at = line // inner * n * inner + line % inner
            for i in range(n):
                if inwards:
                    block[i * width(many) + k] = array[at + i * inner]
                else:
                    array[at + i * inner] = block[i * width(many) + k]
        if inwards:
            for k in range(wide, width(many)):  # what is not asked for, but filtered too
                for i in range(n):
                    block[i * width(many) + k] = type(block[0])(0)
