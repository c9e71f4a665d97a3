"""Public functions that are compositions of others, where derivatives or a compiler have to see the parts."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

import stnkit
from stnkit import validation
from stnkit.backends.interop import misfit, no_array
from stnkit.torch import antialias
from stnkit.torch.autograd import recorded, stands_for_another, traced, transformed
from stnkit.torch.derivatives.grids import widened
from stnkit.torch.functions import FUNCTIONS, unwritten
from stnkit.torch.maps import MAPS
from stnkit.torch.operations import OPERATIONS
from stnkit.torch.run import on_torchs_threads


def affine_grid_jvp(
    theta: torch.Tensor, d_theta: torch.Tensor, size: Sequence[int], **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a grid and its tangent, which is linear in theta."""
    _alike("d_theta", d_theta, "`theta`", theta)
    return FUNCTIONS["affine_grid"](theta, size, **options), FUNCTIONS["affine_grid"](d_theta, size, **options)


def flow_grid_jvp(flow: torch.Tensor, d_flow: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a flow's grid and its tangent: the flow's, scaled."""
    _alike("d_flow", d_flow, "`flow`", flow)
    return FUNCTIONS["flow_grid"](flow, **options), FUNCTIONS["flow_grid_vjp"](widened(d_flow), **options)


def grid_count(grid: torch.Tensor, size: Sequence[int], **options: Any) -> torch.Tensor:
    """Splat ones."""
    wide = widened(grid)
    ndim = validation.grid_axes((*grid.shape[:-1], *map(int, grid.shape[-1:])))
    ones = wide.new_ones(()).expand(*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1])
    counts: torch.Tensor = FUNCTIONS["grid_splat"](ones, wide, size, **options)
    return counts.squeeze(-1 - ndim)


def grid_gradient(image: torch.Tensor, grid: torch.Tensor, **options: Any) -> torch.Tensor:
    """Stack the tangents of sampling along each axis."""
    steps = torch.eye(int(grid.shape[-1]), dtype=grid.dtype, device=grid.device)
    slopes = [FUNCTIONS["grid_sample_jvp"](image, grid, None, step.expand(grid.shape), **options)[1] for step in steps]
    return torch.stack(slopes, dim=-1)


def _alike(name: str, dot: torch.Tensor, other: str, tensor: torch.Tensor) -> None:
    validation.same_shape(name, tuple(dot.shape), other, tuple(tensor.shape))
    if dot.dtype != tensor.dtype:
        msg = f"`{name}` must have the dtype of {other}, {tensor.dtype}; got {dot.dtype}"
        raise TypeError(msg)


def composed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a public function that is composed only where it must be, and is one call otherwise."""
    name = function.__name__
    plain = inspect.unwrap(getattr(stnkit, name))
    parameters = inspect.signature(plain).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty]
    _, _, kind = name.partition("_sample")

    arrays = [name for name in names if name not in ("size", "control_points")]

    def readable(args: Sequence[Any], options: dict[str, Any]) -> bool:
        """Tell whether some array is a tensor; refuse what is none beside it."""
        given = {name: value for name, value in (*zip(names, args, strict=False), *options.items()) if name in arrays}
        if not any(isinstance(array, torch.Tensor) for array in given.values()):
            return False
        misfit("torch", given, torch.Tensor)
        for name, array in given.items():
            if array is None and not ("image" in given and name.startswith("d_")):
                raise no_array(name, array, "a torch array")
        return True

    def means(*args: Any, **options: Any) -> Any:
        """Antialias: the arrays of maps are those of affine ones, and the rest are options."""
        given = dict(zip(names, args, strict=False)) | unwritten(options)
        if not all(word in given for word in needed):
            return plain(*args, **options)  # says what is missing
        operation = OPERATIONS[f"affine_sample{kind}"]
        tensors = [given.pop(word) for word in operation.arrays]
        return antialias.composed(function, name, operation, tensors, (), given)

    @functools.wraps(plain)
    def call(*args: Any, **options: Any) -> Any:
        step = traced(name, args, options)
        if step is not None:
            return step
        tensors = [argument for argument in (*args, *options.values()) if isinstance(argument, torch.Tensor)]
        if transformed() or recorded(tensors) or any(map(stands_for_another, tensors)):
            if not (torch.compiler.is_compiling() or readable(args, options)):
                return plain(*args, **options)
            if options.get("antialias", False) is not False:
                return means(*args, **options)
            options.pop("antialias", None)
            return function(*args, **options)
        given = [argument.detach() if isinstance(argument, torch.Tensor) else argument for argument in args]
        return on_torchs_threads(plain, *given, **options)

    return call


_PARTS: list[Callable[..., Any]] = [affine_grid_jvp, flow_grid_jvp, grid_count, grid_gradient, *MAPS]
COMPOSED = {function.__name__: composed(function) for function in _PARTS}
