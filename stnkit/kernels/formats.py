"""Storage formats: how a number is kept in memory, and how it comes to the arithmetic and back.

Half precision is carried as 16-bit integers, which every device can load, and converted in the kernel: exactly
on the way in, rounded once, half to even, on the way out. Integers are rounded half to even and saturated.
"""

import numpy as np
from llvmlite import ir
from numba import float32, types, uint16, uint32
from numba.extending import intrinsic, overload

from stnkit.kernels.jit import leaf, step
from stnkit.spec import BFLOAT16, FLOAT16, UINT8


def from_half(bits):
    """Return the float32 that float16 `bits` stand for."""
    return np.float32(np.uint16(bits).view(np.float16))


def to_half(x):
    """Return the bits of the float16 nearest to float32 `x`, half to even."""
    return np.float32(x).astype(np.float16).view(np.uint16)


def bits_of(x):
    """Return the bits of a float32."""
    return np.float32(x).view(np.uint32)


def from_bits(bits):
    """Return the float32 that `bits` stand for."""
    return np.uint32(bits).view(np.float32)


def _cast(result, argument, *chain):
    """Make an intrinsic of LLVM casts, each (operation, type)."""

    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, args):
            value = args[0]
            for operation, kind in chain:
                value = getattr(builder, operation)(value, kind)
            return value

        return result(argument), codegen

    return cast


_from_half = _cast(types.float32, types.uint16, ("bitcast", ir.HalfType()), ("fpext", ir.FloatType()))
_to_half = _cast(types.uint16, types.float32, ("fptrunc", ir.HalfType()), ("bitcast", ir.IntType(16)))
_bits_of = _cast(types.uint32, types.float32, ("bitcast", ir.IntType(32)))
_from_bits = _cast(types.float32, types.uint32, ("bitcast", ir.FloatType()))


@overload(from_half, inline="always")
def _overload_from_half(bits):
    return lambda bits: _from_half(bits)


@overload(to_half, inline="always")
def _overload_to_half(x):
    return lambda x: _to_half(x)


@overload(bits_of, inline="always")
def _overload_bits_of(x):
    return lambda x: _bits_of(x)


@overload(from_bits, inline="always")
def _overload_from_bits(bits):
    return lambda bits: _from_bits(bits)


@leaf
def widen(stored, like, dtype):
    """Bring a stored number to the arithmetic."""
    T = type(like)
    if dtype == FLOAT16:
        return T(from_half(uint16(stored)))
    if dtype == BFLOAT16:
        return T(from_bits(uint32(uint32(stored) << 16)))
    return T(stored)


@step
def single(x):
    """Round to float32 so that a second rounding, to fewer digits, errs no more than one: to odd.

    Boldo and Melquiond (2008), "Emulation of FMA and correctly rounded sums": an inexact result is cut off, and
    its last bit set.
    """
    f = float32(x)
    if x != x or type(x)(f) == x:
        return f
    bits = bits_of(f)
    beyond = type(x)(f) > x if x > type(x)(0) else type(x)(f) < x
    return from_bits(uint32(uint32(bits - uint32(1 if beyond else 0)) | uint32(1)))


@step
def half_bits(x, dtype):
    """Return the 16 bits of float32 `x` in one of the two half formats, rounded half to even."""
    if dtype == FLOAT16:
        return uint32(to_half(x))
    bits = bits_of(x)
    if x != x:
        return uint32((bits >> uint32(16)) | uint32(64))
    even = uint32((bits >> uint32(16)) & uint32(1))
    return uint32(uint32(bits + uint32(uint32(32767) + even)) >> uint32(16))


@step
def whole_byte(x):
    """Round to the nearest integer in 0 .. 255, half to even; NaN becomes 0."""
    T = type(x)
    y = x if x > T(0) else T(0)
    y = y if y < T(255) else T(255)
    i = int(y)
    t = y - T(i)
    return i + 1 if t > T(0.5) or (t == T(0.5) and (i & 1) == 1) else i


@leaf
def narrow(x, stored, dtype):
    """Bring a number of the arithmetic to the format of `stored`."""
    S = type(stored)
    if dtype in (FLOAT16, BFLOAT16):
        return S(half_bits(single(x), dtype))
    if dtype == UINT8:
        return S(whole_byte(x))
    return S(x)
