"""Arrays on a GPU that have an address and nothing behind it, calls with them, and the kernels that calls ask for.

Which kernels run follows from shapes, strides, dtypes and options. So what calls of any size launch can be learnt where
there is no GPU, and from the very functions that launch it.
"""

import contextlib
import heapq
import importlib
import itertools
import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from ml_dtypes import bfloat16

import stnkit
from stnkit.device_arrays import DeviceArray, Place, gapless
from stnkit.kernels import device
from stnkit.spec import BFLOAT16, DTYPES, UINT8, Spec
from stnkit.transforms import control_lattice


class Kernel(NamedTuple):
    """What machine code follows from."""

    factory: Any
    spec: Spec
    template: tuple[int, ...]
    narrow: bool


# ------------------------------------------------------------------------------------------------------------ arrays

_addresses, _streams = itertools.count(1 << 40, 1 << 12), itertools.count(3)


def phantom(shape, dtype, place, strides=None, shift=0):
    """Return an array at an address of its own, which may be `shift` bytes off a multiple of any size."""
    dtype = np.dtype(dtype)
    strides = gapless(tuple(shape), dtype.itemsize) if strides is None else strides
    return DeviceArray(next(_addresses) + shift, tuple(shape), strides, dtype, place, None)


def nowhere():
    """Return a place of its own, for which nothing is remembered."""
    return Place("phantom", 0, next(_streams), lambda shape, dtype: (next(_addresses), None), lambda result: result)


@contextlib.contextmanager
def recorded() -> Iterator[list[Kernel]]:
    """Write down what is launched, and launch nothing."""
    kernels: list[Kernel] = []
    kept = {name: getattr(device, name) for name in ("launch", "clear", "is_capturing")}

    def launch(factory, spec, items, arguments, stream, at):
        kernels.append(Kernel(factory, spec, device.template(arguments), items < device.NARROW))

    device.launch = launch
    device.clear = lambda *given: None
    device.is_capturing = lambda *given: True  # so that constants are not remembered
    try:
        yield kernels
    finally:
        vars(device).update(kept)


# ------------------------------------------------------------------------------------------------------------- calls

MOVED = [name for name, code in DTYPES.items() if code > UINT8]  # by nearest, and no more
CHOICES: dict[str, tuple[Any, ...]] = {
    "operation": ("", "_vjp", "_jvp", "_double_vjp", "splat", "splat twice", "make", "make_vjp", "make_jvp"),
    "source": ("grid", "pixel grid", "affine", "flow", "normalized flow", "projective", "thin_plate_spline"),
    "ndim": (1, 2, 3),
    "mode": ("nearest", "bilinear", "bicubic"),
    "padding": ("zeros", "border", "reflection", "wrap", "mixed"),
    "align": (False, True),
    "image": ("float32", "float64", "float16", "bfloat16", "uint8", "int16"),
    "coordinates": ("float32", "float64", "float16"),
    "channels": (0, 1, 2, 3, 8, 64, 512),  # the last but for 0, where three come first
    "gaps": (False, True),  # between numbers of the source, and between channels
    "asked": ((True, True), (True, False), (False, True)),  # cotangents, or tangents that are given
    "size": ("small", "wide", "many"),  # wide: pixels of 2**31 and more; many: so many locations
    "deterministic": (False, True),
}
SIZES = {  # of the image, and of the output
    "small": ((6, 7, 8), (4, 5, 6)),
    "wide": ((1 << 10, 1 << 11, 1 << 11), (4, 5, 6)),
    "many": ((6, 7, 8), (1 << 11, 1 << 11, 1 << 11)),
}
PADDINGS = ("zeros", "border", "reflection", "wrap")
POINTS = {ndim: control_lattice((3,) * ndim) for ndim in (1, 2, 3)}


def kernels_of(call: dict[str, Any]) -> tuple[Kernel, ...]:
    """Return what a call launches; nothing if there is no such call, or if it is refused."""
    with recorded() as kernels, contextlib.suppress(_Absent, ValueError, TypeError):
        _perform(**call)
        return tuple(dict.fromkeys(kernels))
    return ()


