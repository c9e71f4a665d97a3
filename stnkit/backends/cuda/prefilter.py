"""The filter that finds a spline's coefficients, on whole arrays of a GPU."""

from collections.abc import Sequence

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.memory import aligned, product, run
from stnkit.kernels.cuda import prefilter
from stnkit.plans.prefilter import around, filter_spec
from stnkit.spec import Options


def spline_filter(
    image: DeviceArray, axes: Sequence[int], options: Options, transpose: bool = False, out: DeviceArray | None = None
) -> DeviceArray:
    """Filter an array along some axes, or apply the filter's transpose; `out`, without gaps, may be the array.

    Each axis is filtered from one array to another: to the result and to one more in turn, so that the last is to the
    result.
    """
    image, context = aligned(image), image.context
    made = context.empty(image.shape, image.dtype) if out is None else out
    axes = [axis for axis in axes if image.shape[axis] > 1]  # a single pixel is its own coefficient
    if not axes or not made.size:
        return product(image, out=made)
    odd = len(axes) % 2 == 1
    copied = not image.flags.c_contiguous or (odd and image.address == made.address)
    spare = context.empty(image.shape, image.dtype) if copied or len(axes) > 1 else made
    to, other = (made, spare) if odd else (spare, made)
    if copied:
        image = product(image, out=other)
    spec = filter_spec(image.dtype, options, transpose, 1)
    for axis in axes:
        _, n, inner = around(image.shape, axis)
        run(
            context,
            prefilter.spline_filter,
            spec._replace(packed=inner == 1),
            made.size,
            (to.address, image.address),
            n,
            inner,
        )
        image, to, other = to, other, to
    return made
