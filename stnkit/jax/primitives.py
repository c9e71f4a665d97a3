"""The operations that JAX sees: what each returns, and which kernels it is lowered to.

Every derivative of a sampler is made of these. They take arrays with a batch axis, and no more; n and m are the batch
sizes of image and source, each N or 1.

    sample       image (n, ...), source (m, ...)  -> out (N, ...), differentiated `order` times in the coordinates
    splat        g (N, ...), source               -> image_bar (n, ...): the adjoint of `sample` in the image
    tangent      image, source, their tangents    -> the tangent of `sample`, linear in those given
    vjp          g, image, source                 -> image_bar, source_bar: the adjoint of `tangent`
    grid         source                           -> the grid that it gives
    grid_vjp     grid_bar                         -> theta_bar: the adjoint of `grid` for affine maps

With products and sums in between, `sample` and `splat` are enough for any order: the derivative of either is made of
the two, one order higher. `tangent` and `vjp` do in one pass what is asked for most.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir

from stnkit.dtypes import bar_dtype, dot_dtype
from stnkit.jax._compat import described, enable_x64
from stnkit.jax.ffi.lower import Values, aval, execute, planes
from stnkit.kernels.cpu.call import (
    COTANGENT,
    FILL,
    IMAGE,
    IMAGE_BAR,
    IMAGE_DOT,
    OUT,
    OUT_DOT,
    SOURCE,
    SOURCE_BAR,
    SOURCE_DOT,
)
from stnkit.plans import launch as plans
from stnkit.plans import tangents
from stnkit.plans.launch import Buffer, Plan
from stnkit.plans.layout import Layout, Sampling, Shape, out_strides, sampling
from stnkit.plans.layout import contiguous as laid_out  # as XLA's arrays are
from stnkit.spec import MAPS, Options

Aval = Any  # an array as JAX describes it
Value = Any  # an array in the program that is built

sample_p = Primitive("stnkit_sample")
splat_p = Primitive("stnkit_splat")
tangent_p = Primitive("stnkit_tangent")
vjp_p = Primitive("stnkit_vjp")
vjp_p.multiple_results = True
grid_p = Primitive("stnkit_grid")
grid_vjp_p = Primitive("stnkit_grid_vjp")


class Settings(NamedTuple):
    """What the operations of one sampler share."""

    kind: int
    size: Shape
    options: Options
    fill: bytes  # one number for each channel
    fill_dtype: np.dtype[Any]
    deterministic: bool = False  # sums on a GPU have the same bits in every run
    ij: bool = False  # in place of a grid (m, *T, d), x first, come indices (m, d, *T) in the order of an image's axes

    @property
    def linear(self) -> "Settings":
        """The same with a fill value of 0: sampling is then linear in the image."""
        return self._replace(fill=bytes(len(self.fill)), options=self.options._replace(fill_finite=True))

    @property
    def numbers(self) -> np.ndarray:
        """The fill value as an array."""
        return np.frombuffer(self.fill, self.fill_dtype)

    @property
    def asked(self) -> tuple[int, Shape, Options]:
        """What plans take after layouts."""
        return self.kind, self.size, self.options

    @property
    def channel(self) -> int:
        """The axis of the channels."""
        return -1 if self.options.channels_last else 1

    @property
    def planar(self) -> Shape:
        """The slots of planes."""
        return (SOURCE, SOURCE_DOT) if self.ij else ()

    def laid_out(self, source: Aval) -> Layout:
        """Lay out a source."""
        return planes(source) if self.ij else laid_out(source)

    def plane(self, batch: int, channels: int, spatial: Shape) -> Shape:
        """Return the shape of an image or an output."""
        return (batch, *spatial, channels) if self.options.channels_last else (batch, channels, *spatial)


class Splat(NamedTuple):
    """The image that `splat` adds to."""

    batch: int
    spatial: Shape


def sampled(image: Aval, source: Aval, sampler: Settings) -> Sampling:
    """Lay out the sampling of an image."""
    return sampling(laid_out(image), sampler.laid_out(source), *sampler.asked)


def sample_aval(image: Aval, source: Aval, *, sampler: Settings, order: Shape) -> Aval:
    """Describe what `sample` returns, in the image's dtype."""
    return described(image, sampled(image, source, sampler).out_shape, image.dtype)


def lower_sample(context: Any, *operands: Value, sampler: Settings, order: Shape) -> Sequence[Value]:
    """Lower `sample`: the plain operation has a kernel of its own."""
    image, source = context.avals_in
    layouts = laid_out(image), sampler.laid_out(source)
    if any(order):
        plan = tangents.derivative(*layouts, *sampler.asked, order)
    else:
        plan = plans.forward(*layouts, *sampler.asked)
    return [filled(context, sampler, (IMAGE, SOURCE), operands, plan)[OUT]]


def splat_aval(g: Aval, source: Aval, *, sampler: Settings, order: Shape, image: Splat) -> Aval:
    """Describe what `splat` returns, in the dtype in which an image's cotangent is summed."""
    shape = sampler.plane(image.batch, g.shape[sampler.channel], image.spatial)
    return described(g, shape, bar_dtype(g.dtype, source.dtype))


