"""Sums of floating-point numbers that do not depend on the order in which threads add.

A sum is kept in two bins, integers of 64 bits, whose addition is associative. The upper bin counts units so large
that as many of the largest number as are added still fit; the lower one counts the rest, in units as much smaller as
its own size allows. With a million summands both have 40 binary digits: a number 2**50 times smaller than the largest
still adds all its bits. This is Demmel and Nguyen (2015), "Parallel reproducible summation", with two bins in fixed
places. A third integer remembers what no integer can: infinities and NaN, by one bit each.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import int64, intrinsic, leaf
from stnkit.kernels.simd.gpu_words import reduce

WORDS = 3  # of one sum: upper bin, lower bin, and which values without a number were added
HEAD = 2  # words before the sums: binary digits of the upper unit below 1, and of the lower one below that
ROOM = 60  # binary digits of a bin that sums may fill
PLUS, MINUS, NAN = 1, 2, 4


def whole_add(memory: Any, at: Any, value: Any) -> None:
    """Add to an integer while other threads of a GPU may add to it too."""
    memory[at] += value


def whole_or(memory: Any, at: Any, value: Any) -> None:
    """Set bits of an integer while other threads of a GPU may set some too."""
    memory[at] |= value


def whole_max(memory: Any, at: Any, value: Any) -> None:
    """Raise an integer to another while other threads of a GPU may raise it too."""
    memory[at] = max(memory[at], value)


def is_binned(memory: Any) -> bool:
    """Tell whether memory holds bins instead of numbers."""
    return bool(memory.dtype == np.int64)


def bits_of(x: Any) -> int:
    """Return the representation of a number that is not negative: an integer that grows with it; that of -0 is less."""
    return int(x.view(f"i{x.itemsize}"))


def power(exponent: Any, like: Any) -> Any:
    """Return 2**exponent in the type of `like`, for an exponent within its range."""
    return type(like)(2.0) ** int(exponent)


def exponent_of(bits: Any, like: Any) -> int:
    """Return the exponent of the number of the type of `like` with a representation: it is below twice 2 to that."""
    return (int(bits) >> 23) - 127 if np.dtype(type(like)).itemsize == 4 else (int(bits) >> 52) - 1023


@intrinsic(is_binned, lambda memory: types.boolean, known=lambda context, memory: memory.dtype == types.int64)
def _is_binned(context, builder, signature, args):
    return context.get_constant(types.boolean, signature.args[0].dtype == types.int64)


def _once(function: Any, code: str, there: str) -> None:
    """Define an operation by LLVM's name of it, and on a GPU by NVIDIA's."""

    @intrinsic(function, lambda memory, at, value: types.void)
    def lower(context, builder, signature, args):
        if signature.args[0].dtype == types.int64:  # otherwise it is never reached
            value = context.cast(builder, args[2], signature.args[2], types.int64)
            where = builder.gep(args[0], [args[1]])
            if is_gpu(context):
                reduce(builder, there, where, [value])
            else:
                builder.atomic_rmw(code, where, value, "monotonic")
        return context.get_dummy_value()


_once(whole_add, "add", "add.u64")
_once(whole_or, "or", "or.b64")
_once(whole_max, "max", "max.s64")


@intrinsic(bits_of, lambda x: types.int64)
def _bits_of(context, builder, signature, args):
    word = ir.IntType(signature.args[0].bitwidth)
    bits = builder.bitcast(args[0], word)
    return bits if word.width == 64 else builder.sext(bits, ir.IntType(64))


@intrinsic(exponent_of, lambda bits, like: types.int64)
def _exponent_of(context, builder, signature, args):
    digits, bias = {32: (23, 127), 64: (52, 1023)}[signature.args[1].bitwidth]
    word = ir.IntType(64)
    return builder.sub(builder.ashr(args[0], word(digits)), word(bias))


@intrinsic(power, lambda exponent, like: like)
def _power(context, builder, signature, args):
    kind = signature.return_type
    word, digits = ir.IntType(kind.bitwidth), {32: 23, 64: 52}[kind.bitwidth]
    exponent = builder.trunc(args[0], word) if kind.bitwidth < 64 else args[0]
    bias = (1 << (kind.bitwidth - digits - 2)) - 1
    bits = builder.shl(builder.add(exponent, word(bias)), word(digits))
    return builder.bitcast(bits, context.get_value_type(kind))


@leaf
def is_finite(x):
    """Tell whether a number is neither infinite nor NaN."""
    return x - x == type(x)(0)


@leaf
def scaled(x, exponent):
    """Multiply by 2**exponent, in two steps, as one factor may be out of range."""
    half = exponent >> int64(1)
    return x * power(half, x) * power(exponent - half, x)


@leaf
def open_bins(memory, most, adds, like):
    """Write the head of the bins, which `memory` begins with.

    `most` is the representation of the largest number, and 2**adds at least as many as are added to one sum.
    """
    memory[0] = int64(ROOM) - adds - exponent_of(most, like)
    memory[1] = int64(ROOM) - adds


@leaf
def bin_add(memory, at, x):
    """Add a number to sum number `at`; `memory` begins with the head."""
    to = int64(HEAD) + int64(WORDS) * at
    if is_finite(x):
        y = scaled(x, int64(memory[0]))
        upper = nearest(y)
        whole_add(memory, to, upper)
        whole_add(memory, to + int64(1), nearest(scaled(y - type(x)(upper), int64(memory[1]))))
    else:
        whole_or(memory, to + int64(2), int64(NAN) if x != x else (int64(PLUS) if x > type(x)(0) else int64(MINUS)))


@leaf
def nearest(y):
    """Round to an integer."""
    half = type(y)(0.5)
    return int64(y + half) if y >= type(y)(0) else int64(y - half)


@leaf
def bin_value(memory, at, like):
    """Return sum number `at`; `memory` begins with the head."""
    T = type(like)
    start = int64(HEAD) + int64(WORDS) * at
    flags = int64(memory[start + int64(2)])
    if flags != int64(0):
        endless = T(float("inf"))
        lost = flags != int64(PLUS) and flags != int64(MINUS)
        return T(float("nan")) if lost else (endless if flags == int64(PLUS) else -endless)
    rest = scaled(T(memory[start + int64(1)]), -int64(memory[1]))
    return scaled(T(memory[start]) + rest, -int64(memory[0]))
