"""The operations of `primitives` as functions, and what sums of them are made of.

S[order] is `sample` differentiated `order` times along each axis, and P[order] its adjoint `splat`; see `rules`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from stnkit.calls.grids import of_indices, to_indices
from stnkit.dtypes import arithmetic, dot_dtype
from stnkit.jax import primitives as p
from stnkit.jax._compat import vary_alike
from stnkit.jax.primitives import Settings, Splat
from stnkit.plans.layout import Shape
from stnkit.spec import AFFINE, DEGREES, PROJECTIVE
from stnkit.transforms.differentiable_grids import ArrayNamespace, projective_jvp, projective_vjp

Array = Any
Maybe = Array | None

NAMESPACE = ArrayNamespace(jnp, lambda like, n: jnp.arange(n, dtype=like.dtype))


def sample(image: Array, source: Array, sampler: Settings, order: Shape | None = None) -> Array:
    """Return S[order](image, source)."""
    return p.sample_p.bind(*vary_alike(image, source), sampler=sampler, order=order or no_order(sampler))


def splat(g: Array, source: Array, sampler: Settings, image: Splat, order: Shape | None = None) -> Array:
    """Return P[order](g, source)."""
    return p.splat_p.bind(*vary_alike(g, source), sampler=sampler.linear, order=order or no_order(sampler), image=image)


def tangent(image: Array, source: Array, source_dot: Maybe, image_dot: Maybe, sampler: Settings) -> Array:
    """Return the tangent of S[0](image, source); one that is not given is zero, but not both are."""
    image_dot = None if image_dot is None else image_dot.astype(dot_dtype(image.dtype, source.dtype))
    if source_dot is None:
        return sample(image_dot, source, sampler.linear)
    dots = [source_dot] if image_dot is None else [source_dot, image_dot]
    return p.tangent_p.bind(*vary_alike(image, source, *dots), sampler=sampler)


def vjp(g: Array, image: Array, source: Array, sampler: Settings, image_too: bool) -> list[Array]:
    """Return the cotangents of image, if it is asked for, and of source."""
    bars: list[Array] = p.vjp_p.bind(*vary_alike(g, image, source), sampler=sampler, image_too=image_too)
    return bars


def grid(source: Array, kind: int, size: Shape, align: bool, pixel: bool = False) -> Array:
    """Return the grid that a source gives."""
    return p.grid_p.bind(source, kind=kind, size=size, align=align, pixel=pixel)


def grid_vjp(grid_bar: Array, align: bool) -> Array:
    """Return the cotangent of affine maps."""
    return p.grid_vjp_p.bind(grid_bar, align=align)


def affine_grid(theta: Array, sampler: Settings) -> Array:
    """Return the coordinates that affine maps give, in the unit of a sampler."""
    if sampler.options.pixel:
        return grid(of_indices(theta, sampler.size, jnp.concatenate), AFFINE, sampler.size, True)
    return grid(theta, AFFINE, sampler.size, sampler.options.align)


def affine_grid_vjp(grid_bar: Array, sampler: Settings) -> Array:
    """Return the cotangent of affine maps, of a sampler's unit."""
    if sampler.options.pixel:
        return to_indices(grid_vjp(grid_bar, True), sampler.size, jnp.concatenate)
    return grid_vjp(grid_bar, sampler.options.align)


def gradient(image: Array, source: Array, sampler: Settings) -> Array:
    """Return S[e_i](image, source) for every axis i, the last axis of the result."""
    wide, orders = image.astype(arithmetic(image.dtype, source.dtype)), higher(sampler, no_order(sampler))
    slopes = [sample(wide, source, sampler, order) for _, order in orders]
    dtype = dot_dtype(image.dtype, source.dtype)
    if not slopes:
        return jnp.zeros((*sample(image, source, sampler).shape, len(sampler.size)), dtype)
    return jnp.stack(slopes, axis=-1).astype(dtype)


def scaled(flow: Array, factors: np.ndarray) -> Array:
    """Multiply a flow by d grid / d flow, a factor for each axis."""
    return (flow * factors.reshape((*(1,) * (flow.ndim - 1), -1))).astype(flow.dtype)


def no_order(sampler: Settings) -> Shape:
    """Return the order of what is not differentiated."""
    return (0,) * len(sampler.size)


def higher(sampler: Settings, order: Shape) -> list[tuple[int, Shape]]:
    """Return the axes along which the derivative of S[order] is not 0, each with its order."""
    degree = DEGREES[sampler.options.interp]  # above it, derivatives are 0
    if degree is None and max(order) > 1:
        msg = "third derivatives of `mode` 'lanczos3' along one axis are not implemented; differentiate at most twice"
        raise NotImplementedError(msg)
    axes = [axis for axis, times in enumerate(order) if degree is None or times < degree]
    return [(axis, tuple(times + (i == axis) for i, times in enumerate(order))) for axis in axes]


def coordinate_tangents(source: Array, source_dot: Array, sampler: Settings) -> list[Array]:
    """Return how a tangent of the source moves each coordinate, as factors of an output."""
    u_dot = source_dot
    if sampler.kind == AFFINE:
        u_dot = affine_grid(source_dot, sampler)
    elif sampler.kind == PROJECTIVE:
        u_dot = projective_jvp(NAMESPACE, source, source_dot, sampler.size, sampler.options.align)
    elif sampler.ij:
        u_dot = p.as_grid(source_dot)
    return [jnp.expand_dims(u_dot[..., axis], sampler.channel) for axis in range(len(sampler.size))]


def source_cotangent(u_bar: Array, source: Array, sampler: Settings) -> Array:
    """Return the cotangent of the source, for each item of the batch, for that of each coordinate."""
    if sampler.kind == AFFINE:
        return affine_grid_vjp(u_bar, sampler)
    if sampler.kind == PROJECTIVE:
        each = jnp.broadcast_to(source, (len(u_bar), *source.shape[1:]))
        return projective_vjp(NAMESPACE, u_bar, each, sampler.options.align)
    return p.as_indices(u_bar) if sampler.ij else u_bar


def image_of(image: Any, sampler: Settings) -> Splat:
    """Return the image to which the adjoint adds."""
    spatial = image.shape[1:-1] if sampler.options.channels_last else image.shape[2:]
    return Splat(image.shape[0], spatial)
