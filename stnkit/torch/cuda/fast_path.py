"""The fast path on a GPU: what a call did is remembered step by step, and done again with other addresses.

What is allocated and launched follows from shapes, strides, dtypes and options. So the first call of a kind is traced,
and a repeated one only allocates, and launches with the addresses of the tensors in hand.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from stnkit.backends.cuda.array import DeviceArray, Shape, reach
from stnkit.backends.cuda.memory import constant
from stnkit.kernels.cuda import runtime
from stnkit.plans.strides import gapless
from stnkit.torch.cuda import interop
from stnkit.torch.operations import Operation
from stnkit.torch.run import on_views

Options = dict[str, Any]
FastCall = Callable[..., Any]


class BufferOffset(NamedTuple):
    """An address, by the buffer of a call that holds it; buffer 0 is none."""

    buffer: int
    offset: int


class Layout(NamedTuple):
    """Which numbers of a buffer a result has."""

    offset: int
    shape: Shape
    strides: Shape


class Result(NamedTuple):
    """The buffer of a result, and which part of it that is; None if the result owns it."""

    buffer: int
    layout: Layout | None


NO_RESULT = Result(0, None)


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


def learned(
    operation: Operation, tensors: Sequence[torch.Tensor], rest: Sequence[Any], options: Options
) -> tuple[Any, FastCall] | None:
    """Do a call, and return its results and what does calls like it: those whose tensors differ in addresses alone.

    Of addresses, the bits that tell alignment stay too. None is for a call that is checked and planned in full, which
    also says what is wrong with it.
    """
    where = tensors[0].device
    if options.get("antialias") is True:
        return None  # what is done follows from numbers
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
    several = type(results) is tuple
    given: Sequence[DeviceArray | None] = results if several else (results,)
    replay = _replay(trace, tensors, given, several, where)
    made = [None if result is None else interop.own(result) for result in given]
    return tuple(made) if several else made[0], replay


CALL = """\
def call({given}, *_):
    stream = interop.stream({index})
    queue = queue_of(stream)
    pushed = push({index})
    try:
        {steps}
        return {results}
    finally:
        if pushed:
            pop()
"""


def _replay(
    trace: LaunchTrace,
    tensors: Sequence[torch.Tensor],
    results: Sequence[DeviceArray | None],
    several: bool,
    where: torch.device,
) -> FastCall:
    """Return what does the steps of a trace with as many other tensors, the first of its arguments.

    The steps are written one after another as a function of Python: a call of one for each would take about as long as
    what they do. A buffer that no later step needs is let go of.
    """
    count, index = len(tensors), where.index or 0
    finals = [NO_RESULT if result is None else _result(trace, result) for result in results]
    finished = _finished(trace, {final.buffer for final in finals})
    names: Options = {"torch": torch, "interop": interop, "part": _part}
    names |= {"push": runtime.push, "pop": runtime.pop, "queue_of": runtime.queue_of}
    starts = ["0", *(f"b{n}.data_ptr()" for n in range(1, 1 + count))]  # where each buffer begins
    steps: list[str] = []
    for at, ((kind, *given), done) in enumerate(zip(trace.steps, finished, strict=True)):
        new, go = f"b{len(starts)}", f"go{at}"
        if kind == "empty":
            shape, strides = _owned(finals, len(starts), given[0])
            names[go], like = _allocator(shape, strides, given[1], where, tensors)
            steps.append(f"{new} = torch.empty_like(b{like})" if like else f"{new} = {go}()")
            starts.append(f"{new}.data_ptr()")
        elif kind == "constant":
            names[go] = _kept(given[0], where)
            steps.append(f"{new} = {go}(stream)")
            starts.append(f"{new}.address")
        elif kind == "clear":
            names[go] = runtime.clearing(given[1])
            steps.append(f"{go}(queue, {_written(given[0], starts)})")
        else:
            factory, spec, items, addresses, numbers = given[0]
            names[go] = runtime.ready(factory, spec, items, addresses, numbers, index)
            steps.append(f"{go}({', '.join(('queue', *(_written(place, starts) for place in given[1])))})")
        steps += [f"del b{buffer}" for buffer in done]
    made = []
    for number, (buffer, layout) in enumerate(finals):
        names[f"layout{number}"] = layout
        made.append(f"part(b{buffer}, layout{number})" if layout else f"b{buffer}" if buffer else "None")
    text = CALL.format(
        given=", ".join(f"b{n}" for n in range(1, 1 + count)),
        index=index,
        steps="\n        ".join(steps or ["pass"]),
        results=f"({', '.join(made)},)" if several else made[0],
    )
    exec(compile(text, __file__, "exec"), names)  # of numbers and names of its own alone
    call: FastCall = names["call"]
    return call


def _written(place: BufferOffset, starts: list[str]) -> str:
    """Return an address as an expression."""
    start = starts[place.buffer]
    return f"{start} + {place.offset}" if place.offset else start


def _owned(finals: list[Result], buffer: int, shape: Shape) -> tuple[Shape, Shape]:
    """Return the shape and strides of a buffer: those of the result that fills it, which then owns its memory."""
    for number, (of, part) in enumerate(finals):
        fills = of == buffer and part is not None and math.prod(part.shape) == math.prod(shape)
        if fills and part is not None and _is_dense(part.shape, part.strides):
            finals[number] = Result(buffer, None)
            return part.shape, part.strides
    return shape, gapless(shape, 1)


def _is_dense(shape: Shape, strides: Shape) -> bool:
    """Tell whether numbers lie one after another, in whatever order of the axes."""
    size = 1
    for step, n in sorted(zip(strides, shape, strict=True)):
        if n > 1 and step != size:
            return False
        size *= n
    return size > 0


def _allocator(
    shape: Shape, strides: Shape, dtype: torch.dtype, where: torch.device, tensors: Sequence[torch.Tensor]
) -> tuple[Callable[[], torch.Tensor], int]:
    """Return what allocates a buffer, and the number of an argument that is like it, or 0.

    From another tensor, torch takes a shape in less time than from numbers.
    """
    wanted = shape, strides, dtype
    likes = [n for n, t in enumerate(tensors, 1) if (tuple(t.shape), t.stride(), t.dtype) == wanted]
    new = functools.partial(torch.empty_strided, shape, strides, dtype=dtype, device=where)
    return new, likes[0] if likes and _is_dense(shape, strides) else 0


def _kept(values: np.ndarray, where: torch.device) -> Callable[[int], DeviceArray]:
    """Return what gives a constant on a stream; that of the stream which was asked for last is at hand."""
    last: tuple[int, DeviceArray] | None = None

    def kept(stream: int) -> DeviceArray:
        nonlocal last
        known = last
        if known is not None and known[0] == stream:
            return known[1]
        found = constant(interop.context(where, stream), values)
        if not runtime.is_capturing(stream, where.index or 0):  # then it may have been written for one graph alone
            last = stream, found
        return found

    return kept


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


def _result(trace: LaunchTrace, result: DeviceArray) -> Result:
    """Return where a result is."""
    at, size = trace.offset_of(result.address), result.itemsize
    return Result(at.buffer, Layout(at.offset // size, result.shape, tuple(s // size for s in result.strides)))


def _part(owner: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return a tensor that shares memory, and is a view of nothing."""
    return owner.new_empty(0).set_(owner.untyped_storage(), *layout)
