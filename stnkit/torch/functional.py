"""Drop-in for `torch.nn.functional`: `grid_sample` and `affine_grid` with torch's own signatures and warnings.

To port a program, import these two from here. What stnkit has and torch has not is accepted here too, where the
signature has a place for it: more modes, paddings, axes, shared batches and mixed dtypes. `fill_value`, pixel
coordinates and the other options are keywords of `stnkit.grid_sample`.
"""

import warnings
from collections.abc import Sequence

import torch
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic

import stnkit
from stnkit.calls.arguments import PaddingMode

__all__ = ["affine_grid", "grid_sample"]


def grid_sample(
    input: torch.Tensor,
    grid: torch.Tensor,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool | None = None,
) -> torch.Tensor:
    """Interpolate an image at the coordinates of a grid, as `torch.nn.functional.grid_sample` does.

    Parameters
    ----------
    input : Tensor of shape (N, C, *S)
        The image, with 1 to 3 spatial axes.
    grid : Tensor of shape (N, *T, d)
        Where to read each output location, in normalised coordinates.
    mode : {"bilinear", "nearest", "bicubic"}
        Interpolation along each axis, or another of `stnkit.grid_sample`'s.
    padding_mode : {"zeros", "border", "reflection", "wrap", "mask", "periodic"} or a sequence of them
        What is read outside the image.
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the corner pixels. None warns, and is False.

    Returns
    -------
    Tensor of shape (N, C, *T)
        In the dtype of `input`.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.functional import grid_sample
    >>> image, grid = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.0, 0.0]]]])
    >>> grid_sample(image, grid, align_corners=False)
    tensor([[[[0.5000]]]])
    """
    if has_torch_function_variadic(input, grid):
        options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
        return handle_torch_function(grid_sample, (input, grid), input, grid, **options)
    align = _warned(align_corners)
    return stnkit.grid_sample(input, grid, mode=mode, padding_mode=padding_mode, align_corners=align)


def affine_grid(theta: torch.Tensor, size: Sequence[int], align_corners: bool | None = None) -> torch.Tensor:
    """Generate the grid of affine maps, as `torch.nn.functional.affine_grid` does.

    Parameters
    ----------
    theta : Tensor of shape (N, d, d + 1)
        Maps from output to input, in normalised coordinates, for 1 to 3 axes.
    size : sequence of int
        The output's whole shape (N, C, *T), all positive. C is not used.
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the corner pixels. None warns, and is False.

    Returns
    -------
    Tensor of shape (N, *T, d)
        Normalised coordinates. Half precision gives a grid of float32.

    Raises
    ------
    ValueError
        If a shape does not fit, the size is not positive, or theta is no floating point.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.functional import affine_grid
    >>> affine_grid(torch.eye(2, 3)[None], (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    if has_torch_function_unary(theta):
        return handle_torch_function(affine_grid, (theta,), theta, size, align_corners=align_corners)
    align = _warned(align_corners)
    if not theta.is_floating_point():
        msg = f"`theta` must have a floating-point dtype; got {theta.dtype}"
        raise ValueError(msg)
    axes = len(size) - 2
    shape = (size[0], axes, axes + 1) if axes > 0 else None
    if theta.shape != shape:
        msg = f"`theta` must have shape (N, d, d + 1) for a size (N, C, *T) of d axes; got {tuple(theta.shape)}, {size}"
        raise ValueError(msg)
    if align and min(size[2:]) == 1:
        text = (
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. "
            "This is not an intended use case of affine_grid. See the documentation of affine_grid for details."
        )
        warnings.warn(text, stacklevel=2)
    elif min(size) <= 0:
        msg = f"`size` must be positive; got {size}"
        raise ValueError(msg)
    return stnkit.affine_grid(theta, size[2:], align_corners=align)


def _warned(align_corners: bool | None) -> bool:
    """Return the choice; warn the caller's caller in torch's words where there is none."""
    if align_corners is not None:
        return align_corners
    text = (
        "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
        "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
    )
    warnings.warn(text, stacklevel=3)
    return False
