"""Kernels are compiled before the clock runs, by as many processes as there will be threads, into Numba's cache."""

import contextlib
import math
import multiprocessing
import signal
import time
from collections.abc import Sequence

from bench import calls
from bench.cases import Inputs
from bench.suite import everything


def ahead(names: Sequence[str], processes: int, seconds: float = math.inf) -> set[str]:
    """Call stnkit once for each of some cases, and return those that were called before the time was over.

    What fails here fails again where it is reported.
    """
    deaf = signal.signal, (signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to answer
    end, ready = time.monotonic() + seconds, set()
    with multiprocessing.get_context("spawn").Pool(processes, *deaf) as pool:
        called = pool.imap_unordered(_once, names)
        while len(ready) < len(names):
            try:
                left = end - time.monotonic()
                ready.add(called.next(None if math.isinf(left) else max(left, 0.0)))
            except multiprocessing.TimeoutError:
                break
    return ready


def _once(name: str) -> str:
    case = everything()[name]
    with contextlib.suppress(Exception):
        calls.stnkit(case, Inputs(case)).call()
    return name
