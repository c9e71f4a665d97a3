"""Plans of copying pixels by tables."""

import functools
import math
from typing import Any

import numpy as np

from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cpu import factories
from stnkit.kernels.cpu.call import OUT, Arguments
from stnkit.plans.launch import Buffer, Launch, Plan, planned
from stnkit.plans.layout import CHUNKS, Shape, three
from stnkit.spec import DTYPES, LANES, Spec


@functools.lru_cache(maxsize=4096)
def take(channels: int, size: Shape, dtype: np.dtype[Any], apart: int) -> Plan:
    """Plan the copying of pixels to an output of `size`, from an image whose channels are `apart` elements apart."""
    *outer, wide = three(size, 1)
    rows = channels * math.prod(outer)
    spec = Spec(len(size), image_dtype=DTYPES[dtype.name], lanes=LANES, digest=digest())
    call = Arguments(
        channels=channels, chunks=max(min(rows, CHUNKS), 1), size=(*outer, wide), image=(0, apart, 0, 0, 0)
    )
    return planned((Buffer(OUT, (channels, *size), dtype),), Launch(factories.TAKE, spec, rows * wide, call, (OUT,)))
