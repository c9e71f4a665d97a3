"""The adjoint of sampling an image by an affine map, without atomics: each pixel finds the locations that read it.

In pixels the map is u = M o + b, for a location o that counts from 0 along x, y and z. A pixel q is read where u is
within a footprint's reach R of it on every axis: 1 pixel for bilinear, 1/2 for nearest, 2 for bicubic. With padding
`border`, the outermost pixels are read from all that lies further out too, so that their range goes on to the lowest,
or the highest, u of any location.

With an inverse X, o = X (u - b). Rows of locations are taken within the smallest box around that; in each row the
range of x follows from every axis. What is found is only a candidate: it is staged by the leaves that sample, and what
its taps do not read gets nothing. So a candidate too many costs time alone, but none may be left out, and ranges are
made wider by what roundings can move them: see `affine_bounds`, which writes down M, b, X and the ranges' widths.
"""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.cpu.tile import shares
from stnkit.kernels.cuda.affine_bounds import BACK, HIGHEST, LINEAR, LOWEST, REACH, SHIFT, STEEP, entry, is_gathered
from stnkit.kernels.cuda.numbering import located, task
from stnkit.kernels.cuda.thread import hold, stage
from stnkit.kernels.leaves.formats import narrow, widen
from stnkit.kernels.leaves.stage import slot
from stnkit.kernels.simd.lanes import lanes, load, store, width
from stnkit.spec import BORDER, FLOAT32

HELD = 8  # channels that a thread does, at most, where it does them one by one


@leaf
def gather(
    i, image_bar, out_bar, source, maps, channels, group, groups, shared, kept, size, extent, like, index_like, spec
):  # fmt: skip
    """Sum to one pixel, in one group of `group` channels, what the locations that read it bring, in a fixed order.

    `shared` is how many batch items share the image. With `kept` the sum is added to what stands there.
    """
    n, p, part = task(i, extent[0] * extent[1] * extent[2], groups, spec)
    pixel = located(p, extent, spec)
    many, sums = lanes(like, spec), hold(like)
    first, last = part * group, min(part * group + group, channels)
    at = n * image_bar.strides[0]
    for axis in range(3):
        at += pixel[axis] * image_bar.strides[2 + axis]
    for k in range(held(spec)):
        c = first + k * width(many)
        begun = many
        if kept > 0 and c < last:
            begun = widen(load(image_bar.memory, at + c * image_bar.strides[1], many), like, FLOAT32)
        store(sums, k * width(many), begun)
    for m in range(n * shared, n * shared + shared):
        if is_gathered(maps, m):
            collect(sums, m, pixel, out_bar, source, maps, image_bar.strides, first, last, size, extent,
                    like, index_like, many, spec)  # fmt: skip
    for k in range(held(spec)):
        c = first + k * width(many)
        if c < last:
            total = narrow(load(sums, k * width(many), many), image_bar.memory[at], FLOAT32)
            store(image_bar.memory, at + c * image_bar.strides[1], total)


@leaf
def held(spec):
    """Return how many sums a thread has: of single channels, or one of all that it does side by side."""
    return 1 if spec.lanes > 1 else HELD


@leaf
def collect(
    sums, n, pixel, out_bar, source, maps, strides, first, last, size, extent, like, index_like, many, spec
):  # fmt: skip
    """Add what the locations of one batch item that read a pixel bring, row by row."""
    tile = shares(hold(like), hold(index_like), spec)
    ranges = (
        around(maps, n, 0, pixel, extent, spec), around(maps, n, 1, pixel, extent, spec),
        around(maps, n, 2, pixel, extent, spec),
    )  # fmt: skip
    z0, z1 = box(maps, n, 2, ranges, size) if spec.ndim > 2 else (int64(0), int64(1))
    y0, y1 = box(maps, n, 1, ranges, size) if spec.ndim > 1 else (int64(0), int64(1))
    for z in range(z0, z1):
        for y in range(y0, y1):
            x0, x1 = along(maps, n, ranges, y, z, size, spec)
            for x in range(x0, x1):
                at = (z, y, x)
                stage(tile, n, at, source, size, extent, strides, like, spec)
                to = n * out_bar.strides[0] + ((z * size[1] + y) * size[2] + x) * out_bar.strides[2]
                bring(sums, tile, pixel, out_bar, to, strides, first, last, many, spec)


