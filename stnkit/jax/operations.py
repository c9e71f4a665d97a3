"""The operations of `primitives` as functions, and what sums of them are made of."""

from typing import Any

import jax.numpy as jnp

from stnkit.api.flow import pitches
from stnkit.dtypes import arithmetic, dot_dtype
from stnkit.jax import primitives as p
from stnkit.jax._compat import vary_alike
from stnkit.jax.primitives import Form, Splat
from stnkit.plans.layout import Shape
from stnkit.spec import AFFINE, BICUBIC, BILINEAR, NEAREST

Array = Any
Maybe = Array | None

TOP = {NEAREST: 0, BILINEAR: 1, BICUBIC: 3}  # the degree in each coordinate: higher derivatives are 0


def sample(image: Array, source: Array, form: Form, order: Shape | None = None) -> Array:
    """Return S[order](image, source)."""
    return p.sample_p.bind(*vary_alike(image, source), form=form, order=order or no_order(form))


def splat(g: Array, source: Array, form: Form, image: Splat, order: Shape | None = None) -> Array:
    """Return P[order](g, source)."""
    return p.splat_p.bind(*vary_alike(g, source), form=form.linear, order=order or no_order(form), image=image)


def tangent(image: Array, source: Array, source_dot: Maybe, image_dot: Maybe, form: Form) -> Array:
    """Return the tangent of S[0](image, source); one that is not given is zero, but not both are."""
    image_dot = None if image_dot is None else image_dot.astype(dot_dtype(image.dtype, source.dtype))
    if source_dot is None:
        return sample(image_dot, source, form.linear)
    dots = [source_dot] if image_dot is None else [source_dot, image_dot]
    return p.tangent_p.bind(*vary_alike(image, source, *dots), form=form)


def vjp(g: Array, image: Array, source: Array, form: Form, image_too: bool) -> list[Array]:
    """Return the cotangents of image, if it is asked for, and of source."""
    bars: list[Array] = p.vjp_p.bind(*vary_alike(g, image, source), form=form, image_too=image_too)
    return bars


def lattice(source: Array, kind: int, size: Shape, align: bool, pixel: bool = False) -> Array:
    """Return the grid that a source gives."""
    return p.lattice_p.bind(source, kind=kind, size=size, align=align, pixel=pixel)


def lattice_vjp(grid_bar: Array, align: bool) -> Array:
    """Return the cotangent of affine maps."""
    return p.lattice_vjp_p.bind(grid_bar, align=align)


def gradient(image: Array, source: Array, form: Form) -> Array:
    """Return S[e_i](image, source) for every axis i, the last axis of the result."""
    wide, orders = image.astype(arithmetic(image.dtype, source.dtype)), higher(form, no_order(form))
    slopes = [sample(wide, source, form, order) for _, order in orders]
    dtype = dot_dtype(image.dtype, source.dtype)
    if not slopes:
        return jnp.zeros((*sample(image, source, form).shape, len(form.size)), dtype)
    return jnp.stack(slopes, axis=-1).astype(dtype)


def scaled(flow: Array, size: Shape, align: bool) -> Array:
    """Multiply a flow in pixels by d grid / d flow."""
    factors = pitches(size, align).reshape((*(1,) * (flow.ndim - 1), -1))
    return (flow * factors).astype(flow.dtype)


def no_order(form: Form) -> Shape:
    """Return the order of what is not differentiated."""
    return (0,) * len(form.size)


def higher(form: Form, order: Shape) -> list[tuple[int, Shape]]:
    """Return the axes along which the derivative of S[order] is not 0, each with its order."""
    axes = [axis for axis, times in enumerate(order) if times < TOP[form.options.interp]]
    return [(axis, tuple(times + (i == axis) for i, times in enumerate(order))) for axis in axes]


def steps(source_dot: Array, form: Form) -> list[Array]:
    """Return how a tangent of the source moves each coordinate, as factors of an output."""
    u_dot = source_dot
    if form.kind == AFFINE:
        u_dot = lattice(source_dot, AFFINE, form.size, form.options.align)
    return [jnp.expand_dims(u_dot[..., axis], form.channel) for axis in range(len(form.size))]


def image_of(image: Any, form: Form) -> Splat:
    """Return the image to which the adjoint adds."""
    spatial = image.shape[1:-1] if form.options.channels_last else image.shape[2:]
    return Splat(image.shape[0], spatial)
