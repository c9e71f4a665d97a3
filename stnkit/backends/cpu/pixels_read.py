"""Which part of an image a sampler reads, where the whole is not to be copied."""

import numpy as np

from stnkit.bounds.reads import Reads
from stnkit.dtypes import arithmetic
from stnkit.spec import Options

Shape = tuple[int, ...]

ROUNDINGS = 1024  # more than a kernel makes until it has a coordinate, were they all in one direction


def box(
    shape: Shape, dtype: np.dtype, source: np.ndarray, kind: int, size: Shape, options: Options
) -> tuple[slice, ...]:
    """Return the box of an image that is read: all of an axis where reads wrap past its edge."""
    extent = shape[1:-1] if options.channels_last else shape[2:]
    epsilon = float(np.finfo(arithmetic(dtype.newbyteorder("="), source.dtype)).eps)
    reads = Reads(kind, size, extent, options, epsilon=epsilon, rounding=ROUNDINGS * epsilon)
    with np.errstate(all="ignore"):
        found = reads.box(reads.numbers(source), tuple(slice(0, n) for n in size))
    parts = [slice(0, 1)] * len(extent) if found is None else found
    parts = [part if part.stop <= n else slice(0, n) for part, n in zip(parts, extent, strict=True)]
    every = slice(None)
    return (every, *parts, every) if options.channels_last else (every, every, *parts)
