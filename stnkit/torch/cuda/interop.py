"""Whose memory on a GPU: CUDA tensors as `DeviceArray`s and back, allocated by torch and on torch's current stream."""

import functools
from typing import Any

import numpy as np
import torch

from stnkit.backends.cuda import interop
from stnkit.backends.cuda.array import DeviceArray, DeviceContext, Shape
from stnkit.dtypes import bfloat16
from stnkit.torch import _compat


def on_gpu(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor lies on an NVIDIA GPU."""
    return bool(tensor.is_cuda)


stream = _compat.stream
is_steady = torch.are_deterministic_algorithms_enabled  # whether torch is asked to give the same bits run after run


def is_capturing(device: torch.device) -> bool:
    """Tell whether work on a device is being recorded for a graph."""
    return bool(torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def import_tensor(tensor: torch.Tensor) -> DeviceArray:
    """View a tensor's memory; only a change of sign that torch has noted is carried out first."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    device = tensor.device
    return at(context(device, stream(device.index or 0)), tensor)


def at(where: DeviceContext, tensor: torch.Tensor) -> DeviceArray:
    """View a tensor that lies at a place."""
    dtype = numpy_dtype(tensor.dtype)
    steps = tuple([step * dtype.itemsize for step in tensor.stride()])
    return DeviceArray(tensor.data_ptr(), tuple(tensor.shape), steps, dtype, where, tensor)


def own(result: DeviceArray) -> torch.Tensor:
    """Return a result as the tensor that owns its memory, or one that shares it."""
    owner: torch.Tensor = result.owner
    steps = tuple([step // result.itemsize for step in result.strides])
    if tuple(owner.shape) == result.shape and owner.stride() == steps:
        return owner
    offset = owner.storage_offset() + (result.address - owner.data_ptr()) // result.itemsize
    return owner.new_empty(0).set_(owner.untyped_storage(), offset, result.shape, steps)  # which is a view of nothing


@functools.lru_cache(maxsize=1024)
def context(device: torch.device, handle: int) -> DeviceContext:
    """Return where tensors of a device lie, for work on a stream."""
    return DeviceContext("torch", device.index or 0, handle, functools.partial(_allocate, device), own)


def _allocate(device: torch.device, shape: Shape, dtype: np.dtype[Any]) -> tuple[int, torch.Tensor]:
    tensor = torch.empty(shape, dtype=torch_dtype(dtype), device=device)
    return tensor.data_ptr(), tensor


@functools.cache
def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """Return what NumPy calls torch's dtype."""
    return bfloat16("tensor") if dtype is torch.bfloat16 else np.dtype(str(dtype).removeprefix("torch."))


@functools.cache
def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return what torch calls NumPy's dtype."""
    found: torch.dtype = getattr(torch, dtype.name)
    return found


interop.IMPORTERS["torch"] = import_tensor
