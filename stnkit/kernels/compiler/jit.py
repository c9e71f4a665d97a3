"""How kernels and leaves are compiled: every compile option is said here, once, with its reason.

Leaves are scalar functions shared by every device. They are inlined, so that a kernel's `Spec` reaches them
as constants and every branch on it folds away; measured, that is 1.6 times as fast as the same choice made at
run time. Numba for CUDA compiles them itself; for a CPU, `compiler.leaves` does. Leaves are never cached on their own:
Numba's cache does not see a change in a callee, and kernels carry the leaves' digest instead.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, typeof, types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import (
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    type_callable,
    typeof_impl,
)

from stnkit.kernels.compiler import monitor
from stnkit.kernels.compiler.digests import qualified
from stnkit.kernels.compiler.expressions import KNOWN, Choices, is_gpu
from stnkit.kernels.compiler.leaves import LeafPipeline
from stnkit.kernels.compiler.pipelines import KernelPipeline
from stnkit.kernels.compiler.settings import interpreted
from stnkit.spec import Spec

leaf = njit(
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=LeafPipeline
)
inline = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # no leaf: it sees addresses alone
int64, uint64 = (int, int) if interpreted() else (np.int64, np.uint64)  # Python's own are interpreted sooner
FORM = types.int64(types.int64, types.int64, types.int64)  # of a kernel: see `kernels.cpu.call`


register_model(Choices)(models.OpaqueModel)


@typeof_impl.register(Spec)
def _typeof_spec(spec, context):
    return Choices(spec)


@lower_constant(Choices)
def _spec_constant(context, builder, kind, spec):
    return context.get_dummy_value()


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    key = Choices

    def generic_resolve(self, kind: Choices, name: str) -> Any:
        return typeof(getattr(kind.spec, name))


@lower_getattr_generic(Choices)
def _spec_field(context, builder, kind, value, name):
    field = getattr(kind.spec, name)
    return context.get_constant_generic(builder, typeof(field), field)


def intrinsic(
    function: Callable[..., Any], result: Callable[..., Any], known: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Give `function`, uncompiled Python, a type in kernels, `result(*argument types)`, and the decorated code.

    Where types alone decide it, `known(context, *argument types)` is what it returns.
    """
    if known:
        KNOWN[function] = known
    type_callable(function)(lambda context: result)
    return lower_builtin(function, types.VarArg(types.Any))  # type: ignore[no-any-return]


class Kernel:
    """A function `status = kernel(words, first, last)` of a CPU that captures its `Spec` alone; see `kernels.cpu.call`.

    It is compiled when its address is asked for, with the on-disk cache; where no directory can be written to, without.
    """

    def __init__(self, function: Callable[[int, int, int], int]) -> None:
        self.function = function  # uncompiled
        self.name, self.key = function.__name__, function.__qualname__

    @functools.cached_property
    def address(self) -> int:
        """Where its machine code is: that of a function of C."""
        with _compiling, monitor.observed():
            address = int(self._compiled.address)
        monitor.note(self.key, monitor.CACHE if self._compiled.cache_hits else monitor.COMPILED)
        return address

    def object(self) -> tuple[str, bytes] | None:
        """Return its name in the object that this process has made of it, and the object; None if it was on disk."""
        self.address  # noqa: B018  # compiles it
        if self._compiled.cache_hits:
            return None
        _, _, (code, _) = self._compiled._library.serialize_using_object_code()
        return self._compiled.native_name, code

    @functools.cached_property
    def _compiled(self) -> Any:
        return cached(cfunc, self.function, FORM, error_model="numpy", pipeline_class=KernelPipeline)


_compiling = threading.Lock()  # of two threads that want one kernel, one compiles it


def kernel(function: Callable[..., Any], spec: Spec) -> Kernel:
    """Make a kernel of `function`, which captures `spec` alone."""
    function.__qualname__ = qualified(function.__name__, spec)
    return Kernel(function)


def cached(compiler: Callable[..., Any], function: Callable[..., Any], *form: Any, **options: Any) -> Any:
    """Compile `function`, by `numba.njit` or `numba.cfunc`, with the on-disk cache where one can be written.

    A disk without room, or files that a crash left damaged, cost what is kept, and not the call.
    """
    if cache_directory_of(function) is not None:
        try:
            return compiler(*form, cache=True, **options)(function)
        except NumbaError:
            raise
        except Exception as error:  # of many types, as what is damaged is unpickled
            monitor.forget(function, error)
    return compiler(*form, cache=False, **options)(function)


def cache_directory_of(function: Callable[..., Any]) -> str | None:
    """Return the directory that a function is kept in.

    Numba keeps machine code by a function's source file. Where that is not installed, the file that the function
    was imported from stands for it: one of byte code, or a zip.
    """
    code = function.__code__
    module_file = Path(function.__globals__["__file__"])
    files = [path for path in (Path(code.co_filename), module_file, *module_file.parents) if path.is_file()]
    function.__code__ = code.replace(co_filename=str(files[0])) if files else code  # no file: in a frozen program
    return monitor.cache_directory_of(function)


def on_gpu() -> bool:
    """Tell whether what is compiled runs on a GPU, where a stage holds one location and threads add at once."""
    return False


@intrinsic(on_gpu, lambda: types.boolean, known=lambda context: is_gpu(context))
def _on_gpu(context, builder, signature, args):
    return context.get_constant(types.boolean, is_gpu(context))


def opaque(count: int) -> int:
    """Return a count that the compiler is not told, so that a loop that goes round as often stays a loop."""
    return count


