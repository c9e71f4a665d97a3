"""The functions that XLA offers to what it calls, in machine code. A frame is an address, and an error one too."""

from collections.abc import Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stnkit.jax.ffi.layout import OFFSETS
from stnkit.jax.ffi.memory import at, load

_WORD, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()


def _called(builder: Any, frame: Any, function: str, fields: Mapping[str, Any]) -> Any:
    """Build the call of one of XLA's functions, whose arguments are the fields of a structure; return what it does."""
    offsets = OFFSETS[f"{function}_Args"]
    last = max(offsets, key=lambda name: offsets[name])
    size = offsets[last] + fields[last].type.width // 8
    given = cgutils.alloca_once(builder, ir.ArrayType(_WORD, -(-size // 8)))
    start = builder.ptrtoint(given, _WORD)
    for name, value in {"struct_size": _WORD(size), "extension_start": _WORD(0), **fields}.items():
        builder.store(value, at(builder, start, _WORD(offsets[name]), value.type.width))
    address = load(builder, load(builder, frame, OFFSETS["CallFrame"]["api"]), OFFSETS["Api"][function])
    code = builder.inttoptr(address, ir.FunctionType(_BYTES, [_BYTES]).as_pointer())
    return builder.ptrtoint(builder.call(code, [builder.inttoptr(start, _BYTES)]), _WORD)


def _succeeded(builder: Any, frame: Any, function: str, fields: Mapping[str, Any]) -> Any:
    """Build a call within the context of a frame; return whether there was no error, of which nothing else is kept."""
    context = load(builder, frame, OFFSETS["CallFrame"]["ctx"])
    error = _called(builder, frame, function, {"ctx": context, **fields})
    failed = builder.icmp_signed("!=", error, _WORD(0))
    with builder.if_then(failed, likely=False):
        _called(builder, frame, "Error_Destroy", {"error": error})
    return builder.not_(failed)


@intrinsic
def refuse(context, frame, reason, code):
    """Let XLA make an error with a message and one of its codes, and return its address."""
    text = f"stnkit: {reason.literal_value}" if isinstance(reason, types.StringLiteral) else None

    def generate(context, builder, signature, args):
        message = builder.ptrtoint(context.insert_const_string(builder.module, text), _WORD)
        fields = {"message": message, "errc": builder.trunc(args[2], ir.IntType(32))}
        return _called(builder, args[0], "Error_Create", fields)

    return (types.int64(types.int64, reason, types.int64), generate) if text else None


@intrinsic
def thread_count(context, frame):
    """Return how many threads XLA runs programs on; 0 if it does not say."""

    def generate(context, builder, signature, args):
        found = cgutils.alloca_once_value(builder, _WORD(0))
        fields = {"num_threads": builder.ptrtoint(found, _WORD)}
        _succeeded(builder, args[0], "ThreadPool_NumThreads", fields)
        return builder.load(found)

    return types.int64(types.int64), generate


@intrinsic
def schedule(context, frame, task, data):
    """Let XLA call `task(data)`, by its address, on one of its threads; tell whether it will."""

    def generate(context, builder, signature, args):
        return _succeeded(builder, args[0], "ThreadPool_Schedule", {"task": args[1], "data": args[2]})

    return types.boolean(types.int64, types.int64, types.int64), generate
