"""Grids, and splats into images, on JAX arrays."""

from typing import Any

import jax
import jax.numpy as jnp

from stnkit import validation
from stnkit.api.splat import image_shape
from stnkit.dtypes import arithmetic
from stnkit.jax import operations
from stnkit.jax.call import Array, Maybe, widened
from stnkit.jax.primitives import Sampler, Splat
from stnkit.spec import AFFINE, FLOW, GRID, NEAREST
from stnkit.transforms.formulas import alike


def affine_grid(*, theta: Array, size: Any, align_corners: bool) -> Array:
    """Return the grid of affine maps."""
    validation.coordinate_dtype("theta", theta.dtype)
    ndim, align = validation.theta_axes(theta.shape), validation.flag("align_corners", align_corners)
    return _grid(theta, AFFINE, 3, validation.size(size, ndim), align)


def affine_grid_vjp(*, cotangent: Array, align_corners: bool, deterministic: bool) -> Array:
    """Pull a cotangent of the grid back to the maps."""
    validation.flag("deterministic", deterministic)
    validation.coordinate_dtype("cotangent", cotangent.dtype)
    axes = validation.grid_axes(cotangent.shape, "cotangent") + 2
    wide = widened(cotangent if cotangent.ndim == axes else cotangent[None])
    theta_bar = operations.grid_vjp(wide, validation.flag("align_corners", align_corners)).astype(cotangent.dtype)
    return theta_bar if cotangent.ndim == axes else theta_bar[0]


def affine_grid_jvp(*, theta: Array, d_theta: Array, size: Any, align_corners: bool) -> tuple[Array, Array]:
    """Push a tangent of the maps forward."""
    alike("d_theta", d_theta, "`theta`", theta.shape, theta.dtype)
    grid, grid_dot = (affine_grid(theta=t, size=size, align_corners=align_corners) for t in (theta, d_theta))
    return grid, grid_dot


def flow_grid(*, flow: Array, units: str, align_corners: bool) -> Array:
    """Return the grid of a flow."""
    validation.coordinate_dtype("flow", flow.dtype)
    ndim, pixel = validation.grid_axes(flow.shape, "flow"), validation.units(units)
    align = validation.flag("align_corners", align_corners)
    return _grid(flow, FLOW, ndim + 2, flow.shape[-1 - ndim : -1], align, pixel)


def flow_grid_vjp(*, cotangent: Array, units: str, align_corners: bool, deterministic: bool) -> Array:
    """Pull a cotangent of the grid back to the flow."""
    validation.flag("deterministic", deterministic)
    return _scaled(cotangent, "cotangent", units, align_corners)


def flow_grid_jvp(*, flow: Array, d_flow: Array, units: str, align_corners: bool) -> tuple[Array, Array]:
    """Push a tangent of the flow forward."""
    alike("d_flow", d_flow, "`flow`", flow.shape, flow.dtype)
    grid = flow_grid(flow=flow, units=units, align_corners=align_corners)
    return grid, _scaled(widened(d_flow), "d_flow", units, align_corners)


def grid_splat(
    *,
    values: Array,
    grid: Array,
    size: Any,
    mode: str,
    padding_mode: Any,
    align_corners: bool,
    coords: str,
    data_format: str,
    deterministic: bool,
) -> Array:
    """Add values to an empty image."""
    steady, ndim = validation.flag("deterministic", deterministic), validation.grid_axes(grid.shape)
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format, coords=coords)
    spatial = validation.size(size, ndim)
    shape, batched = image_shape(values, grid, spatial, options)
    wide = widened(grid)
    wide = wide if wide.ndim == ndim + 2 else wide[None]
    validation.not_empty(shape, spatial, wide.shape[1:-1])
    g = values if values.ndim == ndim + 2 else values[None]
    g = jnp.broadcast_to(g, (shape[0], *g.shape[1:]))
    channels = shape[-1 if options.channels_last else 1]
    dtype = arithmetic(values.dtype, wide.dtype) if options.interp != NEAREST else values.dtype
    sampler = Sampler(GRID, wide.shape[1:-1], options, bytes(channels * dtype.itemsize), dtype, steady)
    out = operations.splat(g, wide, sampler, Splat(shape[0], spatial)).astype(values.dtype)
    return out if batched else out[0]


def grid_splat_vjp(
    *, cotangent: Array, values: Array, grid: Array, wrt: Any, data_format: str, **options: Any
) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the splat back to values and grid."""
    given = {"values": values, "grid": grid}
    asked = validation.names("wrt", wrt, ("values", "grid"))
    size = validation.output_size(cotangent.shape, validation.grid_axes(grid.shape), data_format)
    options |= {"size": size, "data_format": data_format}
    moved = {name: array for (name, array), wanted in zip(given.items(), asked, strict=True) if wanted}
    out, back = jax.vjp(lambda moved: grid_splat(**given | moved, **options), moved)
    alike("cotangent", cotangent, "the splat", out.shape, out.dtype)
    (bars,) = back(cotangent)
    return bars.get("values"), bars.get("grid")


def grid_count(*, grid: Array, **options: Any) -> Array:
    """Count how often a grid reads each pixel."""
    ndim = validation.grid_axes(grid.shape)
    validation.coordinate_dtype("grid", grid.dtype)
    ones = jnp.ones((*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1]), widened(grid).dtype)
    return jnp.squeeze(grid_splat(values=ones, grid=grid, data_format="channels_first", **options), axis=-1 - ndim)


def _grid(source: Array, kind: int, axes: int, size: Any, align: bool, pixel: bool = False) -> Array:
    wide = widened(source)
    grid = operations.grid(wide if wide.ndim == axes else wide[None], kind, tuple(size), align, pixel)
    return grid if source.ndim == axes else grid[0]


def _scaled(array: Array, name: str, units: str, align_corners: bool) -> Array:
    """Multiply by d grid / d flow."""
    validation.coordinate_dtype(name, array.dtype)
    ndim = validation.grid_axes(array.shape, name)
    align = validation.flag("align_corners", align_corners)
    if not validation.units(units):
        return array
    return operations.scaled(array, array.shape[-1 - ndim : -1], align)
