"""Projective maps and thin plate splines as formulas: made of operations that any framework differentiates.

Kernels compute the same numbers faster. These are for where a framework has to see the parts: to differentiate to any
order, to map over batches, or to compile. The grid is a formula in the framework's own operations, and sampling is its
`grid_sample` at that grid. In JAX only splines are sampled so: a sampler under projective maps is an operation, which
takes from here how theta moves the grid. Sizes may be symbols.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.dtypes import dtype_name
from stnkit.spec import PROJECTIVE, THIN_PLATE_SPLINE
from stnkit.transforms.namespaces import FLOATS, converted, widened

Array = Any
Maybe = Array | None
Size = Sequence[Any]

# The checks of shapes below `functools.lru_cache`: shapes of symbols cannot be looked up.
_image_shape, _batch = inspect.unwrap(validation.image_shape), inspect.unwrap(validation.batch)
_projective_axes, _spline_axes = inspect.unwrap(validation.projective_axes), inspect.unwrap(validation.spline_axes)

PAIR = ("image", "theta")


class ArrayNamespace(NamedTuple):
    """What the formulas of projective maps are made of."""

    xp: Any  # the namespace of a framework
    arange: Callable[[Array, Any], Array]  # of so many numbers, in the dtype and on the device of an array


class Framework(NamedTuple):
    """What differs between frameworks."""

    namespace: ArrayNamespace
    matmul: Callable[[Array, Array], Array]
    size: Callable[[Size, int], tuple[Any, ...]]  # checks the size of an output
    control: Callable[[Any], Array]  # takes control points, which are constants
    table: Callable[[Array, Size, bool, Array], Array]  # what a spline multiplies theta by, in the dtype of an array
    jit: Callable[[Callable[..., Array]], Callable[..., Array]]  # makes a formula one program, where that is faster
    sample: Callable[..., Array]  # `grid_sample`, and its derivatives
    sample_vjp: Callable[..., tuple[Maybe, Maybe]]
    sample_jvp: Callable[..., tuple[Array, Array]]

    @property
    def xp(self) -> Any:
        """The framework's namespace."""
        return self.namespace.xp


@dataclass(frozen=True)
class Maps:
    """How the maps of a call make a grid of theta. Theta is in the dtype of the arithmetic."""

    framework: Framework
    ndim: int
    control: Maybe  # of splines
    align: bool

    def grid(self, theta: Array, size: Size) -> Array:
        """Return the grid."""
        if self.control is None:
            return self.framework.jit(projective)(self.framework.namespace, theta, size, self.align)
        flat = self.framework.matmul(self.framework.table(self.control, size, self.align, theta), theta)
        return flat.reshape((*theta.shape[:-2], *size, self.ndim))

    def push(self, theta: Array, theta_dot: Array, size: Size) -> Array:
        """Return the grid's tangent."""
        if self.control is None:
            return self.framework.jit(projective_jvp)(self.framework.namespace, theta, theta_dot, size, self.align)
        return self.grid(theta_dot, size)

    def pull(self, theta: Array, grid_bar: Array) -> Array:
        """Return the cotangent of theta."""
        if self.control is None:
            return self.framework.jit(projective_vjp)(self.framework.namespace, grid_bar, theta, self.align)
        weights = self.framework.table(self.control, grid_bar.shape[-1 - self.ndim : -1], self.align, grid_bar)
        return self.framework.matmul(weights.T, grid_bar.reshape((*theta.shape[:-2], -1, self.ndim)))


def maps_of(
    framework: Framework, kind: int, theta: Array, *, control_points: Any = None, align_corners: bool = False, **_: Any
) -> Maps:
    """Check maps. A compiler may have symbols for the sizes that say on how many axes they act; these are numbers."""
    if dtype_name(theta) not in FLOATS:
        validation.coordinate_dtype("theta", np.dtype(dtype_name(theta)))
    control = None if kind == PROJECTIVE else framework.control(control_points)
    shapes = [(*a.shape[:-2], *map(int, a.shape[-2:])) for a in ((theta,) if control is None else (theta, control))]
    found = _projective_axes(*shapes) if control is None else _spline_axes(*shapes)
    ndim = next(number for number in (1, 2, 3) if number == found)
    return Maps(framework, ndim, control, validation.flag("align_corners", align_corners))


def grid(framework: Framework, kind: int, *, theta: Array, size: Size, **options: Any) -> Array:
    """Return the grid of maps."""
    maps = maps_of(framework, kind, theta, **options)
    return maps.grid(widened(theta, framework.xp), framework.size(size, maps.ndim))


