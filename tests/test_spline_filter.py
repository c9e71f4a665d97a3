"""The filter of splines: SciPy's numbers, exact inverses of sampling, transposes, and JAX's rules."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import recursive_filter
from jax.test_util import check_grads
from scipy import ndimage

import stnkit
from stnkit.jax import _compat

ORDERS = (2, 3, 4, 5)
BOUNDARIES = [  # of stnkit, and of SciPy
    ("zeros", False, "mirror"),
    ("reflection", True, "mirror"),
    ("border", False, "reflect"),
    ("reflection", False, "reflect"),
    ("wrap", True, "grid-wrap"),
]
E = np.finfo(float).eps


@pytest.fixture
def wide():
    with _compat.enable_x64():
        yield


def drawn(*shape):
    return np.random.default_rng(shape).uniform(-1, 1, shape)


@pytest.mark.parametrize(("padding", "align", "boundary"), BOUNDARIES)
@pytest.mark.parametrize("order", ORDERS)
def test_scipy(plain, order, padding, align, boundary):
    """Where lines are long: of short ones, SciPy's reflect begins with a sum that it is about to change."""
    options = {"order": order, "padding_mode": padding, "align_corners": align}
    for shape in ((37,), (24, 31), (26, 24, 25), (1, 1)) + (((2, 3), (5,)) if boundary != "reflect" else ()):
        image = drawn(*shape)
        expected = ndimage.spline_filter(image, order, mode=boundary)
        got = plain.spline_filter(image, axes=tuple(range(len(shape))), **options)
        np.testing.assert_allclose(got, expected, rtol=0, atol=min(recursive_filter(order, len(shape), E), 1e-12) * 2)
    expected = ndimage.spline_filter1d(drawn(2, 3, 24), order, 2, mode=boundary)
    np.testing.assert_allclose(plain.spline_filter(drawn(2, 3, 24), **options), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_the_spline_passes_through_the_pixels(plain, order):
    """Of lines of any length. A value sums weights that sum to 1 times coefficients, each of which is that wrong."""
    for n, (padding, align, _) in itertools.product(range(1, 9), BOUNDARIES[1::2] + BOUNDARIES[4:]):
        image, options = drawn(1, 1, n, n), {"padding_mode": padding, "align_corners": align}
        coefficients = plain.spline_filter(image, order=order, **options)
        grid = np.stack(np.meshgrid(*[np.arange(float(n))] * 2), axis=-1)[None]
        out = plain.grid_sample(coefficients, grid, mode=f"spline{order}", prefilter=False, coords="pixel", **options)
        np.testing.assert_allclose(out, image, rtol=0, atol=min(2 * recursive_filter(order, 2, E), 1e-12))


@pytest.mark.parametrize(("boundary", "padding"), [("grid-constant", "zeros"), ("nearest", "border")])
@pytest.mark.parametrize("order", ORDERS)
def test_what_scipy_pads_is_padded_alike(plain, order, boundary, padding):
    """The documentation's recipe for SciPy's own prefilter, in and around the image."""
    image, points = drawn(8, 9), np.random.default_rng(0).uniform(-12, 20, (2, 60))
    expected = ndimage.map_coordinates(image, points, order=order, mode=boundary, cval=0.5)
    words = {"mode": "edge"} if padding == "border" else {"constant_values": 0.5}
    coefficients = plain.spline_filter(np.pad(image, 12, **words), order=order, padding_mode=padding, axes=(0, 1))
    options = {"mode": f"spline{order}", "prefilter": False, "padding_mode": padding, "coords": "pixel"}
    fill = {"fill_value": 0.5} if padding == "zeros" else {}
    out = plain.grid_sample(coefficients[None], points.T[None, :, ::-1] + 12, **options, **fill)
    inside = np.all((points > -12) & (points < np.array([[19], [20]])), axis=0)
    np.testing.assert_allclose(out[0, 0][inside], expected[inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("padding", "align", "_"), BOUNDARIES)
@pytest.mark.parametrize("order", ORDERS)
def test_transpose(plain, order, padding, align, _):
    options = {"order": order, "padding_mode": padding, "align_corners": align, "axes": (0, 2)}
    for shape in ((1, 3, 2), (2, 1, 7), (30, 2, 5)):
        image, cotangent = drawn(*shape), drawn(*shape)[::-1]
        left = plain.spline_filter(image, **options) * cotangent
        right = image * plain.spline_filter_vjp(cotangent, **options)
        assert abs(left.sum() - right.sum()) <= 1e-13 * np.abs(left).sum()


@pytest.mark.parametrize("order", ORDERS)
def test_float32(plain, order):
    """Half precision and small integers too, whose coefficients are float32."""
    image = drawn(40, 30)
    for dtype, scale in (("float32", 1), ("float16", 1), ("uint8", 255), ("int16", 1000)):
        given = (image * scale).astype(dtype) if scale == 1 else np.abs(image * scale).astype(dtype)
        got = plain.spline_filter(given, order=order, axes=(0, 1))
        assert got.dtype == np.float32
        expected = ndimage.spline_filter(given.astype(float), order)
        np.testing.assert_allclose(got, expected, rtol=0, atol=scale * recursive_filter(order, 2, 2.0**-23))


def test_memory(plain):
    """Into what is given, be it the image itself; an image that is not written to stays."""
    image = drawn(3, 4, 5, 6)
    expected = plain.spline_filter(image, order=5)
    np.testing.assert_array_equal(image, drawn(3, 4, 5, 6))
    out, both = np.empty((3, 4, 5, 6)), np.zeros(image.size + 8)
    assert plain.spline_filter(image, order=5, out=out) is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="`out` must not overlap `image` in memory"):
        plain.spline_filter(both[: image.size].reshape(image.shape), out=both[8:].reshape(image.shape))
    with pytest.raises(ValueError, match="`out` must be C-contiguous"):
        plain.spline_filter(image, order=5, out=np.empty((3, 4, 6, 5)).swapaxes(2, 3))
    tensor = torch.tensor(image)
    assert plain.spline_filter(tensor, order=5, out=tensor) is tensor
    np.testing.assert_array_equal(tensor, expected)
    assert plain.spline_filter(image, order=5, out=image) is image
    np.testing.assert_array_equal(image, expected)
    strided = np.asfortranarray(drawn(3, 4, 5, 6))
    np.testing.assert_array_equal(plain.spline_filter(strided, order=5), expected)
    assert plain.spline_filter(np.empty((0, 3, 4))).shape == (0, 3, 4)
    assert plain.spline_filter(drawn(5).astype(np.int32), axes=0).dtype == np.float64


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"order": 1}, ValueError, "`order` must be one of 2, 3, 4, 5; got 1"),
        ({"order": "3"}, TypeError, "`order` must be 2, 3, 4, 5; got '3'"),
        (
            {"padding_mode": "mirror"},
            ValueError,
            "`padding_mode` must be one of 'zeros', .*'border_margin'; got 'mirror'",
        ),
        ({"axes": (1, -3)}, ValueError, r"`axes` must be different axes of an array that has 4; got \(1, -3\)"),
        ({"axes": 4}, ValueError, "`axes` must be different axes of an array that has 4; got 4"),
        ({"axes": 1.0}, TypeError, "`axes` must be an integer, or a sequence of them; got 1.0"),
        ({"out": np.empty((2, 3, 4))}, ValueError, "`out` must have the shape of `image`"),
        (
            {"out": np.empty((2, 3, 4, 5), np.float32)},
            TypeError,
            "`out` must have the dtype of the coefficients, float64",
        ),
    ],
)
def test_refused(plain, options, error, says):
    with pytest.raises(error, match=says):
        plain.spline_filter(drawn(2, 3, 4, 5), **options)
    with pytest.raises(ValueError, match="`axes` must be given for an array of 2 axes"):
        plain.spline_filter(drawn(3, 4))
    with pytest.raises(TypeError, match="`cotangent` must have the dtype of the coefficients, float32; got float16"):
        plain.spline_filter_vjp(drawn(1, 1, 4).astype(np.float16))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype):
    """In lanes, and what is left over: along the last axis, and along others of few and of many lines."""
    image = drawn(3, 5, 37, 41).astype(dtype)
    for axes, order in ((-1, 3), (-2, 3), ((1, 2, 3), 3)):
        got = stnkit.spline_filter(image, order=order, padding_mode="wrap", axes=axes)
        many = axes if isinstance(axes, tuple) else (axes,)
        expected = image.astype(float)
        for axis in many:
            expected = ndimage.spline_filter1d(expected, order, axis, mode="grid-wrap")
        np.testing.assert_allclose(got, expected, rtol=0, atol=recursive_filter(order, len(many), np.finfo(dtype).eps))


