"""The filter that finds a spline's coefficients, as an operation of torch with every rule: it is linear."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stnkit import validation
from stnkit.backends import backend, interop
from stnkit.torch.autograd import RULES, Bars, Rule, no_transforms_active, perform
from stnkit.torch.operations import Operation

Options = dict[str, Any]


def filtered(
    image: Any, *, order: int, padding_mode: str, align_corners: bool, axes: Sequence[int], transpose: bool
) -> Any:
    """Filter an array of float32 or float64, or apply the filter's transpose."""
    options = validation.spline(order, padding_mode, align_corners)
    (view,), export = interop.import_arrays(image=image)
    return export(backend(view).spline_filter(view, tuple(axes), options, transpose))


OPERATION = Operation(
    name="spline_filter",
    source="image",
    arrays=("image",),
    shapes=("image",),
    results=("image",),
    optional=(),
    sized=False,
    chosen=False,
    plain=filtered,
    names=(),
    where=0,
    picture=None,
    rounds=False,
    summing=False,
    options={"padding_mode": "zeros"},
    schema="spline_filter(Tensor image, *, int order, str[] padding_mode, bool align_corners, int[] axes, "
    "bool transpose) -> Tensor",
)


def call(image: torch.Tensor, options: Options) -> torch.Tensor:
    """Call the operation."""
    made: torch.Tensor = perform(OPERATION, (image,), (), options, no_transforms_active(OPERATION, (image,)))
    return made


def _pull(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    return (call(cotangents[0], options | {"transpose": not options["transpose"]}),)


def _push(tangents: Any, saved: Any, rest: Any, options: Options) -> torch.Tensor:
    return call(tangents[0], options)


RULES[OPERATION.name] = Rule(_pull, _push)


def fake(image: torch.Tensor, **_: Any) -> torch.Tensor:
    """Return what the operation gives, without numbers."""
    return torch.empty_like(image, memory_format=torch.contiguous_format)


def batched(info: Any, in_dims: tuple[Any, ...], image: torch.Tensor, **schema: Any) -> tuple[torch.Tensor, int]:
    """Be the operation's rule of vmap: axes are counted from the last."""
    options = schema | {"padding_mode": schema["padding_mode"][0]}
    return call(image.movedim(in_dims[0], 0), options), 0


def spline_filter(
    image: torch.Tensor,
    *,
    order: int = 3,
    padding_mode: str = "zeros",
    align_corners: bool = False,
    axes: Any = None,
    out: Any = None,
) -> torch.Tensor:
    """Return the coefficients of the spline that passes through the pixels of an image."""
    if out is not None:
        msg = "`out` cannot be written to where calls are transformed or compiled; leave it out"
        raise TypeError(msg)
    wide = getattr(torch, validation.coefficient_dtype("image", _name(image)).name)
    return _filter(image.to(wide), order, padding_mode, align_corners, axes, transpose=False)


def spline_filter_vjp(
    cotangent: torch.Tensor,
    *,
    order: int = 3,
    padding_mode: str = "zeros",
    align_corners: bool = False,
    axes: Any = None,
) -> torch.Tensor:
    """Pull a cotangent of a spline's coefficients back to the image."""
    dtype = validation.coefficient_dtype("cotangent", _name(cotangent))
    validation.same_dtype("cotangent", np.dtype(_name(cotangent)), "the coefficients", dtype)
    return _filter(cotangent, order, padding_mode, align_corners, axes, transpose=True)


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _filter(
    image: torch.Tensor, order: int, padding_mode: str, align_corners: bool, axes: Any, *, transpose: bool
) -> torch.Tensor:
    validation.spline(order, padding_mode, align_corners)
    options = {"order": order, "padding_mode": padding_mode, "align_corners": align_corners, "transpose": transpose}
    return call(image, options | {"axes": list(validation.filtered_axes(axes, image.dim()))})
