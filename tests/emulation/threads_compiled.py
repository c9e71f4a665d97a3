"""What a GPU's threads do, compiled for a CPU, one thread after another, against the oracles.

Uncompiled, as `test_cuda_backend.py` runs them, they show no fault of types, of memory, or of what compilers make of a
leaf. Here one location is staged at a time, as on a GPU, so this process has no loops of a CPU's own, which stage more.
Bounds: some hundred numbers of float64 below 16 are added and multiplied, each rounded to within 2**-53 of itself.
"""

import bounds
import numpy as np
import oracles
import pytest
from cases import margin, unit
from emulation.pretended import lent, pretended, returned

import stnkit
import stnkit.kernels.cuda.runtime  # of the kernels' room for GPUs
from stnkit.kernels.compiler import jit
from stnkit.kernels.cuda import thread

BOUND = 16 * 512 * 2.0**-53
RANDOM = np.random.default_rng(0)
EXTENT, SIZE = {1: (6,), 2: (4, 5), 3: (2, 3, 4)}, {1: (5,), 2: (3, 4), 3: (2, 2, 3)}


@pytest.fixture(autouse=True)
def _one_location_at_a_time(monkeypatch):
    """Lay stages out as on a GPU, while instructions are a CPU's."""
    for room in (jit, thread):
        monkeypatch.setattr(room, "is_gpu", lambda context: True)


def run(function, *arguments, asked=None, **options):
    """Call a function on a pretended GPU, and return what it launched."""
    record = []
    with pretended(record):
        results = returned(
            function(*(argument if argument is asked else lent(argument) for argument in arguments), **options)
        )
    return results, {name for name, *_ in record}


def picture(ndim, channels, last=False, spatial=None):
    spatial = EXTENT[ndim] if spatial is None else spatial
    return RANDOM.uniform(-1, 1, (2, *spatial, channels) if last else (2, channels, *spatial))


def places(ndim):
    """Return a grid that reaches beyond the rim, away from knots."""
    pixels = [margin(RANDOM, (2, *SIZE[ndim]), -1, n + 1) for n in EXTENT[ndim][::-1]]
    return unit(np.stack(pixels, axis=-1), EXTENT[ndim], False, "normalized")


def close(result, expected):
    np.testing.assert_allclose(result, expected, rtol=0, atol=BOUND)


@pytest.mark.parametrize(
    ("ndim", "mode", "padding", "last"),
    [(2, "bilinear", "zeros", True), (1, "bicubic", "wrap", False), (3, "bicubic", "reflection", True)],
)
def test_forward(ndim, mode, padding, last):
    image, grid = picture(ndim, 4, last), places(ndim)
    options = {
        "mode": mode,
        "padding_mode": padding,
        "data_format": "channels_last" if last else "channels_first",
        "fill_value": [0.5, -0.25, 1.0, 0.0],
    }
    out, told = run(stnkit.grid_sample, image, grid, **options)
    assert "sample" in told
    close(out, oracles.grid_sample(image, grid, **options))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_bytes(mode):
    """Rounded half to even, and clamped; some hundred numbers below 256 are added and multiplied in float32."""
    image = RANDOM.integers(0, 256, (2, 4, 5, 16)).astype(np.uint8)
    grid = places(2).astype(np.float32)
    out, _ = run(stnkit.grid_sample, image, grid, mode=mode, data_format="channels_last")
    expected = oracles.grid_sample(image.astype(float), grid.astype(float), mode=mode, data_format="channels_last")
    assert np.abs(out - np.clip(expected, 0, 255)).max() <= 0.5 + 256 * 512 * 2.0**-24


