"""Antialiasing: a location of the output is the mean of places around it, which cover what it stands for in the image.

A place is read by the plain sampler, under the map moved there. So there is no kernel of its own, no image of another
size, and no more memory than one more output. Derivatives are sums of the plain ones: each is the mean of what it is at
the places, and what a place says of the moved map is carried back to the map.

The functions here do so for arrays of any framework, for which the `Tools` stand.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from stnkit import validation
from stnkit.antialias.footprints import FOOTPRINTS, MOST, Factors, Group, groups
from stnkit.antialias.roles import (
    DEVICE,
    GIVES,
    KINDS,
    NUMPY,
    OUTPUTS,
    TAKES,
    WHERE,
    Array,
    Call,
    Tools,
    Words,
    dtype_name,
)
from stnkit.antialias.subsamples import MOVES, Lattice, Steps
from stnkit.backends import interop
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls.control_points import fixed, known
from stnkit.calls.sampling import NAMES, Form, fits_inputs, fits_out, fits_output, fits_sums, form_of, widened
from stnkit.dtypes import bfloat16
from stnkit.spec import AFFINE, FLOW, PROJECTIVE

R = TypeVar("R")

WRITTEN = {"": "out", "_vjp": "accumulate_into"}  # the argument of each kind of function that is written to
DOTS = {"_jvp": ("d_", (2, 3)), "_double_vjp": ("dd_", (0, 1))}  # how tangents are called, and where they are


def antialiased_here(function: Callable[..., R], arguments: Words) -> R:
    """Do an antialiased call on memory that NumPy can view, or a GPU's; `arguments` are those of a public function."""
    words = dict(arguments)
    _, kind = _kinds(function.__name__)
    names = [*words][: len(TAKES[kind])]
    optional = [name for name in names if name.startswith("d")]  # tangents
    written = {name: words.pop(name) for name in (WRITTEN.get(kind),) if name}
    if "control_points" in words:
        words["control_points"] = known(words["control_points"])
    views, export = interop.import_arrays(*optional, *written, **{name: words[name] for name in names}, **written)
    into = views[len(names)] if written else None
    tools = DEVICE if any(type(view) is DeviceArray for view in views) else NUMPY
    with np.errstate(invalid="ignore", over="ignore"):  # maps that are not finite are moved, too
        results: Any = antialiased(function, words | dict(zip(names, views, strict=False)), tools, into)
    if kind == "":
        results = export(results) if into is None else written["out"]
    else:
        results = tuple(None if one is None else export(one) for one in results)
    if into is not None and kind == "_vjp":
        results = (written["accumulate_into"], *results[1:])
    finished: R = results
    return finished


def antialiased(
    function: Callable[..., Any], arguments: Words, tools: Tools, into: np.ndarray | None = None, name: str = ""
) -> Any:
    """Do an antialiased call of a public function; `function` is its plain form, and `into` what is written to.

    Its name is given where a compiler may take that of what is wrapped in it for another.
    """
    words = dict(arguments)
    antialias = validation.antialias(words.pop("antialias"), MOST)
    source, kind = _kinds(name or function.__name__)
    given = tuple(words.pop(name) for name in [*words][: len(TAKES[kind])])
    call = Call(function, kind, source, given, words, tools)
    if tools.checks():
        form = _check(call, into)
        if words.get("size") is not None:
            words["size"] = form.size
    lattice = call.lattice()
    lengths = None
    if antialias is True:
        numbers = widened(tools.see(NAMES[source], call.source))
        with np.errstate(invalid="ignore", over="ignore"):  # of maps that are not finite
            lengths = FOOTPRINTS[source](numbers, lattice, call.seen_points())
    parts = groups(antialias or 1, lattice, lengths)
    if all(max(factors) == 1 for _, factors in parts):
        return function(*given, **words, **({} if into is None else {WRITTEN[kind]: into}))
    done = [_group(call, lattice, items, factors) for items, factors in _portions(call, parts)]
    columns = zip(*done, strict=True)
    results = [_whole(call, role, column, into) for role, column in zip(GIVES[kind], columns, strict=True)]
    return results[0] if kind == "" else tuple(results)


def _kinds(name: str) -> tuple[int, str]:
    """Return where the coordinates of the public function of a name come from, and which derivative it is."""
    source, _, kind = name.partition("_sample")
    return KINDS[source], kind


