"""Grids, and splats into images, on JAX arrays."""

from typing import Any

import jax
import jax.numpy as jnp

from stnkit import validation
from stnkit.api.splat import image_shape
from stnkit.dtypes import arithmetic
from stnkit.jax import operations
from stnkit.jax.call import Array, Maybe, import_arrays, widened
from stnkit.jax.primitives import Form, Splat
from stnkit.spec import AFFINE, FLOW, GRID, NEAREST, Options


def affine_grid(*, theta: Array, size: Any, align_corners: bool) -> Array:
    """Return the grid of affine maps."""
    (theta,) = import_arrays(theta=theta)
    validation.coordinate_dtype("theta", theta.dtype)
    ndim, align = validation.theta_axes(theta.shape), validation.flag("align_corners", align_corners)
    return _lattice(theta, AFFINE, 3, validation.size(size, ndim), align)


def affine_grid_vjp(*, cotangent: Array, align_corners: bool, deterministic: bool) -> Array:
    """Pull a cotangent of the grid back to the maps."""
    validation.flag("deterministic", deterministic)
    (cotangent,) = import_arrays(cotangent=cotangent)
    validation.coordinate_dtype("cotangent", cotangent.dtype)
    axes = validation.grid_axes(cotangent.shape, "cotangent") + 2
    wide = widened(cotangent if cotangent.ndim == axes else cotangent[None])
    theta_bar = operations.lattice_vjp(wide, validation.flag("align_corners", align_corners)).astype(cotangent.dtype)
    return theta_bar if cotangent.ndim == axes else theta_bar[0]


def affine_grid_jvp(*, theta: Array, d_theta: Array, size: Any, align_corners: bool) -> tuple[Array, Array]:
    """Push a tangent of the maps forward."""
    theta, d_theta = import_arrays(theta=theta, d_theta=d_theta)
    _alike("theta", theta, d_theta)
    grid, grid_dot = (affine_grid(theta=t, size=size, align_corners=align_corners) for t in (theta, d_theta))
    return grid, grid_dot


def flow_grid(*, flow: Array, units: str, align_corners: bool) -> Array:
    """Return the grid of a flow."""
    (flow,) = import_arrays(flow=flow)
    validation.coordinate_dtype("flow", flow.dtype)
    ndim, pixel = validation.grid_axes(flow.shape, "flow"), validation.units(units)
    align = validation.flag("align_corners", align_corners)
    return _lattice(flow, FLOW, ndim + 2, flow.shape[-1 - ndim : -1], align, pixel)


def flow_grid_vjp(*, cotangent: Array, units: str, align_corners: bool, deterministic: bool) -> Array:
    """Pull a cotangent of the grid back to the flow."""
    validation.flag("deterministic", deterministic)
    (cotangent,) = import_arrays(cotangent=cotangent)
    return _scaled(cotangent, "cotangent", units, align_corners)


def flow_grid_jvp(*, flow: Array, d_flow: Array, units: str, align_corners: bool) -> tuple[Array, Array]:
    """Push a tangent of the flow forward."""
    flow, d_flow = import_arrays(flow=flow, d_flow=d_flow)
    _alike("flow", flow, d_flow)
    grid = flow_grid(flow=flow, units=units, align_corners=align_corners)
    return grid, _scaled(widened(d_flow), "d_flow", units, align_corners)


def grid_splat(*, values: Array, grid: Array, size: Any, deterministic: bool, **words: Any) -> Array:
    """Add values to an empty image."""
    steady = validation.flag("deterministic", deterministic)
    values, grid = import_arrays(values=values, grid=grid)
    ndim = validation.grid_axes(grid.shape)
    return _splat(values, grid, validation.size(size, ndim), _options(ndim, **words), steady)


