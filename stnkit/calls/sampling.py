"""What every public function does before and after the work: check, bring to one form, and hand back.

The form is that of `backends`: views with a batch axis, coordinates in float32 or float64, and options as the kernels'
words. Where the arrays lie says whose operations run. They are imported at the first call, and Numba with them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.backends import backend
from stnkit.backends.interop import Export
from stnkit.dtypes import FLOAT32, bar_dtype, dot_dtype, is_float
from stnkit.spec import FLOW, GRID, MAPS, Options

Array = Any  # an array of any framework that `stnkit.backends.interop` can view
FillValue = float | Sequence[float] | np.ndarray
PaddingMode = str | Sequence[str]
Wrt = str | Sequence[str]
Units = Literal["normalized", "pixel"]
DataFormat = Literal["channels_first", "channels_last"]
Maybe = np.ndarray | None

NAMES = {GRID: "grid", FLOW: "flow"} | dict.fromkeys(MAPS, "theta")


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


def prepare(
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: tuple[int, ...],
    options: Options,
    fill_value: FillValue,
) -> Call:
    """Check an image and a source of coordinates against each other, and bring them to one form."""
    dtype = image.dtype if image.dtype.isnative else image.dtype.newbyteorder("=")
    form = form_of(image.shape, dtype, source.shape, source.dtype, kind, size, options)
    source = widened(source)
    fill, finite = validation.fill(fill_value, form.channels, options.interp, dtype, source.dtype)
    return Call(
        image if image.ndim == len(size) + 2 else image[None],
        source if source.ndim == form.axes else source[None],
        fill,
        form if finite else form._replace(options=options._replace(fill_finite=False)),
    )


@functools.lru_cache(maxsize=4096)
def form_of(
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
    validation.not_empty(image, spatial, size)
    batched = len(image) == ndim + 2 or len(source) == axes
    out_shape = (*size, channels) if options.channels_last else (channels, *size)
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


def widened(coordinates: np.ndarray) -> np.ndarray:
    """Return coordinates as float32 if they come in half precision."""
    return backend(coordinates).converted(coordinates, FLOAT32) if coordinates.dtype.itemsize == 2 else coordinates


def forward(call: Call, out: Maybe) -> np.ndarray:
    """Run a forward call, into `out` if there is one."""
    sample = backend(call.image).sample
    if out is None:
        return call.unbatch(call.run(sample))
    fits_out(out, call.form, call.image, call.source)
    call.run(sample, then=(call.batch(out),))
    return out


def vjp(call: Call, cotangent: np.ndarray, wrt: Wrt, into: Maybe, deterministic: bool = False) -> tuple[Maybe, Maybe]:
    """Run a backward call: the cotangents of image and source that `wrt` names."""
    asked = validation.names("wrt", wrt, ("image", NAMES[call.form.kind]))
    fits_output("cotangent", cotangent, call.form)
    if asked[0]:
        validation.differentiable("image", call.form.image_dtype)
    if into is not None:
        fits_sums(into, call.form, asked[0], cotangent, call.image, call.source)
    sums = None if into is None else into.reshape(call.image.shape)
    operation = backend(call.image).sample_vjp
    image_bar, source_bar = call.run(operation, call.batch(cotangent), then=(asked, sums, deterministic))
    return into if into is not None else call.like_image(image_bar), call.like_source(source_bar)


def jvp(call: Call, image_dot: Maybe, source_dot: Maybe) -> tuple[np.ndarray, np.ndarray]:
    """Run a forward-mode call: the output and its tangent."""
    dots = _tangents(call, image_dot, source_dot, "d_")
    out, out_dot = call.run(backend(call.image).sample_jvp, *dots)
    return call.unbatch(out), call.unbatch(out_dot)


def double_vjp(
    call: Call, image_dot: Maybe, source_dot: Maybe, cotangent: np.ndarray, deterministic: bool = False
) -> tuple[np.ndarray, Maybe, Maybe]:
    """Run the backward call of `vjp`: the cotangents of cotangent, image and source."""
    dots = _tangents(call, image_dot, source_dot, "dd_")
    fits_output("cotangent", cotangent, call.form)
    operation = backend(call.image).sample_double_vjp
    bars = call.run(operation, *dots, call.batch(cotangent), then=(deterministic,))
    out_bar_bar, image_bar, source_bar = bars
    image_bar = image_bar if is_float(call.form.image_dtype) else None
    return call.unbatch(out_bar_bar), call.like_image(image_bar), call.like_source(source_bar)


def _tangents(call: Call, image_dot: Maybe, source_dot: Maybe, prefix: str) -> tuple[Maybe, Maybe]:
    fits_inputs(prefix, image_dot, source_dot, call.form)
    if image_dot is not None:
        image_dot = image_dot[None] if image_dot.ndim < call.image.ndim else image_dot
    if source_dot is not None:
        source_dot = widened(source_dot)
        source_dot = source_dot[None] if source_dot.ndim < call.source.ndim else source_dot
    return image_dot, source_dot


def fits_inputs(prefix: str, image_dot: Array | None, source_dot: Array | None, form: Form) -> None:
    """Refuse tangents that are not of the shape and dtype of what they belong to; their names begin with `prefix`."""
    if image_dot is not None:
        name = f"{prefix}image"
        validation.differentiable(name, form.image_dtype)
        validation.same_shape(name, image_dot.shape, "`image`", form.image_shape)
        validation.same_dtype(name, image_dot.dtype, "`image`", form.image_dtype)
    if source_dot is not None:
        source = NAMES[form.kind]
        validation.same_shape(f"{prefix}{source}", source_dot.shape, f"`{source}`", form.source_shape)
        validation.same_dtype(f"{prefix}{source}", source_dot.dtype, f"`{source}`", form.source_dtype)


def fits_output(name: str, array: Array, form: Form) -> None:
    """Refuse a cotangent that is not of the shape of the output and of the dtype of derivatives."""
    validation.same_shape(name, array.shape, "the output", form.out_shape)
    validation.same_dtype(name, array.dtype, "the derivatives", form.dot_dtype)


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


def export_all(results: Sequence[Maybe], export: Export) -> tuple[Array, ...]:
    """Hand several results back to the caller's framework; None stays None."""
    return tuple(None if result is None else export(result) for result in results)


