"""XLA's call frame in machine code: what a handler gets, checked before it is trusted, and how it is answered.

A frame, like all that it points to, is an integer: an address. What answers one is compiled once for all kernels.
"""

import functools
import hashlib
from typing import Any

from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from stnkit.jax.ffi.busy import CLOCK, balanced, state
from stnkit.jax.ffi.layout import OFFSETS, VALUES, VERSION
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.jit import FORM, cached
from stnkit.kernels.cpu import busy
from stnkit.kernels.cpu.call import CHUNKS, WORDS
from stnkit.kernels.cpu.parallel import filled, run, word
from stnkit.kernels.cpu.words import words_at

inline = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# A constant of compiled code must be a number of its own.
EXTENSION, API, STAGE = (OFFSETS["CallFrame"][name] for name in ("extension_start", "api", "stage"))
COUNT, ARGS = OFFSETS["Args"]["size"], OFFSETS["CallFrame"]["args"] + OFFSETS["Args"]["args"]
ARG_COUNT, RET_COUNT = (OFFSETS["CallFrame"][name] + COUNT for name in ("args", "rets"))
RETS = OFFSETS["CallFrame"]["rets"] + OFFSETS["Rets"]["rets"]
ATTRS, ATTR_COUNT, ATTR_TYPES = (
    OFFSETS["CallFrame"]["attrs"] + OFFSETS["Attrs"][name] for name in ("attrs", "size", "types")
)
DTYPE, DATA, RANK, DIMS = (OFFSETS["Buffer"][name] for name in ("dtype", "data", "rank", "dims"))
LENGTH, ITEMS = OFFSETS["Array"]["size"], OFFSETS["Array"]["data"]
EXTENSION_TYPE, METADATA = OFFSETS["Extension_Base"]["type"], OFFSETS["Metadata_Extension"]["metadata"]
MAJOR, MINOR = (
    OFFSETS["Metadata"]["api_version"] + OFFSETS["Api_Version"][name] for name in ("major_version", "minor_version")
)
TRAITS = OFFSETS["Metadata"]["traits"]
CREATE = OFFSETS["Api"]["Error_Create"]
IS_METADATA, IS_EXECUTE, IS_ARRAY = (
    VALUES[name] for name in ("Extension_Metadata", "ExecutionStage_EXECUTE", "AttrType_ARRAY")
)

