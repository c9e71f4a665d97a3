"""The operations that JAX sees: what each returns, and which kernels it is lowered to.

Every derivative of a sampler is made of these. They take arrays with a batch axis, and no more; n and m are the batch
sizes of image and source, each N or 1.

    sample       image (n, ...), source (m, ...)  -> out (N, ...), differentiated `order` times in the coordinates
    splat        g (N, ...), source               -> image_bar (n, ...): the adjoint of `sample` in the image
    tangent      image, source, their tangents    -> the tangent of `sample`, linear in those given
    vjp          g, image, source                 -> image_bar, source_bar: the adjoint of `tangent`
    lattice      source                           -> the grid that it gives
    lattice_vjp  grid_bar                         -> theta_bar: the adjoint of `lattice` for affine maps

With products and sums in between, `sample` and `splat` are enough for any order: the derivative of either is made of
the two, one order higher. `tangent` and `vjp` do in one pass what is asked for most.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir

from stnkit import ops, recipes
from stnkit.dtypes import FLOAT64, bar_dtype, dot_dtype
from stnkit.jax.ffi import invoke, zeros
from stnkit.jax.handlers import Invocation, Result
from stnkit.jax.release import described, enable_x64
from stnkit.kernels import cpu, cpu_order, cpu_tangent
from stnkit.plans.layout import Sampling, Shape, backward_parts, contiguous, grid_spec, out_strides, sampling
from stnkit.spec import AFFINE, Options

Aval = Any  # an array as JAX describes it
Value = Any  # an array in the program that is built

sample_p = Primitive("stnkit_sample")
splat_p = Primitive("stnkit_splat")
tangent_p = Primitive("stnkit_tangent")
vjp_p = Primitive("stnkit_vjp")
vjp_p.multiple_results = True
lattice_p = Primitive("stnkit_lattice")
lattice_vjp_p = Primitive("stnkit_lattice_vjp")


class Form(NamedTuple):
    """What the operations of one sampler share."""

    kind: int
    size: Shape
    options: Options
    fill: bytes  # one number for each channel
    fill_dtype: np.dtype[Any]
    deterministic: bool = False  # sums on a GPU have the same bits in every run

    @property
    def linear(self) -> "Form":
        """The same with a fill value of 0: sampling is then linear in the image."""
        return self._replace(fill=bytes(len(self.fill)), options=self.options._replace(fill_finite=True))

    @property
    def channel(self) -> int:
        """The axis of the channels."""
        return -1 if self.options.channels_last else 1

    def plane(self, batch: int, channels: int, spatial: Shape) -> Shape:
        """Return the shape of an image or an output."""
        return (batch, *spatial, channels) if self.options.channels_last else (batch, channels, *spatial)


class Splat(NamedTuple):
    """The image that `splat` adds to."""

    batch: int
    spatial: Shape


def formless(aval: Any) -> np.ndarray:
    """Return an array of the shape and dtype of another that takes no memory: only its layout is read."""
    return np.broadcast_to(np.zeros((), aval.dtype), aval.shape)


def laid_out(image: Aval, source: Aval, form: Form) -> Sampling:
    """Lay out the sampling of an image; XLA's arrays have no gaps."""
    return sampling(*(contiguous(formless(aval)) for aval in (image, source)), form.kind, form.size, form.options)


def sample_aval(image: Aval, source: Aval, *, form: Form, order: Shape) -> Aval:
    """Describe what `sample` returns, in the image's dtype."""
    return described(image, laid_out(image, source, form).out_shape, image.dtype)


def lower_sample(context: Any, *operands: Value, form: Form, order: Shape) -> Sequence[Value]:
    """Lower `sample`: the plain operation has a kernel of its own."""
    image, source = context.avals_in
    call = laid_out(image, source, form)
    factory, spec = cpu.sample, call.spec
    numbers = recipes.forward_numbers(call, form.options, "image", "source", "like", "index")
    if any(order):
        factory, spec = cpu_order.sample_order, spec._replace(source_bar=True)
        numbers = *numbers, xyz(order)
    out = (Result(call.out_shape, image.dtype),)
    return _filled(context, operands, form, Invocation(factory, spec, call.work, (3, 0, 1, 2), numbers, out))


