"""Calls of every function as data: their choices, how one is done, and few calls in which every two choices meet.

A test says which arrays a call gets: numbers, or addresses with nothing behind them.
"""

import importlib
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

from covering import covering
from ml_dtypes import bfloat16

from stnkit.spec import BFLOAT16, DTYPES, MARGIN_WIDTH, MODES, MOVED, TAPS, Place
from stnkit.transforms import control_lattice

SAMPLERS = ("", "_vjp", "_jvp", "_double_vjp")
CHOICES: dict[str, tuple[Any, ...]] = {
    "operation": (*SAMPLERS, "splat", "splat twice", "make", "make_vjp", "make_jvp"),
    "source": ("grid", "pixel grid", "affine", "flow", "normalized flow", "projective", "thin_plate_spline"),
    "ndim": (1, 2, 3),
    "mode": tuple(mode for mode in MODES if mode not in ("linear", "spline1", "label")),
    "padding": ("zeros", "border", "reflection", "wrap", "mask", "periodic", "zeros_margin", "border_margin", "mixed"),
    "align": (False, True),
    "image": ("float32", "float64", "float16", "bfloat16", "uint8", "int32"),
    "coordinates": ("float32", "float64", "float16"),
    "channels": (0, 1, 2, 3, 8, 64, 512),  # the last but for 0, where three come first
    "gaps": (False, True),  # between numbers of the source, and between channels
    "asked": ((True, True), (True, False), (False, True)),  # cotangents, or tangents that are given
    "size": ("small", "wide", "many"),  # wide: pixels of 2**31 and more; many: so many locations
    "deterministic": (False, True),
}
PLACED = ("inside", "around")  # tiles: amid the whole, and on from the last pixels of an image to the first
SIZES = {  # of the image, and of the output
    "small": ((6, 7, 8), (4, 5, 6)),
    "wide": ((1 << 10, 1 << 11, 1 << 11), (4, 5, 6)),
    "many": ((6, 7, 8), (1 << 11, 1 << 11, 1 << 11)),
    "tiny": ((3, 4, 7), (1, 2, 9)),  # on fewer axes as many
    "threaded": ((3, 4, 7), (16, 64, 64)),  # so many that threads pay
}
SPECS = [  # mode, padding, align_corners: what tests on two axes, in float64 and pixels, share
    ("nearest", "zeros", False),
    ("bilinear", "zeros", False),
    ("bilinear", "reflection", True),
    ("bilinear", "wrap", False),
    ("bicubic", "zeros", False),
    ("bicubic", "reflection", True),
]
PADDINGS = ("zeros", "border", "reflection", "wrap")
NEAREST = ("nearest", "spline0")  # which move pixels as they are
POINTS = {ndim: control_lattice((3,) * ndim) for ndim in (1, 2, 3)}

Call = dict[str, Any]
Make = Callable[[str, tuple[int, ...], Any, bool], Any]  # what it is, shape, dtype, whether there are gaps


class Absent(Exception):
    """There is no such call."""


def exists(operation, source, mode, image, asked, fill=0, **others) -> bool:
    """Tell whether there is such a call, it is not refused, and it has something to compute."""
    integers = DTYPES[image] > BFLOAT16
    if operation == "splat twice" and others.get("placed"):
        return False
    if operation.startswith("make"):
        return "grid" not in source
    if operation.startswith("splat"):
        return "grid" in source and not integers and (operation != "splat twice" or mode not in NEAREST)
    if operation in ("count", "gradient"):
        refused = DTYPES[image] in MOVED or mode in NEAREST or (integers and fill != fill)
        return "grid" in source and (operation == "count" or not refused)
    if operation == "_double_vjp" and source in ("projective", "thin_plate_spline"):
        return False
    if operation in ("_vjp", "_double_vjp") and mode in NEAREST and not asked[0]:
        return False
    if integers and (fill != fill or (operation and asked[0])):  # a NaN is no integer
        return False
    return DTYPES[image] not in MOVED or mode in NEAREST


