"""Kernels before the first call that needs them: compiled and kept on disk, and not run."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from stnkit.api.projective import projective_grid
from stnkit.api.thin_plate_spline import thin_plate_spline_grid
from stnkit.backends.interop import WRITTEN, framework_of, is_shared
from stnkit.calls.arguments import Array

Shape = tuple[int, ...]
Keywords = dict[str, Any]

_CPU = 1  # DLPack's device type of main memory

# Where maps stand whose footprints are not known before a kernel has run.
GRIDS: dict[str, Callable[..., Any]] = {grid.__module__: grid for grid in (projective_grid, thin_plate_spline_grid)}


class Compiled(NamedTuple):
    """What `compile_ahead` did."""

    kernels: int  # that the call runs
    compiled: int  # of these; the others were there
    seconds: float  # of the processor
    place: str | None  # the directory that kernels are kept in; None if they are not


def compile_ahead(
    function: Callable[..., Any], *arrays: Array | Shape | None, dtype: Any = "float32", **options: Any
) -> Compiled:
    """Compile every kernel that a call of a function would run, and run none of them.

    Kernels are kept on disk, so that no process on the same kind of processor compiles them again: neither a server at
    its first request, nor each of many workers.

    Parameters
    ----------
    function : callable
        A function of `stnkit` on arrays, as `stnkit.grid_sample_vjp`.
    *arrays : array, shape, or None
        Its positional arguments. For an array its shape may stand, a tuple of integers; or anything with attributes
        `shape` and `dtype`, as `jax.ShapeDtypeStruct`. What is not an array has no gaps, and takes no memory. Sizes
        are given as they are, and so is None for a tangent that is zero. Tensors of torch stand for calls with tensors.
    dtype : dtype
        Of what is given as a shape.
    **options
        The function's options. An array to write to is left as it is.

    Returns
    -------
    Compiled
        A named tuple: how many `kernels` the call runs; how many of these were `compiled`, as they were not found on
        disk, in an archive of the installation, or in this process; the `seconds` of processor time; and the `place`,
        a directory, or None if kernels are not kept. With NUMBA_DISABLE_JIT nothing is compiled.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.
    TypeError
        If it is no function of stnkit, a dtype is not supported, arguments are missing, or an array lies on a GPU.

    Warns
    -----
    RuntimeWarning
        If there is no directory that kernels can be kept in, and some are not in an archive.

    Notes
    -----
    Give the shapes that will come: batches of 8 and more, large images, and few channels that are last have kernels of
    their own. torch and JAX run the same kernels; where they are asked for gradients, those of the `_vjp` function too.
    With `antialias=True`, kernels are compiled for maps that shrink and for those that do not.

    Examples
    --------
    >>> import stnkit
    >>> found = stnkit.compile_ahead(stnkit.affine_grid, (1, 1, 2), (8,), dtype="float64")
    >>> found.compiled <= found.kernels
    True
    """
    if not getattr(function, "__module__", "").startswith("stnkit.api.") or function is compile_ahead:
        msg = f"`function` must be a function of stnkit on arrays, as stnkit.grid_sample; got {function!r}"
        raise TypeError(msg)
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        msg = f"`dtype` must be a dtype of NumPy, or its name; got {dtype!r}"
        raise TypeError(msg) from error
    bound = inspect.signature(function).bind(*arrays, **options)
    from stnkit.kernels.compiler import monitor
    from stnkit.kernels.compiler.settings import interpreted
    from stnkit.kernels.cpu import threads

    before = time.process_time()
    with monitor.collecting() as tally, np.errstate(all="ignore"):
        for one, keywords in _calls(function, _stand_ins(bound, dtype)):
            one(**keywords)
    directory = threads.cache_directory()
    shipped = all(monitor.origins.get(key) == monitor.ARCHIVE for key in tally.kernels)
    if directory is None and not (shipped or interpreted()):
        message = (
            "there is no directory to keep kernels in, so that each process compiles them: set NUMBA_CACHE_DIR to a "
            "directory that can be written to"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return Compiled(len(tally.kernels), tally.compiled, time.process_time() - before, directory)


def _calls(function: Callable[..., Any], keywords: Keywords) -> Iterator[tuple[Callable[..., Any], Keywords]]:
    """Give the calls whose kernels a call may run: how many subsamples it needs is known when kernels have run."""
    if keywords.get("antialias") is not True:
        yield function, keywords
        return
    yield function, keywords | {"antialias": False}
    yield function, keywords | {"antialias": 2}
    grid = GRIDS.get(function.__module__)
    if grid is not None:  # footprints are measured on grids of float64
        own: Keywords = {word: keywords[word] for word in ("control_points", "align_corners") if word in keywords}
        ndim = keywords["control_points"].shape[-1] if "control_points" in keywords else keywords["theta"].shape[-1] - 1
        picture = keywords["cotangent" if "cotangent" in keywords else "image"].shape
        size = picture[-1 - ndim : -1] if keywords.get("data_format") == "channels_last" else picture[-ndim:]
        yield grid, {"theta": np.zeros(keywords["theta"].shape), "size": keywords.get("size") or size, **own}


def _stand_ins(bound: inspect.BoundArguments, dtype: np.dtype[Any]) -> Keywords:
    """Return arguments by name, with arrays for shapes, and others for those that would be written to."""
    keywords = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        value = keywords.get(name)
        if value is None or name == "size":
            continue
        if name in WRITTEN:
            keywords[name] = value.clone() if hasattr(value, "clone") else _blank(value, dtype)
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            keywords[name] = _stand_in(name, value, dtype)
    return keywords


def _stand_in(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """Return an array for an argument: itself, if it is one in main memory that is not JAX's."""
    shared = is_shared(value) and framework_of(value) != "JAX"
    if shared and int(value.__dlpack_device__()[0]) != _CPU:
        msg = f"`{name}` must be in main memory, or a shape: kernels for a GPU are compiled at their first call"
        raise TypeError(msg)
    if shared or not (_is_shape(value) or hasattr(value, "shape")):
        return value  # the function says what is wrong with what is no array
    blank = _blank(value, dtype)
    return _scattered(*blank.shape) if name == "control_points" and blank.ndim == 2 else blank


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, (int, np.integer)) for n in value)


def _blank(form: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return zeros in a form. The system provides their memory where it is written to, and that is nowhere."""
    return np.zeros(form, dtype) if _is_shape(form) else np.zeros(form.shape, form.dtype)


def _scattered(count: int, ndim: int) -> np.ndarray:
    """Return control points that are evenly scattered, none of them on a line with others."""
    golden = max(np.roots([1, *[0] * (ndim - 1), -1, -1]).real)  # of x^(d + 1) = x + 1
    steps = golden ** -np.arange(1.0, ndim + 1)
    points: np.ndarray = 2 * (np.arange(count)[:, None] * steps % 1) - 1
    return points
