"""Storage formats: how a number is kept in memory, and how it comes to the arithmetic and back.

Half precision is carried as 16-bit integers, which every device can load, and converted in the kernel: exactly
on the way in, rounded once, half to even, on the way out. Integers are rounded half to even and saturated; NaN becomes
0. Numbers and lanes are converted by the same instructions.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof, types

from stnkit.kernels.compiler.jit import intrinsic, leaf, on_gpu
from stnkit.kernels.leaves.reproducible_sum import bin_add, is_binned
from stnkit.kernels.simd.lanes import add_at_once, load, store, total
from stnkit.kernels.simd.vectors import alike
from stnkit.spec import BFLOAT16, DTYPES, FLOAT16, FLOAT32

_STORED = {FLOAT16: "uint16", BFLOAT16: "uint16", DTYPES["bool"]: "uint8"}  # what others are not called
_NAMES = {code: name for name, code in DTYPES.items()}


def zero(code: int) -> Any:
    """Return a zero of the type in which numbers of a format are stored; in kernels the format is a constant."""
    return np.dtype(_STORED.get(code, _NAMES[code])).type(0)


def _stored(code: Any) -> Any:
    return typeof(zero(code.literal_value)) if isinstance(code, types.IntegerLiteral) else None


@intrinsic(zero, _stored, known=lambda context, code: zero(code.literal_value))
def _zero(context, builder, signature, args):
    return context.get_constant_null(signature.return_type)


def widen(stored: Any, like: Any, dtype: int) -> Any:
    """Bring what is stored to the arithmetic, whose type is that of number `like`."""
    T = np.asarray(like).dtype
    if dtype == FLOAT16:
        return stored.view(np.float16).astype(T)
    if dtype == BFLOAT16:
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(T)
    return stored.astype(T)


def narrow(x: Any, stored: Any, dtype: int) -> Any:
    """Bring a result of the arithmetic to the format of number `stored`."""
    if dtype == FLOAT16:
        return x.astype(np.float16).view(np.uint16)
    if dtype == BFLOAT16:
        f = x.astype(np.float32)
        bits, back = f.view(np.uint32), f.astype(x.dtype)
        beyond = np.where(x > 0, back > x, back < x)
        bits = np.where((back != x) & (x == x), bits - beyond.astype(np.uint32) | np.uint32(1), bits)
        up = np.uint32(32767) + (bits >> np.uint32(16) & np.uint32(1))
        half = np.where(x == x, (bits + up) >> np.uint32(16), bits >> np.uint32(16) | np.uint32(64))
        return half.astype(np.uint16)[()]
    T = np.asarray(stored).dtype
    if T.kind == "f":
        return x.astype(T)
    low, high = limits(T.kind == "i", 8 * T.itemsize)
    return np.rint(np.clip(np.where(x == x, x, 0), low, high)).astype(T)[()]


def limits(signed: bool, bits: int) -> tuple[int, int]:
    """Return the least and the greatest integer of so many bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _resized(scalar: Any, like: Any) -> Any:
    """Return an LLVM type, as many of it as the LLVM type `like` has lanes."""
    return ir.VectorType(scalar, like.count) if isinstance(like, ir.VectorType) else scalar


def _constant(like: Any, value: Any) -> Any:
    return ir.Constant(like, [value] * like.count if isinstance(like, ir.VectorType) else value)


def _float_cast(builder: Any, value: Any, to: Any) -> Any:
    size = {"half": 2, "float": 4, "double": 8}
    have, want = (size[str(getattr(kind, "element", kind))] for kind in (value.type, to))
    return value if have == want else (builder.fpext if have < want else builder.fptrunc)(value, to)


@intrinsic(widen, lambda stored, like, dtype: alike(like, stored))
def _widen(context, builder, signature, args):
    stored, value = signature.args[0], args[0]
    to = context.get_value_type(signature.return_type)
    kind = getattr(stored, "dtype", stored)
    if isinstance(kind, types.Float):
        return _float_cast(builder, value, to)
    number = (builder.sitofp if kind.signed else builder.uitofp)(value, to)
    if kind != types.uint16:
        return number
    half, single, word = (_resized(t, to) for t in (ir.HalfType(), ir.FloatType(), ir.IntType(32)))
    of_half = _float_cast(builder, builder.bitcast(value, half), to)
    bits = builder.shl(builder.zext(value, word), _constant(word, 16))
    of_brain = _float_cast(builder, builder.bitcast(bits, single), to)
    return _choose(builder, args[2], ((FLOAT16, of_half), (BFLOAT16, of_brain)), number)


