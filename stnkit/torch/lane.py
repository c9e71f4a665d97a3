"""The short lane: samplers on plain tensors without gaps go from one look-up to the kernel.

What runs follows from shapes, dtypes and options. So what is worked out for a call is remembered, and a repeated call
only allocates and passes addresses on. What is special in any way goes the long way, which also says what is wrong.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from stnkit import check, recipes
from stnkit.api import affine, flow, grid
from stnkit.api.call import Call, fits_output
from stnkit.dtypes import FLOAT32, FLOAT64
from stnkit.kernels.threads import launch
from stnkit.ops import address, readable, source_sums, walkable
from stnkit.plans.layout import contiguous
from stnkit.spec import AFFINE
from stnkit.torch import gpu, memory
from stnkit.torch._compat import is_ordinary
from stnkit.torch.operations import Operation
from stnkit.torch.run import on_torchs_threads

Options = dict[str, Any]
Way = Callable[..., Any]  # does a call on tensors of one kind; a result that is not asked for is None
Known: TypeAlias = "Way | None"

KINDS = 4096  # so many are remembered
LARGE = 1 << 22  # bytes of arrays; beyond, looks and checks are no matter, and NumPy allocates in larger pages

_WORDS = frozenset((str, bool, int, float))  # types of options that can be a part of a key
_LISTS = frozenset((tuple, list, torch.Size))
_WHOLE = frozenset((int, bool))
_PREPARED: dict[str, Callable[..., Call]] = {"grid": grid.prepared, "theta": affine.prepared, "flow": flow.prepared}
_LANES = frozenset(name + end for name in ("grid_sample", "affine_sample", "flow_sample") for end in ("", "_vjp"))

_ways: dict[tuple[Any, ...], Any] = {}  # None where the way is the long one
_NEW = object()


def way(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> Known:
    """Return what does a call on these tensors; None if it has to go the long way."""
    if operation.name not in _LANES:
        return None
    if isinstance(tensors[0], torch.Tensor) and gpu.on_gpu(tensors[0]):
        from stnkit.torch import tape  # which needs the kernels' room for GPUs

        return tape.way(operation, tensors, rest, options)
    key: list[Any] = [operation.name]
    for tensor in tensors:
        if not (is_ordinary(tensor) and tensor.is_contiguous()):
            return None
        key += tensor.shape, tensor.dtype, tensor.data_ptr() & 7
    for given in rest:
        if type(given) not in _LISTS or not _WHOLE.issuperset(map(type, given)):
            return None
        key.append(tuple(given))
    for word, value in options.items():
        if type(value) not in _WORDS:
            return None
        key += word, value, type(value)
    kind = tuple(key)
    found = _ways.get(kind, _NEW)
    return _learned(kind, operation, tensors, rest, options) if found is _NEW else found


def _learned(
    kind: tuple[Any, ...], operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options
) -> Known:
    """Remember the way of a kind of call; the long way says what is wrong with a call that cannot be."""
    try:
        found = _found(operation, [memory.lend(tensor) for tensor in tensors], rest, options)
    except (TypeError, ValueError):
        return None
    if len(_ways) >= KINDS:
        _ways.clear()
    _ways[kind] = found
    return found


def _found(operation: Operation, views: list[np.ndarray], rest: Sequence[Any], options: Options) -> Known:
    """Work out the way of calls like this one; None if they have to go the long way."""
    floats = all(view.dtype in (FLOAT32, FLOAT64) and view.flags.aligned and view.size for view in views)
    if not floats or sum(view.nbytes for view in views) > LARGE:
        return None
    if operation.chosen:
        return _backward(operation, views, rest, options)
    return _forward(operation, views, rest or (None,) * operation.sized, options)


def _call(
    operation: Operation, image: np.ndarray, source: np.ndarray, sizes: Sequence[Any], options: Options
) -> Call | None:
    """Check a call; None if it has other words than options, or if theta would have to be converted."""
    words = {**operation.options, **options}
    if len(words) > len(operation.options):
        return None
    words.pop("deterministic", None)  # which a CPU always is
    call = _PREPARED[operation.source](image, source, *sizes, **words)
    converted = readable(call.source, call.form.kind, image.dtype).dtype != source.dtype
    return None if converted else call


def _forward(operation: Operation, views: Sequence[np.ndarray], sizes: Sequence[Any], options: Options) -> Known:
    """Work out the way of a sampler."""
    call = _call(operation, views[0], views[1], sizes, options)
    if call is None:
        return None
    form, fill = call.form, call.fill
    shape, run = recipes.forward(contiguous(call.image), contiguous(call.source), form.kind, form.size, form.options)
    if 0 in shape or math.prod(shape) * form.image_dtype.itemsize > LARGE:
        return None
    head, numbers, out_shape = run.head, run.numbers, form.out_shape

    def sample(image: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        out = image.new_empty(out_shape)
        places = out.data_ptr(), image.data_ptr(), source.data_ptr(), address(fill)
        on_torchs_threads(launch, *head, *places, *numbers)
        return out

    return sample


def _backward(operation: Operation, views: Sequence[np.ndarray], rest: Sequence[Any], options: Options) -> Known:
    """Work out the way of a sampler's vjp. Parts of theta's cotangent are summed as NumPy sums them."""
    words = {word: value for word, value in options.items() if word != "wrt"}
    first, second = operation.names
    wrt = tuple(rest[0]) if rest else check.names("wrt", options.get("wrt", operation.names), (first, second))
    sizes: Sequence[Any] = ()
    if operation.source == "theta":
        data_format = words.get("data_format", operation.options["data_format"])
        sizes = (affine.output_size(views[0], views[2], data_format),)
    call = _call(operation, views[1], views[2], sizes, words)
    if call is None:
        return None
    fits_output("cotangent", views[0], call.form)
    form, fill = call.form, call.fill
    cotangent, strides = walkable(call.batch(views[0]), form.options)
    image, source = contiguous(call.image), contiguous(call.source)
    asked = form.kind, form.size, form.options, wrt, strides, cotangent.size
    runs = recipes.backward(image, image, source, *asked)
    bars = recipes.bars_form(image[0][0], source[0], form.kind, form.size, source[2])
    like = np.empty(*source[::2])

    def pull(cotangent: torch.Tensor, image: torch.Tensor, source: torch.Tensor) -> tuple[Any, Any]:
        image_bar = torch.zeros_like(image) if wrt[0] else None
        source_bar = torch.zeros_like(source) if wrt[1] else None
        _run(runs, image_bar, 0 if source_bar is None else source_bar.data_ptr(), cotangent, image, source, fill)
        return image_bar, source_bar

    def pull_maps(cotangent: torch.Tensor, image: torch.Tensor, theta: torch.Tensor) -> tuple[Any, Any]:
        image_bar = torch.zeros_like(image) if wrt[0] else None
        sums = np.zeros(*bars)
        _run(runs, image_bar, address(sums), cotangent, image, theta, fill)
        return image_bar, memory.own(source_sums(sums, like, form.kind).reshape(form.source_shape))

    return pull_maps if wrt[1] and form.kind == AFFINE else pull


def _run(
    runs: Sequence[recipes.Run],
    image_bar: Any,
    source_bar: int,
    cotangent: torch.Tensor,
    image: torch.Tensor,
    source: torch.Tensor,
    fill: np.ndarray,
) -> None:
    """Run kernels that add to cotangents; that of the source is an address."""
    places = (
        *(0 if image_bar is None else image_bar.data_ptr(), source_bar),
        *(cotangent.data_ptr(), image.data_ptr(), source.data_ptr(), address(fill)),
    )
    for head, numbers in runs:
        on_torchs_threads(launch, *head, *places, *numbers)
