"""Antialiasing on tensors where autograd, a transform or a compiler is active: composed of operations that they know.

Other calls are done on shared memory by the NumPy function.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from stnkit.antialias.compose import antialiased
from stnkit.antialias.supersampling import Tools
from stnkit.calls.derivatives import SAMPLERS
from stnkit.torch import _compat, memory
from stnkit.torch.autograd import stands_for_another
from stnkit.torch.operations import Operation
from stnkit.torch.spline_basis import constant
from stnkit.torch.unsupported import refuse_rounding, unknown_numbers

Options = dict[str, Any]


def composed(
    function: Callable[..., Any],
    name: str,
    operation: Operation,
    tensors: Sequence[Any],
    options: Options,
) -> Any:
    """Do a call of a public function, with all its options, by plain calls; `operation` takes its arrays."""
    if operation.rounds:
        refuse_lost_derivatives(operation, tensors, options)
    choices = dict(options)
    antialias = choices.pop("antialias")
    if "control_points" in choices:
        choices["control_points"] = constant(choices["control_points"])
    do = antialiased
    if torch.compiler.is_dynamo_compiling() and antialias is True:
        from stnkit.torch.graph_breaks import antialiased as do
    results = do(function, *SAMPLERS[name], tensors, choices, antialias, TORCH)
    return results[0] if len(results) == 1 else results


def refuse_lost_derivatives(operation: Operation, tensors: Sequence[Any], options: Options) -> None:
    """Refuse a derivative that an output of integers would lose."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        refuse_rounding("requires a gradient", operation, tensors, options)
    if _compat.is_forward_mode_on() and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        refuse_rounding("has a tangent", operation, tensors, options)


def _seen(name: str, tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers: `torch.func.grad` and its like wrap them, `torch.vmap` and exports have none."""
    tensor = _compat.unwrapped(tensor)
    if stands_for_another(tensor):
        raise TypeError(unknown_numbers(f"`{name}`"))
    with _compat.without_transforms():
        array: np.ndarray = memory.as_array(tensor.detach())
    return array


TORCH = Tools(torch, lambda array, dtype: array.to(dtype), _seen, lambda: not torch.compiler.is_compiling())
