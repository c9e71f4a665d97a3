"""What the threads of a GPU's warp do together: sums, always in the same order.

On a CPU, where the threads of a GPU are tried one after another, a warp is one thread.
"""

from typing import Any

from numba import types

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.compiler.jit import intrinsic
from stnkit.kernels.simd.gpu_words import WARP, WORD, shuffled


def warp_size() -> int:
    """Return how many threads a warp has."""
    return 1


def warp_total(x: Any) -> Any:
    """Return the sum of a number over the threads of a warp, which must all be here."""
    return x


def group_total(x: Any, spec: Any) -> Any:
    """Return the sum of a number over the threads that share a location, which must all be here."""
    return x


@intrinsic(warp_size, lambda: types.int64)
def _warp_size(context, builder, signature, args):
    return context.get_constant(types.int64, WARP if is_gpu(context) else 1)


@intrinsic(warp_total, lambda x: x)
def _warp_total(context, builder, signature, args):
    return _total(builder, args[0], WARP) if is_gpu(context) else args[0]


@intrinsic(group_total, lambda x, spec: x)
def _group_total(context, builder, signature, args):
    return _total(builder, args[0], signature.args[1].spec.group) if is_gpu(context) else args[0]


def _total(builder: Any, value: Any, threads: int) -> Any:
    """Add up by halves: each thread adds what the one 1, 2, 4, ... places away has."""
    for distance in (1, 2, 4, 8, 16):
        if distance < threads:
            value = builder.fadd(value, shuffled(builder, "bfly", value, WORD(distance)))
    return value
