"""Calls with `place` that autograd records: the public function as it is, and its vjp, of which there is no derivative.

torch's operations have no such argument, so a compiler or a transform cannot see these calls.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch

import stnkit
from stnkit.calls.signatures import array_names, taken
from stnkit.torch._compat import is_forward_mode_on
from stnkit.torch.unsupported import refuse_place


class Call(NamedTuple):
    """A call for a tile, without its arrays that have a derivative, but with their names."""

    public: Callable[..., Any]
    pull: Callable[..., Any]  # its vjp
    names: list[str]
    options: dict[str, Any]

    def run(self, *tensors: torch.Tensor) -> Any:
        """Return what is sampled."""
        return self.public(**dict(zip(self.names, tensors, strict=True)), **self.options)

    def bars(self, asked: list[str], cotangent: torch.Tensor, *tensors: torch.Tensor) -> tuple[Any, ...]:
        """Return the cotangents of the tensors that are asked for."""
        given = dict(zip(self.names, tensors, strict=True)) | self.options | {"wrt": asked}
        bars = self.pull(cotangent, **taken(self.pull, given))
        return bars if isinstance(bars, tuple) else (bars,)


class Placed(torch.autograd.Function):  # type: ignore[misc]  # torch's types are not read
    """A call for a tile that has been run, and has a first derivative."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> Any:
        """Run the call, and keep what its derivative needs."""
        ctx.placed_call = call
        ctx.save_for_backward(*tensors)
        return call.run(*tensors)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
        """Pull the cotangent of the output back to the tensors."""
        call: Call = ctx.placed_call
        asked = [name for name, needed in zip(call.names, ctx.needs_input_grad[1:], strict=True) if needed]
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
    """Do a call with `place`, and record it; refuse one of which no vjp is known."""
    pull = getattr(stnkit, f"{public.__name__}_vjp", None)
    if pull is None or is_forward_mode_on():
        refuse_place()
    options = inspect.signature(public).bind(*args, **options).arguments
    names = array_names(public)
    tensors = [options.pop(name) for name in names]
    return Placed.apply(Call(getattr(stnkit, public.__name__), pull, names, options), *tensors)
