"""Which torch: the oldest that works, and every name that torch does not promise to keep, with what does without it.

A torch that has lost a name gives slower calls: what cannot be asked is taken to be so, and such calls go through
torch's dispatcher, or through the public `torch.autograd.Function`. Each name is looked up once, here.
"""

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

OLDEST = (2, 6)
NAMES: list[str] = []  # all that are looked up, below `torch`
MISSING: list[str] = []  # those that this torch lacks

if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST:
    _oldest = ".".join(map(str, OLDEST))
    _msg = f"stnkit works with torch {_oldest} or newer; this is torch {torch.__version__}: pip install -U torch"
    raise ImportError(_msg)


def _found(name: str) -> Any:
    """Return what torch has under a name; None if it has nothing."""
    NAMES.append(name)
    with contextlib.suppress(ImportError):
        importlib.import_module(f"torch.{name.rpartition('.')[0]}")
    try:
        return functools.reduce(getattr, name.split("."), torch)
    except AttributeError:
        MISSING.append(name)
        return None


def _always() -> bool:
    return True


# Whether a transform, a mode or a tracer is active. Without an answer, one is taken to be.
are_transforms_active: Callable[[], bool] = _found("_C._are_functorch_transforms_active") or _always
count_modes: Callable[[], int] = _found("_C._len_torch_dispatch_stack") or _always  # of `__torch_dispatch__`
is_tracing: Callable[[], bool] = _found("_C._is_tracing") or torch.jit.is_tracing


def _is_forward_mode_on() -> bool:
    """Tell whether there is a level of `torch.autograd.forward_ad`, on which tensors may have tangents."""
    level: int = forward_ad._current_level
    return level >= 0


is_forward_mode_on = _always if _found("autograd.forward_ad._current_level") is None else _is_forward_mode_on

# What a tensor is: plain ones have few sets of dispatch keys. Without an answer, none is plain.
PLAIN = (torch.Tensor, torch.nn.Parameter)
_keys, _number = _found("_C._dispatch_keys"), _found("_C.DispatchKeySet.raw_repr")
_has_keys = _keys is not None and _number is not None
key_set_of: Callable[[torch.Tensor], Any] = _keys if _has_keys else lambda tensor: None
key_set: Callable[[Any], Any] = _number if _has_keys else lambda keys: None  # as a number


@functools.cache
def ordinary(device: torch.device) -> frozenset[int]:
    """Return the dispatch keys of tensors on a device that have nothing about them but their numbers."""
    plain = torch.empty(0, device=device)
    with torch.inference_mode():
        inferred = torch.empty(0, device=device)
    return frozenset(keys_of(tensor) for tensor in (plain, inferred)) if _has_keys else frozenset()


def keys_of(tensor: torch.Tensor) -> Any:
    """Return a tensor's dispatch keys, which are in `ORDINARY` if it is one of main memory without any extras."""
    return key_set(key_set_of(tensor))


ORDINARY = ordinary(torch.device("cpu"))


def is_ordinary(tensor: Any) -> bool:
    """Tell whether an argument is a tensor that has nothing about it but its numbers, in main memory."""
    return type(tensor) in PLAIN and key_set(key_set_of(tensor)) in ORDINARY


# A transform wraps tensors, which then have no memory of their own.
_is_wrapped = _found("_C._functorch.is_functorch_wrapped_tensor")
_is_batched = _found("_C._functorch.is_legacy_batchedtensor")


def is_wrapped(tensor: torch.Tensor) -> bool:
    """Tell whether a transform has wrapped a tensor."""
    if _is_wrapped is not None and _is_batched is not None:
        return bool(_is_wrapped(tensor) or _is_batched(tensor))
    try:
        tensor.data_ptr()
    except RuntimeError:
        return tensor.layout is torch.strided
    return False


_is_tracked = _found("_C._functorch.is_gradtrackingtensor")
_get_unwrapped = _found("_C._functorch.get_unwrapped")
_without_transforms = _found("_C._DisableFuncTorch")


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor that `torch.func.grad` and its like have wrapped, on every level; as it is, if none has."""
    if _is_tracked is not None and _get_unwrapped is not None and _without_transforms is not None:
        while _is_tracked(tensor):
            tensor = _get_unwrapped(tensor)
    return tensor


def without_transforms() -> Any:
    """Switch transforms off, to read an unwrapped tensor."""
    return contextlib.nullcontext() if _without_transforms is None else _without_transforms()


# Autograd in torch's dispatcher, on one level of a transform. Without any of these, transforms that differentiate raise
# torch's own error, for the public function is of all levels at once.
_one_level = _found("_functorch.utils.enable_single_level_autograd_function")
_forward_mode = _found("autograd.forward_ad._set_fwd_grad_enabled")
_function = _found("autograd.function._SingleLevelFunction")
HAS_LEVELS = None not in (_one_level, _forward_mode, _function) and are_transforms_active is not _always

Function: Any = _function if HAS_LEVELS else torch.autograd.Function


_node = _found("autograd.Function._backward_cls")  # a function's nodes in autograd's graph


def straight(function: type) -> None:
    """Let a function's nodes call its `backward` themselves, without looking for it each time."""
    if _node is not None:
        function._backward_cls.apply = function.backward  # type: ignore[attr-defined]  # torch adds it


def on_one_level() -> Any:
    """Let a `Function` be applied within a transform."""
    return _one_level() if HAS_LEVELS else contextlib.nullcontext()


@contextlib.contextmanager
def differentiable() -> Any:
    """Record both modes again, which a `Function` has switched off for itself."""
    with torch.enable_grad(), _forward_mode(True):
        yield


# Leaving autograd's part of the dispatcher. Without it, there is a second operation of which autograd knows nothing.
_below_autograd = _found("_C._AutoDispatchBelowAutograd")
BELOW = "" if _below_autograd is not None else "_below_autograd"  # what the second operation's name ends in


def below_autograd() -> Any:
    """Call operations below autograd."""
    return contextlib.nullcontext() if BELOW else _below_autograd()


_raw_stream = _found("_C._cuda_getCurrentRawStream")  # which a torch for CPUs lacks


def _stream(index: int) -> int:
    handle: int = torch.cuda.current_stream(index).cuda_stream
    return handle


stream: Callable[[int], int] = _raw_stream or _stream  # the handle of torch's current stream on a device


def uncompiled(function: Callable[..., Any], reason: str) -> Callable[..., Any]:
    """Keep torch's compiler out of a function; it tells the reason where it can."""
    told = "reason" in inspect.signature(torch.compiler.disable).parameters  # since 2.7
    kept_out: Callable[..., Any] = torch.compiler.disable(function, **({"reason": reason} if told else {}))
    return kept_out


def depend_on_arguments(overload: Any) -> None:
    """Let how an operation is split over devices be found anew for other sizes and options, and not for tensors alone.

    What `register_sharding` notes of an operation's arguments leaves out lists and names.
    """
    from torch.distributed.tensor import DTensor

    arguments = overload._schema.arguments
    noted = DTensor._op_dispatcher.sharding_propagator.op_to_schema_info[overload]
    noted.static_argnum = sum("Tensor" in str(argument.type) for argument in arguments)
    noted.static_kwargkey = [argument.name for argument in arguments if argument.kwarg_only]