def _portions(call: Call, parts: list[Group]) -> list[Group]:
    """Cut groups, so that a portion's images stay in a cache while all places of its locations are read."""
    if call.tools.portion == 0 or call.common("image") or call.image.size == 0:
        return parts
    count = len(call.image)
    each = max(1, call.tools.portion * count // call.image.nbytes)
    portions: list[Group] = []
    for items, factors in parts:
        start, stop, _ = items.indices(count)
        cuts = range(start, stop, each)
        whole = max(factors) == 1 or len(cuts) == 1
        portions += [(items, factors)] if whole else [(slice(i, min(i + each, stop)), factors) for i in cuts]
    return portions


def _group(call: Call, lattice: Lattice, items: slice, factors: Factors) -> tuple[Array, ...]:
    """Return the results for items of the batch that have the same number of places; of one, the location is it."""
    given = [
        _wide(call, role, _items(call, role, array, items))
        for role, array in zip(TAKES[call.kind], call.given, strict=True)
    ]
    places = itertools.product(*([(k + 0.5) / m - 0.5 for k in range(m)] for m in factors))
    results = _mean((_beside(call, lattice, given, steps) for steps in places), math.prod(factors))
    return tuple(_rounded(call, role, one) for role, one in zip(GIVES[call.kind], results, strict=True))


def _beside(call: Call, lattice: Lattice, given: Sequence[Array], steps: Steps) -> tuple[Array, ...]:
    """Return the results at a place beside each location; of cotangents of the source, those of the map itself."""
    move, join = MOVES[call.source_kind], call.tools.join
    there = {"source": move.moved, "dot": move.along}
    moved = [
        there[role](array, steps, lattice, join) if role in there and array is not None else array
        for role, array in zip(TAKES[call.kind], given, strict=True)
    ]
    return tuple(
        move.pulled(one, steps, lattice, join) if role == "source" and one is not None else one
        for role, one in zip(GIVES[call.kind], call.run(moved, steps, lattice), strict=True)
    )


def _mean(terms: Iterable[tuple[Array, ...]], count: int) -> tuple[Array, ...]:
    total = functools.reduce(lambda before, term: tuple(map(_plus, before, term)), terms)
    return tuple(None if one is None else one / count for one in total)


def _plus(total: Array, term: Array) -> Array:
    """Add; in the memory of an array that is ours, where a framework lets us."""
    if isinstance(total, (np.ndarray, DeviceArray)):
        total += term
        return total
    return None if total is None else total + term


def _items(call: Call, role: str, array: Array, items: slice) -> Array:
    """Return the items of an array, or what all items share."""
    return array if array is None or items == slice(None) or call.common(role) else array[items]


def _wide(call: Call, role: str, array: Array) -> Array:
    """Return an array in the dtype of the arithmetic, if it is a map, or one whose means would be rounded too often."""
    if array is None or not (call.narrow or role in ("source", "dot")):
        return array
    return call.tools.cast(array, call.wide)


def _rounded(call: Call, role: str, array: Array) -> Array:
    """Return a result of the output's layout in the dtype that it is to have: uint8 is rounded half to even."""
    integers = dtype_name(call.image) == "uint8"
    if array is None or role not in OUTPUTS or not call.narrow or (integers and role == "out_dot"):
        return array
    if integers and array.dtype != call.image.dtype:
        array = call.tools.module.clip(call.tools.module.round(array), 0, 255)
    return call.tools.cast(array, call.image.dtype)


def _whole(call: Call, role: str, column: Sequence[Array], into: np.ndarray | None) -> Array:
    """Put a result of all groups together: what they share, they add to."""
    if column[0] is None or (role == "image" and dtype_name(call.image) == "uint8"):
        return None
    whole = functools.reduce(_plus, column) if call.common(role) else call.tools.join(column, 0)
    if into is not None and role == "out":
        np.copyto(into, whole)
        return into
    if into is not None and role == "image":
        return _plus(into, whole)
    return whole if role in OUTPUTS else call.tools.cast(whole, getattr(call, role).dtype)


def _check(call: Call, into: np.ndarray | None) -> Form:
    """Refuse what the plain function would, in its words, before dtypes are changed; and means of integers."""
    stand_ins = [_stand_in(array) for array in call.given]
    cotangent = dict(zip(TAKES[call.kind], stand_ins, strict=True)).get("out_dot")
    image, source = (stand_ins[n] for n in WHERE[call.kind])
    form = _form(call, image, source, cotangent)
    validation.averaged(form.image_dtype)
    asked = (False, False)
    if "wrt" in call.words:
        asked = validation.names("wrt", call.words["wrt"], ("image", NAMES[form.kind]))
    if asked[0]:
        validation.differentiable("image", form.image_dtype)
    if cotangent is not None:
        fits_output("cotangent", cotangent, form)
    if call.kind in DOTS:
        prefix, (first, second) = DOTS[call.kind]
        fits_inputs(prefix, stand_ins[first], stand_ins[second], form)
    if into is not None and call.kind == "":
        fits_out(into, form, call.image, call.source)
    elif into is not None:
        fits_sums(into, form, asked[0], *call.given)
    return form


def _form(call: Call, image: np.ndarray, source: np.ndarray, cotangent: np.ndarray | None) -> Form:
    """Return what follows from the shapes, dtypes and options of a call, if they fit."""
    words, ndim = call.words, _axes(call, source.shape)
    own = {"units": words["units"]} if "units" in words else {}
    chosen = (words[word] for word in ("mode", "padding_mode", "align_corners", "data_format"))
    options = validation.options(ndim, *chosen, **own)
    if call.source_kind == FLOW:
        size = source.shape[-1 - ndim : -1]
    elif cotangent is not None:
        size = validation.output_size(cotangent.shape, ndim, words["data_format"])
    elif words["size"] is None:
        _, size = validation.image_shape(image.shape, ndim, options.channels_last)
    else:
        size = validation.size(words["size"], ndim)
    return form_of(image.shape, image.dtype, source.shape, source.dtype, call.source_kind, size, options)


def _axes(call: Call, source: tuple[int, ...]) -> int:
    """Return on how many axes a call acts, or refuse its source; and control points of which the numbers are known."""
    if call.source_kind == AFFINE:
        return validation.theta_axes(source)
    if call.source_kind == PROJECTIVE:
        return validation.projective_axes(source)
    if call.points is None:
        return validation.grid_axes(source, NAMES[call.source_kind])
    ndim = validation.spline_axes(source, tuple(call.points.shape))
    if isinstance(call.points, np.ndarray):
        fixed(call.points)
    return ndim


def _stand_in(array: Array) -> Any:
    """Return a NumPy array of the shape and dtype of an array, without its numbers."""
    if array is None:
        return None
    name = dtype_name(array)
    dtype = bfloat16("image") if name == "bfloat16" else np.dtype(name)
    return np.broadcast_to(np.empty((), dtype), tuple(array.shape))
