"""What the functions of splats do with views: the adjoint of sampling as an operation of its own."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.backends import backend
from stnkit.calls.arguments import Array, Choices, Maybe
from stnkit.calls.sampling import for_tiles, prepare, vjp, widened
from stnkit.spec import GRID, LABEL, Options


class SplatForm(NamedTuple):
    """What follows from the shapes, dtypes and options of a splat."""

    options: Options
    spatial: tuple[int, ...]  # of the image
    shape: tuple[int, ...]  # of the image, with its batch axis
    batched: bool  # whether the caller's image has one

    def whole(self, values: Array, grid: Array, namespace: Any = np) -> tuple[Array, Array]:
        """Give values and a grid their batch axes: values have as many items as the image."""
        axes = len(self.spatial) + 2
        grid = grid if grid.ndim == axes else grid[None]
        spatial = self.spatial if self.options.place is None else self.options.place.image_size
        validation.not_empty(self.spatial, self.options.without_margin(spatial), grid.shape[1:-1], "size")
        values = values if values.ndim == axes else values[None]
        return namespace.broadcast_to(values, (self.shape[0], *values.shape[1:])), grid

    def unbatch(self, image: Array) -> Array:
        """Take the batch axis from an image, where the caller's has none."""
        return image if self.batched else image[0]


def splat_form(values: Array, grid: Array, choices: Choices, cotangent: Array = None) -> SplatForm:
    """Return the form of a splat, of arrays of any framework. Refuse what does not fit."""
    ndim = validation.grid_axes(grid.shape)
    own = choices.align_corners, choices.data_format, choices.coords
    options = validation.options(ndim, choices.mode, choices.padding_mode, *own)
    if options.interp == LABEL:
        msg = "`mode` 'label' chooses one of the values that a location reads, and has no adjoint; pass another mode"
        raise ValueError(msg)
    if cotangent is None:
        spatial = validation.size(choices.size, ndim)
    else:
        _, spatial = validation.image_shape(cotangent.shape, ndim, options.channels_last, "cotangent")
    if choices.place is not None:
        options = options._replace(place=validation.place(choices.place, ndim, None, spatial, options))
    validation.addable("values", values.dtype)
    validation.coordinate_dtype("grid", grid.dtype)
    channels, points = validation.image_shape(values.shape, ndim, options.channels_last, "values")
    validation.same_shape("values", points, "the grid's locations", grid.shape[-1 - ndim : -1])
    batch = validation.batch(values.shape, grid.shape, ndim, "grid", ndim + 2, "values")
    shape = (batch, *spatial, channels) if options.channels_last else (batch, channels, *spatial)
    validation.not_too_large(shape)
    batched = ndim + 2 in (values.ndim, grid.ndim)
    if cotangent is not None:
        validation.same_shape("cotangent", cotangent.shape, "the splat", shape if batched else shape[1:])
        validation.same_dtype("cotangent", cotangent.dtype, "`values`", values.dtype)
    return SplatForm(options, spatial, shape, batched)


def splat(choices: Choices, values: np.ndarray, grid: np.ndarray) -> Array:
    """Add values to an empty image."""
    steady = validation.flag("deterministic", choices.deterministic)
    form = splat_form(values, grid, choices)
    whole, wide = form.whole(values, widened(grid, choices.place))
    return form.unbatch(backend(whole).splat(whole, wide, form.shape, form.options, steady))


def splat_vjp(choices: Choices, cotangent: np.ndarray, values: np.ndarray, grid: np.ndarray) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of a splat back to values and grid."""
    validation.flag("deterministic", choices.deterministic)
    asked = validation.names("wrt", choices.wrt, ("values", "grid"))
    form, grid = splat_form(values, grid, choices, cotangent), for_tiles(grid, choices.place)
    call = prepare(GRID, cotangent, grid, choices)
    values_bar, grid_bar = None, None
    if asked[0]:
        here = backend(call.image)
        if form.batched and (values.ndim < call.image.ndim or len(values) == 1):  # all items of the grid share values
            values_bar = call.run(here.sample_total, then=(form.shape[0],))
        else:
            values_bar = call.run(here.sample)
        values_bar = here.converted(values_bar.reshape(values.shape), values.dtype)
    if asked[1]:
        spread = np.broadcast_to(values, call.form.out_shape)
        _, grid_bar = vjp(call, (spread,), choices._replace(wrt="grid"), None)
    return values_bar, grid_bar


def count(choices: Choices, grid: np.ndarray) -> Array:
    """Count how often a grid reads each pixel."""
    ndim = validation.grid_axes(grid.shape)
    validation.coordinate_dtype("grid", grid.dtype)
    wide = widened(grid, choices.place)
    ones = backend(wide).ones(wide, (*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1]))
    return np.squeeze(splat(choices, ones, wide), axis=-1 - ndim)


def gradient(choices: Choices, image: np.ndarray, grid: np.ndarray) -> Array:
    """Differentiate the interpolated image along each axis."""
    call = prepare(GRID, image, for_tiles(grid, choices.place), choices)
    return call.unbatch(call.run(backend(call.image).sample_gradient))


def splat_double_jvp(
    values: np.ndarray, grid: np.ndarray, d_grid: np.ndarray, dd_grid: np.ndarray, size: Sequence[int], **options: Any
) -> Array:
    """Return the second derivative of `grid_splat` along two tangents of its grid, for adapters."""
    choices = Choices(size=size, **options)
    form = splat_form(values, grid, choices)
    for name, dot in (("d_grid", d_grid), ("dd_grid", dd_grid)):
        validation.same_shape(name, dot.shape, "`grid`", grid.shape)
        validation.same_dtype(name, dot.dtype, "`grid`", grid.dtype)
    whole, wide = form.whole(values, widened(grid))
    dots = [widened(dot).reshape(wide.shape) for dot in (d_grid, dd_grid)]
    own = form.shape, form.options, choices.deterministic
    return form.unbatch(backend(whole).splat_double_jvp(whole, wide, *dots, *own))