def grid_vjp(
    framework: Framework, kind: int, *, cotangent: Array, theta: Array, deterministic: bool = False, **options: Any
) -> Array:
    """Pull a cotangent of the grid back to theta."""
    validation.flag("deterministic", deterministic)
    maps, wide = maps_of(framework, kind, theta, **options), widened(theta, framework.xp)
    size = cotangent.shape[-1 - maps.ndim : -1]
    alike("cotangent", cotangent, "the grid", (*theta.shape[:-2], *size, maps.ndim), wide.dtype)
    return converted(maps.pull(wide, cotangent), theta.dtype, framework.xp)


def grid_jvp(
    framework: Framework, kind: int, *, theta: Array, d_theta: Array, size: Size, **options: Any
) -> tuple[Array, Array]:
    """Push a tangent of theta forward to the grid."""
    alike("d_theta", d_theta, "`theta`", theta.shape, theta.dtype)
    maps, wide = maps_of(framework, kind, theta, **options), widened(theta, framework.xp)
    size = framework.size(size, maps.ndim)
    return maps.grid(wide, size), maps.push(wide, widened(d_theta, framework.xp), size)


def sample(
    framework: Framework, kind: int, *, image: Array, theta: Array, size: Size | None = None, **options: Any
) -> Array:
    """Interpolate an image under maps."""
    maps = maps_of(framework, kind, theta, **options)
    size = _size(maps, image, theta, size, options)
    return framework.sample(image, maps.grid(_wide(framework, theta, image), size), **_others(options))


def sample_vjp(
    framework: Framework, kind: int, *, cotangent: Array, image: Array, theta: Array, wrt: Any = PAIR, **options: Any
) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the output back to image and theta."""
    maps, wide = maps_of(framework, kind, theta, **options), _wide(framework, theta, image)
    _size(maps, image, theta, None, options)
    grid = maps.grid(wide, _spatial(maps, "cotangent", cotangent, options))
    asked = zip(("image", "grid"), validation.names("wrt", wrt, PAIR), strict=True)
    wrt = tuple([name for name, wanted in asked if wanted])
    image_bar, grid_bar = framework.sample_vjp(cotangent, image, grid, wrt=wrt, **_others(options))
    return image_bar, None if grid_bar is None else converted(maps.pull(wide, grid_bar), theta.dtype, framework.xp)


def sample_jvp(
    framework: Framework, kind: int, *, image: Array, theta: Array, d_image: Maybe, d_theta: Maybe, **options: Any
) -> tuple[Array, Array]:
    """Push tangents of image and theta forward to the output."""
    maps, wide, grid_dot = maps_of(framework, kind, theta, **options), _wide(framework, theta, image), None
    size = _size(maps, image, theta, options.pop("size", None), options)
    if d_theta is not None:
        alike("d_theta", d_theta, "`theta`", theta.shape, theta.dtype)
        grid_dot = maps.push(wide, _wide(framework, d_theta, image), size)
    return framework.sample_jvp(image, maps.grid(wide, size), d_image, grid_dot, **_others(options))


FORMULAS = {  # by the names of public functions; they take a framework, and arguments by name
    f"{maps}_{name}": functools.partial(formula, kind=kind)
    for maps, kind in (("projective", PROJECTIVE), ("thin_plate_spline", THIN_PLATE_SPLINE))
    for name, formula in (
        ("grid", grid),
        ("grid_vjp", grid_vjp),
        ("grid_jvp", grid_jvp),
        ("sample", sample),
        ("sample_vjp", sample_vjp),
        ("sample_jvp", sample_jvp),
    )
}


def alike(name: str, array: Array, other: str, shape: Size, dtype: Any) -> None:
    """Refuse an array that is not of the shape and dtype of what it belongs to."""
    validation.same_shape(name, tuple(array.shape), other, tuple(shape))
    validation.same_dtype(name, array.dtype, other, dtype)


def _others(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `grid_sample`."""
    return {name: value for name, value in options.items() if name != "control_points"}


def _wide(framework: Framework, theta: Array, image: Array) -> Array:
    """Return theta in the dtype of the arithmetic."""
    if dtype_name(image) == "float64":
        return converted(theta, framework.xp.float64, framework.xp)
    return widened(theta, framework.xp)