def perform(
    package: Any, make: Make, *,
    operation, source, ndim, mode, padding, align, image, coordinates, channels, gaps, asked, size, deterministic,
    fill=None, items=(2, 2), placed="",
):  # fmt: skip
    """Do a call of the package's functions with the arrays that `make` returns."""
    extent, out_size = (_spatial(part, ndim, size) for part in SIZES[size])
    extent = tuple(n + 2 * MARGIN_WIDTH for n in extent) if "margin" in padding else extent
    layout = {"data_format": "channels_last" if channels else "channels_first"}
    options = {"mode": mode, "padding_mode": _paddings(padding, ndim), "align_corners": align, **layout}
    options |= {} if fill is None or operation.startswith(("splat", "count")) else {"fill_value": fill}
    options |= {"prefilter": False} if mode.startswith("spline") and operation != "count" else {}
    kind, options, made = _sourced(source, options)
    last = (channels or 3,) if channels else ()
    dtype = bfloat16 if image == "bfloat16" else image
    options |= {"place": _place(placed, extent, out_size)} if placed else {}
    double = coordinates == "float64" or placed
    wide = dtype if DTYPES[image] <= BFLOAT16 else "float64" if double else "float32"
    images, sources = items

    def picture(spatial, dtype, count=images):
        return make("image", (count, *spatial, *last) if channels else (count, 3, *spatial), dtype, gaps)

    def numbers(what=source):
        shape = {
            "affine": (sources, ndim, ndim + 1),
            "projective": (sources, ndim + 1, ndim + 1),
            "thin_plate_spline": (sources, *POINTS[ndim].shape),
        }.get(kind, (sources, *out_size, ndim))
        return make(what, shape, coordinates, gaps)

    steady = {"deterministic": deterministic}
    sized = {"size": out_size} if made == "theta" else {}
    fixed = (POINTS[ndim],) if kind == "thin_plate_spline" else ()
    tangents = (lambda: picture(extent, wide)), (lambda: numbers("tangent"))
    given = [tangent() if wanted else None for tangent, wanted in zip(tangents, asked, strict=True)]
    if operation == "":
        return getattr(package, f"{kind}_sample")(picture(extent, dtype), numbers(), *fixed, **sized, **options)
    if operation == "_vjp":
        wrt = [name for name, wanted in zip(("image", made), asked, strict=True) if wanted]
        arrays = picture(out_size, wide, max(items)), picture(extent, dtype), numbers(), *fixed
        return getattr(package, f"{kind}_sample_vjp")(*arrays, wrt=wrt, **steady, **options)
    if operation == "_jvp":
        function = getattr(package, f"{kind}_sample_jvp")
        return function(picture(extent, dtype), numbers(), *given, *fixed, **sized, **options)
    if operation == "_double_vjp":
        if kind in ("projective", "thin_plate_spline"):
            raise Absent
        function = getattr(package, f"{kind}_sample_double_vjp")
        arrays = picture(out_size, wide, max(items)), picture(extent, dtype), numbers()
        return function(*given, *arrays, **steady, **options)
    if operation in ("splat", "splat twice", "count", "gradient"):
        if kind != "grid":
            raise Absent
        if operation == "count":
            return package.grid_count(numbers(), extent, **{k: v for k, v in options.items() if k != "data_format"})
        if operation == "gradient":
            return package.grid_gradient(picture(extent, dtype), numbers(), **options)
        values = picture(out_size, dtype)
        if operation == "splat":
            return package.grid_splat(values, numbers(), extent, **steady, **options)
        function = importlib.import_module("stnkit.calls.splatting").splat_double_jvp
        moved = numbers("tangent"), numbers("tangent")
        return function(values, numbers(), *moved, extent, **steady, **options)
    dtype = "float64" if double else "float32"
    cotangent = make("image", (sources, *out_size, ndim), dtype, False)
    return _make(package, operation, kind, options, numbers, fixed, cotangent, out_size)


