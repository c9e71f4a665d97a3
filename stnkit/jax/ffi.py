"""From a kernel to a custom call: one handler in machine code for each kernel, registered with XLA by name.

A handler is small, and the same for every kernel. It takes the addresses of buffers from XLA's call frame, and all
other arguments from one array of integers, which is worked out when a call is lowered. So there is no Python between
XLA and the kernel, and a compiled program holds nothing of the process that made it.

Where Numba is told not to compile, or jaxlib declares a frame that is not known, the same kernels run by callbacks.
"""

import functools
import hashlib
import math
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numba
import numpy as np
from jax.interpreters import mlir
from numba import cfunc, types
from numba.extending import intrinsic

from stnkit.jax import frame as frames
from stnkit.jax import layout
from stnkit.jax.release import callback, enable_x64
from stnkit.kernels import threads
from stnkit.ops import address
from stnkit.recipes import Numbers
from stnkit.spec import Spec

REENTRANT = ("omp", "tbb")  # XLA may call several handlers at once: Numba's other layer would abort the process

_registering = threading.Lock()  # programs may be lowered in several threads
_handlers: dict[str, Any] = {}  # XLA keeps their addresses, so they must live


class Result(NamedTuple):
    """The form of an array that a kernel writes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    summed: bool = False  # the kernel adds to what stands there

    @property
    def aval(self) -> Any:
        """The result as JAX describes it."""
        return jax.core.ShapedArray(self.shape, self.dtype)


class Invocation(NamedTuple):
    """A kernel and its arguments: buffers by their places among operands and results, then numbers."""

    factory: Callable[[Spec], Any]
    spec: Spec
    work: int  # taps that are read
    places: tuple[int | None, ...]  # of the kernel's addresses: a buffer, counted from the first operand; or none
    numbers: Numbers
    results: tuple[Result, ...]


def invoke(context: Any, operands: Sequence[Any], call: Invocation) -> Sequence[Any]:
    """Lower one run of a kernel, and return the values of its results."""
    here = context.replace(primitive=None, avals_out=[result.aval for result in call.results])
    if not call.work:
        return zeros(here, operands)
    if by_callback():
        return called_back(here, operands, call)
    serial = not threads.pays(call.work) or numba.threading_layer() not in REENTRANT
    numbers = np.array([*_head(here.avals_in, call.results), *_flat(call.numbers)], np.int64)
    kinds = tuple(map(numba.typeof, call.numbers))
    assert len(numbers) == frames.HEAD + frames.ABOUT * (len(operands) + len(call.results)) + count_of(kinds)
    kernel = call._replace(spec=call.spec._replace(parallel=not serial), numbers=kinds)
    name = target(kernel, len(operands), len(numbers))
    values: Sequence[Any] = jax.ffi.ffi_lowering(name)(here, *operands, words=numbers)
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


def target(kernel: Invocation, operands: int, count: int) -> str:
    """Return the name under which the handler of a kernel is registered: the same in every process.

    `kernel.numbers` are the types of its numbers, and `count` is how many words an attribute has.
    """
    form = (kernel.spec, kernel.places, kernel.numbers, operands, len(kernel.results), count)
    name = f"stnkit_{kernel.factory.__name__}_{hashlib.sha256(repr(form).encode()).hexdigest()[:16]}"
    with _registering:
        if name not in _handlers:
            _handlers[name] = handler(kernel, operands, count)
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(_handlers[name].ctypes), platform="cpu")
    return name


def handler(kernel: Invocation, operands: int, count: int) -> Any:
    """Compile the handler that calls a kernel."""
    run = caller(kernel, operands)
    skipped = 8 * (frames.HEAD + frames.ABOUT * (operands + len(kernel.results)))
    examine, words, refuse = frames.examine, frames.words, frames.refuse
    ready, odd_call, odd_buffer = frames.READY, frames.ODD_CALL, frames.ODD_BUFFER

    def handle(frame):  # type: ignore[no-untyped-def]  # Numba types it
        found = examine(frame, count)
        if found == odd_call:
            return refuse(frame, "a custom call has other operands, results or attributes than it was lowered with")
        if found == odd_buffer:
            return refuse(frame, "a buffer of a custom call has another dtype or size than it was lowered with")
        if found == ready:
            run(frame, words(frame) + skipped)
        return 0

    return cfunc(types.int64(types.int64))(handle)


def caller(kernel: Invocation, operands: int) -> Any:
    """Make the function that calls a kernel with addresses from a frame, and with its other arguments from words.

    It calls machine code by its address. A call by name would put the kernel's intermediate code into every handler,
    and compile it once more.
    """
    kinds = (*(types.int64 for _ in kernel.places), *kernel.numbers)
    dispatcher = kernel.factory(kernel.spec)
    dispatcher.compile(kinds)
    compiled = dispatcher.overloads[kinds]
    where = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)

    @intrinsic
    def call(context, frame, words):  # type: ignore[no-untyped-def]  # Numba's, as the next
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            at = iter(range(0, 8 * count_of(kernel.numbers), 8))

            def number(kind: Any) -> Any:
                if isinstance(kind, types.BaseTuple):
                    return context.make_tuple(builder, kind, [number(item) for item in kind])
                if kind == types.int64:
                    return frames.load(builder, args[1], next(at))
                return context.get_constant_null(kind)

            addresses = [frames.data(builder, args[0], place, operands) for place in kernel.places]
            given = [*addresses, *map(number, kernel.numbers)]
            form = context.call_conv.get_function_type(types.none, kinds)
            machine_code = builder.inttoptr(context.get_constant(types.int64, where), form.as_pointer())
            context.call_conv.call_function(builder, machine_code, types.none, kinds, given)
            return context.get_dummy_value()

        return types.none(types.int64, types.int64), generate

    return call


def count_of(kinds: Iterable[Any]) -> int:
    """Return how many words numbers of some types take."""
    return sum(count_of(kind) if isinstance(kind, types.BaseTuple) else kind == types.int64 for kind in kinds)


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
