"""Parts of a call's work: which batch items, channels and tiles of locations each of them has."""

from stnkit.kernels.compiler.jit import int64, leaf, uint64
from stnkit.spec import TILE


@leaf
def part_range(total, part, parts):
    """Return the half-open range that is part number `part` of `parts` of `total` things."""
    if parts == total:
        return part, part + 1
    return quotient(part * total, parts), quotient((part + 1) * total, parts)


@leaf
def quotient(a, b):
    """Divide, and round down, what has no sign: machines do that sooner."""
    return int64(uint64(a) // uint64(b))


@leaf
def ranges(item, parts, batch, channels, tiles):
    """Return the batch items, channels and tiles of work item `item`."""
    _, groups, spans = parts
    rest = quotient(item, spans)
    first = quotient(rest, groups)
    n, c = part_range(batch, first, parts[0]), part_range(channels, rest - first * groups, groups)
    return n, c, part_range(tiles, item - rest * spans, spans)


@leaf
def span(t, points):
    """Return the first location of tile `t`, and how many it holds."""
    first = t * TILE
    return first, TILE if points - first > TILE else points - first
