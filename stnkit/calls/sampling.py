"""What every sampler does before and after the work: check, bring to one form, and undo that for results.

The form is that of `backends`: views with a batch axis, coordinates in float32 or float64, and options as kernels
take them. Where the arrays lie says whose operations run; these are imported at the first call.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.backends import backend
from stnkit.calls.arguments import Array, Choices, Maybe
from stnkit.calls.control_points import key_of, viewed
from stnkit.calls.derivatives import DOUBLE_VJP, JVP, NAMES, SAMPLE, VJP, Derivative
from stnkit.dtypes import FLOAT32, FLOAT64, bar_dtype, dot_dtype, is_float
from stnkit.spec import FLOW, GRID, MAPS, THIN_PLATE_SPLINE, Options, Place

Given = Sequence[Any]  # the arrays of a call, in the order of its derivative


class Form(NamedTuple):
    """What follows from the shapes, dtypes and options of a call; worked out once and remembered."""

    kind: int
    size: tuple[int, ...]
    options: Options
    channels: int
    axes: int  # of the source, with its batch axis
    batched: bool  # whether the caller's result has a batch axis
    image_shape: tuple[int, ...]  # as they were given
    image_dtype: np.dtype[Any]
    source_shape: tuple[int, ...]
    source_dtype: np.dtype[Any]
    out_shape: tuple[int, ...]
    dot_dtype: np.dtype[Any]  # of tangents and cotangents of image and output


class Call(NamedTuple):
    """A validated sampling call: arrays with a batch axis."""

    image: np.ndarray
    source: np.ndarray
    fill: np.ndarray
    form: Form

    def run(self, operation: Callable[..., Any], *before: Any, then: tuple[Any, ...] = ()) -> Any:
        """Call an operation with the arguments that all of them share, between its own."""
        form = self.form
        return operation(*before, self.image, self.source, form.kind, form.size, form.options, self.fill, *then)

    def batch(self, array: np.ndarray) -> np.ndarray:
        """Give an array of the output's shape a batch axis."""
        return array if self.form.batched else array[None]

    def unbatch(self, array: np.ndarray) -> np.ndarray:
        """Take the batch axis from an array of the output's shape, where the caller's has none."""
        return array if self.form.batched else array[0]

    def like_image(self, array: Maybe) -> Maybe:
        """Return a cotangent of the image in the shape in which the image was given."""
        return None if array is None else array.reshape(self.form.image_shape)

    def like_source(self, array: Maybe) -> Maybe:
        """Return a cotangent of the source in the shape and dtype in which the source was given."""
        form = self.form
        return None if array is None else backend(array).converted(array.reshape(form.source_shape), form.source_dtype)


def run(
    derivative: Derivative[Any], kind: int, given: Given, choices: Choices, into: Maybe = None
) -> tuple[Maybe, ...]:
    """Do a call of a sampler or of a derivative of one on views; the result that `into` is for is written there."""
    cotangent = None if derivative.cotangent is None else given[derivative.cotangent]
    call = prepare(kind, given[derivative.image], given[derivative.image + 1], choices, cotangent)
    return _RUN[derivative](call, given, choices, into)


def prepare(kind: int, image: np.ndarray, source: np.ndarray, choices: Choices, cotangent: Maybe = None) -> Call:
    """Check the arrays of a call against each other and its options, and bring them to one form."""
    if kind == THIN_PLATE_SPLINE:
        choices = choices._replace(control_points=viewed(choices.control_points))
    form = sampling_form(kind, image, source, choices, cotangent)
    options = form.options
    if choices.control_points is not None:
        options = options._replace(control=key_of(choices.control_points, form.source_dtype, form.image_dtype))
    source = widened(source)
    wide = source.dtype if options.place is None else FLOAT64
    fill, finite = validation.fill(choices.fill_value, form.channels, options.interp, form.image_dtype, wide)
    if not finite:
        options = options._replace(fill_finite=False)
    return Call(
        image if image.ndim == len(form.size) + 2 else image[None],
        source if source.ndim == form.axes else source[None],
        fill,
        form if options is form.options else form._replace(options=options),
    )


