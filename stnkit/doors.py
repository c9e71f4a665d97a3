"""Whose rules of differentiation: a framework's arrays go through that framework's door, if it has one.

A door is a room that is named in `DOORS`, and has functions of the names and signatures of the public ones. What it
lacks, and what frameworks without a door pass, is done on shared memory. No framework is ever imported from here:
a door is opened only for an array in hand.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

DOORS: dict[str, str] = {}  # the package that defines an array's type, and the room that takes such arrays


def front(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function hand calls with a framework's arrays over to that framework's door."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        if args and type(args[0]) is np.ndarray:
            return function(*args, **options)
        kind: Any
        for kind in map(type, (*args, *options.values())):
            room = door(kind)
            if room is not None:
                return getattr(importlib.import_module(room), function.__name__, function)(*args, **options)
        return function(*args, **options)

    return call


@functools.cache
def door(kind: Any) -> str | None:
    """Return the room that takes arrays of a type, or of one that it is derived from; None if there is none."""
    packages = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((DOORS[package] for package in packages if package in DOORS), None)
