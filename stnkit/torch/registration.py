"""Registration: every operation of the table as `torch.ops.stnkit.<name>`, with all that torch asks of one.

That is a kernel, derivatives, a rule of `torch.vmap`, and what it gives where there is no memory: results of the right
shape, dtype and strides without numbers. There sizes may be symbols.
"""

import functools
import inspect
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from stnkit import validation
from stnkit.torch import prefilter
from stnkit.torch._compat import BELOW
from stnkit.torch.autograd import RULES, call, dispatched
from stnkit.torch.derivatives.grids import LINEAR, of_flow, of_grid, of_theta
from stnkit.torch.derivatives.samplers import sampler
from stnkit.torch.derivatives.splat import SPLAT
from stnkit.torch.operations import NAMESPACE, OPERATIONS, Operation, from_schema
from stnkit.torch.run import PICTURES, axes, kernel, memory_format, nothing
from stnkit.torch.sharding import register_if_used
from stnkit.torch.unsupported import one_device

Shape = tuple[Any, ...]  # of integers or symbols
Maybe: TypeAlias = "torch.Tensor | None"

# The checks of shapes below `functools.lru_cache`: shapes of symbols cannot be looked up.
_image_shape, _batch = inspect.unwrap(validation.image_shape), inspect.unwrap(validation.batch)
_not_empty = inspect.unwrap(validation.not_empty)
_theta_axes, _grid_axes = inspect.unwrap(validation.theta_axes), inspect.unwrap(validation.grid_axes)

RULES.update(sampler("grid_sample", of_grid))
RULES.update(sampler("affine_sample", of_theta))
RULES.update(sampler("flow_sample", of_flow))
RULES.update(LINEAR)
RULES.update(SPLAT)

# Images of any precision go beside coordinates of any other, so autocast has nothing to cast: torch's dispatcher
# passes such operations through.
LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")


def computed(operation: Operation, *arguments: Any, **schema: Any) -> Any:
    """Run an operation, as its kernel in torch's dispatcher."""
    count = len(operation.arrays)
    return kernel(operation, arguments[:count], arguments[count:], from_schema(schema))


def register() -> None:
    """Register the operations, once in a process."""
    if hasattr(getattr(torch.ops, NAMESPACE), next(iter(OPERATIONS))):
        return
    for name, operation in OPERATIONS.items():
        for end in {"", BELOW}:
            _register(operation, name + end)
        LIBRARY.impl(name, functools.partial(differentiated, operation), "Autograd")
    for end in {"", BELOW}:
        _register(prefilter.OPERATION, prefilter.OPERATION.name + end, prefilter.fake, prefilter.batched)
    LIBRARY.impl(prefilter.OPERATION.name, functools.partial(differentiated, prefilter.OPERATION), "Autograd")


def differentiated(operation: Operation, *arguments: Any, **schema: Any) -> Any:
    """Run an operation, as its rule of autograd: the first that sees a tensor that is split over devices."""
    register_if_used()
    return dispatched(operation, *arguments, **schema)


