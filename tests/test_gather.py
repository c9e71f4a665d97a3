"""The image's cotangent of affine maps on a GPU, gathered where it is to be deterministic: the sums of the scatter.

Threads run one after another, uncompiled. Gather, scatter and the CPU's loops stage locations by the same leaves, so
they add the same terms: a weight times a cotangent. Let a pixel have N of them, whose magnitudes add up to A. A sum in
any order is wrong by at most N e A, for a rounding of at most e; the three products of a term, and the sum of weights
that a padding brings to one pixel, add at most 6 e A. So two of the results differ by at most 2 (N + 6) e A, and by
their own rounding where the result has half precision.
"""

import ctypes
import functools
import importlib
import itertools
import re

import numpy as np
import pytest
from conftest import uncompiled
from emulation.pretended import lent, pretended, returned
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import axis_taps

from stnkit.kernels.cuda import gather as gather_kernels
from stnkit.kernels.cuda import runtime
from stnkit.spec import AFFINE, BICUBIC, BILINEAR, FLOAT16, FLOAT32, FLOAT64, NEAREST, Spec

ULPS = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
SIZES = {1: ((7,), (6,)), 2: ((4, 5), (5, 4)), 3: ((2, 3, 2), (2, 2, 3))}


@pytest.fixture
def library(plain):
    """Return the uncompiled stnkit, with what stands for a device."""
    importlib.import_module("stnkit.kernels.cuda.runtime")
    return plain


@pytest.fixture
def left_over(library, monkeypatch):
    """Return a list to which each call appends how many items of its batch were not gathered."""
    counts = []
    room = importlib.import_module("stnkit.backends.cuda.gather")
    scatter = room.scatter

    def counted(*arguments, rest):
        counts.append(ctypes.c_int64.from_address(rest.missed.address).value)
        scatter(*arguments, rest=rest)

    monkeypatch.setattr(room, "scatter", counted)
    return counts


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def picture(batch, channels, size, last=False, dtype="float32", seed=0):
    return numbers(*((batch, *size, channels) if last else (batch, channels, *size)), dtype=dtype, seed=seed)


def gathered(library, *arrays, backwards=False, record=None, **options):
    """Return the image's cotangent as a device's threads sum it, in an order that is fixed if nothing else is said."""
    options = {"deterministic": True, **options}
    with pretended(record, backwards=backwards):
        return returned(library.affine_sample_vjp(*map(lent, arrays), wrt="image", **options))[0]


def scattered(library, *arrays, **options):
    """Return the same as the device adds it up in any order, whatever the map is."""
    return gathered(library, *arrays, **options, deterministic=False)


def summed(image, theta):
    """Return the dtype in which an image's cotangent is summed."""
    return "float64" if "float64" in (image, theta) and image != "float32" else "float32"


def magnitudes(library, cotangent, image, theta, **options):
    """Return how many terms each pixel has, and what their magnitudes add up to."""
    mode, padding = options.get("mode", "bilinear"), options.get("padding_mode", "zeros")
    align, last = options.get("align_corners", False), options.get("data_format") == "channels_last"
    if last:
        cotangent, image = (np.moveaxis(array, -1, 1) for array in (cotangent, image))
    size, extent = cotangent.shape[2:], image.shape[2:]
    wide = "float64" if "float64" in (image.dtype, theta.dtype) else "float32"
    grid = library.affine_grid(theta.astype(wide), size, align_corners=align)
    counts, sums = np.zeros(image.shape), np.zeros(image.shape)
    for n in range(len(cotangent)):
        u = grid[n % len(grid)]
        axes = [axis_taps(u[..., k], extent[-1 - k], mode, padding, align, "normalized") for k in range(u.shape[-1])]
        for corner in itertools.product(range(len(axes[0][0])), repeat=len(axes)):
            index = [axis[0][k] for axis, k in zip(axes, corner, strict=True)][::-1]
            weight = np.prod([np.abs(axis[1][k]) for axis, k in zip(axes, corner, strict=True)], axis=0)
            there = np.all(np.array(index) >= 0, axis=0)
            for c in range(image.shape[1]):
                to = (n % len(image), c, *(i[there] for i in index))
                np.add.at(counts, to, 1)
                np.add.at(sums, to, (weight * np.abs(cotangent[n, c].astype(float)))[there])
    return tuple(np.moveaxis(array, 1, -1) for array in (counts, sums)) if last else (counts, sums)


