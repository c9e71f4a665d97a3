"""Spatial transformer sampling for any array: grids, interpolation and every derivative, on CPUs and NVIDIA GPUs.

`grid_sample` reads an image at given coordinates, `affine_grid` generates coordinates from affine maps, and
`affine_sample` does both at once without storing a grid; so do `projective_grid` and `projective_sample`,
`thin_plate_spline_grid` and `thin_plate_spline_sample`, and `flow_grid` and `flow_sample` for a flow.
Each has a `_vjp` (reverse mode) and a `_jvp` (forward mode), and most samplers a `_double_vjp` (second order).
`spline_filter` finds the coefficients of a spline that passes through an image's pixels.
`grid_splat` is the adjoint of sampling, and `grid_gradient` the spatial derivative of an image.
`compile_ahead` compiles what a call of one of these would run.
`transforms` has maps as arrays, `nn` a layer, and `ndimage` SciPy's functions; each is imported when it is first asked
for.
"""

import importlib as _importlib
import typing as _typing

from stnkit.api.affine import (
    affine_grid,
    affine_grid_jvp,
    affine_grid_vjp,
    affine_sample,
    affine_sample_double_vjp,
    affine_sample_jvp,
    affine_sample_vjp,
)
from stnkit.api.ahead import compile_ahead
from stnkit.api.flow import (
    flow_grid,
    flow_grid_jvp,
    flow_grid_vjp,
    flow_sample,
    flow_sample_double_vjp,
    flow_sample_jvp,
    flow_sample_vjp,
)
from stnkit.api.grid import grid_sample, grid_sample_double_vjp, grid_sample_jvp, grid_sample_vjp
from stnkit.api.prefilter import spline_filter, spline_filter_vjp
from stnkit.api.projective import (
    projective_grid,
    projective_grid_jvp,
    projective_grid_vjp,
    projective_sample,
    projective_sample_jvp,
    projective_sample_vjp,
)
from stnkit.api.splat import grid_count, grid_gradient, grid_splat, grid_splat_vjp
from stnkit.api.thin_plate_spline import (
    thin_plate_spline_grid,
    thin_plate_spline_grid_jvp,
    thin_plate_spline_grid_vjp,
    thin_plate_spline_sample,
    thin_plate_spline_sample_jvp,
    thin_plate_spline_sample_vjp,
)

__all__ = [
    "affine_grid",
    "affine_grid_jvp",
    "affine_grid_vjp",
    "affine_sample",
    "affine_sample_double_vjp",
    "affine_sample_jvp",
    "affine_sample_vjp",
    "compile_ahead",
    "flow_grid",
    "flow_grid_jvp",
    "flow_grid_vjp",
    "flow_sample",
    "flow_sample_double_vjp",
    "flow_sample_jvp",
    "flow_sample_vjp",
    "grid_count",
    "grid_gradient",
    "grid_sample",
    "grid_sample_double_vjp",
    "grid_sample_jvp",
    "grid_sample_vjp",
    "grid_splat",
    "grid_splat_vjp",
    "projective_grid",
    "projective_grid_jvp",
    "projective_grid_vjp",
    "projective_sample",
    "projective_sample_jvp",
    "projective_sample_vjp",
    "spline_filter",
    "spline_filter_vjp",
    "thin_plate_spline_grid",
    "thin_plate_spline_grid_jvp",
    "thin_plate_spline_grid_vjp",
    "thin_plate_spline_sample",
    "thin_plate_spline_sample_jvp",
    "thin_plate_spline_sample_vjp",
]

__version__ = "0.1.0"

_LATER = ("ndimage", "nn", "tiles", "transforms")  # modules that need no framework

if _typing.TYPE_CHECKING:
    from stnkit import ndimage as ndimage
    from stnkit import nn as nn
    from stnkit import tiles as tiles
    from stnkit import transforms as transforms
else:

    def __getattr__(name: str) -> _typing.Any:
        if name in _LATER:
            return _importlib.import_module(f"stnkit.{name}")
        msg = f"module 'stnkit' has no attribute {name!r}"
        raise AttributeError(msg)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
