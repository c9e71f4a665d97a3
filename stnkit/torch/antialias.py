"""Antialiasing on tensors that autograd, a transform or a compiler watches: composed of what they know.

What nobody watches is done on shared memory by the NumPy function.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from stnkit.antialias.compose import antialiased
from stnkit.antialias.roles import Tools
from stnkit.torch import _compat, memory
from stnkit.torch.autograd import stands_for_another
from stnkit.torch.operations import Operation
from stnkit.torch.spline_basis import constant
from stnkit.torch.unsupported import refuse_rounding

Options = dict[str, Any]


def composed(
    function: Callable[..., Any],
    name: str,
    operation: Operation,
    tensors: Sequence[Any],
    rest: Sequence[Any],
    options: Options,
) -> Any:
    """Do a call of the public function of a name by plain calls of it; `operation` takes its arrays."""
    if operation.rounds:
        _refuse_rounding(operation, tensors, options)
    given = {word: value for word, value in _defaults(operation).items() if word not in operation.arrays}
    sizes = {"size": rest[0]} if rest else {}
    arguments = dict(zip(operation.arrays, tensors, strict=True)) | given | sizes | options
    if "control_points" in options:
        arguments["control_points"] = constant(options["control_points"])
    if torch.compiler.is_dynamo_compiling() and options["antialias"] is True:
        return _uncompiled(function, arguments, TORCH, name=name)
    return antialiased(function, arguments, TORCH, name=name)


def _defaults(operation: Operation) -> Options:
    """Return the options of a public function, but those of memory."""
    parameters = inspect.signature(operation.plain).parameters
    own = ("out", "accumulate_into", *([] if operation.summing else ["deterministic"]))
    return {word: parameter.default for word, parameter in parameters.items() if word not in own}


def _refuse_rounding(operation: Operation, tensors: Sequence[Any], options: Options) -> None:
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        refuse_rounding("requires a gradient", operation, tensors, options)
    if _compat.is_forward_mode_on() and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        refuse_rounding("has a tangent", operation, tensors, options)


_UNKNOWN = (
    "`antialias=True` takes the numbers of {}, which are not known where torch compiles, exports or maps; pass how "
    "many places to read along each axis, as antialias=4"
)
_uncompiled = _compat.uncompiled(antialiased, _UNKNOWN.format("theta or the flow"))


def _seen(name: str, tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers: `torch.func.grad` and its like wrap them, `torch.vmap` and exports have none."""
    tensor = _compat.unwrapped(tensor)
    if stands_for_another(tensor):
        raise TypeError(_UNKNOWN.format(f"`{name}`"))
    with _compat.without_transforms():
        array: np.ndarray = memory.as_array(tensor.detach())
    return array


TORCH = Tools(torch, lambda array, dtype: array.to(dtype), _seen, lambda: not torch.compiler.is_compiling())
