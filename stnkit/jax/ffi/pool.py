"""A kernel's chunks on XLA's own threads, which run all else that a program does.

XLA promises no more than to run what is scheduled at some time, and a thread that waits for that may be the one which
would run it. So the thread that is called does pieces of the chunks itself, as long as there are any, and waits only
for those that others have begun. Who comes late finds nothing to do. What is shared is counted by its references, and
freed with the last.
"""

import functools
import os

from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from stnkit.jax.ffi.api import schedule, thread_count
from stnkit.jax.ffi.memory import add, current, write
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.jit import cached, free, inline, malloc
from stnkit.kernels.cpu.call import STATUS
from stnkit.kernels.cpu.pieces import run, run_piece, word

LEAST_WORK = 1 << 16  # taps read; below it, XLA's threads save no more than it takes to wake them
PIECES = 4  # for each thread: so long, at most, is one alone with the last of them
# What is shared, in bytes from its start: which piece is next, how many are done, the count of references, how many
# pieces there are, and the addresses of the kernel and of its words.
NEXT, DONE, REFERENCES, PIECE_COUNT, KERNEL, GIVEN, SIZE = range(0, 56, 8)


@intrinsic
def yield_core(context):
    """Let another thread have this one's core, where there is such a function."""

    def generate(context, builder, signature, args):
        if hasattr(os, "sched_yield"):
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@inline
def work(shared):
    """Do pieces, as long as there is one that nobody has begun."""
    pieces, piece = word(shared, PIECE_COUNT), add(shared, NEXT, 1)
    while piece < pieces:
        run_piece(word(shared, KERNEL), word(shared, GIVEN), piece, pieces)
        add(shared, DONE, 1)
        piece = add(shared, NEXT, 1)


@inline
def release(shared, references):
    """Drop references; free the memory with the last."""
    if add(shared, REFERENCES, -references) == references:
        free(shared)


@functools.cache
def helper() -> int:
    """Compile the task that XLA's threads run; return its address."""

    def helper(shared):
        work(shared)
        release(shared, 1)

    helper.__qualname__ = f"helper_{digest(__name__):014x}"
    return int(cached(cfunc, helper, types.void(types.int64)).address)


@inline
def on_threads(frame, task, kernel, words, chunks):
    """Run a kernel on all of its chunks, with the help of XLA's threads; return a status."""
    threads = thread_count(frame)
    shared = malloc(SIZE) if threads > 1 else 0
    if shared == 0:
        return run(kernel, words, 0, chunks)
    pieces = min(chunks, PIECES * threads)
    helpers, missing = min(threads, pieces) - 1, 0
    write(shared, NEXT, 0)
    write(shared, DONE, 0)
    write(shared, REFERENCES, helpers + 1)
    write(shared, PIECE_COUNT, pieces)
    write(shared, KERNEL, kernel)
    write(shared, GIVEN, words)
    for _ in range(helpers):
        missing += 0 if schedule(frame, task, shared) else 1
    work(shared)
    while current(shared, DONE) < pieces:
        yield_core()
    release(shared, 1 + missing)
    return word(words, 8 * STATUS)
