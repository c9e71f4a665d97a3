"""Grids, and splats into images, on JAX arrays. A function takes the arguments of the public one, by name."""

from typing import Any

import jax
import jax.numpy as jnp

from stnkit import validation
from stnkit.calls.arguments import Choices
from stnkit.calls.derivatives import NAMES
from stnkit.calls.grids import fits_source, grid_form, slopes
from stnkit.calls.splatting import SplatForm, splat_form
from stnkit.dtypes import arithmetic
from stnkit.jax import operations
from stnkit.jax.call import Array, Maybe, widened
from stnkit.jax.primitives import Settings, Splat
from stnkit.spec import AFFINE, CHOOSING, GRID


def grid(kind: int, **arguments: Any) -> Array:
    """Return the grid of affine maps or of a flow."""
    return _grid(kind, arguments.pop(NAMES[kind]), Choices(**arguments))


def affine_grid_vjp(*, cotangent: Array, align_corners: bool, deterministic: bool) -> Array:
    """Pull a cotangent of the grid back to the maps."""
    validation.flag("deterministic", deterministic)
    validation.coordinate_dtype("cotangent", cotangent.dtype)
    axes = validation.grid_axes(cotangent.shape, "cotangent") + 2
    wide = widened(cotangent if cotangent.ndim == axes else cotangent[None])
    theta_bar = operations.grid_vjp(wide, validation.flag("align_corners", align_corners)).astype(cotangent.dtype)
    return theta_bar if cotangent.ndim == axes else theta_bar[0]


def flow_grid_vjp(*, cotangent: Array, deterministic: bool, **choices: Any) -> Array:
    """Pull a cotangent of the grid back to the flow."""
    validation.flag("deterministic", deterministic)
    return _scaled(cotangent, "cotangent", Choices(**choices))


def grid_jvp(kind: int, **arguments: Any) -> tuple[Array, Array]:
    """Push a tangent of affine maps or of a flow forward."""
    name = NAMES[kind]
    source, source_dot, choices = arguments.pop(name), arguments.pop(f"d_{name}"), Choices(**arguments)
    fits_source(kind, source, source_dot)
    out = _grid(kind, source, choices)
    return out, _grid(kind, source_dot, choices) if kind == AFFINE else _scaled(widened(source_dot), "d_flow", choices)


def grid_splat(*, values: Array, grid: Array, **choices: Any) -> Array:
    """Add values to an empty image."""
    return _splat(values, grid, Choices(**choices))


def grid_splat_vjp(*, cotangent: Array, values: Array, grid: Array, **options: Any) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the splat back to values and grid."""
    choices, given = Choices(**options), (values, grid)
    asked = validation.names("wrt", choices.wrt, ("values", "grid"))
    form = splat_form(values, grid, choices, cotangent)

    def splat(*moved: Array) -> Array:
        rest = iter(moved)
        first, second = (next(rest) if wanted else array for array, wanted in zip(given, asked, strict=True))
        return _splat(first, second, choices, form)

    back = jax.vjp(splat, *(array for array, wanted in zip(given, asked, strict=True) if wanted))[1]
    bars = iter(back(cotangent))
    values_bar, grid_bar = (next(bars) if wanted else None for wanted in asked)
    return values_bar, grid_bar


def grid_count(*, grid: Array, **choices: Any) -> Array:
    """Count how often a grid reads each pixel."""
    ndim = validation.grid_axes(grid.shape)
    validation.coordinate_dtype("grid", grid.dtype)
    ones = jnp.ones((*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1]), widened(grid).dtype)
    return jnp.squeeze(_splat(ones, grid, Choices(**choices)), axis=-1 - ndim)


def _grid(kind: int, source: Array, choices: Choices) -> Array:
    form, wide = grid_form(kind, source, choices), widened(source)
    batched = source.ndim == form.axes
    grid = operations.grid(wide if batched else wide[None], *form[:4])
    return grid if batched else grid[0]


def _scaled(array: Array, name: str, choices: Choices) -> Array:
    """Multiply by d grid / d flow."""
    factors = slopes(array, name, choices)
    return array if factors is None else operations.scaled(array, factors)


def _splat(values: Array, grid: Array, choices: Choices, form: SplatForm | None = None) -> Array:
    steady = validation.flag("deterministic", choices.deterministic)
    form = form or splat_form(values, grid, choices)
    whole, wide = form.whole(values, widened(grid), jnp)
    channels = form.shape[-1 if form.options.channels_last else 1]
    dtype = arithmetic(values.dtype, wide.dtype) if form.options.interp not in CHOOSING else values.dtype
    sampler = Settings(GRID, wide.shape[1:-1], form.options, bytes(channels * dtype.itemsize), dtype, steady)
    out = operations.splat(whole, wide, sampler, Splat(form.shape[0], form.spatial))
    return form.unbatch(out.astype(values.dtype))
