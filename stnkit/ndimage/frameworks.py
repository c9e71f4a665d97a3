"""Arrays of any framework, and numbers that are of none."""

from typing import Any

import numpy as np

from stnkit.backends.interop import framework_of, mixture
from stnkit.dtypes import dtype_name
from stnkit.transforms.namespaces import LOOSE, converted

Array = Any
Namespace = Any

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = {"complex64": "float32", "complex128": "float64"}  # and the dtype of their parts
NARROW = {"int64": "int32", "uint64": "uint32", "complex128": "complex64"}  # of a framework without float64


def is_foreign(given: Any) -> bool:
    """Tell whether an argument is an array of a framework, and not of NumPy."""
    return not isinstance(given, (np.ndarray, *LOOSE)) and hasattr(given, "shape") and hasattr(given, "dtype")


def of_one_framework(given: Any, name: str, like: Array) -> None:
    """Refuse an array of another framework than the image's."""
    if is_foreign(given) and framework_of(given) != framework_of(like):
        raise mixture(name, given, "input", like)


def is_lazy(array: Array) -> bool:
    """Tell whether an array is one of Dask, whose numbers are worked out later, chunk by chunk."""
    if isinstance(array, np.ndarray):
        return False
    return any(base.__module__.partition(".")[0] == "dask" for base in type(array).__mro__)


def is_of_jax(array: Array) -> bool:
    """Tell whether an array is one of JAX."""
    return framework_of(array) == "JAX"


def known_size(name: str, array: Array) -> None:
    """Refuse an array of Dask whose chunks have sizes that are not known yet."""
    if is_lazy(array) and any(n != n for n in array.shape):  # which are NaN
        msg = f"`{name}` has chunks of unknown size; call `{name}.compute_chunk_sizes()` before"
        raise ValueError(msg)


def namespace(array: Array) -> Namespace:
    """Return the functions of an array's framework."""
    if isinstance(array, np.ndarray):
        return np
    try:
        from array_api_compat import array_namespace
    except ImportError as error:
        msg = "arrays of other frameworks than NumPy take array-api-compat here: pip install array-api-compat"
        raise ImportError(msg) from error
    return array_namespace(array)


def joined(numbers: Any, like: Array, xp: Namespace, dtype: Any = None) -> Array:
    """Return numbers as an array of the framework and on the device of another, in its dtype or in the one given."""
    device = getattr(like, "device", None)
    device = None if hasattr(device, "device_set") else device  # several devices of JAX
    return xp.asarray(np.asarray(numbers).tolist(), dtype=like.dtype if dtype is None else dtype, device=device)


def dtype_of(name: str, xp: Namespace) -> Any:
    """Return a dtype of a framework by NumPy's name; the widest float that it has in place of a wider one."""
    name = known(name, xp)
    of_numpy = xp is np or str(getattr(xp, "__name__", "")).endswith("dask.array")  # whose functions lack float16
    return np.dtype(name) if of_numpy else getattr(xp, "bool" if name == "bool" else name)


def cast(array: Array, name: str, xp: Namespace) -> Array:
    """Return an array in another dtype, itself if it has it."""
    name = known(name, xp)
    return array if dtype_name(array) == name else converted(array, dtype_of(name, xp), xp)


def known(name: str, xp: Namespace) -> str:
    """Return the name of a dtype, or that of the widest of its kind that a framework has: JAX may lack 64 bits."""
    if name == "float64":
        return wide_float(xp)
    return NARROW[name] if name in NARROW and wide_float(xp) == "float32" else name


def wide_float(xp: Namespace) -> str:
    """Return the name of a framework's widest float: JAX has no float64 unless it is told to."""
    if xp is np or not str(getattr(xp, "__name__", "")).startswith("jax"):
        return "float64"
    return str(xp.asarray(0.0).dtype)
