"""What the functions of grids do with views: write coordinates out, and differentiate that."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from stnkit import validation
from stnkit.backends import backend
from stnkit.calls.arguments import Array, Choices, Maybe
from stnkit.calls.control_points import key_of, viewed
from stnkit.calls.derivatives import NAMES
from stnkit.calls.sampling import for_tiles, widened
from stnkit.dtypes import FLOAT64
from stnkit.spec import AFFINE, FLOW, PROJECTIVE, THIN_PLATE_SPLINE, Place


class GridForm(NamedTuple):
    """What follows from the source of a grid, and from options."""

    kind: int
    size: tuple[int, ...]
    align: bool
    pixel: bool = False
    axes: int = 3  # of the source, with its batch axis
    control: bytes = b""
    place: Place | None = None


def grid_form(kind: int, source: Array, choices: Choices, cotangent: Array = None) -> GridForm:
    """Return the form of a grid; its size is that of the cotangent, if there is one. Refuse what does not fit."""
    validation.coordinate_dtype(NAMES[kind], source.dtype)
    points = viewed(choices.control_points) if kind == THIN_PLATE_SPLINE else None
    ndim = validation.source_axes(kind, source.shape, () if points is None else points.shape)
    pixel = kind == FLOW and validation.units(choices.units)
    align = validation.flag("align_corners", choices.align_corners)
    if cotangent is not None:
        size = cotangent.shape[-1 - ndim : -1]
    else:
        size = source.shape[-1 - ndim : -1] if kind == FLOW else validation.size(choices.size, ndim)
    validation.not_too_large((*size, ndim))
    axes = ndim + 2 if kind == FLOW else 3
    place = None if choices.place is None else validation.place(choices.place, ndim, size, None)
    dtype = source.dtype if place is None else FLOAT64
    return GridForm(kind, size, align, pixel, axes, b"" if points is None else key_of(points, dtype), place)


def fits_source(kind: int, source: Array, source_dot: Array) -> None:
    """Refuse a tangent of a source that is not of its shape and dtype."""
    name = NAMES[kind]
    validation.coordinate_dtype(name, source.dtype)
    validation.same_shape(f"d_{name}", source_dot.shape, f"`{name}`", source.shape)
    validation.same_dtype(f"d_{name}", source_dot.dtype, f"`{name}`", source.dtype)


def pitches(size: tuple[int, ...], align: bool) -> np.ndarray:
    """Return what a pixel of a lattice is in normalised coordinates, in the order x, y, z."""
    steps = np.array(size[::-1]) - (1 if align else 0)
    pitch: np.ndarray = np.divide(2.0, steps, out=np.zeros(len(size)), where=steps > 0)
    return pitch


def slopes(array: Array, name: str, choices: Choices) -> Maybe:
    """Return d grid / d flow for an array of a flow's shape: what its pixels are in normalised coordinates, or None."""
    validation.coordinate_dtype(name, array.dtype)
    ndim = validation.grid_axes(array.shape, name)
    align = validation.flag("align_corners", choices.align_corners)
    size = array.shape[-1 - ndim : -1]
    if choices.place is not None:
        size = validation.place(choices.place, ndim, size, None).out_size
    return pitches(size, align) if validation.units(choices.units) else None


def of_indices(theta: Array, size: Sequence[int], join: Callable[[list[Array], int], Array]) -> Array:
    """Return maps of the normalised coordinates of an aligned lattice, for maps of its indices, in any framework.

    An index is i = (x + 1) (n - 1) / 2. It is linear in theta: `to_indices` is the transpose.
    """
    columns = [theta[..., j : j + 1] * half for j, half in enumerate(_halves(size))]
    return join([*columns, sum(columns, theta[..., len(size) :])], -1)


def to_indices(bar: Array, size: Sequence[int], join: Callable[[list[Array], int], Array]) -> Array:
    """Return the cotangent of maps of indices, for that of maps of normalised coordinates."""
    d = len(size)
    return join(
        [(bar[..., j : j + 1] + bar[..., d:]) * half for j, half in enumerate(_halves(size))] + [bar[..., d:]], -1
    )


def _halves(size: Sequence[int]) -> list[float]:
    return [(n - 1) / 2 for n in reversed(size)]


def grid(kind: int, choices: Choices, source: np.ndarray) -> np.ndarray:
    """Write out the coordinates of a source."""
    return written(source, grid_form(kind, source, choices))


def written(source: np.ndarray, form: GridForm) -> np.ndarray:
    """Write out the coordinates of a source of a form."""
    wide, batched = widened(source, form.place), source.ndim == form.axes
    whole, here = wide if batched else wide[None], backend(wide)
    if form.kind in (AFFINE, FLOW):
        out: np.ndarray = here.grid(whole, *form[:4], place=form.place)
    else:
        out = here.map_grid(whole, *form[:3], form.control, form.place)
    return out if batched else out[0]


def grid_vjp(kind: int, choices: Choices, cotangent: np.ndarray, theta: Maybe = None) -> np.ndarray:
    """Pull a cotangent of a grid back to its source, of which maps that are not affine need the numbers."""
    validation.flag("deterministic", choices.deterministic)
    bar: np.ndarray
    if kind == FLOW:
        pitch = slopes(cotangent, "cotangent", choices)
        bar = backend(cotangent).scaled(for_tiles(cotangent, choices.place), pitch)
        return bar
    if theta is None:
        validation.coordinate_dtype("cotangent", cotangent.dtype)
        ndim = validation.grid_axes(cotangent.shape, "cotangent")
        align, place = validation.flag("align_corners", choices.align_corners), choices.place
        if place is not None:
            place = validation.place(place, ndim, cotangent.shape[-1 - ndim : -1], None)
        wide, here, batched = widened(cotangent, place), backend(cotangent), cotangent.ndim == ndim + 2
        bar = here.grid_vjp(wide if batched else wide[None], align, place)
        bar = bar if place is not None else here.converted(bar, cotangent.dtype)
        return bar if batched else bar[0]
    form, wide, here = grid_form(kind, theta, choices, cotangent), widened(theta, choices.place), backend(theta)
    validation.same_shape("cotangent", cotangent.shape, "the grid", (*theta.shape[:-2], *form.size, len(form.size)))
    validation.same_dtype("cotangent", cotangent.dtype, "the grid", wide.dtype)
    whole = (cotangent, wide) if theta.ndim == form.axes else (cotangent[None], wide[None])
    bar = here.map_grid_vjp(*whole, kind, form.align, form.control, form.place).reshape(theta.shape)
    return bar if form.place is not None else here.converted(bar, theta.dtype)


def grid_jvp(kind: int, choices: Choices, source: np.ndarray, source_dot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Push a tangent of a source forward to its grid: linear in it, but for projective maps."""
    fits_source(kind, source, source_dot)
    form = grid_form(kind, source, choices)
    wide, dot = widened(source, form.place), widened(source_dot, form.place)
    if kind == FLOW:
        dot = backend(dot).scaled(dot, slopes(dot, "d_flow", choices))
    elif kind != PROJECTIVE:
        dot = written(dot, form)
    elif source.ndim == form.axes:
        dot = backend(wide).projective_grid_jvp(wide, dot, form.size, form.align, form.place)
    else:
        dot = backend(wide).projective_grid_jvp(wide[None], dot[None], form.size, form.align, form.place)[0]
    return written(wide, form), dot
