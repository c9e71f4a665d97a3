"""Antialiasing: a location of the output is the mean of subsamples around it, which cover its part of the image.

A subsample is read by the plain sampler, under the map moved there. So there is no kernel of its own, no image of
another size, and no more memory than one more output. Derivatives are sums of the plain ones: each is the mean of what
it is at the subsamples, and what a subsample says of the moved map is carried back to the map.

The functions here do so for arrays of any framework, for which the `Tools` stand.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit._dispatch import FAST, repeated
from stnkit.antialias.footprints import FOOTPRINTS, MOST, Factors, Group, groups
from stnkit.antialias.subsamples import MOVES, Lattice, Steps
from stnkit.antialias.supersampling import DEVICE, NUMPY, OUTPUTS, Array, Supersampling, Tools
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls.arguments import Choices, Maybe
from stnkit.calls.control_points import as_float64, key_of
from stnkit.calls.derivatives import NAMES, SAMPLE, SAMPLERS, VJP, Derivative
from stnkit.calls.sampling import Form, fits_out, fits_output, fits_sums, fits_tangents, run, sampling_form, widened
from stnkit.dtypes import bfloat16, dtype_name
from stnkit.spec import AFFINE, FLOW, THIN_PLATE_SPLINE

_FUNCTIONS = {derivative: name for name, derivative in SAMPLERS.items()}
_OPTIONS = ("mode", "padding_mode", "fill_value", "align_corners", "data_format")  # of every sampler


def antialiased_here(
    derivative: Derivative[Any], kind: int, views: Sequence[Array], choices: Choices, antialias: bool | int, into: Maybe
) -> tuple[Array, ...]:
    """Do an antialiased call on views of main memory, or of a GPU's."""
    if kind == THIN_PLATE_SPLINE:
        choices = choices._replace(control_points=as_float64(choices.control_points))
    tools = DEVICE if any(type(view) is DeviceArray for view in views) else NUMPY
    function = functools.partial(_run_here, derivative, kind, *_fast_path(derivative, kind, choices))
    with np.errstate(invalid="ignore", over="ignore"):  # maps that are not finite are moved, too
        return antialiased(function, derivative, kind, views, choices._asdict(), antialias, tools, into)


def _run_here(
    derivative: Derivative[Any],
    kind: int,
    name: str,
    options: dict[str, Any],
    *given: Array,
    into: Maybe = None,
    **choices: Any,
) -> Any:
    """Do a plain call, which is the same for every subsample but for its numbers: by the fast path, if there is one."""
    if name and into is None and (known := repeated(name, given, options)) is not None:
        return known(*given)
    return run(derivative, kind, given, Choices(**choices), into)


def _fast_path(derivative: Derivative[Any], kind: int, choices: Choices) -> tuple[str, dict[str, Any]]:
    """Return the public function that has a fast path for a call, or "", and the options that it has."""
    name = _FUNCTIONS[derivative, kind]
    if name not in FAST or choices.place is not None:
        return "", {}
    names = [
        *_OPTIONS,
        *(("units",) if kind == FLOW else ("coords",) if kind == AFFINE else ()),
        *(("wrt", "deterministic") if derivative is VJP else ("size",)),
    ]
    return name, {option: getattr(choices, option) for option in names if option != "size" or choices.size is not None}


def antialiased(
    function: Callable[..., Any],
    derivative: Derivative[Any],
    kind: int,
    given: Sequence[Array],
    choices: dict[str, Any],
    antialias: Any,
    tools: Tools,
    into: Maybe = None,
) -> tuple[Array, ...]:
    """Do an antialiased call of a derivative of a sampler, for a kind of source.

    `function` is its plain form: it takes the arrays, the choices, and `into`, which is written to if there is one.
    """
    antialias, choices = validation.antialias(antialias, MOST), dict(choices)
    call = Supersampling(function, derivative, kind, given, choices, tools)
    if tools.checks():
        form = check(derivative, kind, given, Choices(**choices), into)
        validation.averaged(form.image_dtype, form.options.interp)
        if choices.get("size") is not None:
            choices["size"] = form.size
        if form.options.place is not None:
            choices["place"] = form.options.place
            _refuse_unmeasured(antialias, kind)
    lattice = call.lattice()
    lengths = None
    if antialias is True:
        numbers = widened(tools.see(NAMES[kind], call.source))
        with np.errstate(invalid="ignore", over="ignore"):  # of maps that are not finite
            lengths = FOOTPRINTS[kind](numbers, lattice, call.seen_points())
    alike = groups(antialias or 1, lattice, lengths)
    if all(max(factors) == 1 for _, factors in alike):
        results = function(*given, **choices) if into is None else function(*given, **choices, into=into)
        return results if isinstance(results, tuple) else (results,)
    done = [_group(call, lattice, items, factors) for items, factors in _portions(call, alike)]
    columns = zip(*done, strict=True)
    return tuple([_whole(call, role, column, into) for role, column in zip(derivative.gives, columns, strict=True)])


def _refuse_unmeasured(antialias: bool | int, kind: int) -> None:
    """Refuse to measure a map of which only a tile is at hand; an affine map is the same everywhere."""
    if antialias is True and kind != AFFINE:
        msg = (
            "`antialias=True` counts the subsamples that the whole output needs, of which a call with `place` sees a "
            "tile; pass their number"
        )
        raise ValueError(msg)


