"""Whose memory: tensors as arrays and back without a copy, in the memory format that they have."""

from typing import Any

import numpy as np
import torch

from stnkit.backends.cuda.array import DeviceArray
from stnkit.dtypes import bfloat16
from stnkit.torch.cuda import interop

_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # from channels first to channels last, by the number of axes
_FIRST = {4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def as_array(tensor: torch.Tensor) -> Any:
    """View a tensor's memory as an array; only a change of sign that torch has noted is carried out first."""
    if interop.on_gpu(tensor):
        return interop.import_tensor(tensor)
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if not tensor.data_ptr() and tensor.numel():
        msg = "a tensor has no memory: its storage has been resized to nothing"
        raise ValueError(msg)
    if tensor.dtype is torch.bfloat16:
        array: np.ndarray = tensor.view(torch.int16).numpy().view(bfloat16("tensor"))
    else:
        array = tensor.numpy()
    return array


def as_tensor(result: Any) -> torch.Tensor:
    """Make a tensor of a result, on the same memory."""
    if type(result) is DeviceArray:
        return interop.own(result)
    if result.dtype.itemsize == 2 and result.dtype.name == "bfloat16":
        return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(result)


def memory_format(picture: torch.Tensor) -> torch.memory_format:
    """Return the memory format that results of a picture's shape are to have: its own."""
    last: Any = _FORMATS.get(picture.dim())
    if last is None or picture.is_contiguous() or not picture.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def channels_to_end(array: Any) -> Any:
    """View a channels-first array with a batch axis as a channels-last one."""
    return array.transpose(_LAST[array.ndim])


def channels_to_front(array: Any) -> Any:
    """View a channels-last array with a batch axis as a channels-first one."""
    return array.transpose(_FIRST[array.ndim])


def tensor_to_front(tensor: torch.Tensor) -> torch.Tensor:
    """Return a channels-last tensor with a batch axis as a channels-first one, on the same memory.

    If it is not recorded, it is no view to autograd, which refuses writing to a view that a `Function` has returned.
    """
    front = tensor.permute(_FIRST[tensor.dim()])
    return front if front.requires_grad else front.data
