"""What `torch.vmap` does to operations: the mapped axis and the batch axis become one batch axis."""

from typing import Any, TypeAlias

import torch

from stnkit.torch.arguments import in_speech
from stnkit.torch.autograd import call
from stnkit.torch.operations import Operation
from stnkit.torch.run import axes

Maybe: TypeAlias = "torch.Tensor | None"


def batched(operation: Operation, info: Any, in_dims: tuple[Any, ...], *arguments: Any, **schema: Any) -> Any:
    """Be the operation's rule of vmap: every item is done as one of a batch, and what they shared is summed over."""
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
    results = call(operation.name, *folded, *rest, **in_speech(schema))
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
