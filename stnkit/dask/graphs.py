"""The tasks of a call: one for each chunk of the output, and those that add cotangents up."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from stnkit.dask import tasks
from stnkit.dask._compat import DataNode, List, Task, TaskRef
from stnkit.dask.axes import Axes, Chunks, spans, whole
from stnkit.dask.layers import Graph, Key
from stnkit.dask.reads import Reads
from stnkit.dask.tasks import Index, Job

FAN_IN = 8  # terms of a sum in one task


def sampled(job: Job, found: Reads | None, name: str, inputs: Sequence[str]) -> Graph:
    """Return a task for each chunk of an output; `inputs` are the image, if it has chunks, and a flow or a grid."""
    return _each(tasks.sample, job, found, name, inputs)


def pulled(job: Job, found: Reads | None, name: str, inputs: Sequence[str]) -> Graph:
    """Return a task for each chunk of a cotangent: the first of `inputs`, before those of `sampled`."""
    cotangent, *others = inputs
    return _each(tasks.pull, job, found, name, others, cotangent)


def _each(
    run: Callable[..., Any], job: Job, found: Reads | None, name: str, inputs: Sequence[str], cotangent: str = ""
) -> Graph:
    """Return a task for each chunk of an output, which reads chunks of arrays of these names."""
    own = DataNode(f"{name}-job", job)
    graph: Graph = {own.key: own}
    image = inputs[0] if found is not None else None
    for index, at, channel in indices(job):
        around = near(job, found, at, channel)
        given = [List(*[TaskRef((image, *one)) for one in around])]
        given += [TaskRef((cotangent, *index))] if cotangent else []
        given += [TaskRef((inputs[-1], *source_index(job, at)))] if job.theta is None else []
        key = (name, *index)
        graph[key] = Task(key, run, TaskRef(own.key), index, around, *given)
    return graph


def joined(chunks: Chunks, dtype: np.dtype[Any], axes: Axes, name: str, inputs: Sequence[str]) -> Graph:
    """Return the tasks of an image with one chunk on its spatial axes, made of its chunks."""
    graph: Graph = {}
    batch, channels, spatial = axes.apart(tuple(map(len, chunks)), 1)
    for n, c in product(range(batch), range(channels)):
        around = tuple([axes.joined(n, c, where) for where in np.ndindex(*spatial)])
        (*_, last), key = around, (name, *axes.joined(n, c, (0,) * len(spatial)))
        box = tuple(
            slice(first.start, end.stop)
            for first, end in zip(spans(chunks, around[0]), spans(chunks, last), strict=True)
        )
        graph[key] = Task(
            key, tasks.joined, around, List(*[TaskRef((inputs[0], *one)) for one in around]), chunks, box, dtype
        )
    return graph


def indices(job: Job) -> Iterator[tuple[Index, Index, int]]:
    """Give the index of each chunk of the output: of all axes, of all but channels with a batch, and of channels."""
    batch, channels, spatial = job.output.apart(tuple(map(len, job.output_chunks)), 1)
    for n, *where in product(*map(range, (batch, *spatial))):
        for c in range(channels):
            yield job.output.joined(n, c, tuple(where)), (n, *where), c


def near(job: Job, found: Reads | None, at: Index, channel: int) -> tuple[Index, ...]:
    """Return the indices of the chunks of the image that a chunk of the output may read."""
    if found is None:
        return ()
    batch, _, counts = job.image.apart(tuple(map(len, job.image_chunks)), 1)
    n = at[0] if batch > 1 else 0
    return tuple([job.image.joined(n, channel, where) for where in found.near(at, counts)])


def source_index(job: Job, at: Index) -> Index:
    """Return the index of the chunk of a flow or a grid that belongs to a chunk of the output."""
    chunks = job.source_chunks
    batch = (0 if job.shared else at[0],) if len(chunks) == job.image.ndim + 2 else ()
    return (*batch, *at[1:], 0)


def source_bars(job: Job, dtype: Any, alone: bool, name: str, inputs: Sequence[str]) -> Graph:
    """Return the tasks of the source's cotangent: a sum for each of its chunks, as a tree whose order is fixed.

    `alone` says that the chunks of `inputs` have no other part, which would be moved with it.
    """
    terms: dict[Index, list[Index]] = defaultdict(list)
    for index, at, _ in indices(job):
        terms[source_index(job, at) if job.theta is None else _maps_index(job, at)].append(index)
    graph: Graph = {}
    for target, each in terms.items():
        refs = [TaskRef((inputs[0], *index)) for index in each]
        if not alone:
            keys = [(f"{name}-part", *target, k) for k in range(len(refs))]
            graph |= {key: Task(key, tasks.source_part, ref) for key, ref in zip(keys, refs, strict=True)}
            refs = [TaskRef(key) for key in keys]
        _tree(graph, name, target, refs, dtype)
    return graph


def _maps_index(job: Job, at: Index) -> Index:
    assert job.theta is not None
    return (0, 0) if job.theta.ndim < 3 else (0 if job.shared else at[0], 0, 0)


def _tree(graph: Graph, name: str, target: Index, refs: list[TaskRef], dtype: Any) -> None:
    level = 0
    while len(refs) > FAN_IN:
        groups = [refs[k : k + FAN_IN] for k in range(0, len(refs), FAN_IN)]
        keys: list[Key] = [(f"{name}-sum-{level}", *target, k) for k in range(len(groups))]
        graph |= {key: Task(key, tasks.total, List(*group)) for key, group in zip(keys, groups, strict=True)}
        refs, level = [TaskRef(key) for key in keys], level + 1
    key = (name, *target)
    graph[key] = Task(key, tasks.total, List(*refs), dtype)


def image_bars(job: Job, found: Reads | None, dtype: Any, name: str, inputs: Sequence[str]) -> Graph:
    """Return the tasks of the image's cotangent: for each of its chunks, a sum of what all boxes have of it."""
    terms: dict[Index, list[Index]] = defaultdict(list)
    for index, at, channel in indices(job):
        for one in near(job, found, at, channel):
            terms[one].append(index)
    own = DataNode(f"{name}-job", job)
    graph: Graph = {own.key: own}
    for index in np.ndindex(*map(len, job.image_chunks)):
        refs = [TaskRef((inputs[0], *one)) for one in terms[index]]
        key = (name, *index)
        graph[key] = Task(key, tasks.gathered, TaskRef(own.key), index, List(*refs), dtype)
    return graph


def source_chunks(job: Job) -> Chunks:
    """Return the chunks of the source's cotangent."""
    if job.theta is None:
        return job.source_chunks
    batch = job.output.apart(job.output_chunks, (1,))[0]
    own = whole(job.theta.shape)
    return own if job.shared else (batch, *own[1:])
