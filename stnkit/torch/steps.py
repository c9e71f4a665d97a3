"""Public functions that autograd records as one step: they are run as they are, and pulled back by their vjp.

A vjp is composed of operations that have derivatives where it is recorded itself. One with `place` has none: torch's
operations have no such argument, so a compiler or a transform cannot see these calls either.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch

import stnkit
from stnkit.calls.signatures import array_names
from stnkit.torch._compat import is_forward_mode_on
from stnkit.torch.autograd import kept
from stnkit.torch.unsupported import refuse_place


class Differentiable(NamedTuple):
    """A public function and its vjp."""

    function: Callable[..., Any]
    signature: inspect.Signature
    arrays: tuple[str, ...]  # that have a derivative
    vjp: Callable[..., Any] | None
    vjp_takes: frozenset[str]  # arguments


@functools.cache
def differentiable(public: Callable[..., Any]) -> Differentiable:
    """Look a public function and its vjp up."""
    function, vjp = getattr(stnkit, public.__name__), getattr(stnkit, f"{public.__name__}_vjp", None)
    takes = frozenset(inspect.signature(vjp).parameters if vjp else ())
    return Differentiable(function, inspect.signature(public), tuple(array_names(public)), vjp, takes)


class Call(NamedTuple):
    """A call without its arrays that have a derivative."""

    of: Differentiable
    options: dict[str, Any]

    def run(self, *tensors: torch.Tensor) -> Any:
        """Return the result."""
        return self.of.function(**self._named(tensors))

    def bars(self, asked: list[str], cotangent: torch.Tensor, *tensors: torch.Tensor) -> tuple[Any, ...]:
        """Return the cotangents of the tensors, or of those that are asked for."""
        assert self.of.vjp is not None
        given = self._named(tensors) | {"wrt": asked}
        bars = self.of.vjp(cotangent, **{name: value for name, value in given.items() if name in self.of.vjp_takes})
        return bars if isinstance(bars, tuple) else (bars,)

    def _named(self, tensors: tuple[torch.Tensor, ...]) -> dict[str, Any]:
        return dict(zip(self.of.arrays, tensors, strict=True)) | self.options


class Step(torch.autograd.Function):  # type: ignore[misc]  # torch's types are not read
    """A call that has been run, and can be pulled back."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> Any:
        """Run the call, and keep what its derivative needs."""
        ctx.recorded_call = call
        ctx.save_for_backward(*tensors)
        return call.run(*tensors)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
        """Pull the cotangent of the output back to the tensors."""
        call: Call = ctx.recorded_call
        asked = [name for name, needed in zip(call.of.arrays, ctx.needs_input_grad[1:], strict=True) if needed]
        if call.options.get("place") is None:
            return None, *call.bars(asked, cotangent, *ctx.saved_tensors)
        return None, *Pulled.apply(call, asked, cotangent, *ctx.saved_tensors)


class Pulled(torch.autograd.Function):  # type: ignore[misc]  # torch's types are not read
    """A cotangent that has been pulled back; its own derivative is refused where it is needed."""

    @staticmethod
    def forward(ctx: Any, call: Call, asked: list[str], *tensors: torch.Tensor) -> Any:
        """Pull the cotangent back."""
        return call.bars(asked, *tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> NoReturn:
        """Refuse to go on."""
        refuse_place()


def recorded(public: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Do a call of a public function that has a vjp, and record it; refuse one with `place` that has none."""
    function = differentiable(public)
    if options.get("place") is not None and (function.vjp is None or is_forward_mode_on()):
        refuse_place()
    given = function.signature.bind(*args, **options).arguments
    tensors = [given.pop(name) for name in function.arrays]
    return Step.apply(Call(function, kept(given)), *tensors)
