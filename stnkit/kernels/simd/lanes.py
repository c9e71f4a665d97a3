"""Lanes: several numbers side by side, on which one machine instruction works at once.

A leaf written for a number takes lanes as well: `+`, `-` and `*` work on them, lane by lane, with the same
rounding. Lanes are eight neighbouring output locations of one channel, or the channels of one location where these
lie side by side. Functions here take an example `like`, a number or lanes, and return what it is: one leaf serves both.
Numba's own vectoriser makes neither of a gather.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, type_callable

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import intrinsic
from stnkit.kernels.simd.gpu_words import SINGLE, reduce, unless_negative, write_words
from stnkit.kernels.simd.vectors import I32, I64, Lanes, alignment, alike, fitted, is_lanes, pick, read, word, words_of

# Uncompiled, lanes are NumPy arrays, which do the same arithmetic lane by lane.

ADDS_VECTORS = 90  # from this compute capability on, a GPU adds neighbours to memory by one instruction


def _many(x: Any) -> bool:
    """Tell whether `x` has lanes, and is not a number, sooner than `np.ndim` would."""
    return isinstance(x, np.ndarray) and x.ndim > 0


def lanes(like: Any, spec: Any) -> Any:
    """Return as many 0 as the innermost loop does at once, of the type of number `like`."""
    return np.full(spec.lanes, like) if spec.lanes > 1 else like


def width(like: Any) -> int:
    """Return how many lanes `like` has; 1 if it is a number."""
    return int(np.size(like))


def load(memory: Any, at: Any, like: Any) -> Any:
    """Return one number of the memory, or as many neighbours as `like` has lanes."""
    if isinstance(like, np.ndarray) and like.ndim:  # `_many`, of which a call takes as long as what it does
        return memory[int(at) : int(at) + len(like)].copy()
    return memory[at]


def store(memory: Any, at: Any, value: Any) -> None:
    """Write a number, or lanes to neighbours."""
    if not _many(value):
        memory[at] = value
    else:
        memory[int(at) : int(at) + len(value)] = value


def add_at_once(memory: Any, at: Any, value: Any, spec: Any) -> None:
    """Add a number, or lanes to neighbours, while other threads of a GPU may add to them too."""
    store(memory, at, load(memory, at, value) + value)


def full(x: Any, like: Any) -> Any:
    """Return number `x`, in every lane if `like` has lanes."""
    return x if not _many(like) or _many(x) else np.full(len(like), x)


def gather(memory: Any, at: Any, offset: Any, like: Any) -> Any:
    """Return what stands at `offset`s from `at`, or from `at` itself where that is negative: a dead tap.

    One offset with many lanes reads neighbours.
    """
    if not _many(offset):
        return load(memory, at + (offset if offset >= 0 else 0), like)
    return np.array([memory[at + max(int(o), 0)] for o in offset])


def living(offset: Any, value: Any, fill: Any) -> Any:
    """Return `value` where `offset` is not negative, and `fill` elsewhere."""
    if not _many(offset):
        return value if offset >= 0 else fill
    return np.where(offset >= 0, value, fill)


def same(a: Any, b: Any, x: Any, y: Any) -> Any:
    """Return `x` where `a` equals `b`, and `y` elsewhere."""
    return np.where(a == b, x, y) if _many(a) else (x if a == b else y)


def preferred(a: Any, b: Any, x: Any, y: Any) -> Any:
    """Return `x` where `a` is greater than `b`, or as great and `x` is less than `y`; and `y` elsewhere."""
    return np.where((a > b) | ((a == b) & (x < y)), x, y)[()]


def unset(word: Any, bits: Any, x: Any, y: Any) -> Any:
    """Return `x` where a word has none of the bits, and `y` elsewhere."""
    return np.where(word & bits, y, x) if _many(word) else (y if word & bits else x)


def unless_zero(u: Any, x: Any) -> Any:
    """Return `x` where `u` is not 0, and 0 elsewhere, be `x` infinite there."""
    return np.where(u != 0, x, np.zeros_like(x))[()]


def finite(x: Any) -> Any:
    """Return `x` where it is finite, and 0 elsewhere."""
    return np.where(np.isfinite(x), x, np.zeros_like(x))[()]


def none_negative(memory: Any, at: Any, like: Any) -> Any:
    """Tell whether a number of the memory, or each of as many neighbours as `like` has lanes, is not negative."""
    return bool(np.all(load(memory, at, like) >= 0))


def all_zero(memory: Any, at: Any, like: Any) -> Any:
    """Tell whether a number of the memory, or all of as many neighbours as `like` has lanes, are 0."""
    return not np.any(load(memory, at, like))


def total(x: Any, like: Any) -> Any:
    """Return the sum of all lanes if `like` is a number: of halves, until one is left; an odd last lane waits."""
    if _many(like) or not _many(x):
        return x
    while len(x) > 1:
        half = len(x) // 2
        x = np.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return x[0]


@intrinsic(lanes, lambda like, spec: Lanes(like, spec.spec.lanes, spec.spec.aligned) if spec.spec.lanes > 1 else like)
def _lanes(context, builder, signature, args):
    return ir.Constant(context.get_value_type(signature.return_type), None)


@intrinsic(width, lambda like: types.int64, known=lambda context, like: like.count if is_lanes(like) else 1)
def _width(context, builder, signature, args):
    like = signature.args[0]
    return ir.Constant(I64, like.count if is_lanes(like) else 1)


@intrinsic(load, lambda memory, at, like: alike(memory.dtype, like))
def _load(context, builder, signature, args):
    memory, _, like = signature.args
    where = builder.gep(args[0], [word(builder, args[1])])
    return read(context, builder, memory.dtype, where, like)


@intrinsic(store, lambda memory, at, value: types.void)
def _store(context, builder, signature, args):
    memory, _, value = signature.args
    where = builder.gep(args[0], [word(builder, args[1])])
    if is_lanes(value):
        where = builder.bitcast(where, args[2].type.as_pointer())
        if words := words_of(context, args[2].type, value):
            write_words(builder, where, args[2], words)
            return context.get_dummy_value()
    builder.store(args[2], where).align = alignment(context, memory.dtype, value)
    return context.get_dummy_value()


@intrinsic(add_at_once, lambda memory, at, value, spec: types.void)
def _add_at_once(context, builder, signature, args):
    where, value, like = builder.gep(args[0], [word(builder, args[1])]), args[2], signature.args[2]
    in_vectors = is_lanes(like) and like.aligned and like.dtype == types.float32 and like.count % 2 == 0
    if in_vectors and signature.args[3].spec.capability >= ADDS_VECTORS:
        _add_vectors(builder, where, value)
        return context.get_dummy_value()
    for k in range(value.type.count if is_lanes(like) else 1):
        part = builder.extract_element(value, ir.Constant(I32, k)) if is_lanes(like) else value
        there = builder.gep(where, [ir.Constant(I64, k)])
        if isinstance(part.type, ir.IntType):  # bins, which are never added to like this
            builder.atomic_rmw("add", there, part, "monotonic")
        elif is_gpu(context):
            reduce(builder, "add.f64" if part.type == ir.DoubleType() else "add.f32", there, [part])
        else:
            builder.atomic_rmw("fadd", there, part, "monotonic")
    return context.get_dummy_value()


def _add_vectors(builder: Any, where: Any, value: Any) -> None:
    """Add four or two neighbours by one instruction each, which takes an address of global memory."""
    many = 4 if value.type.count % 4 == 0 else 2
    for first in range(0, value.type.count, many):
        there = builder.gep(where, [ir.Constant(I64, first)])
        parts = [builder.extract_element(value, ir.Constant(I32, first + k)) for k in range(many)]
        reduce(builder, f"add.v{many}.f32", there, parts)


@intrinsic(full, lambda x, like: x if is_lanes(x) else alike(x, like))
def _full(context, builder, signature, args):
    return fitted(builder, signature.args[0], args[0], signature.args[1])


@intrinsic(gather, lambda memory, at, offset, like: alike(memory.dtype, like))
def _gather(context, builder, signature, args):
    memory, _, offset, like = signature.args
    base = builder.gep(args[0], [word(builder, args[1])])
    zero = ir.Constant(args[2].type, None)
    safe = builder.select(builder.icmp_signed(">=", args[2], zero), args[2], zero)
    if not is_lanes(offset):
        where = builder.gep(base, [word(builder, safe)])
        return read(context, builder, memory.dtype, where, like)
    value = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
    for k in range(offset.count):
        lane = ir.Constant(I32, k)
        where = builder.gep(base, [word(builder, builder.extract_element(safe, lane))])
        value = builder.insert_element(value, builder.load(where), lane)
    return value


@intrinsic(living, lambda offset, value, fill: value)
def _living(context, builder, signature, args):
    _, value, fill = signature.args
    if is_gpu(context) and args[1].type == SINGLE:
        return unless_negative(builder, *args)
    alive = builder.icmp_signed(">=", args[0], ir.Constant(args[0].type, None))
    return builder.select(alive, args[1], fitted(builder, fill, args[2], value))


@intrinsic(same, lambda a, b, x, y: x)
def _same(context, builder, signature, args):
    return builder.select(builder.icmp_signed("==", args[0], args[1]), args[2], args[3])


@intrinsic(preferred, lambda a, b, x, y: x)
def _preferred(context, builder, signature, args):
    a, b, x, y = args
    number = getattr(signature.return_type, "dtype", signature.return_type)
    if isinstance(number, types.Float):
        less = builder.fcmp_ordered("<", x, y)
    else:
        less = (builder.icmp_signed if number.signed else builder.icmp_unsigned)("<", x, y)
    first = builder.or_(builder.fcmp_ordered(">", a, b), builder.and_(builder.fcmp_ordered("==", a, b), less))
    return builder.select(first, x, y)


@intrinsic(unset, lambda word, bits, x, y: x)
def _unset(context, builder, signature, args):
    word, bits = signature.args[:2]
    kind = word.dtype if is_lanes(word) else word
    bits = fitted(builder, kind, context.cast(builder, args[1], bits, kind), word)
    some = builder.and_(args[0], bits)
    return builder.select(builder.icmp_signed("==", some, ir.Constant(some.type, None)), args[2], args[3])


@intrinsic(unless_zero, lambda u, x: x)
def _unless_zero(context, builder, signature, args):
    moves = builder.fcmp_unordered("!=", args[0], ir.Constant(args[0].type, None))
    return builder.select(moves, args[1], ir.Constant(args[1].type, None))


@intrinsic(finite, lambda x: x)
def _finite(context, builder, signature, args):
    zero = ir.Constant(args[0].type, None)
    return builder.select(builder.fcmp_ordered("ord", builder.fmul(args[0], zero), zero), args[0], zero)


def _none(function: Any, condition: str) -> None:
    """Make `function` tell whether no neighbour in memory compares to 0 like this."""

    @intrinsic(function, lambda memory, at, like: types.boolean)
    def code(context, builder, signature, args):
        memory, _, like = signature.args
        where = builder.gep(args[0], [word(builder, args[1])])
        value = read(context, builder, memory.dtype, where, like)
        some = builder.icmp_signed(condition, value, ir.Constant(value.type, None))
        if is_lanes(like):
            some = builder.icmp_signed("!=", builder.bitcast(some, ir.IntType(like.count)), ir.IntType(like.count)(0))
        return builder.not_(some)


_none(all_zero, "!=")


_none(none_negative, "<")


@intrinsic(total, lambda x, like: x.dtype if is_lanes(x) and not is_lanes(like) else x)
def _total(context, builder, signature, args):
    value = args[0]
    if is_lanes(signature.return_type) or not is_lanes(signature.args[0]):
        return value
    while value.type.count > 1:
        half, last = value.type.count // 2, value.type.count
        low, high = pick(builder, value, list(range(half))), pick(builder, value, list(range(half, 2 * half)))
        both = builder.fadd(low, high)
        if last % 2:
            odd = builder.extract_element(value, ir.Constant(I32, last - 1))
            both = builder.insert_element(pick(builder, both, [*range(half), 0]), odd, ir.Constant(I32, half))
        value = both
    return builder.extract_element(value, ir.Constant(I32, 0))


def _arithmetic(function: Any, on_floats: str, on_integers: str) -> None:
    """Make an operator work on lanes, and on a number beside lanes."""

    def result(a: Any, b: Any) -> Any:
        return a if is_lanes(a) else (b if is_lanes(b) else None)

    type_callable(function)(lambda context: result)

    def code(context, builder, signature, args):
        like = signature.return_type
        sides = [fitted(builder, kind, value, like) for kind, value in zip(signature.args, args, strict=True)]
        name = on_floats if isinstance(like.dtype, types.Float) else on_integers
        return getattr(builder, name)(*sides)

    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *kinds)(code)


_arithmetic(operator.add, "fadd", "add")


_arithmetic(operator.mul, "fmul", "mul")
