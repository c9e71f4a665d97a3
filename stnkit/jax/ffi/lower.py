"""How XLA executes a plan: each launch of a kernel is a custom call.

Where Numba is told not to compile, or jaxlib declares a frame that is not known, a plan is run by a callback.
"""

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from jax.interpreters import mlir

from stnkit.backends.cpu import execute as cpu
from stnkit.jax._compat import callback, enable_x64, is_exported
from stnkit.jax.ffi import export, layout
from stnkit.jax.ffi.handlers import target
from stnkit.plans.launch import Buffer, Launch, Plan
from stnkit.plans.layout import Layout
from stnkit.plans.strides import gapless

Values = dict[int, Any]  # arrays in the program that is built, by their slots


def execute(
    context: Any, slots: Sequence[int], operands: Sequence[Any], plan: Plan, planar: Sequence[int] = ()
) -> Values:
    """Lower a plan, on operands for some slots; return the values of its buffers.

    Those of `planar` slots have their coordinates in planes; see `planes`.
    """
    if by_callback() and plan.launches:
        return called_back(context, slots, operands, plan)
    made: Values = {}
    for launch in plan.launches:
        results = [buffer for buffer in plan.buffers if buffer.slot in launch.writes]
        made |= invoke(context, slots, operands, launch, results, planar)
    left = [buffer for buffer in plan.buffers if buffer.slot not in made]
    return made | zeros(context, left) if left else made


def invoke(
    context: Any,
    slots: Sequence[int],
    operands: Sequence[Any],
    launch: Launch,
    results: Sequence[Buffer],
    planar: Sequence[int],
) -> Values:
    """Lower one run of a kernel; return the values of its results."""
    words = _head(context.avals_in, slots, results, planar) + list(launch.call.words)
    if is_exported(context):
        name, words = export.TARGET, words + export.described(launch)
    else:
        name = target(launch)
    here = context.replace(primitive=None, avals_out=[aval(result) for result in results])
    values = jax.ffi.ffi_lowering(name)(here, *operands, words=np.array(words, np.int64))
    return {result.slot: value for result, value in zip(results, values, strict=True)}


def planes(array: Any) -> Layout:
    """Return the layout, as that of a grid, of indices (m, d, *T) in the order of an image's axes.

    A grid has x first, and so begins with the last plane.
    """
    batch, count, *size = array.shape
    item, plane, *steps = gapless(array.shape, array.dtype.itemsize)
    return (batch, *size, count), (item, *steps, -plane), array.dtype


def zeros(context: Any, results: Sequence[Buffer]) -> Values:
    """Lower what no kernel writes: it is 0, or has no elements."""
    made = mlir.lower_fun(lambda: [jnp.zeros(result.shape, result.dtype) for result in results])
    with enable_x64():
        values = made(context.replace(primitive=None, avals_in=[], avals_out=list(map(aval, results))))
    return {result.slot: value for result, value in zip(results, values, strict=True)}


def aval(form: Buffer | np.ndarray) -> Any:
    """Return an array as JAX describes it."""
    return jax.core.ShapedArray(form.shape, form.dtype)


def by_callback() -> bool:
    """Tell whether kernels are called by way of Python."""
    return bool(numba.config.DISABLE_JIT) or not known()


@functools.cache
def known() -> bool:
    """Tell whether handlers can read the frames of the installed jaxlib; warn, once, if they cannot."""
    if layout.is_known():
        return True
    message = (
        f"jax {jax.__version__} comes with a call frame that stnkit does not know: its operations run by callbacks, "
        "which are slower; a newer stnkit may know it"
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    return False


def _head(operands: Sequence[Any], slots: Sequence[int], results: Sequence[Buffer], planar: Sequence[int]) -> list[int]:
    """Return the numbers by which a handler checks its buffers, and hands them on; see `frame.examine`."""
    head = [len(operands), len(results)]
    given = [(array, slot, False) for array, slot in zip(operands, slots, strict=True)]
    for array, slot, cleared in [*given, *((result, result.slot, result.cleared) for result in results)]:
        count = math.prod(array.shape)
        first = (1 - array.shape[1]) * planes(array)[1][-1] if slot in planar else 0
        head += [layout.code(array.dtype), count, count * array.dtype.itemsize if cleared else 0, slot, first]
    return head


def called_back(context: Any, slots: Sequence[int], operands: Sequence[Any], plan: Plan) -> Values:
    """Lower a plan as a callback, on buffers in place where JAX shares them."""
    every = [*slots, *(buffer.slot for buffer in plan.buffers)]

    def fill(_: Any, results: Sequence[Any], *given: Any) -> None:
        arrays = dict(zip(every, map(np.asarray, (*given, *results)), strict=True))
        for buffer in plan.buffers:
            if buffer.cleared:
                arrays[buffer.slot][...] = 0
        cpu.execute(plan, arrays)

    forms = [jax.ShapeDtypeStruct(buffer.shape, buffer.dtype) for buffer in plan.buffers]
    here = context.replace(primitive=None, avals_out=list(map(aval, plan.buffers)))
    with enable_x64():  # partial sums have 64 bits whatever users may have
        values = mlir.lower_fun(callback(fill, forms))(here, *operands)
    return {buffer.slot: value for buffer, value in zip(plan.buffers, values, strict=True)}
