"""Whose rules of differentiation: a framework's arrays go through that framework's door, if it has one.

A door is a room that is named in `DOORS`, and has functions of the names and signatures of the public ones. What it
lacks, and what frameworks without a door pass, is done on shared memory. No framework is ever imported from here:
a door is opened only for an array in hand.
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

PLAIN = frozenset((np.ndarray, str, bool, int, float, tuple, list, type(None)))  # for which no door is looked for


def front(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function hand calls with a framework's arrays over to that framework's door."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        if args and type(args[0]) is np.ndarray and PLAIN.issuperset(map(type, (*args, *options.values()))):
            return function(*args, **options)
        for argument in (*args, *options.values()):
            room = door(type(argument))
            if room is not None:
                return getattr(room, function.__name__, function)(*args, **options)
        return function(*args, **options)

    return call


# torch's compiler follows these functions, that of torch 2.8 too: it can read a dictionary of types, an import
# statement, and `__module__` of a class that is written in Python; but not that of one in C, as torch.Tensor's base is,
# nor `functools.cache` and `importlib`.


def door(kind: type) -> ModuleType | None:
    """Return the room that takes arrays of a type, or of one that it is derived from; None if there is none."""
    if kind not in _found:
        _found[kind] = _opened(kind)
    return _found[kind]


def _opened(kind: type) -> ModuleType | None:
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in DOORS:
            return DOORS[package]()
    return None


def _torch() -> ModuleType:
    from stnkit import torch

    return torch


def _jax() -> ModuleType:
    from stnkit import jax

    return jax


# The package that defines an array's type, and what opens the room that takes such arrays.
DOORS = {"torch": _torch, "jax": _jax, "jaxlib": _jax}

_found: dict[type, ModuleType | None] = dict.fromkeys(PLAIN)
