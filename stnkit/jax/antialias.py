"""Antialiasing on JAX arrays: composed of the operations, so that it has all their rules, to any order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stnkit.antialias.compose import antialiased
from stnkit.antialias.roles import Tools
from stnkit.jax.call import array_names, import_arrays, signed
from stnkit.jax.maps import constant


def antialiasing(face: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a rule as `signed` does, for a public function that can antialias."""

    def either(*, antialias: Any, **arguments: Any) -> Any:
        if antialias is False:
            return rule(**arguments)
        arrays = {name: arguments[name] for name in names}
        import_arrays(*(name for name in names if name.startswith("d")), **arrays)
        taken = arguments | {"antialias": antialias}
        if "control_points" in taken:
            taken["control_points"] = constant(taken["control_points"])
        return antialiased(call, taken, JAX._replace(see=functools.partial(_seen, arrays)))

    names = array_names(face)
    call = signed(face, either)
    return call


def _seen(given: dict[str, Any], name: str, _: Any = None) -> np.ndarray:
    """Return an array's numbers as it was given: `jax.grad` and its like know them, and `jit` and `vmap` do not."""
    array = given[name]
    value = jax.lax.stop_gradient(array) if isinstance(array, jax.core.Tracer) else array
    if isinstance(value, jax.core.Tracer):
        msg = (
            f"`antialias=True` takes the numbers of `{name}`, which JAX does not know while it traces; pass how many "
            "places to read along each axis, as antialias=4"
        )
        raise TypeError(msg)
    return np.asarray(value)


JAX = Tools(jnp, lambda array, dtype: array.astype(dtype), lambda _, array: np.asarray(array), lambda: True)
