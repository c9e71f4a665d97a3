"""XLA's call frame in machine code: what a handler gets, checked before it is trusted, and how it is answered.

A frame, like all that it points to, is an integer: an address. What answers one is compiled once for all kernels.
"""

import functools
from typing import Any

from numba import cfunc, types

from stnkit.jax.ffi.api import refuse
from stnkit.jax.ffi.layout import OFFSETS, VALUES, VERSION
from stnkit.jax.ffi.memory import clear, half, write
from stnkit.jax.ffi.pool import on_threads
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.jit import FORM, cached, inline
from stnkit.kernels.cpu.call import CHUNKS, WORDS
from stnkit.kernels.cpu.pieces import filled, run, word
from stnkit.kernels.cpu.words import words_at

# A constant of compiled code must be a number of its own.
EXTENSION, STAGE = (OFFSETS["CallFrame"][name] for name in ("extension_start", "stage"))
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
IS_METADATA, IS_EXECUTE, IS_ARRAY = (
    VALUES[name] for name in ("Extension_Metadata", "ExecutionStage_EXECUTE", "AttrType_ARRAY")
)

INVALID, EXHAUSTED = (VALUES[f"Error_Code_{name}"] for name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"))

READY, DONE, ODD_CALL, ODD_BUFFER = range(4)  # what `examine` finds
HEAD = 2  # words of the attribute before those of the buffers: how many operands, and how many results
# Words for each buffer: its format, how many elements it has, how many bytes to clear, its slot, and at which byte the
# element lies that a kernel takes for the first.
ABOUT = 5


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
    """Compile what answers a frame: `error = answer(frame, kernel, task)`.

    It runs a kernel: on this thread alone if `task` is 0, else with XLA's threads, which run that; see `pool.helper`.
    """

    def answer(frame, kernel, task):
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
        chunks = words_at(given)[CHUNKS]
        status = run(kernel, given, 0, chunks) if task == 0 else on_threads(frame, task, kernel, given, chunks)
        if status:
            return refuse(frame, "a kernel found no memory to work in", EXHAUSTED)
        return 0

    answer.__qualname__ = f"answer_{digest(__name__):014x}"  # as Numba's cache sees changes of this file alone
    return cached(cfunc, answer, FORM)
