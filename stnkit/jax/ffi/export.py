"""Programs of `jax.export`: how the process that runs one finds the kernels that another process lowered it to.

In such a program every kernel is called by one name, and what it is stands behind its numbers, as text. That name is
registered when `stnkit.jax` is imported. What answers to it is Python: it finds the kernel by the text, or
compiles it, and starts it. The interpreter's lock is not held while the kernel runs.
"""

import contextlib
import ctypes
import functools
import json

import jax
import numba
import numpy as np

import stnkit
from stnkit.jax.ffi import frame as frames
from stnkit.jax.ffi import handlers
from stnkit.jax.ffi.layout import OFFSETS, VALUES, VERSION, is_known
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cpu import factories
from stnkit.kernels.cpu.call import Arguments
from stnkit.plans.launch import Launch
from stnkit.spec import Spec

TARGET = "stnkit"
API, CREATE = OFFSETS["CallFrame"]["api"], OFFSETS["Api"]["Error_Create"]

_FACTORIES = {one.name: one for one in vars(factories).values() if isinstance(one, factories.Factory)}


def described(launch: Launch) -> list[int]:
    """Return words that say which kernel a call runs; the last is the length of the text in those before it."""
    about = {
        "version": stnkit.__version__,
        "kernel": launch.kernel.name,
        "spec": launch.spec,
        "work": launch.work,
        "chunks": launch.call.chunks,
    }
    text = json.dumps(about).encode()
    return [*np.frombuffer(text + bytes(-len(text) % 8), np.int64).tolist(), len(text)]


@functools.cache
def found(text: bytes) -> tuple[int, int]:
    """Return what is started for the kernel that a text describes; see `handlers.started`.

    Raises
    ------
    ValueError
        If another version of stnkit wrote the text: its kernels may take other words.
    """
    about = json.loads(text)
    if about["version"] != stnkit.__version__:
        msg = f"the program was exported by stnkit {about['version']}, and this is {stnkit.__version__}: export it anew"
        raise ValueError(msg)
    fields = (tuple(field) if isinstance(field, list) else field for field in about["spec"])
    spec = Spec._make(fields)._replace(digest=digest())
    call = Arguments(chunks=about["chunks"])
    return handlers.started(Launch(_FACTORIES[about["kernel"]], spec, about["work"], call, ()))


def answer(frame: int) -> int:
    """Run the kernel that a call frame asks for; return 0, or the address of an error of XLA's."""
    try:
        if _greeted(frame) or _half(frame + frames.STAGE) != frames.IS_EXECUTE:
            return 0
        array = _word(_word(frame + frames.ATTRS))
        count, start = _word(array + frames.LENGTH), _word(array + frames.ITEMS)
        length = _word(start + 8 * (count - 1))
        text = ctypes.string_at(start + 8 * (count - 1) - (length + 7) // 8 * 8, length)
        status: int = frames.answer().ctypes(frame, *found(text))
    except Exception as error:  # XLA calls this from C++, which cannot catch it
        return _refused(frame, f"stnkit: {type(error).__name__}: {error}")
    return status


def _greeted(frame: int) -> bool:
    """Answer a query for the version of the interface; tell whether it was one."""
    extension = _word(frame + frames.EXTENSION)
    if extension == 0 or _half(extension + frames.EXTENSION_TYPE) != frames.IS_METADATA:
        return False
    metadata = _word(extension + frames.METADATA)
    for at, value in ((frames.MAJOR, VERSION[0]), (frames.MINOR, VERSION[1]), (frames.TRAITS, 0)):
        ctypes.c_int32.from_address(metadata + at).value = value
    return True


def _refused(frame: int, reason: str) -> int:
    """Let XLA make an error, and return its address."""
    message = ctypes.create_string_buffer(reason.encode())
    size = OFFSETS["Error_Create_Args"]["errc"] + 4
    given = (ctypes.c_int64 * -(-size // 8))()
    fields = {
        "struct_size": size,
        "message": ctypes.addressof(message),
        "errc": VALUES["Error_Code_INVALID_ARGUMENT"],
    }
    for name, value in fields.items():
        ctypes.c_int64.from_address(ctypes.addressof(given) + OFFSETS["Error_Create_Args"][name]).value = value
    create = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(_word(_word(frame + API) + CREATE))
    error: int = create(ctypes.addressof(given))
    return error


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _half(address: int) -> int:
    return ctypes.c_int32.from_address(address).value


if is_known() and not numba.config.DISABLE_JIT:
    _answer = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(answer)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_answer))  # XLA keeps its address, so it must live
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # a copy of this module has the name, and answers alike
        handlers.register(TARGET, _answer)
