"""The adjoint of bilinear sampling in planes: three channels of a location are done together.

Where a location's taps are, and their weights, is then worked out once for all of them. Three are the channels of
colours; more would need more registers than there are.
"""

from stnkit.kernels.compiler.jit import advanced, int64, leaf
from stnkit.kernels.leaves.formats import add, widen
from stnkit.kernels.leaves.scatter import scatter_taps
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.neighbours import prefetch

BLOCK = 3  # channels
OFTEN = 4  # locations; of one in so many, the pixels of the next channels are asked for


@leaf
def scatter_planes(image_bar, at, out_bar, to, tile, count, cs, spec):
    """Add the cotangents of one tile to planes of the image's, block after block; return the channels that are left."""
    first = cs[0]
    while first + BLOCK <= cs[1]:
        following, plane = first + 2 * BLOCK <= cs[1], at + first * image_bar.strides[1]
        for p in range(count):
            where = to + p * out_bar.strides[2] + first * out_bar.strides[1]
            if following and p & (OFTEN - 1) == 0:
                prefetch_next(image_bar, plane + BLOCK * image_bar.strides[1], tile, p, spec)
            if tile.odd[slot(int64(0), p)] == 0:
                scatter_three(image_bar, plane, out_bar, where, tile, p, spec)
            else:
                for c in range(BLOCK):
                    g = widen(out_bar.memory[where + c * out_bar.strides[1]], tile.weights[0], spec.dot_dtype)
                    scatter_taps(
                        image_bar, plane + c * image_bar.strides[1], g, tile, p, bool(0), bool(0), spec.reading
                    )
        first += BLOCK
    return first, cs[1]


@leaf
def prefetch_next(image_bar, at, tile, p, spec):
    """Ask for the pixels of a location in the channels from `at` on."""
    for c in range(BLOCK):
        plane = advanced(image_bar.memory, at + c * image_bar.strides[1])
        for row in range(spec.rows):
            prefetch(plane, tile.rows, slot(row, p), tile.weights[0])


@leaf
def scatter_three(image_bar, at, out_bar, where, tile, p, spec):
    """Add the cotangents of location `p`, whose taps are all alive and in order."""
    number, step = tile.weights[0], out_bar.strides[1]
    ws = corners(tile, p, spec)
    a = widen(out_bar.memory[where], number, spec.dot_dtype)
    b = widen(out_bar.memory[where + step], number, spec.dot_dtype)
    c = widen(out_bar.memory[where + 2 * step], number, spec.dot_dtype)
    scatter_rows(image_bar, at, a, ws, tile, p, spec)
    scatter_rows(image_bar, at + image_bar.strides[1], b, ws, tile, p, spec)
    scatter_rows(image_bar, at + 2 * image_bar.strides[1], c, ws, tile, p, spec)


@leaf
def scatter_rows(image_bar, at, g, ws, tile, p, spec):
    """Add the cotangent `g` to the rows of a location's footprint."""
    number = tile.weights[0]
    for row in range(spec.rows):
        where = at + int64(tile.rows[slot(row, p)])
        add(image_bar.memory, where, ws[2 * row] * g, number, spec)
        add(image_bar.memory, where + 1, ws[2 * row + 1] * g, number, spec)


@leaf
def corners(tile, p, spec):
    """Return the weights of a location's taps, row by row."""
    x0, x1 = tile.weights[slot(int64(0), p)], tile.weights[slot(int64(1), p)]
    if spec.ndim == 1:
        return x0, x1
    y0, y1 = tile.weights[slot(int64(2), p)], tile.weights[slot(int64(3), p)]
    if spec.ndim == 2:
        return y0 * x0, y0 * x1, y1 * x0, y1 * x1
    z0, z1 = tile.weights[slot(int64(4), p)], tile.weights[slot(int64(5), p)]
    a, b, c, d = z0 * y0, z0 * y1, z1 * y0, z1 * y1
    return a * x0, a * x1, b * x0, b * x1, c * x0, c * x1, d * x0, d * x1
