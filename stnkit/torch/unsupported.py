"""Which arguments are refused, and what to pass instead."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from stnkit.backends import interop
from stnkit.torch.operations import Operation


def readable(operation: Operation, given: Sequence[Any]) -> bool:
    """Tell that an operation can read its arguments; otherwise say which it cannot, and what to do."""
    named = {name: array for name, array in zip(operation.arrays, given, strict=True) if array is not None}
    tensors = {name: array.detach() for name, array in named.items() if isinstance(array, torch.Tensor)}
    one_device(tensors)
    for name, tensor in tensors.items():
        _refuse_storage(name, tensor)
    if len(tensors) < len(named):
        interop.import_arrays(**{**named, **tensors})  # says which of them is no tensor
    for name in operation.arrays:
        if name not in named and name not in operation.optional:
            interop.import_arrays(**{name: None})
    return True


def one_device(tensors: dict[str, torch.Tensor]) -> None:
    """Refuse tensors that lie on different devices."""
    (first, other), *rest = ((name, tensor.device) for name, tensor in tensors.items())
    for name, device in rest:
        if device != other:
            msg = f"`{name}` lies on {device} and `{first}` on {other}; pass tensors on one device"
            raise TypeError(msg)


def _refuse_storage(name: str, tensor: torch.Tensor) -> None:
    advice = ""
    if tensor.is_meta:
        advice = "is on the device meta and holds no numbers; pass a tensor in main memory"
    elif tensor.is_quantized:
        advice = f"is quantized; pass `{name}.dequantize()`"
    elif tensor.is_nested:
        advice = f"is nested; pass `{name}.to_padded_tensor(0.0)`, or its tensors one by one"
    elif tensor.layout is not torch.strided:
        advice = f"has layout {tensor.layout}; pass `{name}.to_dense()`"
    elif not (tensor.is_cpu or tensor.is_cuda):
        advice = f"lies on {tensor.device}; pass `{name}.cpu()`, or a tensor on an NVIDIA GPU"
    if advice:
        msg = f"`{name}` {advice}"
        raise TypeError(msg)


def unknown_dtype(operation: Operation, tensors: Sequence[Any], error: TypeError) -> TypeError:
    """Return the error of the first tensor whose dtype NumPy does not have; `error`, if there is none."""
    for name, tensor in zip(operation.arrays, tensors, strict=True):
        if isinstance(tensor, torch.Tensor) and tensor.dtype is not torch.bfloat16:
            try:
                torch.empty(0, dtype=tensor.dtype).numpy()
            except TypeError:
                return TypeError(f"`{name}` has the dtype {tensor.dtype}; pass `{name}.float()`")
    return error


def refuse_rounding(what: str, operation: Operation, tensors: Sequence[Any], options: dict[str, Any]) -> None:
    """Refuse to lose a derivative: an output of integers can carry none, and those of nearest and label are zero."""
    if options.get("mode") in ("nearest", "label"):
        return
    assert operation.picture is not None
    dtype, source = tensors[operation.picture].dtype, operation.source
    if not dtype.is_floating_point:
        msg = (
            f"`{source}` {what}, which an output of dtype {dtype} cannot carry; convert `image` to floating point, "
            f"or pass `{source}.detach()`"
        )
        raise TypeError(msg)


def unknown_numbers(what: str) -> str:
    """Say why subsamples cannot be counted."""
    return (
        f"`antialias=True` takes the numbers of {what}, which are not known where torch compiles, exports or maps; "
        "pass how many subsamples to take along each axis, as antialias=4"
    )


def refuse_place() -> NoReturn:
    """Refuse tiles where more than a first derivative in reverse mode is asked for, as operations know of none."""
    msg = (
        "calls with `place` are not transformed or compiled, and have one derivative, in reverse mode, of samplers, "
        "grids and splats; for others call the `_vjp` or `_jvp` function with tensors that need no gradient"
    )
    raise TypeError(msg)


def refuse_tracing() -> NoReturn:
    """Refuse `torch.jit.trace`, which records no strings, and would keep results as constants."""
    msg = "stnkit's operations cannot be traced by torch.jit; use torch.compile, or torch.export and its ONNX exporter"
    raise NotImplementedError(msg)
