"""Whole arrays on a GPU with tangents: forward mode, and the second order, as on a CPU."""

import itertools
from typing import Any

import numpy as np

from stnkit.backends.cuda.array import DeviceArray, broadcast_to
from stnkit.backends.cuda.execute import sample, walkable
from stnkit.backends.cuda.maps import readable, theta_bars
from stnkit.backends.cuda.memory import aligned, cleared, constant, contiguous, converted, product, run, zeros
from stnkit.backends.cuda.scatter import image_layout, scatter
from stnkit.backends.cuda.warp_layout import channel_groups, grouped, vectored, warp_layout
from stnkit.dtypes import bar_dtype, dot_dtype
from stnkit.kernels.cuda import kernels
from stnkit.plans.layout import Shape, layout, out_strides, sampling
from stnkit.plans.layout import contiguous as gapless
from stnkit.spec import AFFINE, CHOOSING, GRID, MAPS, Options

Maybe = DeviceArray | None


def sample_jvp(
    image_dot: Maybe,
    source_dot: Maybe,
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
) -> tuple[DeviceArray, DeviceArray]:
    """Return `sample` and its tangent along the tangents given; one that is None is zero."""
    return sample_jvp_into(None, image_dot, source_dot, image, source, kind, size, options, fill)


def sample_jvp_into(
    out_dot: Maybe,
    image_dot: Maybe,
    source_dot: Maybe,
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
) -> tuple[DeviceArray, DeviceArray]:
    """Do `sample_jvp`, and write the tangent into `out_dot` if there is one."""
    source_dot = source_dot if options.interp not in CHOOSING else None  # it has no slope
    wide = dot_dtype(image.dtype, source.dtype)
    if options.interp in CHOOSING and image_dot is None:
        out = sample(image, source, kind, size, options, fill)
        return out, cleared(image.context.empty(out.shape, wide) if out_dot is None else out_dot)
    image, image_dot, source, source_dot = _alike(image, image_dot, source, source_dot, kind, options)
    call = sampling(layout(image), layout(source), kind, size, options)
    out = image.context.empty(call.out_shape, image.dtype)
    out_dot = image.context.empty(call.out_shape, wide) if out_dot is None else out_dot
    if out.size:
        spec = vectored(call, *_present(image, image_dot, out, out_dot))
        spec = spec._replace(image_dot=image_dot is not None, source_dot=source_dot is not None)
        group, groups, items = channel_groups(call, spec)
        run(
            *(image.context, kernels.sample_jvp, spec, items),
            _addresses(out, out_dot, image, image_dot, source, source_dot, constant(image.context, fill)),
            *(call.channels, group, groups, call.sizes, call.extents, out_strides(call, options)),
            *(call.image, call.source),
        )
    return out, out_dot


def sample_double_vjp(
    image_dot: Maybe,
    source_dot: Maybe,
    cotangent: DeviceArray,
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    deterministic: bool = False,
) -> tuple[DeviceArray, Maybe, DeviceArray]:
    """Return the cotangents of the arguments of `sample_vjp`, from those of its results, None for zero."""
    slopes = options.interp not in CHOOSING
    source_dot = source_dot if slopes else None  # it has no slope
    image, image_dot, read, source_dot = _alike(image, image_dot, source, source_dot, kind, options)
    context, moved = image.context, source_dot is not None
    image_bar = zeros(context, image.shape, bar_dtype(image.dtype, read.dtype))
    if not cotangent.size or (image_dot is None and not moved):
        out_bar_bar = zeros(context, cotangent.shape, cotangent.dtype)
        return out_bar_bar, converted(image_bar, image.dtype), zeros(context, source.shape, read.dtype)
    out_bar_bar = context.empty(cotangent.shape, cotangent.dtype)
    cotangent, strides = walkable(cotangent, options)
    both = moved and not deterministic and image.flags.c_contiguous
    call = sampling(layout(image), layout(read), kind, size, options)
    pictures = _present(image, image_dot, cotangent, out_bar_bar, image_bar if both else None)
    spec = grouped(call, vectored(call, *pictures))._replace(
        image_dot=image_dot is not None, source_dot=moved, image_bar=both, source_bar=slopes, out_bar=True
    )
    warps = warp_layout(call, spec, read)
    arrays = (out_bar_bar, image_bar, warps.memory, cotangent, image, image_dot, read, source_dot)
    addresses = _addresses(*arrays, constant(context, fill))
    run(
        *(context, kernels.sample_double_vjp, spec, warps.items),
        addresses,
        *(call.channels, warps.repeat, warps.rows, call.sizes, call.extents),
        *(out_strides(call, options), strides, call.image, call.source, warps.strides),
    )
    if moved and not both:
        call = sampling(gapless(image), layout(read), kind, size, options)
        scatter(call, image_bar, cotangent, strides, read, deterministic, source_dot)
    source_bar = warps.sums() if slopes else zeros(context, source.shape, read.dtype)
    if slopes and kind in MAPS:
        source_bar = theta_bars(source_bar, source, kind, options.control)
    return out_bar_bar, converted(image_bar, image.dtype), source_bar


