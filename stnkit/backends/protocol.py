"""The operations that every backend has, by the module that holds them: names and signatures are the same in each.

A backend is a package with these modules. A module is imported when one of its operations is first asked for: those of
a GPU import Numba, which takes a second, and few calls need tangents.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

OPERATIONS = {
    "execute": ("sample", "sample_total", "sample_vjp", "splat"),
    "maps": ("grid", "grid_vjp", "map_grid", "map_grid_vjp", "projective_grid_jvp"),
    "memory": ("added", "aligned", "converted", "ones", "scaled"),
    "prefilter": ("spline_filter",),
    "tangents": ("sample_double_vjp", "sample_gradient", "sample_jvp", "splat_double_jvp"),
}
_MODULES = {name: module for module, names in OPERATIONS.items() for name in names}


def operations(backend: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a backend's package: its operations, by their names."""

    @functools.cache
    def operation(name: str) -> Any:
        if name in _MODULES:
            return getattr(importlib.import_module(f"{backend}.{_MODULES[name]}"), name)
        msg = f"module {backend!r} has no attribute {name!r}"
        raise AttributeError(msg)

    return operation
