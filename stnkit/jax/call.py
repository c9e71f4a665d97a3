"""What every public function does with JAX arrays: the checks of the NumPy functions, then the operations.

Shapes and dtypes are known while a program is traced, so errors come then, in the words of the NumPy functions.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stnkit import validation
from stnkit.backends.interop import misfit, no_array
from stnkit.calls.sampling import NAMES, Wrt, fits_inputs, fits_output, form_of
from stnkit.calls.sampling import Form as Face
from stnkit.dtypes import arithmetic, is_float
from stnkit.jax import operations
from stnkit.jax.primitives import Form
from stnkit.spec import AFFINE, NEAREST, Options

Array = Any
Maybe = Array | None


def signed(face: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a rule with the name, the signature and the defaults of the public function that it stands for.

    Where JAX's arrays are elsewhere, as control points or a fill value, the call is NumPy's.
    """
    signature, names = inspect.signature(face), array_names(face)

    @functools.wraps(face)
    def call(*args: Any, **options: Any) -> Any:
        try:
            bound = signature.bind(*args, **options)
        except TypeError as error:
            msg = f"{face.__name__}() {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        if isinstance(bound.arguments.get("fill_value"), jax.core.Tracer):
            msg = "`fill_value` is traced by JAX; it must be known when a program is traced: pass numbers"
            raise TypeError(msg)
        given = {name: bound.arguments[name] for name in names}
        if not any(isinstance(array, jax.Array) for array in given.values()):
            return inspect.unwrap(face)(*args, **options)
        misfit("JAX", given, jax.Array)
        return rule(**bound.arguments)

    return call


def array_names(face: Callable[..., Any]) -> list[str]:
    """Return which arguments of a public function are arrays that have derivatives, or are derivatives."""
    parameters = inspect.signature(face).parameters.values()
    others = "size", "control_points"
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in others]


def import_arrays(*optional: str, **arrays: Any) -> list[Any]:
    """Take arrays, given by argument name; those named in `optional` may be None."""
    for name, array in arrays.items():
        if array is None and name not in optional:
            raise no_array(name, array, "a JAX array")
        _sized(name, array)
    return list(arrays.values())


def _sized(name: str, array: Maybe) -> None:
    """Refuse an array of which `jax.export` leaves sizes open."""
    if array is not None and not all(isinstance(n, int) for n in array.shape):
        shape = ", ".join(map(str, array.shape))
        msg = (
            f"`{name}` has the shape ({shape}), where a size is a symbol; kernels are laid out for known sizes: export "
            "a program for each size that is needed"
        )
        raise ValueError(msg)


def not_written(name: str, given: Any) -> None:
    """Refuse an argument to write into."""
    if given is not None:
        msg = f"`{name}` cannot be written to, as JAX arrays never change; leave it out and use what is returned"
        raise TypeError(msg)


class Call(NamedTuple):
    """A validated sampling call: arrays with a batch axis."""

    image: Array
    source: Array
    form: Form
    face: Face

    def steady(self, deterministic: Any) -> "Call":
        """Return the call, with the same bits in every run if that is asked for."""
        return self._replace(form=self.form._replace(deterministic=validation.flag("deterministic", deterministic)))

    def unbatch(self, array: Array) -> Array:
        """Take the batch axis from an output, where the caller's has none."""
        return array if self.face.batched else array[0]

    def batch(self, array: Array) -> Array:
        """Give an output a batch axis."""
        return array if self.face.batched else array[None]

    def like_image(self, array: Maybe) -> Maybe:
        """Return a cotangent of the image in the shape and dtype in which the image was given."""
        return None if array is None else array.reshape(self.face.image_shape).astype(self.face.image_dtype)

    def like_source(self, array: Maybe) -> Maybe:
        """Return a cotangent of the source in the shape and dtype in which the source was given."""
        return None if array is None else array.reshape(self.face.source_shape).astype(self.face.source_dtype)


