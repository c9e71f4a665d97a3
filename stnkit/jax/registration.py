"""All that JAX asks of each operation, registered in one order."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.interpreters import ad, batching, mlir

from stnkit.jax import gpu
from stnkit.jax import primitives as p
from stnkit.jax.batches import one_batch, sample_batch, splat_batch, tangent_batch, vjp_batch
from stnkit.jax.rules import (
    lattice_jvp,
    lattice_transpose,
    lattice_vjp_jvp,
    lattice_vjp_transpose,
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
    lower: Callable[..., Any]
    on_gpu: Callable[..., Any]
    jvp: Callable[..., Any]
    transpose: Callable[..., Any]
    batch: Callable[..., Any]


OPERATIONS = (
    Rules(p.sample_p, p.sample_aval, p.lower_sample, gpu.sample, sample_jvp, sample_transpose, sample_batch),
    Rules(p.splat_p, p.splat_aval, p.lower_splat, gpu.splat, splat_jvp, splat_transpose, splat_batch),
    Rules(p.tangent_p, p.tangent_aval, p.lower_tangent, gpu.tangent, tangent_jvp, tangent_transpose, tangent_batch),
    Rules(p.vjp_p, p.vjp_aval, p.lower_vjp, gpu.vjp, vjp_jvp, vjp_transpose, vjp_batch),
    Rules(
        p.lattice_p, p.lattice_aval, p.lower_lattice, gpu.lattice,
        lattice_jvp, lattice_transpose, one_batch(p.lattice_p),
    ),
    Rules(
        p.lattice_vjp_p, p.lattice_vjp_aval, p.lower_lattice_vjp, gpu.lattice_vjp,
        lattice_vjp_jvp, lattice_vjp_transpose, one_batch(p.lattice_vjp_p),
    ),
)  # fmt: skip


@functools.cache
def compiled(primitive: Any, form: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Return an operation as a program of its own, for arrays that are there: JAX keeps one for each shape."""
    program: Callable[..., Any] = jax.jit(functools.partial(primitive.bind, **dict(form)))
    return program


for _rules in OPERATIONS:
    _primitive = _rules.primitive
    _primitive.def_impl(lambda *arrays, _p=_primitive, **form: compiled(_p, tuple(form.items()))(*arrays))
    _primitive.def_abstract_eval(_rules.describe)
    mlir.register_lowering(_primitive, _rules.lower, platform="cpu")
    mlir.register_lowering(_primitive, gpu.lowered(_rules.on_gpu), platform="cuda")
    ad.primitive_jvps[_primitive] = _rules.jvp
    ad.primitive_transposes[_primitive] = _rules.transpose
    batching.primitive_batchers[_primitive] = _rules.batch