def sampling_form(kind: int, image: Array, source: Array, choices: Choices, cotangent: Array = None) -> Form:
    """Return what follows from the options, shapes and NumPy's dtypes of the arrays of any framework, if they fit."""
    points = choices.control_points
    ndim = validation.source_axes(kind, source.shape, () if points is None else points.shape)
    units = choices.coords, choices.units
    options = validation.options(
        ndim, choices.mode, choices.padding_mode, choices.align_corners, choices.data_format, *units
    )
    if kind in (GRID, FLOW):
        size = source.shape[-1 - ndim : -1]
    elif cotangent is not None:
        _, size = validation.image_shape(cotangent.shape, ndim, options.channels_last, "cotangent")
    elif choices.size is None:
        _, size = validation.image_shape(image.shape, ndim, options.channels_last)
        if choices.place is not None:
            msg = "`size` must be given beside `place`: that of the output's tile"
            raise ValueError(msg)
    else:
        size = validation.size(choices.size, ndim)
    if choices.place is not None:
        _, tile = validation.image_shape(image.shape, ndim, options.channels_last)
        own = None if kind == GRID else size
        options = options._replace(place=validation.place(choices.place, ndim, own, tile, options))
    dtype = image.dtype if image.dtype.isnative else image.dtype.newbyteorder("=")
    return _form(image.shape, dtype, source.shape, source.dtype, kind, size, options)


@functools.lru_cache(maxsize=4096)
def _form(
    image: tuple[int, ...],
    image_dtype: np.dtype[Any],
    source: tuple[int, ...],
    source_dtype: np.dtype[Any],
    kind: int,
    size: tuple[int, ...],
    options: Options,
) -> Form:
    """Check shapes and dtypes of an image and a source of coordinates against each other; return what follows."""
    name, ndim = NAMES[kind], len(size)
    validation.image_dtype("image", image_dtype, options.interp)
    validation.coordinate_dtype(name, source_dtype)
    channels, spatial = validation.image_shape(image, ndim, options.channels_last)
    axes = 3 if kind in MAPS else ndim + 2
    batch = validation.batch(image, source, ndim, name, axes)
    whole = options.place.image_size if options.place is not None and all(spatial) else spatial
    validation.not_empty(image, options.without_margin(whole), size)
    batched = len(image) == ndim + 2 or len(source) == axes
    out_shape = (*size, channels) if options.channels_last else (channels, *size)
    validation.not_too_large((batch, *out_shape))
    return Form(
        kind=kind,
        size=size,
        options=options,
        channels=channels,
        axes=axes,
        batched=batched,
        image_shape=image,
        image_dtype=image_dtype,
        source_shape=source,
        source_dtype=source_dtype,
        out_shape=(batch, *out_shape) if batched else out_shape,
        dot_dtype=dot_dtype(image_dtype, source_dtype),
    )


def widened(coordinates: np.ndarray, place: Place | None = None) -> np.ndarray:
    """Return coordinates as float32 if they come in half precision; in float64 if they are those of tiles."""
    dtype = coordinates.dtype
    if place is not None and is_float(dtype):
        dtype = FLOAT64
    elif dtype.itemsize == 2:
        dtype = FLOAT32
    wide: np.ndarray = coordinates if dtype is coordinates.dtype else backend(coordinates).converted(coordinates, dtype)
    return wide


def for_tiles(coordinates: np.ndarray, place: Place | None) -> np.ndarray:
    """Return coordinates in float64 if they are those of tiles, else as they are."""
    return coordinates if place is None else widened(coordinates, place)


def sources_for_tiles(derivative: Derivative[Any], given: Given, place: Place | None) -> list[Any]:
    """Return the arrays of a call; a source of coordinates, and tangents of it, as `for_tiles` does."""
    return [
        for_tiles(one, place) if role in ("source", "dot") and one is not None else one
        for role, one in zip(derivative.takes, given, strict=True)
    ]


def sample(call: Call, given: Given, choices: Choices, out: Maybe) -> tuple[Maybe, ...]:
    """Interpolate, into `out` if there is one."""
    operation = backend(call.image).sample
    if out is None:
        return (call.unbatch(call.run(operation)),)
    fits_out(out, call.form, call.image, call.source)
    call.run(operation, then=(call.batch(out),))
    return (out,)


def vjp(call: Call, given: Given, choices: Choices, into: Maybe) -> tuple[Maybe, ...]:
    """Return the cotangents of image and source that `wrt` names; that of the image is added to `into`, if given."""
    asked, cotangent = validation.names("wrt", choices.wrt, ("image", NAMES[call.form.kind])), given[0]
    fits_output(cotangent, call.form)
    if asked[0]:
        validation.differentiable("image", call.form.image_dtype)
    if into is not None:
        fits_sums(into, call.form, asked[0], cotangent, call.image, call.source)
    sums = None if into is None else into.reshape(call.image.shape)
    then = asked, sums, validation.flag("deterministic", choices.deterministic)
    image_bar, source_bar = call.run(backend(call.image).sample_vjp, call.batch(cotangent), then=then)
    return into if into is not None else call.like_image(image_bar), call.like_source(source_bar)


