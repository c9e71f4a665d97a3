"""One output location: blend the taps of all axes, with the derivatives.

The taps of a location are kept per axis (x, then y, then z), as offsets into one plane of the image, weights
and slopes; `stage.slot(k, p)` is where tap row `k` of location `p` is stored. A dead tap has a large negative
offset, so the offset of a corner, the sum over the axes, is negative if any of its taps is dead.
"""

from stnkit.kernels.compiler.jit import int64, leaf, on_gpu, opaque
from stnkit.kernels.leaves.formats import widen
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import all_zero, finite, full, gather, living, load, same, unset
from stnkit.kernels.simd.neighbours import pairs, quads

FORTH, BACK = 64, 128  # bits: the first tap of a pair reads its second pixel, or the second its first
APART = 256  # bit: rows are not a stride apart, but one row twice
MANY = 4  # lanes, which are so wide that a thread of a GPU has no registers for those of 16 taps
FEW = 16  # taps, which a thread of a GPU has registers for, if not in so many lanes
MOST = 6  # taps of an axis


@leaf
def is_rolled(spec):
    """Tell whether loops over a footprint stay loops, as a thread of a GPU has no registers for all that they read.

    It has no rows of registers either: what such a loop picks by its number has to be selected.
    """
    return on_gpu() and spec.taps > 2 and (spec.taps * spec.rows > FEW or spec.lanes >= MANY)


@leaf
def planes(spec):
    """Return how many planes of taps a location reads."""
    if spec.ndim < 3:
        return int64(1)
    rolled = is_rolled(spec) or (spec.looped and not on_gpu())
    return int64(opaque(spec.taps)) if rolled else int64(spec.taps)


@leaf
def lines(spec):
    """Return how many rows of taps a plane has."""
    if spec.ndim < 2:
        return int64(1)
    rolled = spec.looped if not on_gpu() else is_rolled(spec) and (spec.looped or spec.lanes >= MANY)
    return int64(opaque(spec.taps)) if rolled else int64(spec.taps)


@leaf
def nth(part, first, k, p, like, spec):
    """Return what row `first + k` of a part of the stage holds for location `p`."""
    if is_rolled(spec):
        value = load(part, slot(first, p), like)
        value = same(int64(k), int64(1), load(part, slot(first + 1, p), like), value)
        value = same(int64(k), int64(2), load(part, slot(first + 2, p), like), value)
        if spec.taps > 3:
            value = same(int64(k), int64(3), load(part, slot(first + 3, p), like), value)
        if spec.taps > 4:
            value = same(int64(k), int64(4), load(part, slot(first + 4, p), like), value)
        if spec.taps > 5:
            value = same(int64(k), int64(5), load(part, slot(first + 5, p), like), value)
        return value
    return load(part, slot(first + k, p), like)


@leaf
def corner(tile, p, k, j, i, like, spec):
    """Return the offset of one corner of location `p`."""
    offset = load(tile.offsets, slot(i, p), like) + outer_offset(tile, p, k, j, like, spec)
    return type(tile.offsets[0])(offset) if on_gpu() else offset  # which computes slower with 64 bits


@leaf
def outer_offset(tile, p, k, j, like, spec):
    """Return what the axes but x add to the offsets of one row of taps."""
    taps = spec.taps
    offset = full(type(tile.offsets[0])(0), like)
    if spec.ndim > 1:
        offset = nth(tile.offsets, taps, j, p, like, spec)
    if spec.ndim > 2:
        offset = offset + nth(tile.offsets, 2 * taps, k, p, like, spec)
    return offset


