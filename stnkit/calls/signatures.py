"""How an adapter reads the call of a public function: all arguments by name, and which of them are arrays."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from stnkit.backends.interop import WRITTEN


def array_names(public: Callable[..., Any]) -> list[str]:
    """Return which arguments of a public function are arrays that have derivatives, or are derivatives."""
    parameters = inspect.signature(public).parameters.values()
    others = "size", "control_points"
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in others]


def bound(
    public: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by name, with defaults; refuse what does not fit the signature."""
    try:
        found = signature.bind(*args, **options)
    except TypeError as error:
        msg = f"{public.__name__}() {error}"
        raise TypeError(msg) from None
    found.apply_defaults()
    return found.arguments


def taken(public: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some arguments that a public function takes."""
    parameters = inspect.signature(public).parameters
    return {name: value for name, value in arguments.items() if name in parameters}


def refuse_written(arguments: dict[str, Any], arrays: str) -> None:
    """Take the arguments that would be written to out of a call; refuse one that is given."""
    for name in WRITTEN:
        if arguments.pop(name, None) is not None:
            msg = f"`{name}` cannot be written to, as {arrays} never change; leave it out and use what is returned"
            raise TypeError(msg)
