"""Running an operation on tensors: the public function on views of their memory, in main memory or on a GPU."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from stnkit.kernels.cpu import threads
from stnkit.torch import memory
from stnkit.torch.cuda import interop
from stnkit.torch.operations import Operation
from stnkit.torch.unsupported import unknown_dtype
from stnkit.validation.prefilter import FILTERED

PICTURES = ("image", "out")  # the shapes that have a channel axis

Maybe: TypeAlias = "torch.Tensor | None"


def kernel(operation: Operation, tensors: Sequence[Maybe], rest: Sequence[Any], options: dict[str, Any]) -> Any:
    """Run an operation with the arguments of its schema: a result that is not asked for is an empty tensor.

    Operations filter no image: what calls them has done so.
    """
    if operation.chosen:
        wrt = [name for name, asked in zip(operation.names, rest[0], strict=True) if asked]
        rest, options = (), {**options, "wrt": wrt}
    if options.get("mode") in FILTERED:
        options = {**options, "prefilter": False}
    results = run(operation, tensors, rest, options)
    if type(results) is tuple:
        return tuple([nothing(tensors[operation.where]) if result is None else result for result in results])
    return results


def nothing(like: Any) -> torch.Tensor:
    """Return the empty tensor that stands for a result that is not asked for."""
    return like.new_empty(0)


def run(operation: Operation, tensors: Sequence[Maybe], size: Sequence[Any], options: dict[str, Any]) -> Any:
    """Call the public function on views of tensors; its results become tensors on the same memory.

    Pictures that lie in memory with their channels last are handed over as what they are, and so are their results.
    """
    return owned(on_views(operation, tensors, viewed(operation, tensors), size, options))


def viewed(operation: Operation, tensors: Sequence[Maybe]) -> list[Any]:
    """View the memory of an operation's tensors as arrays."""
    try:
        return [None if tensor is None else memory.as_array(tensor) for tensor in tensors]
    except TypeError as error:  # of torch, which does not say which tensor NumPy has no dtype for
        raise unknown_dtype(operation, tensors, error) from error


def on_views(
    operation: Operation, tensors: Sequence[Maybe], views: list[Any], size: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Call the public function on views of tensors.

    What torch is told of deterministic algorithms holds on a GPU, if the call says nothing of them itself.
    """
    if operation.summing and interop.is_steady() and "deterministic" not in options:
        options = {**options, "deterministic": True}
    if memory_format(operation, tensors, options) is torch.contiguous_format:
        return on_torchs_threads(operation.plain, *views, *size, **options)
    last = {**options, "data_format": "channels_last"}
    try:
        results = on_torchs_threads(operation.plain, *turned(operation, views), *size, **last)
    except ValueError:
        operation.plain(*views, *size, **options)  # says it of the axes as they were given
        raise
    if len(operation.results) == 1:
        return memory.channels_to_front(results)
    return tuple(_turned(results, operation.results, memory.channels_to_front))


def turned(operation: Operation, views: list[Any]) -> list[Any]:
    """View an operation's arrays with the channels of pictures last."""
    return _turned(views, operation.shapes, memory.channels_to_end)


def _beside_start() -> Callable[[], None]:
    """Keep torch's number of threads: where Numba's share GNU OpenMP with torch's, starting them sets it."""
    had = torch.get_num_threads()

    def restore() -> None:
        if torch.get_num_threads() != had:
            torch.set_num_threads(had)

    return restore


threads.beside_start.append(_beside_start)


def on_torchs_threads(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function, in which no more threads work than `torch.get_num_threads` allows."""
    with threads.at_most(torch.get_num_threads()):
        return function(*args, **options)


def owned(results: Any) -> Any:
    """Make tensors of results, on the same memory."""
    if type(results) is tuple:
        return tuple([None if result is None else memory.as_tensor(result) for result in results])
    return memory.as_tensor(results)


def _turned(
    arrays: Sequence[np.ndarray | None], shapes: Sequence[str], turn: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray | None]:
    pairs = zip(arrays, shapes, strict=True)
    return [turn(array) if shape in PICTURES and array is not None else array for array, shape in pairs]


def memory_format(operation: Operation, tensors: Sequence[Maybe], options: dict[str, Any]) -> torch.memory_format:
    """Return the memory format that an operation's pictures have, and its results are to have."""
    if operation.picture is None or options.get("data_format", "channels_first") != "channels_first":
        return torch.contiguous_format
    picture = tensors[operation.picture]
    assert picture is not None
    found = memory.memory_format(picture)
    if found is torch.contiguous_format:
        return found
    ndim = axes(operation, tensors)
    for tensor, shape in zip(tensors, operation.shapes, strict=True):
        if shape in PICTURES and tensor is not None and tensor.dim() != ndim + 2:
            return torch.contiguous_format  # there is an item without its batch axis, or an error to be found
    return found


def axes(operation: Operation, tensors: Sequence[Maybe]) -> int:
    """Return on how many axes an operation acts, as the shape of its source says."""
    source = tensors[operation.where]
    assert source is not None
    if source.dim() < 2:
        return 0
    return int(source.shape[-2 if operation.source == "theta" else -1])
