"""How a GPU sums the cotangent of an image that affine maps sample: each pixel gathers it from what reads the pixel.

Of an image of B bytes, sampled to as many, a scatter writes zeros, and its atomic sums then read and write each pixel
in the second cache, once for each tap: 4 for bilinear on two axes. What is not in that cache goes to memory and back:
at least 3 B move, zeros, cotangent and image, and 4 B are added one by one. A gather reads the cotangent, where the
taps of neighbouring pixels meet in the first cache, and writes the image: 2 B. If theta's cotangent is asked for as
well, its own kernel reads image and cotangent, 2 B more. One kernel that scatters too moves as much, 4 B, zeros, image,
its cotangent and the output's, and adds its 4 B besides.

A map that has no good inverse, or for which many locations read one pixel, is scattered. That follows from theta, so it
is decided on the GPU for each item of a batch: see `kernels.cuda.affine_bounds`. Nothing waits for it.
"""

import math

import numpy as np

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.memory import run, zeros
from stnkit.backends.cuda.scatter import Rest, scatter
from stnkit.backends.cuda.warp_layout import channel_groups, vectored
from stnkit.kernels.cuda import gather as gather_kernels
from stnkit.kernels.cuda.adjoint import HELD
from stnkit.kernels.cuda.affine_bounds import ROW
from stnkit.plans.layout import Sampling, Shape
from stnkit.spec import AFFINE, BORDER, ZEROS, Options, Spec


def is_gathered(kind: int, options: Options, ndim: int) -> bool:
    """Tell whether an image's cotangent may be gathered.

    Under `reflection` and `wrap` a pixel is read at any number of addresses, so these are scattered. What roundings may
    do is bounded for normalised coordinates alone, and whole images.
    """
    plain = kind == AFFINE and not options.pixel and options.place is None
    return plain and all(padding in (ZEROS, BORDER) for padding in options.padding[:ndim])


def gather(
    call: Sampling,
    image_bar: DeviceArray | None,
    cotangent: DeviceArray,
    strides: Shape,
    source: DeviceArray,
    kept: bool,
) -> None:
    """Write an image's cotangent that has no gaps, or add to it if it is `kept`; `strides` are the cotangent's."""
    assert image_bar is not None
    context = image_bar.context
    spec = vectored(call, image_bar, cotangent)._replace(image_bar=True)
    maps, missed = context.empty((call.batch, ROW), call.like), zeros(context, (1,), np.dtype(np.int64))
    run(
        *(
            context,
            gather_kernels.affine_bounds,
            spec._replace(interleaved=False, lanes=1, aligned=False, wide=False),
            call.batch,
        ),
        *((maps.address, missed.address, source.address), call.size, call.extent, call.source),
    )
    group, groups = sums_each(call, spec)
    run(
        *(context, gather_kernels.gather, spec, len(image_bar) * math.prod(call.extent) * groups),
        (maps.address, image_bar.address, cotangent.address, source.address),
        *(call.channels, group, groups, call.batch // len(image_bar), int(kept), call.size, call.extent),
        *(strides, call.image, call.source),
    )
    scatter(call, image_bar, cotangent, strides, source, True, rest=Rest(maps, missed))


def sums_each(call: Sampling, spec: Spec) -> tuple[int, int]:
    """Return how many channels of a pixel a thread takes, and in how many groups: not more than it has sums for."""
    if spec.lanes > 1:
        return spec.lanes, call.channels // spec.lanes
    each = HELD if spec.interleaved else min(HELD, channel_groups(call, spec)[0])
    return each, -(-call.channels // each)
