"""Putting these functions in SciPy's place, for programs that cannot be edited."""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from stnkit.ndimage import interpolation, splines

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        interpolation.map_coordinates,
        interpolation.affine_transform,
        interpolation.shift,
        interpolation.zoom,
        interpolation.rotate,
        splines.spline_filter,
        splines.spline_filter1d,
    )
}


@contextlib.contextmanager
def patch(*, strict: bool = False) -> Iterator[None]:
    """Let programs that call `scipy.ndimage` call the functions of this module, for as long as the context lasts.

    A function is replaced wherever a loaded module has it by name: in SciPy itself, and in modules that imported it.
    What a program keeps elsewhere, as in a list or a default argument, stays SciPy's.

    Parameters
    ----------
    strict : bool
        Whether what is not implemented here, as more than 3 resampled axes, is an error; by default SciPy does it.

    Yields
    ------
    None

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.ndimage
    >>> from stnkit import ndimage
    >>> with ndimage.patch():
    ...     scipy.ndimage.shift(np.array([1.0, 2.0, 4.0]), 1, order=1)
    array([0., 1., 2.])
    """
    scipy = importlib.import_module("scipy.ndimage")
    stand_ins = {}
    for name, function in FUNCTIONS.items():
        original = getattr(scipy, name)
        stand_ins[id(original)] = original, function if strict else _or_else(function, original)
    replaced = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or getattr(module, "__name__", "").partition(".")[0] == "stnkit":
            continue
        for name, value in list(names.items()):
            if (found := stand_ins.get(id(value))) is not None:
                names[name] = found[1]
                replaced.append((names, name, *found))
    try:
        yield
    finally:
        for names, name, original, stand_in in replaced:
            if names.get(name) is stand_in:
                names[name] = original


def _or_else(function: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except NotImplementedError:
            return original(*args, **options)

    return call
