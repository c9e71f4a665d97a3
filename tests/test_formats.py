"""Storage formats: halves, bytes, other integers and bool, who computes in what, and memory of the caller's own.

A rounding is monotone. So a result whose float32 or float64 value is off by a bound at most lies between the
rounded exact value less the bound and the rounded exact value plus the bound: `between` asks for that, and for
the exact rounding wherever the two agree. Pixel coordinates come to the taps as they are given, so that with
`coords="pixel"` the terms of `bounds` for the coordinate vanish: `exactly` sets its reach to 0 and its chain to 1.
"""

import importlib
import itertools

import bounds
import ml_dtypes
import numpy as np
import oracles
import pytest
import samplers
import torch
from calls import PADDINGS
from cases import margin, unit
from conftest import uncompiled
from covering import every_two_of
from samplers import MODES, SOURCES

import stnkit
from stnkit.kernels.cpu import threads
from stnkit.spec import DTYPES

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = {"float16": np.dtype(np.float16), "bfloat16": BFLOAT16}
FLOATS = {**HALVES, "float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}
MOVED = ["bool", "int64", "uint64"]
WHOLE = ["uint8", "int8", "int16", "uint16", "int32", "uint32"]
TORCH = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "uint8": torch.uint8}
EVERY = np.arange(1 << 16).astype(np.uint16)
NANS = {  # the payload all zeros but one, and all ones
    np.float32: np.array([0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32),
    np.float64: np.array([0x7FF0000000000001, 0x7FFFFFFFFFFFFFFF], np.uint64).view(np.float64),
}
PLANES = [(182, 182), (256, 256), (33, 1024)]


@pytest.fixture(autouse=True)
def _serial(monkeypatch):
    """Compile one twin of each kernel: the other gives the same bits, which `test_threads.py` tests."""
    monkeypatch.setattr(threads, "SMALL", 1 << 62)


@pytest.fixture(scope="module")
def formats(plain):
    with uncompiled():
        return importlib.import_module("stnkit.kernels.leaves.formats")


def in_float64(array):
    """Return the numbers of an array in float64."""
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return array.astype(float)


def ladder(name):
    """Return the values of a half format from 0 up, so that a value's place is its bits; what follows is infinite."""
    values = in_float64(EVERY[: 1 << 15].view(HALVES[name]))
    values = values[np.isfinite(values)]
    return np.append(values, 2 * values[-1] - values[-2])


def nearest_bits(x, name):
    """Return the bits of the half number nearest to `x`, half to even; NaN is refused."""
    steps = ladder(name)
    ties = (steps[1:] + steps[:-1]) / 2  # exact in float64
    x = np.asarray(x, float)
    assert not np.isnan(x).any()
    at = np.searchsorted(ties, np.abs(x))
    tie = ties[np.minimum(at, len(ties) - 1)] == np.abs(x)
    return (at + (tie & (at % 2 == 1)) + 0x8000 * np.signbit(x)).astype(np.uint16)


def rounded(x, name):
    """Round float64 numbers to a format."""
    if name in WHOLE:
        return np.clip(np.rint(x), np.iinfo(name).min, np.iinfo(name).max)
    return nearest_bits(x, name).view(HALVES[name]).astype(float) if name in HALVES else np.asarray(x, name)


def between(got, exact, bound, name, about=""):
    """Check a result against the exact one, known up to `bound` before its one rounding."""
    assert got.dtype.name == name
    low, high = rounded(exact - bound, name), rounded(exact + bound, name)
    wrong = ~((low <= got.astype(float)) & (got.astype(float) <= high))
    assert not wrong.any(), (about, got[wrong][:5], exact[wrong][:5])


def exactly(d, mode, dtype, **more):
    """Return what the bounds of a call in pixel coordinates depend on."""
    return bounds.Size(d, mode, dtype, n=1, u=-3.0, **more)


def same_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}"))


# ---- every half number


@pytest.mark.parametrize("T", [np.float32, np.float64])
@pytest.mark.parametrize("name", HALVES)
def test_every_pattern_makes_the_round_trip(formats, name, T):
    """Widening is exact, and narrowing what was widened gives the bits back; NaN stays NaN."""
    code, like = DTYPES[name], T(0)
    widened = [formats.widen(bits, like, code) for bits in EVERY]
    assert {type(x) for x in widened} == {T}
    values = in_float64(EVERY.view(HALVES[name]))
    np.testing.assert_array_equal(widened, values)
    back = np.array([formats.narrow(x, np.uint16(0), code) for x in widened])
    assert back.dtype == np.uint16
    number = ~np.isnan(values)
    np.testing.assert_array_equal(back[number], EVERY[number])
    np.testing.assert_array_equal(np.signbit(widened)[number], EVERY[number] >> 15 == 1)
    assert np.isnan(in_float64(back[~number].view(HALVES[name]))).all()


def around_ties(name, T):
    """Return ties between half numbers and these themselves, both with their neighbours, as numbers of type `T`.

    Neighbours are the next number, and those 2**-11 and 2**-40 of a rung away: a first rounding, to float32, would
    bring the last to the tie, and a second one then to the wrong side.
    """
    steps = ladder(name)
    rung = np.diff(steps)
    points = np.concatenate([steps[:-1], steps[:-1] + rung / 2, steps[-1:]])
    rung = np.concatenate([rung, rung, rung[-1:]])
    off = [points + sign * rung * 2.0**-k for sign in (-1, 1) for k in (11, 40)]
    points = np.concatenate([points, *off, [1e-300, 1e5, 3.4e38, 1e300, np.inf]])
    with np.errstate(over="ignore", under="ignore"):
        points = points.astype(T)
    points = np.concatenate([points, np.nextafter(points, T(0)), np.nextafter(points, T(np.inf))])
    return np.concatenate([points, -points])


