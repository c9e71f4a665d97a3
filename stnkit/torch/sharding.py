"""How operations are split over devices: their rules for `torch.distributed.tensor`, by the names of axes.

An axis is split in every array that has its name, and what a result lacks is summed (`Partial`). An axis without a name
is needed whole.
"""

import functools
import sys
from typing import Any

from stnkit.torch import prefilter
from stnkit.torch._compat import BELOW, depend_on_arguments
from stnkit.torch.operations import OPERATIONS, Operation, registered
from stnkit.torch.run import PICTURES

Names = tuple[str | None, ...]  # of the axes of an array
Placements = tuple[list[Any], list[Any]]  # of results, and of arguments


def register_if_used() -> None:
    """Register the rules, if the program has imported what they are for."""
    if "torch.distributed.tensor" in sys.modules:
        _register()


@functools.cache
def _register() -> None:
    from torch.distributed.tensor.experimental import register_sharding

    for operation in (*OPERATIONS.values(), prefilter.OPERATION):
        find = filter_shardings if operation is prefilter.OPERATION else functools.partial(shardings, operation)
        for end in {"", BELOW}:
            overload = registered(operation, end)
            register_sharding(overload)(find)
            depend_on_arguments(overload)


def shardings(operation: Operation, *arguments: Any, **options: Any) -> list[Placements]:
    """Return which placements, along one axis of a mesh, an operation takes and gives."""
    count = len(operation.arrays)
    asked = arguments[count] if operation.chosen else (True,) * len(operation.results)
    named = names(operation, arguments[:count], options)
    operands = [None if a is None else named[s] for a, s in zip(arguments[:count], operation.shapes, strict=True)]
    results = [named[shape] if wanted else None for shape, wanted in zip(operation.results, asked, strict=True)]
    there = sorted({name for axes in operands if axes is not None for name in axes if name is not None})
    rest = [None] * (len(arguments) - count)
    return [(_results(results, name), [*_operands(operands, name), *rest]) for name in (None, *there)]


def filter_shardings(image: Any, *, axes: list[int], **_: Any) -> list[Placements]:
    """Return the same of a spline's filter: its axes are needed whole."""
    own = tuple(None if axis in axes or axis - len(image.shape) in axes else str(axis) for axis in range(image.ndim))
    return [(_results([own], name), _operands([own], name)) for name in (None, *filter(None, own))]


def names(operation: Operation, arrays: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Names]:
    """Name the axes of an operation's arrays and results, by the names of their shapes.

    Channels are told apart where each has a fill value of its own. A grid has each location, but a map or a flow adds
    to where in the output it is; and so does whatever makes a grid.
    """
    ndim = arrays[operation.where].shape[-2 if operation.source == "theta" else -1]
    channel = "channel" if len(options.get("fill_value", (0.0,))) == 1 else None
    is_located = operation.picture is not None and operation.source == "grid"
    located = tuple(f"location{axis}" if is_located else None for axis in range(ndim))
    spatial = {"out": located, "grid": located, "theta": (None,), "image": (None,) * ndim, "flow": (None,) * ndim}
    given = {shape: array for array, shape in zip(arrays, operation.shapes, strict=True) if array is not None}
    items = {s: array.shape[: len(array.shape) - len(spatial[s]) - 1] for s, array in given.items()}  # () or (batch,)
    batch = max(items.values())
    found = {}
    for shape in {*operation.shapes, *operation.results}:
        own = items.get(shape, batch)
        first = tuple("batch" if own == batch else None for _ in own)
        if shape not in PICTURES:
            found[shape] = (*first, *spatial[shape], None)
        elif options.get("data_format") == "channels_last":
            found[shape] = (*first, *spatial[shape], channel)
        else:
            found[shape] = (*first, channel, *spatial[shape])
    return found


def _operands(every: list[Names | None], name: str | None) -> list[Any]:
    from torch.distributed.tensor import Replicate, Shard

    return [
        None if axes is None else Shard(axes.index(name)) if name is not None and name in axes else Replicate()
        for axes in every
    ]


def _results(every: list[Names | None], name: str | None) -> list[Any]:
    from torch.distributed.tensor import Partial, Replicate, Shard

    return [
        Replicate() if name is None or axes is None else Shard(axes.index(name)) if name in axes else Partial()
        for axes in every
    ]
