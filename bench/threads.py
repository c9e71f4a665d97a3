"""The number of threads, the same for every library."""

import os
import sys

OPTIONS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "NPROC")  # the last one is read by XLA


def usable() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fix(threads: int) -> None:
    """Set the most threads there will be, in this process and its children, before a library is imported.

    A pool that waits must not hold the other pools' cores.
    """
    os.environ |= dict.fromkeys(OPTIONS, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}


def use(threads: int) -> None:
    """Set how many threads the libraries use that were imported; XLA keeps what was fixed."""
    import numba

    numba.set_num_threads(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    if opencv := sys.modules.get("cv2"):
        opencv.setNumThreads(threads)
