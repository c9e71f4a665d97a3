"""Prefiltered calls on tensors where autograd, a transform or a compiler is active: composed of what they know.

Other calls are done on shared memory by the NumPy function.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stnkit import validation
from stnkit.calls.arguments import Choices
from stnkit.prefilter.coefficients import Framework
from stnkit.prefilter.compose import PREFILTERED
from stnkit.torch import prefilter
from stnkit.torch.antialias import TORCH, refuse_lost_derivatives
from stnkit.torch.operations import Operation
from stnkit.torch.run import PICTURES, memory_format
from stnkit.torch.spline_basis import constant_tensor

Options = dict[str, Any]

_OPTIONS = (*Choices._fields, "antialias")


def _block(like: torch.Tensor, numbers: list[float], lines: Sequence[int], shape: Sequence[Any]) -> torch.Tensor:
    if len(numbers) == 1:
        return like.new_full(lines, numbers[0]).expand(shape)
    return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(lines).expand(shape)


def _filter(array: torch.Tensor, *, transpose: bool, **options: Any) -> torch.Tensor:
    rule = prefilter.spline_filter_vjp if transpose else prefilter.spline_filter
    return rule(array, **options)


FILTERS = Framework(
    TORCH,
    _block,
    torch.broadcast_to,
    lambda array, axis: array.sum(axis, keepdim=True),
    _filter,
    lambda array: array.contiguous(),
)


def defaults(plain: Callable[..., Any]) -> Options:
    """Return the options of a public function, but those of memory."""
    parameters = inspect.signature(plain).parameters
    return {word: parameters[word].default for word in _OPTIONS if word in parameters}


def is_filtered(own: Options, options: Options) -> bool:
    """Tell whether the image of a call is filtered first; `own` are the options of its function."""
    if "prefilter" not in own:
        return False
    mode, prefilter = (options.get(word, own[word]) for word in ("mode", "prefilter"))
    return validation.prefiltered(mode, prefilter)


def composed(
    function: Callable[..., Any],
    name: str,
    operation: Operation | None,
    tensors: Sequence[Any],
    options: Options,
    is_alone: bool = False,
) -> Any:
    """Do a call of the public function of a name by plain calls of it, with all its options.

    `operation` takes its arrays, if there is one. Where nothing but autograd sees the call, pictures that lie in memory
    with their channels last are taken as what they are.
    """
    if operation is not None and operation.rounds:
        refuse_lost_derivatives(operation, tensors, options)
    if "control_points" in options:
        options = options | {"control_points": constant_tensor(options["control_points"])}
    own = PREFILTERED[name]
    if operation is None or not is_alone or memory_format(operation, tensors, options) is torch.contiguous_format:
        results = own(function, tensors, options, FILTERS)
    else:
        turned = _moved(tensors, operation.shapes, 1, -1)
        results = own(function, turned, options | {"data_format": "channels_last"}, FILTERS)
        results = tuple(_moved(results, operation.results, -1, 1))
    return results[0] if len(results) == 1 else tuple(results)


def _moved(tensors: Sequence[Any], shapes: Sequence[str], start: int, end: int) -> list[Any]:
    pairs = zip(tensors, shapes, strict=True)
    return [t.movedim(start, end) if t is not None and shape in PICTURES else t for t, shape in pairs]
