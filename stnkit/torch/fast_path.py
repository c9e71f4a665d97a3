"""The fast path of tensors: a repeated call of a sampler, or of its vjp, goes from one look-up to the kernels."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from stnkit._dispatch import KINDS, LISTS, SCALARS
from stnkit.api import fast_path
from stnkit.api.fast_path import FastCall, Memory, Options
from stnkit.plans.layout import Shape
from stnkit.torch import memory
from stnkit.torch._compat import (
    ORDINARY,
    PLAIN,
    is_forward_mode_on,
    is_ordinary,
    key_set,
    key_set_of,
    ordinary,
    straight,
)
from stnkit.torch.autograd import Recorded, kept, pulled, recorded, transformed
from stnkit.torch.cuda import interop
from stnkit.torch.operations import OPERATIONS, Operation
from stnkit.torch.run import memory_format, turned, viewed
from stnkit.validation import prefiltered

Kind = tuple[Any, ...]


class Known(NamedTuple):
    """A kind of calls: what they have in common, and what does them with their arguments."""

    operation: Operation
    rest: tuple[Any, ...]
    options: Options
    run: FastCall
    record: FastCall | None  # of a sampler: what runs it for autograd
    pulls: dict[Kind, Any]  # and what does its vjps; None where there is no fast path


ON_GPU: set[Any] = set()  # dispatch keys, as `ORDINARY`, once there is a tensor

_ALIGNED = 15  # which bits of an address on a GPU a kernel may depend on
_SIZES = LISTS | {torch.Size}
_WHOLE = frozenset((int,))

_known: dict[Kind, Any] = {}  # None where there is no fast path
_NEW: Any = object()


def _allocator(memory_of: Callable[..., Callable[[], np.ndarray]]) -> Callable[..., Callable[[], torch.Tensor]]:
    """Let NumPy allocate, which takes less time than `torch.empty` and `torch.zeros`, as every other call does.

    A default device is a mode, with which no call comes here.
    """

    def allocates(shape: Shape, dtype: np.dtype[Any]) -> Callable[[], torch.Tensor]:
        array, own = memory_of(shape, dtype), memory.as_tensor if dtype.name == "bfloat16" else torch.from_numpy
        return lambda: own(array())

    return allocates


NUMPY = fast_path.NUMPY
TORCH = Memory(
    _allocator(NUMPY.empty), _allocator(NUMPY.zeros), torch.Tensor.data_ptr, memory.as_tensor, torch.get_num_threads
)


def repeated(name: str, args: Sequence[Any], options: Options) -> FastCall | None:
    """Return what runs or records a call of a sampler or its vjp; None if there is no fast path for them.

    It takes the call's arguments, which are tensors and lists, but no options.
    """
    if name not in OPERATIONS or transformed() or is_forward_mode_on():
        return None
    kind: Any = name
    recording = on_gpu = False
    for given in args:
        if type(given) in PLAIN:
            keys = key_set(key_set_of(given))
            if keys in ORDINARY and (at := given.data_ptr()):  # which is 0 where memory is gone
                kind = kind, given.shape, given.dtype, at & 7
                if not given.is_contiguous():
                    kind = kind, "strides", given.stride()
            elif keys in ON_GPU or _is_on_gpu(given, keys):
                kind = kind, given.shape, given.stride(), given.dtype, given.get_device(), given.data_ptr() & _ALIGNED
                on_gpu = True
            else:
                return None
            recording = recording or given.requires_grad
        elif type(given) in _SIZES and _WHOLE.issuperset(map(type, given)):
            kind = kind, tuple(given)
        elif given is None:
            kind = kind, None
        else:
            return None
    for option, value in options.items():
        if type(value) in SCALARS:
            kind = kind, option, value, type(value)
        elif type(value) in LISTS and SCALARS.issuperset(map(type, value)):
            kind = kind, option, tuple(value), tuple(map(type, value))
        else:
            return None
    if on_gpu:
        kind = kind, interop.is_steady()
    recording = recording and torch.is_grad_enabled()
    found: Known | None = _known.get(kind, _NEW)
    if found is _NEW and on_gpu:
        found = _learned_on_gpu(kind, recording, name, args, options)
    elif found is _NEW:
        found = _remember(_known, kind, _learned(name, args, options))
    if found is None:
        return None
    return found.record if recording else found.run


class Sampled(Recorded):
    """A sampler that has been run on the fast path; there is no forward mode about."""

    @staticmethod
    def forward(ctx: Any, known: Known, image: Any, source: Any) -> Any:  # type: ignore[override]  # called by torch alone
        """Run the sampler, and keep what its derivatives need."""
        ctx.recorded_call = known
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(image, source)
        return known.run(image, source)

    @staticmethod
    def backward(ctx: Any, cotangent: Any) -> Any:
        """Pull the output's cotangent back: on the fast path, where it has no derivative itself."""
        tensors = ctx.saved_tensors
        if type(cotangent) in PLAIN and not (recorded((cotangent, *tensors)) or transformed()):
            if is_ordinary(cotangent) and not cotangent.is_contiguous():
                # That of a sum is one number; on a GPU any strides are walked.
                known = ctx.recorded_call
                order = memory_format(known.operation, tensors, known.options)
                cotangent = cotangent.contiguous(memory_format=order)
            given = cotangent, *tensors
            fast = _pull(ctx.recorded_call, given, ctx.needs_input_grad[1:])
            if fast is not None:
                return None, *fast(*given)
        return pulled(ctx, (cotangent,), tensors)


straight(Sampled)


