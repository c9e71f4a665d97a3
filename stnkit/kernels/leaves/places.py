"""Tiles: where the output and the image at hand lie in the whole of each.

With `spec.placed`, `size` and `extent` have nine numbers: of the whole, then where the tile starts in it, then the
tile's own, each z y x. Coordinates, paddings and weights are those of the whole, whose numbers come first; what is
read from memory is found last, by integers. So any tiling gives the bits of the whole.

The tile of an image may go around (`spec.around`): after the last pixel of a whole axis comes its first. A tap that
reads a pixel which the tile does not hold is dead.
"""

from stnkit.kernels.compiler.jit import in_bounds, leaf, select
from stnkit.kernels.leaves.padding import stored


@leaf
def own(size, k, spec):
    """Return the size at hand on axis `k` of z, y, x."""
    return size[6 + k] if spec.placed else size[k]


@leaf
def start(size, k, spec):
    """Return where the tile starts on axis `k` of z, y, x."""
    return size[3 + k] if spec.placed else 0


@leaf
def locations(size, spec):
    """Return how many locations the output at hand has."""
    if spec.placed:
        return size[6] * size[7] * size[8]
    return size[0] * size[1] * size[2]


@leaf
def run(first, p, count, size, spec):
    """Return where the locations from `p` on of those that begin at `first` stand in the whole output, (z, y, x).

    Last comes how many of them are in that row of the output at hand.
    """
    height, width = (size[7], size[8]) if spec.placed else (size[1], size[2])
    row, x = (first + p) // width, (first + p) % width
    z, y, rest = row // height, row % height, width - x
    length = rest if rest < count - p else count - p
    if spec.placed:
        return z + size[3], y + size[4], x + size[5], length
    return z, y, x, length


@leaf
def held(n, extent, k, padding, spec):
    """Return how many pixels memory holds on axis `k` of z, y, x, of `n`, and which of the whole is the first."""
    if spec.placed:
        return extent[6 + k], extent[3 + k]
    return stored(n, padding), 0


@leaf
def at_hand(j, n, part, padding, spec):
    """Return where pixel `j` of an axis is in the `part` of it that is held, or -1 if it is not, and for -1."""
    if not spec.placed:
        return j
    i = type(j)(j - part[1])
    if spec.around:
        i = select(i < 0 and j >= 0, type(j)(i + stored(n, padding)), i)
    return select(in_bounds(i, part[0]), i, type(j)(-1))


@leaf
def couple_at_hand(js, alive, n, part, spec):
    """Be `at_hand` for two taps, which are alive or dead; a tile that is read in pairs does not go around."""
    if not spec.placed:
        return js, alive
    i, j = type(n)(js[0] - part[1]), type(n)(js[1] - part[1])
    return (i, j), (alive[0] & in_bounds(i, part[0]), alive[1] & in_bounds(j, part[0]))
