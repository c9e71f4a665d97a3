"""Antialiasing: the mean of subsamples beside each location, how many these are, and derivatives of it all.

Everything runs uncompiled but the last test: no kernel is of antialiasing alone.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import oracles
import pytest
from conftest import uncompiled
from jax.test_util import check_grads
from shrunk import EPS, KINDS, OPS, SIZE, affine_as, call, control, drawn, grids

import stnkit

OPTIONS = [  # mode, padding, align_corners, layout
    ("bilinear", "zeros", False, "channels_first"),
    ("bilinear", "border", True, "channels_last"),
    ("bicubic", "reflection", False, "channels_last"),
    ("nearest", "wrap", True, "channels_first"),
]


@pytest.mark.parametrize(("mode", "padding", "align", "layout"), OPTIONS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("op", OPS)
def test_a_location_is_the_mean_of_its_places(plain, op, d, mode, padding, align, layout):
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 0.25}
    m = 3 if d < 3 else 2
    image, source, cotangent, *_ = drawn(op, d)
    if mode == "bicubic" and d == 3:
        image, source, cotangent = image[:1, :1], source[:1], cotangent[:1, :1]
    for units in ("pixel", "normalized") if op == "flow" else ("",):
        own = {"units": units} if units else {}
        given = np.moveaxis(image, 1, -1) if layout == "channels_last" else image
        given = given, source, cotangent, None, None
        (got,) = call(plain, op, "", given, **options, **own, data_format=layout, antialias=m)
        got = np.moveaxis(got, -1, 1) if layout == "channels_last" else got
        samples = [
            oracles.grid_sample(image, grid, **options) for grid in grids(op, source, (m,) * d, SIZE[-d:], align, units)
        ]
        # Coordinates are below 32 pixels and wrong by some eps of that, on slopes below 3 * 1.375^2 * 2; those of
        # splines by as much more as their system is conditioned, which is below 1000.
        atol = 2000 * EPS * (1000 if op == "thin_plate_spline" else 1)
        np.testing.assert_allclose(got, np.mean(samples, axis=0), rtol=0, atol=atol)


@pytest.mark.parametrize("kind", KINDS["affine"])
def test_what_does_not_shrink_has_the_bits_of_the_plain_call(plain, kind):
    """Turned, enlarged and shifted by less than rounding; and with one place, whatever the map."""
    turn, e = np.float32(0.5), np.float32(1 / 128)
    theta = np.array(
        [[[np.cos(turn), -np.sin(turn), 0.1], [np.sin(turn), np.cos(turn), 0]], [[1 + e, 0, 0], [0, 1, 0]]]
    )
    random = np.random.default_rng(0)
    for dtype in ("float32", "float16")[: 1 if "double" in kind else 2]:
        image, dot, cotangent = random.uniform(-1, 1, (3, 2, 3, 6, 6)).astype(dtype)
        flow, flow_dot = random.uniform(-0.02, 0.02, (2, 2, 6, 6, 2)).astype("float32")
        flow -= 0.04 * np.mgrid[:6, :6][::-1].transpose(1, 2, 0).astype("float32")  # which enlarges
        maps = {op: affine_as(op, theta).astype("float32") for op in OPS if op != "flow" and kind in KINDS[op]}
        dots = {op: np.ones_like(source) for op, source in maps.items()} | {"flow": flow_dot}
        for op, source in (maps | {"flow": flow}).items():
            source_dot = dots[op]
            given = image, source, cotangent, dot, source_dot
            expected = call(plain, op, kind, given)
            for antialias in (True, np.int8(1)) if dtype == "float32" else (np.True_,):
                for mine, other in zip(call(plain, op, kind, given, antialias=antialias), expected, strict=True):
                    assert mine.dtype == other.dtype
                    np.testing.assert_array_equal(mine, other)
        shrunk = image, 3 * theta.astype("float32"), cotangent, dot, np.ones_like(theta, "float32")
        for antialias in (1, np.False_):
            results = call(plain, "affine", kind, shrunk, antialias=antialias)
            for mine, other in zip(results, call(plain, "affine", kind, shrunk), strict=True):
                np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("factors", [(3,), (2, 4), (3, 2, 4)])
def test_shrinking_by_whole_numbers_is_the_mean_of_blocks(plain, factors):
    """`antialias=True` finds the numbers; a flow of zero on a smaller lattice is the same map."""
    size, d = (2, 3, 2)[-len(factors) :], len(factors)
    extent = tuple(n * k for n, k in zip(size, factors, strict=True))
    image = np.random.default_rng(0).uniform(-1, 1, (2, *extent))
    blocks = image.reshape(2, *itertools.chain(*zip(size, factors, strict=True)))
    expected = blocks.mean(axis=tuple(range(2, 2 + 2 * d, 2)))
    for padding in ("zeros", "border", "reflection"):
        options = {"padding_mode": padding, "antialias": True}
        for got in (
            plain.affine_sample(image, np.eye(d, d + 1), size, **options),
            plain.flow_sample(image, np.zeros((*size, d)), **options),
            plain.projective_sample(image, np.eye(d + 1), size, **options),
        ):
            # Coordinates below 12 pixels err by less than 4 * 12 eps, on slopes below 2 along each axis.
            np.testing.assert_allclose(got, expected, rtol=0, atol=2 * d * 4 * 12 * EPS)
        got = plain.thin_plate_spline_sample(image, control(d), control(d), size, **options)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-11)  # splines are exact to 1e-12


@pytest.mark.parametrize(("op", "atol"), [("flow", 1000 * EPS), ("projective", 0), ("thin_plate_spline", 1e-11)])
def test_a_map_that_is_an_affine_one_is_that_map(plain, op, atol):
    """Beyond its rim too, where a flow goes on as it was. A projective map has the bits."""
    image = np.random.default_rng(0).uniform(-1, 1, (2, 8, 9))
    theta = np.array([[2.3, 0.3, 0.1], [-0.2, 1.6, -0.1]])
    own = {"units": "normalized"} if op == "flow" else {}
    arrays = image[None], affine_as(op, theta[None], (6, 7)), np.empty((1, 2, 6, 7)), None, None
    for antialias in (True, 3):
        (got,) = call(plain, op, "", arrays, antialias=antialias, **own)
        expected = plain.affine_sample(image, theta, (6, 7), antialias=antialias)
        np.testing.assert_allclose(got[0], expected, rtol=0, atol=atol)


def test_places_are_counted_by_the_jacobian(plain):
    from stnkit.antialias.footprints import FOOTPRINTS, MOST, groups
    from stnkit.antialias.subsamples import lattice_of
    from stnkit.spec import AFFINE, FLOW

    lattice = lattice_of((40, 30), (20, 10), False, True)  # H, W: a step is 3 pixels along x and 2 along y
    maps = np.array([
        [[1, 0, 0], [0, 1, 0]],
        [[1.3, 0, 5], [0, 0.5, 5]],
        [[0, 1, 0], [1, 0, 0]],  # a step along x goes 4 pixels along y, and one along y 1.5 along x
        [[1.005, 0, 0], [0, 1.007, 0]],  # within 1/64 pixel
        [[100, 0, 0], [0, np.nan, 0]],
    ])  # fmt: skip
    counted = [factors for _, factors in groups(True, lattice, FOOTPRINTS[AFFINE](maps, lattice))]
    assert counted == [(3, 2), (4, 1), (4, 2), (3, 2), (MOST, 1)]
    assert groups(3, lattice) == [(slice(None), (3, 3))]
    assert groups(3, lattice_of((4, 4), (1, 4), True, False)) == [(slice(None), (3, 1))]  # a line has no length across
    same = np.array([[2.5, 1], [2.5, 1], [1, 1], [2.1, 0.1]])
    assert groups(True, lattice, same) == [(slice(0, 2), (3, 1)), (slice(2, 3), (1, 1)), (slice(3, 4), (3, 1))]
    flow = np.zeros((2, 20, 10, 2))
    flow[1, 4, 5] = [1.0, -0.5]  # one location moved: its steps are 2 and 0 long there, and lean
    lengths = FOOTPRINTS[FLOW](flow, lattice)
    np.testing.assert_allclose(lengths, [[3, 2], [np.hypot(6, 1), np.hypot(3, 3)]], rtol=4 * EPS)
    flow[0, 0, 0] = np.nan
    flow[1, 4, 5] = np.inf
    np.testing.assert_allclose(FOOTPRINTS[FLOW](flow, lattice), [[3, 2], [3, 2]], rtol=4 * EPS)


def test_what_no_output_can_show_is_averaged_away(plain):
    """Waves of f cycles a pixel, shrunk by 8: antialiasing keeps the share of a box of 8, plain sampling that of 2.

    Between them all, above the output's 1/16 cycle a pixel, hardly any energy is left.
    """
    x = np.arange(256.0)
    frequencies = np.arange(17, 128, 5) / 256
    waves = np.sin(2 * np.pi * frequencies[:, None] * x + 0.3)[:, None]
    lines = np.tile(np.eye(1, 2), (len(waves), 1, 1))
    centres = (np.arange(32) + 0.5) * 8 - 0.5
    seen = np.sin(2 * np.pi * frequencies[:, None] * centres + 0.3)[:, None]
    box = np.sin(8 * np.pi * frequencies) / (8 * np.sin(np.pi * frequencies))
    smooth = plain.affine_sample(waves, lines, (32,), antialias=True)
    rough = plain.affine_sample(waves, lines, (32,))
    np.testing.assert_allclose(smooth, box[:, None, None] * seen, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rough, np.cos(np.pi * frequencies)[:, None, None] * seen, rtol=0, atol=1e-12)
    assert (smooth**2).sum() < 0.1 * (rough**2).sum()
    board = np.indices((64, 64)).sum(axis=0)[None] % 2.0
    shifted = np.array([[1, 0, 1 / 64], [0, 1, 1 / 64]])  # by half a pixel, onto the squares
    left = [plain.affine_sample(board, shifted, (8, 8), antialias=a, padding_mode="border") for a in (False, True)]
    assert (left[0] == 0).all()  # one colour alone
    np.testing.assert_allclose(left[1][:, :-1, :-1], 0.5, rtol=0, atol=1e-12)


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a * b).ravel())


@pytest.mark.parametrize(("d", "antialias"), [(1, True), (2, True), (2, 3), (3, 2)])
@pytest.mark.parametrize("op", OPS)
def test_adjoint(plain, op, d, antialias):
    """<J (v, w), c> = <v, d_image> + <w, d_source>, and the same of the second order, to a few roundings of the sum."""
    given = image, source, cotangent, image_dot, source_dot = drawn(op, d, seed=d)
    options = {"padding_mode": "border", "antialias": antialias}
    out, out_dot = call(plain, op, "_jvp", given, **options)
    np.testing.assert_array_equal(out, *call(plain, op, "", given, **options))
    d_image, d_source = call(plain, op, "_vjp", given, **options)
    assert d_source.shape == source.shape
    scale = np.abs(image_dot).sum() * 8 + np.abs(source_dot).sum() * 32  # weights sum to 1, slopes to below 32
    error = dot(out_dot, cotangent) - dot(image_dot, d_image) - dot(source_dot, d_source)
    assert abs(error) < 100 * EPS * scale
    if "_double_vjp" not in KINDS[op]:
        return
    out_bar_bar, *bars = call(plain, op, "_double_vjp", given, **options)
    np.testing.assert_allclose(out_bar_bar, out_dot, rtol=0, atol=100 * EPS * 32)
    other = np.random.default_rng(9).uniform(-1, 1, (2, *image.shape))[0], np.cos(source)
    _, *turned = call(plain, op, "_double_vjp", (image, source, cotangent, *other), **options)
    left = dot(bars[0], other[0]) + dot(bars[1], other[1])  # the Hessian is symmetric
    right = dot(turned[0], image_dot) + dot(turned[1], source_dot)
    assert abs(left - right) < 100 * EPS * 32 * scale


@pytest.mark.parametrize("antialias", [True, 3])
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("op", OPS)
def test_central_differences(plain, op, d, antialias):
    """Of bicubic, whose slope has no jumps; its second does, so that a step of h pixels errs by some h at most."""
    image, source, cotangent, image_dot, source_dot = drawn(op, d, seed=5)
    source_dot = source_dot / (1 if op == "flow" else 10)  # a place moves by less than a pixel, times h
    options = {"mode": "bicubic", "padding_mode": "zeros", "antialias": antialias}
    h = 1e-6

    def moved(s):
        given = image + s * image_dot, source + s * source_dot, cotangent, None, None
        return call(plain, op, "", given, **options)[0]

    _, out_dot = call(plain, op, "_jvp", (image, source, cotangent, image_dot, source_dot), **options)
    # Keys' kernel jumps by less than 12 in its second derivative; 4^d taps of 1.375^d in all; rounding is eps / h.
    limit = 12 * 1.9**d * h + 64 * EPS / h
    np.testing.assert_allclose((moved(h) - moved(-h)) / (2 * h), out_dot, rtol=0, atol=limit)
    d_image, d_source = call(plain, op, "_vjp", (image, source, cotangent, None, None), **options)
    slope = dot((moved(h) - moved(-h)) / (2 * h), cotangent)
    assert abs(slope - dot(d_image, image_dot) - dot(d_source, source_dot)) < limit * cotangent.size


@pytest.mark.parametrize("kind", KINDS["affine"])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("shared", [False, True])
def test_an_item_is_antialiased_for_itself(plain, kind, dtype, shared):
    """Items that shrink stand between items that do not; what they share adds up."""
    random = np.random.default_rng(3)
    scale = np.array([0.5, 1.0, 1.0, 0.4, 0.9, 1.0])[:, None, None]
    theta = np.eye(2, 3) * scale + 0.01 * random.uniform(-1, 1, (6, 2, 3))
    images, dots = random.uniform(-1, 1, (2, 6, 2, 7, 8)).astype(dtype)
    given = images, theta, random.uniform(-1, 1, (6, 2, 3, 4)).astype(dtype), dots, np.sin(7 * theta)
    if shared:
        given = images[0], theta, given[2], dots[0], given[4]
    together = call(plain, "affine", kind, given, antialias=True)
    apart = []
    for i in range(6):
        one = [array if shared and array.ndim == 3 and len(array) == 2 else array[i : i + 1] for array in given]
        apart.append(call(plain, "affine", kind, one, antialias=True))
    for mine, others in zip(together, zip(*apart, strict=True), strict=True):
        assert mine.dtype == others[0].dtype
        if mine.shape == images[0].shape:  # of half precision, each of the items' was rounded
            e = np.finfo(dtype).eps
            atol = 16 * e * np.abs(others).max()
            np.testing.assert_allclose(mine, np.sum(np.array(others, float), axis=0), rtol=0, atol=atol)
        else:
            np.testing.assert_array_equal(mine, np.concatenate(others))


@pytest.mark.parametrize("kind", KINDS["affine"])
@pytest.mark.parametrize("one_map", [False, True])
def test_portions_of_a_batch_are_put_together(plain, kind, one_map, monkeypatch):
    """One item at a time, as with large images: the same bits, but for the sum over what shares a map."""
    from stnkit.antialias import compose

    given = image, source, cotangent, image_dot, source_dot = drawn("affine", 2, batch=3)
    if one_map:
        given = image, source[:1], cotangent, image_dot, source_dot[:1]
    expected = call(plain, "affine", kind, given, antialias=2)
    monkeypatch.setattr(compose, "NUMPY", compose.NUMPY._replace(portion=1))
    for mine, other in zip(call(plain, "affine", kind, given, antialias=2), expected, strict=True):
        if mine.shape == (1, 2, 3):
            np.testing.assert_allclose(mine, other, rtol=0, atol=64 * EPS * np.abs(other).max())
        else:
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(plain, dtype):
    narrow = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    given = [
        array.astype(narrow) if i in (0, 2, 3) else array.astype("float32")
        for i, array in enumerate(drawn("affine", 2))
    ]
    wide = [array.astype("float32") for array in given]
    for kind in KINDS["affine"]:
        results = call(plain, "affine", kind, given, antialias=True)
        for mine, other, source in zip(results, call(plain, "affine", kind, wide, antialias=True), "   ", strict=False):
            assert mine.dtype == (np.float32 if mine.shape == given[1].shape else narrow), source
            np.testing.assert_array_equal(mine, other.astype(mine.dtype))


@pytest.mark.parametrize(("name", "floating"), [("uint8", "float32"), ("int16", "float32"), ("uint32", "float64")])
def test_integers_are_rounded_once_half_to_even_and_saturated(plain, name, floating):
    random, info = np.random.default_rng(0), np.iinfo(name)
    image = random.integers(info.min, info.max, (2, 3, 16, 16), name)  # powers of two, whose coordinates are exact
    wide, theta = image.astype(floating), np.eye(2, 3, dtype="float32")
    blocks = wide.reshape(2, 3, 8, 2, 8, 2).sum(axis=(3, 5)) / 4
    assert (blocks % 1 == 0.5).any()
    np.testing.assert_array_equal(plain.affine_sample(image, theta, (8, 8), antialias=True), np.rint(blocks))
    steps = np.where(random.random((1, 1, 12, 12)) < 0.5, info.min, info.max).astype(name)
    cubic = {"mode": "bicubic", "antialias": 2}
    expected = plain.affine_sample(steps.astype(floating), theta, (9, 9), **cubic)
    assert expected.max() > info.max + 1
    assert expected.min() < info.min - 1
    got = plain.affine_sample(steps, theta, (9, 9), **cubic)
    np.testing.assert_array_equal(got, np.rint(expected).clip(info.min, info.max))
    cotangent, dot_ = random.random((2, 3, 8, 8), np.float32), np.ones((2, 3), np.float32)
    for asked, other in (
        (
            plain.affine_sample_vjp(cotangent, image, theta, wrt="theta", antialias=True)[1],
            plain.affine_sample_vjp(cotangent.astype(floating), wide, theta, wrt="theta", antialias=True)[1],
        ),
        (
            plain.affine_sample_jvp(image, theta, None, dot_, (8, 8), antialias=True)[1],
            plain.affine_sample_jvp(wide, theta, None, dot_, (8, 8), antialias=True)[1],
        ),
    ):
        assert asked.dtype == np.float32
        np.testing.assert_array_equal(asked, other.astype(np.float32))
    results = plain.affine_sample_double_vjp(None, dot_, cotangent, image, theta, antialias=True)
    assert results[1] is None


def test_memory_of_ones_own(plain):
    image, theta, cotangent, *_ = (array.astype("float32") for array in drawn("affine", 2))
    for array in (image, theta, cotangent):
        array.flags.writeable = False
    expected = plain.affine_sample(image, theta, SIZE[1:], antialias=True)
    out = np.full_like(expected, 7)
    assert plain.affine_sample(image, theta, SIZE[1:], antialias=True, out=out) is out
    np.testing.assert_array_equal(out, expected)
    d_image, d_theta = plain.affine_sample_vjp(cotangent, image, theta, antialias=True)
    into = np.ones_like(image)
    given, other = plain.affine_sample_vjp(cotangent, image, theta, antialias=True, accumulate_into=into)
    assert given is into
    np.testing.assert_array_equal(into, 1 + d_image)
    np.testing.assert_array_equal(other, d_theta)
    assert plain.affine_sample_vjp(cotangent, image, theta, wrt=(), antialias=True) == (None, None)


def test_a_coordinate_that_is_not_finite_reads_the_fill_value(plain):
    image, theta, cotangent, *_ = drawn("affine", 2)
    theta[0, 0, 0] = np.nan
    options = {"antialias": True, "fill_value": 0.5, "padding_mode": "border"}
    assert (plain.affine_sample(image, theta, SIZE[1:], **options)[0] == 0.5).all()
    d_image, d_theta = plain.affine_sample_vjp(cotangent, image, theta, **options)
    assert not d_image[0].any()
    assert not d_theta[0].any()
    assert d_theta[1].any()
    flow = np.zeros((4, 4, 2))
    flow[0, 0] = np.nan
    out = plain.flow_sample(np.ones((1, 12, 12)), flow, padding_mode="border", fill_value=0.0, antialias=True)
    # Of three places along an axis, the one beside 0 and two of 1 lie between the two, or beyond 0 on their line.
    assert out[0, 0, 0] == 0
    assert (out[0, 2:, 2:] == 1).all()


@pytest.mark.parametrize("antialias", [True, 3])
def test_empty(plain, antialias):
    theta = np.zeros((0, 2, 3))
    assert plain.affine_sample(np.ones((1, 3, 4, 5)), theta, (2, 2), antialias=antialias).shape == (0, 3, 2, 2)
    out = plain.affine_sample(np.ones((2, 0, 4, 5)), np.eye(2, 3) * 3, (0, 2), antialias=antialias)
    assert out.shape == (2, 0, 0, 2)
    assert plain.flow_sample(np.ones((2, 3, 4, 5)), np.zeros((0, 2, 2)), antialias=antialias).shape == (2, 3, 0, 2)
    assert plain.flow_sample(np.ones((1, 3, 4, 5)), np.zeros((0, 2, 2, 2)), antialias=antialias).shape == (0, 3, 2, 2)
    d_image, d_flow = plain.flow_sample_vjp(
        np.ones((1, 3, 1)), np.ones((1, 9, 1)), np.zeros((3, 1, 2)), antialias=antialias
    )
    assert d_image.shape == (1, 9, 1)
    assert d_flow.shape == (3, 1, 2)


X, T = np.ones((1, 1, 8, 8), "float32"), np.eye(2, 3, dtype="float32")[None]
G = np.ones((1, 1, 2, 2), "float32")
HALF, BYTES, WIDE = X.astype("float16"), X.astype("uint8"), X.astype(float)


@pytest.mark.parametrize(
    ("error", "call", "says"),
    [
        (ValueError, lambda s: s.affine_sample(X, T, antialias=0), "True, False or an integer from 1 to 16; got 0"),
        (ValueError, lambda s: s.flow_sample_jvp(X, T, None, None, antialias=17), "an integer from 1 to 16; got 17"),
        (TypeError, lambda s: s.affine_sample(X, T, antialias=2.5), "True, False or an integer .* got 2.5"),
        (TypeError, lambda s: s.affine_sample(X, T, antialias="yes"), "got 'yes'"),
        (TypeError, lambda s: s.affine_sample(X, T, antialias=None), "got None"),
        (TypeError, lambda s: s.affine_sample(X.astype(int), T, mode="nearest", antialias=2), "takes means, .* int64"),
        (ValueError, lambda s: s.affine_sample(X, T[:, :1], antialias=True), "`theta` must have shape"),
        (ValueError, lambda s: s.affine_sample(X, T, (2,), antialias=True), "`size` must be 2 integers"),
        (ValueError, lambda s: s.affine_sample(X, T, mode="area", antialias=True), "`mode` must be one of"),
        (ValueError, lambda s: s.flow_sample(X, T, antialias=True), "`flow` must have shape"),
        (TypeError, lambda s: s.affine_sample([1.0], T, antialias=True), "`image` must be a NumPy array"),
        (TypeError, lambda s: s.affine_sample(X, T.astype(int), antialias=2), "`theta` must have dtype"),
        (TypeError, lambda s: s.affine_sample_vjp(G, HALF, T, antialias=2), "`cotangent` must have the dtype"),
        (TypeError, lambda s: s.affine_sample_vjp(G, BYTES, T, antialias=2), "an image of dtype uint8 has no deriv"),
        (ValueError, lambda s: s.affine_sample_vjp(G, X, T, wrt="flow", antialias=2), "`wrt` must name some of"),
        (TypeError, lambda s: s.affine_sample_jvp(HALF, T, X, None, antialias=2), "`d_image` must have the dtype"),
        (TypeError, lambda s: s.affine_sample_double_vjp(None, WIDE[0, :, :2, :3], G, X, T, antialias=2), "`dd_theta`"),
        (TypeError, lambda s: s.affine_sample(HALF, T, antialias=2, out=X.copy()), "`out` must have the dtype"),
        (ValueError, lambda s: s.affine_sample(X, T, antialias=2, out=X), "`out` must not overlap `image`"),
        (TypeError, lambda s: s.affine_sample_vjp(G, X, T, antialias=2, accumulate_into=WIDE), "`accumulate_into`"),
        (ValueError, lambda s: s.affine_sample_vjp(G, X, T, wrt="theta", antialias=2, accumulate_into=X.copy()),
         "`accumulate_into` is for"),
    ],
)  # fmt: skip
def test_errors_are_those_of_the_plain_call(plain, error, call, says):
    with pytest.raises(error, match=says):
        call(plain)


@pytest.mark.parametrize("op", OPS)
def test_jax(plain, op):
    """Values and derivatives of NumPy, of the second order too; a gradient knows the numbers, and `jit` an integer."""
    np.random.seed(0)  # noqa: NPY002  # from which `check_grads` draws its directions
    import stnkit as package

    image, source, cotangent, *_ = given = drawn(op, 1, seed=2)
    rough = EPS * (1000 if op == "thin_plate_spline" else 1)  # as above

    def function(antialias, x, s):
        return call(package, op, "", (x, s, cotangent, None, None), antialias=antialias)[0]

    with jax.enable_x64(True):
        x, s = jnp.asarray(image), jnp.asarray(source)
        for kind in KINDS[op]:
            expected = call(plain, op, kind, given, antialias=True)
            results = call(package, op, kind, [jnp.asarray(array) for array in given], antialias=True)
            for mine, other in zip(results, expected, strict=True):
                assert isinstance(mine, jax.Array)
                np.testing.assert_allclose(mine, other, rtol=0, atol=512 * rough)
        _, back = jax.vjp(lambda *a: function(True, *a), x, s)
        bars = call(plain, op, "_vjp", given, antialias=True)
        for mine, other in zip(back(jnp.asarray(cotangent)), bars, strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=256 * rough)
        step = float(np.cbrt(EPS))
        # Finite differences are arrays of NumPy, which do not go with those of JAX.
        check_grads(
            jax.jit(lambda s: function(2, x[:1], jnp.asarray(s))), (s[:1],), order=2, modes=("fwd", "rev"), eps=step
        )
        whole = function(2, x, s)
        np.testing.assert_allclose(jax.jit(lambda *a: function(2, *a))(x, s), whole, rtol=0, atol=16 * EPS)
        each = jax.vmap(lambda *a: function(2, *a))(x, s)
        np.testing.assert_allclose(each, whole, rtol=0, atol=16 * EPS)
        known = jax.jit(lambda x: function(True, x, s))(x)  # the map is no argument
        np.testing.assert_allclose(known, function(True, x, s), rtol=0, atol=16 * EPS)
        for transform in (jax.jit, jax.vmap):
            name = "flow" if op == "flow" else "theta"
            with pytest.raises(TypeError, match=rf"`antialias=True` takes the numbers of `{name}`.*as antialias=4"):
                transform(lambda *a: function(True, *a))(x, s)


def test_jax_takes_control_points_as_constants(plain):
    image, source, cotangent, *_ = (jnp.asarray(array) for array in drawn("thin_plate_spline", 2))
    points = jnp.asarray(control(2))

    def sample(points, antialias=2):
        return plain.thin_plate_spline_sample(image, source, points, SIZE[1:], antialias=antialias)

    expected = call(plain, "thin_plate_spline", "", (image, source, cotangent, None, None), antialias=2)[0]
    np.testing.assert_allclose(sample(points), expected, rtol=0, atol=1e-4)  # points of float32
    with pytest.raises(TypeError, match="`control_points` are traced by JAX"):
        jax.jit(sample)(points)


@pytest.mark.parametrize("op", ["affine", "projective"])
def test_compiled(op):
    """On a line, in machine code: the bits of plain Python."""
    given = [array.astype("float32") for array in drawn(op, 1)]
    given[1] = np.concatenate([given[1], given[1]])
    given[1][:2, :1] = [[[np.inf, -np.inf]], [[3e38, 0]]]  # without a warning
    given[0] = given[0][0]
    (result,) = call(stnkit, op, "", given, antialias=True)
    with uncompiled() as package:
        (expected,) = call(package, op, "", given, antialias=True)
    np.testing.assert_array_equal(result, expected)
