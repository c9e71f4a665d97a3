"""How an output is cut into chunks, and how much of an image one of them may read."""

from math import prod
from typing import Any

import dask
import numpy as np
from dask.array.core import normalize_chunks
from dask.utils import format_bytes, parse_bytes

from stnkit.dask.axes import Chunks

LEAST = 1 << 24  # bytes of a chunk: a task takes as long as some hundreds of smaller ones take to be scheduled
TIMES = 10  # the size of a chunk that a task may read


def limit() -> int:
    """Return how many bytes Dask wants a chunk to have."""
    return int(parse_bytes(dask.config.get("array.chunk-size")))


def most() -> int:
    """Return how many bytes of an image a task may read."""
    return TIMES * limit()


def too_much(size: int, allowed: int, hint: str = "") -> ValueError:
    """Return the error of a chunk of the output for which too much of the image would be in memory."""
    msg = (
        f"a chunk of the output would read {format_bytes(size)} of the image at once, of {format_bytes(allowed)} that "
        f"it may, {TIMES} times Dask's option `array.chunk-size`; pass {hint or 'smaller `chunks`'}"
    )
    return ValueError(msg)


def spatial_chunks(given: Any, size: tuple[int, ...], others: int, dtype: np.dtype[Any], target: int) -> Chunks:
    """Return the chunks of an output's spatial axes; `others` is how many numbers a location has in a chunk.

    "auto" is for chunks of `target` bytes, of one length along all axes.
    """
    if given is None or (isinstance(given, (tuple, list)) and len(given) != len(size)):
        msg = f"`chunks` must be 'auto', a number, or {len(size)} of them, one for each spatial axis; got {given!r}"
        raise ValueError(msg)
    each = given if isinstance(given, (tuple, list)) else (given,) * len(size)
    each = tuple("auto" if one == "auto" else one for one in each)
    room = max(target // max(others, 1), dtype.itemsize)
    try:
        chunks = normalize_chunks(each, size, limit=room, dtype=dtype)
        if any(n < 0 for axis in chunks for n in axis):
            raise ValueError  # as Dask takes negative numbers for some sizes
    except (TypeError, ValueError, ZeroDivisionError) as error:  # whose words do not say of which argument they are
        many = f"{len(size)} of them, one for each spatial axis"
        msg = f"`chunks` must be 'auto', a number of 1 or more, or {many}; got {given!r}"
        raise ValueError(msg) from error
    return tuple(tuple(int(n) for n in axis) for axis in chunks)


def target(chunks: Chunks, dtype: np.dtype[Any]) -> int:
    """Return how many bytes a chunk of the output is to have, for an image of some chunks."""
    largest = prod(max(sizes, default=0) for sizes in chunks) * dtype.itemsize
    return max(min(max(largest, LEAST), limit()), dtype.itemsize)