@leaf
def row(image, at, tile, p, k, j, fill, in_order, points, many, number, dtype, spec):
    """Read the taps of one row: the image, or the fill value for a dead tap; six, of which some may not count.

    `in_order` promises that no tap is dead, and that each is the next pixel after the one before.
    """
    if in_order and spec.packed:
        where = slot(spec.taps * k + j, p)
        step = int64(1) if on_gpu() and not spec.interleaved else image.strides[4]  # which then needs no register
        if spec.stepped and not on_gpu():
            where, at = slot(int64(0), p), at + k * image.strides[2] + j * image.strides[3]
        if spec.taps > 3:
            v0, v1, v2, v3 = quads(image.memory, at, tile.rows, where, step, points, many)
        else:
            v0, v1, v2, v3 = pairs(image.memory, at, tile.rows, where, step, points, many)
        v4, v5 = v0, v1
        if spec.taps > 4 or spec.taps == 3:  # the last two of a row, of which one may have been read already
            a, b, _, _ = pairs(image.memory, at + (spec.taps - 2) * step, tile.rows, where, step, points, many)
            v2, v4, v5 = (b, v4, v5) if spec.taps == 3 else (v2, b if spec.taps == 5 else a, b)
        return (
            widen(v0, number, dtype),
            widen(v1, number, dtype),
            widen(v2, number, dtype),
            widen(v3, number, dtype),
            widen(v4, number, dtype),
            widen(v5, number, dtype),
        )
    if spec.paired:
        odd, step = load(tile.odd, slot(int64(0), p), points), image.strides[4]
        v0, v1, _, _ = pairs(image.memory, at, tile.rows, slot(spec.taps * k + j, p), step, points, many)
        v0, v1 = widen(v0, number, dtype), widen(v1, number, dtype)
        f0 = dead_value(fill, tile, p, k, j, int64(0), points, spec)
        f1 = dead_value(fill, tile, p, k, j, int64(1), points, spec)
        w0 = choose(odd, FORTH, dead_bits(k, j, int64(0), spec), v0, v1, f0)
        w1 = choose(odd, BACK, dead_bits(k, j, int64(1), spec), v1, v0, f1)
        return w0, w1, w0, w0, w0, w0
    v0 = read(image.memory, at, tile, p, k, j, int64(0), fill, points, many, number, dtype, spec)
    v1 = read(image.memory, at, tile, p, k, j, int64(1), fill, points, many, number, dtype, spec)
    v2, v3, v4, v5 = v0, v0, v0, v0
    if spec.taps > 2:
        v2 = read(image.memory, at, tile, p, k, j, int64(2), fill, points, many, number, dtype, spec)
    if spec.taps > 3:
        v3 = read(image.memory, at, tile, p, k, j, int64(3), fill, points, many, number, dtype, spec)
    if spec.taps > 4:
        v4 = read(image.memory, at, tile, p, k, j, int64(4), fill, points, many, number, dtype, spec)
    if spec.taps > 5:
        v5 = read(image.memory, at, tile, p, k, j, int64(5), fill, points, many, number, dtype, spec)
    return v0, v1, v2, v3, v4, v5


@leaf
def choose(odd, turned, dead, value, other, fill):
    """Return what one of two taps reads: its pixel, or the other one, or if it is dead the fill value."""
    return unset(odd, dead, unset(odd, turned, value, other), fill)


@leaf
def dead_bits(k, j, i, spec):
    """Return the bits of which any makes a corner dead."""
    bits = dead_bit(int64(0), i)
    if spec.ndim > 1:
        bits |= dead_bit(int64(1), j)
    if spec.ndim > 2:
        bits |= dead_bit(int64(2), k)
    return bits


@leaf
def dead_bit(axis, tap):
    """Return the bit that says that a tap of an axis is dead."""
    return int64(1) << (2 * axis + tap)


@leaf
def corner_offset(tile, p, k, j, i, first, step, in_order, spec):
    """Return the offset of one corner of location `p`, in a row that begins at `first`; negative if a tap is dead."""
    if in_order:
        return first + i * step
    if spec.paired:
        odd = tile.odd[slot(int64(0), p)]
        turned = odd & (BACK if i > 0 else FORTH)
        where = first + (1 - i if turned != 0 else i) * step
        return int64(-1) if odd & dead_bits(k, j, i, spec) != 0 else where
    return int64(corner(tile, p, k, j, i, tile.weights[0], spec))


