"""From a kernel to a handler in machine code, which XLA calls by name.

A handler is small, and the same for every kernel. It takes the addresses of buffers from XLA's call frame, and all
other arguments from one array of integers, which is worked out when a call is lowered. So there is no Python between
XLA and the kernel, and a compiled program holds nothing of the process that made it.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numba
import numpy as np
from numba import cfunc, types
from numba.extending import intrinsic

from stnkit.jax import frame as frames
from stnkit.kernels import threads
from stnkit.recipes import Numbers
from stnkit.spec import Spec

REENTRANT = ("omp", "tbb")  # XLA may call several handlers at once: Numba's other layer would abort the process

_registering = threading.Lock()  # programs may be lowered in several threads
registered: dict[str, Any] = {}  # handlers by name; XLA keeps their addresses, so they must live


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


def threaded(work: int) -> bool:
    """Tell whether the parallel twin of a kernel runs for `work` taps."""
    return threads.pays(work) and numba.threading_layer() in REENTRANT


def target(kernel: Invocation, operands: int, count: int) -> str:
    """Return the name under which the handler of a kernel is registered: the same in every process.

    `kernel.numbers` are the types of its numbers, and `count` is how many words an attribute has.
    """
    form = (kernel.spec, kernel.places, kernel.numbers, operands, len(kernel.results), count)
    name = f"stnkit_{kernel.factory.__name__}_{hashlib.sha256(repr(form).encode()).hexdigest()[:16]}"
    with _registering:
        if name not in registered:
            registered[name] = handler(kernel, operands, count)
            register(name, registered[name].ctypes)
    return name


def register(name: str, function: Any) -> None:
    """Let XLA find a function of C, which must live, by a name."""
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function), platform="cpu")


def handler(kernel: Invocation, operands: int, count: int) -> Any:
    """Compile the handler that calls a kernel."""
    run = caller(kernel, operands)
    skipped = 8 * (frames.HEAD + frames.ABOUT * (operands + len(kernel.results)))
    examine, words, refuse = frames.examine, frames.words, frames.refuse
    ready, odd_call, odd_buffer = frames.READY, frames.ODD_CALL, frames.ODD_BUFFER
    invalid, exhausted = frames.INVALID_ARGUMENT, frames.RESOURCE_EXHAUSTED

    def handle(frame):  # type: ignore[no-untyped-def]  # Numba types it
        found = examine(frame, count)
        if found == odd_call:
            return refuse(
                frame, "a custom call has other operands, results or attributes than it was lowered with", invalid
            )
        if found == odd_buffer:
            return refuse(
                frame, "a buffer of a custom call has another dtype or size than it was lowered with", invalid
            )
        if found == ready and run(frame, words(frame) + skipped):
            return refuse(frame, "a kernel found no memory to work in", exhausted)
        return 0

    return cfunc(types.int64(types.int64))(handle)


def caller(kernel: Invocation, operands: int) -> Any:
    """Make the function that calls a kernel with addresses from a frame, and with its other arguments from words.

    It tells whether the kernel raised an error, which can only be that memory is short.
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
            status, _ = context.call_conv.call_function(builder, machine_code, types.none, kinds, given)
            return status.is_error

        return types.boolean(types.int64, types.int64), generate

    return call


def count_of(kinds: Iterable[Any]) -> int:
    """Return how many words numbers of some types take."""
    return sum(count_of(kind) if isinstance(kind, types.BaseTuple) else kind == types.int64 for kind in kinds)