class _Absent(Exception):
    """There is no such call."""


def _perform(
    operation, source, ndim, mode, padding, align, image, coordinates, channels, gaps, asked, size, deterministic
):
    place = nowhere()
    extent, out_size = (_spatial(part, ndim, size) for part in SIZES[size])
    layout = {"data_format": "channels_last" if channels else "channels_first"}
    options = {"mode": mode, "padding_mode": _paddings(padding, ndim), "align_corners": align, **layout}
    kind, options, made = _sourced(source, options)
    last = (channels or 3,) if channels else ()
    dtype = bfloat16 if image == "bfloat16" else image
    wide = dtype if DTYPES[image] <= BFLOAT16 else "float64" if coordinates == "float64" else "float32"

    def picture(spatial, dtype):
        shape = (2, *spatial, *last) if channels else (2, 3, *spatial)
        return phantom(shape, dtype, place, _apart(shape, dtype) if gaps else None)

    def numbers():
        shape = {
            "affine": (2, ndim, ndim + 1),
            "projective": (2, ndim + 1, ndim + 1),
            "thin_plate_spline": (2, *POINTS[ndim].shape),
        }.get(kind, (2, *out_size, ndim))
        return phantom(shape, coordinates, place, _apart(shape, coordinates) if gaps else None)

    steady = {"deterministic": deterministic}
    sized = {"size": out_size} if made == "theta" else {}
    fixed = (POINTS[ndim],) if kind == "thin_plate_spline" else ()
    given = [
        make() if wanted else None for make, wanted in zip((lambda: picture(extent, wide), numbers), asked, strict=True)
    ]
    if operation == "":
        return getattr(stnkit, f"{kind}_sample")(picture(extent, dtype), numbers(), *fixed, **sized, **options)
    if operation == "_vjp":
        wrt = [name for name, wanted in zip(("image", made), asked, strict=True) if wanted]
        given = picture(out_size, wide), picture(extent, dtype), numbers(), *fixed
        return getattr(stnkit, f"{kind}_sample_vjp")(*given, wrt=wrt, **steady, **options)
    if operation == "_jvp":
        function = getattr(stnkit, f"{kind}_sample_jvp")
        return function(picture(extent, dtype), numbers(), *given, *fixed, **sized, **options)
    if operation == "_double_vjp":
        if kind in ("projective", "thin_plate_spline"):
            raise _Absent
        function = getattr(stnkit, f"{kind}_sample_double_vjp")
        return function(*given, picture(out_size, wide), picture(extent, dtype), numbers(), **steady, **options)
    if operation in ("splat", "splat twice"):
        if kind != "grid":
            raise _Absent
        values = picture(out_size, dtype)
        if operation == "splat":
            return stnkit.grid_splat(values, numbers(), extent, **steady, **options)
        function = importlib.import_module("stnkit.api.splat").splat_double_jvp
        return function(values, *(numbers() for _ in range(3)), extent, **steady, **options)
    cotangent = phantom((2, *out_size, ndim), "float32" if coordinates == "float16" else coordinates, place)
    return _make(operation, kind, options, numbers, fixed, cotangent, out_size)


def _make(operation, kind, options, numbers, fixed, cotangent, size):
    """Call what makes a grid, or its derivative."""
    if kind == "grid":
        raise _Absent
    names = ("align_corners", "units") if kind == "flow" else ("align_corners",)
    words = {name: options[name] for name in names if name in options}
    function = getattr(stnkit, f"{kind}_grid{operation.removeprefix('make')}")
    sized = {} if kind == "flow" else {"size": size}
    if operation == "make_vjp":
        given = (numbers(),) if kind in ("projective", "thin_plate_spline") else ()
        return function(cotangent, *given, *fixed, **words)
    return function(*(numbers() for _ in range(2 if operation == "make_jvp" else 1)), *fixed, **sized, **words)


def _spatial(three, ndim, size):
    """Return a size of some axes, with as many pixels."""
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


def _apart(shape, dtype):
    """Return strides with a gap after every number."""
    return tuple(2 * step for step in gapless(tuple(shape), np.dtype(dtype).itemsize))


