"""The fast path of tensors: a repeated call of a sampler, or of its vjp, goes from one look-up to the kernels."""

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from stnkit.api import fast_path
from stnkit.api.fast_path import SAMPLERS, Memory, Options, Way
from stnkit.plans.layout import Shape
from stnkit.torch import memory
from stnkit.torch._compat import ORDINARY, PLAIN, keys_of
from stnkit.torch.cuda import interop
from stnkit.torch.operations import Operation

KINDS = 4096  # so many are remembered
LARGE = 1 << 22  # bytes of arrays; beyond, looks and checks are no matter, and NumPy allocates in larger pages

_WORDS = frozenset((str, bool, int, float))  # types of options that can be a part of a key
_LISTS = frozenset((tuple, list, torch.Size))
_WHOLE = frozenset((int, bool))
_FAST = frozenset(name + end for name in SAMPLERS for end in ("", "_vjp"))

_ways: dict[tuple[Any, ...], Any] = {}  # None where there is no short way
_NEW = object()


def _empty(shape: Shape, dtype: np.dtype[Any]) -> Callable[[], torch.Tensor]:
    """Return what allocates a tensor in main memory: a default device is a mode, with which no call comes here."""
    return functools.partial(torch.empty, *shape, dtype=interop.torch_dtype(dtype))  # torch reads a tuple slowly


def _zeros(shape: Shape, dtype: np.dtype[Any]) -> Callable[[], torch.Tensor]:
    """Return what allocates zeros: not `torch.zeros`, whose threads would wait for each other."""
    empty, size = _empty(shape, dtype), math.prod(shape) * dtype.itemsize

    def zeros() -> torch.Tensor:
        tensor = empty()
        ctypes.memset(tensor.data_ptr(), 0, size)
        return tensor

    return zeros


TORCH = Memory(_empty, _zeros, torch.Tensor.data_ptr, memory.as_tensor, torch.get_num_threads)


def way(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> Way | None:
    """Return what does a call on these tensors; None if it has to go the whole way."""
    if operation.name not in _FAST:
        return None
    if isinstance(tensors[0], torch.Tensor) and interop.on_gpu(tensors[0]):
        from stnkit.torch.cuda import fast_path  # which needs the kernels' room for GPUs

        return fast_path.way(operation, tensors, rest, options)
    key: list[Any] = [operation.name]
    for tensor in tensors:
        if type(tensor) not in PLAIN or keys_of(tensor) not in ORDINARY or not tensor.is_contiguous():
            return None
        key += tensor.shape, tensor.dtype, tensor.data_ptr() & 7
    for given in rest:
        if type(given) not in _LISTS or not _WHOLE.issuperset(map(type, given)):
            return None
        key.append(tuple(given))
    for word, value in options.items():
        if type(value) not in _WORDS:
            return None
        key += word, value, type(value)
    kind = tuple(key)
    found = _ways.get(kind, _NEW)
    return _learned(kind, operation, tensors, rest, options) if found is _NEW else found


def _learned(
    kind: tuple[Any, ...], operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options
) -> Way | None:
    """Remember the way of a kind of call."""
    views = [memory.as_array(tensor) for tensor in tensors]
    found = None
    if tensors[0].is_floating_point() and sum(view.nbytes for view in views) <= LARGE:
        found = fast_path.way(TORCH, operation.name, views, rest, options)
    if len(_ways) >= KINDS:
        _ways.clear()
    _ways[kind] = found
    return found
