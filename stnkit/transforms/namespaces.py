"""Whose functions, and which numbers: arrays of any framework that array-api-compat knows, in floating point."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from stnkit._dispatch import implementation
from stnkit.backends.interop import framework_of, mixture, no_array, unmasked
from stnkit.dtypes import dtype_name

Array = Any
Namespace = Any
Formula = TypeVar("Formula", bound=Callable[..., Any])

HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)
LOOSE = (list, tuple, int, float, complex, np.generic)  # numbers that are of no framework


def entered(xp: Namespace = None, /, **given: Array) -> tuple[list[Array], Namespace]:
    """Bring arguments in, given by name: as floating-point arrays of one framework.

    Integers and booleans become the framework's default floating point, or float64 beside an array of float64. So do
    lists, tuples and numbers beside arrays of another framework than NumPy; else they are what `np.asarray` makes them.

    Returns
    -------
    arrays : list of array
        In the order given. Those of NumPy are of no class of their own, and of native byte order.
    namespace : module
        Theirs, or the one given.

    Raises
    ------
    TypeError
        If an argument is neither an array nor numbers, is masked, is complex or of another dtype without a floating
        point, or if arrays belong to different frameworks.
    """
    arrays = {name: _viewed(name, value) for name, value in given.items()}
    owned = {name: array for name, array in arrays.items() if not isinstance(given[name], LOOSE)}
    namespace = _namespace(owned) if xp is None else xp
    foreign = [array for array in owned.values() if not isinstance(array, np.ndarray)]
    if foreign and len(foreign) < len(owned):
        raise _mixture(owned)
    whole = [name for name, array in arrays.items() if _is_whole(name, array)]
    to_carry = len(foreign) < len(arrays) and (foreign or not (xp is None or isinstance(xp.asarray(0.0), np.ndarray)))
    if whole or to_carry:
        double = any(dtype_name(array) == "float64" for array in owned.values())
        default = namespace.float64 if double else namespace.asarray(0.0).dtype
        for name, array in arrays.items():
            if to_carry and isinstance(given[name], LOOSE):
                arrays[name] = namespace.asarray(array.tolist(), dtype=default, device=_device(foreign))
            elif to_carry and isinstance(array, np.ndarray):
                arrays[name] = namespace.asarray(array)
            if name in whole:
                arrays[name] = converted(arrays[name], default, namespace)
    return list(arrays.values()), namespace


def on_floats(formula: Formula) -> Formula:
    """Return a function of parameters, and of their namespace, as one of all that `entered` takes."""

    @functools.wraps(formula)
    def function(parameters: Array, *rest: Any, xp: Namespace = None, **options: Any) -> Array:
        (taken,), namespace = entered(xp, parameters=parameters)
        return formula(taken, *rest, xp=namespace, **options)

    vars(function)["autograph_info__"] = None  # by which TensorFlow's AutoGraph knows what it need not rewrite
    return cast(Formula, function)


def _viewed(name: str, value: Any) -> Array:
    """Return an array as it is, but for NumPy's own peculiarities; numbers as an array of NumPy."""
    if isinstance(value, LOOSE):
        value = _numbers(name, value)
    if isinstance(value, np.ndarray):
        view = unmasked(name, value)
        return view if view.dtype.isnative else view.astype(view.dtype.newbyteorder("="))
    if not hasattr(value, "dtype") or hasattr(value, "to_numpy"):
        raise no_array(name, value, "an array or numbers")
    return value


def _numbers(name: str, value: Any) -> np.ndarray:
    """Return nested sequences of numbers as an array; refuse those of arrays, whose framework would be lost."""
    rows = [value]
    while rows:
        row = rows.pop()
        if isinstance(row, (list, tuple)):
            rows.extend(row)
        elif not isinstance(row, LOOSE) and not isinstance(row, np.ndarray):
            kind = f"{type(row).__module__}.{type(row).__qualname__}"
            msg = f"`{name}` must be an array, or nested sequences of numbers; got a sequence with a {kind} in it"
            raise TypeError(msg)
    try:
        return np.asarray(value)
    except ValueError as error:
        msg = f"`{name}` must be an array, or sequences of numbers of equal lengths; got {value!r}"
        raise ValueError(msg) from error


def _is_whole(name: str, array: Array) -> bool:
    """Tell whether an array is of integers or booleans; refuse what cannot become floating point."""
    dtype = dtype_name(array)
    if dtype in FLOATS:
        return False
    if dtype.startswith(("int", "uint", "bool")):
        return True
    msg = f"`{name}` must have dtype {', '.join(FLOATS)}, or one of integers, which become floating point; got {dtype}"
    raise TypeError(msg)


def _namespace(owned: dict[str, Array]) -> Namespace:
    """Return the array namespace that arrays share."""
    try:
        from array_api_compat import array_namespace
    except ImportError as error:
        msg = "to find an array's namespace takes array-api-compat: pip install array-api-compat, or pass `xp`"
        raise ImportError(msg) from error
    try:
        return array_namespace(*owned.values()) if owned else array_namespace(np.empty(0))
    except TypeError as error:
        packages = [implementation(type(array)) for array in owned.values()]
        if all(package is packages[0] for package in packages):
            own = getattr(packages[0], "namespace", None)
            if own is not None:
                return own  # of what array-api-compat does not know
        for name, array in owned.items():
            try:
                array_namespace(array)
            except TypeError:
                raise no_array(name, array, "an array or numbers") from error
        raise _mixture(owned) from error


def _mixture(owned: dict[str, Array]) -> TypeError:
    (first, one), *others = owned.items()
    name, other = next(pair for pair in others if framework_of(pair[1]) != framework_of(one))
    return mixture(name, other, first, one)


def _device(arrays: list[Array]) -> Any:
    """Return where the first array lies; None where that is for its framework to decide."""
    device = getattr(arrays[0], "device", None) if arrays else None  # which tracers of JAX lack
    return None if hasattr(device, "device_set") else device  # several devices of JAX


def shape_of(numbers: Any) -> tuple[int, ...]:
    """Return the shape of an array, or of nested sequences of numbers."""
    return tuple(numbers.shape) if hasattr(numbers, "shape") else _numbers("control_points", numbers).shape


def constant(rows: list[list[float]], like: Array, xp: Namespace) -> Array:
    """Return a matrix of numbers as an array of the framework, the dtype and the device of another."""
    return xp.asarray(rows, dtype=like.dtype, device=_device([like]))


def converted(array: Array, dtype: Any, xp: Namespace) -> Array:
    """Return an array in another dtype."""
    if hasattr(array, "astype"):
        return array.astype(dtype)
    return array.to(dtype) if hasattr(array, "to") else xp.astype(array, dtype)


def widened(array: Array, xp: Namespace) -> Array:
    """Return an array as float32 if it is in half precision, which no linear algebra is done in."""
    return converted(array, xp.float32, xp) if dtype_name(array) in HALVES else array


def compiling() -> bool:
    """Tell whether torch's compiler follows what is called."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def bool_or_none(truth: Array) -> bool | None:
    """Return a condition as a bool, or None where a transform of the framework has not worked it out yet."""
    try:
        return bool(truth)
    except (TypeError, RuntimeError):  # the one from a tracer of JAX, the other from torch's vmap
        return None
