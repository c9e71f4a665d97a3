"""What a GPU's threads do, done on a CPU, one thread after another: for checks where there is no GPU.

`launch`, `clear` and `read` are those of `stnkit.kernels.cuda.runtime`, for main memory.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit


@functools.cache
def host(factory: Callable[[Any], Any], spec: Any, uncompiled: bool) -> Callable[..., None]:
    """Build the loop that runs what `factory` says a thread does: loop(items, arguments)."""
    from stnkit.kernels.compiler.jit import leaf  # of the stnkit in use, which may be an uncompiled copy

    body = leaf(factory(spec))

    def loop(items, arguments):
        index = type(items)
        i = index(0)
        while i < items:
            body(i, *arguments)
            i = index(i + index(1))

    compiled: Callable[..., None] = njit(error_model="numpy")(loop)
    return compiled


def backwards(factory: Callable[[Any], Any], spec: Any, items: int, arguments: tuple[Any, ...]) -> None:
    """Run thread after thread, uncompiled, the last one first: what holds in any order holds in this one too."""
    body = factory(spec)
    for i in reversed(range(items)):
        body(np.int32(i), *arguments)


def launch(
    factory: Callable[[Any], Any], spec: Any, items: int, arguments: tuple[Any, ...], stream: int, device: int
) -> None:
    """Run thread after thread."""
    from stnkit.kernels.cuda.runtime import NARROW

    index = np.int32 if items < NARROW else np.int64
    host(factory, spec, bool(config.DISABLE_JIT))(index(items), arguments)


def clear(address: int, size: int, stream: int, device: int) -> None:
    """Set memory to zero."""
    ctypes.memset(address, 0, size)


def read(address: int, size: int, stream: int, device: int) -> bytes:
    """Return what lies in memory."""
    return ctypes.string_at(address, size)
