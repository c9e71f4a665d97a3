"""The backward kernel of a small batch: a part has a band of each image's rows, and adds to that alone.

One part for each item would leave threads idle. So a part walks through all tiles, stages those that read its band, and
adds to the taps that lie there; the cotangent of the source it writes for tiles of its own. A pixel is added to in the
same order, however many bands there are, so neighbouring ones are one where a thread has several.
"""

import functools
from typing import Any, NamedTuple

from stnkit.kernels.compiler.jit import View, clear, free, in_bounds, int64, kernel, leaf, pointer, select
from stnkit.kernels.cpu.call import (
    COTANGENT,
    FILL,
    IMAGE,
    IMAGE_BAR,
    SHORT_OF_MEMORY,
    SOURCE,
)
from stnkit.kernels.cpu.loops import finish_source_bar, grid_cotangent_tile, image_cotangent_tile
from stnkit.kernels.cpu.parts import span
from stnkit.kernels.cpu.tile import allocate, divide, stage, stage_coordinates
from stnkit.kernels.cpu.words import arguments_at, words_at
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.places import locations
from stnkit.kernels.leaves.point import dead_bit
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import lanes
from stnkit.spec import PERIODIC, REFLECTION, TILE, WRAP, Spec

FAR = 1 << 30  # rows, beyond those of any image


class Band(NamedTuple):
    """Rows of an image, or planes of a volume, and the tiles of its item that a part owns."""

    rows: Any  # first, and behind the last
    offsets: Any  # of both in a plane of the image
    tiles: Any
    whole: Any  # whether it is the whole image


@functools.cache
def sample_vjp_banded(spec: Spec) -> Any:
    """Build the kernel that does what `sample_vjp` does, in bands."""

    def sample_vjp_banded(words, first, last):
        return over_bands(words, first, last, spec)

    return kernel(sample_vjp_banded, spec)


@leaf
def over_bands(address, first_chunk, last_chunk, spec):
    """Stage the tiles of some chunks, which are bands, and add what they bring; return a status."""
    words = words_at(address)
    call = arguments_at(words, spec)
    memory = allocate(call.channels, call.extent, spec)
    if memory == 0:
        return SHORT_OF_MEMORY
    like = zero(spec.arithmetic_dtype)
    tile = divide(memory, like, zero(spec.index_dtype), spec)
    source = View(pointer(words[SOURCE], zero(spec.source_dtype)), call.source)
    tiles = (locations(call.size, spec) + TILE - 1) // TILE
    many = call.parts[2]
    first = first_chunk * call.parts[0] * many // call.chunks
    last = last_chunk * call.parts[0] * many // call.chunks
    for n in range(first // many, (last + many - 1) // many):
        band = band_of(max(first - n * many, 0), min(last - n * many, many), call, tiles, spec)
        if call.fresh[0]:
            image_bar = pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype))
            for c in range(1 if spec.interleaved else call.channels):
                where = n * call.image[0] + c * call.image[1] + band.offsets[0]
                clear(image_bar, where, band.offsets[1] - band.offsets[0])
        for t in range(tiles):
            own, staged = stage_band(tile, n, t, band, source, call, like, spec)
            if staged:
                band_tile_vjp(words, call, tile, n, t, n * call.image[0], band, own, spec)
    free(memory)
    return 0


@leaf
def band_tile_vjp(words, call, tile, n, t, at, band, own, spec):
    """Be `sample_tile_vjp` for a band: the source's cotangent comes first, as taps outside the band then die."""
    like = zero(spec.arithmetic_dtype)
    out_bar = View(pointer(words[COTANGENT], zero(spec.dot_dtype)), call.cotangent)
    many, points = lanes(like, spec), lanes(like, spec.one_location)
    first, count = span(t, locations(call.size, spec))
    to, distant = n * call.cotangent[0] + first * call.cotangent[2], call.prefetch[0] != 0
    cs = (int64(0), call.channels)
    if spec.source_bar and own:
        image = View(pointer(words[IMAGE], zero(spec.image_dtype)), call.image)
        fills = pointer(words[FILL], like)
        grid_cotangent_tile(image, at, fills, out_bar, to, tile, count, cs, distant, points, many, spec)
        finish_source_bar(words, call, tile, n, t, first, count, like, spec)
    if band.whole or keep_band(tile, count, band, spec):
        image_bar = View(pointer(words[IMAGE_BAR], zero(spec.image_bar_dtype)), call.image)
        image_cotangent_tile(image_bar, at, out_bar, to, tile, count, cs, distant, many, bool(0), spec)


@leaf
def band_of(first, last, call, tiles, spec):
    """Return what bands `first` to `last` of an item are together."""
    many, outer = call.parts[2], 3 - spec.ndim
    n, step = call.extent[outer], call.image[2 + outer]
    rows = first * n // many, last * n // many
    return Band(
        rows, (rows[0] * step, rows[1] * step), (first * tiles // many, last * tiles // many), last - first == many
    )


@leaf
def stage_band(tile, n, t, band, source, call, like, spec):
    """Stage a tile that a band owns, or may add to; return whether it owns it, and whether it is staged."""
    first, count = span(t, locations(call.size, spec))
    own = band.tiles[0] <= t and t < band.tiles[1]
    wanted = band.whole or own or may_read(tile, n, first, count, band, source, call, like, spec)
    if wanted:
        stage(tile, n, first, count, source, call.size, call.extent, call.image, like, spec.reading)
    return own, wanted


@leaf
def may_read(tile, n, first, count, band, source, call, like, spec):
    """Tell whether a location may have a tap in a band; with some paddings, and far from the image, any may."""
    T, axis = type(like), spec.ndim - 1
    if spec.padding[axis] == REFLECTION or spec.padding[axis] == WRAP or spec.padding[axis] == PERIODIC:
        return True
    if stage_coordinates(tile, n, first, count, source, call.size, call.extent, like, spec.reading.checked):
        return True
    low = T(band.rows[0] - 2 if band.rows[0] > 0 else -FAR)
    high = T(band.rows[1] + 1 if band.rows[1] < call.extent[3 - spec.ndim] else FAR)
    found = False
    for p in range(count):
        at = tile.coords[slot(axis, p)]
        found |= at >= low and at <= high
    return found


@leaf
def keep_band(tile, count, band, spec):
    """Make taps outside a band dead; tell whether any is left."""
    K, axis = type(tile.odd[0]), spec.ndim - 1
    bits = K(dead_bit(axis, int64(0))), K(dead_bit(axis, int64(1)))
    low, size = K(band.offsets[0]), K(band.offsets[1] - band.offsets[0])
    left = K(0)
    for p in range(count):
        at = slot(int64(0), p)
        odd = tile.odd[at]
        odd = K(odd | select(in_bounds(K(tile.rows[at] - low), size), K(0), bits[0]))
        odd = K(odd | select(in_bounds(K(tile.rows[slot(spec.rows // 2, p)] - low), size), K(0), bits[1]))
        left = K(left | ((odd & K(bits[0] | bits[1])) ^ K(bits[0] | bits[1])))
        tile.odd[at] = odd
    return left != K(0)
