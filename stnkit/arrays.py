"""Whose memory: arrays of any framework come in as NumPy views and leave as what they came as.

A framework is recognised by the type of the array in hand, so none is ever imported from here. Memory is
shared both ways through DLPack; nothing is copied, and inputs are only read.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Leave = Callable[[np.ndarray], Any]

_WRITTEN = ("out", "accumulate_into")  # arguments of which a copy will not do
_CPU = 1  # DLPack's device type of main memory


def enter(*optional: str, **arrays: Any) -> tuple[list[Any], Leave]:
    """View arrays, given by argument name, as NumPy arrays; those named in `optional` may be None, and stay so.

    Returns
    -------
    views : list of numpy.ndarray
        In the order given; aligned and of native byte order.
    leave : callable
        Hands a NumPy result over to the framework of the arrays.

    Raises
    ------
    TypeError
        If an argument is no array, lies on another device than the CPU, needs a gradient recorded, or the
        arguments belong to different frameworks.
    """
    views: list[np.ndarray | None] = []
    owner, owner_name = None, ""
    leave: Leave = _stay
    for name, array in arrays.items():
        if array is None and name in optional:
            views.append(None)
            continue
        view, framework, back = (array, "numpy", _stay) if type(array) is np.ndarray else _import(name, array)
        if owner is None:
            owner, owner_name, leave = framework, name, back
        elif framework != owner:
            msg = f"`{name}` is a {framework} array and `{owner_name}` a {owner} array; pass arrays of one framework"
            raise TypeError(msg)
        flags = view.flags
        if not (flags.aligned and view.dtype.isnative):
            if name in _WRITTEN:
                msg = f"`{name}` must be aligned and of native byte order; got dtype {view.dtype.str}"
                raise ValueError(msg)
            view = view.astype(view.dtype.newbyteorder("="))
        views.append(view)
    return views, leave


def _stay(result: np.ndarray) -> np.ndarray:
    return result


def _import(name: str, array: Any) -> tuple[np.ndarray, str, Leave]:
    if isinstance(array, np.ma.MaskedArray):
        msg = f"`{name}` is a masked array, whose mask would be lost; pass `.filled(...)` instead"
        raise TypeError(msg)
    if isinstance(array, np.ndarray):
        return np.asarray(array), "numpy", _stay
    framework = type(array).__module__.partition(".")[0]
    if not (hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__")):
        msg = (
            f"`{name}` must be a NumPy array or an array that supports DLPack; "
            f"got {type(array).__module__}.{type(array).__qualname__}"
        )
        raise TypeError(msg)
    if getattr(array, "requires_grad", False):
        msg = (
            f"`{name}` requires a gradient, which this function does not record; pass `{name}.detach()`, "
            "and use the `_vjp` function for the derivative"
        )
        raise TypeError(msg)
    try:
        kind, index = array.__dlpack_device__()
        if kind != _CPU:
            msg = f"`{name}` lies on DLPack device {(int(kind), index)}; pass an array in main memory (device 1)"
            raise TypeError(msg)
        if hasattr(array, "resolve_neg"):  # a sign change that torch has only noted: DLPack would lose it
            if name in _WRITTEN and array.is_neg():
                msg = f"`{name}` has its negative bit set, so that it cannot be written to; pass `{name}.resolve_neg()`"
                raise TypeError(msg)
            array = array.resolve_neg()
        namespace: Any = (
            array.__array_namespace__() if hasattr(array, "__array_namespace__") else sys.modules.get(framework)
        )
        if str(getattr(array, "dtype", "")).endswith("bfloat16"):
            view = np.from_dlpack(array.view(namespace.uint16)).view(bfloat16(name))
        else:
            view = np.from_dlpack(array)
    except (BufferError, RuntimeError, ValueError) as error:
        msg = f"`{name}`, a {framework} array of dtype {getattr(array, 'dtype', '?')}, cannot be shared: {error}"
        raise TypeError(msg) from error
    return view, framework, functools.partial(_export, namespace)


def _export(namespace: Any, result: np.ndarray) -> Any:
    if not hasattr(namespace, "from_dlpack"):
        return result  # the framework can take nothing back
    if result.dtype.name == "bfloat16":  # DLPack's NumPy side lacks it: it crosses as 16-bit integers
        return namespace.from_dlpack(result.view(np.uint16)).view(namespace.bfloat16)
    return namespace.from_dlpack(result)


def bfloat16(name: str) -> np.dtype[Any]:
    """Return the dtype of an argument that NumPy needs another package for."""
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        msg = f"`{name}` has dtype bfloat16, which needs the package ml_dtypes: pip install ml_dtypes"
        raise TypeError(msg) from error
    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype
