"""Calls as autograd sees them: an operation runs at once, is recorded, or goes through torch's dispatcher."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch.fx import Proxy
from torch.overrides import handle_torch_function, has_torch_function_unary

from stnkit.backends.interop import WRITTEN, misfit
from stnkit.torch import _compat
from stnkit.torch._compat import (
    PLAIN,
    are_transforms_active,
    count_modes,
    is_forward_mode_on,
    is_ordinary,
    is_tracing,
    is_wrapped,
)
from stnkit.torch.operations import OPERATIONS, Operation, from_schema, registered, to_schema
from stnkit.torch.run import kernel
from stnkit.torch.unsupported import readable, refuse_rounding, refuse_tracing

Bars: TypeAlias = "tuple[torch.Tensor | None, ...]"
Options = dict[str, Any]
Run = Callable[[Operation, Sequence[Any], Sequence[Any], Options], Any]


class Rule(NamedTuple):
    """How an operation is differentiated.

    Both functions get the tensors that the operation got, its other arguments, and its options. Before that, `pull`
    gets which cotangents are needed, and those of the results; `push` the tangents of the tensors. None is zero.
    """

    pull: Callable[..., Bars]
    push: Callable[..., Any]


RULES: dict[str, Rule] = {}

_is_compiling = torch.compiler.is_compiling
_NOTHING = torch.empty(0, device="cpu")  # for which torch's functions are overridden only where a mode is on


def call(name: str, *arguments: Any, **options: Any) -> Any:
    """Call an operation with tensors and what else its schema has, and with options as the public functions take them.

    One that sums nothing has no order to be asked for.
    """
    operation = OPERATIONS[name]
    if not operation.summing:
        options.pop("deterministic", None)
    count = len(operation.arrays)
    tensors = arguments[:count]
    return perform(operation, tensors, arguments[count:], options, no_transforms_active(operation, tensors))


def perform(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options, alone: bool) -> Any:
    """Run, record or dispatch a call, by the shortest path that autograd and transforms allow."""
    if not alone:
        return registered(operation)(*tensors, *rest, **to_schema(operation, options))
    if recorded(tensors):
        return Recorded.apply((operation, rest, kept(options), kernel), *tensors)
    return kernel(operation, tensors, rest, options)


def kept(options: Options) -> Options:
    """Return options with copies of lists and arrays, which may be changed before they are read again."""
    return {option: value if option in WRITTEN else _copied(value) for option, value in options.items()}


def _copied(value: Any) -> Any:
    if type(value) is list:
        return tuple(value)
    if isinstance(value, torch.Tensor):
        return value.clone()
    return value.copy() if isinstance(value, np.ndarray) else value


def no_transforms_active(operation: Operation, tensors: Sequence[Any]) -> bool:
    """Tell whether nothing but autograd has to see a call, and refuse tensors that cannot be read."""
    if transformed():
        if not torch.compiler.is_compiling():  # which makes tensors of NumPy's arrays
            misfit("torch", dict(zip(operation.arrays, tensors, strict=True)), torch.Tensor)
        return False
    for tensor in tensors:
        if not is_ordinary(tensor):
            return not any(map(stands_for_another, tensors)) and readable(operation, tensors)
    return True


def transformed() -> bool:
    """Tell whether a compiler, a transform or a mode has to see what is called."""
    return (
        _is_compiling()
        or are_transforms_active()
        or count_modes() > 0
        or has_torch_function_unary(_NOTHING)
        or (is_tracing() and refuse_tracing())
    )


def stands_for_another(tensor: Any) -> bool:
    """Tell whether a tensor has a type of its own, or is one that a transform has wrapped."""
    if type(tensor) not in PLAIN:
        return isinstance(tensor, torch.Tensor)
    return is_wrapped(tensor)


def recorded(tensors: Sequence[Any]) -> bool:
    """Tell whether autograd has to see a call, in reverse mode or in forward mode."""
    if is_forward_mode_on():
        return True
    if torch.is_grad_enabled():
        for tensor in tensors:
            if getattr(tensor, "requires_grad", False) is True:  # what is no tensor is refused later
                return True
    return False


def traced(public: Callable[..., Any], args: Sequence[Any], options: Options) -> Any:
    """Record a call of a public function as one step, where `torch.fx` traces symbols; otherwise return None."""
    if torch.compiler.is_compiling():
        return None
    given = (*args, *options.values())
    for argument in given:
        if isinstance(argument, Proxy):
            return handle_torch_function(public, given, *args, **options)
    return None


class Recorded(_compat.Function):  # type: ignore[misc]  # torch's types are not read
    """An operation that has been run, and can be differentiated."""

    @staticmethod
    def forward(ctx: Any, recorded_call: tuple[Operation, Sequence[Any], Options, Run], *tensors: Any) -> Any:
        """Run the operation, and keep what its derivatives need."""
        operation, rest, options, run = ctx.recorded_call = recorded_call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        results = run(operation, tensors, rest, options)
        if operation.chosen and not all(rest[0]):
            ctx.mark_non_differentiable(*(r for r, asked in zip(results, rest[0], strict=True) if not asked))
        if operation.rounds and any(ctx.needs_input_grad):
            refuse_rounding("requires a gradient", operation, tensors, options)
        return results

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Pull cotangents of the results back to the arguments."""
        return pulled(ctx, cotangents, ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Any) -> Any:
        """Push tangents of the arguments forward to the results."""
        (operation, rest, options, _run), tensors = ctx.recorded_call, ctx.saved_tensors
        if operation.rounds:
            refuse_rounding("has a tangent", operation, tensors, options)
        dots = RULES[operation.name].push(tangents, tensors, rest, options)
        return _whole(operation, dots, tensors, rest) if isinstance(dots, tuple) else dots


def pulled(ctx: Any, cotangents: Bars, tensors: Sequence[Any]) -> Bars:
    """Pull cotangents back by an operation's rule. Tensors were unpacked once, which is all that checkpoints allow."""
    operation, rest, options = ctx.recorded_call[:3]
    if all(cotangent is None for cotangent in cotangents):  # `==` would compare numbers
        return (None,) * (1 + len(tensors))
    return None, *RULES[operation.name].pull(ctx.needs_input_grad[1:], cotangents, tensors, rest, options)


def _whole(operation: Operation, dots: Bars, tensors: Sequence[Any], rest: Sequence[Any]) -> Bars:
    """Write out tangents that are zero, which forward mode asks for where a result can have one."""
    named = [*zip(operation.shapes, tensors, strict=True), *zip(operation.results, dots, strict=True)]
    likes = {shape: tensor for shape, tensor in named if tensor is not None and tensor.is_floating_point()}
    asked = rest[0] if operation.chosen else (True,) * len(dots)
    triples = zip(dots, operation.results, asked, strict=True)
    return tuple(torch.zeros_like(likes[s]) if dot is None and wanted else dot for dot, s, wanted in triples)


def dispatched(operation: Operation, *arguments: Any, **schema: Any) -> Any:
    """Run an operation, as its rule of autograd in torch's dispatcher."""
    count, options = len(operation.arrays), from_schema(schema)
    tensors, rest = arguments[:count], arguments[count:]
    if _compat.HAS_LEVELS and are_transforms_active():
        with _compat.on_one_level():
            return Recorded.apply((operation, rest, options, _below_a_transform), *tensors)
    if recorded(tensors):
        return Recorded.apply((operation, rest, options, _below), *tensors)
    return _below(operation, tensors, rest, options)


def _below(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> Any:
    with _compat.below_autograd():
        return registered(operation, _compat.BELOW)(*tensors, *rest, **to_schema(operation, options))


def _below_a_transform(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> Any:
    """Leave one transform; what a recorded function has switched off for itself stays on for those below."""
    with _compat.differentiable():
        return _below(operation, tensors, rest, options)
