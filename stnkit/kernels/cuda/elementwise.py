"""What one thread of a GPU does for one number of a whole array: products, copies, sums, lengths, and constants.

On a CPU, NumPy does all this. A factory's function is called with the number's place in an output without gaps; inputs
are walked by strides in elements. A format is that of the array in place of which it is named: an output's is
`dot_dtype`, the first factor's `image_dtype`, and other factors' `source_dtype`.
"""

import functools
from typing import Any

import numpy as np

from stnkit.kernels.compiler.jit import int64, leaf, pointer
from stnkit.kernels.leaves.formats import narrow, widen, zero
from stnkit.kernels.leaves.radial import root
from stnkit.kernels.leaves.reproducible_sum import bits_of, is_finite, whole_max
from stnkit.spec import FLOAT64, LONG, Spec

AXES = 6  # of an array, at most: those of an image, and the bytes of a number
WORDS = 16  # of 64 bits, which one launch carries


def arithmetic(*dtypes: int) -> Any:
    """Return a zero of the type that formats are computed in."""
    return np.float64(0) if {FLOAT64, *LONG} & set(dtypes) else np.float32(0)


@leaf
def walk(i, shape, strides):
    """Return where number `i` of an array without gaps lies in one of the same shape, with strides."""
    rest, at = int64(i), int64(0)
    for axis in range(AXES):
        n = shape[AXES - 1 - axis]
        at += (rest % n) * strides[AXES - 1 - axis]
        rest //= n
    return at


@functools.cache
def product(spec: Spec) -> Any:
    """Build out[i] = first[i], times second[i], or times (second[i] third[i]), where the spec says that they are given.

    Alone, and in the format of the output, the first is copied bit for bit.
    """
    kept, given, others = zero(spec.dot_dtype), zero(spec.image_dtype), zero(spec.source_dtype)
    like = arithmetic(spec.dot_dtype, spec.image_dtype, spec.source_dtype)
    copied = spec.dot_dtype == spec.image_dtype and not spec.image_dot

    def thread(i, out_at, first_at, second_at, third_at, shape, first, second, third):
        out, factor = pointer(out_at, kept), pointer(first_at, given)[walk(i, shape, first)]
        if copied:
            out[i] = factor
        else:
            value = widen(factor, like, spec.image_dtype)
            if spec.image_dot:
                scale = widen(pointer(second_at, others)[walk(i, shape, second)], like, spec.source_dtype)
                if spec.source_dot:
                    scale *= widen(pointer(third_at, others)[walk(i, shape, third)], like, spec.source_dtype)
                value *= scale
            out[i] = narrow(value, kept, spec.dot_dtype)

    return thread


@functools.cache
def combination(spec: Spec) -> Any:
    """Build out[i] = (a first[i] + b second[i] + c) / n from numbers a, b, c and n, for an output of any strides.

    The second is there where the spec says that it is given.
    """
    kept, given, others = zero(spec.dot_dtype), zero(spec.image_dtype), zero(spec.source_dtype)
    like = arithmetic(spec.dot_dtype, spec.image_dtype, spec.source_dtype)

    def thread(i, out_at, first_at, second_at, numbers_at, shape, out, first, second):
        numbers = pointer(numbers_at, like)
        value = widen(pointer(first_at, given)[walk(i, shape, first)], like, spec.image_dtype) * numbers[0]
        if spec.image_dot:
            value += widen(pointer(second_at, others)[walk(i, shape, second)], like, spec.source_dtype) * numbers[1]
        value = (value + numbers[2]) / numbers[3]
        pointer(out_at, kept)[walk(i, shape, out)] = narrow(value, kept, spec.dot_dtype)

    return thread


@functools.cache
def longest(spec: Spec) -> Any:
    """Raise peak[n] to the representation of the longest vector's length among those of item n that are finite.

    A vector is the difference of two arrays along their last axis, times numbers, and with numbers added.
    """
    word, like = np.int64(0), arithmetic(spec.source_dtype)

    def thread(i, peak_at, ahead_at, back_at, numbers_at, each, shape, ahead, back, steps):
        one, other, numbers = pointer(ahead_at, like), pointer(back_at, like), pointer(numbers_at, like)
        at, behind, item = walk(i, shape, ahead), walk(i, shape, back), int64(i) // each
        peak = pointer(peak_at, word)
        most = like
        for k in range(spec.ndim):
            x = (one[at + k * steps[0]] - other[behind + k * steps[1]]) * numbers[k] + numbers[spec.ndim + k]
            most = max(most, x, -x)
        square = like
        for k in range(spec.ndim):
            x = (one[at + k * steps[0]] - other[behind + k * steps[1]]) * numbers[k] + numbers[spec.ndim + k]
            square += (x / most) * (x / most)
        length = most * root(square)  # by their largest part, so that none overflows; NaN where all are 0
        bits = bits_of(length) if is_finite(length) else int64(0)
        if bits > peak[item]:  # which is never more than what it will be
            whole_max(peak, item, bits)

    return thread


@functools.cache
def total(spec: Spec) -> Any:
    """Build out[i] = the sum of first[n, i] over n, in their order."""
    kept, given = zero(spec.dot_dtype), zero(spec.image_dtype)
    like = arithmetic(spec.dot_dtype, spec.image_dtype)

    def thread(i, out_at, first_at, count, step, shape, first):
        out, memory = pointer(out_at, kept), pointer(first_at, given)
        at = walk(i, shape, first)
        value = like
        for _ in range(count):
            value += widen(memory[at], like, spec.image_dtype)
            at += step
        out[i] = narrow(value, kept, spec.dot_dtype)

    return thread


@functools.cache
def contraction(spec: Spec) -> Any:
    """Build out[n, i, j] = the sum of first[i, k] second[n, k, j] over k, in their order, in float64."""
    kept, given, others = zero(spec.dot_dtype), zero(spec.image_dtype), zero(spec.source_dtype)
    like = np.float64(0)

    def thread(i, out_at, first_at, second_at, rows, columns, count, out, first, second):
        j, rest = int64(i) % columns, int64(i) // columns
        row, n = rest % rows, rest // rows
        one, other = pointer(first_at, given), pointer(second_at, others)
        value = like
        for k in range(count):
            left = widen(one[row * first[0] + k * first[1]], like, spec.image_dtype)
            right = widen(other[n * second[0] + k * second[1] + j * second[2]], like, spec.source_dtype)
            value += left * right
        to = n * out[0] + row * out[1] + j * out[2]
        pointer(out_at, kept)[to] = narrow(value, kept, spec.dot_dtype)

    return thread


@functools.cache
def constant(spec: Spec) -> Any:
    """Build out[i] = the words, again and again: constants come with the launch, and are copied from nowhere."""
    word = np.int64(0)

    def thread(i, out_at, words):
        pointer(out_at, word)[i] = words[i % WORDS]

    return thread
