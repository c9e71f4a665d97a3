"""The operations on NVIDIA GPUs: callbacks that launch kernels on XLA's stream, on its buffers where they lie.

No array moves, and nothing waits. What a kernel needs beside its operands and results comes from the driver's pool.
"""

import functools
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.interpreters import mlir

from stnkit.backends.cuda import execute, interop, maps, tangents
from stnkit.backends.cuda.array import DeviceArray, DeviceContext
from stnkit.backends.cuda.maps import readable
from stnkit.backends.cuda.memory import cleared, product
from stnkit.backends.cuda.scatter import image_layout, scatter
from stnkit.jax._compat import buffer_callback, callback
from stnkit.jax.primitives import Settings, Splat
from stnkit.kernels.cuda import runtime
from stnkit.plans.layout import Shape, layout, sampling
from stnkit.plans.strides import gapless
from stnkit.plans.tangents import xyz

Value = Any  # an array in the program that is built

STEADY = re.compile(r"--xla_gpu_(deterministic_ops|exclude_nondeterministic_ops)(=true|=1)?(\s|$)")  # XLA's own flags


def lowered(run: Callable[..., None]) -> Callable[..., Sequence[Value]]:
    """Return the rule that lowers an operation to a callback, from what it does with operands and results.

    Raises
    ------
    ImportError
        While a program is lowered, if a package is missing.
    NotImplementedError
        Then too, if this JAX shares no memory with callbacks.
    """

    def lower(context: Any, *operands: Value, **params: Any) -> Sequence[Value]:
        runtime.tools()
        if buffer_callback is None:
            msg = (
                f"jax {jax.__version__} has no buffer_callback, by which stnkit reads arrays on a GPU; use an older jax"
            )
            raise NotImplementedError(msg)

        def call(execution: Any, results: Sequence[Any], *given: Any) -> None:
            run(
                [viewed(execution, array) for array in given], [viewed(execution, array) for array in results], **params
            )

        forms = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in context.avals_out]
        values: Sequence[Value] = mlir.lower_fun(callback(call, forms))(context.replace(primitive=None), *operands)
        return values

    return lower


def viewed(execution: Any, buffer: Any) -> DeviceArray:
    """View one of XLA's buffers, which have no gaps."""
    capsule, shape, dtype = buffer.__dlpack__(), tuple(buffer.shape), np.dtype(buffer.dtype)
    tensor = interop.tensor_of(capsule)
    address = (tensor.data or 0) + tensor.byte_offset
    where = context(tensor.device_id, stream(execution))
    return DeviceArray(address, shape, gapless(shape, dtype.itemsize), dtype, where, capsule, not buffer.writeable)


def stream(execution: Any) -> int:
    """Return the handle of the stream on which XLA runs a program."""
    return int(execution.stream)


@functools.lru_cache(maxsize=256)
def context(index: int, stream: int) -> DeviceContext:
    """Return where XLA's buffers on a GPU lie; memory beside them is the pool's."""
    return DeviceContext(
        "jax", index, stream, functools.partial(interop.from_pool, index, stream), lambda result: result
    )


def sample(given: list[Any], results: list[Any], *, sampler: Settings, order: Shape) -> None:
    """Do `primitives.sample`."""
    image, source = given
    execute.sample_order(image, source, *sampler.asked, sampler.numbers, results[0], xyz(order))


def splat(given: list[Any], results: list[Any], *, sampler: Settings, order: Shape, image: Splat) -> None:
    """Do `primitives.splat`."""
    (g, source), (image_bar,) = given, results
    cleared(image_bar)
    if g.size:
        g, strides = execute.walkable(g, sampler.options)
        source = readable(source, sampler.kind, g.dtype)
        call = sampling(
            image_layout(image_bar.shape, g.dtype), layout(source), sampler.kind, sampler.size, sampler.options
        )
        scatter(call, image_bar, g, strides, source, is_steady(sampler), None, xyz(order))


def tangent(given: list[Any], results: list[Any], *, sampler: Settings) -> None:
    """Do `primitives.tangent`."""
    image, source, source_dot, *image_dot = given
    first = image_dot[0] if image_dot else None
    tangents.sample_jvp_into(results[0], first, source_dot, image, source, *sampler.asked, sampler.numbers)


def vjp(given: list[Any], results: list[Any], *, sampler: Settings, image_too: bool) -> None:
    """Do `primitives.vjp`."""
    g, image, source = given
    into = cleared(results[0]) if image_too else None
    _, source_bar = execute.sample_vjp(
        g, image, source, *sampler.asked, sampler.numbers, (image_too, True), into, is_steady(sampler)
    )
    assert source_bar is not None
    product(source_bar, out=results[-1])


def grid(given: list[Any], results: list[Any], *, kind: int, size: Shape, align: bool, pixel: bool) -> None:
    """Do `primitives.grid`."""
    maps.grid(given[0], kind, size, align, pixel, out=results[0])


def grid_vjp(given: list[Any], results: list[Any], *, align: bool) -> None:
    """Do `primitives.grid_vjp`."""
    product(maps.grid_vjp(given[0], align), out=results[0])


def is_steady(sampler: Settings) -> bool:
    """Tell whether a call, or XLA as a whole, is asked to give the same bits in every run."""
    return sampler.deterministic or bool(STEADY.search(os.environ.get("XLA_FLAGS", "")))
