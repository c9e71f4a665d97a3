"""What Numba is told by the environment: it is not imported to be asked."""

import os
import sys
from typing import Any


def numba() -> Any:
    """Return Numba if this process has imported it, else None."""
    found = sys.modules.get("numba")
    return found if hasattr(found, "config") else None  # which is missing while it is being imported


def interpreted() -> bool:
    """Tell whether nothing is compiled, and kernels are run as Python."""
    found = numba()
    return bool(found.config.DISABLE_JIT if found else _number("NUMBA_DISABLE_JIT", 0))


def most_threads() -> int:
    """Return how many threads Numba has, or would start."""
    found = numba()
    return int(found.config.NUMBA_NUM_THREADS) if found else _number("NUMBA_NUM_THREADS", processors())


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(variable: str, default: int) -> int:
    """Read a number; what is none is left to Numba to complain of."""
    text = os.environ.get(variable, "").strip()
    return int(text) if text.isdigit() else default
