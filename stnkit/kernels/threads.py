"""Which twin of a kernel runs: the parallel one, or the serial one where threads would not pay or be safe.

Both twins come from one factory and give the same bits, so the choice is free at every call.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numba

from stnkit.kernels import compiling
from stnkit.spec import Spec

SMALL = 1 << 15  # taps read; below it, starting threads costs more than the work

_one_at_a_time = threading.Lock()
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


def pays(work: int) -> bool:
    """Tell whether several threads are there and safe to use, and worth it for `work` taps."""
    return work >= SMALL and not _forked and numba.get_num_threads() > 1


def launch(factory: Callable[[Spec], Any], spec: Spec, work: int, *args: Any) -> None:
    """Run the kernel that `factory` builds for `spec` on `work` taps; compile it alone, in a call made ahead."""
    if compiling.ahead and (tally := compiling.tally()) is not None:
        tally.take(factory, spec._replace(parallel=pays(work)), args)
    elif not pays(work):
        factory(spec)(*args)
    elif numba.threading_layer() != "workqueue":
        factory(spec._replace(parallel=True))(*args)
    elif _one_at_a_time.acquire(blocking=False):  # this layer aborts the process if it is entered twice
        try:
            factory(spec._replace(parallel=True))(*args)
        finally:
            _one_at_a_time.release()
    else:
        factory(spec)(*args)
