"""A plugin for workers: kernels are there before the first task that needs them."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distributed import WorkerPlugin

from stnkit.dask import graphs
from stnkit.dask.axes import spans, whole
from stnkit.dask.layers import makers
from stnkit.dask.tasks import Job, pull, sample
from stnkit.kernels.compiler import monitor


class Prepare(WorkerPlugin):  # type: ignore[misc]  # Dask's classes have no types here
    """Compile the kernels of Dask arrays on each worker before tasks come; one process compiles, the others load.

    Parameters
    ----------
    *arrays : dask.array.Array
        What the functions of `stnkit.dask` returned, or what was made of it.

    Raises
    ------
    TypeError
        If an array is none of these.

    Notes
    -----
    Kernels are kept on disk, where `NUMBA_CACHE_DIR` or the package is. Processes that share this directory wait for
    the first one; machines with directories of their own compile once each.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit
    >>> moved = stnkit.affine_sample(da.ones((1, 8, 8), chunks=4), np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.0]]))
    >>> plugin = stnkit.dask.Prepare(moved)  # then `client.register_plugin(plugin)`
    >>> plugin.name
    'stnkit-prepare'
    """

    name = "stnkit-prepare"

    def __init__(self, *arrays: Any) -> None:
        self.jobs = [job for array in arrays for job in jobs(array)]
        if not self.jobs:
            msg = "`arrays` must be Dask arrays that the functions of stnkit.dask returned, or that were made of them"
            raise TypeError(msg)

    async def setup(self, worker: Any) -> None:
        """Compile, beside what else the worker does."""
        await asyncio.to_thread(self.compile)

    def compile(self) -> None:
        """Compile the kernels of all jobs, in this process."""
        from stnkit.kernels.cpu.threads import cache_directory

        with alone_in(cache_directory()):
            for job in self.jobs:
                compile_task(job)


def jobs(array: Any) -> Iterator[Job]:
    """Give what the tasks of an array share, for each call that it is made of."""
    for make in makers(array):
        if make.func in (graphs.sampled, graphs.pulled):
            yield make.args[0]


def compile_task(job: Job) -> None:
    """Compile what a task in the middle of an output runs, and one at its beginning; no pixel is read."""
    blank = replace(job, store=Blank(job), image_chunks=whole(map(sum, job.image_chunks)))
    for index in {tuple(len(sizes) // 2 for sizes in job.output_chunks), (0,) * len(job.output_chunks)}:
        shape = tuple(part.stop - part.start for part in spans(job.output_chunks, index))
        batch, _, spatial = job.output.apart(shape, 1)
        given = []
        if job.theta is None:
            own = (*spatial, len(spatial))
            flow = np.zeros((1 if job.shared else batch, *own) if len(job.source_chunks) > len(own) else own)
            given = [flow.astype(job.source_dtype)]
        with monitor.collecting():
            if job.function.endswith("_vjp"):
                pull(blank, index, (), (), np.zeros(shape, job.dtype), *given)
            else:
                sample(blank, index, (), (), *given)


class Blank:
    """An image without pixels, that the system has not to find memory for."""

    def __init__(self, job: Job) -> None:
        self.dtype = job.dtype

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        return np.zeros([part.stop - part.start for part in where], self.dtype)


@contextlib.contextmanager
def alone_in(directory: str | None) -> Iterator[None]:
    """Let no other process that asks for the same directory in, where the system has locks on files."""
    try:
        import fcntl
    except ImportError:
        fcntl = None  # type: ignore[assignment]  # on Windows, each process compiles
    if fcntl is None or directory is None:
        yield
        return
    Path(directory).mkdir(parents=True, exist_ok=True)
    with (Path(directory) / "stnkit-prepare.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
