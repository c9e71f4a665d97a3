"""Where a location's taps are: how they are staged, axis by axis, once its pixel coordinates are.

In general a tap is an offset into a plane of the image. Where the two taps of bilinear lie side by side in memory, a
location has instead, for each row of its footprint, the offset of two pixels that can always be read, and a word
of bits for what is out of order there: less to write for each location, which is what staging takes its time for.
Nearest reads one tap, and needs nothing but its offset.
"""

from stnkit.kernels.compiler.jit import int64, leaf, select
from stnkit.kernels.leaves.axis import couple, taps
from stnkit.kernels.leaves.looped import looped_tap, looped_taps
from stnkit.kernels.leaves.places import at_hand, couple_at_hand, held
from stnkit.kernels.leaves.point import APART, BACK, FORTH, corner, dead_bit, zero_weight_bit
from stnkit.kernels.leaves.stage import slot
from stnkit.spec import FLOAT64, MASK


@leaf
def stage_taps(tile, p, extent, strides, spec):
    """Stage the taps of location `p`, and whether they can be read in rows as they lie in memory."""
    if spec.nearest:
        stage_nearest(tile, p, extent, strides, spec)
    elif spec.paired:
        stage_pairs(tile, p, extent, strides, spec)
    elif spec.looped:
        stage_looped(tile, p, extent, strides, spec)
    else:
        stage_footprint(tile, p, extent, strides, spec)
    if not (spec.fill_finite or spec.nearest):
        note_zero_weights(tile, p, extent, spec)


@leaf
def stage_nearest(tile, p, extent, strides, spec):
    """Stage where the one tap of nearest is, or -1 if it is dead."""
    K = type(tile.rows[0])
    part = held(extent[2], extent, 2, spec.padding[0], spec)
    where, dead = nearest(tile, p, int64(0), extent[2], part, strides[4], spec.padding[0], spec)
    if spec.ndim > 1:
        part = held(extent[1], extent, 1, spec.padding[1], spec)
        y, lost_y = nearest(tile, p, int64(1), extent[1], part, strides[3], spec.padding[1], spec)
        where, dead = K(where + y), K(dead | lost_y)
    if spec.ndim > 2:
        part = held(extent[0], extent, 0, spec.padding[2], spec)
        z, lost_z = nearest(tile, p, int64(2), extent[0], part, strides[2], spec.padding[2], spec)
        where, dead = K(where + z), K(dead | lost_z)
    tile.rows[slot(int64(0), p)] = select(dead < 0, K(-1), where)


@leaf
def nearest(tile, p, axis, n, part, stride, padding, spec):
    """Return what the tap of an axis adds to the offset, and a number that is negative if it is dead."""
    K = type(tile.rows[0])
    (j, _, _, _), _, _, _, _ = taps(tile.coords[slot(axis, p)], K(n), padding, spec)
    j = at_hand(j, n, part, padding, spec)
    return row_offset(j, bool(1), part[0], stride), j


@leaf
def note_zero_weights(tile, p, extent, spec):
    """Stage which taps have no weight, or none but what the rounding of coordinates may give them.

    A normalised coordinate at the edge is half of the axis' n pixels away from 0, so each of the few roundings that it
    has seen moves it by up to n / 2 epsilons of pixels, and a weight by no more than that. The outermost weight of a
    spline is t**p / p! where it reaches t pixels far, and that of `mitchell` is less than t**2 / 2.
    """
    K, T = type(tile.odd[0]), type(tile.weights[0])
    wide = spec.placed or spec.source_dtype == FLOAT64  # numbers of tiles are taken as exact
    epsilon = T(2.0**-52) if wide else T(2.0**-23)
    bits = K(0)
    for axis in range(spec.ndim):
        shift = T(8) * epsilon * T(extent[2 - axis])
        slack = shift
        for below in range(1, spec.contact):
            slack = slack * shift / T(below + 1)
        for tap in range(spec.taps):
            weight = tile.weights[slot(axis * spec.taps + tap, p)]
            bits = K(bits | select(weight <= slack and weight >= -slack, K(zero_weight_bit(axis, tap)), K(0)))
    tile.idle[slot(int64(0), p)] = bits


