"""Spatial transformer sampling for any array: grids, interpolation and every derivative, on CPU threads.

`grid_sample` reads an image at given coordinates, `affine_grid` generates coordinates from affine maps, and
`affine_sample` does both at once without storing a grid; `flow_grid` and `flow_sample` do the same for a flow.
Each has a `_vjp` (reverse mode) and a `_jvp` (forward mode), and the samplers a `_double_vjp` (second order).
`grid_splat` is the adjoint of sampling, and `grid_gradient` the spatial derivative of an image.
"""

from stnkit.api.affine import (
    affine_grid,
    affine_grid_jvp,
    affine_grid_vjp,
    affine_sample,
    affine_sample_double_vjp,
    affine_sample_jvp,
    affine_sample_vjp,
)
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
from stnkit.api.splat import grid_count, grid_gradient, grid_splat, grid_splat_vjp

__all__ = [
    "affine_grid",
    "affine_grid_jvp",
    "affine_grid_vjp",
    "affine_sample",
    "affine_sample_double_vjp",
    "affine_sample_jvp",
    "affine_sample_vjp",
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
]

__version__ = "0.1.0"
