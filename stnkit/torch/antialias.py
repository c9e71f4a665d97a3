"""Antialiasing on tensors where autograd, a transform or a compiler is active: composed of operations that they know.

Other calls are done on shared memory by the NumPy function.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from stnkit.antialias.compose import antialiased
from stnkit.antialias.supersampling import Tools
from stnkit.calls.arguments import Choices
from stnkit.calls.derivatives import SAMPLERS
from stnkit.spec import PROJECTIVE, THIN_PLATE_SPLINE
from stnkit.torch import _compat, memory
from stnkit.torch.autograd import stands_for_another
from stnkit.torch.operations import Operation
from stnkit.torch.spline_basis import constant
from stnkit.torch.unsupported import refuse_rounding

Options = dict[str, Any]

_CHOICES = Choices._fields


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
        refuse_lost_derivatives(operation, tensors, options)
    choices = {**_defaults(operation), **({"size": rest[0]} if rest else {}), **options}
    antialias = choices.pop("antialias")
    if "control_points" in choices:
        choices["control_points"] = constant(choices["control_points"])
    derivative, kind = SAMPLERS[name]
    if kind in (PROJECTIVE, THIN_PLATE_SPLINE):
        choices.pop("coords", None)  # which their functions do not have, and that of `operation` does
    do = _uncompiled if torch.compiler.is_dynamo_compiling() and antialias is True else antialiased
    results = do(function, derivative, kind, tensors, choices, antialias, TORCH)
    return results[0] if len(results) == 1 else results


def _defaults(operation: Operation) -> Options:
    """Return the options of a public function, but those of memory."""
    parameters = inspect.signature(operation.plain).parameters
    return {option: parameters[option].default for option in _CHOICES if option in parameters}


def refuse_lost_derivatives(operation: Operation, tensors: Sequence[Any], options: Options) -> None:
    """Refuse a derivative that an output of integers would lose."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        refuse_rounding("requires a gradient", operation, tensors, options)
    if _compat.is_forward_mode_on() and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        refuse_rounding("has a tangent", operation, tensors, options)


_UNKNOWN = (
    "`antialias=True` takes the numbers of {}, which are not known where torch compiles, exports or maps; pass how "
    "many subsamples to take along each axis, as antialias=4"
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
