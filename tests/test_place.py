"""Tiles: of any tiling of output and image, a call with `place=` gives the bits of the whole call, in float64 maps.

A tile of an image may lack pixels: taps there are dead. So only locations count that read nothing else, which the call
on the whole image tells where what the tile lacks is NaN; but an image's cotangent is right on every tile.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stnkit.spec import FLOAT32, FLOAT64, MARGIN_WIDTH, Place
from stnkit.transforms import control_lattice

KINDS = ("affine", "projective", "thin_plate_spline", "flow", "grid")
NAMES = {"flow": "flow", "grid": "grid"}
MODES = (
    "nearest",
    "spline0",
    "bilinear",
    "bicubic",
    "spline2",
    "spline3",
    "spline4",
    "spline5",
    "mitchell",
    "lanczos3",
)
PADDINGS = ("zeros", "border", "reflection", "wrap", "mask", "periodic", "zeros_margin", "border_margin")
IMAGES = ("float32", "float64", "float16", "uint8", "int32")
SHARED = {
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


class Whole(NamedTuple):
    """A call of a sampler on a whole image, for a whole output."""

    kind: str
    image: np.ndarray
    source: np.ndarray
    fixed: tuple[np.ndarray, ...]  # control points
    size: tuple[int, ...]
    options: dict[str, Any]
    seed: int

    @property
    def axes(self) -> int:
        return len(self.size)

    @property
    def first(self) -> int:
        """The first spatial axis of an image."""
        return 1 if self.options["data_format"] == "channels_last" else 2

    @property
    def extent(self) -> tuple[int, ...]:
        return self.image.shape[self.first :][: self.axes]

    @property
    def sized(self) -> bool:
        return self.kind not in NAMES

    @property
    def wide(self) -> "Whole":
        return self._replace(source=self.source.astype(float))

    def wherever(self) -> Place:
        """The place of the whole in itself."""
        return Place((0,) * self.axes, self.size, (0,) * self.axes, self.extent)

    def dtype(self) -> np.dtype[Any]:
        """Return that of tangents and cotangents."""
        return self.image.dtype if self.image.dtype.kind == "f" else np.dtype(float)

    def part(self, array: np.ndarray, box: tuple[slice, ...], first: int | None = None) -> np.ndarray:
        """Cut a box of the output out of an array that is laid out so."""
        first = self.first if first is None else first
        return array[(*[slice(None)] * first, *box)]

    def cut(self, box: tuple[slice, ...]) -> "Whole":
        """Return the call for a box of the output, on the whole image."""
        source = self.source if self.sized else self.part(self.source, box, 1)
        return self._replace(source=source, size=tuple(s.stop - s.start for s in box))

    def held(self, array: np.ndarray, place: Place, size: tuple[int, ...]) -> np.ndarray:
        """Cut the tile of an image out of the whole, around."""
        for k, (start, many) in enumerate(zip(place.image_start, size, strict=True)):
            array = np.take(array, (start + np.arange(many)) % self.extent[k], axis=self.first + k)
        return array

    def call(self, package: Any, end: str = "", before: tuple[Any, ...] = (), dots: tuple[Any, ...] = (), **more: Any):
        options = self.options | more
        if self.sized and end in ("", "_jvp"):
            options["size"] = self.size
        if end in ("_vjp", "_double_vjp") and "wrt" not in more and end == "_vjp":
            options["wrt"] = ("image", NAMES.get(self.kind, "theta"))
        function = getattr(package, f"{self.kind}_sample{end}")
        return function(*before, self.image, self.source, *dots, *self.fixed, **options)


@st.composite
def wholes(draw, fills=(0.75,), images=IMAGES):
    """Draw a call: numbers come from a seed, and what is searched is its structure."""
    kind, axes, seed = draw(st.sampled_from(KINDS)), draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    random, mode = np.random.default_rng(seed), draw(st.sampled_from(MODES))
    chosen = [draw(st.sampled_from(PADDINGS)) for _ in range(axes)]
    margins = [2 * MARGIN_WIDTH * ("margin" in name) if axes < 3 else 0 for name in reversed(chosen)]
    chosen = [name.removesuffix("_margin") if axes == 3 else name for name in chosen]
    extent = tuple(draw(st.integers(1, 7)) + margin for margin in margins)
    size = tuple(draw(st.integers(1, 6)) for _ in range(axes))
    batch, channels, last = draw(st.integers(1, 2)), draw(st.sampled_from((1, 2, 9))), draw(st.booleans())
    dtype = draw(st.sampled_from(images))
    shape = (batch, *extent, channels) if last else (batch, channels, *extent)
    image = random.uniform(-2, 2, shape) if "float" in dtype else random.integers(0, 100, shape)
    options = {
        "mode": mode, "padding_mode": chosen, "align_corners": draw(st.booleans()),
        "data_format": "channels_last" if last else "channels_first",
    }  # fmt: skip
    options |= {"prefilter": False} if mode.startswith("spline") else {}
    options |= {"fill_value": draw(st.sampled_from(fills))} if "float" in dtype else {}
    fixed = (control_lattice((2,) * axes),) if kind == "thin_plate_spline" else ()
    shapes = {"affine": (axes, axes + 1), "projective": (axes + 1, axes + 1), "thin_plate_spline": (2**axes, axes)}
    source = random.uniform(-1.5, 1.5, (batch, *shapes.get(kind, (*size, axes))))
    if kind == "projective":
        source[:, -1] = np.abs(source[:, -1]) / 3
        source[:, -1, -1] = 1
    if kind == "affine" or kind == "grid":
        options["coords"] = draw(st.sampled_from(("normalized", "pixel")))
    if kind == "flow":
        options["units"] = draw(st.sampled_from(("normalized", "pixel")))
    if options.get("coords") == "pixel" or options.get("units") == "pixel":
        source *= 3
    if kind in NAMES:
        odd = draw(st.sampled_from((0.0, np.nan, -np.inf, 1e30, -3e9)))
        source.flat[draw(st.integers(0, source.size - 1))] = odd
    source = source.astype(draw(st.sampled_from(("float16", "float32", "float64"))))
    return Whole(kind, image.astype(dtype), source, fixed, size, options, seed)


@st.composite
def tiles(draw, whole):
    """Draw a tile of the output, as a box, a tile of the image, as where it starts and its size, and their place."""
    box = []
    for n in whole.size:
        start = draw(st.integers(0, n - 1))
        box.append(slice(start, draw(st.integers(start + 1, n))))
    starts = tuple(draw(st.integers(0, n - 1)) for n in whole.extent)
    held = tuple(draw(st.integers(1, n)) for n in whole.extent)
    return tuple(box), held, Place(tuple(s.start for s in box), whole.size, starts, whole.extent)


def at_hand(package, whole, box, held, place):
    """Return the call for a tile, on memory beyond which there are NaN, and where its output counts."""
    tile = whole.cut(box)
    lacking = np.ones(whole.image.shape, bool)
    indices = [np.arange(n) for n in whole.image.shape]
    for k, (start, many) in enumerate(zip(place.image_start, held, strict=True)):
        indices[whole.first + k] = (start + np.arange(many)) % whole.extent[k]
    lacking[np.ix_(*indices)] = False
    spoiled = whole.wide._replace(
        image=np.where(lacking, np.nan, 0.0), options=whole.options | {"fill_value": 0.0}
    ).call(package)
    image = whole.held(whole.image, place, held)
    if image.dtype.kind == "f":
        around = np.full([n + 2 for n in image.shape], np.nan, image.dtype)
        inside = around[tuple([slice(1, -1)] * image.ndim)]
        inside[...] = image
        image = inside
    return tile._replace(image=image), ~np.isnan(whole.part(spoiled, box))


def same(got, expected, where=True):
    """Ask for the bits of the whole; zeros are alike."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(np.where(where, got, 0).astype(float), np.where(where, expected, 0).astype(float))


