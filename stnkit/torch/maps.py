"""Projective maps and thin plate splines on tensors, where autograd, a transform or a compiler has to see the parts.

Their grids are formulas in torch's own operations, and sampling is the registered operation at that grid. So they are
differentiated as often as that is.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stnkit import validation
from stnkit.torch.derivatives.grids import widened
from stnkit.torch.fake import unremembered
from stnkit.torch.functions import FUNCTIONS
from stnkit.torch.spline_basis import refuse_integers, table
from stnkit.transforms import formulas

Size = Sequence[Any]

# Shapes may be of symbols, and a compiler does not follow what is remembered.
_image_shape, _batch = unremembered(validation.image_shape), unremembered(validation.batch)
_projective_shape, _spline_shapes = unremembered(validation.projective_axes), unremembered(validation.spline_axes)


def projective_grid(theta: torch.Tensor, size: Size, *, align_corners: bool = False) -> torch.Tensor:
    """Return the grid of projective maps."""
    ndim, wide = _projective_axes(theta), widened(theta)
    return formulas.projective(wide, _size(size, ndim), _flag(align_corners), torch, _arange(wide))


def projective_grid_vjp(
    cotangent: torch.Tensor, theta: torch.Tensor, *, align_corners: bool = False, deterministic: bool = False
) -> torch.Tensor:
    """Pull a cotangent of the grid back to theta."""
    validation.flag("deterministic", deterministic)
    ndim, wide = _projective_axes(theta), widened(theta)
    _fits_grid(cotangent, theta, ndim)
    return formulas.projective_vjp(cotangent, wide, _flag(align_corners), torch, _arange(wide)).to(theta.dtype)


def projective_grid_jvp(
    theta: torch.Tensor, d_theta: torch.Tensor, size: Size, *, align_corners: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Push a tangent of theta forward to the grid."""
    _alike("d_theta", d_theta, theta)
    ndim, wide, align = _projective_axes(theta), widened(theta), _flag(align_corners)
    given = _size(size, ndim), align, torch, _arange(wide)
    return formulas.projective(wide, *given), formulas.projective_jvp(wide, widened(d_theta), *given)


def projective_sample(
    image: torch.Tensor, theta: torch.Tensor, size: Size | None = None, **options: Any
) -> torch.Tensor:
    """Interpolate an image under projective maps."""
    ndim = _projective_axes(theta)
    grid = projective_grid(_wide(theta, image), _whole(size, image, theta, ndim, options), **_making(options))
    return _sampled(image, grid, options)


def projective_sample_vjp(
    cotangent: torch.Tensor, image: torch.Tensor, theta: torch.Tensor, *, wrt: Any = ("image", "theta"), **options: Any
) -> tuple[Any, Any]:
    """Pull a cotangent of the output back to image and theta."""
    size = _output(cotangent, image, theta, _projective_axes(theta), options)
    wide = _wide(theta, image)
    grid = projective_grid(wide, size, **_making(options))
    d_image, d_grid = _pulled(cotangent, image, grid, wrt, options)
    if d_grid is not None:
        d_grid = projective_grid_vjp(d_grid, wide, **_making(options)).to(theta.dtype)
    return d_image, d_grid


