"""The rules of batching: a new axis is folded into the batch axis, and no loop runs.

An array that is the same for all items of the new axis, and has a batch of one, stays one where it may. Where neither
image nor source is mapped over, `tangent` and `vjp` go by their definition, which reads each slope once for all items.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from stnkit.jax.operations import Array, sample, splat, tangent, vjp
from stnkit.jax.primitives import Settings, Splat
from stnkit.jax.rules import tangent_by_definition, vjp_by_definition
from stnkit.plans.layout import Shape


def _together(*sizes: int) -> int:
    """Return the batch size that arrays share; 1 is shared by all."""
    return next((n for n in sizes if n != 1), 1)


def _length(arrays: Sequence[Array], dims: Sequence[int | None]) -> int:
    length: int = next(array.shape[dim] for array, dim in zip(arrays, dims, strict=True) if dim is not None)
    return length


def _batch_size(array: Array, dim: int | None) -> int:
    """Return the batch size of an array beside the new axis."""
    own: int = array.shape[0 if dim is None or dim > 0 else 1]
    return own


def _folded(array: Array, dim: int | None, length: int, batch: int) -> Array:
    array = array[None] if dim is None else jnp.moveaxis(array, dim, 0)
    rest = array.shape[2:]
    return jnp.broadcast_to(array, (length, batch, *rest)).reshape(length * batch, *rest)


def _alike(arrays: Sequence[Array], dims: Sequence[int | None], length: int, batch: int) -> list[Array]:
    """Fold arrays that must have one batch size, or leave them, if all items share them."""
    if all(dim is None and len(array) == 1 for array, dim in zip(arrays, dims, strict=True)):
        return list(arrays)
    return [_folded(array, dim, length, batch) for array, dim in zip(arrays, dims, strict=True)]


def _unfolded(array: Array, length: int, own: int) -> Array:
    """Take the new axis out of the batch axis; what all items of a batch share is their sum."""
    array = array.reshape(length, -1 if array.size else array.shape[0] // max(length, 1), *array.shape[1:])
    return array.sum(axis=1, keepdims=True) if own == 1 != array.shape[1] else array


def sample_batch(arrays: Any, dims: Any, *, sampler: Settings, order: Shape) -> tuple[Any, int]:
    """Batch S over either argument."""
    length, batch = _length(arrays, dims), _together(*map(_batch_size, arrays, dims))
    ((image,), (source,)) = (_alike([array], [dim], length, batch) for array, dim in zip(arrays, dims, strict=True))
    return _unfolded(sample(image, source, sampler, order), length, batch), 0


def splat_batch(arrays: Any, dims: Any, *, sampler: Settings, order: Shape, image: Splat) -> tuple[Any, int]:
    """Batch P over either argument."""
    length, batch = _length(arrays, dims), _batch_size(arrays[0], dims[0])
    g = _folded(arrays[0], dims[0], length, batch)
    (source,) = _alike(arrays[1:], dims[1:], length, batch)
    bar = splat(g, source, sampler, Splat(length * batch, image.spatial), order)
    return _unfolded(bar, length, image.batch), 0


def tangent_batch(arrays: Any, dims: Any, *, sampler: Settings) -> tuple[Any, int]:
    """Batch `tangent`: with one image and one source, by its definition, which reads each slope once."""
    if dims[0] is None and dims[1] is None:
        return jax.vmap(lambda *given: tangent_by_definition(*given, sampler=sampler), dims)(*arrays), 0
    length, batch = _length(arrays, dims), _together(*map(_batch_size, arrays, dims))
    image, *image_dot = _alike(arrays[::3], dims[::3], length, batch)
    source, source_dot = _alike(arrays[1:3], dims[1:3], length, batch)
    out_dot = tangent(image, source, source_dot, image_dot[0] if image_dot else None, sampler)
    return _unfolded(out_dot, length, batch), 0


def vjp_batch(arrays: Any, dims: Any, *, sampler: Settings, image_too: bool) -> tuple[list[Any], list[int]]:
    """Batch `vjp`: with one image and one source, by its definition, which reads each slope once."""
    if dims[1] is None and dims[2] is None:
        bars = jax.vmap(lambda *given: vjp_by_definition(*given, sampler=sampler, image_too=image_too), dims)(*arrays)
        return bars, [0] * len(bars)
    length, batch = _length(arrays, dims), _batch_size(arrays[0], dims[0])
    g, source = (_folded(arrays[i], dims[i], length, batch) for i in (0, 2))
    fold = _folded if image_too else lambda array, dim, *sizes: _alike([array], [dim], *sizes)[0]
    bars = vjp(g, fold(arrays[1], dims[1], length, batch), source, sampler, image_too)
    own = [_batch_size(arrays[i], dims[i]) for i in ((1, 2) if image_too else (2,))]
    return [_unfolded(bar, length, n) for bar, n in zip(bars, own, strict=True)], [0] * len(bars)


def one_batch(primitive: Any) -> Callable[..., Any]:
    """Return the rule of batching an operation of one argument."""

    def batch(arrays: Any, dims: Any, **params: Any) -> tuple[Any, int]:
        length, n = _length(arrays, dims), _batch_size(arrays[0], dims[0])
        out = primitive.bind(_folded(arrays[0], dims[0], length, n), **params)
        return out.reshape(length, n, *out.shape[1:]), 0

    return batch
