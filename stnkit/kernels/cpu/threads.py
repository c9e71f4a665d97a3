"""How a kernel is run: on one thread, or on many where that pays and is safe.

The chunks of a call are the same on any number of threads, and so are its bits. What starts kernels is one for all of
them: it calls them by their addresses. What hands pieces of the chunks to threads has the form of a kernel itself,
`status = parallel(words, kernel, pieces)`, so that it is started alike.

Threads are Numba's. A process that has not imported it, as it has compiled nothing, does so once it pays: when what one
thread has done alone, and others might have shared, takes as long as that.
"""

import functools
import os
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from stnkit.kernels.compiler import monitor, settings
from stnkit.kernels.compiler.settings import interpreted
from stnkit.kernels.cpu import busy
from stnkit.kernels.cpu.busy import balance
from stnkit.kernels.cpu.call import SLOTS, Arguments
from stnkit.kernels.cpu.factories import Kernel
from stnkit.kernels.cpu.start import starter

ASLEEP = os.environ.get("OMP_WAIT_POLICY", "").strip().upper() == "PASSIVE"  # whether threads wait so, from the start
SMALL = 1 << (18 if ASLEEP else 16)  # taps read, some 25 us; below it, threads save less than it costs to start them
ANY = 1 << 30  # threads: as many as there are
IMPORT = 0.5  # seconds: of importing Numba, and of readying its threads

Run = Callable[..., None]  # takes as many addresses as there are slots
Restore = Callable[[], None]

beside_start: list[Callable[[], Restore]] = []  # what is called before threads are started, and what that returns after

_one_at_a_time = threading.Lock()
_limit = threading.local()  # of threads, for calls from this thread
_alone = 0  # taps that one thread has read, as Numba was not imported
_count: Callable[[], int] | None = None  # asks Numba how many threads it has, once they are started
_guarded = False  # whether they are those of its layer `workqueue`, which ends the process if it is entered twice
_forked = False


def _after_fork() -> None:
    """Keep a child of a process that has used threads serial: GNU OpenMP would end it."""
    global _forked
    numba = settings.numba()
    if numba is None:
        return
    try:
        numba.threading_layer()
    except ValueError:  # no threads were started before the fork
        return
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def cache_directory() -> str | None:
    """Return the directory that kernels are kept in; None if none can be written to, or nothing is compiled."""
    if interpreted():
        return None
    from stnkit.kernels.compiler import jit

    return jit.cache_directory_of(cache_directory)


def pays(work: int) -> bool:
    """Tell whether several threads are there and safe to use, and worth it for `work` taps."""
    return available(work) > 1


def available(work: int) -> int:
    """Return how many threads Numba has, if several are safe to use, and worth it for `work` taps; 1 if not."""
    if work < SMALL or _forked or _most() < 2:
        return 1
    if _count is None and (settings.most_threads() < 2 or not _imported(work)):
        return 1
    return _numba_threads()


def _most() -> int:
    """Return on how many threads a call from this thread may run."""
    return getattr(_limit, "threads", ANY)


def _imported(work: int) -> bool:
    """Tell whether Numba is imported, or is worth it: calls that were done without it took as long."""
    global _alone
    if settings.numba() is None:
        _alone += work
        return busy.GUESS * _alone >= IMPORT
    return True


def _numba_threads() -> int:
    """Return how many threads Numba has; start them, once."""
    global _count, _guarded
    if _count is None:
        import numba

        restores = [beside() for beside in beside_start]
        numba.get_num_threads()
        for restore in restores:
            restore()
        _guarded = numba.threading_layer() == "workqueue"  # which is known before another thread can see `_count`
        _count = numba.get_num_threads
    return _count()


class at_most:  # a class, as a context manager that is written as a generator takes a microsecond
    """Run the kernels that this thread calls on no more than so many threads."""

    __slots__ = ("before", "threads")

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> None:
        self.before = getattr(_limit, "threads", ANY)
        _limit.threads = self.threads

    def __exit__(self, *_: object) -> None:
        _limit.threads = self.before


def launch(kernel: Kernel, call: Arguments, work: int) -> Run:
    """Return what runs a kernel that reads `work` taps, as often as it is called.

    It takes the addresses of arrays, one for each slot, and raises MemoryError if there is no memory to work in.
    """
    if interpreted():
        return functools.partial(_interpret, kernel, np.array(call.words, np.int64), call.chunks)
    alone, shared = (np.array([0, 0, call.chunks, *call.words], np.int64) for _ in range(2))
    block, small, large = alone.ctypes.data, is_small(call, work), work >= busy.LARGE
    pieces, run, kind = shared.ctypes.data, None, (0, 0)

    def start(*addresses: int) -> None:
        nonlocal run, kind
        if monitor.ahead and monitor.taken(kernel):
            ready(not small)
            return
        if run is None:
            alone[0] = shared[1] = kernel.address
            kind, run = (kernel.address, work.bit_length()), starter()
        try:
            threads = 1 if small else available(work)
            if threads == 1:
                run(block, *addresses)
                return
            if not shared[0]:
                shared[0] = _parallel()  # is compiled before it is timed
            shared[2] = min(call.chunks, threads, _most())
            if large:
                _on_threads(run, pieces, block, threads, addresses)
            else:
                begin = perf_counter()
                if balance.pauses(begin):
                    run(block, *addresses)
                    balance.note_alone(kind, work, perf_counter() - begin)
                else:
                    _on_threads(run, pieces, block, threads, addresses)
                    end = perf_counter()
                    balance.note_threads(kind, work, end - begin, end)
        except MemoryError:
            raise _short_of_memory(kernel) from None

    return start


def serial(kernel: Kernel, call: Arguments, work: int) -> tuple[Run, Any]:
    """Return what does the same for a call that is small, without more ado, and what has to live as long."""
    if interpreted():
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
        _numba_threads()  # as Numba starts threads to compile for them
        _parallel()


def _parallel() -> int:
    """Return the address of what calls a kernel for each piece of its chunks on some thread."""
    from stnkit.kernels.cpu.parallel import parallel

    return parallel()


def _on_threads(run: Run, pieces: int, block: int, threads: int, addresses: tuple[int, ...]) -> None:
    """Run the pieces of a call on those of Numba's threads that this thread may use, or its block on one."""
    if _guarded and not _one_at_a_time.acquire(blocking=False):
        run(block, *addresses)
        return
    most = _most()
    try:
        if most < threads:
            settings.numba().set_num_threads(most)
        run(pieces, *addresses)
    finally:
        if most < threads:
            settings.numba().set_num_threads(threads)
        if _guarded:
            _one_at_a_time.release()


def _interpret(kernel: Kernel, words: np.ndarray, chunks: int, *addresses: int) -> None:
    """Run a kernel where Numba is told not to compile."""
    if monitor.ahead and monitor.taken(kernel):
        return
    block = words.copy()
    block[:SLOTS] = addresses
    from stnkit.kernels.compiler import jit

    jit.uncompiled.has_negative_strides = bool((block < 0).any())
    try:
        status = kernel.function(block.ctypes.data, 0, chunks)
    finally:
        jit.uncompiled.has_negative_strides = False
    if status:
        raise _short_of_memory(kernel)


def _short_of_memory(kernel: Kernel) -> MemoryError:
    return MemoryError(f"the kernel {kernel.name!r} found no memory to work in")
