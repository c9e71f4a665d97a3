"""Whose memory: arrays of any framework are imported as views, and results exported to where they came from.

A framework is recognised by the type of the array in hand, so none is ever imported from here. Main memory is shared
both ways through DLPack, as NumPy arrays; a GPU's is viewed as a `DeviceArray`. Inputs are only read, and nothing
is copied but what no kernel can read: unaligned arrays, and those of foreign byte order.
"""

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from stnkit.backends.cuda.array import DeviceArray
from stnkit.dtypes import bfloat16
from stnkit.validation import hints

Export = Callable[[Any], Any]

WRITTEN = ("out", "accumulate_into")  # arguments of which a copy will not do
_CPU = 1  # DLPack's device type of main memory
_GPU = (2, 13)  # of a GPU's own memory, and of managed memory
LARGE = 1 << 20  # bytes; what is smaller is copied whole


def import_arrays(*optional: str, later: Any = "", **arrays: Any) -> tuple[list[Any], Export]:
    """View arrays, given by argument name, as NumPy arrays; those named in `optional` may be None, and stay so.

    Arrays on a GPU are viewed as `DeviceArray`s, which have the attributes of NumPy's. The array named `later` may stay
    unaligned or of foreign byte order if it is large: the caller copies the part that is read.

    Returns
    -------
    views : list of numpy.ndarray, or of DeviceArray
        In the order given; those in main memory aligned and of native byte order, but for `later`.
    export : callable
        Hands a result over to the framework of the arrays.

    Raises
    ------
    TypeError
        If an argument is no array, lies where nothing can be computed, needs a gradient recorded, or the
        arguments belong to different frameworks or lie on different devices.
    """
    views: list[Any] = []
    owner, owner_name = None, ""
    export: Export = _stay
    on_gpu = False
    for name, array in arrays.items():
        if array is None and name in optional:
            views.append(None)
            continue
        view, framework, back = (array, "numpy", _stay) if type(array) is np.ndarray else _import(name, array, arrays)
        if owner is None:
            owner, owner_name, export = framework, name, back
        elif framework != owner:
            raise mixture(name, array, owner_name, arrays[owner_name])
        if type(view) is DeviceArray:
            views.append(view)
            on_gpu = True
            continue
        if not (view.flags.aligned and view.dtype.isnative) and not (name == later and view.nbytes >= LARGE):
            if name in WRITTEN:
                msg = f"`{name}` must be aligned and of native byte order; got dtype {view.dtype.str}"
                raise ValueError(msg)
            view = view.astype(view.dtype.newbyteorder("="))
        views.append(view)
    if on_gpu:
        _one_device(dict(zip(arrays, views, strict=True)))
    return views, export


