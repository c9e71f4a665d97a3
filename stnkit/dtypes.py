"""Which dtype: of the arithmetic, of derivatives, and of sums, for the dtypes of a call's arrays."""

from typing import Any

import numpy as np

from stnkit.spec import BFLOAT16, BILINEAR, CHOOSING, DTYPES, LONG, UINT8

DType = np.dtype[Any]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


_NAMES: dict[DType, str] = {}  # NumPy puts a name together anew each time, which takes 2 us


def known_name(dtype: DType) -> str:
    """Return the name of a dtype of NumPy."""
    return _NAMES.get(dtype) or _NAMES.setdefault(dtype, dtype.name)


def dtype_name(array: Any) -> str:
    """Return the name of the dtype of any framework's array, as NumPy has it, whatever its order of bytes."""
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        return known_name(dtype)
    return str(dtype).rpartition(".")[-1].removeprefix("<dtype: '").removesuffix("'>")  # as TensorFlow writes it


def is_float(given: DType) -> bool:
    """Tell whether a dtype is one of floating point that kernels read."""
    return DTYPES.get(known_name(given), UINT8) <= BFLOAT16


def arithmetic(*dtypes: DType) -> DType:
    """Return the dtype in which a call computes: float64 if any of its arrays is, else float32."""
    return FLOAT64 if FLOAT64 in dtypes else FLOAT32


def blending(image: DType, source: DType, interp: int = BILINEAR) -> DType:
    """Return the dtype in which pixels are blended: the arithmetic's, or float64 for integers of 32 bits."""
    return FLOAT64 if DTYPES[image.name] in LONG and interp not in CHOOSING else arithmetic(image, source)


def dot_dtype(image: DType, source: DType) -> DType:
    """Return the dtype of tangents and cotangents: the image's, or the arithmetic's beside integers."""
    return image if is_float(image) else arithmetic(image, source)


def bar_dtype(image: DType, source: DType) -> DType:
    """Return the dtype in which an image's cotangent is summed: the image's, or the arithmetic's for halves."""
    return image if image in (FLOAT32, FLOAT64) else blending(image, source)


def bfloat16(name: str) -> np.dtype[Any]:
    """Return the dtype of an argument that NumPy needs another package for."""
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        msg = f"`{name}` has dtype bfloat16, which needs the package ml_dtypes: pip install ml_dtypes"
        raise TypeError(msg) from error
    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype
