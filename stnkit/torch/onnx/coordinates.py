"""ONNX nodes for coordinates: lattices of affine maps, flows and pixels, in the dtype of the arithmetic."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from onnxscript import evaluator, ir
from onnxscript import opset18 as op
from onnxscript import opset20 as op20
from torch.fx.node import map_arg

from stnkit.spec import REFLECTION, Options

Value = Any  # what the exporter puts in a tensor's place
Sizes = Sequence[Any]  # of ints, and of values where a size is known only when the file is run


class Choice(NamedTuple):
    """The options of one call, and what follows from its dtypes."""

    axes: int
    options: Options
    fill: Sequence[float]
    dtype: np.dtype[Any]  # of the arithmetic

    def constant(self, numbers: Any) -> Value:
        """Return a constant in the dtype of the arithmetic."""
        return op.Constant(value=ir.tensor(np.asarray(numbers, self.dtype)))

    def cast(self, value: Value) -> Value:
        """Bring a value to the dtype of the arithmetic."""
        wanted = ir.DataType.from_numpy(self.dtype)
        return value if value.dtype == wanted else op.Cast(value, to=wanted.value)


def refuse(what: str) -> NoReturn:
    """Say what cannot be exported."""
    msg = f"ONNX cannot express {what}"
    raise ValueError(msg)


def lattice(choice: Choice, theta: Value, size: Sizes) -> Value:
    """Write an AffineGrid for maps with a batch axis, (N, d, d + 1); the result is (N, *size, d).

    One axis is that of a grid one point high. Where corners are aligned, ONNX puts the single point of an axis of
    size 1 at -1, and stnkit at 0: there theta loses that axis' column. A size that is not known yet is not 1: so
    torch.export takes it.
    """
    need_opset_20("an affine map")
    axes, align = choice.axes, choice.options.align
    columns = np.eye(axes + 1)
    for axis, n in enumerate(reversed(size)):
        columns[axis, axis] = not (align and n == 1)
    if axes == 1:
        columns = np.insert(columns, 1, 0, axis=1)
    if columns.shape != (axes + 1, axes + 1) or not columns.diagonal().all():
        theta = op.MatMul(theta, choice.constant(columns))
    if axes == 1:
        theta = op.Pad(theta, integers([0, 0, 0, 0, 1, 0]))
    shape = [op.Shape(theta, start=0, end=1), 1, *[1] * (axes == 1), *size]
    grid = op20.AffineGrid(theta, joined(shape), align_corners=int(align))
    if axes > 1:
        return grid
    return op.Slice(op.Squeeze(grid, integers([1])), integers([0]), integers([1]), integers([2]))


def moved(choice: Choice, flow: Value) -> Value:
    """Add a flow to the lattice of its own locations; the result has a batch axis."""
    axes = choice.axes
    size = extent_of(flow, axes, True)
    still = lattice(choice, choice.constant(np.eye(axes, axes + 1)[None]), size)
    shift = batched(choice.cast(flow), flow, axes + 2)
    return op.Add(still, op.Mul(shift, pixel(choice, size)) if choice.options.pixel else shift)


def from_pixels(choice: Choice, points: Value, extent: Sizes) -> tuple[Choice, Value]:
    """Normalise pixel coordinates: u = (2 p + 1) / n - 1, or 2 p / (n - 1) - 1 where corners are aligned.

    Only reflection tells the two conventions apart, so any other padding takes the first, which has no n - 1.
    """
    align = choice.options.align and choice.options.padding[0] == REFLECTION
    choice = choice._replace(options=choice.options._replace(align=align))
    step = pixel(choice, extent)
    first = choice.constant(1) if align else op.Sub(choice.constant(1), op.Mul(step, choice.constant(0.5)))
    return choice, op.Sub(op.Mul(points, step), first)


def pixel(choice: Choice, extent: Sizes) -> Value:
    """Return a pixel's size in normalised coordinates, in x, y, z order: 2 / n, or 2 / (n - 1) but 0 for n = 1."""
    align = choice.options.align
    if all(isinstance(n, int) for n in extent):
        steps = [n - align for n in reversed(extent)]
        return choice.constant([2 / n if n else 0 for n in steps])
    counts = choice.cast(joined(list(reversed(extent))))
    return op.Div(choice.constant(2), op.Sub(counts, choice.constant(1)) if align else counts)


def extent_of(value: Value, axes: int, channels_last: bool) -> Sizes:
    """Return the spatial sizes of an image: ints where they are known."""
    first = len(value.shape) - axes - channels_last
    sizes = range(first, first + axes)
    return [n if isinstance(n := value.shape[i], int) else op.Shape(value, start=i, end=i + 1) for i in sizes]


def evaluated(value: Value, what: str) -> Callable[[], torch.Tensor]:
    """Return what gives the numbers of a constant; refuse one that follows from an input of the file.

    The exporter writes nodes first, and fills constants in when all are written: so it is to be called after that.
    What an input is, newer exporters know from the start.
    """
    given, todo = {}, [value]
    while todo:
        here = todo.pop()
        maker = here.producer()
        if maker is None:
            given[here.meta["node"]] = here
        else:
            todo += [array for array in maker.inputs if array is not None]
    if any(type(node.meta.get("desc")).__name__ == "PlainAOTInput" for node in given):
        refuse(what)

    def numbers(node: torch.fx.Node) -> Any:
        if node not in given:
            return node.target(*map_arg(node.args, numbers), **map_arg(node.kwargs, numbers))
        if given[node].const_value is None:
            refuse(what)
        return torch.as_tensor(given[node].const_value.raw)

    return lambda: numbers((value if value.producer() is None else value.producer()).meta["node"])


def joined(sizes: Sizes) -> Value:
    """Return sizes as one vector of integers."""
    if all(isinstance(n, int) for n in sizes):
        return integers(sizes)
    parts = [integers([n]) if isinstance(n, int) else op.Reshape(n, integers([1])) for n in sizes]
    return op.Concat(*parts, axis=0)


def integers(numbers: Sizes) -> Value:
    """Return a constant vector of integers."""
    return op.Constant(value=ir.tensor(np.asarray(numbers, np.int64)))


def batched(value: Value, given: Value, rank: int) -> Value:
    """Give a value a batch axis, if what it was made from has none."""
    return value if len(given.shape) == rank else op.Unsqueeze(value, integers([0]))


def repeated(value: Value, like: Value, axes: int) -> Value:
    """Repeat the only item of a batch as often as another value has items."""
    return op.Expand(value, joined([op.Shape(like, start=0, end=1), *[1] * (axes + 1)]))


def need_opset_20(what: str) -> None:
    """Refuse what an older operator set lacks, if the file is to be in one."""
    version = evaluator.default().opset.version
    if version < 20:
        refuse(f"{what} in opset {version}; pass `opset_version=20` or more to torch.onnx.export")