def boxed(view: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """Return an array of a view's shape that kernels can read, and that holds the view's numbers in a box alone.

    It has the strides of a copy of the box, and begins where an element of index 0 would lie by these: so what is in
    the box is found by its index in the whole. What has one of the box's indices on each axis, or 0 or 1, can be read,
    but most of what is not in the box shares memory with others. Axes are in the order that they have in the view.
    """
    part, dtype = view[box], view.dtype.newbyteorder("=")
    strides, step, last = [0] * view.ndim, dtype.itemsize, 0
    for axis in sorted(range(view.ndim), key=lambda axis: abs(view.strides[axis]) or math.inf):
        strides[axis] = step
        last += max(box[axis].indices(view.shape[axis])[1] - 1, 1) * step
        step *= part.shape[axis]
    whole = as_strided(np.empty(last // dtype.itemsize + 1, dtype), view.shape, strides)
    whole[box] = part
    return whole


def _one_device(views: dict[str, Any]) -> None:
    """Refuse arrays that lie on different devices; let the first one's stream wait for those of the others."""
    given = [(name, view) for name, view in views.items() if view is not None]
    (first, one), *others = given
    for name, other in others:
        if _device(other) != _device(one):
            msg = f"`{name}` lies {_device(other)} and `{first}` {_device(one)}; move them to one device"
            raise TypeError(msg)
        if other.context.stream != one.context.stream:
            from stnkit.kernels.cuda import runtime

            runtime.follow(one.context.stream, other.context.stream, one.context.device)


def _device(view: Any) -> str:
    """Say where an array lies."""
    return f"on CUDA device {view.context.device}" if type(view) is DeviceArray else "in main memory"


def _stay(result: Any) -> Any:
    return result


def _import(name: str, array: Any, arrays: dict[str, Any]) -> tuple[Any, str, Export]:
    if type(array) is DeviceArray:
        return array, array.context.framework, _stay
    if isinstance(array, np.ndarray):
        return unmasked(name, array), "numpy", _stay
    framework = framework_of(array)
    shared = is_shared(array)
    if not (shared or hasattr(array, "__cuda_array_interface__")):
        others = [(other, one) for other, one in arrays.items() if one is not array and is_array(one)]
        if is_array(array):
            if others:
                raise mixture(name, array, *others[0])
            msg = f"`{name}` is traced by JAX, and its numbers are not known; pass an array that is not transformed"
            raise TypeError(msg)
        beside = framework_of(others[0][1]) if others else "numpy"
        raise no_array(name, array, "a NumPy array or an array that supports DLPack", beside)
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
        from stnkit.backends.cuda import interop

        on_gpu = interop.import_array(name, array)
        return on_gpu, framework, on_gpu.context.export
    try:
        if kind != _CPU:
            msg = (
                f"`{name}` lies on DLPack device {(kind, index)}; pass an array in main memory (device 1), or on an "
                "NVIDIA GPU (device 2)"
            )
            raise TypeError(msg)
        if hasattr(array, "resolve_neg"):  # a sign change that torch has only noted: DLPack would lose it
            if name in WRITTEN and array.is_neg():
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


def framework_of(array: Any) -> str:
    """Return the name of the package that an array is of."""
    package = type(array).__module__.partition(".")[0]
    return "JAX" if package in ("jax", "jaxlib") else package


def is_array(given: Any) -> bool:
    """Tell whether an argument is an array of some framework, if only one that JAX traces."""
    return isinstance(given, np.ndarray) or is_shared(given) or framework_of(given) == "JAX"


def is_shared(given: Any) -> bool:
    """Tell whether an argument says by DLPack where its memory is."""
    return hasattr(given, "__dlpack__") and hasattr(given, "__dlpack_device__")


def mixture(name: str, array: Any, other: str, beside: Any) -> TypeError:
    """Return the error of two arrays of different frameworks."""
    kinds = f"`{name}` is a {framework_of(array)} array and `{other}` a {framework_of(beside)} array"
    return TypeError(f"{kinds}; pass arrays of one framework")


def no_array(name: str, given: Any, wanted: str, framework: str = "numpy") -> TypeError:
    """Return the error of what is no array, beside arrays of a framework."""
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    return TypeError(f"`{name}` must be {wanted}; got {kind}{hints.to_array(name, given, framework)}")


def misfit(framework: str, arrays: dict[str, Any], kind: type) -> None:
    """Refuse arguments that are not of a framework's type of arrays, beside one that is; None passes."""
    own = next(name for name, array in arrays.items() if isinstance(array, kind))
    for name, array in arrays.items():
        if array is None or isinstance(array, kind):
            continue
        if is_array(array):
            raise mixture(name, array, own, arrays[own])
        raise no_array(name, array, f"a {framework} array", framework)


def unmasked(name: str, array: np.ndarray) -> np.ndarray:
    """Return a NumPy array as one of no other class; refuse one with a mask."""
    if isinstance(array, np.ma.MaskedArray):
        msg = f"`{name}` is a masked array, whose mask would be lost; pass `.filled(...)` instead"
        raise TypeError(msg)
    return np.asarray(array)


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
