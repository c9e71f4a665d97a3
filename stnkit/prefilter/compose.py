"""Calls whose image is filtered first, composed of plain calls on coefficients, for arrays of any framework."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.antialias.compose import antialiased_here, check, stand_in
from stnkit.antialias.supersampling import MATRICES, Array, Tools
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls import splatting
from stnkit.calls.arguments import Choices, Maybe
from stnkit.calls.control_points import as_float64
from stnkit.calls.derivatives import NAMES, PAIR, SAMPLE, SAMPLERS, VJP, Derivative
from stnkit.calls.sampling import run
from stnkit.dtypes import dot_dtype, dtype_name
from stnkit.prefilter.coefficients import DEVICE_FILTERS, NUMPY_FILTERS, Framework, Keywords, coefficients
from stnkit.spec import DTYPES, GRID, MAPS, THIN_PLATE_SPLINE, UINT8

Given = Sequence[Array]
Results = tuple[Array, ...]

GRADIENT: Derivative[Any] = Derivative(PAIR, ("out_dot",), ("image", "{}"), 0)


def sampled(
    derivative: Derivative[Any],
    kind: int,
    function: Callable[..., Any],
    given: Given,
    choices: Keywords,
    own: Framework,
    into: Maybe = None,
) -> Results:
    """Do a call of a sampler, or of a derivative of one.

    `function` is its plain form: it takes the arrays, the choices, and `into`, which is written to if there is one.
    """
    choices, tools = dict(choices), own.tools
    image, source = given[derivative.image], given[derivative.image + 1]
    if "wrt" in choices and not isinstance(choices["wrt"], str):
        choices["wrt"] = tuple(choices["wrt"])
    if tools.checks():
        _check(derivative, kind, given, choices, into)
    how = coefficients(own, int(source.shape[-1]) - int(kind in MATRICES), choices, image.shape)
    if kind in MAPS and derivative.cotangent is None and choices.get("size") is None:
        choices["size"] = tuple(image.shape[axis] for axis in reversed(how.axes))
    wide, is_read = how.dtype(image), derivative is not VJP or NAMES[kind] in choices.get("wrt", NAMES[kind])
    taken = list(given)
    for n, role in enumerate(derivative.takes):
        if given[n] is not None and role == "image":
            taken[n] = how.of(given[n], is_tangent=n != derivative.image, is_read=is_read)
        elif role == "out_dot":
            taken[n] = tools.cast(given[n], wide)
    written = {"into": into} if derivative is SAMPLE and into is not None and image.dtype == wide else {}
    results = function(*taken, **(choices | how.options()), **written)
    results = results if isinstance(results, tuple) else (results,)
    done = []
    for role, one in zip(derivative.gives, results, strict=True):
        if one is None or one is into or role == "source":
            done.append(one)
        elif role == "out":
            done.append(_written(tools.rounded(one, image), into))
        elif role == "out_dot":
            done.append(tools.cast(one, _dot_dtype(tools, image, source)))
        elif DTYPES[dtype_name(image)] >= UINT8:
            done.append(None)  # an image of integers has no cotangent
        else:
            done.append(_image_bar(tools, how.pulled(one), image, into))
    return tuple(done)


def splat(function: Callable[..., Any], given: Given, choices: Keywords, own: Framework, into: Maybe = None) -> Results:
    """Do a splat: values are added to coefficients, and these pulled back to the image."""
    (values, grid), choices = given, dict(choices)
    if own.tools.checks():
        splatting.splat_form(stand_in(values), stand_in(grid), _taken(choices))
    shape = () if choices.get("place") is None else (*choices["size"], *_last(choices))
    how = coefficients(own, int(grid.shape[-1]), choices, shape)
    choices["size"] = how.size(tuple(choices["size"]))
    bar = function(own.tools.cast(values, how.dtype(values)), grid, **(choices | how.options()))
    return (own.tools.cast(how.pulled(bar), values.dtype),)


def splat_vjp(
    function: Callable[..., Any], given: Given, choices: Keywords, own: Framework, into: Maybe = None
) -> Results:
    """Pull a cotangent of a splat back: as an image, it is filtered and sampled."""
    cotangent, values, grid = given
    cast = own.tools.cast
    if own.tools.checks():
        splatting.splat_form(stand_in(values), stand_in(grid), _taken(choices), stand_in(cotangent))
    how = coefficients(own, int(grid.shape[-1]), choices, cotangent.shape)
    pulled = how.of(cotangent, is_tangent=True), cast(values, how.dtype(values)), grid
    values_bar, grid_bar = function(*pulled, **(choices | how.options()))
    return None if values_bar is None else cast(values_bar, values.dtype), grid_bar


# By the names of public functions.
PREFILTERED: dict[str, Callable[..., Results]] = {
    **{name: functools.partial(sampled, *row) for name, row in SAMPLERS.items()},
    "grid_gradient": functools.partial(sampled, GRADIENT, GRID),
    "grid_splat": splat,
    "grid_splat_vjp": splat_vjp,
}


def prefiltered_here(
    derivative: Derivative[Any], kind: int, views: Given, choices: Choices, antialias: bool | int, into: Maybe = None
) -> Results:
    """Do a call of a sampler, whose image is filtered first, on views of main memory, or of a GPU's."""
    if kind == THIN_PLATE_SPLINE:
        choices = choices._replace(control_points=as_float64(choices.control_points))
    function = functools.partial(_run_here, derivative, kind, antialias)
    with np.errstate(invalid="ignore", over="ignore"):  # of what is rounded to half precision
        return sampled(derivative, kind, function, views, choices._asdict(), _filters(views), into)


