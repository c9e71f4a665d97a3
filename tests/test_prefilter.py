"""Splines of images: values are SciPy's, derivatives are adjoint, and whatever a call has is kept. Uncompiled."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from conftest import uncompiled
from jax.test_util import check_grads
from samplers import SPLINES
from scipy import ndimage

import stnkit

BOUNDARIES = [  # of the sampler, and SciPy's
    ("zeros", False, "grid-constant"),
    ("border", False, "nearest"),
    ("reflection", True, "mirror"),
    ("reflection", False, "reflect"),
    ("wrap", False, "grid-wrap"),
    ("mask", False, "constant"),
    ("periodic", False, "wrap"),
]
MIXED = ("zeros", "border", "wrap")
POINTS = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [0.1, 0.2]])


def drawn(*shape):
    return np.random.default_rng(len(shape)).uniform(-1, 1, shape)


def placed(points):
    """Return points (P, d) as a grid of one item."""
    return points.reshape(1, *[1] * (points.shape[-1] - 1), *points.shape)


SCIPY = [  # on three axes, long lines take too much time
    *itertools.product((1, 2), SPLINES, BOUNDARIES),
    *((3, mode, row) for mode in ("spline2", "spline5") for row in BOUNDARIES if row[2] != "reflect"),
]


@pytest.mark.parametrize(("d", "mode", "row"), SCIPY)
def test_scipy(plain, d, mode, row):
    """Inside, at the rim and far outside. Lines are so long that SciPy's reflect has converged."""
    random, (padding, align, boundary) = np.random.default_rng(d), row
    extent = ((34, 31) if boundary == "reflect" else (5, 2, 4))[:d]
    n = np.array(extent[::-1])
    image = random.uniform(-1, 1, extent)
    points = random.uniform(-2 * n, 3 * n, (40, d))
    points[:15] = random.integers(-2, n + 2, (15, d)) + random.choice([0.0, 0.5], (15, d))
    points[15:30] = random.uniform(-0.5, n - 0.5, (15, d))
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "coords": "pixel", "fill_value": 0.7}
    out = plain.grid_sample(image[None, None], placed(points), **options)
    expected = ndimage.map_coordinates(image, points.T[::-1], order=int(mode[-1]), mode=boundary, cval=0.7)
    np.testing.assert_allclose(out.ravel(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", SPLINES)
def test_margins_are_wide_enough(plain, mode, padding):
    """The errors that the documentation names, of any image below 1, against one that goes on for 60 pixels more."""
    n, more, points = 15, 60, np.linspace(-20, 15, 141)[None, :, None]
    pixels = np.eye(n)[:, None]
    options = {"mode": mode, "coords": "pixel"}
    out = plain.grid_sample(pixels, points, padding_mode=padding, **options)[:, 0]
    wide = np.pad(pixels, ((0, 0), (0, 0), (more, more)), mode="edge" if padding == "border" else "constant")
    endless = plain.grid_sample(wide, points + more, padding_mode="reflection", align_corners=True, **options)[:, 0]
    errors = np.abs(out - endless).sum(axis=0)  # the largest, over all such images
    assert errors.max() < {"spline2": 1e-9, "spline3": 3e-7, "spline4": 1.2e-5, "spline5": 1.4e-4}[mode]
    assert errors[np.abs(points.ravel() - (n - 1) / 2) <= (n - 1) / 2].max() < 2e-9
    centres = plain.grid_sample(pixels, np.arange(float(n))[None, :, None], padding_mode=padding, **options)[:, 0]
    np.testing.assert_allclose(centres, np.eye(n), rtol=0, atol=1e-14)


def by_hand(image, mode, padding, fill):
    """Return the coefficients of an image, channels first, and the paddings that read them; axis by axis."""
    d, order, read = image.ndim - 2, int(mode[-1]), []
    level = np.broadcast_to(fill, (image.shape[1],))
    for axis, word in zip(range(image.ndim - 1, 1, -1), padding, strict=True):
        if word in ("zeros", "border"):
            ends = [(0, 0)] * image.ndim
            ends[axis] = (12, 12)
            planes = [
                np.pad(image[:, c], ends[:1] + ends[2:], **({"mode": "edge"} if word == "border" else
                                                          {"constant_values": level[c]}))
                for c in range(image.shape[1])
            ]  # fmt: skip
            image = np.stack(planes, axis=1)
        read.append(f"{word}_margin" if word in ("zeros", "border") else word)
    for axis, word in zip(range(image.ndim - 1, 1, -1), padding, strict=True):
        boundary = {"border": "reflect", "wrap": "grid-wrap"}.get(word, "mirror")
        image = ndimage.spline_filter1d(image, order, axis, mode=boundary)
    return image, read[:d]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_each_axis_and_channel_has_its_own(plain, d, last):
    image, fill = drawn(2, 2, *(5, 4, 33)[:d]), [0.5, -0.25]
    grid = np.random.default_rng(0).uniform(-1.6, 1.6, (2, *[2] * d, d))
    for padding in itertools.islice(itertools.permutations(MIXED, d), 4):
        if d == 3 and padding[0] != "border":
            padding = ("border", "zeros", "wrap")  # SciPy's reflect needs a long line
        held, read = by_hand(image, "spline3", padding, fill)
        options = {"mode": "spline3", "fill_value": fill}
        expected = oracles.grid_sample(held, grid, padding_mode=read, **options)
        given = np.moveaxis(image, 1, -1) if last else image
        options |= {"data_format": "channels_last"} if last else {}
        got = plain.grid_sample(given, grid, padding_mode=padding, **options)
        got = np.moveaxis(got, -1, 1) if last else got
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        item = plain.grid_sample(given[0], grid[0], padding_mode=padding, **options)
        np.testing.assert_array_equal(np.moveaxis(item, -1, 0) if last else item, got[0])


def calls(package):
    """Give (sampler, image, source, arguments after these, options)."""
    image, size = drawn(2, 2, 4, 3), (2, 3)
    options = {"mode": "spline3", "padding_mode": ("border", "zeros"), "fill_value": 0.5}
    theta = np.eye(2, 3) + 0.3 * drawn(2, 2, 3)
    cases = {
        "grid": (1.5 * drawn(2, 2, 3, 2), (), {}),
        "affine": (theta, (size,), {}),
        "flow": (0.4 * drawn(2, 2, 3, 2), (), {"antialias": 2}),
        "projective": (np.eye(3) + 0.2 * drawn(2, 3, 3), (size,), {"padding_mode": "mask"}),
        "thin_plate_spline": (POINTS + 0.2 * drawn(2, 5, 2), (POINTS, size), {"padding_mode": "border"}),
    }
    cases["shrunk"] = (theta * [[[2.2], [1]]], (size,), {"antialias": True})
    for name, (source, rest, own) in cases.items():
        op = "affine" if name == "shrunk" else name
        yield op, image, source, rest, {**options, **own}


def test_derivatives_are_adjoint(plain):
    """<cotangent, jvp> = <vjp, tangents> for every sampler, and the jvp has the values."""
    for op, image, source, rest, options in calls(plain):
        function = {end: getattr(plain, f"{op}_sample{end}") for end in ("", "_vjp", "_jvp")}
        image_dot, source_dot = drawn(*image.shape)[::-1], drawn(*source.shape)
        out = function[""](image, source, *rest, **options)
        again, out_dot = function["_jvp"](image, source, image_dot, source_dot, *rest, **options)
        np.testing.assert_array_equal(again, out)
        cotangent, points = drawn(*out.shape), rest[:1] if len(rest) == 2 else ()
        image_bar, source_bar = function["_vjp"](cotangent, image, source, *points, **options)
        left = (cotangent * out_dot).sum()
        right = (image_bar * image_dot).sum() + (source_bar * source_dot).sum()
        assert left == pytest.approx(right, rel=1e-11), op
        only, nothing = function["_vjp"](cotangent, image, source, *points, wrt="image", **options)
        np.testing.assert_array_equal(only, image_bar)
        assert only.flags.c_contiguous
        assert nothing is None
        sums = np.ones_like(image)
        added, _ = function["_vjp"](cotangent, image, source, *points, accumulate_into=sums, **options)
        assert added is sums
        np.testing.assert_array_equal(sums, 1 + image_bar)
        into = np.empty_like(out)
        assert function[""](image, source, *rest, out=into, **options) is into
        np.testing.assert_array_equal(into, out)


def test_antialiasing_filters_once(plain):
    """The mean of places, of which there are as many as the image's own pixels ask for: one, where nothing shrinks."""
    image, theta = drawn(1, 1, 5, 4), np.array([[[0.9, 0.2, 0.1], [-0.1, 1.1, 0.0]]])
    options = {"mode": "spline3", "padding_mode": "border"}
    places = [theta + theta @ [[0, 0, x / 4], [0, 0, y / 5], [0, 0, 0]] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    expected = np.mean([plain.affine_sample(image, place, **options) for place in places], axis=0)
    np.testing.assert_allclose(plain.affine_sample(image, theta, antialias=2, **options), expected, rtol=0, atol=1e-13)
    still = np.eye(2, 3)[None]
    got = plain.affine_sample(image, still, antialias=True, **options)
    np.testing.assert_array_equal(got, plain.affine_sample(image, still, **options))
    np.testing.assert_allclose(got, image, rtol=0, atol=1e-13)


@pytest.fixture
def wide():
    """Let JAX have float64."""
    with jax.enable_x64(True):
        yield


def test_jax(plain, wide):
    """Values and derivatives, to the second order, and under transforms."""
    image, grid = jnp.asarray(drawn(1, 2, 3, 4)), jnp.asarray(0.7 * drawn(1, 2, 2, 2))
    options = {"mode": "spline3", "padding_mode": ("border", "zeros"), "fill_value": [0.5, 2.0]}

    def sample(x, u):
        return plain.grid_sample(x, u, **options)

    expected = plain.grid_sample(np.asarray(image), np.asarray(grid), **options)
    for function in (sample, jax.jit(sample)):
        np.testing.assert_allclose(function(image, grid), expected, rtol=0, atol=1e-14)
    mapped = jax.vmap(sample, (None, 0))(image, jnp.stack([grid, -grid]))
    np.testing.assert_allclose(mapped[1], sample(image, -grid), rtol=0, atol=1e-14)
    check_grads(jax.jit(sample), (image, grid), order=2, modes=("fwd", "rev"))
    splat = {"mode": "spline3", "padding_mode": ("border", "zeros")}
    check_grads(lambda v, u: plain.grid_splat(v, u, (3, 4), **splat), (image[..., :2, :2], grid), order=1)
    cotangent = np.ones(expected.shape)
    calls = [("_vjp", (cotangent, image, grid)), ("_jvp", (image, grid, image, grid))]
    for end, arrays in [*calls, ("_double_vjp", (image, grid, cotangent, image, grid))]:
        function = getattr(plain, f"grid_sample{end}")
        here, there = (function(*map(kind, arrays), **options) for kind in (np.asarray, jnp.asarray))
        for one, other in zip(here, there, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-12)
    theta = jnp.asarray(np.eye(2, 3)[None] * 1.5)
    for own in ({"antialias": True}, {"antialias": 2}, {"size": (2, 2)}):
        here = plain.affine_sample(np.asarray(image), np.asarray(theta), **own, **options)
        np.testing.assert_allclose(plain.affine_sample(image, theta, **own, **options), here, rtol=0, atol=1e-14)
    assert plain.grid_sample((100 * image).astype(jnp.int8).astype(jnp.uint8), grid, mode="spline2").dtype == jnp.uint8


def test_splats_are_adjoint(plain):
    """To sampling in the image; and the splat's own derivatives."""
    image, grid, values = drawn(2, 2, 4, 3), 1.5 * drawn(2, 3, 5, 2), drawn(2, 2, 3, 5)
    for padding in (("border", "zeros"), "reflection", "periodic"):
        options = {"mode": "spline4", "padding_mode": padding}
        made = plain.grid_splat(values, grid, (4, 3), **options)
        left, right = (made * image).sum(), (plain.grid_sample(image, grid, **options) * values).sum()
        assert left == pytest.approx(right, rel=1e-12)
        values_bar, grid_bar = plain.grid_splat_vjp(image, values, grid, **options)
        expected = plain.grid_sample(image, grid, **options), plain.grid_sample_vjp(values, image, grid, **options)[1]
        np.testing.assert_array_equal(values_bar, expected[0])
        np.testing.assert_allclose(grid_bar, expected[1], rtol=0, atol=1e-13)
        ones = plain.grid_sample_jvp(image, grid, None, np.ones_like(grid), **options)[1]
        np.testing.assert_allclose(plain.grid_gradient(image, grid, **options).sum(-1), ones, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["uint8", "float16", "bfloat16", "float32"])
def test_results_have_the_dtype_of_the_image(plain, name):
    """Of what is rounded, once; the coefficients are float32."""
    dtype = dtype_of(name)
    image = (100 + 50 * drawn(1, 1, 5, 6)).astype(dtype)
    grid = 1.2 * drawn(1, 4, 4, 2).astype(np.float32)
    for antialias in (False, 2):
        options = {"mode": "spline5", "padding_mode": "border", **({"antialias": 2} if antialias else {})}
        given = grid if not antialias else 0.3 * grid
        function = plain.flow_sample if antialias else plain.grid_sample
        out, wide = function(image, given, **options), function(image.astype(np.float32), given, **options)
        assert out.dtype == dtype
        expected = np.rint(wide).clip(0, 255) if name == "uint8" else wide
        np.testing.assert_array_equal(out, expected.astype(dtype))
    derivative = np.float32 if name == "uint8" else dtype
    _, out_dot = plain.grid_sample_jvp(image, grid, None, grid, mode="spline3")
    assert out_dot.dtype == derivative
    assert plain.grid_gradient(image, grid, mode="spline3").dtype == derivative
    cotangent = np.ones((1, 1, 4, 4), derivative)
    asked = "grid" if name == "uint8" else ("image", "grid")
    bars = plain.grid_sample_vjp(cotangent, image, grid, wrt=asked, mode="spline3")
    assert [bar.dtype for bar in bars if bar is not None] == [dtype, grid.dtype][-len(bars) + (name == "uint8") :]
    if name != "uint8":
        sums = np.zeros(image.shape, np.float32)
        plain.grid_sample_vjp(cotangent, image, grid, accumulate_into=sums, mode="spline3")
        np.testing.assert_array_equal(sums.astype(dtype), bars[0])
        assert plain.grid_splat(image[..., :4, :4], grid, (5, 6), mode="spline3").dtype == dtype
    else:
        assert plain.grid_sample_double_vjp(None, grid, cotangent, image, grid, mode="spline3")[1] is None


def dtype_of(name):
    if name != "bfloat16":
        return np.dtype(name)
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


def test_a_fill_value_that_is_not_finite_masks(plain):
    """It is read outside, and nothing of it gets into the image."""
    image, grid = drawn(1, 2, 4, 5), np.array([[[[0.0, 0.0], [4.0, 3.0], [2.3, 1.7], [-0.1, 1.0], [2.0, 3.1]]]])
    options = {"mode": "spline3", "coords": "pixel"}
    for fill in (np.nan, [0.0, np.inf]):
        got = plain.grid_sample(image, grid, fill_value=fill, **options)
        np.testing.assert_array_equal(
            got, plain.grid_sample(image, grid, fill_value=fill, padding_mode="mask", **options)
        )
        assert np.isfinite(got[..., :3]).all()
        np.testing.assert_array_equal(got[0, :, 0, 3:], np.broadcast_to(np.reshape(fill, (-1, 1)), (2, 2)))
        np.testing.assert_allclose(got[..., :2], image[..., [0, 3], [0, 4]][:, :, None], rtol=1e-13)


def test_few_pixels_and_none(plain):
    """One pixel, no items, no channels, and no output of no pixels."""
    grid = np.array([[[-3.0], [0.0], [20.0]]])
    for padding, expected in (("zeros", [0, 5, 0]), ("border", [5, 5, 5]), ("reflection", [5, 5, 5])):
        options = {"mode": "spline3", "padding_mode": padding, "coords": "pixel"}
        out = plain.grid_sample(np.full((1, 1, 1), 5.0), grid, **options).ravel()
        # three pixels outside an image of one, the spline of zeros has three powers of its pole
        np.testing.assert_allclose(out, expected, rtol=1e-6, atol=5 * 0.27**2)
        bar, _ = plain.grid_sample_vjp(np.ones((1, 1, 3)), np.full((1, 1, 1), 5.0), grid, **options)
        np.testing.assert_allclose(bar.item(), out.sum() / 5, rtol=1e-12)
        for shape in ((0, 1, 4), (1, 0, 4)):
            empty = np.zeros(shape)
            assert plain.grid_sample(empty, grid, **options).shape == (*shape[:2], 3)
            assert plain.grid_sample_vjp(np.zeros((*shape[:2], 3)), empty, grid, **options)[0].shape == shape
        assert plain.grid_sample(np.zeros((1, 1, 0)), np.zeros((1, 0, 1)), **options).shape == (1, 1, 0)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"prefilter": "no"}, TypeError, "`prefilter` must be True or False; got 'no'"),
        ({"prefilter": 1, "mode": "bilinear"}, TypeError, "`prefilter` must be True or False; got 1"),
        ({"mode": ["spline3"]}, TypeError, "`mode` must be one of"),
        ({"padding_mode": "mirror"}, ValueError, "`padding_mode` must be one of"),
        ({"fill_value": [1.0, 2.0]}, ValueError, "`fill_value` must be one number, or 1, one for each channel"),
        ({"out": np.ones((1, 1, 9))}, ValueError, r"`out` must have the shape of the output, \(1, 1, 2, 2\)"),
        ({"data_format": "channels"}, ValueError, "`data_format` must be one of"),
    ],
)
def test_refused(plain, options, error, says):
    """In the words of the plain call, and of the image as it was given."""
    with pytest.raises(error, match=says):
        plain.grid_sample(drawn(1, 1, 4, 3), drawn(1, 2, 2, 2), **{"mode": "spline3", **options})


