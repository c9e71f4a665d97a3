"""All that JAX asks of each operation, registered in one order."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from stnkit.jax import axes, cuda, partition, prefilter
from stnkit.jax import primitives as p
from stnkit.jax._compat import require_devices
from stnkit.jax.batching import one_batch, sample_batch, splat_batch, tangent_batch, vjp_batch
from stnkit.jax.ffi.lower import by_callback
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
    sources: tuple[int, ...]  # which operands are a source, or its tangent
    jvp: Callable[..., Any]
    transpose: Callable[..., Any]
    batch: Callable[..., Any]


OPERATIONS = (
    Rules(
        p.sample_p, p.sample_aval, axes.sample, p.lower_sample, cuda.sample, (1,),
        sample_jvp, sample_transpose, sample_batch,
    ),
    Rules(
        p.splat_p, p.splat_aval, axes.splat, p.lower_splat, cuda.splat, (1,),
        splat_jvp, splat_transpose, splat_batch,
    ),
    Rules(
        p.tangent_p, p.tangent_aval, axes.tangent, p.lower_tangent, cuda.tangent, (1, 2),
        tangent_jvp, tangent_transpose, tangent_batch,
    ),
    Rules(
        p.vjp_p, p.vjp_aval, axes.vjp, p.lower_vjp, cuda.vjp, (2,),
        vjp_jvp, vjp_transpose, vjp_batch,
    ),
    Rules(
        p.grid_p, p.grid_aval, axes.grid, p.lower_grid, cuda.grid, (),
        grid_jvp, grid_transpose, one_batch(p.grid_p),
    ),
    Rules(
        p.grid_vjp_p, p.grid_vjp_aval, axes.grid_vjp, p.lower_grid_vjp, cuda.grid_vjp, (),
        grid_vjp_jvp, grid_vjp_transpose, one_batch(p.grid_vjp_p),
    ),
    Rules(
        prefilter.filter_p, prefilter.filter_aval, prefilter.filter_axes, prefilter.lower_filter, prefilter.on_gpu, (),
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


def on_grids(rules: Rules, lower: Callable[..., Any], needed: Callable[[], bool]) -> Callable[..., Any]:
    """Return a rule of lowering that is given grids in place of indices, where that is needed."""

    def rule(context: Any, *operands: Any, **params: Any) -> Sequence[Any]:
        values: Sequence[Any]
        if not (rules.sources and params["sampler"].ij and needed()):
            values = lower(context, *operands, **params)
            return values
        plain = params | {"sampler": params["sampler"]._replace(ij=False)}

        def run(*arrays: Any) -> Any:
            given = [p.as_grid(array) if k in rules.sources else array for k, array in enumerate(arrays)]
            made = rules.primitive.bind(*given, **plain)
            return [*made[:-1], p.as_indices(made[-1])] if rules.primitive is p.vjp_p else made

        values = mlir.lower_fun(run, multiple_results=rules.primitive.multiple_results)(context, *operands)
        return values

    return rule


def whole(rules: Rules) -> Any:
    """Return the operation on the arrays of one device: to it, another is lowered that may be split."""
    primitive = Primitive(rules.primitive.name)
    primitive.multiple_results = rules.primitive.multiple_results
    primitive.def_abstract_eval(rules.describe)
    mlir.register_lowering(primitive, rules.lower, platform="cpu")
    return primitive


def for_cpus(rules: Rules) -> Callable[..., Any]:
    """Return the rule that lowers an operation for CPUs."""
    return on_grids(rules, partition.lowered(whole(rules), rules.axes, rules.lower), by_callback)


def for_gpus(rules: Rules) -> Callable[..., Any]:
    """Return the rule that lowers an operation for GPUs."""
    return on_grids(rules, cuda.lowered(rules.on_gpu), lambda: True)


for _rules in OPERATIONS:
    _primitive = _rules.primitive
    _primitive.def_impl(evaluated(_primitive))
    _primitive.def_abstract_eval(partition.described(_rules.describe, _rules.axes))
    mlir.register_lowering(_primitive, for_cpus(_rules), platform="cpu")
    mlir.register_lowering(_primitive, for_gpus(_rules), platform="cuda")
    require_devices(_primitive)
    ad.primitive_jvps[_primitive] = _rules.jvp
    ad.primitive_transposes[_primitive] = _rules.transpose
    batching.primitive_batchers[_primitive] = _rules.batch