def prepare(image: Array, source: Array, kind: int, size: tuple[int, ...], options: Options, fill_value: Any) -> Call:
    """Check an image and a source of coordinates against each other, and bring them to one form."""
    face = form_of(image.shape, image.dtype, source.shape, source.dtype, kind, size, options)
    fill, finite = validation.fill(fill_value, face.channels, options.interp, image.dtype, source.dtype)
    return Call(
        image if image.ndim == len(size) + 2 else image[None],
        batched(source, face),
        Form(kind, size, options._replace(fill_finite=finite), fill.tobytes(), fill.dtype),
        face,
    )


def batched(source: Array, face: Face) -> Array:
    """Return a source, or its tangent, with a batch axis and in the dtype that kernels read."""
    source = source if source.ndim == face.axes else source[None]
    return source.astype(arithmetic(face.image_dtype, face.source_dtype)) if face.kind == AFFINE else widened(source)


def widened(coordinates: Array) -> Array:
    """Return coordinates as float32 if they come in half precision."""
    return coordinates.astype(np.float32) if coordinates.dtype.itemsize == 2 else coordinates


def forward(call: Call) -> Array:
    """Run a forward call."""
    return call.unbatch(operations.sample(call.image, call.source, call.form))


def gradient(call: Call) -> Array:
    """Return the derivatives of the interpolated image, one for each axis."""
    return call.unbatch(operations.gradient(call.image, call.source, call.form))


def vjp(call: Call, cotangent: Array, wrt: Wrt) -> tuple[Maybe, Maybe]:
    """Run a backward call: the cotangents of image and source that `wrt` names."""
    asked = validation.names("wrt", wrt, ("image", NAMES[call.form.kind]))
    fits_output("cotangent", cotangent, call.face)
    if asked[0]:
        validation.differentiable("image", call.face.image_dtype)
    image_bar, source_bar = pull(call, call.batch(cotangent), asked)
    return call.like_image(image_bar), call.like_source(source_bar)


def pull(call: Call, g: Array, asked: tuple[bool, bool]) -> tuple[Maybe, Maybe]:
    """Return the cotangents that are asked for; what is not, is not computed."""
    image, source, form, _ = call
    image_bar, source_bar = None, None
    if asked[1] and form.options.interp != NEAREST:
        *bars, source_bar = operations.vjp(g, image, source, form, image_too=asked[0])
        image_bar = bars[0] if bars else None
    elif asked[0]:
        image_bar = operations.splat(g, source, form, operations.image_of(image, form))
    if asked[1] and source_bar is None:
        source_bar = jnp.zeros_like(source)
    return image_bar, source_bar


def jvp(call: Call, image_dot: Maybe, source_dot: Maybe) -> tuple[Array, Array]:
    """Run a forward-mode call: the output and its tangent."""
    fits_inputs("d_", image_dot, source_dot, call.face)
    out = operations.sample(call.image, call.source, call.form)
    image_dot = None if image_dot is None else image_dot.reshape(call.image.shape)
    source_dot = None if source_dot is None or call.form.options.interp == NEAREST else batched(source_dot, call.face)
    if image_dot is None and source_dot is None:
        out_dot = jnp.zeros(out.shape, call.face.dot_dtype)
    else:
        out_dot = operations.tangent(call.image, call.source, source_dot, image_dot, call.form)
    return call.unbatch(out), call.unbatch(out_dot)


def double_vjp(call: Call, image_dot: Maybe, source_dot: Maybe, cotangent: Array) -> tuple[Array, Maybe, Array]:
    """Run the backward call of `vjp`: the cotangents of cotangent, image and source."""
    fits_inputs("dd_", image_dot, source_dot, call.face)
    fits_output("cotangent", cotangent, call.face)
    asked = image_dot is not None, source_dot is not None

    def first(g: Array, image: Array, source: Array) -> list[Array]:
        moved = call._replace(image=image, source=source)
        bars = zip(asked, pull(moved, call.batch(g), asked), (moved.like_image, moved.like_source), strict=True)
        return [like(bar) for wanted, bar, like in bars if wanted]

    _, back = jax.vjp(first, cotangent, call.image, call.source)
    out_bar_bar, image_bar, source_bar = back([dot for dot in (image_dot, source_dot) if dot is not None])
    image_bar = image_bar if is_float(call.face.image_dtype) else None
    return out_bar_bar, call.like_image(image_bar), call.like_source(source_bar)
