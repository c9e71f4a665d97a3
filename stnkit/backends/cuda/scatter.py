"""How a GPU adds cotangents to an image: by atomic sums, or in bins that give the same bits in any order."""

import math
from typing import Any, NamedTuple

import numpy as np

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.memory import contiguous, run, zeros
from stnkit.backends.cuda.warp_layout import BUSY, channel_groups, in_warps, vectored
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cuda import gather, kernels
from stnkit.kernels.leaves.reproducible_sum import HEAD, WORDS
from stnkit.plans.layout import Layout, Sampling, Shape
from stnkit.plans.strides import gapless
from stnkit.spec import DTYPES, Spec


class Rest(NamedTuple):
    """What a gather has left over: only the GPU knows whether it is anything."""

    maps: DeviceArray  # of the batch's items, which say whether they are gathered
    missed: DeviceArray  # how many are not


def image_layout(shape: Shape, dtype: np.dtype[Any]) -> Layout:
    """Return the layout of an image without gaps."""
    return shape, gapless(shape, dtype.itemsize), dtype


def scatter(
    call: Sampling,
    image_bar: DeviceArray | None,
    cotangent: DeviceArray,
    strides: Shape,
    source: DeviceArray,
    deterministic: bool,
    source_dot: DeviceArray | None = None,
    order: Shape = (0, 0, 0),
    rest: Rest | None = None,
) -> None:
    """Add a cotangent to an image's that has no gaps; `strides` are the cotangent's.

    Weights are those of the coordinates' tangents if there are any, or differentiated to an order on each axis. Where
    there is a `rest`, only that is added, to bins.
    """
    assert image_bar is not None
    curved = any(order)
    spec = vectored(call, image_bar, cotangent)._replace(
        image_bar=True, source_dot=source_dot is not None, source_bar=curved
    )
    spec = spec if deterministic or source_dot is not None else in_warps(call, spec, True)
    sums, factory = image_bar, kernels.scatter
    if deterministic:
        spec = spec._replace(lanes=1, aligned=False)
        sums = bins(call, spec, image_bar, cotangent, source_dot, sum(order), rest)
        factory = kernels.scatter_binned if rest is None else gather.scatter_rest_binned
    group, groups, items = channel_groups(call, spec)
    arrays = (sums.address, cotangent.address, source.address, 0 if source_dot is None else source_dot.address)
    run(
        *(image_bar.context, factory, spec, items),
        arrays if rest is None else (rest.maps.address, *arrays),
        *(call.batch, call.channels, group, groups, call.sizes, call.extents, strides, call.image, call.source, order),
    )
    if deterministic:
        factory = kernels.from_bins if rest is None else gather.from_bins_rest
        run(image_bar.context, factory, spec, image_bar.size, (*counted(rest), image_bar.address, sums.address))


def counted(rest: Rest | None) -> tuple[int, ...]:
    """Return the address that kernels look at to see whether anything is left over."""
    return () if rest is None else (rest.missed.address,)


def bins(
    call: Sampling,
    spec: Spec,
    image_bar: DeviceArray,
    cotangent: DeviceArray,
    source_dot: DeviceArray | None,
    times: int,
    rest: Rest | None,
) -> DeviceArray:
    """Return empty bins for an image's cotangent, whose unit is small enough for the largest number they can reach.

    A weight is at most 1. One that is differentiated is at most 2 on each axis, times the tangent of the pixel's
    coordinate: a unit is at most a whole extent of pixels, and a map adds one tangent more than there are axes.
    Weights are otherwise differentiated as often as `times` says.
    """
    context, ndim = image_bar.context, spec.ndim
    shape, word = (HEAD + WORDS * image_bar.size,), np.dtype(np.int64)
    memory = zeros(context, shape, word) if rest is None else context.empty(shape, word)
    if rest is not None:
        run(context, gather.clear_rest, Spec(0, digest=digest()), memory.size, (*counted(rest), memory.address))
    shared = call.batch // len(image_bar)
    adds = (shared * math.prod(call.size) * spec.taps**ndim).bit_length()
    peaks = [peak(cotangent, call, rest)]
    unit = (2 * ndim * (ndim + 1) * max(call.extent)).bit_length()
    adds += max(times, 2) * unit if times else 0
    if source_dot is not None:
        peaks.append(peak(source_dot, call))
        adds += unit
    run(context, kernels.opened, spec, 1, (memory.address, peaks[0].address, peaks[-1].address), adds)
    return memory


def peak(array: DeviceArray, call: Sampling, rest: Rest | None = None) -> DeviceArray:
    """Return the representation of an array's largest finite number, in the type of the arithmetic."""
    array = contiguous(array)
    found = zeros(array.context, (1,), np.dtype(np.int64))
    threads = min(array.size, BUSY)
    code = DTYPES[array.dtype.name]
    spec = Spec(0, image_dtype=code, source_dtype=DTYPES[call.like.name], digest=digest())
    factory = kernels.largest if rest is None else gather.largest_rest
    run(array.context, factory, spec, threads, (*counted(rest), found.address, array.address), array.size, threads)
    return found
