"""Whose functions, and which numbers: arrays of any framework that array-api-compat knows."""

import sys
from typing import Any

Array = Any
Namespace = Any


def namespace_of(*arrays: Array) -> Namespace:
    """Return the array namespace that arrays share."""
    try:
        from array_api_compat import array_namespace
    except ImportError as error:
        msg = "to find an array's namespace takes array-api-compat: pip install array-api-compat, or pass `xp`"
        raise ImportError(msg) from error
    try:
        return array_namespace(*arrays)
    except TypeError as error:
        kinds = sorted({f"{type(array).__module__}.{type(array).__qualname__}" for array in arrays})
        msg = f"maps must be arrays of one framework; got {' and '.join(kinds)}"
        raise TypeError(msg) from error


def constant(rows: list[list[float]], like: Array, xp: Namespace) -> Array:
    """Return a matrix of numbers as an array of the framework, the dtype and the device of another."""
    return xp.asarray(rows, dtype=like.dtype, device=getattr(like, "device", None))  # which tracers of JAX lack


def dtype_name(array: Array) -> str:
    """Return the name of an array's dtype, as NumPy has it."""
    return str(array.dtype).rpartition(".")[-1]


def widened(array: Array, xp: Namespace) -> Array:
    """Return an array as float32 if it is in half precision, which no linear algebra is done in."""
    return xp.astype(array, xp.float32) if array.dtype.itemsize == 2 else array


def compiling() -> bool:
    """Tell whether torch's compiler follows what is called."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def seen(truth: Array) -> bool | None:
    """Return a truth as Python's own, or None where a transform has not worked it out yet."""
    try:
        return bool(truth)
    except (TypeError, RuntimeError):  # the one from a tracer of JAX, the other from torch's vmap
        return None
