"""Public functions that are compositions of others, where autograd, a transform or a compiler has to see the parts."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

import stnkit
from stnkit import validation
from stnkit.backends.interop import WRITTEN, misfit, no_array
from stnkit.torch import antialias, prefiltered, steps
from stnkit.torch._compat import PLAIN, is_forward_mode_on
from stnkit.torch.autograd import recorded, stands_for_another, traced, transformed
from stnkit.torch.derivatives.grids import widened
from stnkit.torch.functions import detached, unwritten, written
from stnkit.torch.memory import memory_format, tensor_to_front
from stnkit.torch.operations import OPERATIONS, Operation
from stnkit.torch.registration import known_size
from stnkit.torch.run import PICTURES, on_torchs_threads
from stnkit.torch.spline_basis import constant_tensor, table
from stnkit.torch.views import call_on_views, unrecorded
from stnkit.transforms import differentiable_grids


def _arange(like: torch.Tensor, n: Any) -> torch.Tensor:
    return torch.arange(n, dtype=like.dtype, device=like.device)


TORCH = differentiable_grids.Framework(
    namespace=differentiable_grids.ArrayNamespace(torch, _arange),
    matmul=torch.matmul,
    size=known_size,
    control=constant_tensor,
    table=table,
    jit=lambda formula: formula,
    sample=stnkit.grid_sample,
    sample_vjp=stnkit.grid_sample_vjp,
    sample_jvp=stnkit.grid_sample_jvp,
)


def affine_grid_jvp(
    theta: torch.Tensor, d_theta: torch.Tensor, size: Sequence[int], **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a grid and its tangent, which is linear in theta."""
    differentiable_grids.alike("d_theta", d_theta, "`theta`", theta.shape, theta.dtype)
    return stnkit.affine_grid(theta, size, **options), stnkit.affine_grid(d_theta, size, **options)