@leaf
def stage_pairs(tile, p, extent, strides, spec):
    """Stage rows of two pixels, which hold both taps of x; bits say which is dead, or reads the other pixel."""
    K = type(tile.odd[0])
    part = held(extent[2], extent, 2, spec.padding[0], spec)
    (x0, x1), _, odd = stage_pair(tile, p, int64(0), extent[2], part, spec.padding[0], spec)
    width = part[0]
    last = K(width - 2)
    first = select(x0 < last, x0, last)
    first = select(first > 0, first, K(0))
    odd = K(odd | select(x0 > first, K(FORTH), K(0)) | select(x1 == first, K(BACK), K(0)))
    y0, y1, z0, z1 = K(0), K(0), K(0), K(0)
    if spec.ndim > 1:
        part = held(extent[1], extent, 1, spec.padding[1], spec)
        js, alive, dead = stage_pair(tile, p, int64(1), extent[1], part, spec.padding[1], spec)
        (y0, y1), odd = both(js, alive, part[0], strides[3]), K(odd | dead)
    if spec.ndim > 2:
        part = held(extent[0], extent, 0, spec.padding[2], spec)
        js, alive, dead = stage_pair(tile, p, int64(2), extent[0], part, spec.padding[2], spec)
        (z0, z1), odd = both(js, alive, part[0], strides[2]), K(odd | dead)
    x = offset(first, width, strides[4]) if spec.interleaved else first  # whose neighbours are next to it
    for k in range(2 if spec.ndim > 2 else 1):
        for j in range(2 if spec.ndim > 1 else 1):
            tile.rows[slot(2 * k + j, p)] = K(x + (y1 if j > 0 else y0) + (z1 if k > 0 else z0))
    tile.odd[slot(int64(0), p)] = odd


@leaf
def stage_pair(tile, p, axis, n, part, padding, spec):
    """Stage the weights of one axis; return the indices of its two taps, are they alive, and bits for the dead."""
    K = type(tile.odd[0])
    js, alive, t, _ = couple(tile.coords[slot(axis, p)], K(n), padding, spec)
    js, alive = couple_at_hand(js, alive, K(n), part, spec)
    tile.weights[slot(2 * axis, p)] = type(t)(1) - t
    tile.weights[slot(2 * axis + 1, p)] = t
    first = select(alive[0], K(0), K(dead_bit(axis, int64(0))))
    second = select(alive[1], K(0), K(dead_bit(axis, int64(1))))
    if axis > 0 and padding == MASK and spec.stepped:
        once = K(APART if n > 1 else 0)  # of one row, all are where it is
        first = K(first | select(js[0] == js[1], once, K(0)))
    if padding == MASK and not spec.placed:  # whose dead taps stand for pixels too
        alive = bool(1), bool(1)
    return js, alive, K(first | second)


@leaf
def both(js, alive, n, stride):
    """Return where the two pixels of an axis are; in place of a dead one, where the first is."""
    return row_offset(js[0], alive[0], n, stride), row_offset(js[1], alive[1], n, stride)


@leaf
def offset(j, n, stride):
    """Return where pixel `j` of an axis is; of a dead tap, where the first is."""
    K = type(j)
    return row_offset(select(j > 0, j, K(0)), bool(1), n, stride)


@leaf
def row_offset(j, alive, n, stride):
    """Return where pixel `j` of an axis is if it is alive, else where the first is.

    `stride` steps one pixel along the axis. Where it is negative, offsets count from the axis' far end, so that none
    is negative.
    """
    K = type(j)
    n, stride = K(n), K(stride)
    bias = K((1 - n) * stride) if stride < 0 else K(0)
    return K(select(alive, K(j * stride), K(0)) + bias)


@leaf
def stage_footprint(tile, p, extent, strides, spec):
    """Stage offsets, one for each axis and tap, and where the rows of the footprint can be read."""
    part = held(extent[2], extent, 2, spec.padding[0], spec)
    odd = stage_axis(tile, p, int64(0), extent[2], part, strides[4], spec.padding[0], spec)
    if spec.ndim > 1:
        part = held(extent[1], extent, 1, spec.padding[1], spec)
        odd |= stage_axis(tile, p, int64(1), extent[1], part, strides[3], spec.padding[1], spec)
    if spec.ndim > 2:
        part = held(extent[0], extent, 0, spec.padding[2], spec)
        odd |= stage_axis(tile, p, int64(2), extent[0], part, strides[2], spec.padding[2], spec)
    note_order(tile, p, odd, spec)


@leaf
def stage_looped(tile, p, extent, strides, spec):
    """Be `stage_footprint` for splines and filters."""
    part = held(extent[2], extent, 2, spec.padding[0], spec)
    odd = stage_looped_axis(tile, p, int64(0), extent[2], part, strides[4], spec.padding[0], spec)
    if spec.ndim > 1:
        part = held(extent[1], extent, 1, spec.padding[1], spec)
        odd |= stage_looped_axis(tile, p, int64(1), extent[1], part, strides[3], spec.padding[1], spec)
    if spec.ndim > 2:
        part = held(extent[0], extent, 0, spec.padding[2], spec)
        odd |= stage_looped_axis(tile, p, int64(2), extent[0], part, strides[2], spec.padding[2], spec)
    note_order(tile, p, odd, spec)


