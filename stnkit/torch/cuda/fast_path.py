"""The fast path on a GPU: what a call did is remembered step by step, and done again with other addresses.

What is allocated and launched follows from shapes, strides, dtypes and options. So the first call of a kind is traced,
and a repeated one only allocates, and launches with the addresses of the tensors in hand.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from stnkit._dispatch import KINDS, SCALARS
from stnkit.backends.cuda.array import DeviceArray, Shape, reach
from stnkit.backends.cuda.memory import constant
from stnkit.kernels.cuda import runtime
from stnkit.torch.cuda import interop
from stnkit.torch.operations import Operation
from stnkit.torch.run import on_views

Options = dict[str, Any]
FastCall = Callable[..., Any]

ALIGNED = 15  # which bits of an address a kernel may depend on

_fast_calls: dict[tuple[Any, ...], FastCall] = {}


class BufferOffset(NamedTuple):
    """An address, by the buffer of a call that holds it; buffer 0 is none."""

    buffer: int
    offset: int


class LaunchTrace:
    """What a call does: its buffers, of which the arguments are the first, and its steps."""

    def __init__(self) -> None:
        self.spans = [(0, 1)]
        self.steps: list[tuple[Any, ...]] = []

    def given(self, views: Sequence[DeviceArray]) -> bool:
        """Remember the arguments, and tell whether every address says whose it is: none lies in two of them."""
        spans = [reach(view) for view in views]
        self.spans += [(start, end - start) for start, end in spans]
        return not any(a[0] < b[1] and b[0] < a[1] for a, b in itertools.combinations(spans, 2))

    def offset_of(self, address: int) -> BufferOffset:
        """Return where an address is, in the newest buffer that holds it."""
        for number in reversed(range(len(self.spans))):
            start, size = self.spans[number]
            if start <= address < start + max(size, 1):
                return BufferOffset(number, address - start)
        msg = f"address {address} is in no buffer of the call"
        raise LookupError(msg)

    def allocated(self, address: int, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Remember a buffer."""
        self.spans.append((address, math.prod(shape) * dtype.itemsize))
        self.steps.append(("empty", shape, interop.torch_dtype(dtype)))

    def used(self, address: int, values: np.ndarray) -> None:
        """Remember a constant, which each stream has its own of."""
        self.spans.append((address, values.nbytes))
        self.steps.append(("constant", values))

    def cleared(self, address: int, size: int) -> None:
        """Remember zeros."""
        self.steps.append(("clear", self.offset_of(address), size))

    def launched(
        self, factory: Any, spec: Any, items: int, addresses: tuple[int, ...], numbers: tuple[Any, ...]
    ) -> None:
        """Remember a kernel."""
        self.steps.append(
            ("launch", (factory, spec, items, addresses, numbers), [self.offset_of(a) for a in addresses])
        )


