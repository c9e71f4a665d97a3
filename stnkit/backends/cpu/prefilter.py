"""The filter that finds a spline's coefficients, on whole arrays."""

from collections.abc import Sequence

import numpy as np

from stnkit.backends.cpu.execute import execute
from stnkit.backends.cpu.memory import empty
from stnkit.kernels.cpu.call import IMAGE, OUT
from stnkit.plans import prefilter as plans
from stnkit.spec import Options


def spline_filter(
    image: np.ndarray, axes: Sequence[int], options: Options, transpose: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Filter an array along some axes, or apply the filter's transpose; `out`, without gaps, may be the array."""
    image = np.ascontiguousarray(image)
    made = empty(image.shape, image.dtype) if out is None else out
    for axis in axes:
        execute(plans.spline_filter(image.shape, image.dtype, axis, options, transpose), {IMAGE: image, OUT: made})
        image = made
    if image is not made:
        np.copyto(made, image)
    return made