@leaf
def note_order(tile, p, odd, spec):
    """Stage whether the taps of a location are out of order, and where the rows of those that are not can be read."""
    tile.odd[slot(int64(0), p)] = odd
    if spec.packed:
        stage_rows(tile, p, spec)


@leaf
def stage_axis(tile, p, axis, n, part, stride, padding, spec):
    """Stage the taps of one axis. Return 0 if none is dead, and on x if they lie side by side."""
    K = type(tile.odd[0])
    (j0, j1, j2, j3), ws, vs, qs, _ = taps(tile.coords[slot(axis, p)], K(n), padding, spec)
    j0, j1 = at_hand(j0, n, part, padding, spec), at_hand(j1, n, part, padding, spec)
    j2, j3 = at_hand(j2, n, part, padding, spec), at_hand(j3, n, part, padding, spec)
    row, n = axis * spec.taps, part[0]
    odd = stage_tap(tile, row, p, j0, n, stride, ws[0], vs[0], qs[0], spec)
    if spec.taps > 1:
        odd = K(odd | stage_tap(tile, row + 1, p, j1, n, stride, ws[1], vs[1], qs[1], spec))
        odd = K(odd | K(j1 - j0 - 1)) if axis == 0 else odd
    if spec.taps > 2:
        odd = K(odd | stage_tap(tile, row + 2, p, j2, n, stride, ws[2], vs[2], qs[2], spec))
        odd = K(odd | stage_tap(tile, row + 3, p, j3, n, stride, ws[3], vs[3], qs[3], spec))
        odd = K(odd | K(j2 - j1 - 1) | K(j3 - j2 - 1)) if axis == 0 else odd
    return odd


@leaf
def stage_looped_axis(tile, p, axis, n, part, stride, padding, spec):
    """Be `stage_axis` for splines and filters, tap by tap."""
    K = type(tile.odd[0])
    i, ws, vs, qs, lost = looped_taps(tile.coords[slot(axis, p)], K(n), padding, spec)
    odd, before = K(0), at_hand(looped_tap(i, 0, lost, K(n), padding, spec), n, part, padding, spec)
    for tap in range(spec.taps):
        j = at_hand(looped_tap(i, tap, lost, K(n), padding, spec), n, part, padding, spec)
        dead = stage_tap(tile, axis * spec.taps + tap, p, j, part[0], stride, ws[tap], vs[tap], qs[tap], spec)
        odd = K(odd | dead | (K(j - before - 1) if axis == 0 and tap > 0 else K(0)))
        before = j
    return odd


@leaf
def stage_tap(tile, row, p, j, n, stride, w, v, q, spec):
    """Stage one tap. Return 1 if it is dead, else 0."""
    K = type(j)
    tile.offsets[slot(row, p)] = select(j >= 0, offset(j, n, stride), far(j, spec))
    tile.weights[slot(row, p)] = w
    if spec.sloped:
        tile.slopes[slot(row, p)] = v
        tile.curves[slot(row, p)] = q
    return select(j < 0, K(1), K(0))


@leaf
def far(like, spec):
    """Return the offset of a dead tap: so negative that with those of the other axes it still is."""
    return type(like)(-(1 << 61)) if spec.wide else type(like)(-(1 << 29))


@leaf
def stage_rows(tile, p, spec):
    """Stage where the rows of a footprint begin; what is not in order is not read there."""
    K = type(tile.odd[0])
    for k in range(spec.taps if spec.ndim > 2 else 1):
        for j in range(spec.taps if spec.ndim > 1 else 1):
            first = corner(tile, p, k, j, int64(0), int64(0), spec)
            tile.rows[slot(spec.taps * k + j, p)] = select(first > 0, first, K(0))


@leaf
def drop(tile, axis, p, gone, spec):
    """Make the taps of one axis dead, and idle, where a location is `gone`."""
    at = slot(int64(0), p)
    K = type(tile.odd[0])
    if not spec.fill_finite:
        for tap in range(spec.taps):
            tile.idle[at] = K(tile.idle[at] | K(zero_weight_bit(axis, tap))) if gone else tile.idle[at]
    if spec.paired:
        both = K(dead_bit(axis, int64(0)) | dead_bit(axis, int64(1)))
        tile.odd[at] = K(tile.odd[at] | both) if gone else tile.odd[at]
    else:
        tile.odd[at] = K(1) if gone else tile.odd[at]
        for k in range(axis * spec.taps, axis * spec.taps + spec.taps):
            tile.offsets[slot(k, p)] = far(tile.odd[at], spec) if gone else tile.offsets[slot(k, p)]
