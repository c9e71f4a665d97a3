"""The samplers on JAX arrays, each with its derivatives as functions, for every source of coordinates alike.

`jax.grad` and its like need none of these derivatives; they are here so that every public function takes JAX arrays.
A function takes the kind of its source, and then the arguments of the public one, by name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stnkit import validation
from stnkit.calls.arguments import Choices
from stnkit.calls.derivatives import DOUBLE_VJP, JVP, NAMES, SAMPLE, VJP, Derivative
from stnkit.calls.sampling import Form, fits_output, fits_tangents, sampling_form
from stnkit.dtypes import arithmetic, is_float
from stnkit.jax import operations
from stnkit.jax.call import Array, Maybe, widened
from stnkit.jax.primitives import Settings
from stnkit.spec import CHOOSING, GRID, MAPS


class Checked(NamedTuple):
    """A checked call: arrays with a batch axis, what the operations take beside them, and what follows from shapes."""

    image: Array
    source: Array
    sampler: Settings
    form: Form

    def unbatch(self, array: Array) -> Array:
        """Take the batch axis from an output, where the caller's has none."""
        return array if self.form.batched else array[0]

    def pull(self, g: Array, asked: tuple[bool, bool]) -> tuple[Maybe, Maybe]:
        """Return the cotangents that are asked for, in the shape and dtype of what they belong to."""
        (image, source, sampler, _), g = self, g if self.form.batched else g[None]
        image_bar, source_bar = None, None
        if asked[1] and sampler.options.interp not in CHOOSING:
            *bars, source_bar = operations.vjp(g, image, source, sampler, image_too=asked[0])
            image_bar = bars[0] if bars else None
        elif asked[0]:
            image_bar = operations.splat(g, source, sampler, operations.image_of(image, sampler))
        if asked[1] and source_bar is None:
            source_bar = jnp.zeros_like(source)
        return self.like_image(image_bar), self.like_source(source_bar)

    def like_image(self, array: Maybe) -> Maybe:
        """Return a cotangent of the image in the shape and dtype in which the image was given."""
        return None if array is None else array.reshape(self.form.image_shape).astype(self.form.image_dtype)

    def like_source(self, array: Maybe) -> Maybe:
        """Return a cotangent of the source in the shape and dtype in which the source was given."""
        return None if array is None else array.reshape(self.form.source_shape).astype(self.form.source_dtype)


def sample(kind: int, **given: Any) -> Array:
    """Interpolate an image."""
    call = checked(kind, **given)
    return call.unbatch(operations.sample(call.image, call.source, call.sampler))


def sample_at(image: Array, indices: Array, **options: Any) -> Array:
    """Interpolate an image (C, *S), or (*S, C), at indices (d, n) of its pixels, in the order of its axes.

    They are read where they lie, and not copied to a grid. The result is (C, 1, ..., n) or (1, ..., n, C).
    """
    axes, count = indices.shape
    grid = jax.ShapeDtypeStruct((*(1,) * (axes - 1), count, axes), indices.dtype)
    choices = Choices(**options)
    form = sampling_form(GRID, image, grid, choices)
    sampler = settings(form, choices)._replace(ij=True)
    out: Array = operations.sample(image[None], widened(indices).reshape(1, axes, *grid.shape[:-1]), sampler)[0]
    return out


def gradient(**given: Any) -> Array:
    """Differentiate the interpolated image along each axis."""
    call = checked(GRID, **given)
    return call.unbatch(operations.gradient(call.image, call.source, call.sampler))


def sample_vjp(kind: int, *, cotangent: Array, wrt: Any, **given: Any) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of the output back to image and source."""
    call = checked(kind, cotangent, **given)
    asked = validation.names("wrt", wrt, ("image", NAMES[kind]))
    if asked[0]:
        validation.differentiable("image", call.form.image_dtype)
    return call.pull(cotangent, asked)


def sample_jvp(kind: int, *, d_image: Maybe, **given: Any) -> tuple[Array, Array]:
    """Push tangents forward."""
    source_dot = given.pop(f"d_{NAMES[kind]}")
    call = checked(kind, **given)
    fits_tangents(JVP, d_image, source_dot, call.form)
    out = operations.sample(call.image, call.source, call.sampler)
    image_dot = None if d_image is None else d_image.reshape(call.image.shape)
    moves = source_dot is not None and call.sampler.options.interp not in CHOOSING
    source_dot = batched(source_dot, call.form) if moves else None
    if image_dot is None and source_dot is None:
        out_dot = jnp.zeros(out.shape, call.form.dot_dtype)
    else:
        out_dot = operations.tangent(call.image, call.source, source_dot, image_dot, call.sampler)
    return call.unbatch(out), call.unbatch(out_dot)


def sample_double_vjp(kind: int, *, dd_image: Maybe, cotangent: Array, **given: Any) -> tuple[Array, Maybe, Array]:
    """Pull cotangents of the results of `sample_vjp` back to its arguments."""
    dots = dd_image, given.pop(f"dd_{NAMES[kind]}")
    call = checked(kind, cotangent, **given)
    fits_tangents(DOUBLE_VJP, *dots, call.form)
    asked = dots[0] is not None, dots[1] is not None

    def first(g: Array, image: Array, source: Array) -> list[Array]:
        return [bar for bar in call._replace(image=image, source=source).pull(g, asked) if bar is not None]

    _, back = jax.vjp(first, cotangent, call.image, call.source)
    out_bar_bar, image_bar, source_bar = back([dot for dot in dots if dot is not None])
    image_bar = image_bar if is_float(call.form.image_dtype) else None
    return out_bar_bar, call.like_image(image_bar), call.like_source(source_bar)


FUNCTIONS: dict[Derivative[Any], Callable[..., Any]] = {
    SAMPLE: sample,
    VJP: sample_vjp,
    JVP: sample_jvp,
    DOUBLE_VJP: sample_double_vjp,
}


def checked(kind: int, cotangent: Maybe = None, *, image: Array, **rest: Any) -> Checked:
    """Check a call, whose output has a cotangent's size if there is one, and bring it to one form."""
    source, choices = rest.pop(NAMES[kind]), Choices(**rest)
    form = sampling_form(kind, image, source, choices, cotangent)
    if cotangent is not None:
        fits_output(cotangent, form)
    image = image if image.ndim == len(form.size) + 2 else image[None]
    return Checked(image, batched(source, form), settings(form, choices), form)


def settings(form: Form, choices: Choices) -> Settings:
    """Return what operations take beside arrays."""
    options, steady = form.options, validation.flag("deterministic", choices.deterministic)
    dtypes = form.image_dtype, form.source_dtype
    fill, finite = validation.fill(choices.fill_value, form.channels, options.interp, *dtypes)
    return Settings(form.kind, form.size, options._replace(fill_finite=finite), fill.tobytes(), fill.dtype, steady)


def batched(source: Array, form: Form) -> Array:
    """Return a source, or its tangent, with a batch axis and in the dtype that kernels read."""
    source = source if source.ndim == form.axes else source[None]
    return source.astype(arithmetic(form.image_dtype, form.source_dtype)) if form.kind in MAPS else widened(source)