def alike(library, cotangent, image, theta, **options):
    """Assert that gather, scatter and the CPU agree; return what is gathered."""
    bar = gathered(library, cotangent, image, theta, **options)
    here, _ = library.affine_sample_vjp(cotangent, image, theta, wrt="image", **options)
    there = scattered(library, cotangent, image, theta, **options)
    count, size = magnitudes(library, cotangent, image, theta, **options)
    bound = 2 * (count + 6) * ULPS[summed(image.dtype, theta.dtype)] * size
    for other in (here, there):
        assert (bar.shape, bar.dtype) == (other.shape, other.dtype)
        one, two = bar.astype(float), other.astype(float)
        rounded = ULPS[image.dtype.name] * (np.abs(one) + np.abs(two)) if image.dtype.name == "float16" else 0
        assert np.all(np.abs(one - two) <= bound + rounded), np.max(np.abs(one - two) - bound - rounded)
    return bar


def turned(ndim, angle, scale=1.0):
    """Return a map that turns the first two axes; where there is one, it is flipped or stays."""
    theta = scale * np.eye(ndim, ndim + 1)
    c, s = np.cos(angle), np.sin(angle)
    if ndim == 1:
        return theta if c > 0 else -theta
    theta[:2, :2] = scale * np.array([[c, -s], [s, c]])
    return theta


def maps(ndim):
    """Return named maps, and whether all of their pixels are gathered with padding `zeros` and `border`."""
    identity = np.eye(ndim, ndim + 1)
    sheared, shifted, out, flat = (identity.copy() for _ in range(4))
    sheared[0, ndim - 1] += 0.75
    shifted[:, -1] += np.linspace(0.3, -0.45, ndim)
    out[:, -1] += 5
    flat[0] = flat[-1] if ndim > 1 else 0
    return {
        "identity": identity,
        "flip": -identity,
        "quarter turn": turned(ndim, np.pi / 2),
        "turn": turned(ndim, 0.7),
        "shear": sheared,
        "shift": shifted,
        "shift out of the image": out,
        "zoom in": 0.3 * identity,
        "zoom out": 3 * identity,
        "random": identity + 0.3 * numbers(ndim, ndim + 1, dtype="float64"),
        "singular": flat,
        "nothing": 0 * identity,
        "nearly singular": flat + 1e-5 * identity,
        "NaN": np.where(identity == 1, np.nan, 0),
        "infinite": np.where(identity == 1, np.inf, 0),
        "huge": 1e30 * identity,
        "tiny": 1e-30 * identity,
    }


SINGULAR = ("singular", "nothing", "NaN", "infinite", "huge")
EITHER = ("nearly singular", "tiny")  # which is gathered follows from the digits, as few locations are there
MODES, PADDINGS = ("nearest", "bilinear", "bicubic"), ("zeros", "border")
EACH = [*((d, mode) for d in SIZES for mode in MODES), (1, "spline5"), (2, "spline2")]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("ndim", "mode"), EACH)
def test_every_map(library, left_over, ndim, mode, padding):
    """What is not gathered is scattered; the sums are the same."""
    extent, size = SIZES[ndim]
    aligns, channels = ((True,), 1) if mode not in ("nearest", "bilinear") else ((False, True), 2)
    for align, (name, theta) in itertools.product(aligns, maps(ndim).items()):
        dtype = "float64" if name in ("turn", "random", "zoom in") and align else "float32"
        image, cotangent = picture(1, channels, extent, dtype=dtype), picture(1, channels, size, dtype=dtype, seed=1)
        theta = theta[None].astype(dtype)
        options = {"mode": mode, "prefilter": False, "padding_mode": padding, "align_corners": align}
        if name in ("NaN", "infinite"):
            assert not gathered(library, cotangent, image, theta, **options).any()
        else:
            alike(library, cotangent, image, theta, **options)
        if name in SINGULAR:
            assert left_over[-1] == 1, name
        elif padding == "zeros" and name not in EITHER:
            assert left_over[-1] == 0, name
    assert len(left_over) == len(aligns) * len(maps(ndim))


