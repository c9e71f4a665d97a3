"""From a kernel to a custom call of XLA, with all the numbers that the kernel takes.

Where Numba is told not to compile, or jaxlib declares a frame that is not known, the same kernels run by callbacks.
"""

import functools
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from jax.interpreters import mlir

from stnkit.jax import export, layout
from stnkit.jax import frame as frames
from stnkit.jax.handlers import Invocation, Result, count_of, target, threaded
from stnkit.jax.release import callback, enable_x64, is_exported
from stnkit.kernels import threads
from stnkit.ops import address


def invoke(context: Any, operands: Sequence[Any], call: Invocation) -> Sequence[Any]:
    """Lower one run of a kernel, and return the values of its results."""
    here = context.replace(primitive=None, avals_out=[result.aval for result in call.results])
    if not call.work:
        return zeros(here, operands)
    if by_callback():
        return called_back(here, operands, call)
    words = [*_head(here.avals_in, call.results), *_flat(call.numbers)]
    kinds = tuple(map(numba.typeof, call.numbers))
    assert len(words) == frames.HEAD + frames.ABOUT * (len(operands) + len(call.results)) + count_of(kinds)
    if is_exported(context):
        name, words = export.TARGET, words + export.described(call, len(operands))
    else:
        kernel = call._replace(spec=call.spec._replace(parallel=threaded(call.work)), numbers=kinds)
        name = target(kernel, len(operands), len(words))
    values: Sequence[Any] = jax.ffi.ffi_lowering(name)(here, *operands, words=np.array(words, np.int64))
    return values


def zeros(context: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """Lower what has nothing to read: results are 0, or have no elements."""
    made = mlir.lower_fun(lambda *_: [jnp.zeros(aval.shape, aval.dtype) for aval in context.avals_out])
    with enable_x64():
        values: Sequence[Any] = made(context.replace(primitive=None), *operands)
    return values


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


def _head(operands: Sequence[Any], results: Sequence[Result]) -> list[int]:
    """Return the numbers by which a handler checks its buffers; see `frame.examine`."""
    head = [len(operands), len(results)]
    for form, summed in (*((aval, False) for aval in operands), *((result, result.summed) for result in results)):
        count = math.prod(form.shape)
        head += [layout.code(form.dtype), count, count * form.dtype.itemsize if summed else 0]
    return head


def _flat(numbers: Iterable[Any]) -> list[int]:
    """Write numbers, and tuples of them, in one line; what carries a type is not written, but for integers."""
    flat: list[int] = []
    for number in numbers:
        if isinstance(number, tuple):
            flat.extend(_flat(number))
        elif isinstance(number, int | np.int64):
            flat.append(int(number))
    return flat


def called_back(context: Any, operands: Sequence[Any], call: Invocation) -> Sequence[Any]:
    """Lower one run of a kernel as a callback, on buffers in place where JAX shares them."""

    def fill(_: Any, results: Sequence[Any], *given: Any) -> None:
        arrays = [np.asarray(array) for array in (*given, *results)]
        for array, result in zip(arrays[len(given) :], call.results, strict=True):
            array[...] = 0 if result.summed else array
        addresses = (0 if place is None else address(arrays[place]) for place in call.places)
        threads.launch(call.factory, call.spec, call.work, *addresses, *call.numbers)

    forms = [jax.ShapeDtypeStruct(*result[:2]) for result in call.results]
    with enable_x64():  # partial sums have 64 bits whatever users may have
        values: Sequence[Any] = mlir.lower_fun(callback(fill, forms))(context, *operands)
    return values
