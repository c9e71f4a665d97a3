"""What starts kernels: a function of Python's in machine code, which the interpreter's lock is not held in."""

import ctypes
import functools
import hashlib
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cpu.call import SLOTS, WORDS
from stnkit.kernels.objects import linking, shipped

NAME = "stnkit_start"
HEAD = 8 * 3  # bytes of a block before the words of a call

WORD, OBJECT = ir.IntType(64), ir.IntType(8).as_pointer()
FORM = ir.FunctionType(WORD, [WORD] * 3)  # of a kernel, and of what has its form
NO_MEMORY = b"a kernel found no memory to work in\0"
ERROR = "PyExc_MemoryError"
FAST_CALL = 0x80  # METH_FASTCALL of Python's C interface

# What is used of that interface, all of it stable: results, and arguments.
PYTHON = {
    "PyErr_BadArgument": (ir.IntType(32), []),
    "PyErr_Occurred": (OBJECT, []),
    "PyErr_SetString": (ir.VoidType(), [OBJECT, OBJECT]),
    "PyEval_RestoreThread": (ir.VoidType(), [OBJECT]),
    "PyEval_SaveThread": (OBJECT, []),
    "PyLong_AsUnsignedLongLongMask": (WORD, [OBJECT]),
    "PyLong_FromLongLong": (OBJECT, [WORD]),
}


class _Method(ctypes.Structure):
    """A function, as Python is told of it."""

    _fields_ = (("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("kind", ctypes.c_int), ("doc", ctypes.c_char_p))


@functools.cache
def starter() -> Callable[..., None]:
    """Build what starts a kernel, or `parallel` with the address of one: it takes a block's address, and arrays'.

    Before the words of a call, a block has the function's address, and what it takes for `first` and `last`. The
    words are copied, and begin with the arrays' addresses there, so that threads may share a block. It raises
    MemoryError if the function has a status.
    """
    name, text = written()
    found = shipped.find(name, digest())
    code = linking.compiled(text) if found is None else found.code
    method = _Method(b"start", linking.address(code, NAME, _interface()), FAST_CALL, None)
    made = ctypes.pythonapi.PyCFunction_NewEx
    made.restype, made.argtypes = ctypes.py_object, [ctypes.POINTER(_Method), ctypes.c_void_p, ctypes.c_void_p]
    _kept.append(method)  # as Python keeps its address
    function: Callable[..., None] = made(ctypes.byref(method), None, None)
    return function


_kept: list[Any] = []


def _interface() -> dict[str, int]:
    """Return where Python's interface is."""
    functions = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in PYTHON}
    return functions | {ERROR: ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.pythonapi, ERROR))}


def written() -> tuple[str, str]:
    """Return the name by which the object of LLVM's code is kept, and this code."""
    text = str(_module())
    return f"start_{hashlib.sha256(text.encode()).hexdigest()[:16]}", text


def _module() -> ir.Module:
    module = ir.Module("start")
    python = {name: ir.Function(module, ir.FunctionType(*form), name) for name, form in PYTHON.items()}
    function = ir.Function(module, ir.FunctionType(OBJECT, [OBJECT, OBJECT.as_pointer(), WORD]), NAME)
    _, arguments, count = function.args
    here = ir.IRBuilder(function.append_basic_block())
    words = here.alloca(ir.ArrayType(WORD, WORDS))
    with here.if_then(here.icmp_signed("!=", count, WORD(1 + SLOTS)), likely=False):
        here.call(python["PyErr_BadArgument"], [])
        here.ret(OBJECT(None))
    given = [here.load(here.gep(arguments, [WORD(k)])) for k in range(1 + SLOTS)]
    block, *addresses = (here.call(python["PyLong_AsUnsignedLongLongMask"], [one]) for one in given)
    with here.if_then(here.icmp_unsigned("!=", here.call(python["PyErr_Occurred"], []), OBJECT(None)), likely=False):
        here.ret(OBJECT(None))
    kernel, first, last = (here.load(_pointer(here, block, 8 * k, WORD)) for k in range(3))
    copy = module.declare_intrinsic("llvm.memcpy", [OBJECT, OBJECT, WORD])
    source, size, volatile = _pointer(here, block, HEAD, OBJECT.pointee), WORD(8 * WORDS), ir.IntType(1)(0)
    here.call(copy, [here.bitcast(words, OBJECT), source, size, volatile])
    start = here.ptrtoint(words, WORD)
    for slot, address in enumerate(addresses):
        here.store(address, _pointer(here, start, 8 * slot, WORD))
    state = here.call(python["PyEval_SaveThread"], [])
    status = here.call(here.inttoptr(kernel, FORM.as_pointer()), [start, first, last])
    here.call(python["PyEval_RestoreThread"], [state])
    with here.if_then(here.icmp_signed("!=", status, WORD(0)), likely=False):
        text = ir.GlobalVariable(module, ir.ArrayType(ir.IntType(8), len(NO_MEMORY)), "no_memory")
        text.initializer = ir.Constant(text.value_type, bytearray(NO_MEMORY))
        error = here.load(ir.GlobalVariable(module, OBJECT, ERROR))
        here.call(python["PyErr_SetString"], [error, here.bitcast(text, OBJECT)])
        here.ret(OBJECT(None))
    here.ret(here.call(python["PyLong_FromLongLong"], [WORD(0)]))  # which is not made anew, as None would not be
    return module


def _pointer(here: ir.IRBuilder, address: Any, offset: int, kind: Any) -> Any:
    """View what lies at an offset from an address."""
    return here.inttoptr(here.add(address, WORD(offset)), kind.as_pointer())
