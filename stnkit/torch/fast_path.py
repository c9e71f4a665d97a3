"""The fast path of tensors: a repeated call of a sampler, or of its vjp, goes from one look-up to the kernels."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from stnkit._dispatch import KINDS, SCALARS
from stnkit.api import fast_path
from stnkit.api.fast_path import FastCall, Memory, Options
from stnkit.plans.layout import Shape
from stnkit.torch import memory
from stnkit.torch._compat import ORDINARY, PLAIN, is_forward_mode_on, key_set, key_set_of, straight
from stnkit.torch.autograd import Recorded, pulled, recorded, transformed
from stnkit.torch.cuda import interop
from stnkit.torch.operations import OPERATIONS, Operation
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


_LISTS = frozenset((tuple, list, torch.Size))
_WHOLE = frozenset((int,))

_known: dict[Kind, Any] = {}  # None where there is no fast path
_NEW: Any = object()


def _allocator(array: Callable[[Shape, np.dtype[Any]], np.ndarray]) -> Callable[..., Callable[[], torch.Tensor]]:
    """Let NumPy allocate, which takes less time than `torch.empty` and `torch.zeros`, as every other call does.

    A default device is a mode, with which no call comes here.
    """

    def allocates(shape: Shape, dtype: np.dtype[Any]) -> Callable[[], torch.Tensor]:
        own = memory.as_tensor if dtype.name == "bfloat16" else torch.from_numpy
        return lambda: own(array(shape, dtype))

    return allocates


TORCH = Memory(
    _allocator(np.empty), _allocator(np.zeros), torch.Tensor.data_ptr, memory.as_tensor, torch.get_num_threads
)


def repeated(name: str, args: Sequence[Any], options: Options) -> FastCall | None:
    """Return what runs or records a call of a sampler or its vjp; None if there is no fast path for them.

    It takes the call's arguments, which are tensors and lists, but no options.
    """
    if transformed() or is_forward_mode_on():
        return None
    kind: Any = name
    recording = False
    for given in args:
        if type(given) in PLAIN:
            if key_set(key_set_of(given)) not in ORDINARY or not given.is_contiguous():
                return _elsewhere(name, args, options)
            kind = kind, given.shape, given.dtype, given.data_ptr() & 7
            recording = recording or given.requires_grad
        elif type(given) in _LISTS and _WHOLE.issuperset(map(type, given)):
            kind = kind, tuple(given)
        else:
            return None
    for option, value in options.items():
        if type(value) not in SCALARS:
            return None
        kind = kind, option, value, type(value)
    found: Known | None = _known.get(kind, _NEW)
    if found is _NEW:
        found = _remember(_known, kind, _learned(name, args, options))
    if found is None:
        return None
    return found.record if recording and torch.is_grad_enabled() else found.run


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
            if cotangent.layout is torch.strided and not (cotangent.is_contiguous() or interop.on_gpu(cotangent)):
                cotangent = cotangent.contiguous()  # that of a sum is one number; on a GPU any strides are walked
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
    for tensor in tensors:
        if type(tensor) not in PLAIN or key_set(key_set_of(tensor)) not in ORDINARY or not tensor.is_contiguous():
            return _elsewhere(f"{sampled.operation.name}_vjp", (*tensors, wrt), sampled.options)
        kind = kind, tensor.shape, tensor.dtype, tensor.data_ptr() & 7
    found: FastCall | None = sampled.pulls.get(kind, _NEW)
    if found is _NEW:
        operation = OPERATIONS[f"{sampled.operation.name}_vjp"]
        found = _remember(sampled.pulls, kind, _worked_out(operation, tensors, (wrt,), sampled.options))
    return found


def _elsewhere(name: str, args: Sequence[Any], options: Options) -> FastCall | None:
    """Return what does a call on tensors that lie on a GPU."""
    operation, tensors, rest, options = _split(name, args, options)
    if not (isinstance(tensors[0], torch.Tensor) and interop.on_gpu(tensors[0]) and _LISTS.issuperset(map(type, rest))):
        return None
    from stnkit.torch.cuda import fast_path  # which imports the kernels for GPUs

    recording = torch.is_grad_enabled() and any(getattr(tensor, "requires_grad", False) for tensor in tensors)
    if recording and (operation.chosen or prefiltered(options.get("mode"), options.get("prefilter", True))):
        return None
    run = fast_path.fast_call(operation, tensors, rest, options)
    if run is None:
        return None
    found = _made(operation, rest, options, lambda *given: run(*given[: len(tensors)]))  # which takes no lists
    return found.record if recording else found.run


def _learned(name: str, args: Sequence[Any], options: Options) -> Known | None:
    """Work out what does calls like this one."""
    operation, tensors, rest, options = _split(name, args, options)
    if (operation.chosen and rest) or len(tensors) < len(operation.arrays):
        return None
    run = _worked_out(operation, tensors, rest, options)
    return None if run is None else _made(operation, rest, options, run)


def _split(
    name: str, args: Sequence[Any], options: Options
) -> tuple[Operation, Sequence[Any], tuple[Any, ...], Options]:
    """Tell tensors from other arguments, and leave out the option that says what is so without it."""
    operation = OPERATIONS[name]
    count = len(operation.arrays)
    options = {option: value for option, value in options.items() if option != "antialias" or value is not False}
    return operation, args[:count], tuple(args[count:]), options


def _made(operation: Operation, rest: tuple[Any, ...], options: Options, run: FastCall) -> Known:
    def record(image: Any, source: Any, *_: Any) -> Any:
        return Sampled.apply(known, image, source)

    known = Known(operation, rest, options, run, None if operation.chosen else record, {})
    return known


def _worked_out(operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: Options) -> FastCall | None:
    """Return what does calls like this one; None if there is no fast path for them."""
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors) or not tensors[0].is_floating_point():
        return None
    views = [memory.as_array(tensor) for tensor in tensors]
    return fast_path.fast_call(TORCH, operation.name, views, rest, options)


def _remember(kinds: dict[Kind, Any], kind: Kind, found: Any) -> Any:
    if len(kinds) >= KINDS:
        kinds.clear()
    kinds[kind] = found
    return found