def jvp(call: Call, given: Given, choices: Choices, _: Maybe) -> tuple[Maybe, ...]:
    """Return the output and its tangent."""
    out, out_dot = call.run(backend(call.image).sample_jvp, *_tangents(call, JVP, given[2], given[3]))
    return call.unbatch(out), call.unbatch(out_dot)


def double_vjp(call: Call, given: Given, choices: Choices, _: Maybe) -> tuple[Maybe, ...]:
    """Return the cotangents of the arguments of `vjp`: cotangent, image and source."""
    image_dot, source_dot, cotangent = given[:3]
    dots = _tangents(call, DOUBLE_VJP, image_dot, source_dot)
    fits_output(cotangent, call.form)
    then = (validation.flag("deterministic", choices.deterministic),)
    bars = call.run(backend(call.image).sample_double_vjp, *dots, call.batch(cotangent), then=then)
    out_bar_bar, image_bar, source_bar = bars
    image_bar = image_bar if is_float(call.form.image_dtype) else None
    return call.unbatch(out_bar_bar), call.like_image(image_bar), call.like_source(source_bar)


_RUN = {SAMPLE: sample, VJP: vjp, JVP: jvp, DOUBLE_VJP: double_vjp}


def _tangents(call: Call, derivative: Derivative[Any], image_dot: Maybe, source_dot: Maybe) -> tuple[Maybe, Maybe]:
    fits_tangents(derivative, image_dot, source_dot, call.form)
    if image_dot is not None:
        image_dot = image_dot[None] if image_dot.ndim < call.image.ndim else image_dot
    if source_dot is not None:
        source_dot = widened(source_dot)
        source_dot = source_dot[None] if source_dot.ndim < call.source.ndim else source_dot
    return image_dot, source_dot


def fits_tangents(derivative: Derivative[Any], image_dot: Array, source_dot: Array, form: Form) -> None:
    """Refuse tangents that are not of the shape and dtype of what they belong to."""
    if image_dot is not None:
        validation.differentiable(f"{derivative.prefix}image", form.image_dtype)
        _alike(derivative, "image", image_dot, form.image_shape, form.image_dtype)
    if source_dot is not None:
        _alike(derivative, NAMES[form.kind], source_dot, form.source_shape, form.source_dtype)


def _alike(derivative: Derivative[Any], name: str, dot: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    validation.same_shape(f"{derivative.prefix}{name}", dot.shape, f"`{name}`", shape)
    validation.same_dtype(f"{derivative.prefix}{name}", dot.dtype, f"`{name}`", dtype)


def fits_output(cotangent: Array, form: Form) -> None:
    """Refuse a cotangent that is not of the shape of the output and of the dtype of derivatives."""
    validation.same_shape("cotangent", cotangent.shape, "the output", form.out_shape)
    validation.same_dtype("cotangent", cotangent.dtype, "the derivatives", form.dot_dtype)


def fits_out(out: np.ndarray, form: Form, image: np.ndarray, source: np.ndarray) -> None:
    """Refuse an array to write a result into that is not of its shape and dtype, or cannot be written to."""
    validation.same_shape("out", out.shape, "the output", form.out_shape)
    validation.same_dtype("out", out.dtype, "the output", form.image_dtype)
    validation.writable("out", out, image=image, **{NAMES[form.kind]: source})


def fits_sums(
    into: np.ndarray, form: Form, asked: bool, cotangent: np.ndarray, image: np.ndarray, source: np.ndarray
) -> None:
    """Refuse an array to add the image's cotangent to that does not fit, or if that is not asked for."""
    if not asked:
        msg = "`accumulate_into` is for the cotangent of the image, which `wrt` does not name"
        raise ValueError(msg)
    validation.same_shape("accumulate_into", into.shape, "`image`", form.image_shape)
    validation.same_dtype("accumulate_into", into.dtype, "the sum", bar_dtype(form.image_dtype, form.source_dtype))
    validation.writable("accumulate_into", into, cotangent=cotangent, image=image, **{NAMES[form.kind]: source})
