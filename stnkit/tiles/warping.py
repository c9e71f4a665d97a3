"""Warping block by block, in bounded memory."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from stnkit import validation
from stnkit.calls.arguments import Array, DataFormat, FillValue, PaddingMode, Units
from stnkit.tiles import blocks as cutting
from stnkit.tiles.call import Call
from stnkit.tiles.record import Record, beside


def warp_blocks(
    image: Any,
    source: Any,
    out: Any,
    *,
    kind: str = "affine",
    chunks: str | Sequence[int] = "auto",
    memory: int | str = "256MB",
    workers: int = 1,
    progress: bool = False,
    resume: bool | str | os.PathLike[str] = False,
    mode: str = "bilinear",
    prefilter: bool = True,
    padding_mode: PaddingMode = "zeros",
    fill_value: FillValue = 0.0,
    align_corners: bool = False,
    coords: Units = "normalized",
    units: Units = "pixel",
    data_format: DataFormat = "channels_first",
    antialias: bool | int = False,
    control_points: Array | None = None,
) -> Any:
    """Sample an image that does not fit in memory, block by block, into an output that need not either.

    For each block of the output, the box of the image that it reads is loaded, sampled and dropped. However the output
    is cut into blocks, it has the same bits: those of one call with a source of double precision.

    Parameters
    ----------
    image : array, or anything with `shape`, `dtype` and `[]`
        The input, of shape (..., *S), or (..., *S, C) for channels last, with any number of axes before the spatial
        ones: an array of zarr or HDF5, a memory map, or an array of NumPy.
    source : array
        Theta of a map; or a flow or a grid, which is read block by block as the image is. If it has a batch axis, that
        is the first axis of the output, and that of the image, or the image's is of length 1.
    out : array, or anything with `shape`, `dtype` and `[]`
        Where the output is written, of the image's dtype, and apart from the image; its shape gives the output's size.
    kind : {"affine", "projective", "thin_plate_spline", "flow", "grid"}
        Which sampler.
    chunks : "auto", or sequence of int
        The shape of a block: a number for each axis of the output, or for each spatial axis. Multiples of the chunks
        that the output is stored in, so that each is written once. By default as large as `memory` allows.
    memory : int or str
        How many bytes to use, beside what the interpreter and the library take: a number, or as in "2GB" and "512MiB".
        A block that reads more of the image is done in parts.
    workers : int
        How many threads load, sample and write blocks. One thread samples with all of Numba's threads; several share
        them.
    progress : bool
        Whether to show a progress bar on standard error, if that is a terminal, which needs the package rich.
    resume : bool or path
        Where finished blocks are recorded, so that a run that was killed can go on where it was: a path, or True for a
        file beside the output, or in the folder of a zarr store. It is removed when all is done. What a killed process
        had written must still be there: open the output again, and do not make it anew.
    mode, prefilter, padding_mode, fill_value, align_corners, coords, units, data_format, control_points
        The options of the sampler; one that it does not have is refused.
    antialias : bool or int
        The option of the sampler. For True, which affine maps alone may have, the number is that of the axis and the
        item that need most. Flows and grids have none.

    Returns
    -------
    array
        `out`.

    Raises
    ------
    ValueError
        If a shape does not fit or a name is unknown; if a block cannot be made small enough for `memory`; or if
        `resume` names the record of another call. Nothing is written then.
    TypeError
        If a dtype is not supported or does not fit, or an argument is no array.
    OSError
        If the output cannot be written, as when a disk is full. With `resume`, what is finished is not done again.

    Notes
    -----
    A spline's coefficients are found for each block with a halo, after which the filter's weights are below rounding:
    with `prefilter=True`, results of splines differ from those of one call by a few ulps of the image's largest number.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.tiles import warp_blocks
    >>> image = np.arange(16.0).reshape(1, 4, 4)
    >>> turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    >>> warp_blocks(image, turn, np.empty_like(image), chunks=(2, 2))[0, 0]
    array([12.,  8.,  4.,  0.])
    """
    options = {"mode": mode, "prefilter": prefilter, "padding_mode": padding_mode, "align_corners": align_corners}
    options |= {"coords": coords, "units": units, "antialias": antialias}
    call = Call(image, source, out, kind, options, fill_value, data_format, control_points)
    workers = validation.count("workers", workers)
    if not isinstance(resume, (bool, str, os.PathLike)):
        msg = f"`resume` must be True, False or a path; got {resume!r}"
        raise TypeError(msg)
    budget = cutting.memory(memory) // workers
    shape = cutting.block_shape(out, call.spatial, chunks, call.batched, call.bytes_each(), budget // cutting.SHARE)
    blocks = cutting.blocks(tuple(out.shape), shape)
    record = None
    if resume is not False:
        record = Record(beside(out) if resume is True else resume, call.key(shape), len(blocks))
    left = list(enumerate(blocks)) if record is None else record.left(blocks)
    complete = False
    try:
        with _bar(progress, len(blocks), len(blocks) - len(left)) as advance:
            for i in _done(lambda block: call.write(block, budget), left, workers):
                if record is not None:
                    record.finished(i)
                advance()
        complete = True
    finally:
        if record is not None:
            record.close(complete)
    return out


def _done(work: Callable[[Any], None], left: Sequence[tuple[int, Any]], workers: int) -> Iterator[int]:
    """Do work in threads; yield the number of each block when it is done. The first error ends it."""
    if workers == 1:
        for i, block in left:
            work(block)
            yield i
        return
    pool = ThreadPoolExecutor(workers, initializer=_share_threads, initargs=(workers,))
    coming, waiting = iter(left), {}
    try:
        while True:
            for i, block in coming:
                waiting[pool.submit(work, block)] = i
                if len(waiting) >= 2 * workers:
                    break
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                i = waiting.pop(future)
                future.result()
                yield i
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_sharing = threading.Lock()


def _share_threads(workers: int) -> None:
    """Give a thread its share of Numba's."""
    import numba

    with _sharing:
        numba.set_num_threads(max(numba.get_num_threads() // workers, 1))


@contextmanager
def _bar(wanted: bool, total: int, done: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar, if it is wanted."""
    if not validation.flag("progress", wanted):
        yield lambda: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        msg = '`progress=True` needs the package rich: pip install "stnkit[cli]"'
        raise ImportError(msg) from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("blocks", total=total, completed=done)
        yield lambda: bar.advance(task)
