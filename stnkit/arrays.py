"""Whose memory: arrays of any framework come in as NumPy views and leave as what they came as.

A framework is recognised by the type of the array in hand, so none is ever imported from here. Memory is
shared both ways through DLPack; nothing is copied, and inputs are only read.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Leave = Callable[[np.ndarray], Any]

_CPU = 1  # DLPack's device type of main memory


def enter(**arrays: Any) -> tuple[list[np.ndarray], Leave]:
    """View arrays, given by argument name, as NumPy arrays.

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
    views = []
    owner, owner_name = None, ""
    leave: Leave = _stay
    for name, array in arrays.items():
        view, framework, back = (array, "numpy", _stay) if type(array) is np.ndarray else _import(name, array)
        if owner is None:
            owner, owner_name, leave = framework, name, back
        elif framework != owner:
            msg = f"`{name}` is a {framework} array and `{owner_name}` a {owner} array; pass arrays of one framework"
            raise TypeError(msg)
        flags = view.flags
        if not (flags.aligned and view.dtype.isnative):
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
    if not hasattr(array, "__dlpack__"):
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
            array = array.resolve_neg()
        return np.from_dlpack(array), framework, _exporter(array, framework)
    except (BufferError, RuntimeError, ValueError) as error:
        msg = f"`{name}`, a {framework} array of dtype {getattr(array, 'dtype', '?')}, cannot be shared: {error}"
        raise TypeError(msg) from error


def _exporter(array: Any, framework: str) -> Leave:
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().from_dlpack  # type: ignore[no-any-return]
    return getattr(sys.modules.get(framework), "from_dlpack", _stay)  # NumPy, if it can take nothing back
