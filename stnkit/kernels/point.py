"""One output location: blend the taps of all axes, with the derivatives, and the adjoint of the blend.

The taps of a location are kept per axis (x, then y, then z), as offsets into one plane of the image, weights
and slopes; `slot(k, p)` is where tap row `k` of location `p` is stored. A dead tap has a large negative
offset, so the offset of a corner, the sum over the axes, is negative if any of its taps is dead.
"""

from numba import int64, uint64

from stnkit.kernels.axis import tap_count
from stnkit.kernels.formats import widen
from stnkit.kernels.jit import leaf, step
from stnkit.spec import BICUBIC

TILE = 1024  # locations that are staged together; a row of the stage is this long


@leaf
def slot(k, p):
    """Return where row `k` of the stage holds location `p`; unsigned, so that no index wraps around."""
    return uint64(k * TILE + p)


@step
def read(image, at, offset, fill, like, clean, dtype):
    """Read one tap: the image, or the fill value for a dead tap. `clean` promises that no tap is dead."""
    if clean:
        return widen(image[at + offset], like, dtype)
    value = widen(image[at + (offset if offset >= 0 else 0)], like, dtype)
    return value if offset >= 0 else fill


@step
def pick(image, at, fill, tile, p, spec):
    """Return what location `p` reads by nearest, as it is stored; so is the fill value."""
    offset = int64(tile.offsets[slot(int64(0), p)])
    if spec.ndim > 1:
        offset += tile.offsets[slot(int64(1), p)]
    if spec.ndim > 2:
        offset += tile.offsets[slot(int64(2), p)]
    value = image[at + (offset if offset >= 0 else 0)]
    return value if offset >= 0 else fill


@leaf
def tap(tile, row, k, p, spec):
    """Return (offset, weight, slope, curve) of tap `k` of location `p`; `row` is where its axis begins.

    Slope and curve are derivatives of the weight per pixel: constant for bilinear, so that only bicubic
    stages them.
    """
    at = slot(row + k, p)
    w = tile.weights[at]
    T = type(w)
    v, q = (T(1) if k > 0 else T(-1)), T(0)
    if spec.interp == BICUBIC and has_slopes(spec):
        v, q = tile.slopes[at], tile.curves[at]
    return int64(tile.offsets[at]), w, v, q


@leaf
def has_slopes(spec):
    """Tell whether a kernel needs derivatives of the weights."""
    return spec.source_bar or spec.source_dot


@step
def blend(image, dtype, at, fill, tile, p, clean, spec):
    """Interpolate location `p` in the plane that begins at `at`: (value, d / d x, d / d y, d / d z).

    `dtype` is the format of the image. Derivatives are per pixel. What the caller does not use, the compiler
    leaves out. Sums begin at -0.0, the neutral element of floating-point addition, so that a first term costs
    no addition.
    """
    like = tile.weights[0]
    T = type(like)
    none = T(-0.0)
    taps = tap_count(spec)
    value, dx, dy, dz = none, none, none, none
    for k in range(taps if spec.ndim > 2 else 1):
        oz, wz, vz = int64(0), T(1), T(0)
        if spec.ndim > 2:
            oz, wz, vz, _ = tap(tile, 2 * taps, k, p, spec)
        plane, plane_dx, plane_dy = none, none, none
        for j in range(taps if spec.ndim > 1 else 1):
            oy, wy, vy = int64(0), T(1), T(0)
            if spec.ndim > 1:
                oy, wy, vy, _ = tap(tile, taps, j, p, spec)
            row, row_dx = none, none
            for i in range(taps):
                ox, wx, vx, _ = tap(tile, int64(0), i, p, spec)
                v = read(image, at, ox + oy + oz, T(fill), like, clean, dtype)
                row += wx * v
                row_dx += vx * v
            plane += wy * row
            plane_dx += wy * row_dx
            plane_dy += vy * row
        value += wz * plane
        dx += wz * plane_dx
        dy += wz * plane_dy
        dz += vz * plane
    return value, dx, dy, dz