def test_shapes_are_told_as_they_were_given(plain):
    image, grid = drawn(1, 1, 4, 3), drawn(1, 2, 2, 2)
    with pytest.raises(ValueError, match=r"`image` must have shape .*; got \(4, 3\)"):
        plain.grid_sample(image[0, 0], grid, mode="spline3")
    with pytest.raises(ValueError, match=r"`cotangent` must have the shape of the output, .*; got \(1, 1, 4, 3\)"):
        plain.grid_sample_vjp(image, image, grid, mode="spline3")
    with pytest.raises(ValueError, match="`size` must be 2 integers"):
        plain.grid_splat(drawn(1, 1, 2, 2), grid, (4,), mode="spline3")
    with pytest.raises(ValueError, match="`values` and `grid` must have the same batch size"):
        plain.grid_splat(drawn(2, 1, 2, 2), np.concatenate([grid] * 3), (4, 3), mode="spline3")


def test_other_modes_take_the_option(plain):
    image, grid = drawn(1, 1, 4, 3), drawn(1, 2, 2, 2)
    for mode in ("nearest", "bilinear", "bicubic", "spline0", "spline1"):
        expected = plain.grid_sample(image, grid, mode=mode)
        for own in (True, False):
            np.testing.assert_array_equal(plain.grid_sample(image, grid, mode=mode, prefilter=own), expected)


def test_kernels_are_compiled_ahead(plain):
    """That of the filter, and the sampler's; a gradient of the image alone needs those of two transposes."""
    shapes = (1, 1, 4, 3), (1, 2, 2, 2)
    for own, kernels in ((True, 2), (False, 1)):
        assert plain.compile_ahead(plain.grid_sample, *shapes, mode="spline3", prefilter=own).kernels == kernels


def test_compiled():
    """By the kernels that filters and margins are tested with, twice, as what is remembered must not be used."""
    image, grid = drawn(2, 2, 4, 5), 1.5 * drawn(2, 3, 9, 2)
    options = {"mode": "spline3", "fill_value": 0.5}
    for padding in ("zeros", "border"):
        with uncompiled() as package:
            expected = package.grid_sample(image, grid, padding_mode=padding, **options)
        for _ in range(2):
            got = stnkit.grid_sample(image, grid, padding_mode=padding, **options)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
