"""The second derivative of sampling along two pairs of tangents: forward mode over forward mode."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from stnkit.torch.autograd import call

Maybe: TypeAlias = "torch.Tensor | None"


def curvature(
    image: torch.Tensor,
    grid: torch.Tensor,
    image_dots: Sequence[Maybe],
    grid_dots: Sequence[Maybe],
    options: dict[str, Any],
) -> Maybe:
    """Return how the tangent of `grid_sample` along the second pair changes along the first; None for zero.

    Sampling is linear in the image, so one part is the tangent of the first image's sampling along the second grid.
    What is left is the change along the first grid. A location has coordinates of its own, so that is a scalar
    product, at every location, with the gradient that the double vjp gives for one channel and a cotangent of ones.
    """
    total = None
    if image_dots[0] is not None and grid_dots[1] is not None:
        without_fill = {**options, "fill_value": 0.0}
        total = call("grid_sample_jvp", image_dots[0], grid, None, grid_dots[1], **without_fill)[1]
    if grid_dots[0] is not None and (image_dots[1] is not None or grid_dots[1] is not None):
        along = _along(image, grid, image_dots[1], grid_dots[1], grid_dots[0], options)
        total = along if total is None else total + along
    return total


def _along(
    image: torch.Tensor,
    grid: torch.Tensor,
    image_dot: Maybe,
    grid_dot: Maybe,
    direction: torch.Tensor,
    options: dict[str, Any],
) -> torch.Tensor:
    """Return the change of a tangent along a direction of the grid, channel by channel."""
    ndim = grid.shape[-1]
    axis = -1 if options.get("data_format") == "channels_last" else -1 - ndim
    if image.dim() == ndim + 2:  # a grid that is shared would sum over the items
        grid, grid_dot, direction = (_unshared(array, len(image), ndim) for array in (grid, grid_dot, direction))
    ones = (*grid.shape[:-1], 1) if axis == -1 else (*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1])
    dtype = image.dtype if image.is_floating_point() else grid.dtype
    cotangent = torch.ones(ones, dtype=dtype, device=image.device)
    fills = options.get("fill_value", 0.0)
    changes = []
    for c in range(image.shape[axis]):
        here, dot = (None if array is None else array.narrow(axis, c, 1) for array in (image, image_dot))
        fill = fills[c] if isinstance(fills, Sequence) else fills
        _, _, slope = call(
            "grid_sample_double_vjp", dot, grid_dot, cotangent, here, grid, **{**options, "fill_value": fill}
        )
        changes.append((slope * direction).sum(-1).to(dtype))
    return torch.stack(changes, dim=axis)


def _unshared(coordinates: Maybe, batch: int, ndim: int) -> Maybe:
    if coordinates is None or (coordinates.dim() == ndim + 2 and len(coordinates) > 1):
        return coordinates
    return coordinates.expand(batch, *coordinates.shape[-1 - ndim :])
