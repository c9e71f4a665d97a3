"""Fill values: what a tap reads that has no pixel."""

from stnkit.kernels.compiler.jit import int64, leaf, on_gpu
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import full, load


@leaf
def channel(fills, c, many, spec):
    """Return the fill value of channel `c`, or of as many from there on as are done at once."""
    return load(fills, c, many) if spec.interleaved else full(fills[c], many)


@leaf
def beyond(fills, c, tile, p, many, spec):
    """Return the fill value of channel `c`, or of several; a thread of a GPU reads it only where a tap is dead."""
    if on_gpu() and spec.taps == 2 and not spec.paired:
        lowest = tile.offsets[slot(int64(0), p)]
        for k in range(1, 2 * spec.ndim):
            lowest = min(lowest, tile.offsets[slot(k, p)])
        if lowest >= 0:
            return full(type(fills[0])(0), many)
    return channel(fills, c, many, spec)
