"""All that JAX asks of each operation, registered in one order."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from stnkit.jax import axes, cuda, partition, prefilter
from stnkit.jax import primitives as p
from stnkit.jax._compat import require_devices
from stnkit.jax.batching import one_batch, sample_batch, splat_batch, tangent_batch, vjp_batch
from stnkit.jax.rules import (
    grid_jvp,
    grid_transpose,
    grid_vjp_jvp,
    grid_vjp_transpose,
    sample_jvp,
    sample_transpose,
    splat_jvp,
    splat_transpose,
    tangent_jvp,
    tangent_transpose,
    vjp_jvp,
    vjp_transpose,
)


class Rules(NamedTuple):
    """All that is said of one operation."""

    primitive: Any
    describe: Callable[..., Any]
    axes: Callable[..., axes.Axes]
    lower: Callable[..., Any]
    on_gpu: Callable[..., Any]
    jvp: Callable[..., Any]
    transpose: Callable[..., Any]
    batch: Callable[..., Any]


OPERATIONS = (
    Rules(
        p.sample_p, p.sample_aval, axes.sample, p.lower_sample, cuda.sample,
        sample_jvp, sample_transpose, sample_batch,
    ),
    Rules(
        p.splat_p, p.splat_aval, axes.splat, p.lower_splat, cuda.splat,
        splat_jvp, splat_transpose, splat_batch,
    ),
    Rules(
        p.tangent_p, p.tangent_aval, axes.tangent, p.lower_tangent, cuda.tangent,
        tangent_jvp, tangent_transpose, tangent_batch,
    ),
    Rules(
        p.vjp_p, p.vjp_aval, axes.vjp, p.lower_vjp, cuda.vjp,
        vjp_jvp, vjp_transpose, vjp_batch,
    ),
    Rules(
        p.grid_p, p.grid_aval, axes.grid, p.lower_grid, cuda.grid,
        grid_jvp, grid_transpose, one_batch(p.grid_p),
    ),
    Rules(
        p.grid_vjp_p, p.grid_vjp_aval, axes.grid_vjp, p.lower_grid_vjp, cuda.grid_vjp,
        grid_vjp_jvp, grid_vjp_transpose, one_batch(p.grid_vjp_p),
    ),
    Rules(
        prefilter.filter_p, prefilter.filter_aval, prefilter.filter_axes, prefilter.lower_filter, prefilter.on_gpu,
        prefilter.filter_jvp, prefilter.filter_transpose, prefilter.filter_batch,
    ),
)  # fmt: skip


@functools.cache
def compiled(primitive: Any, params: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Return an operation as a program of its own, for arrays that are there: JAX keeps one for each shape."""
    program: Callable[..., Any] = jax.jit(functools.partial(primitive.bind, **dict(params)))
    return program


def evaluated(primitive: Any) -> Callable[..., Any]:
    """Return the rule that runs an operation on arrays that are there; it is compiled under `disable_jit` too."""

    def run(*arrays: Any, **params: Any) -> Any:
        program = compiled(primitive, tuple(params.items()))
        if not jax.config.jax_disable_jit:
            return program(*arrays)
        with jax.disable_jit(False):
            return program(*arrays)

    return run


def whole(rules: Rules) -> Any:
    """Return the operation on the arrays of one device: to it, another is lowered that may be split."""
    primitive = Primitive(rules.primitive.name)
    primitive.multiple_results = rules.primitive.multiple_results
    primitive.def_abstract_eval(rules.describe)
    mlir.register_lowering(primitive, rules.lower, platform="cpu")
    return primitive


for _rules in OPERATIONS:
    _primitive = _rules.primitive
    _primitive.def_impl(evaluated(_primitive))
    _primitive.def_abstract_eval(partition.described(_rules.describe, _rules.axes))
    _lower = partition.lowered(whole(_rules), _rules.axes, _rules.lower)
    mlir.register_lowering(_primitive, _lower, platform="cpu")
    mlir.register_lowering(_primitive, cuda.lowered(_rules.on_gpu), platform="cuda")
    require_devices(_primitive)
    ad.primitive_jvps[_primitive] = _rules.jvp
    ad.primitive_transposes[_primitive] = _rules.transpose
    batching.primitive_batchers[_primitive] = _rules.batch