@intrinsic(opaque, lambda count: types.int32)
def _hidden(context, builder, signature, args):
    count = context.cast(builder, args[0], signature.args[0], types.int32)
    return builder.asm(ir.FunctionType(count.type, [count.type]), "", "=r,0", [count], False)  # no instruction


def floor(x: Any) -> Any:
    """Return the largest whole number that is not above `x`, of its type: one instruction of a CPU."""
    return np.floor(x)


@intrinsic(floor, lambda x: x)
def _floor(context, builder, signature, args):
    return builder.call(builder.module.declare_intrinsic("llvm.floor", [args[0].type]), args)


def in_bounds(i: Any, n: Any) -> Any:
    """Tell whether `i` is one of the `n` indices from 0 on. Without a sign negative ones are huge: one comparison."""
    return 0 <= i < n


@intrinsic(in_bounds, lambda i, n: types.boolean)
def _within(context, builder, signature, args):
    return builder.icmp_unsigned("<", args[0], context.cast(builder, args[1], signature.args[1], signature.args[0]))


def select(condition: Any, x: Any, y: Any) -> Any:
    """Return `x` if the condition holds, else `y`, of its type: by an instruction, and never by a branch.

    Of several branches on one condition compilers make one, and in a loop over lanes then write each result twice.
    """
    return x if condition else y


@intrinsic(select, lambda condition, x, y: x)
def _either(context, builder, signature, args):
    return builder.select(args[0], args[1], context.cast(builder, args[2], signature.args[2], signature.args[1]))


def pointer(address: int, example: Any) -> Any:
    """View the memory from `address` on as values of the type of `example`.

    Kernels take addresses and strides rather than arrays: one machine code then serves read-only, strided
    and reversed arrays of every producer, and indexing a pointer wraps no negative index around.
    """
    dtype = np.dtype(type(example))
    if uncompiled.has_negative_strides and address:
        return _Signed(int(address), dtype)
    return _memory(int(address), dtype)


def _memory(address: int, dtype: np.dtype[Any]) -> np.ndarray:
    """View the memory from an address on; what lies at address 0 is never read."""
    memory = (ctypes.c_byte * (1 << 46)).from_address(address or dtype.itemsize)
    count = (1 << 46) // dtype.itemsize
    view: np.ndarray = np.frombuffer(memory, dtype, count)  # type: ignore[call-overload]  # arrays of ctypes are buffers
    return view


class _Uncompiled(threading.local):
    """What uncompiled kernels of this thread run on: `np.frombuffer` alone would wrap negative indices around."""

    has_negative_strides = False


uncompiled = _Uncompiled()


class _Signed:
    """Memory before and behind an address, indexed from there, in uncompiled kernels."""

    def __init__(self, address: int, dtype: np.dtype[Any]) -> None:
        self.dtype, self.zero = dtype, min(address, 1 << 45) // dtype.itemsize
        first = address - self.zero * dtype.itemsize
        self.zero -= 0 if first else 1  # as the view of address 0 begins one number later
        self.numbers = _memory(first, dtype)

    def _shifted(self, at: Any) -> Any:
        if isinstance(at, slice):
            return slice(*(None if end is None else int(end) + self.zero for end in (at.start, at.stop)))
        return int(at) + self.zero

    def __getitem__(self, at: Any) -> Any:
        return self.numbers[self._shifted(at)]

    def __setitem__(self, at: Any, value: Any) -> None:
        self.numbers[self._shifted(at)] = value


@intrinsic(pointer, lambda address, example: types.CPointer(example))
def _pointer(context, builder, signature, args):
    return builder.inttoptr(args[0], context.get_value_type(signature.return_type))


def advanced(memory: Any, count: int) -> Any:
    """View memory from the value number `count` on; the compiler still knows that both are one block."""
    return memory[count:]


@intrinsic(advanced, lambda memory, count: memory)
def _beyond(context, builder, signature, args):
    return builder.gep(args[0], [args[1]])


def clear(memory: Any, first: Any, count: Any) -> None:
    """Set so many neighbours in memory to 0, from number `first` on."""
    memory[first : first + count] = 0


@intrinsic(clear, lambda memory, first, count: types.none)
def _clear(context, builder, signature, args):
    memory, first, count = args
    size = ir.Constant(count.type, context.get_abi_sizeof(memory.type.pointee))
    cgutils.memset(builder, builder.gep(memory, [first]), builder.mul(count, size), 0)
    return context.get_dummy_value()


class View(NamedTuple):
    """Memory seen as an array: a pointer, and strides in elements."""

    memory: Any
    strides: Any


_allocated: dict[int, Any] = {}  # memory of uncompiled kernels, by its address


def malloc(size: int) -> int:
    """Allocate scratch memory of so many bytes; return its address, or 0 where memory is short."""
    memory = np.empty(size, np.uint8)
    return _allocated.setdefault(memory.ctypes.data, memory).ctypes.data  # type: ignore[no-any-return]


@intrinsic(malloc, lambda size: types.int64)
def _malloc(context, builder, signature, args):
    function = ir.FunctionType(ir.IntType(8).as_pointer(), [ir.IntType(64)])
    found = builder.call(cgutils.get_or_insert_function(builder.module, function, "malloc"), args)
    return builder.ptrtoint(found, ir.IntType(64))


def free(address: int) -> None:
    """Give scratch memory back."""
    del _allocated[address]


@intrinsic(free, lambda address: types.none)
def _free(context, builder, signature, args):
    function = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    where = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
    builder.call(cgutils.get_or_insert_function(builder.module, function, "free"), [where])
    return context.get_dummy_value()
