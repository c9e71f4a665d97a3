"""Projective maps and thin plate splines on JAX arrays: grids are formulas, and sampling is the operation at them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stnkit import validation
from stnkit.calls.control_points import known
from stnkit.dtypes import FLOAT64
from stnkit.jax import samplers
from stnkit.jax.call import Array, Maybe, import_arrays, not_written, widened
from stnkit.plans import thin_plates
from stnkit.spec import GRID
from stnkit.transforms import formulas

Grid = Callable[[Array], Array]


def projective_grid(*, theta: Array, size: Any, align_corners: bool) -> Array:
    """Return the grid of projective maps."""
    (theta,) = import_arrays(theta=theta)
    return formulas.projective(widened(theta), *_projective(theta, size, align_corners))


def projective_grid_vjp(*, cotangent: Array, theta: Array, align_corners: bool, deterministic: bool) -> Array:
    """Pull a cotangent of the grid back to theta."""
    validation.flag("deterministic", deterministic)
    cotangent, theta = import_arrays(cotangent=cotangent, theta=theta)
    size = _fits_grid(cotangent, theta, _projective_axes(theta))
    _, *given = _projective(theta, size, align_corners)
    return formulas.projective_vjp(cotangent, widened(theta), *given).astype(theta.dtype)


def projective_grid_jvp(*, theta: Array, d_theta: Array, size: Any, align_corners: bool) -> tuple[Array, Array]:
    """Push a tangent of theta forward to the grid."""
    theta, d_theta = _alike(theta, d_theta)
    given, wide = _projective(theta, size, align_corners), widened(theta)
    return formulas.projective(wide, *given), formulas.projective_jvp(wide, widened(d_theta), *given)


def projective_sample(*, image: Array, theta: Array, size: Any, out: Any, **words: Any) -> Array:
    """Interpolate an image under projective maps."""
    not_written("out", out)
    image, theta = import_arrays(image=image, theta=theta)
    size = _size(image, theta, _projective_axes(theta), size, words)
    return _sample(image, _projective_at(theta, size, words)(_wide(theta, image)), words)


def projective_sample_vjp(*, cotangent: Array, image: Array, theta: Array, **words: Any) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the output back to image and theta."""
    cotangent, image, theta = import_arrays(cotangent=cotangent, image=image, theta=theta)
    size = _output(cotangent, image, theta, _projective_axes(theta), words)
    return _sample_vjp(cotangent, image, theta, _projective_at(theta, size, words), words)


def projective_sample_jvp(
    *, image: Array, theta: Array, d_image: Maybe, d_theta: Maybe, size: Any, **words: Any
) -> tuple[Array, Array]:
    """Push tangents forward."""
    image, theta, d_theta = import_arrays("d_theta", image=image, theta=theta, d_theta=d_theta)
    size = _size(image, theta, _projective_axes(theta), size, words)
    return _sample_jvp(image, theta, d_image, d_theta, _projective_at(theta, size, words), words)


def thin_plate_spline_grid(*, theta: Array, control_points: Any, size: Any, align_corners: bool) -> Array:
    """Return the grid of thin plate splines."""
    (theta,) = import_arrays(theta=theta)
    ndim = _spline_axes(theta, control_points)
    return _bent(widened(theta), control_points, validation.size(size, ndim), align_corners)


def thin_plate_spline_grid_vjp(
    *, cotangent: Array, theta: Array, control_points: Any, align_corners: bool, deterministic: bool
) -> Array:
    """Pull a cotangent of the grid back to theta."""
    validation.flag("deterministic", deterministic)
    cotangent, theta = import_arrays(cotangent=cotangent, theta=theta)
    ndim = _spline_axes(theta, control_points)
    size = _fits_grid(cotangent, theta, ndim)
    table = _table(control_points, size, align_corners, cotangent.dtype)
    return jnp.matmul(table.T, cotangent.reshape((*theta.shape[:-2], -1, ndim)), precision=EXACT).astype(theta.dtype)


def thin_plate_spline_grid_jvp(
    *, theta: Array, d_theta: Array, control_points: Any, size: Any, align_corners: bool
) -> tuple[Array, Array]:
    """Push a tangent of theta forward to the grid."""
    theta, d_theta = _alike(theta, d_theta)
    given = {"control_points": control_points, "size": size, "align_corners": align_corners}
    return thin_plate_spline_grid(theta=theta, **given), thin_plate_spline_grid(theta=d_theta, **given)


def thin_plate_spline_sample(
    *, image: Array, theta: Array, control_points: Any, size: Any, out: Any, **words: Any
) -> Array:
    """Interpolate an image under thin plate splines."""
    not_written("out", out)
    image, theta = import_arrays(image=image, theta=theta)
    size = _size(image, theta, _spline_axes(theta, control_points), size, words)
    return _sample(image, _spline_at(control_points, size, words)(_wide(theta, image)), words)