@intrinsic(narrow, lambda x, stored, dtype: alike(stored, x))
def _narrow(context, builder, signature, args):
    value, kind = args[0], getattr(signature.return_type, "dtype", signature.return_type)
    to = context.get_value_type(signature.return_type)
    if isinstance(kind, types.Float):
        return _float_cast(builder, value, to)
    if kind.bitwidth == 64:  # whose numbers are only moved
        return (builder.fptosi if kind.signed else builder.fptoui)(value, to)
    number = _saturated(builder, value, kind, to)
    if kind != types.uint16:
        return number
    once = _odd(builder, value)
    half = builder.bitcast(builder.fptrunc(once, _resized(ir.HalfType(), to)), to)
    brain = builder.trunc(_brain(builder, once), to)
    return _choose(builder, args[2], ((FLOAT16, half), (BFLOAT16, brain)), number)


def _saturated(builder: Any, x: Any, kind: Any, to: Any) -> Any:
    """Round to the nearest integer of a type, half to even; NaN becomes 0.

    Beside 3 * 2**22, or 3 * 2**51, no fraction is left, and the sum's last bits are those of the integer, be it
    negative. LLVM's own instruction for rounding is none that NVIDIA's compiler takes.
    """
    digits = 52 if str(getattr(x.type, "element", x.type)) == "double" else 23
    zero, least, most = (_constant(x.type, float(n)) for n in (0, *limits(kind.signed, kind.bitwidth)))
    if kind.signed:
        x = builder.select(builder.fcmp_ordered("ord", x, x), x, zero)
    x = builder.select(builder.fcmp_ordered(">", x, least), x, least)
    x = builder.select(builder.fcmp_ordered("<", x, most), x, most)
    whole = builder.fadd(x, _constant(x.type, 1.5 * 2.0**digits))
    bits = builder.bitcast(whole, _resized(ir.IntType(64 if digits == 52 else 32), x.type))
    return bits if bits.type == to else builder.trunc(bits, to)


def _choose(builder: Any, dtype: Any, cases: Any, otherwise: Any) -> Any:
    """Select by the format, which is a constant by the time instructions are chosen."""
    for code, value in cases:
        otherwise = builder.select(builder.icmp_signed("==", dtype, dtype.type(code)), value, otherwise)
    return otherwise


def _odd(builder: Any, x: Any) -> Any:
    """Round to float32 so that a second rounding, to fewer digits, errs no more than one: to odd.

    Boldo and Melquiond (2008), "Emulation of FMA and correctly rounded sums": an inexact result is cut off, and
    its last bit set.
    """
    single = _resized(ir.FloatType(), x.type)
    f = _float_cast(builder, x, single)
    if f is x:
        return x
    word = _resized(ir.IntType(32), x.type)
    back = builder.fpext(f, x.type)
    above = builder.fcmp_ordered(">", x, _constant(x.type, 0.0))
    beyond = builder.select(above, builder.fcmp_ordered(">", back, x), builder.fcmp_ordered("<", back, x))
    bits = builder.bitcast(f, word)
    cut = builder.or_(builder.sub(bits, builder.zext(beyond, word)), _constant(word, 1))
    return builder.bitcast(builder.select(builder.fcmp_ordered("!=", back, x), cut, bits), single)


def _brain(builder: Any, f: Any) -> Any:
    """Return, in 32 bits, the bfloat16 nearest to a float32, half to even; NaN stays NaN."""
    word = _resized(ir.IntType(32), f.type)
    bits, places = builder.bitcast(f, word), _constant(word, 16)
    high = builder.lshr(bits, places)
    up = builder.add(_constant(word, 32767), builder.and_(high, _constant(word, 1)))
    near = builder.lshr(builder.add(bits, up), places)
    return builder.select(builder.fcmp_unordered("uno", f, f), builder.or_(high, _constant(word, 64)), near)


@leaf
def add(memory, at, value, number, spec):
    """Add in place, rounded to the memory's own type; `number` has the type of the arithmetic."""
    if is_binned(memory):
        bin_add(memory, at, total(value, number))
        return
    if on_gpu():
        add_at_once(memory, at, narrow(value, memory[at], FLOAT32), spec)
        return
    had = widen(load(memory, at, value), number, FLOAT32)
    store(memory, at, narrow(had + value, memory[at], FLOAT32))
