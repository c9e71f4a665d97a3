"""Which axes of an operation's operands and results go together: the table by which it is split over devices.

An axis of an array has a name if the operation can be done for each part of it alone, and none if it needs the whole.
Axes of one name have one length, and are split alike. What a result lacks, as the cotangent of a shared image lacks the
batch, is summed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit.jax.primitives import Settings, Splat
from stnkit.spec import GRID

Array = Any  # what has a shape
Name = str | None
Names = tuple[Name, ...]


class Axes(NamedTuple):
    """The names of the axes of each operand and of each result."""

    operands: tuple[Names, ...]
    results: tuple[Names, ...]


def sample(image: Array, source: Array, *, sampler: Settings, **_: Any) -> Axes:
    """Name the axes of `primitives.sample_p`."""
    return Axes(_inputs(image, source, sampler), (_output(sampler),))


def splat(g: Array, source: Array, *, sampler: Settings, image: Splat, **_: Any) -> Axes:
    """Name the axes of `primitives.splat_p`."""
    batch = g.shape[0]
    return Axes((_output(sampler), _source(source, batch, sampler)), (_plane(sampler, _batch(image.batch, batch)),))


def tangent(image: Array, source: Array, *dots: Array, sampler: Settings) -> Axes:
    """Name the axes of `primitives.tangent_p`: those of a tangent are those of what it belongs to."""
    inputs = _inputs(image, source, sampler)
    return Axes((*inputs, *inputs[::-1][: len(dots)]), (_output(sampler),))


def vjp(_: Array, image: Array, source: Array, *, sampler: Settings, image_too: bool) -> Axes:
    """Name the axes of `primitives.vjp_p`: those of a cotangent are those of what it belongs to."""
    inputs = _inputs(image, source, sampler)
    return Axes((_output(sampler), *inputs), inputs if image_too else inputs[1:])


def grid(source: Array, *, size: Sequence[int], **_: Any) -> Axes:
    """Name the axes of `primitives.grid_p`."""
    return Axes((_first(len(source.shape)),), (_first(len(size) + 2),))


def grid_vjp(grid_bar: Array, **_: Any) -> Axes:
    """Name the axes of `primitives.grid_vjp_p`."""
    return Axes((_first(len(grid_bar.shape)),), (_first(3),))


def _inputs(image: Array, source: Array, sampler: Settings) -> tuple[Names, Names]:
    batch = image.shape[0] if source.shape[0] == 1 else source.shape[0]
    return _plane(sampler, _batch(image.shape[0], batch)), _source(source, batch, sampler)


def _output(sampler: Settings) -> Names:
    return _plane(sampler, "batch", _located(sampler))


def _source(source: Array, batch: int, sampler: Settings) -> Names:
    between = _located(sampler) if sampler.kind == GRID else (None,) * (len(source.shape) - 2)
    rest = (None, *between) if sampler.ij else (*between, None)
    return (_batch(source.shape[0], batch), *rest)


def _plane(sampler: Settings, batch: Name, spatial: Names = ()) -> Names:
    """Name the axes of an image or an output; channels can be told apart where each has a fill value of its own."""
    fill = np.frombuffer(sampler.fill, np.uint8).reshape(-1, sampler.fill_dtype.itemsize)
    channel = "channel" if (fill == fill[:1]).all() else None
    spatial = spatial or (None,) * len(sampler.size)
    return (batch, *spatial, channel) if sampler.options.channels_last else (batch, channel, *spatial)


def _located(sampler: Settings) -> Names:
    """Name the axes of locations: a grid has each, but a map or a flow adds to where in the output it is."""
    return tuple(f"location{axis}" if sampler.kind == GRID else None for axis in range(len(sampler.size)))


def _batch(own: int, batch: int) -> Name:
    return "batch" if own == batch else None


def _first(ndim: int) -> Names:
    return ("batch", *(None,) * (ndim - 1))
