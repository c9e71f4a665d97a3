"""Calls on views of tensors in main memory, where nothing is recorded: NumPy's ways to the kernels are shorter."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import increment_version

from stnkit._dispatch import LISTS, SCALARS
from stnkit.torch import memory
from stnkit.torch._compat import PLAIN, is_ordinary
from stnkit.torch.autograd import recorded, transformed
from stnkit.torch.run import on_torchs_threads, owned

VALUES = frozenset((*PLAIN, *SCALARS, torch.Size, type(None)))  # what is no array of another kind


def unrecorded(given: Sequence[Any], others: Sequence[type] = ()) -> bool:
    """Tell whether tensors lie in main memory, and nothing has to see a call with them, values, and arrays of `others`.

    Lists may have tensors.
    """
    if transformed():
        return False
    flat = [one for each in given for one in (each if type(each) in LISTS else (each,))]
    tensors = [one for one in flat if type(one) in PLAIN]
    known = VALUES.union(others).issuperset(map(type, flat))
    return known and all(map(is_ordinary, tensors)) and not recorded(tensors)


def call_on_views(function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> Any:
    """Call a function on views. What it writes to is the result; of a tensor that has changed so, autograd is told."""
    arrays: dict[int, tuple[np.ndarray, Any]] = {}  # and what they were given as

    def view(given: Any) -> Any:
        if type(given) in LISTS:
            return [view(one) for one in given]
        if not isinstance(given, (torch.Tensor, np.ndarray)):
            return given
        array = memory.as_array(given) if isinstance(given, torch.Tensor) else given
        arrays[id(array)] = array, given
        return array

    made = on_torchs_threads(function, *map(view, args), **{name: view(one) for name, one in options.items()})
    if id(made) not in arrays:
        return owned(made)
    _, given = arrays[id(made)]
    if isinstance(given, torch.Tensor):
        increment_version([given])
    return given
