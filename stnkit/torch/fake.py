"""What operations give where there is no memory: results of the right shape, dtype and strides, with no numbers.

Sizes may be symbols, so what is remembered by sizes elsewhere is worked out here each time.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from stnkit import validation
from stnkit.torch.operations import Operation
from stnkit.torch.run import PICTURES, memory_format, nothing
from stnkit.torch.unsupported import one_device

Shape = tuple[Any, ...]  # of integers or symbols
Maybe: TypeAlias = "torch.Tensor | None"


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
        return {"grid": (*shapes["theta"][:-2], *_size(size, ndim), ndim)}
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
    channels, spatial = unremembered(validation.image_shape)(shapes[here], ndim, last, name)
    batch = unremembered(validation.batch)(shapes[here], source, ndim, operation.source, axes, name)
    if here == "out":
        validation.same_shape(name, spatial, "the grid's locations", points)
    if size is not None:
        size = _size(size, ndim)
    elif here == "out" or operation.source == "theta":
        size = unremembered(validation.image_shape)(shapes[there], ndim, last, "cotangent")[1]
    else:
        size = points
    unremembered(validation.not_empty)(shapes[here], *((spatial, size) if here == "image" else (size, spatial)))
    made = (*size, channels) if last else (channels, *size)
    return {there: (batch, *made) if len(shapes[here]) == ndim + 2 or len(source) == axes else made}


def _axes(source: str, shape: Shape) -> int:
    """Return on how many axes coordinates are; that number is never a symbol."""
    if source == "theta":
        return int(unremembered(validation.theta_axes)((*shape[:-2], *map(int, shape[-2:]))))
    return int(unremembered(validation.grid_axes)((*shape[:-1], *map(int, shape[-1:])), source))


def _size(size: Any, ndim: int) -> Shape:
    """Return the size of an output; one of symbols is checked when it is known."""
    return tuple(size) if any(isinstance(n, torch.SymInt) for n in size) else validation.size(size, ndim)


def unremembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a check that takes shapes of symbols, which cannot be looked up."""
    unwrapped: Callable[..., Any] = inspect.unwrap(function)
    return unwrapped


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
