"""Antialiasing on JAX arrays: composed of the operations, so that it has all their rules, to any order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stnkit.antialias.compose import antialiased
from stnkit.antialias.supersampling import Tools
from stnkit.calls.derivatives import SAMPLE, SAMPLERS, array_names
from stnkit.jax.maps import JAX, constant
from stnkit.jax.samplers import FUNCTIONS
from stnkit.spec import THIN_PLATE_SPLINE
from stnkit.transforms.differentiable_grids import FORMULAS


def antialiasing(public: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a sampler, or of a derivative of one; with antialiasing, if its public function has it."""
    derivative, kind = SAMPLERS[public.__name__]
    rule = functools.partial(FUNCTIONS[derivative], kind)
    if kind == THIN_PLATE_SPLINE:
        rule = functools.partial(FORMULAS[public.__name__], JAX)
    names = array_names(derivative, kind)

    def either(*, antialias: Any = False, **arguments: Any) -> Any:
        if antialias is False:
            return rule(**arguments)
        arrays = {name: arguments.pop(name) for name in names}
        if "control_points" in arguments:
            arguments["control_points"] = constant(arguments["control_points"])
        tools = TOOLS._replace(see=functools.partial(_seen, arrays))
        results = antialiased(public, derivative, kind, [*arrays.values()], arguments, antialias, tools)
        return results[0] if derivative is SAMPLE else results

    return either


def _seen(given: dict[str, Any], name: str, _: Any = None) -> np.ndarray:
    """Return an array's numbers as it was given: `jax.grad` and its like know them, and `jit` and `vmap` do not."""
    array = given[name]
    value = jax.lax.stop_gradient(array) if isinstance(array, jax.core.Tracer) else array
    if isinstance(value, jax.core.Tracer):
        msg = (
            f"`antialias=True` takes the numbers of `{name}`, which JAX does not know while it traces; pass how many "
            "subsamples to take along each axis, as antialias=4"
        )
        raise TypeError(msg)
    return np.asarray(value)


def _cast(array: Any, dtype: Any) -> Any:
    if np.dtype(dtype) != jax.dtypes.canonicalize_dtype(dtype):
        msg = "`antialias` takes means of integers of 32 bits in float64, which JAX has with `jax_enable_x64` alone"
        raise TypeError(msg)
    return array.astype(dtype)


TOOLS = Tools(jnp, _cast, lambda _, array: np.asarray(array), lambda: True)
