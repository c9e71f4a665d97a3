"""Three numbers side by side that each thread of a GPU's warp adds or writes to memory: neighbours reach neighbours.

A warp has 96 numbers, and adds them by three instructions. If each thread added its own, an instruction would reach
every third number of all that its threads reach, and so touch three times as many sectors of memory. So threads
exchange numbers: in round r, thread t has number e = 32 r + t, channel e % 3 of thread e // 3. On a CPU, where the
threads of a GPU are tried one after another, each keeps its own.
"""

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba import types

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import intrinsic
from stnkit.kernels.simd.gpu_words import WARP, reduce, shuffled, thread_of_warp
from stnkit.kernels.simd.lanes import load, store
from stnkit.kernels.simd.vectors import I32, I64, word

COUNT = 3
INVERSE = 11  # of 3: 3 * 11 = 1 modulo 32


def add_triple(memory: Any, at: Any, offset: Any, value: Any, spec: Any) -> None:
    """Add three numbers to neighbours, `offset` after `at`, or nothing where the offset is negative.

    All threads of a warp must be here, with the same memory and `at`.
    """
    if offset >= 0:
        store(memory, at + offset, load(memory, at + offset, value) + value)


def put_triple(memory: Any, at: Any, end: Any, value: Any) -> None:
    """Write three numbers to neighbours from `at` on, or nothing from `end` on.

    All threads of a warp must be here: each where the one before ends.
    """
    if at < end:
        store(memory, at, value)


@intrinsic(add_triple, lambda memory, at, offset, value, spec: types.void)
def _add_triple(context, builder, signature, args):
    base, offset, value = builder.gep(args[0], [word(builder, args[1])]), word(builder, args[2]), args[3]
    if not is_gpu(context):
        with builder.if_then(builder.icmp_signed(">=", offset, I64(0))):
            where, size = _place(context, builder, base, offset, value)
            had = builder.load(where)
            had.align = size
            builder.store(builder.fadd(had, value), where).align = size
        return context.get_dummy_value()
    offset = offset if signature.args[4].spec.wide else builder.trunc(offset, I32)
    code = "add.f64" if value.type.element == ir.DoubleType() else "add.f32"
    for number, part in _exchanged(builder, value):
        there = shuffled(builder, "idx", offset, builder.udiv(number, I32(COUNT)))
        with builder.if_then(builder.icmp_signed(">=", there, there.type(0))):
            place = builder.add(word(builder, there), builder.zext(builder.urem(number, I32(COUNT)), I64))
            reduce(builder, code, builder.gep(base, [place]), [part])
    return context.get_dummy_value()


@intrinsic(put_triple, lambda memory, at, end, value: types.void)
def _put_triple(context, builder, signature, args):
    base, at, end, value = args[0], word(builder, args[1]), word(builder, args[2]), args[3]
    if not is_gpu(context):
        with builder.if_then(builder.icmp_signed("<", at, end)):
            where, size = _place(context, builder, base, at, value)
            builder.store(value, where).align = size
        return context.get_dummy_value()
    first = builder.sub(at, builder.zext(builder.mul(thread_of_warp(builder), I32(COUNT)), I64))
    for number, part in _exchanged(builder, value):
        place = builder.add(first, builder.zext(number, I64))
        with builder.if_then(builder.icmp_signed("<", place, end)):
            builder.store(part, builder.gep(base, [place]))
    return context.get_dummy_value()


def _place(context: Any, builder: Any, base: Any, at: Any, value: Any) -> tuple[Any, int]:
    """Return the address of lanes that lie at a multiple of one's size, and that size."""
    where = builder.bitcast(builder.gep(base, [at]), value.type.as_pointer())
    return where, context.get_abi_sizeof(value.type.element)


def _exchanged(builder: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield, for each round, which of the warp's numbers this thread has in it, and that number.

    The channels c of all threads are one number each of every remainder modulo 32: thread t gets that of the thread s
    with 3 s + c = t modulo 32. Which of its three numbers is that of a round follows from t % 3.
    """
    thread = thread_of_warp(builder)
    turn, own = builder.urem(thread, I32(COUNT)), builder.mul(thread, I32(INVERSE))
    given = []
    for c in range(COUNT):
        source = builder.and_(builder.add(own, I32(INVERSE * (WARP - c))), I32(WARP - 1))
        given.append(shuffled(builder, "idx", builder.extract_element(value, I32(c)), source))
    first, second = (builder.icmp_unsigned("==", turn, I32(k)) for k in range(2))
    for r in range(COUNT):
        a, b, c = (given[(WARP * r + k) % COUNT] for k in range(COUNT))
        yield builder.add(thread, I32(WARP * r)), builder.select(first, a, builder.select(second, b, c))
