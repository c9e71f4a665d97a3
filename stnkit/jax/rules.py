"""The rules of differentiation, one section for each operation.

Sampling is linear in the image x, and a product of one weight for each axis in the coordinates u. With S[a] for
`sample` differentiated a times, a = (a_x, a_y, a_z), with P[a] for its adjoint `splat`, and with e_i for once along
axis i,

    d S[a](x, u) = S[a](dx, u) + sum_i S[a + e_i](x, u) du_i
    d P[a](g, u) = P[a](dg, u) + sum_i P[a + e_i](g du_i, u)

An affine map gives u by the linear `grid`, a projective one by a formula, and any other source is u itself. `tangent`
and `vjp` are the first differential of S[0] and its adjoint. They are differentiated by their definition in S and P.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax.interpreters import ad

from stnkit.calls.grids import pitches
from stnkit.dtypes import arithmetic, dot_dtype, is_float
from stnkit.jax import primitives as p
from stnkit.jax._compat import like, vary_alike
from stnkit.jax.operations import (
    Array,
    Maybe,
    coordinate_tangents,
    gradient,
    grid,
    grid_vjp,
    higher,
    image_of,
    no_order,
    sample,
    scaled,
    source_cotangent,
    splat,
    tangent,
    vjp,
)
from stnkit.jax.primitives import Settings, Splat
from stnkit.plans.layout import Shape
from stnkit.spec import AFFINE, CHOOSING


def _zero(tangent: Any) -> bool:
    return isinstance(tangent, ad.Zero)


def _given(tangent: Any) -> Maybe:
    return None if _zero(tangent) else tangent


def _no_tangent(array: Any) -> Any:
    return ad.Zero(jax.typeof(array).to_tangent_aval())


def _sum(terms: Sequence[Array], like: Array) -> Any:
    return sum(terms[1:], terms[0]) if terms else _no_tangent(like)


# sample


def sample_jvp(primals: Any, tangents: Any, *, sampler: Settings, order: Shape) -> tuple[Any, Any]:
    """Differentiate S: its first differential is `tangent`, and those of higher order are sums."""
    (image, source), (image_dot, source_dot) = primals, map(_given, tangents)
    out = sample(image, source, sampler, order)
    if not is_float(image.dtype):
        return out, _no_tangent(out)
    source_dot = source_dot if sampler.options.interp not in CHOOSING else None
    if source_dot is not None and not any(order):
        return out, tangent(image, source, source_dot, image_dot, sampler)
    terms = [] if image_dot is None else [sample(image_dot, source, sampler.linear, order)]
    if source_dot is not None:
        moves = coordinate_tangents(source, source_dot, sampler)
        terms += [sample(image, source, sampler, more) * moves[axis] for axis, more in higher(sampler, order)]
    return out, _sum(terms, out)


def sample_transpose(g: Any, image: Any, source: Any, *, sampler: Settings, order: Shape) -> list[Any]:
    """Pull a cotangent back to the image."""
    aval = image.aval
    bar = ad.Zero(aval) if _zero(g) else like(splat(g, source, sampler, image_of(aval, sampler), order), aval)
    return [bar, None]


# splat


def splat_jvp(primals: Any, tangents: Any, *, sampler: Settings, order: Shape, image: Splat) -> tuple[Any, Any]:
    """Differentiate P."""
    (g, source), (g_dot, source_dot) = primals, map(_given, tangents)
    out = splat(g, source, sampler, image, order)
    terms = [] if g_dot is None else [splat(g_dot, source, sampler, image, order)]
    if source_dot is not None:
        wide, moves = g.astype(arithmetic(g.dtype, source.dtype)), coordinate_tangents(source, source_dot, sampler)
        terms += [
            splat(wide * moves[axis], source, sampler, image, more).astype(out.dtype)
            for axis, more in higher(sampler, order)
        ]
    return out, _sum(terms, out)


def splat_transpose(bar: Any, g: Any, source: Any, *, sampler: Settings, order: Shape, image: Splat) -> list[Any]:
    """Pull a cotangent back to what was added."""
    aval = g.aval
    return [ad.Zero(aval) if _zero(bar) else like(sample(bar, source, sampler, order), aval), None]


# tangent


def tangent_by_definition(image: Array, source: Array, *dots: Array, sampler: Settings) -> Array:
    """Return S[0](dx, u) + sum_i S[e_i](x, u) du_i."""
    wide = image.astype(arithmetic(image.dtype, source.dtype))
    source_dot, *image_dot = dots
    moves = coordinate_tangents(source, source_dot, sampler)
    terms = [sample(wide, source, sampler, order) * moves[axis] for axis, order in higher(sampler, no_order(sampler))]
    terms += [sample(dot.astype(wide.dtype), source, sampler.linear) for dot in image_dot]
    return sum(terms[1:], terms[0]).astype(dot_dtype(image.dtype, source.dtype))


def tangent_jvp(primals: Any, tangents: Any, *, sampler: Settings) -> tuple[Any, Any]:
    """Differentiate `tangent`: in the tangents it is linear, and in image and source defined by S."""
    image, source, *dots = primals
    out = p.tangent_p.bind(*vary_alike(*primals), sampler=sampler)
    source_move, image_move = (*map(_given, tangents[2:]), None)[:2]
    moves = source_move is not None or image_move is not None
    terms = [tangent(image, source, source_move, image_move, sampler)] if moves else []
    if not all(map(_zero, tangents[:2])):
        given = tuple(map(ad.instantiate_zeros, tangents[:2]))
        terms.append(jax.jvp(lambda x, u: tangent_by_definition(x, u, *dots, sampler=sampler), primals[:2], given)[1])
    return out, _sum(terms, out)


def tangent_transpose(g: Any, image: Any, source: Any, *dots: Any, sampler: Settings) -> list[Any]:
    """Pull a cotangent back to the tangents."""
    avals = [dot.aval for dot in dots]
    if _zero(g):
        return [None, None, *map(ad.Zero, avals)]
    *image_bar, source_bar = vjp(g, image, source, sampler, image_too=len(dots) > 1)
    bars = [like(bar, aval) for bar, aval in zip([source_bar, *image_bar], avals, strict=True)]
    return [None, None, *bars]


# vjp


def vjp_by_definition(g: Array, image: Array, source: Array, *, sampler: Settings, image_too: bool) -> list[Array]:
    """Return P[0](g, u), and du_i = sum_c g S[e_i](x, u)."""
    bars = [splat(g, source, sampler, image_of(image, sampler))] if image_too else []
    dtype = arithmetic(image.dtype, source.dtype)
    slopes = gradient(image.astype(dtype), source, sampler)
    u_bar = (g.astype(dtype)[..., None] * slopes).sum(sampler.channel % g.ndim)
    source_bar = source_cotangent(u_bar, source, sampler)
    if source.shape[0] == 1:
        source_bar = source_bar.sum(axis=0, keepdims=True)
    return [*bars, source_bar.astype(source.dtype)]


def vjp_jvp(primals: Any, tangents: Any, *, sampler: Settings, image_too: bool) -> tuple[Any, Any]:
    """Differentiate `vjp`: in g it is linear, and in image and source defined by S and P."""
    g, image, source = primals
    outs = vjp(g, image, source, sampler, image_too)
    terms = [] if _zero(tangents[0]) else [vjp(tangents[0], image, source, sampler, image_too)]
    still = [_zero(dot) or not is_float(array.dtype) for dot, array in zip(tangents[1:], primals[1:], strict=True)]
    if not all(still):
        given = tuple(map(ad.instantiate_zeros, tangents[1:]))
        defined = functools.partial(vjp_by_definition, g, sampler=sampler, image_too=image_too)
        terms.append(jax.jvp(defined, (image, source), given)[1])
    return outs, [_sum(parts, out) for *parts, out in zip(*terms, outs, strict=True)]


def vjp_transpose(bars: Any, g: Any, image: Any, source: Any, *, sampler: Settings, image_too: bool) -> list[Any]:
    """Pull cotangents back to g."""
    aval = g.aval
    source_bar, image_bar = (*map(_given, reversed(bars)), None)[:2]
    if image_bar is None and source_bar is None:
        return [ad.Zero(aval), None, None]
    return [like(tangent(image, source, source_bar, image_bar, sampler), aval), None, None]


# grid and grid_vjp


def grid_jvp(primals: Any, tangents: Any, *, kind: int, size: Shape, align: bool, pixel: bool) -> tuple[Any, Any]:
    """Differentiate `grid`: linear for affine maps; a flow is added, in the units of the grid."""
    (source,), (source_dot,) = primals, tangents
    out = grid(source, kind, size, align, pixel)
    if _zero(source_dot):
        return out, _no_tangent(out)
    if kind == AFFINE:
        return out, grid(source_dot, kind, size, align, pixel)
    return out, scaled(source_dot, pitches(size, align)) if pixel else source_dot


def grid_transpose(grid_bar: Any, source: Any, *, align: bool, **_: Any) -> list[Any]:
    """Pull a cotangent back to affine maps; nothing else is linear."""
    return [ad.Zero(source.aval) if _zero(grid_bar) else like(grid_vjp(grid_bar, align), source.aval)]


def grid_vjp_jvp(primals: Any, tangents: Any, *, align: bool) -> tuple[Any, Any]:
    """Differentiate `grid_vjp`, which is linear."""
    (grid_bar,), (grid_bar_dot,) = primals, tangents
    out = grid_vjp(grid_bar, align)
    return out, _no_tangent(out) if _zero(grid_bar_dot) else grid_vjp(grid_bar_dot, align)


def grid_vjp_transpose(theta_dot: Any, grid_bar: Any, *, align: bool) -> list[Any]:
    """Pull a cotangent back to a grid's."""
    aval = grid_bar.aval
    return [ad.Zero(aval) if _zero(theta_dot) else like(grid(theta_dot, AFFINE, aval.shape[1:-1], align), aval)]
