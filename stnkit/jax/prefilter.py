"""The filter that finds a spline's coefficients, as an operation of JAX: linear, along one axis."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from stnkit import validation
from stnkit.backends.cuda.prefilter import spline_filter as filtered_on_gpu
from stnkit.jax._compat import described
from stnkit.jax.axes import Axes
from stnkit.jax.call import Array
from stnkit.jax.ffi.lower import execute
from stnkit.kernels.cpu.call import IMAGE, OUT
from stnkit.plans import prefilter as plans
from stnkit.spec import Options

filter_p = Primitive("stnkit_spline_filter")


def filter_aval(image: Any, **_: Any) -> Any:
    """Describe what `filter_p` returns."""
    return described(image, image.shape, image.dtype)


def filter_axes(image: Any, *, axis: int, **_: Any) -> Axes:
    """Name the axes of `filter_p`: all but the one that is filtered can be split."""
    ndim = len(image.shape)
    names = tuple(None if k == ndim + axis else f"line{k}" for k in range(ndim))
    return Axes((names,), (names,))


def lower_filter(context: Any, image: Any, *, axis: int, options: Options, transpose: bool) -> Sequence[Any]:
    """Lower `filter_p`."""
    (given,) = context.avals_in
    plan = plans.spline_filter(given.shape, given.dtype, axis, options, transpose)
    return [execute(context, (IMAGE,), (image,), plan)[OUT]]


def on_gpu(given: list[Any], results: list[Any], *, axis: int, options: Options, transpose: bool) -> None:
    """Do `filter_p` on a GPU."""
    filtered_on_gpu(given[0], (axis,), options, transpose, out=results[0])


def filter_jvp(primals: Any, tangents: Any, **form: Any) -> tuple[Any, Any]:
    """Differentiate `filter_p`, which is linear."""
    (image,), (image_dot,) = primals, tangents
    out = filter_p.bind(image, **form)
    if isinstance(image_dot, ad.Zero):
        return out, ad.Zero.from_primal_value(out)
    return out, filter_p.bind(image_dot, **form)


def filter_transpose(cotangent: Any, image: Any, *, transpose: bool, **form: Any) -> list[Any]:
    """Pull a cotangent back."""
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(image.aval)]
    return [filter_p.bind(cotangent, transpose=not transpose, **form)]


def filter_batch(arrays: Any, dims: Any, **form: Any) -> tuple[Any, int]:
    """Put the axis that is mapped over in front, from where no axis is counted."""
    return filter_p.bind(jnp.moveaxis(arrays[0], dims[0], 0), **form), 0


def spline_filter(*, image: Array, order: Any, padding_mode: Any, align_corners: Any, axes: Any) -> Array:
    """Return the coefficients of the spline that passes through the pixels of an image."""
    options = validation.spline(order, padding_mode, align_corners)
    return _filtered(image.astype(validation.coefficient_dtype("image", image.dtype.name)), options, axes, False)


def spline_filter_vjp(*, cotangent: Array, order: Any, padding_mode: Any, align_corners: Any, axes: Any) -> Array:
    """Pull a cotangent of a spline's coefficients back to the image."""
    dtype = validation.coefficient_dtype("cotangent", cotangent.dtype.name)
    validation.same_dtype("cotangent", cotangent.dtype, "the coefficients", dtype)
    return _filtered(cotangent, validation.spline(order, padding_mode, align_corners), axes, True)


def _filtered(image: Array, options: Options, axes: Any, transpose: bool) -> Array:
    for axis in validation.filtered_axes(axes, image.ndim):
        image = filter_p.bind(image, axis=axis, options=options, transpose=transpose)
    return image
