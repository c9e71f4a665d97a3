"""What hands pieces of a call's chunks to Numba's threads; it is imported, and Numba with it, once they are to work."""

import functools

from numba import cfunc, prange

from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.jit import FORM, cached
from stnkit.kernels.cpu.call import STATUS
from stnkit.kernels.cpu.pieces import run_piece, word


@functools.cache
def parallel() -> int:
    """Compile what calls a kernel for each piece of its chunks on some thread; return its address."""

    def parallel(words, kernel, pieces):
        for piece in prange(pieces):
            run_piece(kernel, words, piece, pieces)
        return word(words, 8 * STATUS)

    parallel.__qualname__ = f"parallel_{digest(__name__):014x}"
    return int(cached(cfunc, parallel, FORM, parallel=True).address)