def _pull(sampled: Known, tensors: Sequence[Any], wrt: tuple[bool, ...]) -> FastCall | None:
    """Return what does the vjp of a sampler's call on a cotangent, an image and a source; None as above.

    What autograd has kept need not look as it did when it was sampled: hooks may unpack another tensor, and `.data` may
    have been set.
    """
    kind: Any = wrt
    on_gpu = False
    for tensor in tensors:  # written out as in `repeated`: a small call would feel one function for both
        if type(tensor) not in PLAIN:
            return None
        keys = key_set(key_set_of(tensor))
        if keys in ORDINARY and (at := tensor.data_ptr()):
            kind = kind, tensor.shape, tensor.dtype, at & 7
            if not tensor.is_contiguous():
                kind = kind, "strides", tensor.stride()
        elif keys in ON_GPU or _is_on_gpu(tensor, keys):
            kind = kind, tensor.shape, tensor.stride(), tensor.dtype, tensor.get_device(), tensor.data_ptr() & _ALIGNED
            on_gpu = True
        else:
            return None
    if on_gpu:
        kind = kind, interop.is_steady()
    found: FastCall | None = sampled.pulls.get(kind, _NEW)
    if found is _NEW:
        operation = OPERATIONS[f"{sampled.operation.name}_vjp"]
        if on_gpu:
            done = _done_on_gpu(operation, tensors, (wrt,), sampled.options)
            if done is None:
                return None
            results, run = done
            _remember(sampled.pulls, kind, run)
            return _once(results)
        found = _remember(sampled.pulls, kind, _worked_out(operation, tensors, (wrt,), sampled.options))
    return found


def _is_on_gpu(tensor: torch.Tensor, keys: Any) -> bool:
    """Tell whether a tensor lies on a GPU and has nothing about it but its numbers, as the first one tells."""
    if not ON_GPU and interop.on_gpu(tensor):
        ON_GPU.update(ordinary(tensor.device))
    return keys in ON_GPU


def _learned(name: str, args: Sequence[Any], options: Options) -> Known | None:
    """Work out what does calls like this one."""
    operation, tensors, rest, options = _split(name, args, options)
    if (operation.chosen and rest) or len(tensors) < len(operation.arrays):
        return None
    run = _worked_out(operation, tensors, rest, options)
    recorded = not operation.chosen and tensors[0].is_floating_point()
    return None if run is None else _made(operation, rest, options, run, {}, recorded)


def _learned_on_gpu(kind: Kind, recording: bool, name: str, args: Sequence[Any], options: Options) -> Known | None:
    """Do a call, remember what does calls like it, and return what gives this one's results, once."""
    operation, tensors, rest, options = _split(name, args, options)
    if len(tensors) < len(operation.arrays) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return None
    filtered = prefiltered(options.get("mode"), options.get("prefilter", True))
    recorded = not (operation.chosen or filtered) and tensors[0].is_floating_point()
    done = _done_on_gpu(operation, tensors, rest, options) if recorded or not recording else None
    if done is None:
        return None
    results, run = done
    known: Known = _remember(_known, kind, _made(operation, rest, options, run, {}, recorded))
    return _made(operation, rest, options, _once(results), known.pulls, recorded)


def _done_on_gpu(
    operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options
) -> tuple[Any, FastCall] | None:
    """Do a call on a GPU; return its results and what does calls like it, or None if there is no fast path for them."""
    from stnkit.torch.cuda import fast_path  # which imports the kernels for GPUs

    return fast_path.learned(operation, tensors, rest, options)


def _once(results: Any) -> FastCall:
    """Return what gives results, and keeps them no longer: what autograd records would own itself."""
    held = [results]
    return lambda *_: held.pop()


def _split(
    name: str, args: Sequence[Any], options: Options
) -> tuple[Operation, Sequence[Any], tuple[Any, ...], Options]:
    """Tell tensors from other arguments, and leave out the option that says what is so without it, if there is one.

    Lists are copied, as they may be changed later.
    """
    operation = OPERATIONS[name]
    count = len(operation.arrays)
    if options.get("antialias") is False and "antialias" in inspect.signature(operation.plain).parameters:
        options = {option: value for option, value in options.items() if option != "antialias"}
    rest = tuple(tuple(value) if type(value) is list else value for value in args[count:])
    return operation, args[:count], rest, kept(options)


def _made(
    operation: Operation, rest: tuple[Any, ...], options: Options, run: FastCall, pulls: dict[Kind, Any], recorded: bool
) -> Known:
    def record(image: Any, source: Any, *_: Any) -> Any:
        return Sampled.apply(known, image, source)

    own = {option: value for option, value in options.items() if option != "size"}  # which no vjp takes
    known = Known(operation, rest, own, run, record if recorded else None, pulls)
    return known


def _worked_out(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> FastCall | None:
    """Return what does calls like this one; None if there is no fast path for them."""
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return None
    views = viewed(operation, tensors)
    if memory_format(operation, tensors, options) is torch.contiguous_format:
        return fast_path.fast_call(TORCH, operation.name, views, rest, options)
    last = {**options, "data_format": "channels_last"}
    run = fast_path.fast_call(TORCH, operation.name, turned(operation, views), rest, last)
    return None if run is None else _to_front(run, operation)


def _to_front(run: FastCall, operation: Operation) -> FastCall:
    """Return what does a call on pictures with channels last, and views its results with channels first."""
    if not operation.chosen:
        return lambda *tensors: memory.tensor_to_front(run(*tensors))

    def pull(*tensors: Any) -> tuple[Any, Any]:
        image_bar, source_bar = run(*tensors)
        return None if image_bar is None else memory.tensor_to_front(image_bar), source_bar

    return pull


def _remember(kinds: dict[Kind, Any], kind: Kind, found: Any) -> Any:
    if len(kinds) >= KINDS:
        kinds.clear()
    kinds[kind] = found
    return found