@step
def bend(image, dtype, at, fill, tile, p, clean, spec):
    """Differentiate the interpolation of location `p` along its tangent: (value', dx', dy', dz').

    Every sum of `blend` becomes a pair, itself and its derivative along the tangent of the pixel
    coordinates that is staged in `tile.dots`: (w r)' = w' r + w r', with w' = slope * dot on the weight's own
    axis. So value' is the gradient along the tangent, and (dx', dy', dz') the Hessian times it.
    """
    like = tile.weights[0]
    T = type(like)
    none = T(-0.0)
    taps = tap_count(spec)
    ux = tile.dots[slot(int64(0), p)]
    uy = tile.dots[slot(int64(1), p)] if spec.ndim > 1 else T(0)
    uz = tile.dots[slot(int64(2), p)] if spec.ndim > 2 else T(0)
    value_, dx_, dy_, dz_ = none, none, none, none
    for k in range(taps if spec.ndim > 2 else 1):
        oz, wz, vz, qz = int64(0), T(1), T(0), T(0)
        if spec.ndim > 2:
            oz, wz, vz, qz = tap(tile, 2 * taps, k, p, spec)
        plane, plane_, plane_dx, plane_dx_, plane_dy, plane_dy_ = none, none, none, none, none, none
        for j in range(taps if spec.ndim > 1 else 1):
            oy, wy, vy, qy = int64(0), T(1), T(0), T(0)
            if spec.ndim > 1:
                oy, wy, vy, qy = tap(tile, taps, j, p, spec)
            row, row_dx, row_dx_ = none, none, none
            for i in range(taps):
                ox, wx, vx, qx = tap(tile, int64(0), i, p, spec)
                v = read(image, at, ox + oy + oz, T(fill), like, clean, dtype)
                row += wx * v
                row_dx += vx * v
                row_dx_ += qx * ux * v
            row_ = row_dx * ux
            plane += wy * row
            plane_ += wy * row_ + vy * uy * row
            plane_dx += wy * row_dx
            plane_dx_ += wy * row_dx_ + vy * uy * row_dx
            plane_dy += vy * row
            plane_dy_ += vy * row_ + qy * uy * row
        value_ += wz * plane_ + vz * uz * plane
        dx_ += wz * plane_dx_ + vz * uz * plane_dx
        dy_ += wz * plane_dy_ + vz * uz * plane_dy
        dz_ += vz * plane_ + qz * uz * plane
    return value_, dx_, dy_, dz_


@leaf
def spread(image_bar, at, g, tile, p, clean, bent, spec):
    """Add the cotangent `g` of location `p` to the taps that it read: the adjoint of `blend` in the image.

    With `bent` it is the adjoint of the first result of `bend`: weights differentiated along the tangent.
    """
    T = type(g)
    taps = tap_count(spec)
    ux, uy, uz = T(0), T(0), T(0)
    if bent:
        ux = tile.dots[slot(int64(0), p)]
        uy = tile.dots[slot(int64(1), p)] if spec.ndim > 1 else T(0)
        uz = tile.dots[slot(int64(2), p)] if spec.ndim > 2 else T(0)
    for k in range(taps if spec.ndim > 2 else 1):
        oz, wz, vz, _ = int64(0), T(1), T(0), T(0)
        if spec.ndim > 2:
            oz, wz, vz, _ = tap(tile, 2 * taps, k, p, spec)
        for j in range(taps if spec.ndim > 1 else 1):
            oy, wy, vy, _ = int64(0), T(1), T(0), T(0)
            if spec.ndim > 1:
                oy, wy, vy, _ = tap(tile, taps, j, p, spec)
            for i in range(taps):
                ox, wx, vx, _ = tap(tile, int64(0), i, p, spec)
                offset = ox + oy + oz
                w = wz * wy * wx
                if bent:
                    w = wz * wy * vx * ux + (wz * vy * uy + vz * uz * wy) * wx
                if clean or offset >= 0:
                    add(image_bar, at + offset, g * w)


@leaf
def add(array, at, value):
    """Add in place, rounded to the array's own type."""
    T = type(array[at])
    array[at] = T(array[at] + value)