def test_jax(plain, wide):
    """Traced, mapped over, differentiated in both modes; the samplers' gradients go through."""
    image = drawn(2, 1, 4, 3)

    def filtered(x):
        return plain.spline_filter(x, order=5, padding_mode="border")

    expected = filtered(image)
    for function in (filtered, jax.jit(filtered)):
        np.testing.assert_array_equal(function(jnp.asarray(image)), expected)
    mapped = jax.vmap(lambda x: plain.spline_filter(x, order=5, padding_mode="border", axes=(-2, -1)), in_axes=3)
    lines = jnp.asarray(drawn(2, 4, 3, 5))
    np.testing.assert_array_equal(mapped(lines), jnp.moveaxis(plain.spline_filter(lines, order=5, padding_mode="border",
                                                                                  axes=(1, 2)), 3, 0))  # fmt: skip
    check_grads(filtered, (jnp.asarray(image),), order=2, modes=("fwd", "rev"))
    check_grads(lambda x: plain.spline_filter_vjp(x, order=2), (jnp.asarray(image),), order=1, modes=("fwd", "rev"))
    grid = jnp.asarray(drawn(2, 2, 2, 2) * 0.7)

    def sampled(x):
        options = {"mode": "spline5", "prefilter": False, "padding_mode": "border"}
        return (plain.grid_sample(jnp.asarray(filtered(x)), grid, **options) ** 2).sum()

    check_grads(sampled, (jnp.asarray(image),), order=2, modes=("rev",))
    assert filtered(jnp.asarray(image, jnp.bfloat16)).dtype == jnp.float32
    with pytest.raises(TypeError, match="`out` cannot be written to"):
        plain.spline_filter(jnp.asarray(image), out=jnp.asarray(image))
