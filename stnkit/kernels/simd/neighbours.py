"""Reading neighbours in memory, for several locations at once: rows of taps, single taps, and prefetching."""

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import intrinsic
from stnkit.kernels.simd.lanes import gather, load
from stnkit.kernels.simd.vectors import (
    I32,
    I64,
    Lanes,
    alike,
    is_lanes,
    join,
    pick,
    read,
    read_three,
    word,
)


def pairs(memory: Any, at: Any, offsets: Any, p: Any, step: Any, points: Any, many: Any) -> Any:
    """Read the memory at the offsets from number `p` on, as many as `points`, and a step further.

    Return four values, as `quads` does: both, and the first again. With many points the step is 1.
    """
    a, b = _neighbours(memory, at, offsets, p, step, points, many, 2)
    return a, b, a, a


def quads(memory: Any, at: Any, offsets: Any, p: Any, step: Any, points: Any, many: Any) -> Any:
    """Read the memory at the offsets from number `p` on, and one, two and three steps further."""
    return _neighbours(memory, at, offsets, p, step, points, many, 4)


def ones(memory: Any, at: Any, offsets: Any, p: Any, points: Any) -> Any:
    """Read the memory at the offsets from number `p` on, as many as `points`; none is negative."""
    return gather(memory, at, load(offsets, p, points), points)


def prefetch(memory: Any, offsets: Any, p: Any, like: Any) -> None:
    """Ask for what stands at the offset of number `p` and, if `like` has lanes, of that in the middle.

    A hint to the processor: no address is wrong.
    """


def touch(memory: Any, at: Any) -> None:
    """Ask for what stands at `at`; a hint as well."""


def _neighbours(
    memory: Any, at: Any, offsets: Any, p: Any, step: Any, points: Any, many: Any, taps: int
) -> tuple[Any, ...]:
    if np.ndim(points) == 0:
        return tuple(load(memory, at + offsets[p] + k * step, many) for k in range(taps))
    rows = np.array([memory[at + int(o) : at + int(o) + taps] for o in load(offsets, p, points)])
    return tuple(rows.T)


def _columns(builder: Any, rows: list[Any], taps: int) -> list[Any]:
    """Turn eight rows of two or four numbers to columns.

    The first two of four pairs go beside the last two: one instruction then makes a column of both, as it picks from
    each half of a register alone.
    """
    if taps == 2 and len(rows) == 8:
        low, high = (join(builder, [rows[k] for k in (*half, *(k + 4 for k in half))]) for half in ((0, 1), (2, 3)))
        order = (0, 2, 8, 10, 4, 6, 12, 14)
        picks = [ir.Constant(ir.VectorType(I32, 8), [n + k for n in order]) for k in range(2)]
        return [builder.shuffle_vector(low, high, places) for places in picks]
    whole = join(builder, rows)
    return [pick(builder, whole, list(range(k, whole.type.count, taps))) for k in range(taps)]


def _short_rows(function: Any, taps: int) -> None:
    """Make `function` read `taps` neighbours at every offset."""

    @intrinsic(
        function, lambda memory, at, offsets, p, step, points, many: types.UniTuple(alike(memory.dtype, many), 4)
    )
    def code(context, builder, signature, args):
        memory, points, many = (signature.args[k] for k in (0, 5, 6))
        base = builder.gep(args[0], [word(builder, args[1])])
        first = builder.gep(args[2], [word(builder, args[3])])
        columns, row = [], Lanes(memory.dtype, taps)
        if is_lanes(points):  # one load for each place; then rows are turned to columns in registers
            rows = []
            for k in range(points.count):
                offset = word(builder, builder.load(builder.gep(first, [ir.Constant(I64, k)])))
                rows.append(read(context, builder, memory.dtype, builder.gep(base, [offset]), row))
            columns = _columns(builder, rows, taps)
        else:
            base = builder.gep(base, [word(builder, builder.load(first))])
            three = is_lanes(many) and many.count == 3 and not is_gpu(context)
            one = read_three if three else functools.partial(read, like=many)
            for _ in range(taps):
                columns.append(one(context, builder, memory.dtype, base))
                base = builder.gep(base, [args[4]])
        return context.make_tuple(builder, signature.return_type, columns + columns[:1] * (4 - taps))


@intrinsic(ones, lambda memory, at, offsets, p, points: alike(memory.dtype, points))
def _ones(context, builder, signature, args):
    points = signature.args[4]
    base = builder.gep(args[0], [word(builder, args[1])])
    first = builder.gep(args[2], [word(builder, args[3])])
    value = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
    for k in range(points.count if is_lanes(points) else 1):
        offset = word(builder, builder.load(builder.gep(first, [ir.Constant(I64, k)])))
        number = builder.load(builder.gep(base, [offset]))
        value = builder.insert_element(value, number, ir.Constant(I32, k)) if is_lanes(points) else number
    return value


@intrinsic(prefetch, lambda memory, offsets, p, like: types.void)
def _prefetch(context, builder, signature, args):
    like = signature.args[3]
    first = builder.gep(args[1], [word(builder, args[2])])
    for k in (0, like.count // 2) if is_lanes(like) else (0,):
        _ask(builder, args[0], builder.load(builder.gep(first, [ir.Constant(I64, k)])))
    return context.get_dummy_value()


@intrinsic(touch, lambda memory, at: types.void)
def _touch(context, builder, signature, args):
    _ask(builder, *args)
    return context.get_dummy_value()


def _ask(builder: Any, memory: Any, at: Any) -> None:
    """Prefetch what stands at `at`."""
    byte = ir.IntType(8).as_pointer()
    code = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], code)
    where = builder.bitcast(builder.gep(memory, [word(builder, at)]), byte)
    builder.call(prefetch, [where, ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)])


_short_rows(pairs, 2)


_short_rows(quads, 4)