def projective_sample_jvp(
    image: torch.Tensor, theta: torch.Tensor, d_image: Any, d_theta: Any, size: Size | None = None, **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Push tangents of image and theta forward to the output."""
    size, making = _whole(size, image, theta, _projective_axes(theta), options), _making(options)
    grid_dot, wide = None, _wide(theta, image)
    if d_theta is not None:
        _alike("d_theta", d_theta, theta)
        grid_dot = projective_grid_jvp(wide, _wide(d_theta, image), size, **making)[1]
    return _pushed(image, projective_grid(wide, size, **making), d_image, grid_dot, options)


def thin_plate_spline_grid(
    theta: torch.Tensor, control_points: Any, size: Size, *, align_corners: bool = False
) -> torch.Tensor:
    """Return the grid of thin plate splines: theta, times a table."""
    ndim = _spline_axes(theta, control_points)
    size, wide = _size(size, ndim), widened(theta)
    flat = torch.matmul(table(control_points, size, _flag(align_corners), wide), wide)
    return flat.reshape((*theta.shape[:-2], *size, ndim))


def thin_plate_spline_grid_vjp(
    cotangent: torch.Tensor,
    theta: torch.Tensor,
    control_points: Any,
    *,
    align_corners: bool = False,
    deterministic: bool = False,
) -> torch.Tensor:
    """Pull a cotangent of the grid back to theta."""
    validation.flag("deterministic", deterministic)
    ndim = _spline_axes(theta, control_points)
    _fits_grid(cotangent, theta, ndim)
    size = cotangent.shape[-1 - ndim : -1]
    weights = table(control_points, size, _flag(align_corners), cotangent)
    return torch.matmul(weights.mT, cotangent.reshape((*theta.shape[:-2], -1, ndim))).to(theta.dtype)


def thin_plate_spline_grid_jvp(
    theta: torch.Tensor, d_theta: torch.Tensor, control_points: Any, size: Size, *, align_corners: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Push a tangent of theta forward to the grid."""
    _alike("d_theta", d_theta, theta)
    grid, grid_dot = (
        thin_plate_spline_grid(t, control_points, size, align_corners=align_corners) for t in (theta, d_theta)
    )
    return grid, grid_dot


def thin_plate_spline_sample(
    image: torch.Tensor, theta: torch.Tensor, control_points: Any, size: Size | None = None, **options: Any
) -> torch.Tensor:
    """Interpolate an image under thin plate splines."""
    size = _whole(size, image, theta, _spline_axes(theta, control_points), options)
    grid = thin_plate_spline_grid(_wide(theta, image), control_points, size, **_making(options))
    return _sampled(image, grid, options)


def thin_plate_spline_sample_vjp(
    cotangent: torch.Tensor,
    image: torch.Tensor,
    theta: torch.Tensor,
    control_points: Any,
    *,
    wrt: Any = ("image", "theta"),
    **options: Any,
) -> tuple[Any, Any]:
    """Pull a cotangent of the output back to image and theta."""
    size = _output(cotangent, image, theta, _spline_axes(theta, control_points), options)
    wide = _wide(theta, image)
    grid = thin_plate_spline_grid(wide, control_points, size, **_making(options))
    d_image, d_grid = _pulled(cotangent, image, grid, wrt, options)
    if d_grid is not None:
        d_grid = thin_plate_spline_grid_vjp(d_grid, wide, control_points, **_making(options)).to(theta.dtype)
    return d_image, d_grid


def thin_plate_spline_sample_jvp(
    image: torch.Tensor,
    theta: torch.Tensor,
    d_image: Any,
    d_theta: Any,
    control_points: Any,
    size: Size | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Push tangents of image and theta forward to the output."""
    size = _whole(size, image, theta, _spline_axes(theta, control_points), options)
    making, grid_dot = _making(options), None
    if d_theta is not None:
        _alike("d_theta", d_theta, theta)
        grid_dot = thin_plate_spline_grid(_wide(d_theta, image), control_points, size, **making)
    grid = thin_plate_spline_grid(_wide(theta, image), control_points, size, **making)
    return _pushed(image, grid, d_image, grid_dot, options)


def _sampled(image: torch.Tensor, grid: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    out: torch.Tensor = FUNCTIONS["grid_sample"](image, grid, **options)
    return out


def _pulled(cotangent: Any, image: Any, grid: Any, wrt: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    names = zip(("image", "grid"), validation.names("wrt", wrt, ("image", "theta")), strict=True)
    wrt = tuple([name for name, asked in names if asked])
    d_image, d_grid = FUNCTIONS["grid_sample_vjp"](cotangent, image, grid, wrt=wrt, **options)
    return d_image, d_grid


def _pushed(image: Any, grid: Any, d_image: Any, d_grid: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    out, out_dot = FUNCTIONS["grid_sample_jvp"](image, grid, d_image, d_grid, **options)
    return out, out_dot


def _wide(theta: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return theta in the dtype of the arithmetic."""
    return theta.double() if image.dtype == torch.float64 else widened(theta)


def _making(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name == "align_corners"}


def _flag(align_corners: Any) -> bool:
    return validation.flag("align_corners", align_corners)


def _size(size: Size, ndim: int) -> tuple[Any, ...]:
    return tuple(size) if any(isinstance(n, torch.SymInt) for n in size) else validation.size(size, ndim)


def _whole(size: Size | None, image: Any, theta: Any, ndim: int, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return the output's size; that of the image if none is given. Refuse an image that does not fit theta."""
    shape, last = tuple(image.shape), options.get("data_format") == "channels_last"
    _, spatial = _image_shape(shape, ndim, last)
    _batch(shape, tuple(theta.shape), ndim, "theta", 3)
    return tuple(spatial) if size is None else _size(size, ndim)


def _output(cotangent: Any, image: Any, theta: Any, ndim: int, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return the output's size, which its cotangent has."""
    _whole(None, image, theta, ndim, options)
    last = options.get("data_format") == "channels_last"
    return tuple(_image_shape(tuple(cotangent.shape), ndim, last, "cotangent")[1])


def _arange(like: torch.Tensor) -> Callable[[Any], torch.Tensor]:
    return functools.partial(torch.arange, dtype=like.dtype, device=like.device)


def _projective_axes(theta: torch.Tensor) -> int:
    refuse_integers("theta", theta)
    return _known(_projective_shape((*theta.shape[:-2], *map(int, theta.shape[-2:]))))


def _spline_axes(theta: torch.Tensor, control_points: Any) -> int:
    refuse_integers("theta", theta)
    given, control = (tuple(map(int, a.shape[-2:])) for a in (theta, control_points))
    shapes = (*theta.shape[:-2], *given), (*control_points.shape[:-2], *control)
    return _known(_spline_shapes(*shapes))


def _known(ndim: Any) -> int:
    """Return the number of axes as an integer, where a compiler has a symbol for it."""
    return next(number for number in (1, 2, 3) if number == ndim)


def _alike(name: str, dot: torch.Tensor, theta: torch.Tensor) -> None:
    validation.same_shape(name, tuple(dot.shape), "`theta`", tuple(theta.shape))
    _same_dtype(name, dot, "`theta`", theta.dtype)


def _fits_grid(cotangent: torch.Tensor, theta: torch.Tensor, ndim: int) -> None:
    wanted = (*theta.shape[:-2], *cotangent.shape[-1 - ndim : -1], ndim)
    validation.same_shape("cotangent", tuple(cotangent.shape), "the grid", wanted)
    _same_dtype("cotangent", cotangent, "the grid", widened(theta).dtype)


def _same_dtype(name: str, tensor: torch.Tensor, other: str, wanted: torch.dtype) -> None:
    if tensor.dtype != wanted:
        msg = f"`{name}` must have the dtype of {other}, {wanted}; got {tensor.dtype}"
        raise TypeError(msg)


_ROOTS = ("projective", "thin_plate_spline")
_NAMES = [f"{root}_{kind}{end}" for root in _ROOTS for kind in ("grid", "sample") for end in ("", "_vjp", "_jvp")]
MAPS: list[Callable[..., Any]] = [globals()[name] for name in _NAMES]
