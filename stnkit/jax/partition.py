"""How an operation is split over devices, by the names of its axes: what JAX knows of it, and what XLA asks.

Along explicit axes of a mesh, how an array is split is part of its type, and follows when a program is traced. Along
others XLA decides while it compiles; it then asks for the operation on the parts that one device has.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.custom_partitioning import ArrayMapping, SdyShardingRule, custom_partitioning
from jax.interpreters import mlir
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stnkit.jax._compat import can_ask, outside_meshes
from stnkit.jax.axes import Axes, Names
from stnkit.jax.ffi.lower import by_callback
from stnkit.jax.primitives import Splat

Array = Any  # an array as JAX or XLA describes it: what has a shape, and mostly a sharding
Shards = dict[str, tuple[str, ...]]  # by the name of an axis: the axes of the mesh over which it is split


def described(describe: Callable[..., Any], axes: Callable[..., Axes]) -> Callable[..., Any]:
    """Return the rule that describes results, and how they are split along the explicit axes of a mesh."""

    def rule(*avals: Array, **params: Any) -> Any:
        found = describe(*avals, **params)
        mesh = next((aval.sharding.mesh for aval in avals if not aval.sharding.mesh.empty), None)
        if mesh is None or AxisType.Explicit not in mesh.axis_types:
            return found
        operands, results = axes(*avals, **params)
        shards = agreed(operands, avals)
        several = isinstance(found, list)
        split = [
            aval.update(sharding=NamedSharding(mesh, spec(names, shards)))
            for aval, names in zip(found if several else [found], results, strict=True)
        ]
        return split if several else split[0]

    return rule


def lowered(whole: Any, axes: Callable[..., Axes], lower: Callable[..., Any]) -> Callable[..., Sequence[Any]]:
    """Return the rule that lowers an operation by `lower`, or for several devices by way of `whole`, on each one."""

    def rule(context: Any, *operands: Any, **params: Any) -> Sequence[Any]:
        kinds = {kind for aval in context.avals_in for kind in aval.sharding.mesh.axis_types}
        # In a `shard_map` arrays are parts already; and XLA knows no callbacks that are made while it compiles.
        if AxisType.Manual in kinds or by_callback() or not can_ask(context):
            values: Sequence[Any] = lower(context, *operands, **params)
            return values
        run = splittable(whole, axes, tuple(params.items()))
        values = mlir.lower_fun(run, multiple_results=whole.multiple_results)(context, *operands)
        return values

    return rule


def splittable(whole: Any, axes: Callable[..., Axes], items: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Return an operation that XLA may split."""
    params = dict(items)

    def run(*operands: Any) -> Any:
        return whole.bind(*operands, **params)

    def partition(mesh: Mesh, operands: Sequence[Array], results: Any) -> tuple[Any, ...]:
        outs = results if whole.multiple_results else [results]
        arrays = *operands, *outs
        known = all(isinstance(array.sharding, NamedSharding) for array in arrays)
        if not known:  # XLA's own description, which JAX cannot translate without a mesh
            mesh = Mesh(np.array(sorted(operands[0].sharding.device_set, key=lambda device: device.id)), ("all",))
        named = axes(*operands, **params)
        shards = chosen((*named.operands, *named.results), arrays, mesh) if known else {}

        def part(*parts: Any) -> Any:
            with outside_meshes():
                made = whole.bind(*parts, **local(params, named, parts))
                total = [summed(*pair, shards) for pair in zip(made if several else [made], named.results, strict=True)]
            return total if several else total[0]

        several = whole.multiple_results
        given, split = ([NamedSharding(mesh, spec(names, shards)) for names in every] for every in named)
        return mesh, part, split if several else split[0], tuple(given)

    def inferred(*given: Any) -> Any:
        return partition(*given)[2]

    def sharding_rule(_: Mesh, operands: Sequence[Array], __: Any) -> SdyShardingRule:
        return rule(axes(*operands, **params))

    function = custom_partitioning(run)
    function.def_partition(partition, inferred, sharding_rule=sharding_rule)
    return function  # type: ignore[no-any-return]


def rule(named: Axes) -> SdyShardingRule:
    """Write names as XLA's partitioner reads them; an axis without one is like no other."""
    every = iter(range(sum(len(names) for arrays in named for names in arrays)))
    operands, results = (
        tuple(ArrayMapping(*(name or f"whole{next(every)}" for name in names)) for names in arrays) for arrays in named
    )
    return SdyShardingRule(operands, results)


def local(params: dict[str, Any], named: Axes, parts: Sequence[Array]) -> dict[str, Any]:
    """Return the parameters of an operation for its part of the arrays."""
    if "sampler" not in params:
        return params
    lengths = {
        name: length
        for names, part in zip(named.operands, parts, strict=True)
        for name, length in zip(names, part.shape, strict=True)
        if name is not None
    }
    sampler = params["sampler"]
    size = tuple(lengths.get(f"location{axis}", whole) for axis, whole in enumerate(sampler.size))
    channels = lengths.get("channel", len(sampler.fill) // sampler.fill_dtype.itemsize)
    sampler = sampler._replace(size=size, fill=sampler.fill[: channels * sampler.fill_dtype.itemsize])
    if "image" not in params:
        return params | {"sampler": sampler}
    image = params["image"]
    batch = image.batch if named.results[0][0] is None else lengths["batch"]
    return params | {"sampler": sampler, "image": Splat(batch, image.spatial)}


def summed(made: Any, names: Names, shards: Shards) -> Any:
    """Sum a result over the devices that have other parts of what it lacks."""
    axes = tuple(axis for name in sorted(shards.keys() - set(names)) for axis in shards[name])
    return jax.lax.psum(made, axes) if axes else made


def agreed(operands: Sequence[Names], avals: Sequence[Array]) -> Shards:
    """Return how the axes of each name are split.

    Raises
    ------
    ValueError
        If axes of one name are split in different ways, or those of two over the same axis of the mesh.
    """
    found: Shards = {}
    for name, split, _ in _split(operands, avals):
        if found.setdefault(name, split) != split:
            msg = f"arrays must be sharded alike along their {name} axes; got {found[name]} and {split}; use `reshard`"
            raise ValueError(msg)
    owners: dict[str, str] = {}
    for name, split in found.items():
        for axis in split:
            if owners.setdefault(axis, name) != name:
                msg = f"{owners[axis]} and {name} axes cannot both be sharded over {axis!r}; use `reshard`"
                raise ValueError(msg)
    return found


def chosen(named: Sequence[Names], arrays: Sequence[Array], mesh: Mesh) -> Shards:
    """Return how the axes of each name are split: evenly, and as the first array has it where arrays differ."""
    found: Shards = {}
    for name, split, length in _split(named, arrays):
        taken = {axis for axes in found.values() for axis in axes}
        if name not in found and not taken & set(split) and length % math.prod(mesh.shape[axis] for axis in split) == 0:
            found[name] = split
    return found


def _split(named: Sequence[Names], arrays: Sequence[Array]) -> Iterable[tuple[str, tuple[str, ...], int]]:
    """Yield the name of each axis that is split, the axes of the mesh, and the length."""
    for names, array in zip(named, arrays, strict=True):
        for name, axes, length in zip(names, array.sharding.spec if array.sharding else (), array.shape, strict=False):
            if name is not None and axes is not None:
                yield name, axes if isinstance(axes, tuple) else (axes,), length


def spec(names: Names, shards: Shards) -> PartitionSpec:
    """Return how an array is split."""
    return PartitionSpec(*(None if name is None else shards.get(name) for name in names))
