"""Grids of maps that are no affine ones, and their derivatives, on whole arrays, as `ops` has those of the others."""

import numpy as np

from stnkit.kernels.call import COTANGENT, OUT, OUT_DOT, SOURCE, SOURCE_BAR, SOURCE_DOT
from stnkit.ops import execute, grid, readable, source_sums
from stnkit.plans import maps as plans
from stnkit.plans.layout import Shape, layout
from stnkit.spec import THIN_PLATE_SPLINE


def map_grid(theta: np.ndarray, kind: int, size: Shape, align: bool, control: bytes = b"") -> np.ndarray:
    """Write out the coordinates that maps give for an output of `size`."""
    if kind != THIN_PLATE_SPLINE:
        return grid(theta, kind, size, align)
    read = readable(theta, kind, theta.dtype, control)
    return execute(plans.plate_grid(layout(read), size, align), {SOURCE: read})[OUT]


def map_grid_vjp(cotangent: np.ndarray, theta: np.ndarray, kind: int, align: bool, control: bytes = b"") -> np.ndarray:
    """Return the cotangent of maps from that of the grid they give."""
    _, *size, _ = cotangent.shape
    read = readable(theta, kind, cotangent.dtype, control)
    cotangent = np.ascontiguousarray(cotangent, read.dtype)
    plan = plans.map_grid_vjp(layout(read), kind, tuple(size), align)
    sums = execute(plan, {COTANGENT: cotangent, SOURCE: read})[SOURCE_BAR]
    return source_sums(sums, theta, kind, control)


def projective_grid_jvp(theta: np.ndarray, theta_dot: np.ndarray, size: Shape, align: bool) -> np.ndarray:
    """Return the tangent of the grid that projective maps give."""
    theta, theta_dot = np.ascontiguousarray(theta), np.ascontiguousarray(theta_dot)
    plan = plans.projective_grid_jvp(layout(theta), size, align)
    return execute(plan, {SOURCE: theta, SOURCE_DOT: theta_dot})[OUT_DOT]
