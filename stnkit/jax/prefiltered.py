"""Prefiltered calls on JAX arrays: composed of the operations, so that they have all their rules, to any order."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from stnkit import validation
from stnkit.calls.signatures import array_names
from stnkit.jax import prefilter
from stnkit.jax.antialias import TOOLS, antialiasing
from stnkit.jax.call import Array, signed
from stnkit.jax.maps import constant
from stnkit.prefilter.coefficients import Framework
from stnkit.prefilter.compose import PREFILTERED


def sampler(public: Callable[..., Any]) -> Callable[..., Any]:
    """Return a sampler, or a derivative of one."""
    return prefiltering(public, antialiasing(public))


def prefiltering(public: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a public function: a rule, done on coefficients where the image is filtered first."""
    name, names = public.__name__, array_names(public)

    def either(**arguments: Any) -> Any:
        if not validation.prefiltered(arguments["mode"], arguments["prefilter"]):
            return rule(**arguments)
        arrays = [arguments.pop(array) for array in names]
        if "control_points" in arguments:
            arguments["control_points"] = constant(arguments["control_points"])
        results = PREFILTERED[name](public, arrays, arguments, FILTERS)
        return results[0] if len(results) == 1 else results

    return signed(public, either)


def _filter(array: Array, *, transpose: bool, **options: Any) -> Array:
    if transpose:
        return prefilter.spline_filter_vjp(cotangent=array, **options)
    return prefilter.spline_filter(image=array, **options)


def _block(like: Array, numbers: list[float], lines: Sequence[int], shape: Sequence[int]) -> Array:
    return jnp.broadcast_to(jnp.array(numbers, like.dtype).reshape(lines), shape)


FILTERS = Framework(
    TOOLS._replace(cast=lambda array, dtype: array.astype(jax.dtypes.canonicalize_dtype(dtype))),
    _block,
    lambda array, shape: jnp.broadcast_to(array, shape),
    lambda array, axis: array.sum(axis, keepdims=True),
    _filter,
    lambda array: array,
)
