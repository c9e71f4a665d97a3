"""The public functions on tensors: what they do with options and results, around the calls of operations.

A call that need not be recorded goes to the NumPy function with its options as they are, which checks them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.graph import increment_version

from stnkit import validation
from stnkit._dispatch import FAST
from stnkit.backends.interop import WRITTEN
from stnkit.torch import prefiltered, steps
from stnkit.torch.antialias import composed
from stnkit.torch.autograd import no_transforms_active, perform, recorded, traced
from stnkit.torch.fast_path import repeated
from stnkit.torch.operations import OPERATIONS, Operation
from stnkit.torch.prefiltered import defaults, is_filtered
from stnkit.torch.run import axes, run
from stnkit.torch.sharding import register_if_used
from stnkit.torch.unsupported import refuse_place


def public_function(public: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a public function does with tensors: the operation of its name."""
    operation = OPERATIONS[public.__name__]
    count, own = len(operation.arrays), defaults(operation.plain)

    @functools.wraps(operation.plain)
    def function(*args: Any, **options: Any) -> Any:
        if len(args) < count:
            missing = operation.arrays[len(args) :]
            if not all(name in options for name in missing):
                return operation.plain(*args, **options)  # says what is missing
            args = (*args, *(options.pop(name) for name in missing))
            known = repeated(operation.name, args, options) if operation.name in FAST else None
            if known is not None:
                return known(*args)
        tensors, rest = args[:count], args[count:]
        if "antialias" in options and "antialias" not in own:
            return operation.plain(*args, **options)  # says that there is no such option
        if options.get("antialias") is False:
            del options["antialias"]
        results = traced(public, (*tensors, *rest), options)
        if results is not None:
            return results
        if not (isinstance(tensors[0], torch.Tensor) or any(isinstance(tensor, torch.Tensor) for tensor in tensors)):
            return operation.plain(*args, **options)  # the tensor is elsewhere, where it has no gradient
        alone = no_transforms_active(operation, tensors)
        if alone and options and any(options.get(option) is not None for option in WRITTEN):
            given = tensors if recorded(tensors) else map(detached, tensors)
            return written(operation.plain(*given, *rest, **options), options)  # refuses what needs a gradient
        if alone and not recorded(tensors):
            return run(operation, tensors, rest, options)
        if alone and options.get("place") is not None:
            return steps.recorded(public, *tensors, *rest, **options)
        is_prefiltered = is_filtered(own, options)
        if is_prefiltered or "antialias" in options:
            choices = own | ({"size": rest[0]} if rest else {}) | unwritten(options)
            if is_prefiltered:
                return prefiltered.composed(public, operation.name, operation, tensors, choices, alone)
            return composed(public, operation.name, operation, tensors, choices)
        return performed(operation, tensors, rest, options, alone)

    return function


def detached(argument: Any) -> Any:
    """Return a tensor without what autograd knows of it, and anything else as it is."""
    return argument.detach() if isinstance(argument, torch.Tensor) else argument


def performed(
    operation: Operation, tensors: Sequence[Any], rest: Sequence[Any], options: dict[str, Any], alone: bool
) -> Any:
    """Perform a call whose arguments are those of a public function."""
    if not (alone or torch.compiler.is_compiling()):
        register_if_used()
    options = unwritten(options)
    wrt: Sequence[bool] = (True,) * len(operation.results)
    if operation.sized:
        rest = (_size(operation, tensors, rest[0] if rest else options.pop("size", None), options),)
    if operation.chosen:
        first, second = operation.names
        wrt = validation.names("wrt", options.pop("wrt", operation.names), (first, second))
        rest = (wrt,)
    results = perform(operation, tensors, rest, options, alone)
    if len(operation.results) == 1:
        return results
    return tuple(result if asked and result.dim() > 1 else None for result, asked in zip(results, wrt, strict=True))


def written(results: Any, options: dict[str, Any]) -> Any:
    """Return the results of a call, whose memory is shared; autograd refuses what it has kept of tensors in it."""
    increment_version([options[name] for name in WRITTEN if isinstance(options.get(name), torch.Tensor)])
    return results


def unwritten(options: dict[str, Any]) -> dict[str, Any]:
    """Return options without those of memory, which is not written to here."""
    for option in WRITTEN:
        if options.get(option) is not None:
            msg = f"`{option}` cannot be written to where calls are recorded, transformed or compiled; leave it out"
            raise TypeError(msg)
    if options.get("place") is not None:
        refuse_place()
    if "deterministic" in options:
        validation.flag("deterministic", options["deterministic"])
    return {option: value for option, value in options.items() if option not in (*WRITTEN, "place")}


def _size(operation: Operation, tensors: Sequence[Any], size: Any, options: dict[str, Any]) -> list[Any]:
    """Return the output's size; that of the image if none is given."""
    ndim = axes(operation, tensors)
    if size is None and operation.picture is not None and operation.shapes[operation.picture] == "image":
        shape = tensors[operation.picture].shape
        return list(shape[-1 - ndim : -1] if options.get("data_format") == "channels_last" else shape[-ndim:])
    return list(size) if isinstance(size, Sequence) else list(validation.size(size, ndim))
