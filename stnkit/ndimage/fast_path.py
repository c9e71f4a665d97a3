"""Shorter ways to the kernels: tensors of torch as NumPy's arrays, and a repeated `map_coordinates` from a look-up.

The look-up is for what needs no filter and no other dtype: to read a few points takes less time than to check
arguments. On arrays of JAX, such a call is one program.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from stnkit._dispatch import PLAIN, repeated
from stnkit.backends.interop import framework_of
from stnkit.dtypes import FLOAT32, FLOAT64
from stnkit.ndimage.boundaries import boundary
from stnkit.ndimage.frameworks import is_of_jax
from stnkit.ndimage.mapping import grid
from stnkit.ndimage.resampling import How

Function = TypeVar("Function", bound=Callable[..., Any])

COUNTS = (1, 2, 3)  # of axes
CONSTANTS = (np.ndarray, type)  # which may stand beside tensors: matrices, and dtypes


def on_views(function: Function) -> Function:
    """Let a function do calls with tensors of torch, none of which autograd records, on views of their memory."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if args and type(args[0]) is not np.ndarray and framework_of(args[0]) == "torch":
            from stnkit.torch import views

            if views.unrecorded((*args, *options.values()), CONSTANTS):
                with contextlib.suppress(TypeError, ValueError):  # which the function says in the words for tensors
                    return views.call_on_views(call, args, options)
        return function(*args, **options)

    return cast(Function, call)


def remembering(function: Function) -> Function:
    """Let a function of an image and of coordinates do repeated calls by the fast path."""
    name, parameters = function.__name__, inspect.signature(function).parameters
    learn = functools.partial(_learned, {option: parameters[option].default for option in How._fields})

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if len(args) != 2:
            return function(*args, **options)
        image, points = args
        axes = points if type(points) in (list, tuple) else [points]
        if type(image) is np.ndarray and PLAIN.issuperset(map(type, axes)):
            points = points if type(points) is np.ndarray else np.asarray(points)
            known = repeated(name, (image, points), options, learn)
            if known is not None:
                return known(image, points)
        elif is_of_jax(image) and all(map(is_of_jax, axes)):
            from stnkit.jax.fast_path import program

            known = program(function, options)
            if known is not None:
                return known(image, points)
        return function(image, points, **options)

    return cast(Function, call)


def _learned(
    defaults: dict[str, Any], _: str, arrays: Sequence[np.ndarray], options: dict[str, Any]
) -> Callable[..., np.ndarray] | None:
    """Work out the fast path; None if there is none, or if something is wrong."""
    from stnkit.api.fast_path import NUMPY, fast_call  # which takes kernels

    image, coordinates = arrays
    size = coordinates.shape[1:]
    if image.dtype not in (FLOAT32, FLOAT64) or coordinates.dtype not in (FLOAT32, FLOAT64):
        return None
    if image.ndim not in COUNTS or not size or len(coordinates) != image.ndim or not options.keys() <= defaults.keys():
        return None
    try:
        how = How(**{**defaults, **options})
        given = how.options(boundary(how.mode).padding)
    except ValueError:
        return None
    points = grid(coordinates, image, np)[0]
    if how.filters or not isinstance(how.cval, (int, float)) or not np.may_share_memory(points, coordinates):
        return None
    given |= {"prefilter": False, "fill_value": float(how.cval)}
    sample = fast_call(NUMPY, "grid_sample", [image[None], points], (), given)
    if sample is None:
        return None
    first = len(coordinates) - 1  # of a grid, whose x comes first

    def known(image: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
        out: np.ndarray = sample(image, coordinates[first]).reshape(size)
        return out

    return known