def lower_splat(context: Any, *operands: Value, sampler: Settings, order: Shape, image: Splat) -> Sequence[Value]:
    """Lower `splat`: the plain operation is a pass of the sampler's vjp."""
    g, source = context.avals_in
    to = g.update(shape=sampler.plane(image.batch, g.shape[sampler.channel], image.spatial))
    strides = out_strides(sampled(to, source, sampler), sampler.options)
    plan = tangents.splat(laid_out(to), sampler.laid_out(source), *sampler.asked, strides, order)
    return [execute(context, (COTANGENT, SOURCE), operands, plan, sampler.planar)[IMAGE_BAR]]


def tangent_aval(image: Aval, source: Aval, *_: Aval, sampler: Settings) -> Aval:
    """Describe what `tangent` returns, in the dtype of derivatives."""
    return described(image, sampled(image, source, sampler).out_shape, dot_dtype(image.dtype, source.dtype))


def lower_tangent(context: Any, *operands: Value, sampler: Settings) -> Sequence[Value]:
    """Lower `tangent`, of which the last operand, the tangent of the image, may be missing: it is then zero."""
    image, source, *dots = context.avals_in
    plan = tangents.jvp(laid_out(image), sampler.laid_out(source), *sampler.asked, len(dots) > 1, True)
    slots = (IMAGE, SOURCE, SOURCE_DOT, IMAGE_DOT)[: len(operands)]
    return [filled(context, sampler, slots, operands, plan)[OUT_DOT]]  # the kernel gives the output too


def vjp_aval(g: Aval, image: Aval, source: Aval, *, sampler: Settings, image_too: bool) -> list[Aval]:
    """Describe what `vjp` returns: the cotangent of the image, if it is asked for, and that of the source."""
    bars = [described(g, image.shape, bar_dtype(image.dtype, source.dtype))] if image_too else []
    return [*bars, described(g, source.shape, source.dtype)]


def lower_vjp(context: Any, *operands: Value, sampler: Settings, image_too: bool) -> Sequence[Value]:
    """Lower `vjp`, in one pass or in two."""
    _, image, source = context.avals_in
    strides = out_strides(sampled(image, source, sampler), sampler.options)
    layouts = laid_out(image), laid_out(image), sampler.laid_out(source)
    plan = plans.backward(*layouts, *sampler.asked, (image_too, True), strides, False)
    made = filled(context, sampler, (COTANGENT, IMAGE, SOURCE), operands, plan)
    # The cotangent of maps has a part for each tile, and that of one map for all items one for each item too.
    axes = () if sampler.kind not in MAPS else (0, 1) if source.shape[0] == 1 else (1,)
    source_bar = summed(context, made[SOURCE_BAR], plan.buffers[-1], axes, source, sampler)
    return [made[IMAGE_BAR], source_bar] if image_too else [source_bar]


def grid_aval(source: Aval, *, kind: int, size: Shape, align: bool, pixel: bool) -> Aval:
    """Describe what `grid` returns."""
    return described(source, (source.shape[0], *size, len(size)), source.dtype)


def lower_grid(context: Any, source: Value, *, kind: int, size: Shape, align: bool, pixel: bool) -> Sequence[Value]:
    """Lower `grid`."""
    plan = plans.grid(laid_out(*context.avals_in), kind, size, align, pixel)
    return [execute(context, (SOURCE,), (source,), plan)[OUT]]


def grid_vjp_aval(grid_bar: Aval, *, align: bool) -> Aval:
    """Describe what `grid_vjp` returns."""
    batch, *_, ndim = grid_bar.shape
    return described(grid_bar, (batch, ndim, ndim + 1), grid_bar.dtype)


def lower_grid_vjp(context: Any, grid_bar: Value, *, align: bool) -> Sequence[Value]:
    """Lower `grid_vjp`."""
    (given,) = context.avals_in
    plan = plans.affine_grid_vjp(given.shape[0], given.shape[1:-1], given.dtype, align)
    sums = execute(context, (COTANGENT,), (grid_bar,), plan)[SOURCE_BAR]
    return [summed(context, sums, plan.buffers[0], (1,), *context.avals_out)]


def filled(context: Any, sampler: Settings, slots: Shape, operands: Sequence[Value], plan: Plan) -> Values:
    """Lower a plan that takes the fill value as one more operand."""
    known = context.replace(avals_in=[*context.avals_in, aval(sampler.numbers)])
    operands = (*operands, mlir.ir_constant(sampler.numbers))
    return execute(known, (*slots, FILL), operands, plan, sampler.planar)


def as_grid(indices: Any) -> Any:
    """Return indices (m, d, *T) in the order of an image's axes as a grid (m, *T, d), x first."""
    return jnp.moveaxis(indices[:, ::-1], 1, -1)


def as_indices(grid: Any) -> Any:
    """Return a grid as indices in the order of an image's axes."""
    return jnp.moveaxis(grid[..., ::-1], -1, 1)


def summed(
    context: Any, sums: Value, buffer: Buffer, axes: Sequence[int], wanted: Aval, sampler: Settings | None = None
) -> Value:
    """Sum over axes, and bring the result into the shape and dtype that is wanted."""
    here = context.replace(primitive=None, avals_in=[aval(buffer)], avals_out=[wanted])

    def total(parts: Any) -> Any:
        whole = parts.sum(axis=tuple(axes))
        if sampler is not None and sampler.ij:
            whole = as_indices(whole)
        return whole.reshape(wanted.shape).astype(wanted.dtype)

    with enable_x64():  # partial sums have 64 bits, whatever the user has chosen
        return mlir.lower_fun(total, multiple_results=False)(here, sums)[0]
