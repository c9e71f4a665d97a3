"""How a checked call is cut into chunks, so that none of them reads too much."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.base import tokenize

from stnkit import validation
from stnkit.calls.sampling import Form
from stnkit.dask import chunking, graphs, layers
from stnkit.dask.axes import Axes, Chunks, whole
from stnkit.dask.extremes import Extremes
from stnkit.dask.reads import Known, Reads, reads
from stnkit.dask.tasks import Box, Job
from stnkit.spec import FLOW, MAPS

Array = Any


class Asked(NamedTuple):
    """What a public function is asked for, beside its arrays and the options of the plain one."""

    function: str
    kind: int
    chunks: Any = "auto"
    threads: int = 1
    max_displacement: Any = None
    bounds: Extremes | None = None


class Fitted(NamedTuple):
    """A call in chunks: its job, what each chunk reads of an image in chunks, and the arrays of the graph."""

    job: Job
    reads: Reads | None
    inputs: tuple[Array, ...]  # cotangent, image and source, as far as they are in chunks
    form: Form

    @property
    def token(self) -> str:
        """What tells this call from all others."""
        return str(tokenize(self.job, *(one.name for one in self.inputs)))

    @property
    def prefix(self) -> str:
        """How the keys of its tasks begin."""
        return f"stnkit-{self.job.function.replace('_', '-')}"


@dataclass(frozen=True)
class Cut:
    """A checked call, whose image is in chunks, or not in the graph."""

    asked: Asked
    image: Array
    source: Array
    options: dict[str, Any]
    cotangent: Array
    form: Form

    @cached_property
    def axes(self) -> tuple[Axes, Axes]:
        """The axes of the image, and those of the output."""
        last, d = self.form.options.channels_last, len(self.form.size)
        return Axes(d, len(self.form.image_shape) == d + 2, last), Axes(d, self.form.batched, last)

    @property
    def in_graph(self) -> bool:
        """Whether the image is in chunks."""
        return isinstance(self.image, da.Array)

    @cached_property
    def others(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The chunks of the output's batch and channels: those of the image, or an item each if it serves them all."""
        own, output = self.axes
        chunks = self.image.chunks if self.in_graph else _blocks(self.image, own)
        batch, channels, _ = own.apart(chunks, (1,))
        count, _, _ = output.apart(self.form.out_shape, 1)
        return (batch if sum(batch) == count else (1,) * count), channels

    def fitted(self) -> Fitted:
        """Return the call in chunks; "auto" makes them as large as what they read allows."""
        most, dtype = chunking.most(), self.form.image_dtype
        if self.in_graph and self.axes[0].batched and self.image.shape[0] == 1 < len(self.image.chunks[0]):
            return replace(self, image=self.image.rechunk({0: 1})).fitted()
        if not self.in_graph:
            return self.cut(chunking.target((), dtype), isinstance(self.image, np.ndarray))
        aim = chunking.target(self.image.chunks, dtype)
        if self.asked.kind not in MAPS and self.asked.max_displacement is None and self.asked.bounds is None:
            batch, channels, _ = self.axes[0].apart(self.image.chunks, (1,))
            size = max(batch) * max(channels) * prod(self.axes[0].apart(self.image.shape, 1)[2]) * dtype.itemsize
            if size <= (most if isinstance(self.source, da.Array) else chunking.limit()):
                return self.on_whole().cut(aim, True)
            if isinstance(self.source, da.Array):
                name = "flow" if self.asked.kind == FLOW else "grid"
                options = "`max_displacement`, or " if self.asked.kind == FLOW else ""
                raise chunking.too_much(size, most, f"{options}`bounds=stnkit.dask.bounds({name})`")
        while True:
            call = self.cut(aim, False)
            found = reads(call.job, self.known(call.job))
            if found.bytes <= most:
                return call._replace(reads=found)
            aim = aim * most // found.bytes // 2
            if self.cotangent is not None or self.asked.chunks != "auto" or aim < chunking.limit() >> 10:
                raise chunking.too_much(found.bytes, most)

    def on_whole(self) -> "Cut":
        """Return the call on an image that has one chunk on its spatial axes."""
        own, image = self.axes[0], self.image
        batch, channels, spatial = own.apart(image.chunks, (1,))
        chunks = own.joined(batch, channels, whole(map(sum, spatial)))
        make = partial(graphs.joined, image.chunks, image.dtype, own)
        return replace(
            self, image=layers.array("stnkit-joined", tokenize(image.name), make, chunks, image._meta, (image,))
        )

    def cut(self, aim: int, is_whole: bool) -> Fitted:
        """Return the call in chunks of so many bytes, if they are not given."""
        own, output = self.axes
        batch, channels = self.others
        chunks = output.joined(batch, channels, self.spatial(aim))
        inputs = [] if self.cotangent is None else [self.cotangent.rechunk(chunks)]
        inputs += [self.image] if self.in_graph else []
        lattice: Chunks = ()
        if self.asked.kind not in MAPS:
            inputs.append(self.lattice(chunks))
            lattice = inputs[-1].chunks
        job = Job(
            function=self.asked.function,
            kind=self.asked.kind,
            theta=self.source.astype(np.float64) if self.asked.kind in MAPS else None,
            options=self.options,
            size=self.form.size,
            extent=own.apart(self.form.image_shape, 1)[2],
            image=own,
            output=output,
            image_chunks=self.image.chunks if self.in_graph else whole(self.image.shape),
            output_chunks=chunks,
            source_chunks=lattice,
            dtype=self.form.image_dtype,
            source_dtype=self.form.source_dtype,
            most=chunking.most(),
            threads=validation.count("threads", self.asked.threads),
            whole=is_whole,
            store=None if self.in_graph else self.image,
        )
        return Fitted(job, reads(job) if self.in_graph and is_whole else None, tuple(inputs), self.form)

    def spatial(self, aim: int) -> Chunks:
        """Return the chunks of the output's spatial axes."""
        if self.cotangent is not None:
            return self.axes[1].apart(self.cotangent.chunks, (1,))[2]
        d = len(self.form.size)
        if self.asked.kind not in MAPS and isinstance(self.source, da.Array) and self.asked.chunks == "auto":
            return tuple(self.source.chunks[-1 - d : -1])
        batch, channels = self.others
        together = max(batch, default=1) * max(channels, default=1)
        return chunking.spatial_chunks(self.asked.chunks, self.form.size, together, self.form.image_dtype, aim)

    def lattice(self, chunks: Chunks) -> Array:
        """Return a flow or a grid in the chunks of the output."""
        batch, _, spatial = self.axes[1].apart(chunks, (1,))
        own: Chunks = (*spatial, (self.source.shape[-1],))
        if self.source.ndim == len(own) + 1:
            own = (batch if self.source.shape[0] == sum(batch) else (self.source.shape[0],), *own)
        return self.source.rechunk(own) if isinstance(self.source, da.Array) else da.from_array(self.source, own)

    def known(self, job: Job) -> Known:
        """Return what bounds the locations that a part of the output reads."""
        asked = self.asked
        if job.theta is not None:
            rows: dict[tuple[int, int], Any] = {}

            def of_maps(items: slice, spatial: Box) -> Any:
                at = items.start, items.stop
                if at not in rows:
                    rows[at] = job.boxes.numbers(job.maps(items), spatial)
                return rows[at]

            return of_maps
        if asked.max_displacement is not None:
            bound = job.boxes.displaced(asked.max_displacement)
            return lambda items, spatial: bound
        batched = self.source.ndim == job.image.ndim + 2
        if asked.bounds is not None:
            extremes = asked.bounds
            return lambda items, spatial: extremes.within((items, *spatial) if batched else spatial)
        return lambda items, spatial: job.boxes.numbers(self.source[(items, *spatial) if batched else spatial], spatial)


def _blocks(store: Any, axes: Axes) -> Chunks:
    """Return how a store cuts items and channels: as it says, or item by item."""
    own = getattr(store, "shards", None) or getattr(store, "chunks", None)
    if not (isinstance(own, tuple) and len(own) == len(store.shape)):
        own = axes.joined(1, axes.apart(tuple(store.shape), 1)[1], (1,) * axes.ndim)
    return tuple(_cut(int(n), int(step)) for n, step in zip(store.shape, own, strict=True))


def _cut(n: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, n - start) for start in range(0, n, step)) if n else (0,)
