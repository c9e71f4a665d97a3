"""What differs between the releases of JAX, and which of them will do."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

OLDEST = (0, 7, 0)


def check_release() -> None:
    """Refuse a JAX that is too old."""
    if jax.__version_info__ < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        msg = f"stnkit needs jax {wanted} or newer for JAX arrays; got jax {jax.__version__}; pip install -U jax"
        raise ImportError(msg)


def enable_x64(wanted: bool = True) -> Any:
    """Return the context in which 64-bit types are kept, or not, whatever the user has chosen."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(wanted)
    from jax.experimental import enable_x64

    return enable_x64(wanted)


def _buffer_callback() -> Any:
    """Return by what callbacks share XLA's memory, which is an experiment of JAX's; None if this one lacks it."""
    try:
        from jax.experimental.buffer_callback import buffer_callback
    except ImportError:
        return None
    return buffer_callback


buffer_callback = _buffer_callback()


def callback(fill: Callable[..., None], forms: Sequence[Any]) -> Callable[..., Sequence[Any]]:
    """Return the operation that calls `fill(execution, results, *operands)` while a program runs.

    `fill` writes the results in place, or into copies where this JAX shares no memory.
    """
    if buffer_callback is not None:
        called: Callable[..., Sequence[Any]] = buffer_callback(fill, forms)
        return called

    def filled(*operands: Any) -> Sequence[Any]:
        results = [np.empty(form.shape, form.dtype) for form in forms]
        fill(None, results, *operands)
        return results

    return lambda *operands: jax.pure_callback(filled, forms, *operands)


def vary_alike(*arrays: Any) -> tuple[Any, ...]:
    """Mark arrays, of which some differ between the devices of a `shard_map`, as differing all alike.

    The cotangent of an array that did not differ is then summed over the devices.
    """
    axes = [*map(_varying, arrays)]
    every = frozenset().union(*axes)
    if all(map(every.__eq__, axes)):
        return arrays
    return tuple(
        _vary(array, tuple(every - own)) if every - own else array for array, own in zip(arrays, axes, strict=True)
    )


def _varying(array: Any) -> frozenset[Any]:
    aval = jax.typeof(array)
    mine: frozenset[Any] = aval.manual_axis_type.varying if hasattr(aval, "manual_axis_type") else aval.vma
    return mine


def _vary(array: Any, axes: tuple[Any, ...]) -> Any:
    return jax.lax.pcast(array, axes, to="varying") if hasattr(jax.lax, "pcast") else jax.lax.pvary(array, axes)


def described(operand: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a result as JAX describes it, which differs between devices where `operand` does."""
    whole = jax.sharding.NamedSharding(operand.sharding.mesh, jax.sharding.PartitionSpec(*(None for _ in shape)))
    return operand.update(shape=shape, dtype=dtype, weak_type=False, sharding=whole)


def like(array: Any, aval: Any) -> Any:
    """Return an array in the dtype of another, and split as that is along the explicit axes of a mesh."""
    array = array.astype(aval.dtype)
    if jax.typeof(array).sharding.spec == aval.sharding.spec:
        return array
    return jax.sharding.reshard(array, aval.sharding)


def is_exported(context: Any) -> bool:
    """Tell whether a program is lowered for `jax.export`, to run in another process."""
    parameters = getattr(context.module_context, "lowering_parameters", None)
    return bool(getattr(parameters, "for_export", False))


def outside_meshes() -> Any:
    """Return the context in which arrays are no parts of a mesh."""
    try:
        from jax.sharding import AbstractMesh, use_abstract_mesh
    except ImportError:  # before jax 0.8
        from jax._src.mesh import AbstractMesh, use_abstract_mesh
    return use_abstract_mesh(AbstractMesh((), ()))


def _requires_devices() -> Any:
    """Return the set of the operations that have to know the devices when they are lowered; None if it is gone."""
    try:
        from jax._src.dispatch import prim_requires_devices_during_lowering
    except ImportError:
        return None
    return prim_requires_devices_during_lowering


requires_devices = _requires_devices()  # without it, operations are not split, and arrays are gathered for them


def can_ask(context: Any) -> bool:
    """Tell whether XLA can ask, while it compiles a program, how operations are split: for several devices, here."""
    devices = getattr(context.module_context.axis_context, "num_devices", None)
    return requires_devices is not None and devices != 1 and not is_exported(context)


def require_devices(primitive: Any) -> None:
    """Ask JAX for the devices when an operation is lowered."""
    if requires_devices is not None:
        requires_devices.add(primitive)


check_release()