def splat_aval(g: Aval, source: Aval, *, form: Form, order: Shape, image: Splat) -> Aval:
    """Describe what `splat` returns, in the dtype in which an image's cotangent is summed."""
    shape = form.plane(image.batch, g.shape[form.channel], image.spatial)
    return described(g, shape, bar_dtype(g.dtype, source.dtype))


def lower_splat(context: Any, *operands: Value, form: Form, order: Shape, image: Splat) -> Sequence[Value]:
    """Lower `splat`: the plain operation is a pass of the sampler's vjp."""
    g, source = context.avals_in
    aval = splat_aval(g, source, form=form, order=order, image=image)
    call = laid_out(aval.update(dtype=g.dtype), source, form)
    if not call.work:
        return zeros(context, operands)
    parts = backward_parts(call, image.batch, source.shape[0], (True, False))
    numbers = recipes.backward_numbers(call, parts, (out_strides(call, form.options),), (0, 0, 0), FLOAT64)
    factory: Any = cpu.sample_vjp
    places: tuple[int | None, ...] = (2, None, 0, None, 1, None)
    spec = call.spec._replace(image_bar=True)
    if any(order):
        factory, places = cpu_order.splat_order, (2, 0, 1)
        spec, numbers = call.spec._replace(source_bar=True), (*numbers, xyz(order))
    bar = (Result(aval.shape, aval.dtype, summed=True),)
    return invoke(context, operands, Invocation(factory, spec, call.work, places, numbers, bar))


def tangent_aval(image: Aval, source: Aval, *_: Aval, form: Form) -> Aval:
    """Describe what `tangent` returns, in the dtype of derivatives."""
    return described(image, laid_out(image, source, form).out_shape, dot_dtype(image.dtype, source.dtype))


def lower_tangent(context: Any, *operands: Value, form: Form) -> Sequence[Value]:
    """Lower `tangent`, of which the last operand, the tangent of the image, may be missing: it is then zero."""
    image, source, *dots = context.avals_in
    call = laid_out(image, source, form)
    last = len(context.avals_in)  # the place of the fill value
    places = (last + 1, last + 2, 0, 3 if len(dots) > 1 else None, 1, 2, last)
    kernel = Invocation(
        cpu_tangent.sample_jvp,
        call.spec._replace(image_dot=len(dots) > 1, source_dot=True),
        2 * call.work,
        places,
        recipes.forward_numbers(call, form.options, "image", "dot", "source", "like", "index"),
        (Result(call.out_shape, image.dtype), Result(call.out_shape, dot_dtype(image.dtype, source.dtype))),
    )
    return _filled(context, operands, form, kernel)[1:]  # the kernel gives the output too


def vjp_aval(g: Aval, image: Aval, source: Aval, *, form: Form, image_too: bool) -> list[Aval]:
    """Describe what `vjp` returns: the cotangent of the image, if it is asked for, and that of the source."""
    bars = [described(g, image.shape, bar_dtype(image.dtype, source.dtype))] if image_too else []
    return [*bars, described(g, source.shape, source.dtype)]


