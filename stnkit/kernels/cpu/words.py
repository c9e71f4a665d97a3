"""A block of words, as kernels read it."""

from stnkit.kernels.compiler.jit import leaf, pointer
from stnkit.kernels.cpu.call import CHUNKS, PLACE, STATUS, Arguments
from stnkit.kernels.leaves.formats import zero
from stnkit.spec import INT64


@leaf
def words_at(address):
    """View a block of words."""
    return pointer(address, zero(INT64))


@leaf
def sizes(words, at, place, spec):
    """Return the three sizes that stand at a word; of tiles, then where the tile starts, and its sizes."""
    if spec.placed:
        return (
            words[at], words[at + 1], words[at + 2], words[place], words[place + 1], words[place + 2],
            words[place + 3], words[place + 4], words[place + 5],
        )  # fmt: skip
    return words[at], words[at + 1], words[at + 2]


@leaf
def arguments_at(words, spec):
    """Return what follows the addresses in a block of words: the fields of `Arguments`, from word `SLOTS` on."""
    return Arguments(
        words[10],
        words[11],
        (words[12], words[13], words[14]),
        words[CHUNKS],
        sizes(words, 16, PLACE, spec),
        sizes(words, 19, PLACE + 6, spec),
        (words[22], words[23], words[24], words[25], words[26]),
        (words[27], words[28], words[29], words[30], words[31]),
        (words[32], words[33], words[34]),
        (words[35], words[36], words[37]),
        (words[38], words[39]),
        (words[40], words[41], words[42]),
        (words[43], words[44]),
        (words[45], words[46]),
        words[PLACE],  # the sizes have it
        words[STATUS],
    )
