"""Antialiasing on JAX arrays: composed of the operations, so that it has all their rules, to any order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stnkit.antialias.compose import antialiased
from stnkit.antialias.supersampling import Tools
from stnkit.calls.derivatives import SAMPLE, Derivative, array_names, optional
from stnkit.jax.call import import_arrays, not_written, signed
from stnkit.jax.maps import constant
from stnkit.jax.samplers import sampled


def antialiasing(
    face: Callable[..., Any], what: Derivative[Any], kind: int, rule: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return a rule as `signed` does, for a public function that can antialias; without one, that of samplers."""
    plain = functools.partial(sampled, what, kind) if rule is None else rule
    names = array_names(what, kind)

    def either(*, antialias: Any, **arguments: Any) -> Any:
        if antialias is False:
            return plain(**arguments)
        arrays = {name: arguments.pop(name) for name in names}
        import_arrays(*optional(what, kind), **arrays)
        if what.written:
            not_written(what.written, arguments.pop(what.written))
        if "control_points" in arguments:
            arguments["control_points"] = constant(arguments["control_points"])
        tools = JAX._replace(see=functools.partial(_seen, arrays))
        results = antialiased(call, what, kind, [*arrays.values()], arguments, antialias, tools)
        return results[0] if what is SAMPLE else results

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
