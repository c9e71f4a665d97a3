"""How a kernel is run: on one thread, or on many where that pays and is safe.

The chunks of a call are the same on any number of threads, and so are its bits. What starts kernels is compiled once
for all of them: it calls them by their addresses. What hands chunks to threads has the form of a kernel itself,
`status = parallel(words, kernel, chunks)`, so that it is started alike.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import cfunc, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from stnkit.kernels.compiler import jit, monitor
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.jit import FORM, Kernel, cached
from stnkit.kernels.cpu import busy
from stnkit.kernels.cpu.busy import balance
from stnkit.kernels.cpu.call import SLOTS, WORDS, Call

SMALL = 1 << 16  # taps read; below it, threads save less than they may lose

Launch = Callable[..., None]  # takes as many addresses as there are slots
Restore = Callable[[], None]

beside_start: list[Callable[[], Restore]] = []  # what is called before threads are started, and what that returns after

_one_at_a_time = threading.Lock()
_limit = threading.local()  # of threads, for calls from this thread
_started = False
_forked = False


def _after_fork() -> None:
    """Keep a child of a process that has used threads serial: GNU OpenMP would end it."""
    global _forked
    try:
        numba.threading_layer()
    except ValueError:  # no threads were started before the fork
        return
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def cache_directory() -> str | None:
    """Return the directory that kernels are kept in; None if none can be written to, or nothing is compiled."""
    return None if numba.config.DISABLE_JIT else jit.cache_directory_of(cache_directory)


def pays(work: int) -> bool:
    """Tell whether several threads are there and safe to use, and worth it for `work` taps."""
    return work >= SMALL and not _forked and _allowed() > 1


def _allowed() -> int:
    """Return on how many threads a call may run; start them, once."""
    global _started
    if numba.config.NUMBA_NUM_THREADS == 1:
        return 1
    if not _started:
        restores = [beside() for beside in beside_start]
        numba.get_num_threads()
        for restore in restores:
            restore()
        _started = True
    allowed: int = min(numba.get_num_threads(), getattr(_limit, "threads", numba.config.NUMBA_NUM_THREADS))
    return allowed


@contextlib.contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Run the kernels that this thread calls on no more than so many threads."""
    before = getattr(_limit, "threads", numba.config.NUMBA_NUM_THREADS)
    _limit.threads = threads
    try:
        yield
    finally:
        _limit.threads = before


def launch(kernel: Kernel, call: Call, work: int) -> Launch:
    """Return what runs a kernel that reads `work` taps, as often as it is called.

    It takes the addresses of arrays, one for each slot, and raises MemoryError if there is no memory to work in.
    """
    words = np.array(call.words, np.int64)
    if numba.config.DISABLE_JIT:
        return functools.partial(_interpret, kernel, words, call.chunks)
    block, chunks = words.ctypes.data, call.chunks
    small, large = work < SMALL or chunks == 1, work >= busy.LARGE
    run, at, kind = None, 0, (0, 0)

    def start(*addresses: int, _words: np.ndarray = words) -> None:  # which has to live as long
        nonlocal run, at, kind
        if monitor.ahead and monitor.taken(kernel):
            ready(not small)
            return
        if run is None:
            at, run = kernel.address, starter()
            kind = at, work.bit_length()
        if small or not pays(work):
            status = run(at, 0, block, chunks, *addresses)
        elif large:
            status = _on_threads(at, block, chunks, addresses)
        else:
            parallel()  # is compiled before it is timed
            begin = perf_counter()
            if balance.pauses(begin):
                status = run(at, 0, block, chunks, *addresses)
                balance.note_alone(kind, work, perf_counter() - begin)
            else:
                status = _on_threads(at, block, chunks, addresses)
                end = perf_counter()
                balance.note_threads(kind, work, end - begin, end)
        if status:
            raise _short_of_memory(kernel)

    return start


def ready(threaded: bool) -> None:
    """Compile what starts kernels, and what hands chunks to threads, however many there are here."""
    starter()
    if threaded and not _forked:
        _allowed()  # as Numba starts threads to compile for them
        parallel()


def _on_threads(kernel: int, block: int, chunks: int, addresses: tuple[int, ...]) -> int:
    """Run a kernel on threads. Numba's layer `workqueue` aborts the process if it is entered twice."""
    guarded = numba.threading_layer() == "workqueue"
    if guarded and not _one_at_a_time.acquire(blocking=False):
        return int(starter()(kernel, 0, block, chunks, *addresses))
    before, allowed = numba.get_num_threads(), _allowed()
    try:
        if allowed != before:
            numba.set_num_threads(allowed)
        return int(starter()(parallel(), kernel, block, chunks, *addresses))
    finally:
        if allowed != before:
            numba.set_num_threads(before)
        if guarded:
            _one_at_a_time.release()


def _interpret(kernel: Kernel, words: np.ndarray, chunks: int, *addresses: int) -> None:
    """Run a kernel where Numba is told not to compile."""
    if monitor.ahead and monitor.taken(kernel):
        return
    block = words.copy()
    block[:SLOTS] = addresses
    jit.uncompiled.has_negative_strides = bool((block < 0).any())
    try:
        status = kernel.function(block.ctypes.data, 0, chunks)
    finally:
        jit.uncompiled.has_negative_strides = False
    if status:
        raise _short_of_memory(kernel)


def _short_of_memory(kernel: Kernel) -> MemoryError:
    return MemoryError(f"the kernel {kernel.name!r} found no memory to work in")


@intrinsic
def run(context, kernel, words, first, last):
    """Call a kernel, or what has its form, by its address."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word] * 3).as_pointer())
        return builder.call(function, args[1:])

    return types.int64(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def filled(context, block, *addresses):
    """Return the address of a copy of a block of words, on the stack, that begins with the addresses given."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        words = cgutils.alloca_once(builder, ir.ArrayType(word, WORDS))
        cgutils.raw_memcpy(builder, words, builder.inttoptr(args[0], words.type), ir.Constant(word, 8 * WORDS), 1)
        for slot, address in enumerate(cgutils.unpack_tuple(builder, args[1], len(addresses))):
            builder.store(address, cgutils.gep_inbounds(builder, words, 0, slot))
        return builder.ptrtoint(words, word)

    return types.int64(types.int64, types.BaseTuple.from_types(addresses)), generate


@functools.cache
def starter() -> Any:
    """Compile what starts a kernel, from 0 on, or `parallel` with the address of one."""

    def start(function, first, block, chunks, a, b, c, d, e, f, g, h, i, j):
        return run(function, filled(block, a, b, c, d, e, f, g, h, i, j), first, chunks)

    start.__qualname__ = f"start_{digest(__name__):014x}"
    return cached(njit, start, types.int64(*[types.int64] * (4 + SLOTS)), nogil=True)


@functools.cache
def parallel() -> int:
    """Compile what calls a kernel for each chunk on some thread; return its address."""

    def parallel(words, kernel, chunks):
        failed = 0
        for chunk in prange(chunks):
            failed += run(kernel, words, chunk, chunk + 1)
        return failed

    parallel.__qualname__ = f"parallel_{digest(__name__):014x}"
    return int(cached(cfunc, parallel, FORM, parallel=True).address)