def fast_call(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> FastCall | None:
    """Return what does a call on these tensors; None if there is no fast path for them."""
    if options.get("antialias") is True:
        return None  # what is done follows from numbers
    key: list[Any] = [operation.name, interop.is_steady()]
    for tensor in tensors:
        if not interop.is_ordinary(tensor):
            return None
        key += tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.data_ptr() & ALIGNED
    key += map(tuple, rest)
    for option, value in options.items():
        if type(value) not in SCALARS:
            return None
        key += option, value, type(value)
    kind = tuple(key)
    found = _fast_calls.get(kind)
    return _learned(kind, operation, tensors, rest, options) if found is None else found


def _learned(
    kind: tuple[Any, ...], operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options
) -> FastCall | None:
    """Do a call, remember its trace, and return what gives its results, once.

    None is for a call that is checked and planned in full, which also says what is wrong with it.
    """
    where = tensors[0].device
    if any(tensor.device != where for tensor in tensors) or interop.is_capturing(where):
        return None
    trace = LaunchTrace()
    context = interop.context(where, interop.stream(where.index or 0))._replace(trace=trace)
    views: list[Any] = [interop.at(context, tensor) for tensor in tensors]
    if not trace.given(views):
        return None
    if operation.chosen and rest:
        options = {**options, "wrt": [name for name, asked in zip(operation.names, rest[0], strict=True) if asked]}
        rest = ()
    try:
        results = on_views(operation, tensors, views, rest, options)
    except (TypeError, ValueError):
        return None
    if len(_fast_calls) >= KINDS:
        _fast_calls.clear()
    _fast_calls[kind] = _replay(trace, results, where)
    made = [None if r is None else interop.own(r) for r in (results if type(results) is tuple else (results,))]
    return lambda *_: tuple(made) if type(results) is tuple else made[0]  # which this call has done


def _replay(trace: LaunchTrace, results: Any, where: torch.device) -> FastCall:
    """Return what does the steps of a trace with other tensors."""
    index = where.index or 0
    steps: list[tuple[Any, ...]] = []
    for step in trace.steps:
        if step[0] == "launch":
            factory, spec, items, addresses, numbers = step[1]
            step = "launch", runtime.ready(factory, spec, items, addresses, numbers, index), step[2]
        steps.append(step)
    several = type(results) is tuple  # all that is kept of them, which own memory
    given = results if several else (results,)
    finals = [None if result is None else _final(trace, result) for result in given]
    finished = _finished(trace, {final[0] for final in finals if final is not None})

    def call(*tensors: torch.Tensor) -> Any:
        stream = interop.stream(index)
        owners: list[Any] = [None, *tensors]
        starts = [0, *[tensor.data_ptr() for tensor in tensors]]
        for step, buffers in zip(steps, finished, strict=True):
            if step[0] == "launch":
                step[1](stream, [starts[buffer] + offset for buffer, offset in step[2]])
            elif step[0] == "empty":
                owners.append(torch.empty(step[1], dtype=step[2], device=where))
                starts.append(owners[-1].data_ptr())
            elif step[0] == "clear":
                buffer, offset = step[1]
                runtime.clear(starts[buffer] + offset, step[2], stream, index)
            else:
                owners.append(constant(interop.context(where, stream), step[1]))
                starts.append(owners[-1].address)
            for buffer in buffers:
                owners[buffer] = None
        made = [None if final is None else _made(owners[final[0]], *final[1:]) for final in finals]
        return tuple(made) if several else made[0]

    return call


def _finished(trace: LaunchTrace, kept: set[int]) -> list[list[int]]:
    """Return which buffers each step is the last to need, among those that the call allocates and does not keep.

    They are let go in the order of the stream, which whatever is allocated in their memory is used on too.
    """
    last: dict[int, int] = {}
    made = [at for at, step in enumerate(trace.steps) if step[0] in ("empty", "constant")]
    last.update(enumerate(made, len(trace.spans) - len(made)))
    arguments = len(trace.spans) - len(made)
    for at, step in enumerate(trace.steps):
        addresses = step[2] if step[0] == "launch" else step[1:2] if step[0] == "clear" else ()
        last.update((address.buffer, at) for address in addresses)
    finished: list[list[int]] = [[] for _ in trace.steps]
    for buffer, at in last.items():
        if buffer >= arguments and buffer not in kept:
            finished[at].append(buffer)
    return finished


def _final(trace: LaunchTrace, result: DeviceArray) -> tuple[int, int, Shape, Shape]:
    """Return where a result is in its buffer, with its shape and strides."""
    at = trace.offset_of(result.address)
    return (
        at.buffer,
        at.offset // result.itemsize,
        result.shape,
        tuple(s // result.itemsize for s in result.strides),
    )


def _made(owner: torch.Tensor, offset: int, shape: Shape, steps: Shape) -> torch.Tensor:
    """Return a result as the tensor that owns its memory, or one that shares it."""
    if tuple(owner.shape) == shape and owner.stride() == steps:
        return owner
    return owner.new_empty(0).set_(owner.untyped_storage(), offset, shape, steps)
