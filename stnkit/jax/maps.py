"""Projective maps and thin plate splines on JAX arrays: what `transforms.differentiable_grids` takes from JAX."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stnkit import validation
from stnkit.calls.control_points import as_float64
from stnkit.dtypes import FLOAT64
from stnkit.jax import operations, samplers
from stnkit.jax.call import Array, signed
from stnkit.plans import thin_plates
from stnkit.spec import GRID
from stnkit.transforms.differentiable_grids import FORMULAS, Framework


def constant(control_points: Any) -> np.ndarray:
    """Return control points in float64; refuse those that JAX traces."""
    if isinstance(control_points, jax.core.Tracer):
        msg = (
            "`control_points` are traced by JAX; they are constants, of which no derivative is given: pass an array "
            "that is no argument of what is transformed"
        )
        raise TypeError(msg)
    if not isinstance(control_points, jax.Array):
        return np.ascontiguousarray(as_float64(control_points))
    validation.coordinate_dtype("control_points", control_points.dtype)
    return np.ascontiguousarray(control_points, FLOAT64)


def _table(control: np.ndarray, size: Sequence[int], align: bool, like: Array) -> np.ndarray:
    """Return what theta is multiplied by: a constant of the program."""
    return thin_plates.table(control.tobytes(), tuple(size), align).astype(like.dtype)


def _sample(image: Array, grid: Array, **options: Any) -> Any:
    return samplers.sample(GRID, image=image, grid=grid, **options)


def _sample_vjp(cotangent: Array, image: Array, grid: Array, **options: Any) -> Any:
    return samplers.sample_vjp(GRID, cotangent=cotangent, image=image, grid=grid, **options)


def _sample_jvp(image: Array, grid: Array, d_image: Array, d_grid: Array, **options: Any) -> Any:
    return samplers.sample_jvp(GRID, image=image, grid=grid, d_image=d_image, d_grid=d_grid, **options)


@functools.cache
def _jit(formula: Callable[..., Array]) -> Callable[..., Array]:
    """Return a formula as one program for each size; within another program it is a part of that."""
    fixed = [name for name in ("namespace", "size", "align") if name in inspect.signature(formula).parameters]
    made: Callable[..., Array] = jax.jit(formula, static_argnames=fixed, inline=True)
    return made


JAX = Framework(
    namespace=operations.NAMESPACE,
    matmul=functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST),  # which devices else round
    size=validation.size,
    control=constant,
    table=_table,
    jit=_jit,
    sample=_sample,
    sample_vjp=_sample_vjp,
    sample_jvp=_sample_jvp,
)


def made_of(public: Callable[..., Any]) -> Callable[..., Any]:
    """Return a public function of grids of projective maps, or of thin plate splines."""
    return signed(public, functools.partial(FORMULAS[public.__name__], JAX))
