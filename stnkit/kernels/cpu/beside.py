"""The adjoint of bilinear sampling in planes of many channels: sums whose channels lie side by side.

Neighbouring locations add to the same pixels, so they cannot be done at once; channels can, where they are neighbours
in memory. So a tile's cotangents are brought to that order, and added in lanes, to sums that are brought back at last.
A pixel is added to in the same order, and has the same bits.
"""

from stnkit.kernels.compiler.jit import View, clear, int64, leaf, pointer
from stnkit.kernels.cpu.call import IMAGE_BAR
from stnkit.kernels.cpu.scatter import corners
from stnkit.kernels.cpu.tile import scratch_after
from stnkit.kernels.leaves.formats import add, widen, zero
from stnkit.kernels.leaves.point import corner_offset
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import load, width
from stnkit.kernels.simd.squares import transpose
from stnkit.spec import LANES, TILE


@leaf
def sums(call, memory, cs, spec):
    """View the memory of an item's sums, which is behind that of a tile's cotangents."""
    behind = scratch_after(memory, spec) + 8 * TILE * call.channels
    return View(pointer(behind, zero(spec.image_bar_dtype)), (int64(0), int64(1), cs[1] - cs[0]))


@leaf
def begin_sums(words, call, memory, at, cs, spec):
    """Set an item's sums to 0, or if there are none, the channels of the image's cotangent, which has no gaps."""
    pixels, wide = call.extent[0] * call.extent[1] * call.extent[2], cs[1] - cs[0]
    if spec.beside:
        clear(sums(call, memory, cs, spec).memory, int64(0), pixels * wide)
    elif spec.interleaved and wide < call.channels:
        for pixel in range(pixels):
            clear(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), at + pixel * call.channels + cs[0], wide)
    else:
        clear(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), at + cs[0] * call.image[1], pixels * wide)


@leaf
def end_sums(words, call, memory, at, cs, spec):
    """Copy sums to planes of an image's cotangent; of a whole block of pixels, squares are done in registers."""
    image_bar = View(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), call.image)
    pixels = call.extent[0] * call.extent[1] * call.extent[2]
    beside = sums(call, memory, cs, spec)
    apart, wide = image_bar.strides[1], beside.strides[2]
    c = cs[0]
    while c < cs[1]:
        last = min(c + LANES, cs[1])
        p = int64(0)
        while last - c == LANES and p + LANES <= pixels:
            transpose(image_bar.memory, at + c * apart + p, apart, beside.memory, p * wide + c - cs[0], wide)
            p += LANES
        while p < pixels:
            for k in range(c, last):
                image_bar.memory[at + k * apart + p] = beside.memory[p * wide + k - cs[0]]
            p += 1
        c = last


@leaf
def scatter_beside(beside, out_bar, tile, count, many, spec):
    """Add the cotangents of one tile, in lanes of channels."""
    wide = beside.strides[2]
    for p in range(count):
        ws, odd = corners(tile, p, spec), tile.odd[slot(int64(0), p)]
        for row in range(spec.rows):
            first = int64(tile.rows[slot(row, p)])
            if odd == 0:
                add_channels(beside, first * wide, out_bar, p * wide, ws[2 * row], many, spec)
                add_channels(beside, (first + 1) * wide, out_bar, p * wide, ws[2 * row + 1], many, spec)
            else:
                for i in range(2):
                    k, j = row // 2, row % 2
                    where = corner_offset(tile, p, k, j, i, first, int64(1), bool(0), spec)
                    if where >= 0:
                        add_channels(beside, where * wide, out_bar, p * wide, ws[2 * row + i], many, spec)


@leaf
def add_channels(beside, at, out_bar, to, weight, many, spec):
    """Add the cotangents of one location, weighted, to the channels of one pixel."""
    number, wide = weight, beside.strides[2]
    c = int64(0)
    while c + width(many) <= wide:
        g = widen(load(out_bar.memory, to + c, many), number, spec.dot_dtype)
        add(beside.memory, at + c, weight * g, number, spec)
        c += width(many)
    while c < wide:
        g = widen(out_bar.memory[to + c], number, spec.dot_dtype)
        add(beside.memory, at + c, weight * g, number, spec)
        c += 1