def lower_vjp(context: Any, *operands: Value, form: Form, image_too: bool) -> Sequence[Value]:
    """Lower `vjp`, in one pass or in two."""
    g, image, source = context.avals_in
    call = laid_out(image, source, form)
    if not call.work:
        return zeros(context, operands)
    images, sources = image.shape[0], source.shape[0]
    bars, dtype = recipes.bars_form(images, source.shape, form.kind, form.size, source.dtype)
    image_bar = Result(image.shape, bar_dtype(image.dtype, source.dtype), summed=True)
    values: list[Value] = []
    for asked in recipes.passes((image_too, True), True, images, sources, g.size):
        parts = backward_parts(call, images, sources, asked)
        strides = out_strides(call, form.options)
        results = [image_bar] if asked[0] else []
        results += [Result(bars, dtype, summed=True)] if asked[1] else []
        first = len(operands) + 1
        kernel = Invocation(
            cpu.sample_vjp,
            call.spec._replace(image_bar=asked[0], source_bar=asked[1]),
            call.work * sum(asked),
            (first if asked[0] else None, first + asked[0] if asked[1] else None, 0, 1, 2, 3),
            recipes.backward_numbers(call, parts, (strides,), *((bars, dtype) if asked[1] else ((0, 0, 0), FLOAT64))),
            tuple(results),
        )
        values += _filled(context, operands, form, kernel)
    axes = () if form.kind != AFFINE else (0, 1) if sources == 1 else (1,)  # theta's has a part for each tile
    values[-1] = _summed(context, values[-1], Result(bars, dtype), axes, source)
    return values


def lattice_aval(source: Aval, *, kind: int, size: Shape, align: bool, pixel: bool) -> Aval:
    """Describe what `lattice` returns."""
    return described(source, (source.shape[0], *size, len(size)), source.dtype)


def lower_lattice(context: Any, source: Value, *, kind: int, size: Shape, align: bool, pixel: bool) -> Sequence[Value]:
    """Lower `lattice`."""
    (given,) = context.avals_in
    (grid,) = context.avals_out
    spec = grid_spec(len(size), given.dtype, kind, align, pixel)
    numbers = ops.grid_numbers(contiguous(formless(given)), kind, size)
    kernel = Invocation(cpu.grid, spec, grid.size, (1, 0), numbers, (Result(grid.shape, grid.dtype),))
    return invoke(context, (source,), kernel)


def lattice_vjp_aval(grid_bar: Aval, *, align: bool) -> Aval:
    """Describe what `lattice_vjp` returns."""
    batch, *_, ndim = grid_bar.shape
    return described(grid_bar, (batch, ndim, ndim + 1), grid_bar.dtype)


def lower_lattice_vjp(context: Any, grid_bar: Value, *, align: bool) -> Sequence[Value]:
    """Lower `lattice_vjp`."""
    (given,) = context.avals_in
    batch, *size, ndim = given.shape
    form = Result(*recipes.bars_form(batch, (batch, ndim, ndim + 1), AFFINE, tuple(size), given.dtype), summed=True)
    numbers = ops.grid_vjp_numbers(batch, tuple(size), given.dtype)
    spec = grid_spec(ndim, given.dtype, AFFINE, align)
    kernel = Invocation(cpu.grid_vjp, spec, given.size, (1, 0), numbers, (form,))
    (sums,) = invoke(context, (grid_bar,), kernel)
    return [_summed(context, sums, form, (1,), context.avals_out[0])]


def _filled(context: Any, operands: Sequence[Value], form: Form, kernel: Invocation) -> Sequence[Value]:
    """Lower one run of a kernel that takes the fill value as one more operand."""
    fill = np.frombuffer(form.fill, form.fill_dtype)
    known = context.replace(avals_in=[*context.avals_in, Result(fill.shape, fill.dtype).aval])
    return invoke(known, (*operands, mlir.ir_constant(fill)), kernel)


def _summed(context: Any, sums: Value, form: Result, axes: Sequence[int], wanted: Aval) -> Value:
    """Sum over axes, and bring the result into the shape and dtype that is wanted."""
    here = context.replace(primitive=None, avals_in=[form.aval], avals_out=[wanted])

    def total(parts: Any) -> Any:
        return parts.sum(axis=tuple(axes)).reshape(wanted.shape).astype(wanted.dtype)

    with enable_x64():  # partial sums have 64 bits, whatever the user has chosen
        return mlir.lower_fun(total, multiple_results=False)(here, sums)[0]


def xyz(order: Shape) -> Shape:
    """Return an order on three axes, in the order x, y, z."""
    return (*order, 0, 0)[:3]