@pytest.mark.parametrize("T", [np.float32, np.float64])
@pytest.mark.parametrize("name", HALVES)
def test_narrowing_rounds_once_half_to_even(formats, name, T):
    """Next to ties, from the smallest number to the largest; float64 is not rounded to float32 on the way."""
    values = around_ties(name, T)[::61]  # all exponents, odd and even bits
    got = [int(formats.narrow(x, np.uint16(0), DTYPES[name])) for x in values]
    np.testing.assert_array_equal(got, nearest_bits(values, name))


@pytest.mark.parametrize("name", HALVES)
def test_a_nan_of_any_payload_stays_one(formats, name):
    """Rounding its bits up would make an infinity of the first, and a zero of the last."""
    for nans in NANS.values():
        got = np.array([formats.narrow(x, np.uint16(0), DTYPES[name]) for x in (*nans, *-nans)])
        assert np.isnan(in_float64(got.view(HALVES[name]))).all()


def test_the_oracle_of_rounding():
    """It is the cast of NumPy, and from float32 that of ml_dtypes; through float32, float64 would round twice."""
    for T in (np.float32, np.float64):
        values = around_ties("float16", T)
        with np.errstate(over="ignore", under="ignore"):
            np.testing.assert_array_equal(nearest_bits(values, "float16"), values.astype(np.float16).view(np.uint16))
    values = around_ties("bfloat16", np.float32)
    np.testing.assert_array_equal(nearest_bits(values, "bfloat16"), values.astype(BFLOAT16).view(np.uint16))
    for name, half in HALVES.items():
        values = around_ties(name, np.float64)
        with np.errstate(over="ignore", under="ignore"):
            twice = values.astype(np.float32).astype(half).view(np.uint16)
        assert (twice != nearest_bits(values, name)).sum() > 10000


@pytest.mark.parametrize("T", [np.float32, np.float64])
@pytest.mark.parametrize("name", HALVES)
def test_compiled_rounding(name, T):
    """A location that is not finite reads its channel's fill value, which so is rounded as any result is.

    It is halved twice and summed, on the way: exact, but for float32 numbers that are subnormal or nearly so.
    """
    values = around_ties(name, T)
    if T is np.float32:
        values = values[(np.abs(values) >= 2.0**-124) | (values == 0)]
    image, lost = np.ones((1, len(values), 1, 1), HALVES[name]), np.full((1, 1, 1, 2), np.nan, T)
    got = stnkit.grid_sample(image, lost, fill_value=values, coords="pixel")
    np.testing.assert_array_equal(got.view(np.uint16).ravel(), nearest_bits(values, name))
    nans = np.concatenate([NANS[T], -NANS[T]])
    got = stnkit.grid_sample(image[:, : len(nans)], lost, fill_value=nans, coords="pixel")
    assert np.isnan(in_float64(got)).all()


@pytest.mark.parametrize("T", [np.float32, np.float64])
@pytest.mark.parametrize("name", HALVES)
def test_compiled_identity_of_every_pattern(name, T):
    """One channel for each pattern, of one pixel: its bits come back, infinities too, beside a fill value of -0.

    In one plane finite numbers have their neighbours added, times 0: all that may change is the sign of 0.
    """
    image = EVERY.view(HALVES[name]).reshape(1, -1, 1, 1)
    fill = np.full(len(EVERY), -0.0)
    got = stnkit.grid_sample(image, np.zeros((1, 1, 1, 2), T), fill_value=fill, coords="pixel").ravel()
    values = in_float64(image).ravel()
    number = ~np.isnan(values)
    np.testing.assert_array_equal(got.view(np.uint16)[number], EVERY[number])
    assert np.isnan(in_float64(got[~number])).all()
    plane = np.where(np.isfinite(values), image.ravel(), HALVES[name].type(0)).reshape(1, 1, 256, 256)
    centres = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1)[None].astype(T)
    got = stnkit.grid_sample(plane, centres, coords="pixel")
    assert got.dtype == HALVES[name]
    np.testing.assert_array_equal(got.astype(float), plane.astype(float))


# ---- half images, and integers


def drawn(extent, name, T, seed=0, batch=1, channels=1, size=None):
    """Return an image, pixel coordinates to a pixel beyond its rim, and a cotangent."""
    random = np.random.default_rng(seed)
    size = extent if size is None else size
    grid = random.uniform(-1, np.array(extent[::-1]), (batch, *size, len(extent))).astype(T)
    if name in WHOLE:
        info = np.iinfo(name)
        image = random.integers(info.min, info.max, (batch, channels, *extent), name, endpoint=True)
        return image, grid, random.uniform(-1, 1, (batch, channels, *size)).astype(T)
    image = random.uniform(-1, 1, (batch, channels, *extent)).astype(HALVES[name])
    return image, grid, random.uniform(-1, 1, (batch, channels, *size)).astype(HALVES[name])


COMPILED = [
    *itertools.product(HALVES, ["bilinear"], [np.float32, np.float64]),
    ("uint8", "bilinear", np.float32),
]


