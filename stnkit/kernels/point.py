"""One output location: blend the taps of all axes, with the derivatives, and the adjoint of the blend.

The taps of a location are kept per axis (x, then y, then z), as offsets into one plane of the image, weights
and slopes; `slot(k, p)` is where tap row `k` of location `p` is stored. A dead tap has a large negative
offset, so the offset of a corner, the sum over the axes, is negative if any of its taps is dead.
"""

from numba import int64, uint64

from stnkit.kernels.axis import tap_count
from stnkit.kernels.jit import leaf, step
from stnkit.spec import BICUBIC

TILE = 1024  # locations that are staged together; a row of the stage is this long


@leaf
def slot(k, p):
    """Return where row `k` of the stage holds location `p`; unsigned, so that no index wraps around."""
    return uint64(k * TILE + p)


@leaf
def read(image, at, offset, fill, clean):
    """Read one tap: the image, or the fill value for a dead tap. `clean` promises that no tap is dead."""
    T = type(fill)
    if clean:
        return T(image[at + offset])
    value = T(image[at + (offset if offset >= 0 else 0)])
    return value if offset >= 0 else fill


@leaf
def tap(tile, row, k, p, spec):
    """Return (offset, weight, slope) of tap `k` of location `p`; `row` is where its axis begins.

    The slope is d weight / d pixel: constant for bilinear, so that only bicubic stages it.
    """
    at = slot(row + k, p)
    w = tile.weights[at]
    T = type(w)
    if spec.interp == BICUBIC and spec.source_bar:
        v = tile.slopes[at]
    else:
        v = T(1) if k > 0 else T(-1)
    return int64(tile.offsets[at]), w, v


@step
def blend(image, at, fill, tile, p, clean, spec):
    """Interpolate location `p` in the plane that begins at `at`: (value, d / d x, d / d y, d / d z).

    Derivatives are per pixel. What the caller does not use, the compiler leaves out. Sums begin at -0.0,
    the neutral element of floating-point addition, so that a first term costs no addition.
    """
    T = type(fill)
    none = T(-0.0)
    taps = tap_count(spec)
    value, dx, dy, dz = none, none, none, none
    for k in range(taps if spec.ndim > 2 else 1):
        oz, wz, vz = int64(0), T(1), T(0)
        if spec.ndim > 2:
            oz, wz, vz = tap(tile, 2 * taps, k, p, spec)
        plane, plane_dx, plane_dy = none, none, none
        for j in range(taps if spec.ndim > 1 else 1):
            oy, wy, vy = int64(0), T(1), T(0)
            if spec.ndim > 1:
                oy, wy, vy = tap(tile, taps, j, p, spec)
            row, row_dx = none, none
            for i in range(taps):
                ox, wx, vx = tap(tile, int64(0), i, p, spec)
                v = read(image, at, ox + oy + oz, fill, clean)
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


@leaf
def spread(image_bar, at, g, tile, p, clean, spec):
    """Add the cotangent `g` of location `p` to the taps that it read: the adjoint of `blend` in the image."""
    T = type(g)
    taps = tap_count(spec)
    for k in range(taps if spec.ndim > 2 else 1):
        oz, wz, _ = int64(0), T(1), T(0)
        if spec.ndim > 2:
            oz, wz, _ = tap(tile, 2 * taps, k, p, spec)
        for j in range(taps if spec.ndim > 1 else 1):
            oy, wy, _ = int64(0), T(1), T(0)
            if spec.ndim > 1:
                oy, wy, _ = tap(tile, taps, j, p, spec)
            for i in range(taps):
                ox, wx, _ = tap(tile, int64(0), i, p, spec)
                offset = ox + oy + oz
                if clean or offset >= 0:
                    add(image_bar, at + offset, g * wz * wy * wx)


@leaf
def add(array, at, value):
    """Add in place, rounded to the array's own type."""
    T = type(array[at])
    array[at] = T(array[at] + value)
