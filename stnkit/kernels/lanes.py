"""Lanes: several numbers side by side, on which one machine instruction works at once.

A leaf written for a number takes lanes as well: `+`, `-` and `*` work on them, lane by lane, with the same
rounding. Lanes are eight neighbouring output locations of one channel, or the channels of one location where these
lie side by side. Functions here take a witness `like`, a number or lanes, and return what it is: one leaf serves both.
Numba's own vectoriser makes neither of a gather.
"""

import functools
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, models, register_model, type_callable

from stnkit.kernels.jit import is_gpu, rule
from stnkit.kernels.words import read_words, write_words

I32, I64 = ir.IntType(32), ir.IntType(64)

ADDS_VECTORS = 90  # from this compute capability on, a GPU adds neighbours to memory by one instruction


class Lanes(types.Type):  # type: ignore[misc]
    """Numba's type of `count` numbers of type `dtype`, kept in a vector register.

    Those that are `aligned` lie in memory where a multiple of their size is.
    """

    def __init__(self, dtype: types.Type, count: int, aligned: bool = False) -> None:
        self.dtype, self.count, self.aligned = dtype, count, aligned
        super().__init__(f"Lanes({dtype} x {count}{', aligned' if aligned else ''})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), kind.count))


# Uncompiled, lanes are NumPy arrays, which do the same arithmetic lane by lane.


def lanes(like: Any, spec: Any) -> Any:
    """Return as many 0 as the innermost loop does at once, of the type of number `like`."""
    return np.full(spec.lanes, like) if spec.lanes > 1 else like


def width(like: Any) -> int:
    """Return how many lanes `like` has; 1 if it is a number."""
    return int(np.size(like))


def load(memory: Any, at: Any, like: Any) -> Any:
    """Return one number of the memory, or as many neighbours as `like` has lanes."""
    return memory[at] if np.ndim(like) == 0 else memory[int(at) : int(at) + len(like)].copy()


def store(memory: Any, at: Any, value: Any) -> None:
    """Write a number, or lanes to neighbours."""
    if np.ndim(value) == 0:
        memory[at] = value
    else:
        memory[int(at) : int(at) + len(value)] = value


def add_at_once(memory: Any, at: Any, value: Any, spec: Any) -> None:
    """Add a number, or lanes to neighbours, while other threads of a GPU may add to them too."""
    store(memory, at, load(memory, at, value) + value)


def full(x: Any, like: Any) -> Any:
    """Return number `x`, in every lane if `like` has lanes."""
    return x if np.ndim(like) == 0 or np.ndim(x) else np.full(len(like), x)


def gather(memory: Any, at: Any, offset: Any, like: Any) -> Any:
    """Return what stands at `offset`s from `at`, or from `at` itself where that is negative: a dead tap.

    One offset with many lanes reads neighbours.
    """
    if np.ndim(offset) == 0:
        return load(memory, at + (offset if offset >= 0 else 0), like)
    return np.array([memory[at + max(int(o), 0)] for o in offset])


def living(offset: Any, value: Any, fill: Any) -> Any:
    """Return `value` where `offset` is not negative, and `fill` elsewhere."""
    if np.ndim(offset) == 0:
        return value if offset >= 0 else fill
    return np.where(offset >= 0, value, fill)


def same(a: Any, b: Any, x: Any, y: Any) -> Any:
    """Return `x` where `a` equals `b`, and `y` elsewhere."""
    return np.where(a == b, x, y) if np.ndim(a) else (x if a == b else y)


def unset(word: Any, bits: Any, x: Any, y: Any) -> Any:
    """Return `x` where a word has none of the bits, and `y` elsewhere."""
    return np.where(word & bits, y, x) if np.ndim(word) else (y if word & bits else x)


def unless_zero(u: Any, x: Any) -> Any:
    """Return `x` where `u` is not 0, and 0 elsewhere, be `x` infinite there."""
    return np.where(u != 0, x, np.zeros_like(x))[()]


def finite(x: Any) -> Any:
    """Return `x` where it is finite, and 0 elsewhere."""
    return np.where(np.isfinite(x), x, np.zeros_like(x))[()]


def pairs(memory: Any, at: Any, offsets: Any, p: Any, step: Any, places: Any, many: Any) -> Any:
    """Read the memory at the offsets from number `p` on, as many as `places`, and a step further.

    Return four values, as `quads` does: both, and the first again. With many places the step is 1.
    """
    a, b = _neighbours(memory, at, offsets, p, step, places, many, 2)
    return a, b, a, a


def quads(memory: Any, at: Any, offsets: Any, p: Any, step: Any, places: Any, many: Any) -> Any:
    """Read the memory at the offsets from number `p` on, and one, two and three steps further."""
    return _neighbours(memory, at, offsets, p, step, places, many, 4)


def ones(memory: Any, at: Any, offsets: Any, p: Any, places: Any) -> Any:
    """Read the memory at the offsets from number `p` on, as many as `places`; none is negative."""
    return gather(memory, at, load(offsets, p, places), places)


def touch(memory: Any, offsets: Any, p: Any, like: Any) -> None:
    """Ask for what stands at the offset of number `p` and, if `like` has lanes, of that in the middle.

    A hint to the processor: no address is wrong.
    """


def _neighbours(
    memory: Any, at: Any, offsets: Any, p: Any, step: Any, places: Any, many: Any, taps: int
) -> tuple[Any, ...]:
    if np.ndim(places) == 0:
        return tuple(load(memory, at + offsets[p] + k * step, many) for k in range(taps))
    rows = np.array([memory[at + int(o) : at + int(o) + taps] for o in load(offsets, p, places)])
    return tuple(rows.T)


def alive(memory: Any, at: Any, like: Any) -> Any:
    """Tell whether a number of the memory, or each of as many neighbours as `like` has lanes, is not negative."""
    return bool(np.all(load(memory, at, like) >= 0))


def even(memory: Any, at: Any, like: Any) -> Any:
    """Tell whether a number of the memory, or all of as many neighbours as `like` has lanes, are 0."""
    return not np.any(load(memory, at, like))


def total(x: Any, like: Any) -> Any:
    """Return the sum of all lanes if `like` is a number: of halves, until one is left; an odd last lane waits."""
    if np.ndim(like) or not np.ndim(x):
        return x
    while len(x) > 1:
        half = len(x) // 2
        x = np.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return x[0]


# Compiled, every function is one rule for its type and one for its instructions: nothing is left to inline.


def _is_lanes(kind: Any) -> bool:
    return isinstance(kind, Lanes)


def alike(kind: Any, like: Any) -> Any:
    """Return the type of `kind`s, as many as `like`."""
    return Lanes(kind, like.count, like.aligned) if _is_lanes(like) else kind


def _pick(builder: Any, value: Any, lanes: list[int]) -> Any:
    order = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)


