"""What runs in a task: the part of the image that a chunk of the output reads is put together, and read.

A task is told where its chunk lies in the whole, so that its bits are those of a call on whole arrays.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

import stnkit
from stnkit.backends.cpu.memory import empty
from stnkit.dask.axes import Axes, Chunks, Piece, edges, pieces, spans
from stnkit.dask.chunking import too_much
from stnkit.dtypes import bar_dtype, dot_dtype
from stnkit.spec import FLOW, GRID, Place
from stnkit.tiles.boxes import KINDS, Boxes

Array = Any
Index = tuple[int, ...]
Box = tuple[slice, ...]

LARGE = 4 << 20  # bytes of a chunk, from which on NumPy asks for large pages

NAMES_OF_KINDS = {code: name for name, code in KINDS.items()}


@dataclass(frozen=True)
class Job:
    """A call in chunks: all that its tasks share."""

    function: str  # the name of the public one
    kind: int
    theta: np.ndarray | None  # None where each task has a part of a flow or a grid
    options: dict[str, Any]  # of the public function, but for `size`
    size: Index  # of the output
    extent: Index  # of the image
    image: Axes
    output: Axes
    image_chunks: Chunks
    output_chunks: Chunks
    source_chunks: Chunks  # of a flow or a grid
    dtype: np.dtype[Any]  # of the image
    source_dtype: np.dtype[Any]
    most: int  # bytes of an image that a task may read
    threads: int
    whole: bool = False  # whether each task is given all that there is on the spatial axes
    store: Any = None  # what the image is read from, where it is not in the graph

    @cached_property
    def boxes(self) -> Boxes:
        """What is read for boxes of the output."""
        words = ("mode", "prefilter", "padding_mode", "align_corners", "coords", "units", "antialias")
        options = {word: self.options[word] for word in words if word in self.options}
        control = self.options.get("control_points")
        return Boxes(NAMES_OF_KINDS[self.kind], self.size, self.extent, options, control, self.dtype)

    def box(self, source: Any, spatial: Box) -> Box | None:
        """Return the part of the image's spatial axes that a part of the output reads."""
        if self.whole:
            return tuple(slice(0, n) for n in self.extent)
        return self.boxes.reads.box(self.boxes.numbers(source, spatial), spatial)

    @property
    def shared(self) -> bool:
        """Whether all items of the batch have one map."""
        if self.theta is not None:
            return self.theta.ndim < 3 or len(self.theta) == 1
        return len(self.source_chunks) < self.image.ndim + 2 or sum(self.source_chunks[0]) == 1

    def maps(self, batch: slice) -> np.ndarray:
        """Return the maps of some items of the batch."""
        assert self.theta is not None
        return self.theta if self.shared else self.theta[batch]

    def shape(self, index: Index) -> Index:
        """Return the shape of a chunk of the output."""
        return tuple(sizes[at] for sizes, at in zip(self.output_chunks, index, strict=True))

    def items(self, batch: slice) -> slice:
        """Return the items of the image that some items of the output are read from."""
        return batch if self.image.batched and sum(self.image_chunks[0]) > 1 else slice(0, 1)


class Tile(NamedTuple):
    """The part of an image that a task reads."""

    array: Array
    box: Box | None  # on all axes of the image; None if nothing is read
    place: Place


class Pulled(NamedTuple):
    """What a task gives to the cotangents: of the image, on a box of all of its axes, and of the source."""

    box: Box | None
    image: Array | None
    source: Array | None


def sample(
    job: Job, index: Index, near: Sequence[Index], chunks: Sequence[Array], source: Array | None = None
) -> Array:
    """Return a chunk of the output, from chunks of the image that are near, by their indices, and of the source."""
    whole = job.shape(index)
    if 0 in whole:
        return np.empty(whole, job.dtype)
    source, tile, shape, options = entered(job, index, dict(zip(near, chunks, strict=True)), source)
    options |= {} if job.kind in (FLOW, GRID) else {"size": shape}
    if type(tile.array) is np.ndarray:
        options["out"] = empty(whole, job.dtype, LARGE)
    with threads_at_most(job.threads):
        return getattr(stnkit, job.function)(tile.array, source, place=tile.place, **options)


def pull(
    job: Job,
    index: Index,
    near: Sequence[Index],
    chunks: Sequence[Array],
    cotangent: Array,
    source: Array | None = None,
) -> Pulled:
    """Return what a chunk of the output's cotangent gives to those of image and source."""
    if 0 in job.shape(index):
        batch, *_ = job.output.apart(spans(job.output_chunks, index), slice(0, 1))
        maps = job.maps(batch) if source is None else source
        return Pulled(None, None, np.zeros(maps.shape))
    source, tile, _, options = entered(job, index, dict(zip(near, chunks, strict=True)), source)
    source = source.astype(np.float64, copy=False)  # so that sums over chunks are rounded once
    cotangent = cotangent.astype(dot_dtype(job.dtype, source.dtype), copy=False)
    if tile.box is None:
        options["wrt"] = tuple(name for name in options["wrt"] if name != "image")
    into = None
    if "image" in options["wrt"]:  # sums of half precision are rounded once
        into = np.zeros_like(tile.array, dtype=bar_dtype(job.dtype, source.dtype))
    with threads_at_most(job.threads):
        bars = getattr(stnkit, job.function)(
            cotangent, tile.array, source, place=tile.place, accumulate_into=into, **options
        )
    return Pulled(tile.box, *bars)


