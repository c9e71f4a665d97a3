"""What every public function does with JAX arrays before the work: take its arguments by name, and the arrays in.

Shapes and dtypes are known while a program is traced, so errors come then, in the words of the NumPy functions.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from stnkit.backends.interop import misfit, no_array
from stnkit.calls.signatures import array_names, bound, refuse_written
from stnkit.jax import placed

Array = Any
Maybe = Array | None


def signed(public: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a rule with the name, the signature and the defaults of the public function that it stands for.

    The rule gets all arguments by name, and no array that would be written to. Where JAX's arrays are elsewhere, as
    control points or a fill value, the call is NumPy's.
    """
    signature, names = inspect.signature(public), array_names(public)

    @functools.wraps(public)
    def call(*args: Any, **options: Any) -> Any:
        arguments = bound(public, signature, args, options)
        if isinstance(arguments.get("fill_value"), jax.core.Tracer):
            msg = "`fill_value` is traced by JAX; it must be known when a program is traced: pass numbers"
            raise TypeError(msg)
        given = {name: arguments[name] for name in names}
        if not any(isinstance(array, jax.Array) for array in given.values()):
            return inspect.unwrap(public)(*args, **options)
        misfit("JAX", given, jax.Array)
        if arguments.get("place") is not None:
            return placed.called(public, names, arguments)
        arguments.pop("place", None)
        refuse_written(arguments, "JAX arrays")
        for name, array in given.items():
            if array is not None:
                _check_sizes(name, array)
            elif not ("image" in given and name.startswith("d")):  # tangents of samplers, of which None is zero
                raise no_array(name, array, "a JAX array")
        return rule(**arguments)

    return call


def _check_sizes(name: str, array: Array) -> None:
    """Refuse an array of which `jax.export` leaves sizes open."""
    if not {int}.issuperset(map(type, array.shape)):
        shape = ", ".join(map(str, array.shape))
        msg = (
            f"`{name}` has the shape ({shape}), where a size is a symbol; kernels are laid out for known sizes: export "
            "a program for each size that is needed"
        )
        raise ValueError(msg)


def widened(coordinates: Array) -> Array:
    """Return coordinates as float32 if they come in half precision."""
    return coordinates.astype(np.float32) if coordinates.dtype.itemsize == 2 else coordinates