def grid_splat_vjp(
    *, cotangent: Array, values: Array, grid: Array, wrt: Any, deterministic: bool, **words: Any
) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the splat back to values and grid."""
    steady = validation.flag("deterministic", deterministic)
    cotangent, values, grid = import_arrays(cotangent=cotangent, values=values, grid=grid)
    asked = validation.names("wrt", wrt, ("values", "grid"))
    ndim = validation.grid_axes(grid.shape)
    options = _options(ndim, **words)
    spatial = validation.output_size(cotangent.shape, ndim, words["data_format"])
    shape, batched = image_shape(values, grid, spatial, options)
    validation.same_shape("cotangent", cotangent.shape, "the splat", shape if batched else shape[1:])
    validation.same_dtype("cotangent", cotangent.dtype, "`values`", values.dtype)
    given = [array for array, wanted in zip((values, grid), asked, strict=True) if wanted]

    def splat(*arrays: Array) -> Array:
        first, second = arrays if all(asked) else (*arrays, grid) if asked[0] else (values, *arrays)
        return _splat(first, second, spatial, options, steady)

    bars = iter(jax.vjp(splat, *given)[1](cotangent))
    values_bar, grid_bar = (next(bars) if wanted else None for wanted in asked)
    return values_bar, grid_bar


def grid_count(*, grid: Array, size: Any, deterministic: bool, **words: Any) -> Array:
    """Count how often a grid reads each pixel."""
    steady = validation.flag("deterministic", deterministic)
    (grid,) = import_arrays(grid=grid)
    ndim = validation.grid_axes(grid.shape)
    options = _options(ndim, **words, data_format="channels_first")
    validation.coordinate_dtype("grid", grid.dtype)
    wide = widened(grid)
    ones = jnp.ones((*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1]), wide.dtype)
    return jnp.squeeze(_splat(ones, wide, validation.size(size, ndim), options, steady), axis=-1 - ndim)


def _options(ndim: int, *, mode: str, padding_mode: Any, align_corners: bool, coords: str, data_format: str) -> Options:
    return validation.options(ndim, mode, padding_mode, align_corners, data_format, coords=coords)


def _lattice(source: Array, kind: int, axes: int, size: Any, align: bool, pixel: bool = False) -> Array:
    wide = widened(source)
    grid = operations.lattice(wide if wide.ndim == axes else wide[None], kind, tuple(size), align, pixel)
    return grid if source.ndim == axes else grid[0]


def _alike(name: str, source: Array, source_dot: Array) -> None:
    validation.coordinate_dtype(name, source.dtype)
    validation.same_shape(f"d_{name}", source_dot.shape, f"`{name}`", source.shape)
    validation.same_dtype(f"d_{name}", source_dot.dtype, f"`{name}`", source.dtype)


def _scaled(array: Array, name: str, units: str, align_corners: bool) -> Array:
    """Multiply by d grid / d flow."""
    validation.coordinate_dtype(name, array.dtype)
    ndim = validation.grid_axes(array.shape, name)
    align = validation.flag("align_corners", align_corners)
    if not validation.units(units):
        return array
    return operations.scaled(array, array.shape[-1 - ndim : -1], align)


def _splat(values: Array, grid: Array, spatial: tuple[int, ...], options: Options, steady: bool) -> Array:
    """Add values to an image of the spatial size given."""
    shape, batched = image_shape(values, grid, spatial, options)
    ndim = len(spatial)
    wide = widened(grid)
    wide = wide if wide.ndim == ndim + 2 else wide[None]
    validation.not_empty(shape, spatial, wide.shape[1:-1])
    g = values if values.ndim == ndim + 2 else values[None]
    g = jnp.broadcast_to(g, (shape[0], *g.shape[1:]))
    channels = shape[-1 if options.channels_last else 1]
    dtype = arithmetic(values.dtype, wide.dtype) if options.interp != NEAREST else values.dtype
    form = Form(GRID, wide.shape[1:-1], options, bytes(channels * dtype.itemsize), dtype, steady)
    out = operations.splat(g, wide, form, Splat(shape[0], spatial)).astype(values.dtype)
    return out if batched else out[0]