@leaf
def dead_value(fill, tile, p, k, j, i, points, spec):
    """Return what a corner reads if it is dead: the fill value; 0 where that is not finite and the weight is 0."""
    if spec.fill_finite:
        return fill
    unused = zero_weight_bit(int64(0), i)
    if spec.ndim > 1:
        unused |= zero_weight_bit(int64(1), j)
    if spec.ndim > 2:
        unused |= zero_weight_bit(int64(2), k)
    return unset(load(tile.idle, slot(int64(0), p), points), unused, fill, finite(fill))


@leaf
def zero_weight_bit(axis, tap):
    """Return the bit that says that a tap of an axis has a weight of 0."""
    return int64(1) << (MOST * axis + tap)


@leaf
def read(image, at, tile, p, k, j, i, fill, points, many, number, dtype, spec):
    """Read one corner: the image, or the fill value if it is dead."""
    offset = corner(tile, p, k, j, i, points, spec)
    fill = dead_value(fill, tile, p, k, j, i, points, spec)
    return living(offset, widen(gather(image, at, offset, many), number, dtype), fill)


@leaf
def tap(tile, row, k, p, like, spec):
    """Return (weight, slope, curve) of tap `k` of location `p`; `row` is where its axis begins.

    Slope and curve are derivatives of the weight per pixel: constant for bilinear, which does not
    stage them.
    """
    w = nth(tile.weights, row, k, p, like, spec)
    T = type(tile.weights[0])
    v, q = full(T(1) if k > 0 else T(-1), like), full(T(0), like)
    if spec.sloped:
        v, q = nth(tile.slopes, row, k, p, like, spec), nth(tile.curves, row, k, p, like, spec)
    return w, v, q


@leaf
def taps_x(tile, p, like, spec):
    """Return the weights of a row's taps, their slopes and their curves: six of each, of which some may not count."""
    w0, v0, q0 = tap(tile, int64(0), int64(0), p, like, spec)
    w1, v1, q1 = tap(tile, int64(0), int64(1), p, like, spec)
    w2, v2, q2, w3, v3, q3 = w0, v0, q0, w0, v0, q0
    w4, v4, q4, w5, v5, q5 = w0, v0, q0, w0, v0, q0
    if spec.taps > 2:
        w2, v2, q2 = tap(tile, int64(0), int64(2), p, like, spec)
    if spec.taps > 3:
        w3, v3, q3 = tap(tile, int64(0), int64(3), p, like, spec)
    if spec.taps > 4:
        w4, v4, q4 = tap(tile, int64(0), int64(4), p, like, spec)
    if spec.taps > 5:
        w5, v5, q5 = tap(tile, int64(0), int64(5), p, like, spec)
    return (w0, w1, w2, w3, w4, w5), (v0, v1, v2, v3, v4, v5), (q0, q1, q2, q3, q4, q5)


@leaf
def rows_in_order(tile, p, points, spec):
    """Tell whether the rows of a location, or of all that are done at once, can be read as they lie in memory."""
    return spec.packed and spec.taps > 1 and all_zero(tile.odd, slot(int64(0), p), points)


@leaf
def weighted_sum(ws, vs, spec):
    """Return the sum of the taps of one row, weighted."""
    line = ws[0] * vs[0]
    if spec.taps > 1:
        line = line + ws[1] * vs[1]
    if spec.taps > 2:
        line = line + ws[2] * vs[2]
    if spec.taps > 3:
        line = line + ws[3] * vs[3]
    if spec.taps > 4:
        line = line + ws[4] * vs[4]
    if spec.taps > 5:
        line = line + ws[5] * vs[5]
    return line


