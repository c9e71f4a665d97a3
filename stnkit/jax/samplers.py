"""The samplers on JAX arrays, each with its derivatives as functions, for every source of coordinates alike.

`jax.grad` and its like need none of these derivatives; they are here so that every public function takes JAX arrays.
A function takes the kind of its source, and then the arguments of the public one, by name.
"""

from typing import Any

from stnkit import validation
from stnkit.calls.sampling import NAMES
from stnkit.jax import call
from stnkit.jax.call import Array, Call, Maybe, import_arrays, not_written, prepare
from stnkit.spec import AFFINE, GRID


def sample(kind: int, *, image: Array, out: Any, **rest: Any) -> Array:
    """Interpolate an image."""
    not_written("out", out)
    (image, source), options = _entered(kind, {"image": image}, rest)
    return call.forward(_begun(kind, image, source, **options))


def sample_vjp(
    kind: int, *, cotangent: Array, image: Array, wrt: Any, accumulate_into: Any, deterministic: Any, **rest: Any
) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the output back to image and source."""
    not_written("accumulate_into", accumulate_into)
    (cotangent, image, source), options = _entered(kind, {"cotangent": cotangent, "image": image}, rest)
    began = _begun(kind, image, source, **_sized(kind, cotangent, source, options)).steady(deterministic)
    return call.vjp(began, cotangent, wrt)


def sample_jvp(kind: int, *, image: Array, d_image: Maybe, **rest: Any) -> tuple[Array, Array]:
    """Push tangents forward."""
    (image, source, *dots), options = _entered(kind, {"image": image}, rest, d_image=d_image)
    return call.jvp(_begun(kind, image, source, **options), *dots)


def sample_double_vjp(
    kind: int, *, dd_image: Maybe, cotangent: Array, image: Array, deterministic: Any, **rest: Any
) -> tuple[Array, Maybe, Array]:
    """Pull cotangents of the results of `sample_vjp` back to its arguments."""
    before = {"cotangent": cotangent, "image": image}
    (cotangent, image, source, image_dot, source_dot), options = _entered(kind, before, rest, dd_image=dd_image)
    began = _begun(kind, image, source, **_sized(kind, cotangent, source, options)).steady(deterministic)
    return call.double_vjp(began, image_dot, source_dot, cotangent)


def _entered(kind: int, before: dict[str, Any], rest: dict[str, Any], **dots: Any) -> tuple[list[Any], dict[str, Any]]:
    """Take the arrays of a call, its source after those `before`, then the tangents; return the options too."""
    name = NAMES[kind]
    arrays = before | {name: rest.pop(name)}
    for image_dot, tangent in dots.items():
        source_dot = image_dot.replace("image", name)
        arrays |= {image_dot: tangent, source_dot: rest.pop(source_dot)}
    return import_arrays(*dots, *(dot.replace("image", name) for dot in dots), **arrays), rest


def _sized(kind: int, cotangent: Array, source: Array, options: dict[str, Any]) -> dict[str, Any]:
    """Add the output's size, where the source does not say it: that of the cotangent."""
    if kind != AFFINE:
        return options
    ndim = validation.theta_axes(source.shape)
    return options | {"size": validation.output_size(cotangent.shape, ndim, options["data_format"])}


def _begun(
    kind: int,
    image: Array,
    source: Array,
    size: Any = None,
    *,
    mode: str,
    padding_mode: Any,
    fill_value: Any,
    align_corners: bool,
    data_format: str,
    **units: str,
) -> Call:
    """Check a call and bring it to one form."""
    ndim = validation.theta_axes(source.shape) if kind == AFFINE else validation.grid_axes(source.shape, NAMES[kind])
    options = validation.options(ndim, mode, padding_mode, align_corners, data_format, **units)
    if kind == AFFINE:
        _, spatial = validation.image_shape(image.shape, ndim, options.channels_last)
        size = spatial if size is None else validation.size(size, ndim)
    else:
        size = source.shape[-1 - ndim : -1]
    return prepare(image, source, kind, size, options, fill_value)


def gradient(*, image: Array, grid: Array, **options: Any) -> Array:
    """Differentiate the interpolated image along each axis."""
    image, grid = import_arrays(image=image, grid=grid)
    return call.gradient(_begun(GRID, image, grid, **options))