def _make(package, operation, kind, options, numbers, fixed, cotangent, size):
    """Call what makes a grid, or its derivative."""
    if kind == "grid":
        raise Absent
    names = ("align_corners", "units") if kind == "flow" else ("align_corners",)
    words = {name: options[name] for name in (*names, "place") if name in options}
    function = getattr(package, f"{kind}_grid{operation.removeprefix('make')}")
    sized = {} if kind == "flow" else {"size": size}
    if operation == "make_vjp":
        given = (numbers(),) if kind in ("projective", "thin_plate_spline") else ()
        return function(cotangent, *given, *fixed, **words)
    tangents = (numbers("tangent"),) if operation == "make_jvp" else ()
    return function(numbers(), *tangents, *fixed, **sized, **words)


def _place(placed, extent, out_size):
    """Return where a tile of these sizes lies in the whole."""
    more, start = (2, (1,) * len(extent)) if placed == "inside" else (1, extent)
    return Place((1,) * len(out_size), tuple(n + 2 for n in out_size), start, tuple(n + more for n in extent))


def _spatial(three, ndim, size):
    """Return a size of some axes, with as many pixels."""
    if size in ("tiny", "threaded"):
        return (math.prod(three[: 4 - ndim]), *three[4 - ndim :])
    if size == "small":
        return three[-ndim:]
    return (math.prod(three[: 4 - ndim]), *three[4 - ndim :]) if math.prod(three) > 1 << 20 else three[-ndim:]


def _paddings(padding, ndim):
    return PADDINGS[-ndim:] if padding == "mixed" else padding


def _sourced(source, options):
    """Return a kind of source, the options of its functions, and the name of their argument."""
    if source in ("grid", "pixel grid"):
        return "grid", {**options, "coords": "pixel" if source == "pixel grid" else "normalized"}, "grid"
    if source in ("flow", "normalized flow"):
        return "flow", {**options, "units": "pixel" if source == "flow" else "normalized"}, "flow"
    return source, options, "theta"


# ---------------------------------------------------------------------------------------------------------- covering


_MADE, _SPLAT = ("mode", "padding", "image", "channels", "asked", "fill"), ("asked", "fill")
IDLE = {  # choices that make no difference to an operation
    "": ("asked",),
    "splat": _SPLAT,
    "splat twice": _SPLAT,
    "count": ("image", "channels", *_SPLAT),
    "gradient": ("asked",),
    "make": _MADE,
    "make_vjp": _MADE,
    "make_jvp": _MADE,
}


def pairs(call: Call) -> frozenset[Any]:
    """Return every two choices that meet in a call."""
    idle = IDLE.get(call["operation"], ())
    return frozenset(itertools.combinations(((name, value) for name, value in call.items() if name not in idle), 2))


def drawn(choices: dict[str, tuple[Any, ...]], seed: int, each: int) -> list[Call]:
    """Draw calls that exist: every two choices meet in `each` of them, if they can meet."""
    random_ = random.Random(seed)
    calls: list[Call] = []
    for (one, ones), (other, others) in itertools.combinations(choices.items(), 2):
        for a, b in itertools.product(ones, others):
            tried = (
                {name: random_.choice(values) for name, values in choices.items()} | {one: a, other: b}
                for _ in range(50 * each)
            )
            calls += itertools.islice((call for call in tried if exists(**call)), each)
    return calls


def placed(choices: dict[str, tuple[Any, ...]], seed: int) -> list[Call]:
    """Draw few calls for tiles, in which every choice is made: but for places they are like the others."""
    tried = drawn(choices | {"placed": PLACED}, seed, 1)
    return [dict(call) for call in covering({tuple(call.items()): frozenset(call.items()) for call in tried})]


def effort(ndim: int, mode: int, second: bool = False) -> float:
    """Say about how long a kernel is compiled, beside that of a pixel: longer, the more taps a location reads."""
    return (1 + TAPS[mode] ** ndim / 32) * (2 if second else 1)
