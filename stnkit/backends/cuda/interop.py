"""Import arrays on a GPU, of any framework, as `DeviceArray`s: by the CUDA array interface or DLPack.

A framework's own package may add a function to `IMPORTERS`, which then views its arrays. Others are viewed through the
CUDA array interface, on the stream that it names, or else through DLPack, on the legacy stream.
"""

import ctypes
import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from stnkit.backends.cuda.array import LEGACY, DeviceArray, DeviceContext, Shape
from stnkit.dtypes import bfloat16
from stnkit.plans.strides import gapless

# How arrays of some frameworks are imported, by package: the module for a framework adds itself when it is imported.
IMPORTERS: dict[str, Callable[[Any], DeviceArray]] = {}


def import_array(name: str, array: Any) -> DeviceArray:
    """View an array on a GPU, an argument of a name.

    Raises
    ------
    TypeError
        If the array cannot be shared.
    """
    package = type(array).__module__.partition(".")[0]
    if package in IMPORTERS:
        return IMPORTERS[package](array)
    if hasattr(array, "__cuda_array_interface__"):
        return _by_interface(name, array)
    return _by_dlpack(name, array)


def _runtime() -> Any:
    """Import what runs kernels on GPUs, and Numba with it: torch's tensors in main memory have no use for it."""
    from stnkit.kernels.cuda import runtime

    return runtime


def _by_interface(name: str, array: Any) -> DeviceArray:
    """View an array through the interface that many frameworks have."""
    interface = array.__cuda_array_interface__
    if interface.get("mask") is not None:
        msg = f"`{name}` has a mask, which would be lost; pass an array without one"
        raise TypeError(msg)
    brain = str(getattr(array, "dtype", "")).endswith("bfloat16")  # of which the interface knows only the size
    dtype = bfloat16(name) if brain else np.dtype(interface["typestr"])
    if not dtype.isnative or not (brain or dtype.kind in "biufc"):
        msg = f"`{name}` must hold numbers in native byte order; got typestr {interface['typestr']!r}"
        raise TypeError(msg)
    (address, readonly), shape = interface["data"], tuple(interface["shape"])
    if hasattr(array, "__dlpack_device__"):
        index = int(array.__dlpack_device__()[1])
    else:
        index = _runtime().device_of(address) if address else 0
    strides = interface.get("strides")
    strides = gapless(shape, dtype.itemsize) if strides is None else tuple(strides)
    where = _context(array, index, interface.get("stream") or LEGACY)
    return DeviceArray(address, shape, strides, dtype, where, array, bool(readonly))


def _context(array: Any, index: int, stream: int) -> DeviceContext:
    """Return where a framework's array lies. Without an allocator of its own, it gets arrays that it can read."""
    package = type(array).__module__.partition(".")[0]
    namespace = array.__array_namespace__() if hasattr(array, "__array_namespace__") else sys.modules.get(package)
    if hasattr(namespace, "empty") and hasattr(array, "__cuda_array_interface__"):
        allocate = functools.partial(_from_namespace, namespace, index)
        return DeviceContext(package, index, stream, allocate, functools.partial(_to_namespace, namespace))
    return DeviceContext(package, index, stream, functools.partial(from_pool, index, stream), lambda result: result)


def _from_namespace(namespace: Any, index: int, shape: Shape, dtype: np.dtype[Any]) -> tuple[int, Any]:
    """Allocate with a framework that takes NumPy's dtypes, on the device that is current to it."""
    with _runtime().current(index):
        owner = namespace.empty(shape, dtype)
    return owner.__cuda_array_interface__["data"][0], owner


def _to_namespace(namespace: Any, result: DeviceArray) -> Any:
    if result.address == result.owner.__cuda_array_interface__["data"][0] and result.shape == result.owner.shape:
        return result.owner
    if result.flags.c_contiguous and result.size == math.prod(result.owner.shape):
        return result.owner.reshape(result.shape)
    return namespace.asarray(result)


def from_pool(index: int, stream: int, shape: Shape, dtype: np.dtype[Any]) -> tuple[int, Any]:
    """Allocate from the driver's own pool."""
    buffer = _runtime().allocate(max(math.prod(shape) * dtype.itemsize, 1), stream, index)
    return int(buffer.handle), buffer


class Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}  # DLPack's kinds of numbers

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def tensor_of(capsule: Any) -> Tensor:
    """Return what a DLPack capsule tells; it says so as long as the capsule is kept."""
    return Tensor.from_address(_pointer_of(capsule, b"dltensor"))


def _by_dlpack(name: str, array: Any) -> DeviceArray:
    """View an array through a DLPack capsule, which is kept, and so keeps the memory."""
    try:
        capsule = array.__dlpack__(stream=LEGACY)  # the producer makes that stream wait for its pending work
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        msg = f"`{name}`, a {type(array).__module__}.{type(array).__qualname__}, cannot be shared: {error}"
        raise TypeError(msg) from error
    tensor = tensor_of(capsule)
    if tensor.lanes != 1 or tensor.code not in _CODES:
        msg = f"`{name}` holds no numbers that can be read: DLPack's type {(tensor.code, tensor.bits, tensor.lanes)}"
        raise TypeError(msg)
    dtype = _dtype(name, _CODES[tensor.code], tensor.bits)
    shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
    strides = gapless(shape, dtype.itemsize)
    if tensor.strides:
        strides = tuple(tensor.strides[k] * dtype.itemsize for k in range(tensor.ndim))
    where = _context(array, tensor.device_id, LEGACY)
    return DeviceArray((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, where, (capsule, array))


def _dtype(name: str, kind: str, bits: int) -> np.dtype[Any]:
    return bfloat16(name) if kind == "bfloat" else np.dtype("bool" if kind == "bool" else f"{kind}{bits}")