def thin_plate_spline_sample_vjp(
    *, cotangent: Array, image: Array, theta: Array, control_points: Any, **words: Any
) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the output back to image and theta."""
    cotangent, image, theta = import_arrays(cotangent=cotangent, image=image, theta=theta)
    size = _output(cotangent, image, theta, _spline_axes(theta, control_points), words)
    return _sample_vjp(cotangent, image, theta, _spline_at(control_points, size, words), words)


def thin_plate_spline_sample_jvp(
    *, image: Array, theta: Array, d_image: Maybe, d_theta: Maybe, control_points: Any, size: Any, **words: Any
) -> tuple[Array, Array]:
    """Push tangents forward."""
    image, theta, d_theta = import_arrays("d_theta", image=image, theta=theta, d_theta=d_theta)
    size = _size(image, theta, _spline_axes(theta, control_points), size, words)
    return _sample_jvp(image, theta, d_image, d_theta, _spline_at(control_points, size, words), words)


EXACT = jax.lax.Precision.HIGHEST  # of products of matrices, which devices else round


def _sample(image: Array, grid: Array, words: dict[str, Any]) -> Array:
    return samplers.sample(GRID, image=image, grid=grid, out=None, coords="normalized", **words)


def _sample_vjp(
    cotangent: Array, image: Array, theta: Array, grid_of: Grid, words: dict[str, Any]
) -> tuple[Maybe, Maybe]:
    named = zip(("image", "grid"), validation.names("wrt", words.pop("wrt"), ("image", "theta")), strict=True)
    wrt = [name for name, asked in named if asked]
    grid, pull = jax.vjp(grid_of, _wide(theta, image))
    given = {"cotangent": cotangent, "image": image, "grid": grid, "wrt": wrt, "coords": "normalized"}
    image_bar, grid_bar = samplers.sample_vjp(GRID, **given, **words)
    return image_bar, None if grid_bar is None else pull(grid_bar)[0].astype(theta.dtype)


def _sample_jvp(
    image: Array, theta: Array, image_dot: Maybe, theta_dot: Maybe, grid_of: Grid, words: dict[str, Any]
) -> tuple[Array, Array]:
    wide, grid_dot = _wide(theta, image), None
    grid = grid_of(wide)
    if theta_dot is not None:
        _alike(theta, theta_dot)
        grid_dot = jax.jvp(grid_of, (wide,), (_wide(theta_dot, image),))[1]
    given = {"image": image, "grid": grid, "d_image": image_dot, "d_grid": grid_dot, "coords": "normalized"}
    return samplers.sample_jvp(GRID, **given, **words)


def _projective_at(theta: Array, size: Any, words: dict[str, Any]) -> Grid:
    def grid(wide: Array) -> Array:
        return formulas.projective(wide, *_projective(wide, size, words["align_corners"]))

    return grid


def _spline_at(control_points: Any, size: Any, words: dict[str, Any]) -> Grid:
    return lambda wide: _bent(wide, control_points, size, words["align_corners"])


def _projective(theta: Array, size: Any, align_corners: bool) -> tuple[Any, ...]:
    """Return what the formulas of projective maps take after theta."""
    arange = functools.partial(jnp.arange, dtype=widened(theta).dtype)
    return validation.size(size, _projective_axes(theta)), validation.flag("align_corners", align_corners), jnp, arange


def _projective_axes(theta: Array) -> int:
    validation.coordinate_dtype("theta", theta.dtype)
    return validation.projective_axes(theta.shape)


def _spline_axes(theta: Array, control_points: Any) -> int:
    validation.coordinate_dtype("theta", theta.dtype)
    return validation.spline_axes(theta.shape, np.shape(control_points))


def _bent(theta: Array, control_points: Any, size: tuple[int, ...], align_corners: bool) -> Array:
    flat = jnp.matmul(_table(control_points, size, align_corners, theta.dtype), theta, precision=EXACT)
    return flat.reshape((*theta.shape[:-2], *size, theta.shape[-1]))


def constant(control_points: Any) -> np.ndarray:
    """Return control points in float64; refuse those that JAX traces."""
    if isinstance(control_points, jax.core.Tracer):
        msg = (
            "`control_points` are traced by JAX; they are constants, of which no derivative is given: pass an array "
            "that is no argument of what is transformed"
        )
        raise TypeError(msg)
    if not isinstance(control_points, jax.Array):
        return np.ascontiguousarray(known(control_points))
    validation.coordinate_dtype("control_points", control_points.dtype)
    return np.ascontiguousarray(control_points, FLOAT64)


def _table(control_points: Any, size: tuple[int, ...], align_corners: bool, dtype: Any) -> np.ndarray:
    """Return what theta is multiplied by: a constant of the program."""
    key = constant(control_points).tobytes()
    return thin_plates.table(key, tuple(size), validation.flag("align_corners", align_corners)).astype(dtype)


def _wide(theta: Array, image: Array) -> Array:
    """Return theta in the dtype of the arithmetic."""
    return theta.astype(FLOAT64) if image.dtype == FLOAT64 else widened(theta)


def _alike(theta: Array, theta_dot: Array) -> list[Array]:
    theta, theta_dot = import_arrays(theta=theta, d_theta=theta_dot)
    validation.same_shape("d_theta", theta_dot.shape, "`theta`", theta.shape)
    validation.same_dtype("d_theta", theta_dot.dtype, "`theta`", theta.dtype)
    return [theta, theta_dot]


def _fits_grid(cotangent: Array, theta: Array, ndim: int) -> tuple[int, ...]:
    """Return the grid's size; refuse a cotangent that is not of its shape and dtype."""
    size: tuple[int, ...] = cotangent.shape[-1 - ndim : -1]
    validation.same_shape("cotangent", cotangent.shape, "the grid", (*theta.shape[:-2], *size, ndim))
    validation.same_dtype("cotangent", cotangent.dtype, "the grid", widened(theta).dtype)
    return size


def _size(image: Array, theta: Array, ndim: int, size: Any, words: dict[str, Any]) -> tuple[int, ...]:
    """Return the output's size; that of the image if none is given. Refuse an image that does not fit theta."""
    _, spatial = validation.image_shape(image.shape, ndim, words["data_format"] == "channels_last")
    validation.batch(image.shape, theta.shape, ndim, "theta", 3)
    return spatial if size is None else validation.size(size, ndim)


def _output(cotangent: Array, image: Array, theta: Array, ndim: int, words: dict[str, Any]) -> tuple[int, ...]:
    """Return the output's size, which its cotangent has."""
    _size(image, theta, ndim, None, words)
    return validation.output_size(cotangent.shape, ndim, words["data_format"])
