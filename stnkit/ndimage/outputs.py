"""Outputs: in which dtype and memory a result is asked for, and how numbers are rounded into it."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from stnkit.dtypes import dtype_name
from stnkit.ndimage.errors import ArgumentError, DtypeError
from stnkit.ndimage.frameworks import (
    COMPLEX,
    FLOATS,
    Array,
    Namespace,
    cast,
    dtype_of,
    is_lazy,
    known,
    of_one_framework,
    wide_float,
)

Shape = tuple[int, ...]

INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


class Output(NamedTuple):
    """Where a result goes: its dtype, by NumPy's name, and the array that it is written to, if there is one.

    An array that is worked out later has another order of bytes, if one is `stored`.
    """

    dtype: str
    array: Array | None = None
    stored: np.dtype[Any] | None = None

    @property
    def real(self) -> str:
        """The dtype of the real part."""
        return COMPLEX.get(self.dtype, self.dtype)


def asked(output: Any, image: Array, shape: Shape) -> Output:
    """Return what `output` asks for: an array, a dtype, or, by default, the dtype of the image."""
    own = dtype_name(image)
    supported("input", own)
    is_complex = own in COMPLEX
    if output is None:
        return Output(own)
    if hasattr(output, "shape") and hasattr(output, "ndim") and not isinstance(output, (type, np.dtype)):
        return _array(output, image, is_complex, shape)
    name = _named(output)
    if name not in COMPLEX and is_complex:
        if isinstance(output, str):
            msg = f"`output` must have a complex dtype for a complex input; got {output!r}"
            raise ArgumentError(msg)
        warnings.warn(f"a complex input has a complex output; got `output` {name}", stacklevel=4)
        return Output("complex64" if name == "bfloat16" else np.promote_types(name, "complex64").name)
    if isinstance(output, str) and name == "bool":
        msg = "`output` must have a numeric dtype; got 'bool'"
        raise ArgumentError(msg)
    if isinstance(output, (str, np.dtype)) and not np.dtype(output).isnative:
        if isinstance(image, np.ndarray):
            return Output(name, np.zeros(shape, output))
        return Output(name, stored=np.dtype(output) if is_lazy(image) else None)
    return Output(name)


def _array(output: Any, image: Array, is_complex: bool, shape: Shape) -> Output:
    if tuple(output.shape) != shape:
        msg = f"`output` must have the shape {shape}; got {tuple(output.shape)}: output shape not correct"
        raise ArgumentError(msg)
    name = dtype_name(output)
    supported("output", name)
    if is_complex and name not in COMPLEX:
        msg = f"`output` must have a complex dtype for a complex input; got {name}"
        raise ArgumentError(msg)
    if isinstance(output, np.ndarray) and not output.flags.writeable:
        msg = "`output` cannot be written to: it is read-only"
        raise ArgumentError(msg)
    if type(output).__module__.partition(".")[0] in ("jax", "jaxlib"):
        msg = "`output` cannot be written to: arrays of JAX are immutable; pass a dtype"
        raise ArgumentError(msg)
    if is_lazy(image) or is_lazy(output):
        msg = "`output` cannot be written to, as Dask's arrays are worked out later; pass a dtype"
        raise ArgumentError(msg)
    of_one_framework(output, "output", image)
    return Output(name, output)


def _named(output: Any) -> str:
    """Return the name of a dtype of any framework; refuse one that has no numbers, or too wide ones."""
    if isinstance(output, (str, type, np.dtype)):
        try:
            name = np.dtype(output).name
        except TypeError as error:
            msg = f"`output` must be an array or a dtype; got {output!r}"
            raise ArgumentError(msg) from error
    else:
        name = str(output).rpartition(".")[-1]
        if name not in (*INTEGERS, *FLOATS, *COMPLEX):
            msg = f"`output` must be an array or a dtype; got {output!r}"
            raise ArgumentError(msg)
    supported("output", name)
    return name


def supported(argument: str, name: str) -> None:
    """Refuse a dtype that has no numbers, or wider ones than kernels read."""
    if name not in (*INTEGERS, *FLOATS, *COMPLEX):
        msg = f"`{argument}` must have a dtype of integers, float16, float32, float64 or complex ones; got {name}"
        raise DtypeError(msg)


def arithmetic(image: Array, output: Output, xp: Namespace) -> str:
    """Return the dtype that a picture is computed in: float32 if nothing that comes in or goes out is wider."""
    own = COMPLEX.get(dtype_name(image), dtype_name(image))
    if own == "float64" or output.real == "float64":
        return wide_float(xp)
    if own in FLOATS:
        return "float32" if output.real in FLOATS else wide_float(xp)
    narrow = own in ("bool", "int8", "uint8", "int16", "uint16") and output.real in FLOATS
    return "float32" if narrow else wide_float(xp)


def rounded(result: Array, name: str, xp: Namespace) -> Array:
    """Return numbers in a dtype: integers are rounded half away from 0 and saturate, and truths are not below 1."""
    if name in FLOATS or dtype_name(result) == name:
        return cast(result, name, xp)
    if name == "bool":
        return xp.abs(result) >= 1
    limits = np.iinfo(known(name, xp))
    away = xp.where(result < 0, xp.ceil(result - 0.5), xp.floor(result + 0.5))
    if limits.bits <= (32 if dtype_name(result) == "float64" else 16):  # which its fractions tell apart
        return cast(xp.clip(away, limits.min, limits.max), name, xp)
    low, high = float(limits.min), float(limits.max)  # which is rounded to one more than there is
    inside = (away >= low) & (away < high)
    whole = cast(xp.where(inside, away, 0.0), name, xp)
    ends = [xp.asarray(end, dtype=dtype_of(name, xp)) for end in (limits.min, limits.max)]
    return xp.where(inside, whole, xp.where(away < low, ends[0], ends[1]))


def delivered(result: Array, output: Output, xp: Namespace) -> Array:
    """Return a result where it is asked for: in the array of the output, or contiguous."""
    if output.array is None:
        result = cast(result, output.dtype, xp)  # of a real image, where complex numbers are asked for
        if output.stored is not None:
            return result.astype(output.stored)
        return np.asarray(result, order="C") if xp is np else result
    if output.array is result:
        return result
    if isinstance(output.array, np.ndarray):
        np.copyto(output.array, result, casting="unsafe")
    elif hasattr(output.array, "copy_"):
        output.array.copy_(result)
    else:
        output.array[...] = result
    return output.array
