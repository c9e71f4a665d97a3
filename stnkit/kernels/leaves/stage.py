"""The stage: memory for what is worked out about the locations of one tile, row by row."""

from stnkit.kernels.compiler.jit import int64, leaf, on_gpu, uint64
from stnkit.spec import TILE

PREFETCH_DISTANCE = 64  # locations between the prefetch of a pixel and its reading
# A row of the stage. Rows a power of two apart compete for the same lines of the cache; and one line further, what a
# loop has just written looks, by the low bits of its address, like what it is about to read, and makes it wait.
PITCH = TILE + 80


@leaf
def row_stride():
    """Return how far apart the rows of a stage are."""
    return int64(1) if on_gpu() else int64(PITCH)


@leaf
def slot(k, p):
    """Return where row `k` of the stage holds location `p`; unsigned, so that no index wraps around."""
    return uint64(k + p) if on_gpu() else uint64(k * PITCH + p)  # `row_stride`, without a call of Python's