def grids(
    source: np.ndarray, kind: int, axes: int, size: tuple[int, ...], align: bool, pixel: bool = False
) -> np.ndarray:
    """Write out the coordinates of a source of `axes` axes with its batch axis, as a grid."""
    wide = widened(source)
    out: np.ndarray = backend(wide).grid(wide if wide.ndim == axes else wide[None], kind, size, align, pixel)
    return out if source.ndim == axes else out[0]


def map_grids(theta: np.ndarray, kind: int, size: tuple[int, ...], align: bool, control: bytes = b"") -> np.ndarray:
    """Write out the coordinates of maps as a grid."""
    wide = widened(theta)
    out: np.ndarray = backend(wide).map_grid(wide if wide.ndim == 3 else wide[None], kind, size, align, control)
    return out if theta.ndim == 3 else out[0]


def map_bars(
    cotangent: np.ndarray, theta: np.ndarray, ndim: int, kind: int, align: bool, control: bytes = b""
) -> np.ndarray:
    """Return the cotangent of maps from that of their grids, in the shape and dtype of theta."""
    size = cotangent.shape[-1 - ndim : -1]
    validation.same_shape("cotangent", cotangent.shape, "the grid", (*theta.shape[:-2], *size, ndim))
    validation.same_dtype("cotangent", cotangent.dtype, "the grid", widened(theta).dtype)
    wide = widened(theta)
    wide, cotangent = (wide, cotangent) if wide.ndim == 3 else (wide[None], cotangent[None])
    theta_bar = backend(wide).map_grid_vjp(cotangent, wide, kind, align, control)
    result: np.ndarray = backend(wide).converted(theta_bar.reshape(theta.shape), theta.dtype)
    return result


def theta_bars(cotangent: np.ndarray, ndim: int, align: bool) -> np.ndarray:
    """Return the cotangent of affine maps from that of their grids."""
    wide = widened(cotangent)
    here = backend(wide)
    theta_bar: np.ndarray = here.grid_vjp(wide if wide.ndim == ndim + 2 else wide[None], align)
    theta_bar = here.converted(theta_bar, cotangent.dtype)
    return theta_bar if cotangent.ndim == ndim + 2 else theta_bar[0]
