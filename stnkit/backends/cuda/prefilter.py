"""The filter that finds a spline's coefficients, on whole arrays of a GPU."""

from collections.abc import Sequence

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.memory import aligned, product, run
from stnkit.kernels.cuda import prefilter
from stnkit.plans.prefilter import filter_spec, three
from stnkit.spec import Options


def spline_filter(
    image: DeviceArray, axes: Sequence[int], options: Options, transpose: bool = False, out: DeviceArray | None = None
) -> DeviceArray:
    """Filter an array along some axes, or apply the filter's transpose; `out`, without gaps, may be the array."""
    made = product(aligned(image), out=out)
    spec = filter_spec(image.dtype, options, transpose, 1)
    for axis in axes:
        batch, n, inner = three(image.shape, axis)
        if made.size:
            run(image.context, prefilter.spline_filter, spec, batch * inner, (made.address,), n, inner)
    return made