@pytest.mark.parametrize("extent", PLANES, ids=str)
@pytest.mark.parametrize(("name", "mode", "T"), COMPILED)
def test_compiled_planes(name, mode, T, extent):
    """Planes of more than 32768 pixels, where 16-bit indices would end, and torch's half sampler is wrong."""
    image, grid, _ = drawn(extent, name, T)
    got = stnkit.grid_sample(image, grid, mode=mode, fill_value=1.0, coords="pixel")
    exact = oracles.grid_sample(image, grid, mode=mode, fill_value=1.0, coords="pixel")
    bound = bounds.value(exactly(2, mode, np.dtype(T).name, image=255.0 if name == "uint8" else 1.0))
    between(got, exact, bound, name)
    assert (rounded(exact - bound, name) == rounded(exact + bound, name)).mean() > 0.5  # most have no choice


@pytest.mark.parametrize("name", HALVES)
def test_compiled_cotangents(name):
    """Sums in float32, rounded once; a grid's cotangent has the grid's dtype, and is not rounded to a half."""
    image, grid, cotangent = drawn((182, 182), name, np.float32, channels=2)
    got = stnkit.grid_sample_vjp(cotangent, image, grid, fill_value=1.0, coords="pixel")
    check_cotangents(
        got, cotangent, image, grid, {"fill_value": 1.0, "coords": "pixel"}, exactly(2, "bilinear", "float32")
    )


def check_cotangents(got, cotangent, image, grid, options, size):
    name = image.dtype.name
    expected = oracles.grid_sample_vjp(cotangent, image, grid, **options)
    readers = oracles.readers(image, grid, **options)
    between(got[0], expected[0], bounds.d_image(size._replace(points=readers)), name, options)
    assert got[1].dtype == grid.dtype
    limit = bounds.d_grid(size._replace(channels=image.shape[1]))
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=limit, err_msg=str(options))


@every_two_of(
    name_d=[*itertools.product([*HALVES, "uint8"], [1, 2, 3]), ("int8", 2), ("int16", 1), ("uint16", 3), ("int32", 2),
            ("uint32", 1)],
    mode=MODES,
    T=[np.float32, np.float64],
)  # fmt: skip
def test_every_mode_and_padding(plain, name, d, mode, T):
    """Values and cotangents, in normalised coordinates away from knots."""
    extent = (3, 4, 5)[-d:]
    for padding, align in zip(PADDINGS, (False, True, True, False), strict=True):
        random = np.random.default_rng([d, len(mode)])
        image, _, cotangent = drawn(extent, name, T, batch=2, channels=2, size=(*[1] * (d - 1), 6))
        px = np.stack([margin(random, cotangent.shape[:1] + cotangent.shape[2:], -n, 2 * n) for n in extent[::-1]], -1)
        grid = unit(px, extent, align, "normalized").astype(T)
        options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": [1.0, 0.0]}
        scale = float(np.iinfo(name).max + 1) if name in WHOLE else 1.0
        arithmetic = "float64" if name in ("int32", "uint32") else np.dtype(T).name
        size = bounds.Size(d, mode, arithmetic, max(extent), np.abs(grid).max(), scale, channels=2)
        out = plain.grid_sample(image, grid, **options)
        there = grid.astype(arithmetic)
        exact = oracles.grid_sample(image, there, **options)
        between(out, exact, bounds.value(size), name, options)
        if name in WHOLE:
            d_image, d_grid = plain.grid_sample_vjp(cotangent, image, grid, wrt="grid", **options)
            assert d_image is None
            assert d_grid.dtype == T
            expected = oracles.grid_sample_vjp(cotangent, image, there, **options)[1]
            once = np.finfo(T).eps / 2 if T is np.float32 else 0  # a sum in float64 is rounded once more
            limit = bounds.d_grid(size)
            np.testing.assert_allclose(d_grid, expected, rtol=once, atol=limit, err_msg=str(options))
        else:
            check_cotangents(
                plain.grid_sample_vjp(cotangent, image, grid, **options), cotangent, image, grid, options, size
            )


