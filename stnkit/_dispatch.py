"""Dispatch: a call with a framework's arrays goes to the package for that framework, which has its own derivatives.

Such a package is named in `FRAMEWORKS`, and has functions of the names and signatures of the public ones. What it
lacks, and what other frameworks pass, is done on shared memory. No framework is imported for its own sake: a package is
imported for an array in hand. If it has a function `repeated`, that is asked first what does a sampler's call at once.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

FAST = {f"{kind}_sample{end}" for kind in ("grid", "affine", "flow", "projective") for end in ("", "_vjp")}
KINDS = 4096  # so many kinds of calls are remembered

PLAIN = frozenset((np.ndarray, str, bool, int, float, tuple, list, type(None)))  # which no framework's package takes


def dispatch(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function hand calls with a framework's arrays over to the package for that framework."""
    name = function.__name__
    is_fast = name in FAST

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        if args:
            first = type(args[0])
            if is_fast and (look_up := _fast_paths.get(first)) is not None:
                known = look_up(name, args, options)
                if known is not None:
                    return known(*args)  # type: ignore[no-any-return]  # as `function` does
            if (package := _packages.get(first)) is not None:
                return getattr(package, name, function)(*args, **options)
            if first is np.ndarray and PLAIN.issuperset(map(type, (*args, *options.values()))):
                return function(*args, **options)
        for argument in (*args, *options.values()):
            package = implementation(type(argument))
            if package is not None:
                return getattr(package, function.__name__, function)(*args, **options)
        return function(*args, **options)

    vars(call)["autograph_info__"] = None  # by which TensorFlow's AutoGraph knows what it need not rewrite
    return call


def repeated(
    name: str, args: Sequence[Any], options: dict[str, Any], learn: Callable[..., Any] | None = None
) -> Callable[..., Any] | None:
    """Return what does calls like this one, on NumPy's arrays; None if there is no fast path for them.

    It is found by all that it follows from: shapes, strides, dtypes, whether addresses are aligned, and options. The
    first time `learn` works it out from the same arguments; that of samplers does by default.
    """
    key: list[Any] = [name]
    for given in args:
        kind = type(given)
        if kind is np.ndarray:
            key += given.shape, given.strides, given.dtype, given.flags.aligned
        elif kind in LISTS:
            key += tuple(given), tuple(map(type, given))
        elif given is None:
            key.append(None)
        else:
            return None
    for option, value in options.items():
        kind = type(value)
        if kind in SCALARS:
            key += option, value, kind
        elif kind in LISTS:
            key += option, tuple(value), tuple(map(type, value))
        else:
            return None
    try:
        return _known[tuple(key)]
    except KeyError:
        found = (learn or _learned)(name, args, options)
    except TypeError:  # something in a list cannot be hashed
        return None
    if len(_known) >= KINDS:
        _known.clear()
    _known[tuple(key)] = found
    return found


def _learned(name: str, args: Sequence[Any], options: dict[str, Any]) -> Callable[..., Any] | None:
    from stnkit.api import fast_path

    views = list(itertools.takewhile(lambda given: type(given) is np.ndarray, args))
    return fast_path.fast_call(fast_path.NUMPY, name, views, args[len(views) :], options)


# torch's compiler follows these functions, that of torch 2.8 too: it can read a dictionary of types, an import
# statement, and `__module__` of a class that is written in Python; but not that of one in C, as torch.Tensor's base is,
# nor `functools.cache` and `importlib`.


def implementation(kind: type) -> ModuleType | None:
    """Return the package that takes arrays of a type, or of one that it is derived from; None if there is none."""
    if kind not in _packages:
        _packages[kind] = package = _found_for(kind)
        _fast_paths[kind] = getattr(package, "repeated", None)
    return _packages[kind]


def _found_for(kind: type) -> ModuleType | None:
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in FRAMEWORKS:
            return FRAMEWORKS[package]()
    return None


def _torch() -> ModuleType:
    from stnkit import torch

    return torch


def _jax() -> ModuleType:
    from stnkit import jax

    return jax


def _dask() -> ModuleType:
    from stnkit import dask

    return dask


def _tensorflow() -> ModuleType:
    from stnkit import tensorflow

    return tensorflow


# The package that defines an array's type, and what imports the package here that takes such arrays.
FRAMEWORKS = {"torch": _torch, "jax": _jax, "jaxlib": _jax, "tensorflow": _tensorflow, "dask": _dask}

SCALARS = frozenset((str, bool, int, float))  # types of options that can be a part of a key
LISTS = frozenset((tuple, list))

_known: dict[tuple[Any, ...], Callable[..., Any] | None] = {}  # by kinds of calls; None where there is no fast path
_packages: dict[type, ModuleType | None] = dict.fromkeys(PLAIN)
_fast_paths: dict[type, Callable[..., Any] | None] = {np.ndarray: repeated}  # what looks a sampler's call up
