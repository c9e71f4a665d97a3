"""The fast path of arrays that are there: a sampler's call, or its vjp's, is one program, found by its options.

JAX keeps a program for each shape. What a call is made of takes longer, done step by step, than its work.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

import stnkit
from stnkit._dispatch import KINDS, LISTS, SCALARS

Key = tuple[tuple[Any, ...], ...]


def repeated(name: str, args: Sequence[Any], options: dict[str, Any]) -> Callable[..., Any] | None:
    """Return what does calls of a sampler like this one; None if there is no fast path for them.

    While JAX traces there is none: the call is a part of another program. Nor is there one for `antialias=True`, which
    goes by the numbers of a map, as no program can.
    """
    arrays = [given for given in args if isinstance(given, jax.Array)]
    if options.get("antialias") is True or any(isinstance(given, jax.core.Tracer) for given in arrays):
        return None
    rest, named = _key(enumerate(args[len(arrays) :])), _key(options.items())
    if rest is None or named is None:
        return None
    found = _program(getattr(stnkit.jax, name), rest, named)
    return found if not rest else lambda *given: found(*given[: len(arrays)])


def program(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any] | None:
    """Return a function with some options as a program of arrays; None if these cannot be its key."""
    named = _key(options.items())
    return None if named is None else _program(function, (), named)


def _key(options: Iterable[tuple[Any, Any]]) -> Key | None:
    """Return options with their types, which tell apart what is equal; None if there are others than plain ones."""
    key: list[tuple[Any, ...]] = []
    for option, value in options:
        kind = type(value)
        if kind in LISTS and all(map(_is_plain, value)):
            key.append((option, kind, tuple(value), *map(type, value)))
        elif value is None or _is_plain(value):
            key.append((option, kind, value))
        else:
            return None
    return tuple(key)


def _is_plain(value: Any) -> bool:
    """Tell whether a value can be a part of a key; NaN, not equal to itself, would make a program each time."""
    return (type(value) in SCALARS and value == value) or isinstance(value, (type, np.dtype))


@functools.lru_cache(maxsize=KINDS)
def _program(function: Callable[..., Any], rest: Key, named: Key) -> Callable[..., Any]:
    after = [kind(value) if kind in LISTS else value for _, kind, value, *_ in rest]
    options = {option: kind(value) if kind in LISTS else value for option, kind, value, *_ in named}
    made: Callable[..., Any] = jax.jit(lambda *arrays: function(*arrays, *after, **options), inline=True)
    return made