def _join(builder: Any, parts: list[Any]) -> Any:
    """Concatenate vectors of equal length, two and two."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        order = ir.Constant(ir.VectorType(I32, n), list(range(n)))
        parts = [builder.shuffle_vector(*parts[k : k + 2], order) for k in range(0, len(parts), 2)]
    return parts[0]


def _spread(builder: Any, value: Any, count: int) -> Any:
    kind = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return _pick(builder, first, [0] * count)


def _fit(builder: Any, kind: Any, value: Any, like: Any) -> Any:
    """Return a number in all lanes, if `like` has lanes and it has not."""
    return _spread(builder, value, like.count) if _is_lanes(like) and not _is_lanes(kind) else value


def _word(builder: Any, value: Any) -> Any:
    """Return an integer with 64 bits, for addresses."""
    return value if value.type == I64 else builder.sext(value, I64)


def _alignment(context: Any, number: Any, like: Any) -> int:
    """Return of how many bytes the address of a number, or of lanes of it, is a multiple."""
    size: int = context.get_abi_sizeof(context.get_value_type(number))
    return size * like.count if _is_lanes(like) and like.aligned else size


def _read(context: Any, builder: Any, number: Any, where: Any, like: Any) -> Any:
    """Read a number, or as many neighbours as `like` has lanes."""
    if _is_lanes(like):
        kind = ir.VectorType(where.type.pointee, like.count)
        where = builder.bitcast(where, kind.as_pointer())
        if words := _words(context, kind, like):
            return read_words(builder, where, kind, words)
    value = builder.load(where)
    value.align = _alignment(context, number, like)
    return value


def _read_three(context: Any, builder: Any, number: Any, where: Any) -> Any:
    """Read three neighbours by one access of four, of which the last is not made.

    For what was not written a moment ago: such an access would have to wait for two stores.
    """
    four = ir.VectorType(where.type.pointee, 4)
    mask = ir.Constant(ir.VectorType(ir.IntType(1), 4), [True, True, True, False])
    where = builder.bitcast(where, four.as_pointer())
    code = ir.FunctionType(four, [where.type, I32, mask.type, four])
    bits = context.get_abi_sizeof(context.get_value_type(number)) * 8
    kind = ("f" if isinstance(where.type.pointee.element, (ir.FloatType, ir.DoubleType)) else "i") + str(bits)
    name = f"llvm.masked.load.v4{kind}.p0v4{kind}"
    call = cgutils.get_or_insert_function(builder.module, code, name)
    align = ir.Constant(I32, context.get_abi_sizeof(context.get_value_type(number)))
    value = builder.call(call, [where, align, mask, ir.Constant(four, ir.Undefined)])
    return _pick(builder, value, [0, 1, 2])


def _words(context: Any, kind: Any, like: Any) -> int:
    """Return how many words of 32 bits aligned lanes of short numbers are, on a GPU; 0 for others."""
    short = isinstance(kind.element, ir.IntType) and kind.element.width < I32.width
    whole = is_gpu(context) and like.aligned and short
    return kind.element.width * kind.count // I32.width if whole else 0


@rule(lanes, lambda like, spec: Lanes(like, spec.spec.lanes, spec.spec.aligned) if spec.spec.lanes > 1 else like)
def _lanes(context, builder, signature, args):
    return ir.Constant(context.get_value_type(signature.return_type), None)


@rule(width, lambda like: types.int64, known=lambda context, like: like.count if _is_lanes(like) else 1)
def _width(context, builder, signature, args):
    like = signature.args[0]
    return ir.Constant(I64, like.count if _is_lanes(like) else 1)


@rule(load, lambda memory, at, like: alike(memory.dtype, like))
def _load(context, builder, signature, args):
    memory, _, like = signature.args
    where = builder.gep(args[0], [_word(builder, args[1])])
    return _read(context, builder, memory.dtype, where, like)


@rule(store, lambda memory, at, value: types.void)
def _store(context, builder, signature, args):
    memory, _, value = signature.args
    where = builder.gep(args[0], [_word(builder, args[1])])
    if _is_lanes(value):
        where = builder.bitcast(where, args[2].type.as_pointer())
        if words := _words(context, args[2].type, value):
            write_words(builder, where, args[2], words)
            return context.get_dummy_value()
    builder.store(args[2], where).align = _alignment(context, memory.dtype, value)
    return context.get_dummy_value()


@rule(add_at_once, lambda memory, at, value, spec: types.void)
def _add_at_once(context, builder, signature, args):
    where, value, like = builder.gep(args[0], [_word(builder, args[1])]), args[2], signature.args[2]
    in_vectors = _is_lanes(like) and like.aligned and like.dtype == types.float32 and like.count % 2 == 0
    if in_vectors and signature.args[3].spec.capability >= ADDS_VECTORS:
        _add_vectors(builder, where, value)
        return context.get_dummy_value()
    for k in range(value.type.count if _is_lanes(like) else 1):
        part = builder.extract_element(value, ir.Constant(I32, k)) if _is_lanes(like) else value
        there = builder.gep(where, [ir.Constant(I64, k)])
        if isinstance(part.type, ir.IntType):  # bins, which are never added to like this
            builder.atomic_rmw("add", there, part, "monotonic")
        elif is_gpu(context):  # whose compiler knows no atomic addition of LLVM's but that of integers
            digits = "f64" if part.type == ir.DoubleType() else "f32"
            code = ir.FunctionType(part.type, [there.type, part.type])
            name = f"llvm.nvvm.atomic.load.add.{digits}.p0{digits}"
            builder.call(cgutils.get_or_insert_function(builder.module, code, name), [there, part])
        else:
            builder.atomic_rmw("fadd", there, part, "monotonic")
    return context.get_dummy_value()


def _add_vectors(builder: Any, where: Any, value: Any) -> None:
    """Add four or two neighbours by one instruction each, which takes an address of global memory."""
    many = 4 if value.type.count % 4 == 0 else 2
    number = value.type.element
    numbers = ", ".join(f"${k + 1}" for k in range(many))
    text = f"red.global.add.v{many}.f32 [$0], {{{numbers}}};"
    code = ir.FunctionType(ir.VoidType(), [I64] + [number] * many)
    for first in range(0, value.type.count, many):
        there = builder.gep(where, [ir.Constant(I64, first)])
        address = builder.ptrtoint(builder.addrspacecast(there, number.as_pointer(1)), I64)
        parts = [builder.extract_element(value, ir.Constant(I32, first + k)) for k in range(many)]
        builder.asm(code, text, "l" + ",f" * many + ",~{memory}", [address, *parts], side_effect=True)


@rule(full, lambda x, like: x if _is_lanes(x) else alike(x, like))
def _full(context, builder, signature, args):
    return _fit(builder, signature.args[0], args[0], signature.args[1])


@rule(gather, lambda memory, at, offset, like: alike(memory.dtype, like))
def _gather(context, builder, signature, args):
    memory, _, offset, like = signature.args
    base = builder.gep(args[0], [_word(builder, args[1])])
    zero = ir.Constant(args[2].type, None)
    safe = builder.select(builder.icmp_signed(">=", args[2], zero), args[2], zero)
    if not _is_lanes(offset):
        where = builder.gep(base, [_word(builder, safe)])
        return _read(context, builder, memory.dtype, where, like)
    value = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
    for k in range(offset.count):
        lane = ir.Constant(I32, k)
        where = builder.gep(base, [_word(builder, builder.extract_element(safe, lane))])
        value = builder.insert_element(value, builder.load(where), lane)
    return value


@rule(living, lambda offset, value, fill: value)
def _living(context, builder, signature, args):
    _, value, fill = signature.args
    alive = builder.icmp_signed(">=", args[0], ir.Constant(args[0].type, None))
    return builder.select(alive, args[1], _fit(builder, fill, args[2], value))


@rule(same, lambda a, b, x, y: x)
def _same(context, builder, signature, args):
    return builder.select(builder.icmp_signed("==", args[0], args[1]), args[2], args[3])


@rule(unset, lambda word, bits, x, y: x)
def _unset(context, builder, signature, args):
    word, bits = signature.args[:2]
    kind = word.dtype if _is_lanes(word) else word
    bits = _fit(builder, kind, context.cast(builder, args[1], bits, kind), word)
    some = builder.and_(args[0], bits)
    return builder.select(builder.icmp_signed("==", some, ir.Constant(some.type, None)), args[2], args[3])


@rule(unless_zero, lambda u, x: x)
def _unless_zero(context, builder, signature, args):
    moves = builder.fcmp_unordered("!=", args[0], ir.Constant(args[0].type, None))
    return builder.select(moves, args[1], ir.Constant(args[1].type, None))


@rule(finite, lambda x: x)
def _finite(context, builder, signature, args):
    zero = ir.Constant(args[0].type, None)
    return builder.select(builder.fcmp_ordered("ord", builder.fmul(args[0], zero), zero), args[0], zero)


def _columns(builder: Any, rows: list[Any], taps: int) -> list[Any]:
    """Turn eight rows of two or four numbers to columns.

    The first two of four pairs go beside the last two: one instruction then makes a column of both, as it picks from
    each half of a register alone.
    """
    if taps == 2 and len(rows) == 8:
        low, high = (_join(builder, [rows[k] for k in (*half, *(k + 4 for k in half))]) for half in ((0, 1), (2, 3)))
        order = (0, 2, 8, 10, 4, 6, 12, 14)
        picks = [ir.Constant(ir.VectorType(I32, 8), [n + k for n in order]) for k in range(2)]
        return [builder.shuffle_vector(low, high, pick) for pick in picks]
    whole = _join(builder, rows)
    return [_pick(builder, whole, list(range(k, whole.type.count, taps))) for k in range(taps)]


def _short_rows(function: Any, taps: int) -> None:
    """Make `function` read `taps` neighbours at every offset."""

    @rule(function, lambda memory, at, offsets, p, step, places, many: types.UniTuple(alike(memory.dtype, many), 4))
    def code(context, builder, signature, args):
        memory, places, many = (signature.args[k] for k in (0, 5, 6))
        base = builder.gep(args[0], [_word(builder, args[1])])
        first = builder.gep(args[2], [_word(builder, args[3])])
        columns, row = [], Lanes(memory.dtype, taps)
        if _is_lanes(places):  # one load for each place; then rows are turned to columns in registers
            rows = []
            for k in range(places.count):
                offset = _word(builder, builder.load(builder.gep(first, [ir.Constant(I64, k)])))
                rows.append(_read(context, builder, memory.dtype, builder.gep(base, [offset]), row))
            columns = _columns(builder, rows, taps)
        else:
            base = builder.gep(base, [_word(builder, builder.load(first))])
            read = _read_three if _is_lanes(many) and many.count == 3 else functools.partial(_read, like=many)
            for _ in range(taps):
                columns.append(read(context, builder, memory.dtype, base))
                base = builder.gep(base, [args[4]])
        return context.make_tuple(builder, signature.return_type, columns + columns[:1] * (4 - taps))


@rule(ones, lambda memory, at, offsets, p, places: alike(memory.dtype, places))
def _ones(context, builder, signature, args):
    places = signature.args[4]
    base = builder.gep(args[0], [_word(builder, args[1])])
    first = builder.gep(args[2], [_word(builder, args[3])])
    value = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
    for k in range(places.count if _is_lanes(places) else 1):
        offset = _word(builder, builder.load(builder.gep(first, [ir.Constant(I64, k)])))
        number = builder.load(builder.gep(base, [offset]))
        value = builder.insert_element(value, number, ir.Constant(I32, k)) if _is_lanes(places) else number
    return value


@rule(touch, lambda memory, offsets, p, like: types.void)
def _touch(context, builder, signature, args):
    like = signature.args[3]
    first = builder.gep(args[1], [_word(builder, args[2])])
    byte = ir.IntType(8).as_pointer()
    code = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], code)
    for k in (0, like.count // 2) if _is_lanes(like) else (0,):
        offset = _word(builder, builder.load(builder.gep(first, [ir.Constant(I64, k)])))
        where = builder.bitcast(builder.gep(args[0], [offset]), byte)
        builder.call(prefetch, [where, ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)])
    return context.get_dummy_value()


_short_rows(pairs, 2)
_short_rows(quads, 4)


def _none(function: Any, condition: str) -> None:
    """Make `function` tell whether no neighbour in memory compares to 0 like this."""

    @rule(function, lambda memory, at, like: types.boolean)
    def code(context, builder, signature, args):
        memory, _, like = signature.args
        where = builder.gep(args[0], [_word(builder, args[1])])
        value = _read(context, builder, memory.dtype, where, like)
        some = builder.icmp_signed(condition, value, ir.Constant(value.type, None))
        if _is_lanes(like):
            some = builder.icmp_signed("!=", builder.bitcast(some, ir.IntType(like.count)), ir.IntType(like.count)(0))
        return builder.not_(some)


_none(even, "!=")
_none(alive, "<")


@rule(total, lambda x, like: x.dtype if _is_lanes(x) and not _is_lanes(like) else x)
def _total(context, builder, signature, args):
    value = args[0]
    if _is_lanes(signature.return_type) or not _is_lanes(signature.args[0]):
        return value
    while value.type.count > 1:
        half, last = value.type.count // 2, value.type.count
        low, high = _pick(builder, value, list(range(half))), _pick(builder, value, list(range(half, 2 * half)))
        both = builder.fadd(low, high)
        if last % 2:
            odd = builder.extract_element(value, ir.Constant(I32, last - 1))
            both = builder.insert_element(_pick(builder, both, [*range(half), 0]), odd, ir.Constant(I32, half))
        value = both
    return builder.extract_element(value, ir.Constant(I32, 0))


def _arithmetic(function: Any, on_floats: str, on_integers: str) -> None:
    """Make an operator work on lanes, and on a number beside lanes."""

    def result(a: Any, b: Any) -> Any:
        return a if _is_lanes(a) else (b if _is_lanes(b) else None)

    type_callable(function)(lambda context: result)

    def code(context, builder, signature, args):
        like = signature.return_type
        sides = [_fit(builder, kind, value, like) for kind, value in zip(signature.args, args, strict=True)]
        name = on_floats if isinstance(like.dtype, types.Float) else on_integers
        return getattr(builder, name)(*sides)

    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *kinds)(code)


_arithmetic(operator.add, "fadd", "add")
_arithmetic(operator.mul, "fmul", "mul")