@pytest.mark.parametrize("deterministic", [False, True])
def test_backward_of_affine_maps(deterministic):
    image, cotangent = picture(2, 3), picture(2, 3, spatial=SIZE[2])
    theta = RANDOM.uniform(-1, 1, (2, 2, 3))
    (d_image, d_theta), told = run(stnkit.affine_sample_vjp, cotangent, image, theta, deterministic=deterministic)
    assert {"sample_vjp", "theta_sums"} <= told
    assert ({"gather", "scatter_rest_binned"} <= told) == deterministic
    grid = oracles.affine_grid(theta, SIZE[2], False)
    expected, d_grid = oracles.grid_sample_vjp(cotangent, image, grid)
    close(d_image, expected)
    close(d_theta, oracles.affine_grid_vjp(d_grid, False))


def test_sums_in_bins_of_a_cotangent_with_zeros():
    """What represents -0 is not taken for the largest number; 12 products below 1 are added in float32."""
    image, cotangent, grid = picture(2, 3), picture(2, 3, spatial=SIZE[2]), places(2)
    cotangent[:, :, 0, :2] = 0.0, -0.0
    arrays = [array.astype(np.float32) for array in (cotangent, image, grid)]
    (d_image, _), told = run(stnkit.grid_sample_vjp, *arrays, deterministic=True)
    assert "scatter_binned" in told
    expected, _ = oracles.grid_sample_vjp(*(array.astype(float) for array in arrays))
    np.testing.assert_allclose(d_image, expected, rtol=0, atol=16 * 12 * 2.0**-24)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_second_order(mode):
    """Along the image alone the derivative of a backward pass is known: it is linear in the image."""
    image, image_dot, grid = picture(3, 2), picture(3, 2), places(3)
    cotangent, options = picture(3, 2, spatial=SIZE[3]), {"mode": mode, "padding_mode": "border"}
    bars, told = run(stnkit.grid_sample_double_vjp, image_dot, None, cotangent, image, grid, **options)
    assert "sample_double_vjp" in told
    expected = (
        oracles.grid_sample(image_dot, grid, **options),
        np.zeros(image.shape),
        oracles.grid_sample_vjp(cotangent, image_dot, grid, **options)[1],
    )
    for bar, wanted in zip(bars, expected, strict=True):
        close(bar, wanted)


def test_tangents_of_thin_plate_splines():
    """Maps that move nothing: the tangent is that of the image; a spline's grid is the oracle's."""
    points = np.array([[-1, -1], [1, -0.9], [-0.8, 1], [0.9, 0.7], [0.1, 0.2]])
    theta, image, image_dot = points + RANDOM.uniform(-0.2, 0.2, (2, 5, 2)), picture(2, 2), picture(2, 2)
    grid = np.einsum("...k,nkd->n...d", oracles.thin_plate_spline_table(points, SIZE[2], False), theta)
    given = image, theta, image_dot, np.zeros_like(theta), points
    (out, out_dot), told = run(stnkit.thin_plate_spline_sample_jvp, *given, size=SIZE[2], asked=points)
    assert {"sample_jvp", "contraction"} <= told
    np.testing.assert_allclose(out, oracles.grid_sample(image, grid), rtol=0, atol=1e-9)  # which a system promises
    np.testing.assert_allclose(out_dot, oracles.grid_sample(image_dot, grid), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("order", "dtype"), [(3, "float64"), (5, "float32")])  # of all there is a GPU's machine code
def test_filters_of_splines(order, dtype):
    """Along axes where neighbours lie apart, and side by side; some pixels read no edge, and some lines are short."""
    image = RANDOM.uniform(-1, 1, (2, 110, 3, 101)).astype(dtype)
    for function in (stnkit.spline_filter, stnkit.spline_filter_vjp):
        for options in ({"padding_mode": "wrap"}, {"align_corners": True, "padding_mode": "reflection"}):
            out, told = run(function, image, order=order, axes=(1, 2, 3), **options)
            assert told == {"spline_filter"}
            expected = function(image.astype(float), order=order, axes=(1, 2, 3), **options)
            twice = function is stnkit.spline_filter_vjp
            bound = bounds.convolved_filter(order, 3, float(np.finfo(dtype).eps), twice)
            bound += bounds.recursive_filter(order, 3, 2.0**-52) * (8 if twice else 1)
            np.testing.assert_allclose(out, expected, rtol=0, atol=bound)
