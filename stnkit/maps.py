"""Grids of maps that are no affine ones, and their derivatives, on whole arrays, as `ops` has those of the others."""

import math

import numpy as np

from stnkit import recipes
from stnkit.kernels import cpu_maps
from stnkit.kernels.threads import launch
from stnkit.ops import address, grid, readable, source_sums
from stnkit.plan import CHUNKS, Shape, grid_spec, layout, source_layout, three, tiles, zero
from stnkit.spec import PROJECTIVE, THIN_PLATE_SPLINE

INDEX = np.int32(0)  # of a stage of which no pixels are read


def map_grid(theta: np.ndarray, kind: int, size: Shape, align: bool, control: bytes = b"") -> np.ndarray:
    """Write out the coordinates that maps give for an output of `size`."""
    if kind != THIN_PLATE_SPLINE:
        return grid(theta, kind, size, align)
    read = readable(theta, kind, theta.dtype, control)
    out = np.empty((len(theta), *size, len(size)), theta.dtype)
    if out.size:
        spec = grid_spec(len(size), theta.dtype, kind, align)
        numbers = (*_parts(len(theta), size), three(size, 1), source_layout(layout(read), kind, size)[1])
        addresses = address(out), address(read)
        launch(cpu_maps.plate_grid, spec, out.size, *addresses, *numbers, zero(theta.dtype), INDEX)
    return out


def map_grid_vjp(cotangent: np.ndarray, theta: np.ndarray, kind: int, align: bool, control: bytes = b"") -> np.ndarray:
    """Return the cotangent of maps from that of the grid they give."""
    batch, *size, ndim = cotangent.shape
    read = readable(theta, kind, cotangent.dtype, control)
    cotangent = np.ascontiguousarray(cotangent, read.dtype)
    sums = np.zeros(*recipes.bars_form(batch, read.shape, kind, tuple(size), read.dtype))
    if cotangent.size:
        spec = grid_spec(ndim, read.dtype, kind, align)._replace(source_bar=True)
        strides = source_layout(layout(read), kind, tuple(size))[1]
        numbers = (*_parts(batch, tuple(size)), three(tuple(size), 1), sums.shape[-1], strides)
        addresses = address(sums), address(cotangent), address(read)
        launch(cpu_maps.map_grid_vjp, spec, cotangent.size, *addresses, *numbers, zero(read.dtype), INDEX)
    return source_sums(sums, theta, kind, control)


def projective_grid_jvp(theta: np.ndarray, theta_dot: np.ndarray, size: Shape, align: bool) -> np.ndarray:
    """Return the tangent of the grid that projective maps give."""
    theta, theta_dot = np.ascontiguousarray(theta), np.ascontiguousarray(theta_dot)
    out = np.empty((len(theta), *size, len(size)), theta.dtype)
    if out.size:
        spec = grid_spec(len(size), theta.dtype, PROJECTIVE, align)
        batch, strides = len(theta), source_layout(layout(theta), PROJECTIVE, size)[1]
        numbers = batch, min(batch * math.prod(size), CHUNKS), three(size, 1), strides, zero(theta.dtype)
        launch(cpu_maps.map_grid_jvp, spec, out.size, address(out), address(theta), address(theta_dot), *numbers)
    return out


def _parts(batch: int, size: Shape) -> tuple[int, int, int]:
    """Return how many parts there are, how many of them an item has, and in how many chunks threads take them."""
    spans = tiles(math.prod(size))
    return batch * spans, spans, min(batch * spans, CHUNKS)
