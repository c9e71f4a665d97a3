"""Maps on a GPU: what kernels read of them, the grids they give, and how cotangents come back to their numbers."""

import math
from typing import Any

import numpy as np

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.memory import aligned, constant, contiguous, contracted, converted, ones, run, zeros
from stnkit.backends.cuda.warp_layout import map_entries, theta_sums
from stnkit.dtypes import FLOAT64, arithmetic
from stnkit.kernels.cuda import kernels, runtime
from stnkit.plans import thin_plates
from stnkit.plans.layout import Shape, grid_spec, layout, placed, source_layout, three
from stnkit.spec import AFFINE, MAPS, PROJECTIVE, THIN_PLATE_SPLINE, Place


def readable(source: DeviceArray, kind: int, image_dtype: np.dtype[Any], control: bytes = b"") -> DeviceArray:
    """Return a grid as it is, and the few numbers of a map contiguous, in the type of the arithmetic."""
    source = aligned(source)
    if kind not in MAPS:
        return source
    like = arithmetic(image_dtype, source.dtype)
    if kind == THIN_PLATE_SPLINE:
        return block(source, control, like)
    return contiguous(converted(source, like))


def block(theta: DeviceArray, control: bytes, dtype: np.dtype[Any]) -> DeviceArray:
    """Return what kernels read of thin plate splines: control points, weights, and the affine part by rows."""
    context, (batch, count, ndim), size = theta.context, theta.shape, dtype.itemsize
    first, second = (constant(context, matrix) for matrix in thin_plates.solution(control, ndim))
    column = constant(context, thin_plates.points(control, ndim).reshape(-1, 1))
    bent = count * ndim
    out = context.empty((batch, 2 * bent + ndim * (ndim + 1)), dtype)
    item = out.strides[0]
    contracted(column, ones(column, (batch, 1, 1)), out.view((batch, bent, 1), (item, size, size)))
    modes = context.empty(theta.shape, FLOAT64)
    contracted(first, theta, modes)
    contracted(second[:count], modes, out.view((batch, count, ndim), (item, ndim * size, size), bent * size))
    rows = out.view((batch, ndim + 1, ndim), (item, size, (ndim + 1) * size), 2 * bent * size)
    contracted(second[count:], modes, rows)
    return out


def theta_bars(sums: DeviceArray, theta: DeviceArray, kind: int, control: bytes) -> DeviceArray:
    """Return the cotangent of maps, in the shape of theta, from the sums over their locations."""
    if kind != THIN_PLATE_SPLINE:
        return sums.reshape(theta.shape)
    maps, count, ndim = theta.shape
    first, second = (constant(sums.context, matrix) for matrix in thin_plates.solution(control, ndim))
    modes, out = sums.context.empty(theta.shape, FLOAT64), sums.context.empty(theta.shape, sums.dtype)
    contracted(second.transpose((1, 0)), sums.reshape((maps, count + ndim + 1, ndim)), modes)
    contracted(first.transpose((1, 0)), modes, out)
    return out


def grid(
    source: DeviceArray,
    kind: int,
    size: Shape,
    align: bool,
    pixel: bool = False,
    out: DeviceArray | None = None,
    place: Place | None = None,
) -> DeviceArray:
    """Write out the coordinates that affine or projective maps, or a flow, give for an output of `size`."""
    return _written(readable(source, kind, source.dtype), kind, size, align, pixel, out, place)


def _written(
    read: DeviceArray,
    kind: int,
    size: Shape,
    align: bool,
    pixel: bool = False,
    out: DeviceArray | None = None,
    place: Place | None = None,
) -> DeviceArray:
    batch, ndim = len(read), len(size)
    out = read.context.empty((batch, *size, ndim), read.dtype) if out is None else out
    if out.size:
        spec = grid_spec(ndim, read.dtype, kind, align, pixel, place is not None)
        full, strides = source_layout(layout(read), kind, size)
        full = sizes(full, kind, place)
        run(read.context, kernels.grid, spec, batch * math.prod(size), (out.address, read.address), full, strides)
    return out


def sizes(size: Shape, kind: int, place: Place | None) -> Shape:
    """Return an output's size as kernels have it."""
    if place is None:
        return size
    whole, numbers = placed(size, kind, place)
    return *whole, *numbers[:6]


def grid_vjp(cotangent: DeviceArray, align: bool, place: Place | None = None) -> DeviceArray:
    """Return the cotangent of affine maps from that of the grid they give."""
    batch, *_, ndim = cotangent.shape
    return _sums(cotangent, 0, (0,) * 5, AFFINE, align, place).reshape((batch, ndim, ndim + 1))


def map_grid(
    theta: DeviceArray, kind: int, size: Shape, align: bool, control: bytes = b"", place: Place | None = None
) -> DeviceArray:
    """Write out the coordinates that maps give for an output of `size`."""
    return _written(readable(theta, kind, theta.dtype, control), kind, size, align, place=place)


def map_grid_vjp(
    cotangent: DeviceArray,
    theta: DeviceArray,
    kind: int,
    align: bool,
    control: bytes = b"",
    place: Place | None = None,
) -> DeviceArray:
    """Return the cotangent of maps from that of the grid they give."""
    read = readable(theta, kind, cotangent.dtype, control)
    strides = source_layout(layout(read), kind, cotangent.shape[1:-1])[1]
    return theta_bars(_sums(cotangent, read.address, strides, kind, align, place), theta, kind, control)


def projective_grid_jvp(
    theta: DeviceArray, theta_dot: DeviceArray, size: Shape, align: bool, place: Place | None = None
) -> DeviceArray:
    """Return the tangent of the grid that projective maps give."""
    theta, theta_dot = (readable(array, PROJECTIVE, theta.dtype) for array in (theta, theta_dot))
    out = theta.context.empty((len(theta), *size, len(size)), theta.dtype)
    if out.size:
        spec = grid_spec(len(size), theta.dtype, PROJECTIVE, align, placed=place is not None)
        addresses = out.address, theta.address, theta_dot.address
        full, strides = source_layout(layout(theta), PROJECTIVE, size)
        full = sizes(full, PROJECTIVE, place)
        run(theta.context, kernels.grid_jvp, spec, len(theta) * math.prod(size), addresses, full, strides)
    return out


def _sums(
    cotangent: DeviceArray, source: int, strides: Shape, kind: int, align: bool, place: Place | None
) -> DeviceArray:
    """Return the sums over locations of what they give to the cotangents of maps, which begin at an address."""
    batch, *size, ndim = cotangent.shape
    spec = grid_spec(ndim, cotangent.dtype, kind, align, placed=place is not None)._replace(source_bar=True)
    entries = map_entries(spec, strides)
    if not cotangent.size:
        return zeros(cotangent.context, (batch, entries), cotangent.dtype)
    cotangent, points = contiguous(aligned(cotangent)), math.prod(size)
    rows = points + -points % runtime.WARP
    partial_sums = cotangent.context.empty((batch, rows // runtime.WARP, entries), cotangent.dtype)
    addresses = partial_sums.address, cotangent.address, source
    full = sizes(three(tuple(size), 1), kind, place)
    run(cotangent.context, kernels.grid_vjp, spec, batch * rows, addresses, rows, full, strides)
    return theta_sums(partial_sums, (batch, entries))