def _portions(call: Supersampling, alike: list[Group]) -> list[Group]:
    """Cut groups, so that a portion's images stay in a cache while all subsamples of its locations are read."""
    if call.tools.portion == 0 or call.common("image") or call.image.size == 0:
        return alike
    count = len(call.image)
    each = max(1, call.tools.portion * count // call.image.nbytes)
    portions: list[Group] = []
    for items, factors in alike:
        start, stop, _ = items.indices(count)
        cuts = range(start, stop, each)
        whole = max(factors) == 1 or len(cuts) == 1
        portions += [(items, factors)] if whole else [(slice(i, min(i + each, stop)), factors) for i in cuts]
    return portions


def _group(call: Supersampling, lattice: Lattice, items: slice, factors: Factors) -> tuple[Array, ...]:
    """Return the results for items of the batch that have the same number of subsamples; of one, the location is it."""
    given = [
        _wide(call, role, _items(call, role, array, items))
        for role, array in zip(call.derivative.takes, call.given, strict=True)
    ]
    total: Sequence[Array] = ()
    for steps in itertools.product(*[[(k + 0.5) / m - 0.5 for k in range(m)] for m in factors]):
        results = _beside(call, lattice, given, steps)
        total = [*map(_plus, total, results)] if total else results
    count = math.prod(factors)
    means = [None if one is None else one / count for one in total]
    return tuple([_rounded(call, role, mean) for role, mean in zip(call.derivative.gives, means, strict=True)])


def _beside(call: Supersampling, lattice: Lattice, given: Sequence[Array], steps: Steps) -> list[Array]:
    """Return the results at a subsample beside each location; of cotangents of the source, those of the map itself."""
    move, join = MOVES[call.kind], call.tools.join
    there = {"source": move.moved, "dot": move.along}
    moved = [
        there[role](array, steps, lattice, join) if role in there and array is not None else array
        for role, array in zip(call.derivative.takes, given, strict=True)
    ]
    return [
        move.pulled(one, steps, lattice, join) if role == "source" and one is not None else one
        for role, one in zip(call.derivative.gives, call.run(moved, steps, lattice), strict=True)
    ]


def _plus(total: Array, term: Array) -> Array:
    """Add; in the memory of an array that is ours, where a framework lets us."""
    if isinstance(total, (np.ndarray, DeviceArray)):
        total += term
        return total
    return None if total is None else total + term


def _items(call: Supersampling, role: str, array: Array, items: slice) -> Array:
    """Return the items of an array, or what all items share."""
    return array if array is None or items == slice(None) or call.common(role) else array[items]


def _wide(call: Supersampling, role: str, array: Array) -> Array:
    """Return an array in the dtype of the arithmetic, if it is a map, or one whose means would be rounded too often."""
    if array is None or not (call.narrow or role in ("source", "dot")):
        return array
    return call.tools.cast(array, call.wide)


def _rounded(call: Supersampling, role: str, array: Array) -> Array:
    """Return a result of the output's layout in the dtype that it is to have."""
    if array is None or role not in OUTPUTS or not call.narrow:
        return array
    if call.integers and role == "out_dot":
        return call.tools.cast(array, call.float_dtype(dtype_name(call.source) == "float64"))
    return call.tools.rounded(array, call.image)


def _whole(call: Supersampling, role: str, column: Sequence[Array], into: np.ndarray | None) -> Array:
    """Put a result of all groups together: what they share, they add to."""
    if column[0] is None or (role == "image" and call.integers):
        return None
    whole = functools.reduce(_plus, column) if call.common(role) else call.tools.join(column, 0)
    if into is not None and role == "out":
        np.copyto(into, whole)
        return into
    if into is not None and role == "image":
        return _plus(into, whole)
    return whole if role in OUTPUTS else call.tools.cast(whole, getattr(call, role).dtype)


def check(derivative: Derivative[Any], kind: int, given: Sequence[Array], choices: Choices, into: Maybe) -> Form:
    """Refuse what the plain function would, in its words, before shapes and dtypes are changed."""
    stand_ins = [stand_in(array) for array in given]
    image, source = stand_ins[derivative.image : derivative.image + 2]
    cotangent = None if derivative.cotangent is None else stand_ins[derivative.cotangent]
    form = sampling_form(kind, image, source, choices, cotangent)
    if isinstance(choices.control_points, np.ndarray):
        key_of(choices.control_points)  # refuses those that determine no spline
    asked = validation.names("wrt", choices.wrt, ("image", NAMES[kind]))
    if asked[0]:
        validation.differentiable("image", form.image_dtype)
    if cotangent is not None:
        fits_output(cotangent, form)
    if derivative.dots is not None:
        fits_tangents(derivative, stand_ins[derivative.dots], stand_ins[derivative.dots + 1], form)
    if into is not None and derivative is SAMPLE:
        fits_out(into, form, *given)
    elif into is not None:
        fits_sums(into, form, asked[0], *given)
    return form


def stand_in(array: Array) -> Any:
    """Return a NumPy array of the shape and dtype of an array, without its numbers."""
    if array is None:
        return None
    name = dtype_name(array)
    dtype = bfloat16("image") if name == "bfloat16" else np.dtype(name)
    return np.broadcast_to(np.empty((), dtype), tuple(array.shape))
