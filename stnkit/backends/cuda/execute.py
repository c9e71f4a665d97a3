"""Whole arrays on a GPU: allocate what a call writes, choose its kernels, and launch them, as on a CPU.

Everything here takes `DeviceArray`s with a batch axis that have been validated. All that is allocated is allocated
by the framework of the arrays, and all that is launched is launched on its stream.
"""

import numpy as np

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.gather import gather, is_gathered
from stnkit.backends.cuda.maps import readable, theta_bars
from stnkit.backends.cuda.memory import aligned, constant, converted, product, run, total, zeros
from stnkit.backends.cuda.scatter import image_layout, scatter
from stnkit.backends.cuda.warp_layout import channel_groups, grouped, in_rows, in_warps, vectored, warp_layout
from stnkit.dtypes import bar_dtype
from stnkit.kernels.cuda import kernels
from stnkit.plans.layout import Shape, cotangent_strides, layout, out_strides, sampling
from stnkit.plans.layout import contiguous as gapless
from stnkit.spec import CHOOSING, GRID, MAPS, Options

Bars = tuple[DeviceArray | None, DeviceArray | None]


def sample(
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Interpolate `image` at the coordinates that `source`, a grid or theta, gives for an output of `size`."""
    return sample_order(image, source, kind, size, options, fill, out, (0, 0, 0))


def sample_order(
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    out: DeviceArray | None,
    order: Shape,
) -> DeviceArray:
    """Return `sample` differentiated in the coordinates, `order` times on each axis."""
    image, source = aligned(image), readable(source, kind, image.dtype, options.control)
    call = sampling(layout(image), layout(source), kind, size, options)
    out = image.context.empty(call.out_shape, image.dtype) if out is None else out
    if out.size:
        spec = vectored(call, image, out)
        spec = spec if any(order) else in_rows(call, in_warps(call, spec, False))
        fills = constant(image.context, fill)
        factory, last = (kernels.sample_order, (order,)) if any(order) else (kernels.sample, ())
        spec = spec._replace(source_bar=any(order))
        group, groups, items = channel_groups(call, spec)
        run(
            *(image.context, factory, spec, items),
            (out.address, image.address, source.address, fills.address),
            *(call.channels, group, groups, call.sizes, call.extents, out_strides(call, options)),
            *(call.image, call.source, *last),
        )
    return out


def sample_total(
    image: DeviceArray, source: DeviceArray, kind: int, size: Shape, options: Options, fill: np.ndarray, batch: int
) -> DeviceArray:
    """Return the sum of `sample` over a batch, as a batch of one, in the dtype in which cotangents are summed."""
    wide = converted(image, bar_dtype(image.dtype, source.dtype))
    return total(sample(wide, source, kind, size, options, fill))


def sample_vjp(
    cotangent: DeviceArray,
    image: DeviceArray,
    source: DeviceArray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    wrt: tuple[bool, bool],
    into: DeviceArray | None = None,
    deterministic: bool = False,
) -> Bars:
    """Return the cotangents of image and source that `wrt` asks for, from that of the output.

    That of the image is added to `into` if there is one. For half precision images it is summed in memory of the
    arithmetic's dtype, as large as the image, and rounded once. Where it is to be deterministic, other cotangents are
    another kernel.
    """
    image, read = aligned(image), readable(source, kind, image.dtype, options.control)
    cotangent, strides = walkable(cotangent, options)
    slopes = wrt[1] and options.interp not in CHOOSING  # the slope of nearest is 0 everywhere
    image_bar, source_bar = into, None
    gathered = wrt[0] and deterministic and bool(cotangent.size) and is_gathered(kind, options, len(size))
    if wrt[0] and into is None:
        dtype = bar_dtype(image.dtype, read.dtype)
        image_bar = image.context.empty(image.shape, dtype) if gathered else zeros(image.context, image.shape, dtype)
    if wrt[1] and not (slopes and cotangent.size):
        source_bar = zeros(source.context, source.shape, read.dtype)
    if cotangent.size:
        both = wrt[0] and slopes and not deterministic and image.flags.c_contiguous
        if wrt[0] and not both:
            call = sampling(gapless(image), layout(read), kind, size, options)
            if gathered:
                gather(call, image_bar, cotangent, strides, read, into is not None)
            else:
                scatter(call, image_bar, cotangent, strides, read, deterministic)
        if slopes:
            call = sampling(layout(image), layout(read), kind, size, options)
            pictures = (image, cotangent, image_bar) if both and image_bar is not None else (image, cotangent)
            spec = in_warps(call, grouped(call, vectored(call, *pictures)), both)
            spec = spec._replace(image_bar=both, source_bar=True)
            warps = warp_layout(call, spec, read)
            fills = constant(image.context, fill)
            run(
                *(image.context, kernels.sample_vjp, spec, warps.items),
                (
                    *(image_bar.address if both and image_bar else 0, warps.memory.address),
                    *(cotangent.address, image.address, read.address, fills.address),
                ),
                *(call.channels, warps.repeat, warps.rows, call.sizes, call.extents),
                *(strides, call.image, call.source, warps.strides),
            )
            source_bar = warps.sums() if kind not in MAPS else theta_bars(warps.sums(), source, kind, options.control)
    image_bar = image_bar if into is not None or image_bar is None else converted(image_bar, image.dtype)
    return image_bar, source_bar


def walkable(cotangent: DeviceArray, options: Options) -> tuple[DeviceArray, Shape]:
    """Return a cotangent and its (batch, channel, location) strides, copied where kernels could not walk it."""
    strides = cotangent_strides(layout(cotangent), options, False, True)
    channel = options.channels_last and cotangent.shape[-1] > 1
    if strides is None or (channel and strides[1] != 1) or not cotangent.flags.aligned:
        return walkable(product(aligned(cotangent)), options)
    return cotangent, strides


def splat(
    values: DeviceArray, grid: DeviceArray, shape: Shape, options: Options, deterministic: bool = False
) -> DeviceArray:
    """Add values to an image of `shape` at the coordinates of a grid: the adjoint of `sample` in the image."""
    grid = aligned(grid)
    image_bar = zeros(values.context, shape, bar_dtype(values.dtype, grid.dtype))
    if values.size:
        values, strides = walkable(values, options)
        call = sampling(image_layout(shape, values.dtype), layout(grid), GRID, grid.shape[1:-1], options)
        scatter(call, image_bar, values, strides, grid, deterministic)
    return converted(image_bar, values.dtype)