@leaf
def around(maps, n, axis, pixel, extent, spec):
    """Return from where to where, on one axis of the image, locations read a pixel."""
    at, q, last = entry(n, axis), pixel[2 - axis], extent[2 - axis] - 1
    T = type(maps[0])
    low, high = T(q), T(q)
    if spec.padding[axis] == BORDER:
        low = maps[at + LOWEST] if q == 0 and maps[at + LOWEST] < low else low
        high = maps[at + HIGHEST] if q == last and maps[at + HIGHEST] > high else high
    return low - maps[at + REACH], high + maps[at + REACH]


@leaf
def box(maps, n, j, ranges, size):
    """Return which locations along axis `j` of the output lie in the smallest box around those of all ranges."""
    T = type(maps[0])
    middle, half = T(0), T(1) / T(4)
    for axis in range(3):
        at, (low, high) = entry(n, axis), ranges[axis]
        middle += maps[at + BACK + j] * ((low + high) / T(2) - maps[at + SHIFT])
        half += abs(maps[at + BACK + j]) * ((high - low) / T(2))
    low, high, end = middle - half, middle + half, T(size[2 - j] - 1)
    return between(low if low > T(0) else T(0), high if high < end else end)


@leaf
def along(maps, n, ranges, y, z, size, spec):
    """Return which locations of a row lie in all ranges.

    u = r + M x is between low and high where x is between (low - r) / M and (high - r) / M. Where M is 0, these are
    beyond any row, on both sides if r is between low and high, and else on one.
    """
    T = type(maps[0])
    first, last = T(0), T(size[2] - 1)
    for axis in range(spec.ndim):
        at, (low, high) = entry(n, axis), ranges[axis]
        r = maps[at + SHIFT]
        if spec.ndim > 1:
            r += maps[at + LINEAR + 1] * T(y)
        if spec.ndim > 2:
            r += maps[at + LINEAR + 2] * T(z)
        steep = maps[at + STEEP]
        begin, end = (low - r) * steep, (high - r) * steep
        begin, end = (begin, end) if steep > T(0) else (end, begin)
        first = begin if begin > first else first
        last = end if end < last else last
    return between(first, last)


@leaf
def between(low, high):
    """Return the first integer from `low` on, and the one after the last up to `high`; neither is negative."""
    T = type(low)
    if not low <= high:
        return int64(0), int64(0)
    first = int64(low)
    return first + int64(1) if T(first) < low else first, int64(high) + int64(1)


@leaf
def bring(sums, tile, pixel, out_bar, to, strides, first, last, many, spec):
    """Add what a staged location brings to a pixel: on each axis, the weights of the taps that read it."""
    w, reads = share(tile, pixel, strides, spec)
    if reads:
        for k in range(held(spec)):
            c = first + k * width(many)
            if c < last:
                g = widen(load(out_bar.memory, to + c * out_bar.strides[1], many), w, spec.dot_dtype)
                at = k * width(many)
                store(sums, at, load(sums, at, many) + w * g)


@leaf
def share(tile, pixel, strides, spec):
    """Return the weight of all taps that read a pixel, and whether there are any."""
    if spec.nearest:
        at = pixel[0] * strides[2] + pixel[1] * strides[3] + pixel[2] * strides[4]
        return type(tile.weights[0])(1), int64(tile.rows[slot(int64(0), int64(0))]) == at
    x, reads = weight(tile, int64(0), pixel[2], strides[4], spec)
    y, z = type(x)(1), type(x)(1)
    if spec.ndim > 1:
        y, here = weight(tile, int64(1), pixel[1], strides[3], spec)
        reads = reads and here
    if spec.ndim > 2:
        z, here = weight(tile, int64(2), pixel[0], strides[2], spec)
        reads = reads and here
    return z * y * x, reads


@leaf
def weight(tile, axis, q, stride, spec):
    """Return the weight of all taps of an axis that read pixel number `q`, and whether there are any."""
    total, reads = type(tile.weights[0])(0), False
    for k in range(axis * spec.taps, axis * spec.taps + spec.taps):
        if int64(tile.offsets[slot(k, int64(0))]) == q * stride:
            total += tile.weights[slot(k, int64(0))]
            reads = True
    return total, reads
