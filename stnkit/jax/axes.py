"""Which axes of an operation's operands and results go together: the table by which it is split over devices.

An axis of an array has a name if the operation can be done for each part of it alone, and none if it needs the whole.
Axes of one name have one length, and are split alike. What a result lacks, as the cotangent of a shared image lacks the
batch, is summed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit.jax.primitives import Form, Splat
from stnkit.spec import GRID

Array = Any  # what has a shape
Name = str | None
Names = tuple[Name, ...]


class Axes(NamedTuple):
    """The names of the axes of each operand and of each result."""

    operands: tuple[Names, ...]
    results: tuple[Names, ...]


def sample(image: Array, source: Array, *, form: Form, **_: Any) -> Axes:
    """Name the axes of `primitives.sample_p`."""
    return Axes(_inputs(image, source, form), (_output(form),))


def splat(g: Array, source: Array, *, form: Form, image: Splat, **_: Any) -> Axes:
    """Name the axes of `primitives.splat_p`."""
    batch = g.shape[0]
    return Axes((_output(form), _source(source, batch, form)), (_plane(form, _batch(image.batch, batch)),))


def tangent(image: Array, source: Array, *dots: Array, form: Form) -> Axes:
    """Name the axes of `primitives.tangent_p`: those of a tangent are those of what it belongs to."""
    inputs = _inputs(image, source, form)
    return Axes((*inputs, *inputs[::-1][: len(dots)]), (_output(form),))


def vjp(_: Array, image: Array, source: Array, *, form: Form, image_too: bool) -> Axes:
    """Name the axes of `primitives.vjp_p`: those of a cotangent are those of what it belongs to."""
    inputs = _inputs(image, source, form)
    return Axes((_output(form), *inputs), inputs if image_too else inputs[1:])


def lattice(source: Array, *, size: Sequence[int], **_: Any) -> Axes:
    """Name the axes of `primitives.lattice_p`."""
    return Axes((_first(len(source.shape)),), (_first(len(size) + 2),))


def lattice_vjp(grid_bar: Array, **_: Any) -> Axes:
    """Name the axes of `primitives.lattice_vjp_p`."""
    return Axes((_first(len(grid_bar.shape)),), (_first(3),))


def _inputs(image: Array, source: Array, form: Form) -> tuple[Names, Names]:
    batch = image.shape[0] if source.shape[0] == 1 else source.shape[0]
    return _plane(form, _batch(image.shape[0], batch)), _source(source, batch, form)


def _output(form: Form) -> Names:
    return _plane(form, "batch", _places(form))


def _source(source: Array, batch: int, form: Form) -> Names:
    between = _places(form) if form.kind == GRID else (None,) * (len(source.shape) - 2)
    return (_batch(source.shape[0], batch), *between, None)


def _plane(form: Form, batch: Name, spatial: Names = ()) -> Names:
    """Name the axes of an image or an output; channels can be told apart where each has a fill value of its own."""
    fill = np.frombuffer(form.fill, np.uint8).reshape(-1, form.fill_dtype.itemsize)
    channel = "channel" if (fill == fill[:1]).all() else None
    spatial = spatial or (None,) * len(form.size)
    return (batch, *spatial, channel) if form.options.channels_last else (batch, channel, *spatial)


def _places(form: Form) -> Names:
    """Name the axes of locations: a grid has each, but a map or a flow adds to where in the output it is."""
    return tuple(f"place{axis}" if form.kind == GRID else None for axis in range(len(form.size)))


def _batch(own: int, batch: int) -> Name:
    return "batch" if own == batch else None


def _first(ndim: int) -> Names:
    return ("batch", *(None,) * (ndim - 1))