def neighbours(package, name, T):
    """Check every integer of a type beside the next one, read at quarters between them; of 32 bits, some of all."""
    info = np.iinfo(name)
    low = np.arange(info.min, info.max, 1 if info.bits < 32 else 65537)
    low = np.append(low, info.max - 1)
    image = np.stack([low, low + 1], axis=-1)[None].astype(name)
    places = np.array([[[0.0], [0.25], [0.5], [0.75], [1.0]]], T)
    got = package.grid_sample(image, places, coords="pixel")
    assert got.dtype == name
    np.testing.assert_array_equal(got[0].T, [low, low, 2 * ((low + 1) // 2), low + 1, low + 1])


@pytest.mark.parametrize("T", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["uint8", "int8"])
def test_integers_are_rounded_half_to_even(plain, name, T):
    neighbours(plain, name, T)


@pytest.mark.parametrize(("name", "T"), [("uint16", np.float32), ("int16", np.float64), ("uint32", np.float32)])
def test_compiled_integers_are_rounded_half_to_even(name, T):
    neighbours(stnkit, name, T)


def steps(package, name, T):
    """Check that the cubic, which leaves a step by 12/128 of its height on either side, is saturated."""
    low, high = (int(end) for end in (np.iinfo(name).min, np.iinfo(name).max))
    image = np.array([low, low, low, high, high, high], name).reshape(1, 1, 6)
    places = np.array([[[1.5], [2.5], [3.5]]], T)
    exact = oracles.grid_sample(image, places, mode="bicubic", coords="pixel")
    over = (high - low) * 0.09375
    assert exact.ravel().tolist() == [low - over, (low + high) / 2, high + over]
    got = package.grid_sample(image, places, mode="bicubic", coords="pixel").ravel().tolist()
    assert got == [low, np.rint((low + high) / 2), high]


@pytest.mark.parametrize("T", [np.float32, np.float64])
@pytest.mark.parametrize("name", WHOLE)
def test_integers_saturate(plain, name, T):
    steps(plain, name, T)
    info = np.iinfo(name)
    image, lost = np.zeros((1, 1, 6), name), np.full((1, 1, 1), np.nan, T)
    for mode in MODES:
        for fill in (info.min, info.max):
            assert plain.grid_sample(image, lost, mode=mode, fill_value=fill).item() == fill
    asked = f"`fill_value` must be an integer from {info.min} to {info.max} for an image of {name}; got "
    with pytest.raises(ValueError, match=f"{asked}{info.max + 1}"):
        plain.grid_sample(image, lost, fill_value=info.max + 1)
    with pytest.raises(ValueError, match=f"{asked}0.5"):
        plain.grid_sample(image, lost, fill_value=[0.5])


@pytest.mark.parametrize(("name", "T"), [("int16", np.float32), ("int32", np.float32)])
def test_compiled_integers_saturate(name, T):
    steps(stnkit, name, T)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_number_becomes_0(formats, name):
    for T in (np.float32, np.float64):
        assert formats.narrow(T(np.nan), np.dtype(name).type(0), DTYPES[name]) == 0


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("op", SOURCES)
def test_integers_of_32_bits_are_computed_in_float64(plain, op, mode):
    """Beside coordinates of float32 too, and gradients of these have float32; nearest only moves them."""
    given = samplers.draw(op, 2, mode, "border", True, dtype="float32")
    sample, vjp = samplers.of(plain, op), samplers.of(plain, op, "_vjp")
    sizes, source = samplers.sized(op, given), SOURCES[op]
    image = (2**30 * given.image.astype(float)).astype(np.int32)
    options = given.options | {"fill_value": 1}
    exact = sample(image.astype(float), given.source, **sizes, **options)
    np.testing.assert_array_equal(sample(image, given.source, **sizes, **options), rounded(exact, "int32"))
    wide = vjp(given.cotangent.astype(float), image.astype(float), given.source, wrt=source, **options)[1]
    same_bits(vjp(given.cotangent, image, given.source, wrt=source, **options)[1], wide)
    options["mode"] = "nearest"
    small = sample((image % 256).astype(np.uint8), given.source, **sizes, **options)
    np.testing.assert_array_equal(sample(image % 256, given.source, **sizes, **options), small)


# ---- integers and bool that are only moved


def extremes(dtype):
    """Return six numbers of a type, all different where it has so many, the odd neighbours of 2**53 among them."""
    if dtype == np.bool_:
        return np.array([True, False, False, True, True, False])
    info = np.iinfo(dtype)
    big = (2**53 + 1, 2**60 + 1) if info.bits == 64 else (3, 5)
    return np.array([info.min, info.max, info.max - 1, 1, *big], dtype)


def moved(package, name):
    """Check that nearest moves numbers of a type as they are, and blends no fill value with them."""
    dtype = np.dtype(name)
    image = extremes(dtype).reshape(1, 1, 2, 3)
    px = np.array([[0, 0], [2.4, 1.4], [1, 0.5], [0.5, 0], [1.5, 1], [-0.5, 0], [-1, 0], [np.nan, 0], [9, 9]])
    reads = [(0, 0), (1, 2), (0, 1), (0, 0), (1, 2), (0, 0)]  # (y, x); a tie goes to the even index
    for fill in (image.max().item(), image.min().item()):
        got = package.grid_sample(
            image, px[None, None].astype(np.float32), mode="nearest", coords="pixel", fill_value=fill
        )
        assert got.dtype == dtype
        assert got.ravel().tolist() == [image[0, 0, y, x].item() for y, x in reads] + [fill] * 3


@pytest.mark.parametrize("name", [*MOVED, *WHOLE])
def test_nearest_moves_integers(plain, name):
    moved(plain, name)


@pytest.mark.parametrize("name", ["bool", "int64"])
def test_compiled_nearest_moves_integers(name):
    moved(stnkit, name)


@pytest.mark.parametrize("name", HALVES)
def test_nearest_moves_the_bits_of_halves(plain, name):
    """NaN keeps its payload, and the fill value is rounded to the image's format."""
    image = EVERY[::257].view(HALVES[name]).reshape(1, 1, -1)
    places = np.append(np.arange(image.size), np.nan).reshape(1, -1, 1).astype(np.float32)
    got = plain.grid_sample(image, places, mode="nearest", coords="pixel", fill_value=1 / 3)
    same_bits(got[0, 0, :-1], image[0, 0])
    same_bits(got[0, 0, -1:], np.array([1 / 3]).astype(HALVES[name]))


@pytest.mark.parametrize("name", MOVED)
def test_integers_are_not_blended(plain, name):
    image, grid = extremes(np.dtype(name)).reshape(1, 1, 2, 3), np.zeros((1, 1, 1, 2), np.float32)
    for mode in ("bilinear", "bicubic"):
        advice = (
            f"`image` of dtype {name} can be sampled by modes 'nearest' and 'label' alone; for other modes pass .*uint8"
        )
        with pytest.raises(TypeError, match=advice):
            plain.grid_sample(image, grid, mode=mode)
    for op in ("affine", "flow"):
        source = np.eye(2, 3, dtype=np.float32)[None] if op == "affine" else np.zeros((1, 2, 3, 2), np.float32)
        np.testing.assert_array_equal(samplers.of(plain, op)(image, source, mode="nearest"), image)
    cotangent = np.ones((1, 1, 1, 1), np.float32)
    d_image, d_grid = plain.grid_sample_vjp(cotangent, image, grid, wrt="grid", mode="nearest")
    assert d_image is None
    assert not d_grid.any()
    with pytest.raises(TypeError, match=f"an image of dtype {name} has no derivative"):
        plain.grid_sample_vjp(cotangent, image, grid, mode="nearest")


@pytest.mark.parametrize("name", [*MOVED, *WHOLE])
def test_fill_values_of_integers(plain, name):
    """An integer that the image can hold, as an int or a float, alone or for each channel; nothing else."""
    dtype = np.dtype(name)
    low, high = (0, 1) if name == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    image, lost = np.zeros((1, 2, 1), dtype), np.full((1, 1, 1), np.nan)

    def fill(value):
        return plain.grid_sample(image, lost, mode="nearest", fill_value=value).ravel().tolist()

    for value in (low, high, 1.0, np.array(high, dtype), np.float32(1)):
        assert fill(value) == [int(value)] * 2
    assert fill(np.array([low, high], dtype)) == [low, high]
    assert fill(np.array([1, high], dtype)) == [1, high]
    wrong = [low - 1, high + 1, 0.5, float("nan"), float("inf"), [0, 0.5], 2.0**64]
    for value in wrong:
        with pytest.raises(
            ValueError, match=f"`fill_value` must be an integer from {low} to {high} for an image of {name}"
        ):
            fill(value)


# ---- labels


def by_votes(image, grid, fill, **options):
    """Return the label of each channel whose own picture, of ones where it is, is the lightest; of two the smaller."""
    out = np.empty((*image.shape[:2], *grid.shape[1:-1]), image.dtype)
    for c in range(image.shape[1]):
        labels = np.unique(np.append(image[:, c], image.dtype.type(fill)))
        ones = np.stack([image[:, c] == label for label in labels], 1).astype(float)
        fills = (labels == fill).astype(float)
        votes = oracles.grid_sample(ones, grid, fill_value=fills, **options)
        heavy = votes > votes.max(1, keepdims=True) - 2.0**-40  # ties, whose weights are exact, but sums are not
        out[:, c] = labels[heavy.argmax(1)]
    return out


def labelled(package, name, d, padding, last):
    """Check a few labels at eighths of pixels, where many weigh the same, and at other places."""
    random = np.random.default_rng(d)
    dtype, extent = np.dtype(name), (3, 4, 5)[-d:]
    image = random.choice(extremes(dtype)[:4], (1, 3, *extent))
    exact = random.integers(-8, 48, (30, d)) / 8
    px = np.concatenate([exact, random.uniform(-1, 6, (10, d))]).reshape(1, *[1] * (d - 1), -1, d)
    px[..., 0, :] = np.nan
    fill = image.min().item()
    expected = by_votes(image, px, fill, coords="pixel", padding_mode=padding)
    given = np.ascontiguousarray(np.moveaxis(image, 1, -1)) if last else image
    options = {"mode": "label", "coords": "pixel", "padding_mode": padding, "fill_value": fill}
    got = package.grid_sample(given, px, data_format="channels_last" if last else "channels_first", **options)
    assert got.dtype == dtype
    np.testing.assert_array_equal(np.moveaxis(got, -1, 1) if last else got, expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("name", ["uint8", "int16", "uint64", "bool"])
def test_the_label_of_the_greatest_weight(plain, name, d, last):
    for padding in PADDINGS:
        labelled(plain, name, d, padding, last)


@pytest.mark.parametrize(("name", "d", "last"), [("uint32", 2, False), ("int8", 3, True)])
def test_compiled_labels(name, d, last):
    labelled(stnkit, name, d, "zeros", last)


@pytest.mark.parametrize("op", SOURCES)
def test_labels_have_no_slope_and_no_mean(plain, op):
    given = samplers.draw(op, 2, "bilinear", "zeros", False, dtype="float32")
    image, source = (9 * given.image).astype(np.int8), SOURCES[op]
    options, sizes = {"mode": "label"}, samplers.sized(op, given)
    _, bar = samplers.of(plain, op, "_vjp")(given.cotangent, image, given.source, wrt=source, **options)
    out, dot = samplers.of(plain, op, "_jvp")(image, given.source, None, given.source_dot, **sizes, **options)
    assert (out.dtype, bar.dtype, dot.dtype) == (np.int8, np.float32, np.float32)
    assert not bar.any()
    assert not dot.any()
    with pytest.raises(
        TypeError, match=r"`image` must have dtype uint8, bool, .* for mode 'label', as labels are whole"
    ):
        samplers.of(plain, op)(given.image, given.source, **options)
    if op == "grid":
        assert not plain.grid_gradient(image, given.source, **options).any()
        with pytest.raises(ValueError, match=r"`mode` 'label' chooses one of the values .* has no adjoint"):
            plain.grid_splat(given.cotangent, given.source, (3, 3), **options)
    else:
        with pytest.raises(ValueError, match="`antialias` takes means, which labels have none of"):
            samplers.of(plain, op)(image, given.source, antialias=2, **options)


# ---- who computes in what


@pytest.mark.parametrize("image_name", [*FLOATS, "uint8"])
@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("op", SOURCES)
def test_half_coordinates_are_widened(plain, op, name, image_name):
    """They give what the same numbers in float32 give; their cotangent is that one's, rounded."""
    given = samplers.draw(op, 2, "bilinear", "border", False)
    image = (100 * given.image + 100).astype(FLOATS.get(image_name, np.dtype(np.uint8)))
    half = given.source.astype(HALVES[name])
    wide = half.astype(np.float32)
    sample, vjp = samplers.of(plain, op), samplers.of(plain, op, "_vjp")
    options = {**given.options, "fill_value": 1}
    out = sample(image, half, **samplers.sized(op, given), **options)
    same_bits(out, sample(image, wide, **samplers.sized(op, given), **options))
    assert out.dtype == image.dtype
    asked, G = (SOURCES[op], np.float32) if image_name == "uint8" else (("image", SOURCES[op]), image.dtype)
    cotangent = given.cotangent.astype(G)
    d_image, d_half = vjp(cotangent, image, half, wrt=asked, **options)
    d_image_too, d_wide = vjp(cotangent, image, wide, wrt=asked, **options)
    assert d_half.dtype == half.dtype
    assert d_wide.dtype == np.float32
    same_bits(d_half, nearest_bits(d_wide, name).view(half.dtype))
    if image_name != "uint8":
        same_bits(d_image, d_image_too)
        assert d_image.dtype == image.dtype


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op", SOURCES)
def test_float64_on_either_side_computes_in_float64(plain, op, mode):
    """One float64 array makes the arithmetic float64; a result is then rounded once, to the dtype of its own."""
    given = samplers.draw(op, 2, mode, "wrap", True)
    sample, vjp = samplers.of(plain, op), samplers.of(plain, op, "_vjp")
    sizes, options = samplers.sized(op, given), given.options
    for name, dtype in FLOATS.items():
        image = given.image.astype(dtype)
        out = sample(image, given.source, **sizes, **options)
        wide = sample(image.astype(float), given.source, **sizes, **options)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out.astype(float), rounded(wide, name))
        cotangent = given.cotangent.astype(dtype)
        d_image, d_source = vjp(cotangent, image, given.source, **options)
        d_wide, d_source_too = vjp(cotangent.astype(float), image.astype(float), given.source, **options)
        assert (d_image.dtype, d_source.dtype) == (dtype, np.float64)
        np.testing.assert_array_equal(d_source, d_source_too)
        if name in HALVES:  # summed in float64
            np.testing.assert_array_equal(d_image.astype(float), rounded(d_wide, name))
    source = given.source.astype(np.float32)
    out = sample(given.image, source, **sizes, **options)
    same_bits(out, sample(given.image, source.astype(float), **sizes, **options))
    d_image, d_source = vjp(given.cotangent, given.image, source, **options)
    d_image_too, d_source_too = vjp(given.cotangent, given.image, source.astype(float), **options)
    same_bits(d_image, d_image_too)
    assert d_source.dtype == np.float32
    if op != "flow" or mode != "nearest":
        np.testing.assert_array_equal(d_source, d_source_too.astype(np.float32))


def test_float32_images_are_summed_in_float32(plain):
    """Beside a float64 grid too: 2**24 + 1 + 1 stays 2**24, where a half image's sum, in float64, does not."""
    places, cotangent = np.zeros((1, 3, 1)), np.array([[[2.0**24, 1.0, 1.0]]])
    for dtype, expected in ((np.float32, 2.0**24), (np.float64, 2.0**24 + 2)):
        d_image, _ = plain.grid_sample_vjp(cotangent.astype(dtype), np.ones((1, 1, 1), dtype), places, coords="pixel")
        assert d_image.item() == expected
    into = np.zeros((1, 1, 1))
    big = np.array([[[2.0**127, 2.0**104, 2.0**75]]]).astype(BFLOAT16)
    plain.grid_sample_vjp(big, np.ones((1, 1, 1), BFLOAT16), places, coords="pixel", accumulate_into=into)
    assert into.item() == 2.0**127 + 2.0**104 + 2.0**75


# ---- torch


def as_torch(array):
    name = array.dtype.name
    if name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def as_numpy(tensor):
    return tensor.view(torch.int16).numpy().view(BFLOAT16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


@pytest.mark.parametrize("source_name", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["float16", "bfloat16", "uint8"])
@pytest.mark.parametrize("op", SOURCES)
def test_torch(plain, op, name, source_name):
    """Tensors give tensors of the same dtype, with the bits that the same numbers in NumPy give."""
    given = samplers.draw(op, 2, "bicubic", "reflection", False)
    image = (100 * given.image + 100).astype(FLOATS.get(name, np.dtype(np.uint8)))
    source = given.source.astype(FLOATS[source_name])
    cotangent = given.cotangent.astype(FLOATS.get(name, np.dtype(np.float32)))
    sample, vjp = samplers.of(plain, op), samplers.of(plain, op, "_vjp")
    sizes, options = samplers.sized(op, given), {**given.options, "fill_value": 1}
    out = sample(as_torch(image), as_torch(source), **sizes, **options)
    assert type(out) is torch.Tensor
    assert out.dtype == TORCH[name]
    same_bits(as_numpy(out), sample(image, source, **sizes, **options))
    asked = SOURCES[op] if name == "uint8" else ("image", SOURCES[op])
    got = vjp(as_torch(cotangent), as_torch(image), as_torch(source), wrt=asked, **options)
    for a, b in zip(got, vjp(cotangent, image, source, wrt=asked, **options), strict=True):
        if b is None:
            assert a is None
            continue
        assert type(a) is torch.Tensor
        same_bits(as_numpy(a), b)
    given_out = torch.empty_like(out)
    assert sample(as_torch(image), as_torch(source), **sizes, **options, out=given_out) is given_out
    assert torch.equal(given_out, out)


# ---- memory of the caller's own


@pytest.mark.parametrize("name", [*FLOATS, "uint8"])
@pytest.mark.parametrize("op", SOURCES)
def test_out(plain, op, name):
    """The result is written where it is wanted, bit for bit, whatever stood there, and is returned."""
    given = samplers.draw(op, 2, "bilinear", "zeros", False)
    image = (100 * given.image + 100).astype(FLOATS.get(name, np.dtype(np.uint8)))
    sample, options = samplers.of(plain, op), {**given.options, "fill_value": 1}
    options |= samplers.sized(op, given)
    for last in (False, True):
        options["data_format"] = "channels_last" if last else "channels_first"
        whole = np.moveaxis(image, 1, -1) if last else image
        expected = sample(whole, given.source, **options)
        out = np.full(expected.shape, 77, image.dtype)
        assert sample(whole, given.source, **options, out=out) is out
        same_bits(out, expected)
        rows = np.full((3, *expected.shape[1:]), 77, image.dtype)  # an item of a larger array; no batch axis
        assert sample(whole[0], given.source[0], **options, out=rows[1]).base is rows
        same_bits(rows[1], expected[0])
        assert (rows[[0, 2]] == 77).all()


def test_out_may_be_empty(plain):
    out = np.empty((0, 3, 4, 4))
    assert plain.grid_sample(np.ones((0, 3, 5, 5)), np.zeros((0, 4, 4, 2)), out=out) is out


@pytest.mark.parametrize("op", SOURCES)
def test_out_refused(plain, op):
    given = samplers.draw(op, 2, "bilinear", "zeros", False)
    sample = samplers.of(plain, op)
    good = np.empty(given.cotangent.shape)
    locked = good.copy()
    locked.flags.writeable = False
    memory = np.zeros(3 * max(given.image.size, given.source.size, good.size))
    image, source = memory[: given.image.size], memory[-given.source.size :]
    image, source = image.reshape(given.image.shape), source.reshape(given.source.shape)
    swapped = np.empty(good.shape, good.dtype.newbyteorder())
    refused = [
        (good[:1], ValueError, r"`out` must have the shape of the output, \(2, 2, 2, 3\); got \(1, 2, 2, 3\)"),
        (good[0], ValueError, r"`out` must have the shape of the output"),
        (good.astype(np.float32), TypeError, r"`out` must have the dtype of the output, float64; got float32"),
        (locked, ValueError, r"`out` must be writable; got a read-only array"),
        (np.asfortranarray(good), ValueError, r"`out` must be C-contiguous; got strides"),
        (swapped, ValueError, r"`out` must be aligned and of native byte order"),
        (memory[: good.size].reshape(good.shape), ValueError, r"`out` must not overlap `image` in memory"),
        (memory[-good.size :].reshape(good.shape), ValueError, rf"`out` must not overlap `{SOURCES[op]}` in memory"),
        (torch.tensor(good), TypeError, r"`out` is a torch array and `image` a numpy array"),
        (good.tolist(), TypeError, r"`out` must be a NumPy array or an array that supports DLPack; got builtins.list"),
    ]  # fmt: skip
    for out, kind, message in refused:
        with pytest.raises(kind, match=message):
            sample(image, source, **samplers.sized(op, given), out=out)
    assert not memory.any()
    tensors = torch.tensor(image), torch.tensor(source)
    for out, kind, message in [
        (torch.tensor(good).movedim(1, -1).contiguous().movedim(-1, 1), ValueError, r"`out` must be C-contiguous"),
        (torch.tensor(good, requires_grad=True), TypeError, r"`out` requires a gradient"),
        (tensors[0].flatten()[: good.size].view(good.shape), ValueError, r"`out` must not overlap `image`"),
        (good, TypeError, r"`out` is a numpy array and `image` a torch array"),
    ]:
        with pytest.raises(kind, match=message):
            sample(*tensors, **samplers.sized(op, given), out=out)


def dyadic(op, dtype, batch, seed=0):
    """Return arguments of which every product and sum is exact in float32, and what stands in a buffer before.

    Images of 4 x 8 pixels, places in eighths of a pixel, and cotangents in quarters below 2: a weight is a multiple
    of 2**-6, a term of 2**-8, and no sum reaches 2**10.
    """
    random = np.random.default_rng(seed)
    image = random.integers(-8, 9, (batch, 3, 4, 8)) / 4
    cotangent = random.integers(-8, 9, image.shape) / 4
    if op == "grid":  # normalised, n a power of 2: exact
        source = (2 * random.integers(-16, 80, (batch, 4, 8, 2)) / 8 + 1) / np.array([8, 4]) - 1
    elif op == "affine":
        source = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) + random.integers(-2, 3, (batch, 2, 3)) / 8
        source[:, :, :2] = np.round(source[:, :, :2])
    else:
        source = random.integers(-16, 17, (batch, 4, 8, 2)) / 8
    before = random.integers(-64, 65, image.shape) / 8
    return cotangent.astype(dtype), image.astype(dtype), source.astype(np.float32), before


@every_two_of(op=SOURCES, name=FLOATS, batch=[2, 8])
def test_accumulate(plain, op, name, batch):
    """The cotangent is added to what stands in the buffer, which is returned. Every sum here is exact.

    A half image has a buffer in the arithmetic's dtype. In batches of 8 one pass gives both cotangents.
    """
    cotangent, image, source, before = dyadic(op, FLOATS[name], batch)
    vjp = samplers.of(plain, op, "_vjp")
    dtype = "float64" if name == "float64" else "float32"
    wide = vjp(cotangent.astype(dtype), image.astype(dtype), source)
    assert wide[0].any()
    into = before.astype(dtype)
    d_image, d_source = vjp(cotangent, image, source, accumulate_into=into)
    assert d_image is into
    np.testing.assert_array_equal(into, before + wide[0])
    np.testing.assert_array_equal(d_source, wide[1])
    again, nothing = vjp(cotangent, image, source, wrt="image", accumulate_into=into)
    assert again is into
    assert nothing is None
    np.testing.assert_array_equal(into, before + 2 * wide[0].astype(float))
    apart = np.moveaxis(np.moveaxis(image, 1, -1).copy(), -1, 1)  # the buffer is contiguous, the image is not
    np.testing.assert_array_equal(
        vjp(cotangent, apart, source, accumulate_into=into)[0], before + 3 * wide[0].astype(float)
    )


def test_accumulate_in_other_shapes(plain):
    """An image without a batch axis, channels last, an image that all items share, and no location at all."""
    cotangent, image, source, before = dyadic("grid", np.float32, 2)
    d_image, _ = plain.grid_sample_vjp(cotangent, image, source)
    into = before[0].astype(np.float32)
    assert plain.grid_sample_vjp(cotangent[0], image[0], source[0], accumulate_into=into)[0] is into
    np.testing.assert_array_equal(into, before[0] + d_image[0])
    last = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (cotangent, image, before.astype(np.float32))]
    into = last.pop()
    plain.grid_sample_vjp(*last, source, accumulate_into=into, data_format="channels_last")
    np.testing.assert_array_equal(np.moveaxis(into, -1, 1), before + d_image)
    shared, _ = plain.grid_sample_vjp(cotangent, image[:1], source)
    into = before[:1].astype(np.float32)
    plain.grid_sample_vjp(cotangent, image[:1], source, accumulate_into=into)
    np.testing.assert_array_equal(into, before[:1] + shared)
    plain.grid_sample_vjp(cotangent[..., :0], image[:1], source[:, :, :0], accumulate_into=into)
    np.testing.assert_array_equal(into, before[:1] + shared)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_accumulate_into_a_tensor(plain, name):
    cotangent, image, source, before = dyadic("grid", FLOATS[name], 2)
    into = torch.tensor(before, dtype=torch.float32)
    tensors = [as_torch(a) for a in (cotangent, image, source)]
    d_image, d_grid = plain.grid_sample_vjp(*tensors, accumulate_into=into)
    assert d_image is into
    assert type(d_grid) is torch.Tensor
    expected, _ = plain.grid_sample_vjp(*[a.astype(np.float32) for a in (cotangent, image, source)])
    np.testing.assert_array_equal(into.numpy(), before + expected)


@pytest.mark.parametrize("op", SOURCES)
def test_accumulate_refused(plain, op):
    cotangent, image, source, before = dyadic(op, np.float32, 2)
    good = before.astype(np.float32)
    vjp, name = samplers.of(plain, op, "_vjp"), SOURCES[op]
    locked = good.copy()
    locked.flags.writeable = False
    memory = np.zeros(3 * image.size, np.float32)
    over = {"cotangent": 0, "image": 1, name: 2}
    cotangent_, image_, source_ = (part[:] for part in np.split(memory, 3))
    arrays = cotangent_.reshape(image.shape), image_.reshape(image.shape), source_[: source.size].reshape(source.shape)
    for into, kind, message in [
        (good[:1], ValueError, r"`accumulate_into` must have the shape of `image`, \(2, 3, 4, 8\); got \(1, 3, 4, 8\)"),
        (before, TypeError, r"`accumulate_into` must have the dtype of the sum, float32; got float64"),
        (locked, ValueError, r"`accumulate_into` must be writable"),
        (np.asfortranarray(good), ValueError, r"`accumulate_into` must be C-contiguous"),
        (good.astype(good.dtype.newbyteorder()), ValueError, r"`accumulate_into` must be .* of native byte order"),
        (torch.tensor(good), TypeError, r"`accumulate_into` is a torch array and `cotangent` a numpy array"),
        *[
            (memory[k * image.size :][: image.size].reshape(image.shape), ValueError,
             rf"`accumulate_into` must not overlap `{argument}` in memory")
            for argument, k in over.items()
        ],
    ]:  # fmt: skip
        with pytest.raises(kind, match=message):
            vjp(*arrays, accumulate_into=into)
    with pytest.raises(ValueError, match=r"`accumulate_into` is for the cotangent of the image, which `wrt` does not"):
        vjp(cotangent, image, source, wrt=name, accumulate_into=good)
    with pytest.raises(TypeError, match=r"an image of dtype uint8 has no derivative"):
        vjp(cotangent, image.astype(np.uint8), source, accumulate_into=good)
    for half in HALVES.values():
        with pytest.raises(TypeError, match=r"must have the dtype of the sum, float32; got b?float16"):
            vjp(cotangent.astype(half), image.astype(half), source, accumulate_into=good.astype(half))
        with pytest.raises(TypeError, match=r"must have the dtype of the sum, float64; got float32"):
            vjp(cotangent.astype(half), image.astype(half), source.astype(float), accumulate_into=good)
    assert not memory.any()
