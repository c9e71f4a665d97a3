"""How coordinates are differentiated: grids are linear in maps, and displaced by flows."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from stnkit.calls.grids import of_indices
from stnkit.torch.autograd import Bars, Rule, call

Maybe: TypeAlias = "torch.Tensor | None"
Options = dict[str, Any]


def affine_pull(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Pull a grid's cotangent back to theta."""
    return (call("affine_grid_vjp", cotangents[0], **options).to(saved[0].dtype),)


def affine_push(tangents: Any, saved: Any, rest: Any, options: Options) -> torch.Tensor:
    """Return the tangent of a grid: it is linear in theta."""
    grid_dot: torch.Tensor = call("affine_grid", tangents[0], *rest, **options)
    return grid_dot


def affine_vjp_pull(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Pull theta's cotangent's cotangent back to that of the grid."""
    ndim = saved[0].shape[-1]
    size = saved[0].shape[-1 - ndim : -1]
    return (call("affine_grid", cotangents[0], size, **options).to(saved[0].dtype),)


def affine_vjp_push(tangents: Any, saved: Any, rest: Any, options: Options) -> torch.Tensor:
    """Return the tangent of theta's cotangent."""
    theta_bar_dot: torch.Tensor = call("affine_grid_vjp", tangents[0], **options)
    return theta_bar_dot


def flow_pull(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Pull a cotangent through the scale that a flow has, which is its own transpose."""
    return (call("flow_grid_vjp", cotangents[0], **options).to(saved[0].dtype),)


def flow_push(tangents: Any, saved: Any, rest: Any, options: Options) -> torch.Tensor:
    """Scale a flow's tangent, in the dtype of the grid."""
    grid_dot: torch.Tensor = call("flow_grid_vjp", widened(tangents[0]), **options)
    return grid_dot


def flow_vjp_push(tangents: Any, saved: Any, rest: Any, options: Options) -> torch.Tensor:
    """Scale a tangent in its own dtype."""
    flow_bar_dot: torch.Tensor = call("flow_grid_vjp", tangents[0], **options)
    return flow_bar_dot


LINEAR = {
    "affine_grid": Rule(affine_pull, affine_push),
    "affine_grid_vjp": Rule(affine_vjp_pull, affine_vjp_push),
    "flow_grid": Rule(flow_pull, flow_push),
    "flow_grid_vjp": Rule(flow_pull, flow_vjp_push),
}


def of_grid(
    grid: torch.Tensor, dots: Sequence[Maybe], rest: Any, options: Options
) -> tuple[torch.Tensor, list[Maybe], Options]:
    """Return a grid and its tangents as they are."""
    return grid, list(dots), options


def of_theta(
    theta: torch.Tensor, dots: Sequence[Maybe], rest: Any, options: Options
) -> tuple[torch.Tensor, list[Maybe], Options]:
    """Return the grid of affine maps, and its tangents."""
    align, given = options.get("align_corners", False), [theta, *dots]
    if options.get("coords") == "pixel":
        align, given = True, [None if one is None else of_indices(widened(one), rest[0], torch.cat) for one in given]
    grids = [None if one is None else call("affine_grid", one, *rest, align_corners=align) for one in given]
    return grids[0], grids[1:], options


def of_flow(
    flow: torch.Tensor, dots: Sequence[Maybe], rest: Any, options: Options
) -> tuple[torch.Tensor, list[Maybe], Options]:
    """Return the grid of a flow, and its tangents."""
    own = {option: options[option] for option in ("units", "align_corners") if option in options}
    grids = [None if array is None else call("flow_grid_vjp", widened(array), **own) for array in dots]
    others = {option: value for option, value in options.items() if option != "units"}
    return call("flow_grid", flow, **own), grids, others


def widened(coordinates: torch.Tensor) -> torch.Tensor:
    """Return coordinates as float32 if they come in half precision."""
    return coordinates.float() if coordinates.dtype.itemsize == 2 else coordinates
