"""The filter that finds a spline's coefficients on NVIDIA GPUs: a thread filters one line, in place."""

import functools
from typing import Any

from numpy import int64

from stnkit.kernels.compiler.jit import advanced, leaf, pointer
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.prefilter import find_coefficients
from stnkit.spec import Spec


@functools.cache
def spline_filter(spec: Spec) -> Any:
    like = zero(spec.image_dtype)

    def body(i, out_at, n, inner):
        filter_line(i, pointer(out_at, like), n, inner, like, spec)

    return body


@leaf
def filter_line(i, out, n, inner, like, spec):
    """Filter line number `i` of an array (batch, n, inner) along its middle axis."""
    line = int64(i)
    find_coefficients(advanced(out, line // inner * n * inner + line % inner), int64(inner), int64(n), like, spec)