def sample_gradient(
    image: DeviceArray, source: DeviceArray, kind: int, size: Shape, options: Options, fill: np.ndarray
) -> DeviceArray:
    """Return the derivatives of `sample` with respect to its coordinates, one for each axis.

    Each is the tangent along one axis.
    """
    assert kind != AFFINE, "the coordinates are those of a grid"
    ndim = len(size)
    slopes = None
    for axis in range(ndim):
        step = constant(source.context, np.eye(ndim, dtype=source.dtype)[axis])
        _, slope = sample_jvp(None, broadcast_to(step, source.shape), image, source, kind, size, options, fill)
        if slopes is None:
            slopes = slope.context.empty((ndim, *slope.shape), slope.dtype)
        product(slope, out=slopes[axis])
    assert slopes is not None
    return product(slopes.transpose((*range(1, slopes.ndim), 0)))


def splat_double_jvp(
    values: DeviceArray,
    grid: DeviceArray,
    first: DeviceArray,
    second: DeviceArray,
    shape: Shape,
    options: Options,
    deterministic: bool = False,
) -> DeviceArray:
    """Return the second derivative of `splat` along two tangents of the grid.

    It is a sum over all pairs of axes: values, times the first tangent on one and the second on the other, are splatted
    with the weights of these axes differentiated.
    """
    context, grid = values.context, aligned(grid)
    image_bar = zeros(context, shape, bar_dtype(values.dtype, grid.dtype))
    if values.size and options.interp not in CHOOSING:
        call = sampling(image_layout(shape, values.dtype), layout(grid), GRID, grid.shape[1:-1], options)
        for a, b in itertools.product(range(grid.shape[-1]), repeat=2):
            factors = _beside(first, a, values, options), _beside(second, b, values, options)
            along, strides = walkable(product(values, *factors), options)
            order = tuple((axis == a) + (axis == b) for axis in range(3))
            scatter(call, image_bar, along, strides, grid, deterministic, None, order)
    return converted(image_bar, values.dtype)


def _beside(dot: DeviceArray, axis: int, values: DeviceArray, options: Options) -> DeviceArray:
    """View a grid's tangent on one axis as one for each channel of values."""
    along = dot.view(dot.shape[:-1], dot.strides[:-1], axis * dot.strides[-1])
    at = along.ndim if options.channels_last else 1
    shape = (*along.shape[:at], 1, *along.shape[at:])
    strides = (*along.strides[:at], 0, *along.strides[at:])
    return broadcast_to(along.view(shape, strides), values.shape)


def _present(*arrays: Maybe) -> list[DeviceArray]:
    return [array for array in arrays if array is not None]


def _addresses(*arrays: Maybe) -> tuple[int, ...]:
    return tuple(0 if array is None else array.address for array in arrays)


def _alike(
    image: DeviceArray, image_dot: Maybe, source: DeviceArray, source_dot: Maybe, kind: int, options: Options
) -> tuple[DeviceArray, Maybe, DeviceArray, Maybe]:
    """Return image and source in a form that kernels read, each with a tangent that is laid out as it is."""
    pair = _pair(aligned(image), None if image_dot is None else aligned(image_dot))
    dot: Any = None if source_dot is None else readable(source_dot, kind, image.dtype, options.control)
    return *pair, *_pair(readable(source, kind, image.dtype, options.control), dot)


def _pair(array: DeviceArray, dot: Maybe) -> tuple[DeviceArray, Maybe]:
    if dot is None or dot.strides == array.strides:
        return array, dot
    return contiguous(array), contiguous(dot)