# ---------------------------------------------------------------------------------------------------------- covering

Trait = tuple[str, Any]
Pair = tuple[Trait, Trait]

FLAGS = ("image_dot", "source_dot", "image_bar", "source_bar", "out_bar")
CHOSEN = ("ndim", "interp", "align", "pixel", "source", "dense", "source_dtype", "wide", *FLAGS)
SHORT = {  # kernels that read some choices only
    "product": ("image_dtype", "dot_dtype", "source_dtype", "image_dot", "source_dot"),
    "total": ("image_dtype", "dot_dtype"),
    "combination": ("image_dtype", "dot_dtype", "source_dtype", "image_dot"),
    "longest": ("ndim", "source_dtype"),
    "constant": (),
    "largest": ("image_dtype", "source_dtype"),
    "opened": ("image_dtype", "source_dtype", "source_dot"),
    "from_bins": ("image_dtype", "source_dtype"),
    "theta_sums": ("source_dtype",),
    "contraction": ("image_dtype", "dot_dtype", "source_dtype"),
    "grid": ("ndim", "align", "pixel", "source", "source_dtype"),
    "grid_jvp": ("ndim", "align", "source", "source_dtype"),
    "grid_vjp": ("ndim", "align", "source", "source_dtype"),
}


def traits(kernel: Kernel) -> tuple[Trait, ...]:
    """Return the choices of a kernel, of which the pairs are covered."""
    spec, name = kernel.spec, kernel.factory.__name__
    found = {"kernel": name, "narrow": kernel.narrow}
    if name in SHORT:
        found |= {choice: getattr(spec, choice) for choice in SHORT[name]}
        return tuple(found.items())
    paddings = set(spec.padding[: spec.ndim])
    found |= {choice: getattr(spec, choice) for choice in CHOSEN}
    found |= {
        "padding": paddings.pop() if len(paddings) == 1 else "mixed",
        "lanes": (spec.interleaved, spec.lanes, spec.aligned),
        "group": min(spec.group, 2) if spec.group < device.WARP else device.WARP,
        "image": min(spec.image_dtype, UINT8 + 1),  # what is moved differs by its size alone
    }
    return tuple(found.items())


def pairs(kernel: Kernel) -> frozenset[Pair]:
    """Return the pairs of choices that meet in a kernel; the name of a kernel that reads few is a choice of its own."""
    name, *others = traits(kernel)
    if name[1] in SHORT:
        others = [((name[1], choice), value) for choice, value in others]
    return frozenset(itertools.combinations((name, *others), 2))


def asked_for(seed: int, each: int = 8) -> dict[Kernel, frozenset[Pair]]:
    """Return kernels that calls ask for, with their pairs: every two choices of calls meet `each` times, if they can.

    The other choices of these calls are drawn.
    """
    drawn = random.Random(seed)
    asked: dict[Kernel, None] = {}
    for (one, ones), (other, others) in itertools.combinations(CHOICES.items(), 2):
        for a, b in itertools.product(ones, others):
            calls = (
                {name: drawn.choice(values) for name, values in CHOICES.items()} | {one: a, other: b}
                for _ in range(10 * each)
            )
            met = filter(None, map(kernels_of, calls))
            asked |= dict.fromkeys(itertools.chain.from_iterable(itertools.islice(met, each)))
    return {kernel: pairs(kernel) for kernel in asked}


def covering(found: dict[Kernel, frozenset[Pair]]) -> list[Kernel]:
    """Choose few kernels in which all the pairs of the others meet: always one that adds the most pairs.

    What a kernel adds never grows, so that only those which added the most when they were last looked at are looked at.
    """
    rest = set().union(*found.values())
    queue = [(-len(met), place, kernel) for place, (kernel, met) in enumerate(found.items())]
    heapq.heapify(queue)
    chosen: list[Kernel] = []
    while rest:
        _, place, kernel = queue[0]
        adds = len(found[kernel] & rest)
        heapq.heapreplace(queue, (-adds, place, kernel))
        if queue[0][1] == place:
            chosen.append(kernel)
            rest -= found[kernel]
    return chosen
