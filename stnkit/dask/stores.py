"""What calls are given: Dask arrays, and images that tasks read from memory, mapped files and stores of chunks."""

import mmap
from typing import Any

import dask.array as da
import numpy as np

from stnkit.backends.interop import no_array, unmasked
from stnkit.dask.axes import unknown

WANTED = "a Dask array, a NumPy array, or a store with `shape`, `dtype` and `[]`, as a zarr array"


class Mapped:
    """A file of numbers: each task maps it for itself, and no pixel is a part of the graph."""

    def __init__(self, array: np.memmap[Any, Any]) -> None:
        self.file, self.offset = str(array.filename), array.offset
        self.order = "C" if array.flags.c_contiguous else "F"
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, where: Any) -> np.ndarray:
        given: Any = {"dtype": self.dtype, "shape": self.shape, "offset": self.offset, "order": self.order}
        return np.asarray(np.memmap(self.file, mode="r", **given)[where])


def in_chunks(name: str, given: Any) -> Any:
    """Return a Dask array, whose chunks are known; refuse what is none."""
    if not isinstance(given, da.Array):
        raise no_array(name, given, "a Dask array", "dask")
    if unknown(given.chunks):
        msg = f"`{name}` has chunks of unknown size; call `{name}.compute_chunk_sizes()` before"
        raise ValueError(msg)
    if isinstance(given._meta, np.ndarray):
        unmasked(name, given._meta)
    return given


def stored(name: str, given: Any) -> Any:
    """Return what tasks read an image from; refuse what is none."""
    if type(given) is np.memmap and isinstance(given.base, mmap.mmap):  # views do not know where they begin
        return Mapped(given)
    if isinstance(given, np.ndarray):
        return unmasked(name, given)
    dtype = getattr(given, "dtype", None)
    if not (hasattr(given, "shape") and hasattr(given, "__getitem__") and isinstance(dtype, np.dtype)):
        raise no_array(name, given, WANTED, "dask")
    return given
