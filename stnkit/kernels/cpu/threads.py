"""How a kernel is run: on one thread, or on many where that pays and is safe.

The chunks of a call are the same on any number of threads, and so are its bits. What starts kernels is compiled once
for all of them: it calls them by their addresses. What hands pieces of the chunks to threads has the form of a kernel
itself, `status = parallel(words, kernel, pieces)`, so that it is started alike.
"""

import functools
import os
import threading
from collections.abc import Callable
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
from stnkit.kernels.cpu.call import CHUNKS, SLOTS, STATUS, WORDS, Arguments

HEAD = 8 * 3  # bytes of a block before the words of a call
SMALL = 1 << 18  # taps read, some 0.1 ms; below it, threads save less than they may lose

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
    if numba.config.NUMBA_NUM_THREADS == 1 or getattr(_limit, "threads", 2) == 1:  # none is started
        return 1
    if not _started:
        restores = [beside() for beside in beside_start]
        numba.get_num_threads()
        for restore in restores:
            restore()
        _started = True
    allowed: int = min(numba.get_num_threads(), getattr(_limit, "threads", numba.config.NUMBA_NUM_THREADS))
    return allowed


class at_most:  # a class, as a context manager that is written as a generator takes a microsecond
    """Run the kernels that this thread calls on no more than so many threads."""

    __slots__ = ("before", "threads")

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> None:
        self.before = getattr(_limit, "threads", numba.config.NUMBA_NUM_THREADS)
        _limit.threads = self.threads

    def __exit__(self, *_: object) -> None:
        _limit.threads = self.before


def launch(kernel: Kernel, call: Arguments, work: int) -> Launch:
    """Return what runs a kernel that reads `work` taps, as often as it is called.

    It takes the addresses of arrays, one for each slot, and raises MemoryError if there is no memory to work in.
    """
    if numba.config.DISABLE_JIT:
        return functools.partial(_interpret, kernel, np.array(call.words, np.int64), call.chunks)
    alone, shared = (np.array([0, 0, call.chunks, *call.words], np.int64) for _ in range(2))
    block, small, large = alone.ctypes.data, is_small(call, work), work >= busy.LARGE
    run, kind = None, (0, 0)

    def start(*addresses: int) -> None:
        nonlocal run, kind
        if monitor.ahead and monitor.taken(kernel):
            ready(not small)
            return
        if run is None:
            alone[0] = shared[1] = kernel.address
            kind, run = (kernel.address, work.bit_length()), starter()
        try:
            if small or not pays(work):
                run(block, *addresses)
            elif large:
                _on_threads(alone, shared, addresses)
            else:
                parallel()  # is compiled before it is timed
                begin = perf_counter()
                if balance.pauses(begin):
                    run(block, *addresses)
                    balance.note_alone(kind, work, perf_counter() - begin)
                else:
                    _on_threads(alone, shared, addresses)
                    end = perf_counter()
                    balance.note_threads(kind, work, end - begin, end)
        except MemoryError:
            raise _short_of_memory(kernel) from None

    return start


def serial(kernel: Kernel, call: Arguments, work: int) -> tuple[Launch, Any]:
    """Return what does the same for a call that is small, without more ado, and what has to live as long."""
    if numba.config.DISABLE_JIT:
        return launch(kernel, call, work), None
    block = np.array([kernel.address, 0, call.chunks, *call.words], np.int64)
    return functools.partial(starter(), block.ctypes.data), block


def is_small(call: Arguments, work: int) -> bool:
    """Tell whether a call runs on one thread in any case."""
    return work < SMALL or call.chunks == 1


def ready(threaded: bool) -> None:
    """Compile what starts kernels, and what hands chunks to threads, however many there are here."""
    starter()
    if threaded and not _forked:
        _allowed()  # as Numba starts threads to compile for them
        parallel()


def _on_threads(alone: np.ndarray, shared: np.ndarray, addresses: tuple[int, ...]) -> None:
    """Run a kernel on threads. Numba's layer `workqueue` aborts the process if it is entered twice."""
    guarded = numba.threading_layer() == "workqueue"
    if guarded and not _one_at_a_time.acquire(blocking=False):
        starter()(alone.ctypes.data, *addresses)
        return
    before, allowed = numba.get_num_threads(), _allowed()
    try:
        if allowed != before:
            numba.set_num_threads(allowed)
        shared[0], shared[2] = parallel(), min(alone[2], allowed)
        starter()(shared.ctypes.data, *addresses)
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
def run_piece(context, kernel, words, piece, pieces):
    """Call a kernel for one of so many pieces of its chunks; a status that tells of an error is a word of the call.

    A sum of all would be an array to Numba, which takes a third of the time to compile.
    """

    def generate(context, builder, signature, args):
        kernel, words, piece, pieces = args
        word = ir.IntType(64)
        where = builder.inttoptr(builder.add(words, word(8 * CHUNKS)), word.as_pointer())
        chunks, after = builder.load(where), builder.add(piece, word(1))
        ends = [builder.udiv(builder.mul(end, chunks), pieces) for end in (piece, after)]
        function = builder.inttoptr(kernel, ir.FunctionType(word, [word] * 3).as_pointer())
        status = builder.call(function, [words, *ends])
        with builder.if_then(builder.icmp_signed("!=", status, word(0)), likely=False):
            builder.store(status, builder.inttoptr(builder.add(words, word(8 * STATUS)), word.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def word(context, address, offset):
    """Read the 8 bytes at an offset from an address."""

    def generate(context, builder, signature, args):
        return builder.load(builder.inttoptr(builder.add(*args), ir.IntType(64).as_pointer()))

    return types.int64(types.int64, types.int64), generate


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
    """Compile what starts a kernel, or `parallel` with the address of one.

    Before the words of a call, a block has the function's address, and what it takes for `first` and `last`.
    """

    def start(block, a, b, c, d, e, f, g, h, i, j):
        words = filled(block + HEAD, a, b, c, d, e, f, g, h, i, j)
        if run(word(block, 0), words, word(block, 8), word(block, 16)):
            raise MemoryError("a kernel found no memory to work in")  # noqa: EM101  # as Numba compiles it

    start.__qualname__ = f"start_{digest(__name__):014x}"
    form = types.none(*[types.int64] * (1 + SLOTS))
    return cached(njit, start, form, nogil=True).get_overload(form)  # of one type: there is nothing to choose by


@functools.cache
def parallel() -> int:
    """Compile what calls a kernel for each piece of its chunks on some thread; return its address."""

    def parallel(words, kernel, pieces):
        for piece in prange(pieces):
            run_piece(kernel, words, piece, pieces)
        return word(words, 8 * STATUS)

    parallel.__qualname__ = f"parallel_{digest(__name__):014x}"
    return int(cached(cfunc, parallel, FORM, parallel=True).address)
