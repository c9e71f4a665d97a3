"""Which chunks of an image each chunk of an output reads: found once, while the graph is made."""

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from stnkit.dask.axes import Chunks, edges
from stnkit.dask.tasks import Box, Index, Job

Known = Callable[[slice, Box], Any]  # what bounds a part of the output, as `boxes` takes it; None if it reads nothing


class Reads(NamedTuple):
    """For each chunk of the output's batch and spatial axes, in their order: what it reads of the spatial axes."""

    first: np.ndarray  # chunk of the image on each axis, (chunks of the batch or 1, *chunks, d)
    many: np.ndarray  # of chunks; those after the last one are counted on from the first. 0 if nothing is read
    bytes: int  # the most that one chunk reads

    def near(self, index: Index, counts: Index) -> Iterator[Index]:
        """Give the chunks that a chunk reads, where axes have so many of them."""
        at = (index[0] if len(self.first) > 1 else 0, *index[1:])
        ranges = zip(self.first[at].tolist(), self.many[at].tolist(), counts, strict=True)
        return product(*([(first + k) % n for k in range(count)] for first, count, n in ranges))


def reads(job: Job, known: Known | None = None) -> Reads:
    """Find what each chunk of an output reads."""
    batch, _, spatial = job.output.apart(job.output_chunks, (1,))
    batch_image, channels, chunks = job.image.apart(job.image_chunks, (1,))
    rows = (1,) if job.shared else batch
    shape = (len(rows), *map(len, spatial), job.image.ndim)
    if job.whole:
        counts = np.broadcast_to(np.array(list(map(len, chunks)), np.int32), shape)
        return Reads(np.broadcast_to(np.int32(0), shape), counts, 0)
    starts = np.zeros(shape, np.int64)
    stops = np.zeros_like(starts)
    parts = [_slices(sizes) for sizes in spatial]
    for n, items in enumerate(_slices(rows)):
        for where in product(*map(range, map(len, parts))):
            box = _box(job, known, items, tuple(part[k] for part, k in zip(parts, where, strict=True)))
            if box is not None:
                starts[n, *where] = [part.start for part in box]
                stops[n, *where] = [part.stop for part in box]
    pixels = (stops - starts).prod(axis=-1).max(initial=0)
    together = max(batch_image) if len(batch_image) > 1 else min(max(batch, default=0), max(batch_image))
    size = int(pixels) * together * max(channels, default=0) * job.dtype.itemsize
    return Reads(*_chunks_of(starts, stops, chunks), size)


def _box(job: Job, known: Known | None, items: slice, spatial: Box) -> Box | None:
    if any(part.start == part.stop for part in spatial):
        return None
    assert known is not None
    bounds = known(items, spatial)
    return None if bounds is None else job.boxes.reads.box(bounds, spatial)


def _slices(sizes: Index) -> list[slice]:
    return [slice(start, stop) for start, stop in pairwise(edges(sizes))]


def _chunks_of(starts: np.ndarray, stops: np.ndarray, chunks: Chunks) -> tuple[np.ndarray, np.ndarray]:
    """Return the first chunk of each box on each axis, and how many there are."""
    first, count = np.zeros(starts.shape, np.int32), np.zeros(starts.shape, np.int32)
    for axis, sizes in enumerate(chunks):
        ends, n = np.array(edges(sizes)), len(sizes)
        start, stop = starts[..., axis], stops[..., axis]
        begin = np.searchsorted(ends, start, "right") - 1
        wraps = stop > ends[-1]
        end = np.searchsorted(ends, np.where(wraps, stop - ends[-1], stop), "left") + np.where(wraps, n, 0)
        first[..., axis] = np.minimum(begin, n - 1)
        count[..., axis] = np.where(stop > start, np.clip(end - begin, 0, n), 0)
    return first, count