def flow_grid_jvp(flow: torch.Tensor, d_flow: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a flow's grid and its tangent: the flow's, scaled."""
    differentiable_grids.alike("d_flow", d_flow, "`flow`", flow.shape, flow.dtype)
    return stnkit.flow_grid(flow, **options), stnkit.flow_grid_vjp(widened(d_flow), **options)


def grid_count(grid: torch.Tensor, size: Sequence[int], **options: Any) -> torch.Tensor:
    """Splat ones."""
    wide = widened(grid)
    ndim = validation.grid_axes((*grid.shape[:-1], *map(int, grid.shape[-1:])))
    ones = wide.new_ones(()).expand(*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1])
    counts: torch.Tensor = stnkit.grid_splat(ones, wide, size, prefilter=False, **options)
    return counts.squeeze(-1 - ndim)


def grid_gradient(image: torch.Tensor, grid: torch.Tensor, **options: Any) -> torch.Tensor:
    """Stack the tangents of sampling along each axis."""
    steps = torch.eye(int(grid.shape[-1]), dtype=grid.dtype, device=grid.device)
    slopes = [stnkit.grid_sample_jvp(image, grid, None, step.expand(grid.shape), **options)[1] for step in steps]
    return torch.stack(slopes, dim=-1)


def composed(
    public: Callable[..., Any], function: Callable[..., Any], like: str = "", in_one: bool = False
) -> Callable[..., Any]:
    """Return a public function that is composed only where it must be, and is one call otherwise.

    `function` takes all arguments by name. One that antialiases has the arrays of the operation that it is `like`.
    Autograd may record a call in one step, if all that it does is to be pulled back by the vjp (`in_one`).
    """
    plain = inspect.unwrap(public)
    parameters = inspect.signature(plain).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty]
    known = [p.name for p in parameters]
    arrays = [name for name in names if name not in ("size", "control_points")]
    own = prefiltered.defaults(plain)

    @functools.wraps(plain)
    def call(*args: Any, **options: Any) -> Any:
        step = traced(public, args, options)
        if step is not None:
            return step
        if unrecorded((*args, *options.values())) and options.keys().isdisjoint(WRITTEN):
            with contextlib.suppress(TypeError, ValueError):  # which is said below, in the words for tensors
                return call_on_views(public, args, options)
        tensors = [argument for argument in (*args, *options.values()) if isinstance(argument, torch.Tensor)]
        if not (transformed() or recorded(tensors) or any(map(stands_for_another, tensors))):
            named = {name: one if name in WRITTEN else detached(one) for name, one in options.items()}
            return written(on_torchs_threads(plain, *map(detached, args), **named), options)
        named = dict(zip(names, args, strict=False)) | options
        fits = len(named) == len(args) + len(options) and all(name in known for name in named)
        complete = fits and all(name in named for name in needed)
        if not (complete and (torch.compiler.is_compiling() or readable(named))):
            return plain(*args, **options)  # says what is wrong
        is_alone = not (transformed() or any(map(stands_for_another, tensors)))
        if named.get("place") is not None and is_alone:
            return steps.recorded(public, **named)
        named = unwritten(named)
        if prefiltered.is_filtered(own, named):
            tensors, operation = [named.pop(array) for array in arrays], OPERATIONS.get(like)
            return prefiltered.composed(call, plain.__name__, operation, tensors, own | named)
        if named.get("antialias", False) is False:
            named.pop("antialias", None)
            if in_one and is_alone and pulled_back(named):
                return steps.recorded(public, **named)
            return function(**named)
        tensors = [named.pop(array) for array in arrays]
        return antialias.composed(call, plain.__name__, OPERATIONS[like], tensors, own | named)

    def pulled_back(named: dict[str, Any]) -> bool:
        """Tell whether all that autograd may ask is the cotangents of the arrays; others are composed, or refused."""
        moving = {name for name, one in named.items() if getattr(one, "requires_grad", False)}
        are_floating = all(named[name].is_floating_point() for name in arrays)
        return are_floating and moving.issubset(arrays) and not is_forward_mode_on()

    def readable(named: dict[str, Any]) -> bool:
        """Tell whether some array is a tensor; refuse what is none beside it."""
        given = {name: named[name] for name in arrays}
        if not any(isinstance(array, torch.Tensor) for array in given.values()):
            return False
        misfit("torch", given, torch.Tensor)
        for name, array in given.items():
            if array is None and not ("image" in given and name.startswith("d_")):
                raise no_array(name, array, "a torch array")
        return True

    return call


def made_of(public: Callable[..., Any]) -> Callable[..., Any]:
    """Return a public function of projective maps or thin plate splines; that of affine maps has such arrays too.

    A spline's grid is pulled back by a product of matrices, which torch does sooner than a kernel goes through points.
    """
    name = public.__name__
    _, end, rest = name.partition("_sample")
    like = f"affine{end}{rest}" if end else ""
    formula = functools.partial(differentiable_grids.FORMULAS[name], TORCH)
    function = composed(public, formula, like, name in ("projective_sample", "projective_grid"))
    return _in_memory_format(public, function, OPERATIONS[like]) if like else function


def _in_memory_format(public: Callable[..., Any], function: Callable[..., Any], like: Operation) -> Callable[..., Any]:
    """Return a function of images under maps, whose results have the memory format of the image."""
    plain = inspect.unwrap(public)
    names = [p.name for p in inspect.signature(plain).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    pictured = [name for name, shape in zip(like.arrays, like.shapes, strict=True) if shape in PICTURES]
    beyond = 0 if "control_points" in names else 1  # columns that theta has besides one for each axis

    @functools.wraps(plain)
    def call(*args: Any, **options: Any) -> Any:
        named = dict(zip(names, args, strict=False)) | options
        if transformed() or is_forward_mode_on() or not is_last(named) or len(named) < len(args) + len(options):
            return function(*args, **options)
        pictures = {name: named[name].movedim(1, -1) for name in pictured if named.get(name) is not None}
        try:
            results = function(**named | pictures | {"data_format": "channels_last"})
        except ValueError:
            function(*args, **options)  # says it of the axes as they were given
            raise
        if len(like.results) == 1:
            return tensor_to_front(results)
        pairs = zip(results, like.results, strict=True)
        return tuple([tensor_to_front(r) if shape in PICTURES and r is not None else r for r, shape in pairs])

    def is_last(named: dict[str, Any]) -> bool:
        """Tell whether an image has its channels last in memory alone; one without a batch axis may look so."""
        image, theta = (named.get(name, ()) for name in ("image", "theta"))
        if type(image) not in PLAIN or memory_format(image) is torch.contiguous_format or type(theta) not in PLAIN:
            return False
        ndim = theta.shape[-1] - beyond if theta.dim() else 0
        given = [named[name] for name in pictured if named.get(name) is not None]
        are_whole = all(type(one) in PLAIN and one.dim() == ndim + 2 for one in given)
        is_written = any(named.get(option) is not None for option in (*WRITTEN, "place"))
        return are_whole and not is_written and named.get("data_format", "channels_first") == "channels_first"

    return call