LAYOUTS = [  # channels, last, dtype of the image, of the map, images, maps, into
    (1, False, "float16", "float32", 2, 2, False),
    (3, True, "float32", "float32", 2, 2, True),
    (4, True, "float32", "float32", 1, 3, False),
    (8, True, "float16", "float32", 2, 1, True),
    (9, False, "float32", "float32", 1, 3, True),
    (9, True, "float32", "float64", 2, 2, False),
    (2, False, "float64", "float32", 2, 1, False),
    (12, True, "float32", "float32", 2, 1, False),
]


@pytest.mark.parametrize(("channels", "last", "dtype", "wide", "images", "sources", "into"), LAYOUTS)
def test_layouts(library, left_over, channels, last, dtype, wide, images, sources, into):
    """Items that share an image, or a map, and formats; some items are gathered, and the others scattered."""
    extent, size = SIZES[2]
    batch = max(images, sources)
    image = picture(images, channels, extent, last, dtype)
    cotangent = picture(batch, channels, size, last, dtype, seed=1)
    theta = np.stack([turned(2, 0.4), maps(2)["singular"], turned(2, 2.5, 0.8)])[:sources].astype(wide)
    if images == 1:
        theta[:, :, 2] += 0.1
    form = {"data_format": "channels_last" if last else "channels_first"}
    alike(library, cotangent, image, theta, **form)
    assert left_over == [int(sources > 1)]
    if into:
        wide = summed(dtype, wide)
        start = numbers(*image.shape, dtype=wide, seed=2)
        there, here = start.copy(), start.copy()
        arrays = cotangent, image, theta
        gathered(library, *arrays, accumulate_into=lent(there), **form)
        library.affine_sample_vjp(*arrays, wrt="image", accumulate_into=here, **form)
        count, sums = magnitudes(library, *arrays, **form)
        assert np.all(np.abs(there - here) <= 2 * (count + 7) * ULPS[wide] * (sums + np.abs(start)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("images", [1, 3])
def test_sums_do_not_depend_on_the_order_of_threads(library, left_over, dtype, last, images):
    """Where all is gathered, and where some of it is added to bins."""
    extent, size = SIZES[2]
    image, cotangent = picture(images, 4, extent, last, dtype), picture(3, 4, size, last, dtype, seed=1)
    cotangent.flat[::7] *= np.dtype(dtype).type(1000)  # so that small numbers are added to large ones
    form = {"data_format": "channels_last" if last else "channels_first", "padding_mode": "border"}
    good = np.stack([turned(2, 0.4, 0.9), turned(2, 2.5, 0.8), 0.5 * turned(2, 0)]).astype("float32")
    mixed = good.copy()
    mixed[1, 0] = mixed[1, 1]
    for theta, rest in ((good, 0), (mixed, 1)):
        arrays = cotangent, image, theta
        runs = [gathered(library, *arrays, backwards=b, **form) for b in (False, True)]
        np.testing.assert_array_equal(*runs)
        assert left_over[-2:] == [rest, rest]


def test_theta_s_cotangent_is_that_of_its_own_kernel(library):
    extent, size = SIZES[2]
    arrays = picture(2, 3, size), picture(2, 3, extent), np.stack([turned(2, 0.4), turned(2, 1)]).astype("float32")
    record = []
    with pretended(record):
        calls = functools.partial(library.affine_sample_vjp, *map(lent, arrays), deterministic=True)
        both, *apart = (returned(calls(wrt=names)) for names in (("image", "theta"), "image", "theta"))
    np.testing.assert_array_equal(both[0], apart[0][0])
    np.testing.assert_array_equal(both[1], apart[1][1])
    assert [spec.image_bar for name, spec, *_ in record if name == "sample_vjp"] == [False, False]
    assert "scatter" not in [name for name, *_ in record]


@pytest.mark.parametrize("padding", ["reflection", "wrap", ("zeros", "wrap"), ("border", "reflection")])
@pytest.mark.parametrize("steady", [False, True])
def test_paddings_that_repeat_the_image_are_scattered(library, padding, steady):
    extent, size = SIZES[2]
    record = []
    arrays = picture(1, 2, size), picture(1, 2, extent), turned(2, 0.4)[None].astype("float32")
    bar = gathered(library, *arrays, padding_mode=padding, deterministic=steady, record=record)
    here, _ = library.affine_sample_vjp(*arrays, padding_mode=padding, wrt="image")
    np.testing.assert_allclose(bar, here, rtol=0, atol=2 * 30 * 4 * 2.0**-24 * 30)
    names = [name for name, *_ in record]
    assert "gather" not in names
    assert ("scatter_binned" if steady else "scatter") in names


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_cotangents_that_are_not_finite_reach_what_they_reach_by_scatter(library, left_over, mode):
    """A tap of weight 0 counts: 0 times infinity is NaN, here as there."""
    extent, size = SIZES[2]
    cotangent = picture(1, 1, size)
    cotangent[0, 0, 1, 1:4] = np.inf, -np.inf, np.nan
    for theta in (np.eye(2, 3), turned(2, 0.4), 0.5 * np.eye(2, 3)):
        arrays = cotangent, picture(1, 1, extent), theta[None].astype("float32")
        for align in (False, True):
            options = {"mode": mode, "align_corners": align}
            bar, wanted = gathered(library, *arrays, **options), scattered(library, *arrays, **options)
            for test in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(test(bar), test(wanted))
    assert left_over == [0] * 6


@pytest.mark.parametrize(
    ("interp", "padding", "scale", "rest"),
    [
        (BILINEAR, 0, 1 / 3, 0),
        (BILINEAR, 0, 1 / 5, 1),  # the box around a pixel is 2 * 5 locations wide, and 1.5 more
        (BILINEAR, 0, 2, 0),
        (BICUBIC, 0, 1 / 3, 0),
        (BICUBIC, 0, 1 / 5, 1),
        (NEAREST, 0, 1 / 5, 0),
        (NEAREST, 0, 1 / 8, 1),
        (BILINEAR, 1, 1, 0),
        (BILINEAR, 1, 1.1, 0),
        (BILINEAR, 1, 2, 1),  # a sixteenth of all locations read each corner
    ],
)
def test_a_pixel_that_many_locations_read_is_scattered(library, interp, padding, scale, rest):
    theta = (scale * np.eye(2, 3)).astype("float32")
    spec = Spec(2, interp=interp, padding=(padding,) * 3, source=AFFINE)
    *_, missed = surveyed(spec, theta, (1, 40, 40), (1, 40, 40))
    assert missed == rest


def test_a_map_whose_coordinates_have_too_few_digits_is_scattered(library):
    """A quarter of a pixel is SLACK half ulps of 2**16 pixels in float32, and of many more in float64."""
    for dtype, code, rest in (("float32", FLOAT32, 1), ("float64", FLOAT64, 0)):
        spec = Spec(1, interp=BILINEAR, source=AFFINE, image_dtype=code, source_dtype=code)
        theta = np.array([[1e-4, 0.9]], dtype)
        assert surveyed(spec, theta, (1, 1, 3), (1, 1, 40000))[-1] == rest
        assert surveyed(spec, theta, (1, 1, 3), (1, 1, 20000))[-1] == 0


THETAS = st.one_of(
    st.floats(-2, 2, width=32), st.sampled_from([0.0, 1.0, -1.0, 0.5, -0.5, 0.25, 2.0, 1e-6, -1e-12, 1e-38])
)


@settings(max_examples=60)
@given(st.data())
def test_any_map(plain, data):
    """Gathered or scattered, sums are the CPU's."""
    with uncompiled():
        importlib.import_module("stnkit.kernels.cuda.runtime")
        ndim = data.draw(st.integers(1, 3))
        extent, size = (data.draw(st.tuples(*[st.integers(1, 12 // ndim)] * ndim)) for _ in range(2))
        dtype = data.draw(st.sampled_from(["float32", "float64"]))
        theta = np.array(data.draw(st.lists(THETAS, min_size=ndim * (ndim + 1), max_size=ndim * (ndim + 1))), dtype)
        options = {
            "mode": data.draw(st.sampled_from(MODES)),
            "padding_mode": data.draw(st.sampled_from(PADDINGS)),
            "align_corners": data.draw(st.booleans()),
        }
        arrays = picture(1, 1, size, dtype=dtype, seed=1), picture(1, 1, extent, dtype=dtype)
        alike(plain, *arrays, theta.reshape(1, ndim, ndim + 1), **options)


def surveyed(spec, theta, size, extent):
    """Return the numbers that are written down of a map."""
    room = importlib.import_module("stnkit.kernels.cuda.affine_bounds")
    view = importlib.import_module("stnkit.kernels.compiler.jit").View
    maps, missed = np.zeros(room.ROW, theta.dtype), np.zeros(1, np.int64)
    source = view(theta.ravel(), (0, 0, 0, 0, 0))
    room.bound(0, maps, missed, source, size, extent, theta.dtype.type(0), spec)
    return room, source, maps, missed[0]


@settings(max_examples=300)
@given(st.data())
def test_large_pictures_lose_no_candidate(plain, data):
    """At any size, a location is among the candidates of every pixel that it reads; few others are.

    Locations and pixels are drawn, not visited: the search is for roundings that move a coordinate out of its range.
    The inverse is made as wrong as it may be.
    """
    with uncompiled():
        ndim = data.draw(st.integers(1, 3))
        interp = data.draw(st.sampled_from([NEAREST, BILINEAR, BICUBIC]))
        padding = data.draw(st.sampled_from([0, 1]))
        wide = data.draw(st.booleans())
        code = FLOAT64 if wide else FLOAT32
        spec = Spec(
            ndim, interp=interp, padding=(padding,) * 3, align=data.draw(st.booleans()), source=AFFINE,
            image_dtype=code, source_dtype=code,
        )  # fmt: skip
        random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        extent, size = ((1,) * (3 - ndim) + tuple(int(n) for n in random.integers(2, 20000, ndim)) for _ in range(2))
        theta = np.eye(ndim, ndim + 1) * random.choice([-1, 1]) + random.uniform(-0.4, 0.4) * random.uniform(
            -1, 1, (ndim, ndim + 1)
        )
        theta *= np.array(size[::-1][:ndim])[None].min() / np.array(extent[::-1][:ndim])[:, None].max()
        theta = theta.astype("float64" if wide else "float32")
        room, source, maps, missed = surveyed(spec, theta, size, extent)
        if missed:
            return
        worse = maps.copy()
        for axis in range(3):
            at = room.entry(0, axis) + room.BACK
            worse[at : at + 3] *= 1 + random.uniform(-0.24, 0.24) / max(size)
        if room.is_near(worse, 0, source, size, extent, theta.dtype.type(0), spec):
            maps = worse
        gather = importlib.import_module("stnkit.kernels.cuda.adjoint")
        thread = importlib.import_module("stnkit.kernels.cuda.thread")
        like, index = theta.dtype.type(0), np.int64(0)
        strides = (0, 0, extent[1] * extent[2], extent[2], 1)
        for _ in range(4):
            at = tuple(int(random.integers(0, n)) for n in size)
            tile = thread.shares(thread.hold(like), thread.hold(index), spec)
            thread.stage(tile, 0, at, source, size, extent, strides, like, spec._replace(wide=True))
            slot = importlib.import_module("stnkit.kernels.leaves.stage").slot
            if interp == NEAREST:
                offset = int(tile.rows[slot(0, 0)])
                alone = offset % extent[2], offset // extent[2] % extent[1], offset // strides[2]
                reads = [{q if offset >= 0 else -1} for q in alone[:ndim]]
            else:
                reads = [
                    {int(tile.offsets[slot(axis * spec.taps + k, 0)]) // (strides[4 - axis]) for k in range(spec.taps)}
                    for axis in range(ndim)
                ]
            for pixel in itertools.product(*[[q for q in axis if q >= 0] for axis in reads]):
                q = (0,) * (3 - ndim) + pixel[::-1]
                ranges = tuple(gather.around(maps, 0, axis, q, extent, spec) for axis in range(3))
                for j in range(1, ndim):
                    low, high = gather.box(maps, 0, j, ranges, size)
                    assert low <= at[2 - j] < high
                low, high = gather.along(maps, 0, ranges, at[1], at[0], size, spec)
                assert low <= at[2] < high
                assert padding or high - low <= room.MOST * spec.taps**ndim


PLANAR = Spec(2, interp=BILINEAR, source=AFFINE, image_bar=True, digest=1)
VARIANTS = {
    "planar": PLANAR,
    "cubic volumes at the border": PLANAR._replace(ndim=3, interp=BICUBIC, padding=(1, 1, 1)),
    "four channels": PLANAR._replace(interleaved=True, lanes=4, aligned=True),
    "half": PLANAR._replace(image_dtype=FLOAT16, dot_dtype=FLOAT16, interp=NEAREST, ndim=1),
}
TEMPLATES = {
    "affine_bounds": (0, 0, 0, 3, 3, 5),
    "gather": (0,) * 9 + (3, 3, 3, 5, 5),
    "scatter_rest_binned": (0,) * 9 + (3, 3, 3, 5, 5, 3),
    "clear_rest": (0, 0),
    "largest_rest": (0,) * 5,
    "from_bins_rest": (0,) * 3,
}
COVERED = [
    *(("gather", name, (9, 0)) for name in VARIANTS),
    ("gather", "planar", (8, 0)),
    ("affine_bounds", "cubic volumes at the border", (9, 0)),
    *((name, "planar", (9, 0)) for name in TEMPLATES if name.endswith(("rest", "binned"))),
]


@pytest.mark.parametrize(("name", "variant", "capability"), COVERED)
def test_kernels_compile_to_what_a_gpu_is_quick_at(name, variant, capability):
    """No arithmetic of 64 bits in float32, no calls, sums in registers; no numbers are added at once."""
    pytest.importorskip("numba_cuda")
    spec = runtime.aimed(VARIANTS[variant], capability)
    code = runtime.compile(getattr(gather_kernels, name)(spec), runtime.signature(TEMPLATES[name], True), capability)
    assert code.spilled == 0 < code.registers <= 128  # so that two blocks fit a multiprocessor
    assert not re.search(r"\.f64|\bcall\b|\.local", code.ptx)
    assert bool(re.search(r"(ld|st)\.global\.v4\.f32", code.ptx)) == (variant == "four channels")
    assert not re.search(r"\b(red|atom)\S*\.add\S*\.f32", code.ptx)
