"""Whose memory: arrays of any framework come in as views and leave as what they came as.

A framework is recognised by the type of the array in hand, so none is ever imported from here. Main memory is shared
both ways through DLPack, as NumPy arrays; a GPU's is viewed as `device_arrays` says. Nothing is copied, and inputs are
only read.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from stnkit.device_arrays import DeviceArray
from stnkit.dtypes import bfloat16

Leave = Callable[[Any], Any]

_WRITTEN = ("out", "accumulate_into")  # arguments of which a copy will not do
_CPU = 1  # DLPack's device type of main memory
_GPU = (2, 13)  # of a GPU's own memory, and of managed memory


def enter(*optional: str, **arrays: Any) -> tuple[list[Any], Leave]:
    """View arrays, given by argument name, as NumPy arrays; those named in `optional` may be None, and stay so.

    Arrays on a GPU are viewed as `DeviceArray`s, which have the attributes of NumPy's.

    Returns
    -------
    views : list of numpy.ndarray, or of DeviceArray
        In the order given; those in main memory aligned and of native byte order.
    leave : callable
        Hands a result over to the framework of the arrays.

    Raises
    ------
    TypeError
        If an argument is no array, lies where nothing can be computed, needs a gradient recorded, or the
        arguments belong to different frameworks or lie on different devices.
    """
    views: list[Any] = []
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
        if type(view) is DeviceArray:
            views.append(view)
            continue
        flags = view.flags
        if not (flags.aligned and view.dtype.isnative):
            if name in _WRITTEN:
                msg = f"`{name}` must be aligned and of native byte order; got dtype {view.dtype.str}"
                raise ValueError(msg)
            view = view.astype(view.dtype.newbyteorder("="))
        views.append(view)
    if any(type(view) is DeviceArray for view in views):
        _meet(dict(zip(arrays, views, strict=True)))
    return views, leave


def _meet(views: dict[str, Any]) -> None:
    """Refuse arrays that lie on different devices; let the first one's stream wait for those of the others."""
    given = [(name, view) for name, view in views.items() if view is not None]
    (first, one), *others = given
    for name, other in others:
        if _device(other) != _device(one):
            msg = f"`{name}` lies {_device(other)} and `{first}` {_device(one)}; move them to one device"
            raise TypeError(msg)
        if other.place.stream != one.place.stream:
            from stnkit.kernels import device

            device.follow(one.place.stream, other.place.stream, one.place.device)


def _device(view: Any) -> str:
    """Say where an array lies."""
    return f"on CUDA device {view.place.device}" if type(view) is DeviceArray else "in main memory"


def _stay(result: Any) -> Any:
    return result


def _import(name: str, array: Any) -> tuple[Any, str, Leave]:
    if type(array) is DeviceArray:
        return array, array.place.framework, _stay
    if isinstance(array, np.ma.MaskedArray):
        msg = f"`{name}` is a masked array, whose mask would be lost; pass `.filled(...)` instead"
        raise TypeError(msg)
    if isinstance(array, np.ndarray):
        return np.asarray(array), "numpy", _stay
    framework = type(array).__module__.partition(".")[0]
    shared = hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__")
    if not (shared or hasattr(array, "__cuda_array_interface__")):
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
        kind, index = map(int, array.__dlpack_device__()) if shared else (_GPU[0], 0)
    except (BufferError, RuntimeError, ValueError) as error:
        raise _unshared(name, array, framework, error) from error
    if kind in _GPU:
        from stnkit import lenders

        lent = lenders.lend(name, array)
        return lent, framework, lent.place.give
    try:
        if kind != _CPU:
            msg = (
                f"`{name}` lies on DLPack device {(kind, index)}; pass an array in main memory (device 1), or on an "
                "NVIDIA GPU (device 2)"
            )
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
            view = _viewed(array.view(namespace.uint16)).view(bfloat16(name))
        else:
            view = _viewed(array)
    except (BufferError, RuntimeError, ValueError) as error:
        raise _unshared(name, array, framework, error) from error
    return view, framework, functools.partial(_export, namespace)


def _viewed(array: Any) -> np.ndarray:
    """View an array, to write to it too if it may be: DLPack cannot say so before version 1, as in torch 2.8."""
    view = np.from_dlpack(array)
    if not view.flags.writeable and hasattr(array, "__array__"):
        own = np.asarray(array)
        if own.flags.writeable and own.ctypes.data == view.ctypes.data:
            return own
    return view


def _unshared(name: str, array: Any, framework: str, error: Exception) -> TypeError:
    msg = f"`{name}`, a {framework} array of dtype {getattr(array, 'dtype', '?')}, cannot be shared: {error}"
    return TypeError(msg)


def _export(namespace: Any, result: np.ndarray) -> Any:
    if not hasattr(namespace, "from_dlpack"):
        return result  # the framework can take nothing back
    if result.dtype.name == "bfloat16":  # DLPack's NumPy side lacks it: it crosses as 16-bit integers
        return namespace.from_dlpack(result.view(np.uint16)).view(namespace.bfloat16)
    return namespace.from_dlpack(result)