def entered(
    job: Job, index: Index, near: Mapping[Index, Array], source: Array | None
) -> tuple[Array, Tile, Index, dict[str, Any]]:
    """Return a task's part of the source and of the image, the size of its chunk, and the sampler's options."""
    batch, channels, spatial = job.output.apart(spans(job.output_chunks, index), slice(0, 1))
    source = job.maps(batch) if source is None else source
    if job.store is not None:
        near = {(0,) * len(job.image_chunks): job.store}
    box = job.box(source, spatial)
    options = dict(job.options)
    if np.ndim(options["fill_value"]) == 1:
        options["fill_value"] = np.asarray(options["fill_value"])[channels]
    start = tuple(part.start for part in spatial)
    if box is None:
        shape = job.image.joined(_length(job.items(batch)), _length(channels), (1,) * job.image.ndim)
        tile = Tile(np.zeros(shape, job.dtype), None, Place(start, job.size, (0,) * job.image.ndim, job.extent))
    else:
        place = Place(start, job.size, tuple(part.start for part in box), job.extent)
        every = job.image.joined(job.items(batch), channels, box)
        size = prod(map(_length, every)) * job.dtype.itemsize
        if size > job.most and not job.whole:
            raise too_much(size, job.most)
        tile = Tile(window(near, job.image_chunks, every, job.dtype), every, place)
    return source, tile, tuple(map(_length, spatial)), options


def joined(near: Sequence[Index], arrays: Sequence[Array], chunks: Chunks, box: Box, dtype: np.dtype[Any]) -> Array:
    """Put a part of an array together from its chunks, by their indices."""
    return window(dict(zip(near, arrays, strict=True)), chunks, box, dtype)


def window(near: Mapping[Index, Array], chunks: Chunks, box: Box, dtype: np.dtype[Any]) -> Array:
    """Put a part of an array together from its chunks; where these lie in memory as the whole does, it is a view."""
    each = [list(pieces(edges(sizes), part.start, part.stop)) for sizes, part in zip(chunks, box, strict=True)]
    found = [(_chunk(near, cut), cut) for cut in product(*each)]
    if len(found) == 1:
        (chunk, cut), *_ = found
        return _part(chunk, cut)
    parts = [(_part(chunk, cut), cut) for chunk, cut in found]
    shape = tuple(map(_length, box))
    if parts and _are_one([part for part, _ in parts], [tuple(p.outer.start for p in cut) for _, cut in parts]):
        return np.lib.stride_tricks.as_strided(parts[0][0], shape, parts[0][0].strides, writeable=False)
    made = np.empty_like(parts[0][0], shape=shape, dtype=dtype) if parts else np.empty(shape, dtype)
    for part, cut in parts:
        made[tuple(piece.outer for piece in cut)] = part
    return made


def _are_one(parts: Sequence[Array], starts: Sequence[Index]) -> bool:
    """Tell whether parts are views of one array of NumPy, and each lies in it where it starts in the whole."""
    first = parts[0]
    if not all(type(part) is np.ndarray and part.strides == first.strides for part in parts):
        return False
    if any(_owner(part) is not _owner(first) for part in parts):
        return False
    away = [sum(map(operator.mul, start, first.strides)) for start in starts]
    return all(part.ctypes.data - first.ctypes.data == far for part, far in zip(parts, away, strict=True))


def _owner(array: Any) -> Any:
    """Return what has an array's memory."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def _chunk(near: Mapping[Index, Array], cut: tuple[Piece, ...]) -> Array:
    index = tuple(piece.chunk for piece in cut)
    if index not in near:
        msg = (
            f"chunk {index} of the image is read, which is farther than the bounds allow: the flow or the grid is not "
            "within `max_displacement` or `bounds`"
        )
        raise ValueError(msg)
    return near[index]


def _part(chunk: Array, cut: tuple[Piece, ...]) -> Array:
    part = chunk[tuple(piece.inner for piece in cut)]
    return part if hasattr(part, "__cuda_array_interface__") else np.asarray(part)


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def threads_at_most(count: int) -> Any:
    """Return the context in which kernels keep to some threads: a scheduler has a task at work on each core."""
    from stnkit.kernels.cpu.threads import at_most  # imports llvmlite, which no client needs

    return at_most(count)


def source_part(part: Pulled) -> Any:
    """Return what a task gives to the cotangent of the source."""
    return part.source


def total(terms: Sequence[Any], dtype: np.dtype[Any] | None = None) -> Any:
    """Add terms up, one after another."""
    first, *others = [source_part(one) if isinstance(one, Pulled) else one for one in terms]
    made = first if not others else first + others[0]
    for one in others[1:]:
        made += one
    return made if dtype is None else made.astype(dtype, copy=False)


def gathered(job: Job, index: Index, parts: Sequence[Pulled], dtype: np.dtype[Any]) -> Array:
    """Return a chunk of the image's cotangent: the sum of what each part has of it, in their order."""
    where = spans(job.image_chunks, index)
    found = [(part.image, part.box) for part in parts if part.box is not None and part.image is not None]
    shape = tuple(map(_length, where))
    like = found[0][0] if found else np.empty(0, dtype)
    made = np.zeros_like(like, shape=shape)
    for bar, box in found:
        each = [
            [piece for piece in pieces(edges(sizes), part.start, part.stop) if piece.chunk == at]
            for sizes, part, at in zip(job.image_chunks, box, index, strict=True)
        ]
        for cut in product(*each):
            made[tuple(piece.inner for piece in cut)] += bar[tuple(piece.outer for piece in cut)]
    return made.astype(dtype, copy=False)
