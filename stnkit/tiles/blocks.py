"""Into which blocks an output is cut: multiples of its own chunks, small enough for the memory that there is."""

import itertools
import math
import operator
import re
from collections.abc import Iterator, Sequence
from typing import Any

Shape = tuple[int, ...]
Block = tuple[slice, ...]

UNIT = {1: 2**16, 2: 2**8, 3: 2**6}  # locations along each axis of the smallest block of an output without chunks
SHARE = 8  # of the memory: an output's block, beside what it reads
BYTES = {"": 1, "B": 1} | {
    f"{prefix}{end}": base**power for power, prefix in enumerate("KMGT", 1) for end, base in (("B", 1000), ("iB", 1024))
}


def memory(given: Any) -> int:
    """Return a number of bytes, given as an integer or as in "2GB" and "512MiB"."""
    if isinstance(given, str):
        found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?i?B?)\s*", given)
        if found is not None and found[2] in BYTES:
            return int(float(found[1]) * BYTES[found[2]])
        msg = f'`memory` must be a number of bytes, or as in "2GB" and "512MiB"; got {given!r}'
        raise ValueError(msg)
    try:
        bytes_ = operator.index(given)
    except TypeError as error:
        msg = f'`memory` must be a number of bytes, or as in "2GB" and "512MiB"; got {given!r}'
        raise TypeError(msg) from error
    if bytes_ < 1:
        msg = f"`memory` must be 1 byte or more; got {given!r}"
        raise ValueError(msg)
    return bytes_


def own_chunks(out: Any) -> Shape:
    """Return the parts of an output that are written whole: its chunks, or shards of these; 1 where it has none."""
    own = getattr(out, "shards", None) or getattr(out, "chunks", None)
    if isinstance(own, (tuple, list)) and all(isinstance(n, int) for n in own):
        return tuple(max(min(n, many), 1) for n, many in zip(own, out.shape, strict=True))
    return (1,) * len(out.shape)


def block_shape(out: Any, spatial: slice, chunks: Any, single: bool, item: int, least: int) -> Shape:
    """Return the shape of a block.

    Parameters
    ----------
    out : array
        The output.
    spatial : slice
        Which of its axes are spatial.
    chunks : "auto", or sequence of int
        What was asked for: a number for each axis, or for each spatial axis.
    single : bool
        Whether the first axis is one of items that are done one by one, so that a block has one chunk of them.
    item : int
        Bytes of one location, of all that grows with the output.
    least : int
        Bytes that a block may have of these.
    """
    shape, own = tuple(out.shape), own_chunks(out)
    axes = range(*spatial.indices(len(shape)))
    if isinstance(chunks, str) and chunks == "auto":
        return _grown(shape, own, axes, single, item, least)
    try:
        given = tuple(operator.index(n) for n in chunks)
    except TypeError:
        given = ()
    if len(given) not in (len(shape), len(axes)) or not all(n >= 1 for n in given):
        msg = (
            f"`chunks` must be 'auto', or integers of 1 and more: {len(shape)} for an output of shape {shape}, or "
            f"{len(axes)} for its spatial axes; got {chunks!r}"
        )
        raise ValueError(msg)
    found = list(shape)
    for axis, n in zip(axes if len(given) == len(axes) else range(len(shape)), given, strict=True):
        found[axis] = min(n, shape[axis])
        if found[axis] < shape[axis] and found[axis] % own[axis]:
            msg = f"`chunks` must be multiples of those that the output is stored in, {own}; got {chunks!r}"
            raise ValueError(msg)
    if single:
        found[0] = own[0]
    return tuple(found)


def _grown(shape: Shape, own: Shape, axes: Sequence[int], single: bool, item: int, least: int) -> Shape:
    """Begin with a unit, and double its shortest side for as long as it fits; all of it in multiples of chunks."""
    unit = UNIT[len(axes)]
    found = [n if axis not in axes else _multiple(unit, own[axis], n) for axis, n in enumerate(shape)]
    channels = [axis for axis in range(len(shape)) if axis not in axes]
    if single:
        found[0] = own[0]
    for axis in channels:  # not all channels, or times, at once
        while math.prod(found) * item > least and found[axis] > own[axis] and not (single and axis == 0):
            found[axis] = _multiple(found[axis] // 2, own[axis], shape[axis])
    while True:
        for axis in sorted(axes, key=lambda axis: found[axis]):
            larger = [*found[:axis], _multiple(2 * found[axis], own[axis], shape[axis]), *found[axis + 1 :]]
            if larger != found and math.prod(larger) * item <= least:
                found = larger
                break
        else:
            return tuple(found)


def _multiple(n: int, own: int, most: int) -> int:
    """Return about `n` as a multiple of a chunk, or all there is."""
    return min(max(n // own, 1) * own, most)


def blocks(shape: Shape, block: Shape) -> list[Block]:
    """List the blocks of an output in the order of memory."""
    axes = [
        [slice(i, min(i + n, many)) for i in range(0, many, max(n, 1))] for n, many in zip(block, shape, strict=True)
    ]
    return list(itertools.product(*axes))


def halves(box: Block) -> Iterator[Block]:
    """Yield the two halves of a box, along its longest side."""
    axis = max(range(len(box)), key=lambda axis: box[axis].stop - box[axis].start)
    start, stop = box[axis].start, box[axis].stop
    middle = (start + stop) // 2
    for part in (slice(start, middle), slice(middle, stop)):
        yield (*box[:axis], part, *box[axis + 1 :])
