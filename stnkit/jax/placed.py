"""Calls with `place`: the NumPy function on shared memory, of which `jax.grad` knows the vjp, once.

JAX's operations have no such argument, so a program that is compiled or batched cannot have these calls.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax

import stnkit
from stnkit.calls.signatures import taken

Array = Any


def called(public: Callable[..., Any], names: Sequence[str], arguments: dict[str, Any]) -> Any:
    """Do a call with `place`, whose arguments are named."""
    options = {name: value for name, value in arguments.items() if name not in names}
    arrays = [arguments[name] for name in names]
    plain, pull = inspect.unwrap(public), getattr(stnkit, f"{public.__name__}_vjp", None)

    def call(*arrays: Array) -> Any:
        named = dict(zip(names, arrays, strict=True))
        _refuse_traced(named)
        return plain(**named, **options)

    if pull is None:
        return call(*arrays)

    def back(arrays: tuple[Array, ...], cotangent: Array) -> tuple[Array | None, ...]:
        asked = [
            name
            for name, array in zip(names, arrays, strict=True)
            if jax.numpy.issubdtype(array.dtype, jax.numpy.floating)
        ]
        given = dict(zip(names, arrays, strict=True)) | options | {"wrt": asked}
        bars = pull(cotangent, **taken(pull, given))
        bars = bars if isinstance(bars, tuple) else (bars,)
        return tuple(None if bar is None else bar.astype(array.dtype) for bar, array in zip(bars, arrays, strict=True))

    recorded = jax.custom_vjp(call)
    recorded.defvjp(lambda *arrays: (call(*arrays), arrays), back)
    return recorded(*arrays)


def _refuse_traced(named: dict[str, Array]) -> None:
    for name, array in named.items():
        if isinstance(array, jax.core.Tracer):
            msg = (
                f"`{name}` is traced by JAX, and a call with `place` is not; call it outside of `jax.jit` and "
                "`jax.vmap`, the `_vjp` or `_jvp` function for other derivatives than the first in reverse mode, or "
                "pass arrays of NumPy"
            )
            raise TypeError(msg)