@leaf
def blend(image, dtype, at, fill, tile, p, in_order, points, many, spec):
    """Interpolate location `p` in the plane that begins at `at`: (value, d / d x, d / d y, d / d z).

    `dtype` is the format of the image. `points` and `many` are examples of a type:
    of the locations from `p` on that are done at once, and of the values read for them, which are more where the
    channels of one location are lanes. Derivatives are per pixel. What the caller does not use, the compiler
    leaves out. Sums begin at -0.0, the neutral element of floating-point addition, so that a first term costs
    no addition.
    """
    number = tile.weights[0]
    T = type(number)
    none = full(T(-0.0), many)
    if spec.nearest:  # the weight is 1, and has no slope
        offset = load(tile.rows, slot(int64(0), p), points)
        return living(offset, widen(gather(image.memory, at, offset, many), number, dtype), fill), none, none, none
    taps = spec.taps
    value, dx, dy, dz = none, none, none, none
    ws, slopes, _ = taps_x(tile, p, points, spec)
    for k in range(planes(spec)):
        plane, plane_dx, plane_dy = none, none, none
        for j in range(lines(spec)):
            vs = row(image, at, tile, p, k, j, fill, in_order, points, many, number, dtype, spec)
            line, line_dx = weighted_sum(ws, vs, spec), weighted_sum(slopes, vs, spec)
            if spec.ndim > 1:
                wy, vy, _ = tap(tile, taps, j, p, points, spec)
                plane = plane + wy * line
                plane_dx = plane_dx + wy * line_dx
                plane_dy = plane_dy + vy * line
            else:
                plane, plane_dx = line, line_dx
        if spec.ndim > 2:
            wz, vz, _ = tap(tile, 2 * taps, k, p, points, spec)
            value = value + wz * plane
            dx = dx + wz * plane_dx
            dy = dy + wz * plane_dy
            dz = dz + vz * plane
        else:
            value, dx, dy = plane, plane_dx, plane_dy
    return value, dx, dy, dz


@leaf
def directional_derivative(image, dtype, at, fill, tile, p, in_order, points, many, spec):
    """Differentiate the interpolation of location `p` along its tangent: (value', dx', dy', dz').

    Every sum of `blend` becomes a pair, itself and its derivative along the tangent of the pixel
    coordinates that is staged in `tile.dots`: (w r)' = w' r + w r', with w' = slope * dot on the weight's own
    axis. So value' is the gradient along the tangent, and (dx', dy', dz') the Hessian times it.
    """
    number = tile.weights[0]
    T = type(number)
    none = full(T(-0.0), many)
    taps = spec.taps
    ux = load(tile.dots, slot(int64(0), p), points)
    uy = load(tile.dots, slot(int64(1), p), points) if spec.ndim > 1 else full(T(0), points)
    uz = load(tile.dots, slot(int64(2), p), points) if spec.ndim > 2 else full(T(0), points)
    value_, dx_, dy_, dz_ = none, none, none, none
    ws, slopes, curves = taps_x(tile, p, points, spec)
    for k in range(planes(spec)):
        wz, vz, qz = full(T(1), points), full(T(0), points), full(T(0), points)
        if spec.ndim > 2:
            wz, vz, qz = tap(tile, 2 * taps, k, p, points, spec)
        plane, plane_, plane_dx, plane_dx_, plane_dy, plane_dy_ = none, none, none, none, none, none
        for j in range(lines(spec)):
            wy, vy, qy = full(T(1), points), full(T(0), points), full(T(0), points)
            if spec.ndim > 1:
                wy, vy, qy = tap(tile, taps, j, p, points, spec)
            vs = row(image, at, tile, p, k, j, fill, in_order, points, many, number, dtype, spec)
            line, line_dx, line_dx_ = (
                weighted_sum(ws, vs, spec),
                weighted_sum(slopes, vs, spec),
                ux * weighted_sum(curves, vs, spec),
            )
            line_ = ux * line_dx
            plane = plane + wy * line
            plane_ = plane_ + (wy * line_ + vy * uy * line)
            plane_dx = plane_dx + wy * line_dx
            plane_dx_ = plane_dx_ + (wy * line_dx_ + vy * uy * line_dx)
            plane_dy = plane_dy + vy * line
            plane_dy_ = plane_dy_ + (vy * line_ + qy * uy * line)
        value_ = value_ + (wz * plane_ + vz * uz * plane)
        dx_ = dx_ + (wz * plane_dx_ + vz * uz * plane_dx)
        dy_ = dy_ + (wz * plane_dy_ + vz * uz * plane_dy)
        dz_ = dz_ + (vz * plane_ + qz * uz * plane)
    return value_, dx_, dy_, dz_