def _size(maps: Maps, image: Array, theta: Array, size: Size | None, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return the output's size; that of the image if none is given. Refuse an image that does not fit theta."""
    spatial = _spatial(maps, "image", image, options)
    _batch(tuple(image.shape), tuple(theta.shape), maps.ndim, "theta", 3)
    return spatial if size is None else maps.framework.size(size, maps.ndim)


def _spatial(maps: Maps, name: str, array: Array, options: dict[str, Any]) -> tuple[Any, ...]:
    last = options.get("data_format") == "channels_last"
    return tuple(_image_shape(tuple(array.shape), maps.ndim, last, name)[1])


class Rows(NamedTuple):
    """What a projective map makes of every location: u = r / w."""

    coordinates: list[Array]
    depth: Array  # w; 1 where a location is lost
    lost: Array  # at or behind the horizon, or not finite


def lattice(namespace: ArrayNamespace, theta: Array, size: Size, align: bool) -> list[Array]:
    """Return the normalised coordinates of an output along x, y, z, which broadcast over it and over theta's batch."""
    rank = theta.ndim - 2 + len(size)
    lines = []
    for axis, n in enumerate(reversed(size)):
        steps = 2 * namespace.arange(theta, n)
        line = (steps - (n - 1)) / max(n - 1, 1) if align else (steps + (1 - n)) / n
        lines.append(line.reshape((*(1,) * (rank - 1 - axis), -1, *(1,) * axis)))
    return lines


def projective(namespace: ArrayNamespace, theta: Array, size: Size, align: bool) -> Array:
    """Return the grid of projective maps, of shape (..., *T, d)."""
    return namespace.xp.stack(_rows(theta, lattice(namespace, theta, size, align), namespace.xp).coordinates, -1)


def projective_jvp(namespace: ArrayNamespace, theta: Array, theta_dot: Array, size: Size, align: bool) -> Array:
    """Return the grid's tangent: u' = (r' - u w') / w."""
    xp, lines = namespace.xp, lattice(namespace, theta, size, align)
    found = _rows(theta, lines, xp)
    *rows_dot, depth_dot = (_line(theta_dot, row, lines) for row in range(len(size) + 1))
    pairs = zip(found.coordinates, rows_dot, strict=True)
    moved = [(r_dot - _finite(found, u, xp) * depth_dot) / found.depth for u, r_dot in pairs]
    return xp.stack([xp.where(found.lost, 0.0, u_dot) for u_dot in moved], -1)


def projective_vjp(namespace: ArrayNamespace, bar: Array, theta: Array, align: bool) -> Array:
    """Return the cotangent of theta: r_bar = u_bar / w and w_bar = -(sum of r_bar u), times the locations."""
    xp, ndim = namespace.xp, theta.shape[-1] - 1
    lines = lattice(namespace, theta, bar.shape[-1 - ndim : -1], align)
    found = _rows(theta, lines, xp)
    bars = [xp.where(found.lost, 0.0, bar[..., axis]) / found.depth for axis in range(ndim)]
    pulled = [r * _finite(found, u, xp) for r, u in zip(bars, found.coordinates, strict=True)]
    bars.append(-functools.reduce(operator.add, pulled))
    axes = tuple(range(-ndim, 0))
    flat = [xp.sum(r * line, axes) for r in bars for line in (*lines, 1.0)]
    return xp.stack(flat, -1).reshape(theta.shape)


def _line(theta: Array, row: int, lines: list[Array]) -> Array:
    """Return one row of theta applied to (x, y, z, 1)."""
    at = (..., *(None,) * len(lines))
    value = theta[..., row, len(lines)][at]
    for axis in reversed(range(len(lines))):
        value = theta[..., row, axis][at] * lines[axis] + value
    return value


def _rows(theta: Array, lines: list[Array], xp: Any) -> Rows:
    """Apply projective maps. What is lost is divided by 1 instead, so that no derivative is 0 times infinity.

    Kernels lose a location where u overflows; here it is lost where the derivative u / w does, a little before.
    """
    *rows, depth = (_line(theta, row, lines) for row in range(len(lines) + 1))
    lost = ~((depth > 0) & xp.isfinite(depth))
    near = xp.where(lost, 1.0, depth)
    for r in rows:
        lost = lost | ~xp.isfinite(r / near / near)
    near = xp.where(lost, 1.0, depth)
    return Rows([xp.where(lost, float("nan"), xp.where(lost, 0.0, r) / near) for r in rows], near, lost)


def _finite(found: Rows, u: Array, xp: Any) -> Array:
    return xp.where(found.lost, 0.0, u)
