"""What functions return, as far as a graph says before it runs: the shapes and dtypes of their results.

A size that is not known yet is None. Where arrays are known to misfit, the error is that of the NumPy functions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.calls.derivatives import NAMES, SAMPLE, SAMPLERS, Derivative
from stnkit.calls.unknown_sizes import Shaped, axes_of, batch_of, output, output_shape
from stnkit.dtypes import FLOAT32, dot_dtype
from stnkit.spec import AFFINE, FLOW, GRID, PROJECTIVE, THIN_PLATE_SPLINE

Arguments = dict[str, Any]  # by name; arrays as `Shaped`


def results(name: str, arguments: Arguments) -> list[Shaped]:
    """Describe what a public function returns, but for what is None."""
    if name in SAMPLERS:
        return _sampled(*SAMPLERS[name], arguments)
    return _OTHERS[name](arguments)


def _sampled(derivative: Derivative[Any], kind: int, arguments: Arguments) -> list[Shaped]:
    image, source = arguments["image"], arguments[NAMES[kind]]
    if derivative is SAMPLE:
        return [output(kind, image, source, **_options(arguments))]
    wide = dot_dtype(image.dtype, source.dtype)
    named = {"image": image, "source": source}
    if "cotangent" in arguments:
        named["out_dot"] = Shaped(arguments["cotangent"].shape, wide)
    else:
        shape = output_shape(kind, image, source, **_options(arguments))
        named |= {"out": Shaped(shape, image.dtype), "out_dot": Shaped(shape, wide)}
    gives = list(derivative.gives)
    if "wrt" in arguments:
        gives = [role for role, word in zip(gives, ("image", NAMES[kind]), strict=True) if asked(word, arguments)]
    elif "cotangent" in arguments and "int" in image.dtype.name:
        gives.remove("image")  # which has no cotangent
    return [named[role] for role in gives]


def _options(arguments: Arguments) -> Arguments:
    return {name: value for name, value in arguments.items() if not isinstance(value, Shaped)}


def asked(word: str, arguments: Arguments) -> bool:
    """Tell whether `wrt` names an argument."""
    wrt = arguments["wrt"]
    return word == wrt or (not isinstance(wrt, str) and word in wrt)


def _grid(kind: int, arguments: Arguments) -> list[Shaped]:
    """Describe a grid."""
    source = arguments[NAMES[kind]]
    if kind == FLOW:
        return [Shaped(source.shape, _wide(source))]
    d = axes_of(kind, source)
    return [Shaped((*source.shape[:-2], *validation.size(arguments["size"], d), d), _wide(source))]


def _wide(source: Shaped) -> np.dtype[Any]:
    return FLOAT32 if source.dtype.itemsize == 2 else source.dtype


def _affine_grid_vjp(arguments: Arguments) -> list[Shaped]:
    bar = arguments["cotangent"]
    d = int(bar.shape[-1] or 0)
    return [Shaped((*bar.shape[: -1 - d], d, d + 1), bar.dtype)]


def _splat(values: Shaped, arguments: Arguments) -> list[Shaped]:
    grid = arguments["grid"]
    d = axes_of(GRID, grid)
    batch, size = batch_of(values, grid, d + 2, d + 2), validation.size(arguments["size"], d)
    last = arguments["data_format"] == "channels_last"
    shape = (*batch, *size, values.shape[-1]) if last else (*batch, values.shape[-1 - d], *size)
    return [Shaped(shape, values.dtype)]


def _count(arguments: Arguments) -> list[Shaped]:
    grid = arguments["grid"]
    d = axes_of(GRID, grid)
    return [Shaped((*grid.shape[: -1 - d], *validation.size(arguments["size"], d)), _wide(grid))]


def _gradient(arguments: Arguments) -> list[Shaped]:
    image, grid = arguments["image"], arguments["grid"]
    shape = (*output_shape(GRID, image, grid, **_options(arguments)), grid.shape[-1])
    return [Shaped(shape, dot_dtype(image.dtype, grid.dtype))]


def _alike(argument: str) -> Callable[[Arguments], list[Shaped]]:
    return lambda arguments: [arguments[argument]]


def _gridded(kind: int, count: int) -> Callable[[Arguments], list[Shaped]]:
    return lambda arguments: _grid(kind, arguments) * count


_GRIDS = {"affine": AFFINE, "flow": FLOW, "projective": PROJECTIVE, "thin_plate_spline": THIN_PLATE_SPLINE}
_OTHERS: dict[str, Callable[[Arguments], list[Shaped]]] = {
    "affine_grid_vjp": _affine_grid_vjp,
    "flow_grid_vjp": _alike("cotangent"),
    "projective_grid_vjp": _alike("theta"),
    "thin_plate_spline_grid_vjp": _alike("theta"),
    "grid_splat": lambda arguments: _splat(arguments["values"], arguments),
    "grid_splat_vjp": lambda arguments: [arguments[w] for w in ("values", "grid") if asked(w, arguments)],
    "grid_count": _count,
    "grid_gradient": _gradient,
    "spline_filter": lambda arguments: [
        Shaped(arguments["image"].shape, validation.coefficient_dtype("image", arguments["image"].dtype.name))
    ],
    "spline_filter_vjp": _alike("cotangent"),
    **{f"{name}_grid": _gridded(kind, 1) for name, kind in _GRIDS.items()},
    **{f"{name}_grid_jvp": _gridded(kind, 2) for name, kind in _GRIDS.items()},
}
