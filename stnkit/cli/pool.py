"""Work in several processes at once."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

EACH = 16  # items that a process does before another takes its place: what is compiled takes memory


def results(work: Callable[[Any], Any], items: Sequence[Any], jobs: int) -> Iterator[Any]:
    """Do work for each item, in so many new processes at once; yield what it returns once it is done.

    Raises
    ------
    ValueError
        If a process ended before its work was done.
    """
    context = multiprocessing.get_context("spawn")  # as Numba's threads do not survive a fork
    for first in range(0, len(items), EACH * jobs):
        with ProcessPoolExecutor(jobs, context, _interruptible) as pool:
            try:
                for done in as_completed([pool.submit(work, item) for item in items[first : first + EACH * jobs]]):
                    yield done.result()
            except BrokenProcessPool as error:
                message = "a process that compiled ended early; if memory was short, use fewer --jobs"
                raise ValueError(message) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _interruptible() -> None:
    """Let Ctrl-C end a process that compiles, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
