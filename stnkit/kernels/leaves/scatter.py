"""One output location: add its cotangent to the taps that it read, the adjoint of blending them."""

from stnkit.kernels.compiler.jit import int64, leaf
from stnkit.kernels.leaves.formats import add
from stnkit.kernels.leaves.point import corner_offset, lines, planes, rows_in_order, tap
from stnkit.kernels.leaves.stage import slot


@leaf
def scatter(image_bar, at, g, tile, p, bent, spec):
    """Add the cotangent `g` of location `p` to the taps that it read: the adjoint of `blend` in the image.

    `g` may be that of several channels, in lanes. With `bent` it is the adjoint of the
    first result of `directional_derivative`: weights are differentiated along the tangent.
    """
    number = tile.weights[0]
    if spec.nearest:
        offset = tile.rows[slot(int64(0), p)]
        if offset >= 0:
            add(image_bar.memory, at + offset, g, number, spec)
        return
    scatter_taps(image_bar, at, g, tile, p, rows_in_order(tile, p, number, spec), bent, spec)


@leaf
def scatter_taps(image_bar, at, g, tile, p, in_order, bent, spec):
    """Add the cotangent `g` of location `p` to several taps; `in_order` as in `row`."""
    number = tile.weights[0]
    T = type(number)
    taps, step = spec.taps, image_bar.strides[4]
    ux, uy, uz = T(0), T(0), T(0)
    if bent:
        ux = tile.dots[slot(int64(0), p)]
        uy = tile.dots[slot(int64(1), p)] if spec.ndim > 1 else T(0)
        uz = tile.dots[slot(int64(2), p)] if spec.ndim > 2 else T(0)
    for k in range(planes(spec)):
        wz, vz = T(1), T(0)
        if spec.ndim > 2:
            wz, vz, _ = tap(tile, 2 * taps, k, p, number, spec)
        for j in range(lines(spec)):
            wy, vy = T(1), T(0)
            if spec.ndim > 1:
                wy, vy, _ = tap(tile, taps, j, p, number, spec)
            w, v = wz * wy, T(0)
            if bent:
                w, v = wz * vy * uy + vz * uz * wy, wz * wy * ux
            first = int64(tile.rows[slot(taps * k + j, p)]) if in_order or spec.paired else int64(0)
            for i in range(taps):
                wx, vx, _ = tap(tile, int64(0), i, p, number, spec)
                offset = corner_offset(tile, p, k, j, i, first, step, in_order, spec)
                if in_order or offset >= 0:
                    add(image_bar.memory, at + offset, (w * wx + v * vx if bent else w * wx) * g, number, spec)
