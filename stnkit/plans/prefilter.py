"""Plans of the filter that finds a spline's coefficients, along one axis of an array without gaps."""

import functools
import math
from typing import Any

import numpy as np

from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cpu import factories
from stnkit.kernels.cpu.call import OUT, Arguments
from stnkit.plans.launch import Buffer, Launch, Plan, planned
from stnkit.plans.layout import CHUNKS, Shape
from stnkit.spec import DTYPES, Options, Spec

VECTOR = 64  # bytes of the numbers that an instruction works on
SIDE_BY_SIDE = 4  # vectors that are filtered at once, where lines are many: each step of one waits for that before it
STEPS = 8  # about as many taps of sampling take the time in which a number is filtered


def filter_spec(dtype: np.dtype[Any], options: Options, transpose: bool, lanes: int) -> Spec:
    """Return the choices of a filter."""
    spec = Spec(1, options.interp, (options.padding[0],) * 3, options.align, digest=digest())
    return spec._replace(image_dtype=DTYPES[dtype.name], image_bar=transpose, lanes=lanes)


def around(shape: Shape, axis: int) -> tuple[int, int, int]:
    """Return how many items lie before an axis, along it, and after it."""
    axis %= len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@functools.lru_cache(maxsize=4096)
def spline_filter(shape: Shape, dtype: np.dtype[Any], axis: int, options: Options, transpose: bool) -> Plan:
    """Plan the filter along one axis."""
    batch, n, inner = around(shape, axis)
    lines, lanes = batch * inner, VECTOR // dtype.itemsize
    lanes *= SIDE_BY_SIDE if lines >= 2 * SIDE_BY_SIDE * lanes else 1
    blocks = -(-lines // lanes)
    call = Arguments(batch=batch, chunks=max(min(blocks, CHUNKS), 1), size=(1, n, inner))
    launch = Launch(
        factories.SPLINE_FILTER, filter_spec(dtype, options, transpose, lanes), STEPS * math.prod(shape), call, (OUT,)
    )
    return planned((Buffer(OUT, shape, dtype),), launch)
