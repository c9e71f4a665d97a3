"""Spatial transformer sampling for any array: grids, interpolation and every derivative, on CPU threads.

`grid_sample` reads an image at given coordinates, `affine_grid` generates coordinates from affine maps, and
`affine_sample` does both at once without storing a grid. Each has a `_vjp`, its reverse-mode derivative.
"""

from stnkit.api import (
    affine_grid,
    affine_grid_vjp,
    affine_sample,
    affine_sample_vjp,
    grid_sample,
    grid_sample_vjp,
)

__all__ = [
    "affine_grid",
    "affine_grid_vjp",
    "affine_sample",
    "affine_sample_vjp",
    "grid_sample",
    "grid_sample_vjp",
]

__version__ = "0.1.0"