@settings(max_examples=100, **SHARED)
@given(data=st.data())
def test_values_are_those_of_the_whole(plain, data):
    whole = data.draw(wholes(fills=(0.75, np.inf)))
    box, held, place = data.draw(tiles(whole))
    tile, counts = at_hand(plain, whole, box, held, place)
    same(tile.call(plain, place=place), whole.part(whole.wide.call(plain), box), counts)


@settings(max_examples=100, **SHARED)
@given(data=st.data())
def test_derivatives_are_those_of_the_whole(plain, data):
    """Of a map's cotangent, a tile has what the whole has of a cotangent that is 0 elsewhere."""
    whole = data.draw(wholes())
    box, held, place = data.draw(tiles(whole))
    tile, counts = at_hand(plain, whole, box, held, place)
    random = np.random.default_rng(whole.seed)
    wide, integers = whole.wide, whole.image.dtype.kind != "f"
    out = wide.call(plain)
    cotangent = np.zeros(out.shape, whole.dtype())
    whole.part(cotangent, box)[...] = np.where(counts, random.uniform(-1, 1, counts.shape), 0)
    images = None if integers else random.uniform(-1, 1, whole.image.shape).astype(whole.dtype())
    sources = random.uniform(-1, 1, whole.source.shape).astype(whole.source.dtype)
    name = NAMES.get(whole.kind, "theta")
    wrt = (name,) if integers else ("image", name)

    expected = wide.call(plain, "_vjp", (cotangent,), wrt=wrt)
    got = tile.call(plain, "_vjp", (whole.part(cotangent, box),), wrt=wrt, place=place)
    check_bars(whole, box, held, place, got, expected, counts)

    own = sources if whole.sized else whole.part(sources, box, 1)
    mine = None if integers else whole.held(images, place, held)
    expected = wide.call(plain, "_jvp", dots=(images, sources.astype(float)))
    got = tile.call(plain, "_jvp", dots=(mine, own), place=place)
    for a, b in zip(got, expected, strict=True):
        same(a, whole.part(b, box), counts)

    if whole.kind in ("affine", "flow", "grid"):
        expected = wide.call(plain, "_double_vjp", (images, sources.astype(float), cotangent))
        got = tile.call(plain, "_double_vjp", (mine, own, whole.part(cotangent, box)), place=place)
        same(got[0], whole.part(expected[0], box), counts)
        check_bars(whole, box, held, place, got[1:], expected[1:], counts)


def check_bars(whole, box, held, place, got, expected, counts):
    """Compare cotangents of an image, and of what says where it is read."""
    assert (got[0] is None) == (expected[0] is None)
    if got[0] is not None:
        same(got[0], whole.held(expected[0], place, held))
    if whole.kind in NAMES:
        channel = -1 if whole.first == 1 else 1
        there = counts.all(axis=channel)[..., None]
        shared = len(got[1]) < len(there)
        same(got[1], whole.part(expected[1], box, 1), there.all(axis=0, keepdims=True) if shared else there)
    elif whole.kind != "thin_plate_spline":  # whose sums are in lanes of locations
        same(got[1], expected[1])
