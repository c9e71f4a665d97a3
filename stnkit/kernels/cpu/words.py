"""A block of words, as kernels read it."""

from stnkit.kernels.compiler.jit import leaf, pointer
from stnkit.kernels.cpu.call import CHUNKS, STATUS, Arguments
from stnkit.kernels.leaves.formats import zero
from stnkit.spec import INT64


@leaf
def words_at(address):
    """View a block of words."""
    return pointer(address, zero(INT64))


@leaf
def arguments_at(words):
    """Return what follows the addresses in a block of words."""
    return Arguments(
        words[10],
        words[11],
        (words[12], words[13], words[14]),
        words[CHUNKS],
        (words[16], words[17], words[18]),
        (words[19], words[20], words[21]),
        (words[22], words[23], words[24], words[25], words[26]),
        (words[27], words[28], words[29], words[30], words[31]),
        (words[32], words[33], words[34]),
        (words[35], words[36], words[37]),
        (words[38], words[39]),
        (words[40], words[41], words[42]),
        words[STATUS],
    )
