"""How the axes of an array in chunks lie, and where its chunks begin: batch, channels and spatial axes apart."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Chunks = tuple[tuple[int, ...], ...]  # the sizes of the chunks of each axis


class Axes(NamedTuple):
    """The axes of an image or of an output."""

    ndim: int  # of spatial ones
    batched: bool
    last: bool  # whether channels come last

    def joined(self, batch: T, channels: T, spatial: tuple[T, ...]) -> tuple[T, ...]:
        """Return what belongs to each axis in the order of the axes."""
        own = (*spatial, channels) if self.last else (channels, *spatial)
        return (batch, *own) if self.batched else own

    def apart(self, each: tuple[T, ...], batch: T) -> tuple[T, T, tuple[T, ...]]:
        """Return what belongs to batch, channels and spatial axes; `batch` stands for what is not there."""
        if self.batched:
            batch, each = each[0], each[1:]
        return (batch, each[-1], each[:-1]) if self.last else (batch, each[0], each[1:])


class Piece(NamedTuple):
    """A part of one axis that lies in one chunk."""

    chunk: int
    inner: slice  # in the chunk
    outer: slice  # in the part of the axis that is asked for


def edges(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return where the chunks of an axis begin, and where the last one ends."""
    return tuple(accumulate(sizes, initial=0))


def pieces(ends: tuple[int, ...], start: int, stop: int) -> Iterator[Piece]:
    """Cut a part of an axis by its chunks; what lies beyond the end of the axis goes on at its first pixel."""
    at = start
    while at < stop:
        here = at % ends[-1]
        chunk = bisect_right(ends, here) - 1
        length = min(ends[chunk + 1] - here, stop - at)
        inner = here - ends[chunk]
        yield Piece(chunk, slice(inner, inner + length), slice(at - start, at - start + length))
        at += length


def spans(chunks: Chunks, index: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where a chunk lies in the whole array."""
    return tuple(slice(first := sum(sizes[:at]), first + sizes[at]) for sizes, at in zip(chunks, index, strict=True))


def whole(shape: Any) -> Chunks:
    """Return the chunks of an array of one chunk."""
    return tuple((int(n),) for n in shape)


def unknown(chunks: Any) -> bool:
    """Tell whether Dask does not know how large chunks are."""
    return any(n != n for sizes in chunks for n in sizes)  # NaN