def _register(operation: Operation, name: str, shaped: Any = None, mapped: Any = None) -> None:
    """Register all of an operation but its derivatives."""
    qualified = f"{NAMESPACE}::{name}"
    LIBRARY.define(operation.schema.replace(operation.name, name, 1), tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        LIBRARY.impl(name, functools.partial(computed, operation), device)
    torch.library.register_fake(qualified, shaped or functools.partial(fake, operation), lib=LIBRARY)
    torch.library.register_vmap(qualified, mapped or functools.partial(batched, operation), lib=LIBRARY)


def batched(operation: Operation, info: Any, in_dims: tuple[Any, ...], *arguments: Any, **schema: Any) -> Any:
    """Run an operation under `torch.vmap`: items form one batch, and what they shared is summed over."""
    count, size = len(operation.arrays), info.batch_size
    tensors, rest = arguments[:count], arguments[count:]
    mapped = [_to_front(tensor, at, size) for tensor, at in zip(tensors, in_dims[:count], strict=True)]
    ndim = axes(operation, [None if tensor is None else tensor.select(0, 0) for tensor in mapped])
    single = {
        shape: tensor.dim() - 1 < (3 if shape == "theta" else ndim + 2)  # without an axis for the batch
        for tensor, shape in zip(mapped, operation.shapes, strict=True)
        if tensor is not None
    }
    shaped = list(zip(mapped, operation.shapes, strict=True))
    whole = [tensor.unsqueeze(1) if tensor is not None and single[shape] else tensor for tensor, shape in shaped]
    items = {
        shape: tensor.shape[1] for tensor, shape in zip(whole, operation.shapes, strict=True) if tensor is not None
    }
    batch = next((n for n in items.values() if n != 1), 1)
    folded = [None if t is None else t.expand(-1, batch, *t.shape[2:]).flatten(0, 1) for t in whole]
    results = call(operation.name, *folded, *rest, **from_schema(schema))
    alone = all(single.values())

    def unfold(result: torch.Tensor, shape: str) -> torch.Tensor:
        result = result.unflatten(0, (size, batch))
        if items.get(shape, batch) != batch:
            result = result.sum(1, keepdim=True)
        return result.squeeze(1) if single.get(shape, alone) else result

    if len(operation.results) == 1:
        return unfold(results, operation.results[0]), 0
    pairs = list(zip(results, operation.results, strict=True))
    there = [result.dim() > 1 for result in results]  # what is not asked for is an empty tensor of one axis
    unfolded = tuple(unfold(r, shape) if found else r for (r, shape), found in zip(pairs, there, strict=True))
    return unfolded, tuple(0 if found else None for found in there)


def _to_front(tensor: Maybe, at: int | None, size: int) -> Maybe:
    """Bring the mapped axis to the front, or make one."""
    if tensor is None:
        return None
    return tensor.expand(size, *tensor.shape) if at is None else tensor.movedim(at, 0)


def fake(operation: Operation, *arguments: Any, **options: Any) -> Any:
    """Return what an operation gives, but without numbers."""
    count = len(operation.arrays)
    tensors, rest = arguments[:count], arguments[count:]
    one_device({name: tensor for name, tensor in zip(operation.arrays, tensors, strict=True) if tensor is not None})
    shapes = known_shapes(operation, tensors, rest, options)
    layout = memory_format(operation, tensors, options)
    asked = rest[0] if operation.chosen else (True,) * len(operation.results)
    source = tensors[operation.where]
    results = []
    for n, (shape, wanted) in enumerate(zip(operation.results, asked, strict=True)):
        dtype = _dtype(operation, tensors, n)
        if wanted and (dtype.is_floating_point or shape == "out"):
            picture = layout if shape in PICTURES else torch.contiguous_format
            results.append(torch.empty(shapes[shape], dtype=dtype, device=source.device, memory_format=picture))
        else:
            results.append(nothing(source))
    return results[0] if len(results) == 1 else tuple(results)


def known_shapes(
    operation: Operation, tensors: Sequence[Maybe], rest: Sequence[Any], options: dict[str, Any]
) -> dict[str, Shape]:
    """Return the shapes of an operation's arrays and results by their names; refuse what does not fit."""
    named = zip(operation.arrays, operation.shapes, tensors, strict=True)
    given = {array: (shape, tuple(tensor.shape)) for array, shape, tensor in named if tensor is not None}
    shapes = {shape: found for _, (shape, found) in sorted(given.items(), reverse=True)}
    ndim = _axes(operation.source, shapes[operation.source])
    make = _coordinate_shapes if operation.picture is None else _picture_shapes
    shapes = {**shapes, **make(operation, shapes, ndim, rest[0] if operation.sized else None, options)}
    for array, (shape, found) in given.items():
        validation.same_shape(array, found, "the output" if shape == "out" else f"`{shape}`", shapes[shape])
    return shapes


def _coordinate_shapes(
    operation: Operation, shapes: dict[str, Shape], ndim: int, size: Shape | None, options: dict[str, Any]
) -> dict[str, Shape]:
    """Return the shapes of grid, flow and theta, of which one is known."""
    if operation.source == "theta":
        return {"grid": (*shapes["theta"][:-2], *known_size(size, ndim), ndim)}
    known = shapes[operation.source]
    return {"grid": known, "flow": known, "theta": (*known[: -1 - ndim], ndim, ndim + 1)}


def _picture_shapes(
    operation: Operation, shapes: dict[str, Shape], ndim: int, size: Shape | None, options: dict[str, Any]
) -> dict[str, Shape]:
    """Return the shape of what a picture is sampled, or splatted, to."""
    assert operation.picture is not None
    last = options.get("data_format", "channels_first") == "channels_last"
    name, here = operation.arrays[operation.picture], operation.shapes[operation.picture]
    there = "out" if here == "image" else "image"
    source = shapes[operation.source]
    points = () if operation.source == "theta" else source[-1 - ndim : -1]
    axes = 3 if operation.source == "theta" else ndim + 2
    channels, spatial = _image_shape(shapes[here], ndim, last, name)
    batch = _batch(shapes[here], source, ndim, operation.source, axes, name)
    if here == "out":
        validation.same_shape(name, spatial, "the grid's locations", points)
    if size is not None:
        size = known_size(size, ndim)
    elif here == "out" or operation.source == "theta":
        size = _image_shape(shapes[there], ndim, last, "cotangent")[1]
    else:
        size = points
    _not_empty(shapes[here], *((spatial, size) if here == "image" else (size, spatial)))
    made = (*size, channels) if last else (channels, *size)
    return {there: (batch, *made) if len(shapes[here]) == ndim + 2 or len(source) == axes else made}


def _axes(source: str, shape: Shape) -> int:
    """Return on how many axes coordinates are; that number is never a symbol."""
    if source == "theta":
        return int(_theta_axes((*shape[:-2], *map(int, shape[-2:]))))
    return int(_grid_axes((*shape[:-1], *map(int, shape[-1:])), source))


def known_size(size: Any, ndim: int) -> Shape:
    """Return the size of an output; one of symbols is checked when it is known."""
    return tuple(size) if any(isinstance(n, torch.SymInt) for n in size) else validation.size(size, ndim)


def _dtype(operation: Operation, tensors: Sequence[Maybe], n: int) -> torch.dtype:
    """Return the dtype of the n-th result."""
    source = tensors[operation.where]
    assert source is not None
    wide = torch.float32 if source.dtype.itemsize == 2 else source.dtype
    if operation.picture is None:
        return wide if operation.results == ("grid",) else source.dtype
    picture = tensors[operation.picture]
    assert picture is not None
    if operation.results[n] == operation.source:
        return source.dtype
    derived = n > 0 or "cotangent" in operation.arrays
    return wide if derived and operation.results[n] == "out" and not picture.is_floating_point() else picture.dtype
