"""What is known of a flow or a grid before it is there: its lowest and highest numbers in each chunk."""

from typing import Any, NamedTuple

import numpy as np

from stnkit.dask.axes import Chunks, edges, pieces
from stnkit.dask.stores import in_chunks
from stnkit.dask.tasks import Box


class Extremes(NamedTuple):
    """The lowest and the highest finite numbers of a flow or a grid in each of its chunks, as `bounds` finds them."""

    low: np.ndarray  # (*chunks, d): infinite where no number is finite
    high: np.ndarray
    chunks: Chunks  # of all axes but the last

    def within(self, part: Box) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the lowest and the highest numbers of a part; None if there is none on some axis."""
        pairs = zip(self.chunks, part, strict=True)
        at = np.ix_(*([one.chunk for one in pieces(edges(sizes), axis.start, axis.stop)] for sizes, axis in pairs))
        every = tuple(range(len(part)))
        low, high = self.low[at].min(axis=every), self.high[at].max(axis=every)
        return (low, high) if (low <= high).all() else None


def bounds(array: Any) -> Extremes:
    """Find the lowest and the highest numbers of a flow or a grid in each of its chunks.

    It is read once, now. A sampler that knows them reads no more of an image in chunks than each chunk of the output
    needs; they serve any number of calls with this flow or grid.

    Parameters
    ----------
    array : dask.array.Array of shape (N, *T, d) or (*T, d)
        The flow or the grid.

    Returns
    -------
    Extremes
        What the option `bounds` of `flow_sample` and `grid_sample` takes: a named tuple of `low` and `high`, of shape
        (*chunks, d), and of the `chunks` of the array.

    Raises
    ------
    ValueError
        If chunks are of unknown size.
    TypeError
        If it is no Dask array.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import stnkit.dask
    >>> flow = da.from_array(np.array([[0.5], [-1.0], [np.nan], [2.0]]), chunks=(2, 1))
    >>> stnkit.dask.bounds(flow).high
    array([[0.5],
           [2. ]])
    """
    array = in_chunks("array", array)
    whole = array.rechunk({array.ndim - 1: -1})
    count = whole.ndim - 1
    ones = tuple((1,) * len(sizes) for sizes in whole.chunks[:-1])
    found = whole.map_blocks(_extremes, dtype=np.float64, chunks=((2,), *ones, whole.chunks[-1]), new_axis=[0])
    low, high = found.compute()
    return Extremes(low, high, whole.chunks[:count])


def _extremes(block: np.ndarray) -> np.ndarray:
    block = np.asarray(block)
    every, finite = tuple(range(block.ndim - 1)), np.isfinite(block)
    low = block.min(axis=every, where=finite, initial=np.inf, keepdims=True)
    high = block.max(axis=every, where=finite, initial=-np.inf, keepdims=True)
    return np.stack([low, high]).astype(np.float64)
