"""Kernels are compiled before the clock runs, by as many processes as there will be threads, into Numba's cache."""

import signal
from collections.abc import Sequence
from multiprocessing import get_context

from bench import calls
from bench.cases import Inputs
from bench.suite import everything


def ahead(names: Sequence[str], processes: int) -> None:
    """Call stnkit once for each of some cases. What fails here fails again where it is reported."""
    deaf = signal.signal, (signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to answer
    with get_context("spawn").Pool(processes, *deaf) as pool:
        pool.map(_once, names, chunksize=1)


def _once(name: str) -> None:
    case = everything()[name]
    try:
        calls.stnkit(case, Inputs(case)).call()
    except Exception:
        return