def _run_here(
    derivative: Derivative[Any], kind: int, antialias: bool | int, *given: Array, into: Maybe = None, **choices: Any
) -> Results:
    plain = Choices(**choices)
    if antialias is False:
        return run(derivative, kind, given, plain, into)
    return antialiased_here(derivative, kind, given, plain, antialias, into)


def splat_here(choices: Choices, values: Array, grid: Array) -> Array:
    """Add values to an empty image, on views."""
    if not validation.prefiltered(choices.mode, choices.prefilter):
        return splatting.splat(choices, values, grid)
    return splat(_on_views(splatting.splat), (values, grid), choices._asdict(), _filters((values, grid)))[0]


def splat_vjp_here(choices: Choices, cotangent: Array, values: Array, grid: Array) -> tuple[Maybe, Maybe]:
    """Pull a cotangent of a splat back to values and grid, on views."""
    given = cotangent, values, grid
    if not validation.prefiltered(choices.mode, choices.prefilter):
        return splatting.splat_vjp(choices, *given)
    bars = splat_vjp(_on_views(splatting.splat_vjp), given, choices._asdict(), _filters(given))
    return bars[0], bars[1]


def gradient_here(choices: Choices, image: Array, grid: Array) -> Array:
    """Differentiate the interpolated image along each axis, on views."""
    given = image, grid
    if not validation.prefiltered(choices.mode, choices.prefilter):
        return splatting.gradient(choices, *given)
    return sampled(GRADIENT, GRID, _on_views(splatting.gradient), given, choices._asdict(), _filters(given))[0]


def _on_views(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of splats that takes arrays first, and choices by name."""
    return lambda *given, **choices: function(Choices(**choices), *given)


def _filters(views: Given) -> Framework:
    return DEVICE_FILTERS if any(type(view) is DeviceArray for view in views) else NUMPY_FILTERS


def _check(derivative: Derivative[Any], kind: int, given: Given, choices: Keywords, into: Maybe) -> None:
    """Refuse what the plain function would, in its words, before shapes and dtypes are changed."""
    form = check(derivative, kind, given, _taken(choices), into)
    own = choices["fill_value"], form.channels, form.options.interp
    validation.fill(*own, form.image_dtype, form.source_dtype)


def _taken(choices: Keywords) -> Choices:
    return Choices(**{word: value for word, value in choices.items() if word != "antialias"})


def _last(choices: Keywords) -> tuple[int, ...]:
    """Return the axes after the spatial ones: a channel, if that comes last."""
    return (1,) if choices["data_format"] == "channels_last" else ()


def _written(array: Array, into: Maybe) -> Array:
    if into is None:
        return array
    np.copyto(into, array)
    return into


def _image_bar(tools: Tools, bar: Array, image: Array, into: Maybe) -> Array:
    """Return an image's cotangent; added to `into`, if there is one."""
    if into is None:
        return tools.cast(bar, image.dtype)
    into += tools.cast(bar, into.dtype)
    return into


def _dot_dtype(tools: Tools, image: Array, source: Array) -> Any:
    """Return the dtype of tangents and cotangents, as the framework has it."""
    if DTYPES[dtype_name(image)] < UINT8:
        return image.dtype
    wide = "float64" if dtype_name(source) == "float64" else "float32"  # which may be one that NumPy lacks
    return getattr(tools.module, dot_dtype(np.dtype(dtype_name(image)), np.dtype(wide)).name)
