"""Tiles: of any tiling of output and image, a call with `place=` gives the bits of the whole call, in float64 maps.

A tile of an image may lack pixels: taps there are dead. So only locations count that read nothing else, which the call
on the whole image tells where what the tile lacks is NaN; but an image's cotangent is right on every tile.
"""

import functools
import importlib
import itertools
from typing import Any, NamedTuple

import calls
import numpy as np
import pytest
import test_machine_code as machine_code
from conftest import uncompiled
from emulation.phantoms import kernels_of
from emulation.pretended import lent, pretended, returned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cuda_code import compiled

import stnkit
from stnkit.dtypes import FLOAT32, FLOAT64
from stnkit.spec import MARGIN_WIDTH, Place
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
SHARED = {"suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


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
def wholes(draw, fills=(0.75,), images=IMAGES, kinds=KINDS, strange=(0.0, np.nan, -np.inf, 1e30, -3e9)):
    """Draw a call: numbers come from a seed, and what is searched is its structure."""
    kind, axes, seed = draw(st.sampled_from(kinds)), draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    random, mode = np.random.default_rng(seed), draw(st.sampled_from(MODES))
    chosen = [draw(st.sampled_from(PADDINGS)) for _ in range(axes)]
    margins = [2 * MARGIN_WIDTH * ("margin" in name) if axes < 3 else 0 for name in reversed(chosen)]
    chosen = [name.removesuffix("_margin") if axes == 3 else name for name in chosen]
    extent = tuple(draw(st.integers(1, 7)) + margin for margin in margins)
    size = tuple(draw(st.integers(1, 6 if axes < 3 else 3)) for _ in range(axes))
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
        source.flat[draw(st.integers(0, source.size - 1))] = draw(st.sampled_from(strange))
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


@settings(max_examples=50, **SHARED)
@given(data=st.data())
def test_values_are_those_of_the_whole(plain, data):
    whole = data.draw(wholes(fills=(0.75, np.inf)))
    box, held, place = data.draw(tiles(whole))
    tile, counts = at_hand(plain, whole, box, held, place)
    same(tile.call(plain, place=place), whole.part(whole.wide.call(plain), box), counts)


@settings(max_examples=50, **SHARED)
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


@settings(max_examples=15, **SHARED)
@given(data=st.data())
def test_grids_are_parts_of_the_whole(plain, data):
    whole = data.draw(wholes(images=("float64",), kinds=[kind for kind in KINDS if kind != "grid"]))
    box, _, place = data.draw(tiles(whole))
    place = place._replace(image_start=(0,) * whole.axes, image_size=(0,) * whole.axes)  # which grids know nothing of
    tile, random = whole.cut(box), np.random.default_rng(whole.seed)
    options = {"align_corners": whole.options["align_corners"]}
    options |= {"units": whole.options["units"]} if whole.kind == "flow" else {}
    sizes = [(one.size,) if whole.sized else () for one in (whole, tile)]
    make, push, pull = (getattr(plain, f"{whole.kind}_grid{end}") for end in ("", "_jvp", "_vjp"))
    wide = whole.source.astype(float)
    expected = make(wide, *whole.fixed, *sizes[0], **options)
    same(make(tile.source, *whole.fixed, *sizes[1], **options, place=place), whole.part(expected, box, 1))

    dots = random.uniform(-1, 1, whole.source.shape).astype(whole.source.dtype)
    own = dots if whole.sized else whole.part(dots, box, 1)
    expected = push(wide, dots.astype(float), *whole.fixed, *sizes[0], **options)
    got = push(tile.source, own, *whole.fixed, *sizes[1], **options, place=place)
    for a, b in zip(got, expected, strict=True):
        same(a, whole.part(b, box, 1))

    cotangent = np.zeros_like(expected[0])
    whole.part(cotangent, box, 1)[...] = random.uniform(-1, 1, got[0].shape)
    given = [[whole.part(cotangent, box, 1), tile.source], [cotangent, wide]]
    given = [arrays if whole.kind in ("projective", "thin_plate_spline") else arrays[:1] for arrays in given]
    got, expected = pull(*given[0], *whole.fixed, **options, place=place), pull(*given[1], *whole.fixed, **options)
    if whole.kind == "flow":
        same(got, whole.part(expected, box, 1))
    elif whole.kind != "thin_plate_spline":
        same(got, expected)
    assert got.dtype == FLOAT64


@settings(max_examples=15, **SHARED)
@given(data=st.data())
def test_splats_and_gradients_are_those_of_the_whole(plain, data):
    """Any tile of an image receives what the whole image does there, be values lost beside it."""
    whole = data.draw(wholes(images=("float32", "float64", "float16"), kinds=("grid",), strange=(0.0, -3e9)))
    box, held, place = data.draw(tiles(whole))
    tile, counts = at_hand(plain, whole, box, held, place)
    options = {name: option for name, option in whole.options.items() if name != "fill_value"}
    random, wide = np.random.default_rng(whole.seed), whole.wide
    values = random.uniform(-1, 1, wide.call(plain).shape).astype(whole.image.dtype)
    expected = plain.grid_splat(values, wide.source, whole.extent, **options)
    got = plain.grid_splat(values, whole.source, held, **options, place=place)
    same(got, whole.held(expected, place, held))

    own = whole.part(values, box)
    bar = random.uniform(-1, 1, whole.image.shape).astype(whole.image.dtype)
    expected = plain.grid_splat_vjp(bar, values, wide.source, **options)[0]
    got = plain.grid_splat_vjp(whole.held(bar, place, held), own, tile.source, **options, place=place)[0]
    same(got, whole.part(expected, box), counts)

    if whole.options["mode"] not in ("nearest", "spline0"):
        expected = plain.grid_gradient(whole.image, wide.source, **whole.options)
        got = plain.grid_gradient(tile.image, tile.source, **whole.options, place=place)
        same(got, whole.part(expected, box), counts[..., None])


POLES = {"spline2": 0.1716, "spline5": 0.4306}  # the largest of each
GAINS = {"spline2": 2.0, "spline5": 7.5}  # of the filter, along an axis


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection", "wrap", "mask", "periodic"])
@pytest.mark.parametrize("mode", POLES)
def test_a_filtered_tile_is_the_whole_within_what_its_halo_leaves(plain, mode, padding):
    """What the filter makes of a tile's end is off by what it may be in all, times the pole for each pixel away."""
    random, n, halo = np.random.default_rng(0), 120, 32
    image, theta = random.uniform(-1, 1, (1, 1, n)), np.array([[1.05, 0.0]])
    options = {"mode": mode, "padding_mode": padding, "fill_value": 0.5}
    whole = plain.affine_sample(image, theta, (n,), **options)
    every = np.zeros_like(whole)
    every[..., 50:66] = 1
    expected = plain.affine_sample_vjp(every, image, theta, wrt="image", **options)[0]
    limit = 4 * GAINS[mode] * POLES[mode] ** halo + 64 * 2.0**-52
    for start in (0, 50, n - 16):  # of the output, whose ends lie three pixels outside the image
        first, last = max(int(1.05 * start - 6) - halo, 0), min(int(1.05 * start + 20) + halo, n)
        if start != 50 and padding in ("wrap", "periodic"):
            first, last = (-halo - 8, 26 + halo) if padding == "wrap" else (0, n)
        tile = np.take(image, np.arange(first, last) % n, axis=-1)
        place = Place((start,), (n,), (first % n,), (n,))
        if not (start == n - 16 and padding == "wrap"):
            got = plain.affine_sample(tile, theta, (16,), **options, place=place)
            np.testing.assert_allclose(got, whole[..., start : start + 16], rtol=0, atol=limit)
        if start == 50:
            assert last - first < n
            bar = plain.affine_sample_vjp(np.ones_like(got), tile, theta, wrt="image", **options, place=place)[0]
            np.testing.assert_allclose(bar, expected[..., first:last], rtol=0, atol=16 * limit)


@pytest.mark.parametrize("kind", ["affine", "projective", "thin_plate_spline", "flow"])
def test_subsamples_are_those_of_the_whole(plain, kind):
    """A flow is read between its locations: a tile has one location more at each end, which is cut off."""
    random, size = np.random.default_rng(3), (9, 8)
    image = random.uniform(-1, 1, (2, 3, 7, 6)).astype(np.float32)
    fixed = (control_lattice((2, 2)),) if kind == "thin_plate_spline" else ()
    source = {
        "affine": random.uniform(-2, 2, (2, 2, 3)),
        "projective": np.eye(3) * [2, 2, 1] + random.uniform(-0.2, 0.2, (2, 3, 3)),
        "thin_plate_spline": control_lattice((2, 2)) * 2 + random.uniform(-0.2, 0.2, (2, 4, 2)),
        "flow": random.uniform(-2, 2, (2, *size, 2)),
    }[kind]
    function = getattr(plain, f"{kind}_sample")
    whole = function(image, source, *fixed, **({} if kind == "flow" else {"size": size}), antialias=3)
    place = Place((2, 3), size, (0, 0), (7, 6))
    cut = (slice(None), slice(None), slice(3, 6), slice(4, 6))
    if kind == "flow":
        got = function(image, source[:, 2:7, 3:7], antialias=3, place=place)
    else:
        got = function(image, source, *fixed, (5, 4), antialias=3, place=place)
    same(got[..., 1:-1, 1:-1][..., :3, :2], whole[cut])
    if kind == "affine":
        every = function(image, source, size, antialias=True)
        same(function(image, source, (5, 4), antialias=True, place=place), every[..., 2:7, 3:7])
    else:
        sized = {} if kind == "flow" else {"size": (5, 4)}
        with pytest.raises(ValueError, match="pass their number"):
            function(
                image, source[:, :5, :4] if kind == "flow" else source, *fixed, **sized, antialias=True, place=place
            )


def test_sums_of_theta_over_tiles_are_that_of_the_whole(plain):
    """Each addition may round by half an ulp of the sum of magnitudes; 2 x 24 locations are added, in other orders."""
    random, size = np.random.default_rng(0), (4, 6)
    image, theta = random.uniform(-1, 1, (1, 2, 5, 7)), random.uniform(-1, 1, (1, 2, 3))
    cotangent = random.uniform(-1, 1, (1, 2, *size))
    _, whole = plain.affine_sample_vjp(cotangent, image, theta, wrt="theta")
    total = np.zeros_like(whole)
    for y, x in itertools.product((0, 2), (0, 3)):
        place = Place((y, x), size, (0, 0), (5, 7))
        part = cotangent[..., y : y + 2, x : x + 3]
        total += plain.affine_sample_vjp(part, image, theta, wrt="theta", place=place)[1]
    _, slopes = plain.grid_sample_vjp(np.abs(cotangent), image, plain.affine_grid(theta, size), wrt="grid")
    most = 7 / 2 * 2 * 2 * cotangent.size  # a slope is at most 2, in pixels, of which a unit is 7 / 2
    assert np.abs(slopes).max() * 24 <= most
    np.testing.assert_allclose(total, whole, rtol=0, atol=2 * 48 * 2.0**-53 * most)


WRONG = {
    "no place": (5, TypeError, "`place` must be a Place, of four sequences"),
    "a float": (((0.5, 0), (4, 4), (0, 0), (5, 5)), TypeError, "four sequences of integers"),
    "few axes": (((0,), (4, 4), (0, 0), (5, 5)), ValueError, "`place.out_start` must have 2 integers"),
    "beyond the output": (((2, 0), (3, 4), (0, 0), (5, 5)), ValueError, r"puts an output of size \(2, 2\)"),
    "before the output": (((-1, 0), (4, 4), (0, 0), (5, 5)), ValueError, "not within `out_size`"),
    "beyond the image": (((0, 0), (4, 4), (0, 5), (5, 5)), ValueError, "must be pixels of the whole image"),
    "beyond 64 bits": (
        ((0, 0), (2**63, 4), (0, 0), (5, 5)),
        ValueError,
        "`place.out_size` .* 64 bits",
    ),
    "a large tile": (((0, 0), (4, 4), (0, 0), (2, 5)), ValueError, "must not be less than the size of `image`"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_places_are_refused(plain, wrong):
    place, error, message = WRONG[wrong]
    image, theta = np.ones((1, 3, 3)), np.eye(2, 3)
    with pytest.raises(error, match=message):
        plain.affine_sample(image, theta, (2, 2), place=place)


def test_what_a_tile_needs_is_asked_for(plain):
    image, theta, place = np.ones((1, 3, 3)), np.eye(2, 3), Place((0, 0), (4, 4), (1, 1), (5, 5))
    with pytest.raises(ValueError, match="`size` must be given beside `place`"):
        plain.affine_sample(image, theta, place=place)
    with pytest.raises(ValueError, match="counts 12 pixels of a margin"):
        plain.affine_sample(image, theta, (2, 2), padding_mode="zeros_margin", place=place)
    with pytest.raises(ValueError, match="lets the image go around its axis x"):
        plain.affine_sample(
            image, theta, (2, 2), mode="spline3", padding_mode="periodic", place=place._replace(image_start=(1, 4))
        )
    with pytest.raises(ValueError, match="at least one pixel"):
        plain.affine_sample(image[:, :0], theta, (2, 2), place=place)
    assert plain.affine_sample(image[:, :0], theta, (0, 2), place=place).shape == (1, 0, 2)


@pytest.mark.parametrize("dtype", ["float32", ">f4"])
def test_maps_are_widened_and_images_read_as_they_lie(plain, dtype):
    """A tile of memory that kernels cannot read is copied."""
    random = np.random.default_rng(0)
    image, theta = random.uniform(-1, 1, (1, 1, 5, 7)).astype(dtype), random.uniform(-1, 1, (1, 2, 3))
    theta = theta.astype(np.float32)
    whole = plain.affine_sample(image, theta.astype(float), (4, 4))
    place = Place((1, 2), (4, 4), (0, 0), (5, 7))
    same(plain.affine_sample(image, theta, (3, 2), place=place), whole[..., 1:, 2:])
    bars = plain.affine_sample_vjp(np.ones((1, 1, 3, 2), np.float32), image, theta, place=place)
    assert [bar.dtype for bar in bars] == [FLOAT32, FLOAT64]


PLAIN = machine_code.PLAIN | {
    "source": "affine", "mode": "bilinear", "image": "float32", "coordinates": "float32", "placed": "inside",
}  # fmt: skip
CALLS = [
    PLAIN,
    PLAIN | {"operation": "_vjp", "channels": 3, "padding": "border"},
    *calls.placed(machine_code.MINE, seed=2),
]


@pytest.mark.parametrize("call", CALLS, ids=machine_code.name)
def test_machine_code_has_the_bits_of_python(call):
    for strange in (False, True):
        got = machine_code.results(stnkit, call, strange)
        with uncompiled() as plain:
            expected = machine_code.results(plain, call, strange)
        machine_code.same(got, expected)


ON_GPUS = [
    PLAIN,
    PLAIN | {"operation": "_vjp", "source": "flow", "padding": "wrap", "placed": "around"},
    PLAIN | {"operation": "_jvp", "source": "thin_plate_spline", "ndim": 3, "mode": "bicubic", "padding": "mixed"},
    PLAIN | {"operation": "_double_vjp", "source": "grid", "mode": "bicubic", "padding": "wrap", "placed": "around"},
    PLAIN | {"operation": "splat", "source": "grid", "padding": "zeros_margin"},
    PLAIN | {"operation": "make", "source": "flow", "ndim": 3},
    PLAIN | {"operation": "make_jvp", "source": "projective"},
]


@pytest.mark.parametrize("call", ON_GPUS, ids=machine_code.name)
def test_threads_of_gpus_do_what_processors_do(plain, call):
    """On memory that pretends to be a GPU's."""
    make = machine_code.numbers(False)
    expected = machine_code.results(plain, call, False)
    importlib.import_module("stnkit.kernels.cuda.runtime")
    with pretended():
        found = returned(calls.perform(plain, lambda *given: lent(make(*given)), **call))
    machine_code.same([one for one in (found if isinstance(found, tuple) else (found,)) if one is not None], expected)


@pytest.mark.parametrize(("place", "call"), list(enumerate(ON_GPUS)), ids=str)
def test_kernels_of_gpus(compiler, place, call):
    kernels = kernels_of(call | {"size": "small"})
    assert any(kernel.spec.placed for kernel in kernels)
    for kernel in kernels:
        if kernel.spec.placed:
            compiled(kernel, ((8, 0), (9, 0))[place % 2])


def test_torch_differentiates_tiles_once(plain):
    torch = pytest.importorskip("torch")
    place = Place((1, 0), (4, 4), (0, 0), (3, 3))
    for name, of, options in DIFFERENTIABLE:
        expected, bars = _values_and_bars(plain, name, of, options, place)
        tensors = [torch.from_numpy(array).requires_grad_() for array in of]
        got = getattr(plain, name)(*tensors, **options, place=place)
        same(got.detach().numpy(), expected)
        for found, bar in zip(torch.autograd.grad(got, tensors, torch.ones_like(got)), bars, strict=True):
            same(found.numpy(), bar)
        with torch.no_grad():
            assert not getattr(plain, name)(*tensors, **options, place=place).requires_grad
    image, theta = (torch.from_numpy(array) for array in _pair())
    (slope,) = torch.autograd.grad(
        plain.affine_sample(image, theta.requires_grad_(), (2, 2), place=place).sum(), theta, create_graph=True
    )
    with pytest.raises(TypeError, match="have one derivative, in reverse mode"):
        slope.sum().backward()
    with pytest.raises(TypeError, match="calls with `place` are not transformed or compiled"):
        torch.func.vmap(lambda one: plain.affine_sample(one, theta.detach(), (2, 2), place=place))(image[None])
    with pytest.raises(TypeError, match="have one derivative, in reverse mode"):
        plain.grid_gradient(image.requires_grad_(), torch.zeros(2, 2, 2), place=place)


def test_jax_differentiates_tiles_once(plain):
    jax = pytest.importorskip("jax")
    place = Place((1, 0), (4, 4), (0, 0), (3, 3))
    for name, of, options in DIFFERENTIABLE:
        expected, bars = _values_and_bars(plain, name, of, options, place)
        arrays = [jax.numpy.asarray(array) for array in of]
        got, pull = jax.vjp(functools.partial(getattr(plain, name), **options, place=place), *arrays)
        assert isinstance(got, jax.Array)
        if expected.dtype == np.float32 or got.dtype == np.float64:
            same(np.asarray(got), expected)
            for found, bar in zip(pull(jax.numpy.ones_like(got)), bars, strict=True):
                same(np.asarray(found), bar)
    image, theta = (jax.numpy.asarray(array) for array in _pair())
    for transform in (jax.jit, jax.vmap):
        with pytest.raises(TypeError, match="`image` is traced by JAX, and a call with `place` is not"):
            transform(lambda image: plain.affine_sample(image, theta, (2, 2), place=place))(image[None])
    with pytest.raises(TypeError, match="`theta` is traced by JAX"):
        jax.hessian(lambda theta: plain.affine_sample(image, theta, (2, 2), place=place).sum())(theta)


def _values_and_bars(plain, name, given, options, place):
    """Return what a function gives for a tile, and the cotangents of its arrays for ones, in their dtypes."""
    value = getattr(plain, name)(*given, **options, place=place)
    arrays = given[1:] if name == "affine_grid" else given  # which is linear: its vjp reads no theta
    more = {word: option for word, option in options.items() if word != "size"}
    bars = getattr(plain, f"{name}_vjp")(np.ones_like(value), *arrays, **more, place=place)
    bars = bars if isinstance(bars, tuple) else (bars,)
    return value, [bar.astype(array.dtype) for bar, array in zip(bars, given, strict=True)]


def _pair():
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (1, 3, 3)).astype(np.float32), random.uniform(-1, 1, (2, 3)).astype(np.float32)


DIFFERENTIABLE = (  # public functions, arrays that have a derivative, and other arguments
    ("affine_sample", _pair(), {"size": (2, 2)}),
    ("affine_sample", _pair(), {"size": (2, 2), "antialias": 2, "padding_mode": "border"}),
    ("affine_sample", _pair(), {"size": (2, 2), "mode": "spline3"}),
    ("projective_sample", (_pair()[0], np.float32([[1, 0, 0.1], [0, 1, 0.2], [0.1, 0, 1]])), {"size": (2, 2)}),
    (
        "thin_plate_spline_sample",
        (_pair()[0], np.float32([[-1, -1], [1, -0.9], [-0.8, 1], [1, 0.7]])),
        {"control_points": control_lattice((2, 2)), "size": (2, 2)},
    ),
    ("flow_sample", (_pair()[0], np.full((2, 2, 2), 0.3, np.float32)), {}),
    ("grid_sample", (_pair()[0], np.full((2, 2, 2), 0.3, np.float32)), {}),
    ("grid_splat", (_pair()[0], np.full((3, 3, 2), 0.3, np.float32)), {"size": (3, 3)}),
    ("affine_grid", _pair()[1:], {"size": (2, 2)}),
)
