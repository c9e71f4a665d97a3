"""What the threads of a GPU's warp do together: sums, always in the same order.

On a CPU, where the threads of a GPU are tried one after another, a warp is one thread.
"""

from typing import Any

from numba import types

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import intrinsic
from stnkit.kernels.simd.gpu_words import WARP, WORD, shuffled, thread_of_warp
from stnkit.kernels.simd.vectors import is_lanes


def warp_size() -> int:
    """Return how many threads a warp has."""
    return 1


def warp_total(x: Any) -> Any:
    """Return the sum of a number over the threads of a warp, which must all be here."""
    return x


def group_total(x: Any, spec: Any) -> Any:
    """Return the sum of a number over the threads that share a location, which must all be here."""
    return x


def before(x: Any) -> Any:
    """Return the number of the thread before, or its lanes; all threads of the warp must be here.

    The first one gets those of the last.
    """
    return x


def matched(left: Any, right: Any) -> int:
    """Return 1 if `left` is the `right` of the thread before, and not negative, plus 2 if the next one's is like that.

    All threads of the warp must be here.
    """
    return 0


@intrinsic(warp_size, lambda: types.int64)
def _warp_size(context, builder, signature, args):
    return context.get_constant(types.int64, WARP if is_gpu(context) else 1)


@intrinsic(warp_total, lambda x: x)
def _warp_total(context, builder, signature, args):
    return _total(builder, args[0], WARP) if is_gpu(context) else args[0]


@intrinsic(group_total, lambda x, spec: x)
def _group_total(context, builder, signature, args):
    return _total(builder, args[0], signature.args[1].spec.group) if is_gpu(context) else args[0]


@intrinsic(before, lambda x: x)
def _before(context, builder, signature, args):
    value = args[0]
    if not is_gpu(context):
        return value
    if not is_lanes(signature.args[0]):
        return shuffled(builder, "idx", value, _beside(builder, -1))
    for lane in map(WORD, range(value.type.count)):
        part = shuffled(builder, "idx", builder.extract_element(args[0], lane), _beside(builder, -1))
        value = builder.insert_element(value, part, lane)
    return value


@intrinsic(matched, lambda left, right: types.int32)
def _matched(context, builder, signature, args):
    if not is_gpu(context):
        return WORD(0)
    (left, right), thread = args, thread_of_warp(builder)
    found = WORD(0)
    for bit, (own, other, step, end) in enumerate(((left, right, -1, 0), (right, left, 1, WARP - 1))):
        alike = builder.icmp_signed("==", own, shuffled(builder, "idx", other, _beside(builder, step)))
        alike = builder.and_(alike, builder.icmp_signed(">=", own, own.type(0)))
        alike = builder.and_(alike, builder.icmp_signed("!=", thread, WORD(end)))
        found = builder.or_(found, builder.shl(builder.zext(alike, WORD), WORD(bit)))
    return found


def _beside(builder: Any, step: int) -> Any:
    """Return the number of the thread before or after; the first and the last are neighbours here."""
    return builder.and_(builder.add(thread_of_warp(builder), WORD(step)), WORD(WARP - 1))


def _total(builder: Any, value: Any, threads: int) -> Any:
    """Add up by halves: each thread adds what the one 1, 2, 4, ... places away has."""
    for distance in (1, 2, 4, 8, 16):
        if distance < threads:
            value = builder.fadd(value, shuffled(builder, "bfly", value, WORD(distance)))
    return value
