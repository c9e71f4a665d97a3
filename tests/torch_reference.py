"""What torch 2.13 says, where it has the case: `torch.nn.functional`, with derivatives by its autograd."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from cases import unit
from torch.nn import functional


def has(d: int, mode: str, padding: str) -> bool:
    """Tell whether torch has a case. It has 1-D only as an image one pixel high."""
    return mode in ("nearest", "bilinear", "bicubic") and padding != "wrap" and not (d == 3 and mode == "bicubic")


def grid_sample(
    cotangent: np.ndarray, image: np.ndarray, grid: np.ndarray, *, mode: str, padding_mode: str,
    align_corners: bool, data_format: str, coords: str = "normalized",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return (out, d_image, d_grid), in the dtype given; pixel coordinates are brought to torch's units in float64."""
    last = data_format == "channels_last"
    scale = 1.0
    if coords == "pixel":
        extent = image.shape[1:-1] if last else image.shape[2:]
        zero, one = (unit(np.full(len(extent), px), extent, align_corners, "normalized") for px in (0.0, 1.0))
        cotangent, image, scale = cotangent.astype(float), image.astype(float), one - zero
        grid = unit(grid.astype(float), extent, align_corners, "normalized")
    x, u = torch.tensor(image, requires_grad=True), torch.tensor(grid, requires_grad=True)
    planes, points = x.movedim(-1, 1) if last else x, u
    if grid.shape[-1] == 1:
        planes = planes.unsqueeze(2)
        points = torch.stack([u[..., 0], torch.zeros_like(u[..., 0])], dim=-1).unsqueeze(1)
    out = functional.grid_sample(planes, points, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    out = out.squeeze(2) if grid.shape[-1] == 1 else out
    out = out.movedim(1, -1) if last else out
    out.backward(torch.tensor(cotangent))
    return out.detach().numpy(), x.grad.numpy(), u.grad.numpy() * scale


def affine_grid(theta: np.ndarray, size: Sequence[int], align: bool) -> np.ndarray:
    """Return `torch.nn.functional.affine_grid`, for 2 or 3 axes."""
    with warnings.catch_warnings(action="ignore"):  # torch warns of axes of size 1
        return functional.affine_grid(torch.tensor(theta), [len(theta), 1, *size], align_corners=align).numpy()