INVALID, EXHAUSTED = (VALUES[f"Error_Code_{name}"] for name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"))

READY, DONE, ODD_CALL, ODD_BUFFER = range(4)  # what `examine` finds
HEAD = 3  # words of the attribute before those of the buffers: how many operands, how many results, and the taps read
# Words for each buffer: its format, how many elements it has, how many bytes to clear, its slot, and at which byte the
# element lies that a kernel takes for the first.
ABOUT = 5


@intrinsic
def half(context, address, offset):
    """Read the 4 bytes at an offset from an address."""
    return types.int32(types.int64, types.int64), lambda _, b, __, args: b.load(_at(b, args[0], args[1], 32))


@intrinsic
def write(context, address, offset, value):
    """Write an integer of 4 or 8 bytes at an offset from an address."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _at(builder, args[0], args[1], args[2].type.width))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), generate


@intrinsic
def clear(context, address, count):
    """Set bytes to 0."""

    def generate(context, builder, signature, args):
        memory = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, memory, args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def refuse(context, frame, reason, code):
    """Let XLA make an error with a message and one of its codes, and return its address."""
    offsets = OFFSETS["Error_Create_Args"]
    size = offsets["errc"] + 4
    text = f"stnkit: {reason.literal_value}" if isinstance(reason, types.StringLiteral) else None

    def generate(context, builder, signature, args):
        number, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        given = cgutils.alloca_once(builder, ir.ArrayType(number, -(-size // 8)))
        start = builder.ptrtoint(given, number)
        message = builder.ptrtoint(context.insert_const_string(builder.module, text), number)
        for name, value in (("struct_size", number(size)), ("extension_start", number(0)), ("message", message)):
            builder.store(value, _at(builder, start, number(offsets[name]), 64))
        builder.store(builder.trunc(args[2], ir.IntType(32)), _at(builder, start, number(offsets["errc"]), 32))
        create = load(builder, load(builder, args[0], API), CREATE)
        function = builder.inttoptr(create, ir.FunctionType(byte, [byte]).as_pointer())
        return builder.ptrtoint(builder.call(function, [builder.inttoptr(start, byte)]), number)

    return (types.int64(types.int64, reason, types.int64), generate) if text else None


def _at(builder: Any, address: Any, offset: Any, bits: int) -> Any:
    """Return a pointer to a number of so many bits."""
    return builder.inttoptr(builder.add(address, offset), ir.IntType(bits).as_pointer())


def load(builder: Any, address: Any, offset: int) -> Any:
    """Build the code that reads the 8 bytes at an offset from an address."""
    return builder.load(_at(builder, address, ir.IntType(64)(offset), 64))


@inline
def buffer(frame, i, operands):
    """Return buffer number `i`: an operand, or past these a result."""
    if i < operands:
        return word(word(frame, ARGS), 8 * i)
    return word(word(frame, RETS), 8 * (i - operands))


@inline
def words(frame):
    """Return the numbers that were written at lowering: the only attribute."""
    return word(word(word(frame, ATTRS), 0), ITEMS)


@inline
def size(found):
    """Return the number of elements of a buffer."""
    total, dims = 1, word(found, DIMS)
    for axis in range(word(found, RANK)):
        total *= word(dims, 8 * axis)
    return total


@inline
def greet(frame):
    """Answer a query for the version of the interface; tell whether it was one."""
    extension = word(frame, EXTENSION)
    if extension == 0 or half(extension, EXTENSION_TYPE) != IS_METADATA:
        return False
    metadata = word(extension, METADATA)
    write(metadata, MAJOR, types.int32(VERSION[0]))
    write(metadata, MINOR, types.int32(VERSION[1]))
    write(metadata, TRAITS, types.int32(0))
    return True


@inline
def examine(frame):
    """Tell whether there is work to do, and whether the buffers are those that the numbers were written for.

    Results that are added to are cleared.
    """
    if greet(frame) or half(frame, STAGE) != IS_EXECUTE:
        return DONE
    if word(frame, ATTR_COUNT) != 1 or half(word(frame, ATTR_TYPES), 0) != IS_ARRAY:
        return ODD_CALL
    numbers, count = words(frame), word(word(word(frame, ATTRS), 0), LENGTH)
    if count < HEAD or word(frame, ARG_COUNT) != word(numbers, 0) or word(frame, RET_COUNT) != word(numbers, 8):
        return ODD_CALL
    operands, buffers = word(numbers, 0), word(numbers, 0) + word(numbers, 8)
    if count < HEAD + ABOUT * buffers + WORDS:
        return ODD_CALL
    for i in range(buffers):
        found, about = buffer(frame, i, operands), 8 * (HEAD + ABOUT * i)
        if half(found, DTYPE) != word(numbers, about) or size(found) != word(numbers, about + 8):
            return ODD_BUFFER
        clear(word(found, DATA), word(numbers, about + 16))
    return READY


@inline
def block(frame):
    """Return the kernel's block of words, which lie behind those of the buffers, without addresses."""
    numbers = words(frame)
    return numbers + 8 * (HEAD + ABOUT * (word(numbers, 0) + word(numbers, 8)))


@inline
def put_addresses(frame, given):
    """Write where the buffers of a frame lie into the slots of a block of words."""
    numbers = words(frame)
    for i in range(word(numbers, 0) + word(numbers, 8)):
        about = 8 * (HEAD + ABOUT * i)
        slot, first = word(numbers, about + 24), word(numbers, about + 32)
        write(given, 8 * slot, word(buffer(frame, i, word(numbers, 0)), DATA) + first)


@functools.cache
def answer() -> Any:
    """Compile what answers a frame: `error = answer(frame, function, first)`.

    It starts `function` from `first` on: a kernel, or what runs one on threads; see `start.starter`.
    """
    timed = CLOCK is not None  # a constant of compiled code

    def answer(frame, function, first):
        found = examine(frame)
        if found == ODD_CALL:
            return refuse(
                frame, "a custom call has other operands, results or attributes than it was lowered with", INVALID
            )
        if found == ODD_BUFFER:
            return refuse(
                frame, "a buffer of a custom call has another dtype or size than it was lowered with", INVALID
            )
        if found == DONE:
            return 0
        given = filled(block(frame))
        put_addresses(frame, given)
        work, chunks = word(words(frame), 16), words_at(given)[CHUNKS]
        if timed and first != 0 and work < busy.LARGE:
            status = balanced(state(), function, given, first, chunks, work)
        else:
            status = run(function, given, first, chunks)
        if status:
            return refuse(frame, "a kernel found no memory to work in", EXHAUSTED)
        return 0

    parts = OFFSETS, VALUES, VERSION, digest("stnkit.jax.ffi.busy"), timed
    about = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    answer.__qualname__ = f"answer_{about}"  # as Numba's cache sees changes of this file alone
    return cached(cfunc, answer, FORM)
