"""Grids of maps and flows, and their derivatives, on whole arrays."""

import numpy as np

from stnkit.backends.cpu.execute import execute, readable, source_sums
from stnkit.kernels.cpu.call import COTANGENT, OUT, OUT_DOT, SOURCE, SOURCE_BAR, SOURCE_DOT
from stnkit.plans import launch
from stnkit.plans import maps as plans
from stnkit.plans.layout import Shape, layout
from stnkit.spec import THIN_PLATE_SPLINE, Place


def grid(
    source: np.ndarray,
    kind: int,
    size: Shape,
    align: bool,
    pixel: bool = False,
    out: np.ndarray | None = None,
    place: Place | None = None,
) -> np.ndarray:
    """Write out the coordinates that affine or projective maps, or a flow, give for an output of `size`."""
    source = np.ascontiguousarray(source)
    given = {SOURCE: source} if out is None else {SOURCE: source, OUT: out}
    return execute(launch.grid(layout(source), kind, size, align, pixel, place), given)[OUT]


def grid_vjp(cotangent: np.ndarray, align: bool, place: Place | None = None) -> np.ndarray:
    """Return the cotangent of affine maps from that of the grid they give."""
    batch, *size, ndim = cotangent.shape
    plan = launch.affine_grid_vjp(batch, tuple(size), cotangent.dtype, align, place)
    theta_bar = execute(plan, {COTANGENT: np.ascontiguousarray(cotangent)})[SOURCE_BAR]
    return np.asarray(theta_bar.sum(axis=1), cotangent.dtype).reshape(batch, ndim, ndim + 1)


def map_grid(
    theta: np.ndarray, kind: int, size: Shape, align: bool, control: bytes = b"", place: Place | None = None
) -> np.ndarray:
    """Write out the coordinates that maps give for an output of `size`."""
    if kind != THIN_PLATE_SPLINE:
        return grid(theta, kind, size, align, place=place)
    read = readable(theta, kind, theta.dtype, control)
    return execute(plans.thin_plate_grid(layout(read), size, align, place), {SOURCE: read})[OUT]


def map_grid_vjp(
    cotangent: np.ndarray,
    theta: np.ndarray,
    kind: int,
    align: bool,
    control: bytes = b"",
    place: Place | None = None,
) -> np.ndarray:
    """Return the cotangent of maps from that of the grid they give."""
    _, *size, _ = cotangent.shape
    read = readable(theta, kind, cotangent.dtype, control)
    cotangent = np.ascontiguousarray(cotangent, read.dtype)
    plan = plans.map_grid_vjp(layout(read), kind, tuple(size), align, place)
    sums = execute(plan, {COTANGENT: cotangent, SOURCE: read})[SOURCE_BAR]
    return source_sums(sums, theta, kind, control)


def projective_grid_jvp(
    theta: np.ndarray, theta_dot: np.ndarray, size: Shape, align: bool, place: Place | None = None
) -> np.ndarray:
    """Return the tangent of the grid that projective maps give."""
    theta, theta_dot = np.ascontiguousarray(theta), np.ascontiguousarray(theta_dot)
    plan = plans.projective_grid_jvp(layout(theta), size, align, place)
    return execute(plan, {SOURCE: theta, SOURCE_DOT: theta_dot})[OUT_DOT]
