"""Values against SciPy, where conventions agree.

`map_coordinates` of order 1 has the same linear kernel, in array order, pixel units and float64: zeros is
`grid-constant`, border is `nearest`, wrap is `grid-wrap`, and reflection is `mirror` (align_corners) or
`reflect`. Order 0 differs at ties alone, which it rounds up, so coordinates stay away from them.
SciPy's orders 2 to 5 are splines, another kernel than Keys' convolution.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samplers import SPLINES
from scipy import ndimage
from strategies import numbers, off_knots, shapes

BOUNDARIES = [
    ("zeros", False, "grid-constant"),
    ("border", False, "nearest"),
    ("reflection", True, "mirror"),
    ("reflection", False, "reflect"),
    ("wrap", False, "grid-wrap"),
]


@pytest.mark.parametrize(("order", "mode"), [(0, "nearest"), (1, "bilinear")])
@pytest.mark.parametrize(("padding", "align", "boundary"), BOUNDARIES)
@given(data=st.data())
def test_map_coordinates(plain, data, order, mode, padding, align, boundary):
    extent = data.draw(shapes(2))
    image, px = data.draw(numbers(extent)), data.draw(off_knots((5,), extent))
    out = plain.grid_sample(
        image[None],
        px[None],
        mode=mode,
        padding_mode=padding,
        align_corners=align,
        coords="pixel",
        fill_value=0.5,
    )
    expected = ndimage.map_coordinates(image, px.T[::-1], order=order, mode=boundary, cval=0.5)
    # Folding rounds a coordinate, below 20 pixels, a few times on both sides; two slopes of 2 follow.
    limit = 0 if order == 0 else 4 * 8 * 20 * np.finfo(float).eps
    np.testing.assert_allclose(out[0, 0], expected, rtol=0, atol=limit)


@given(data=st.data())
def test_affine_transform(plain, data):
    """SciPy's matrix acts on pixels in array order, theta on normalised coordinates in the order x, y."""
    extent, size = data.draw(shapes(2, 2)), data.draw(shapes(2, 2))
    image, theta = data.draw(numbers(extent)), 2 * data.draw(numbers((2, 3)))
    out = plain.affine_sample(image[None], theta, size, align_corners=True)
    to_unit = np.diag([2 / (size[1] - 1), 2 / (size[0] - 1), 1.0])
    to_unit[:2, 2] = -1
    to_pixel = np.diag([(extent[1] - 1) / 2, (extent[0] - 1) / 2, 1.0])
    to_pixel[:2, 2] = np.diag(to_pixel)[:2]
    matrix = (to_pixel @ np.vstack([theta, [0, 0, 1]]) @ to_unit)[[1, 0]][:, [1, 0, 2]]
    expected = ndimage.affine_transform(
        image, matrix[:, :2], matrix[:, 2], output_shape=size, order=1, mode="grid-constant"
    )
    # Three 3 x 3 products of numbers whose sums stay below 100: some 30 roundings, times two slopes of 2.
    np.testing.assert_allclose(out[0], expected, rtol=0, atol=4 * 30 * 100 * np.finfo(float).eps)


@pytest.mark.parametrize("padding", ["zeros", "wrap"])
def test_keys_convolution(plain, padding):
    """At a constant fraction, cubic convolution is a correlation with four weights."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 1, 17))
    t, a = 0.375, -0.75
    far = [a * (s**3 - 5 * s**2 + 8 * s - 4) for s in (1 + t, 2 - t)]
    near = [(a + 2) * s**3 - (a + 3) * s**2 + 1 for s in (t, 1 - t)]
    boundary = {"zeros": "constant", "wrap": "wrap"}[padding]
    expected = ndimage.correlate1d(image, [0, far[0], *near, far[1]], mode=boundary)
    grid = (np.arange(17) + t)[None, :, None]
    out = plain.grid_sample(image, grid, mode="bicubic", padding_mode=padding, coords="pixel")
    np.testing.assert_allclose(out, expected, rtol=0, atol=100 * np.finfo(float).eps)


@pytest.mark.parametrize(("padding", "align", "boundary"), BOUNDARIES)
@pytest.mark.parametrize("mode", SPLINES)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_splines_of_coefficients(plain, d, mode, padding, align, boundary):
    """Inside, at the rim and far outside; SciPy brings coordinates to the rim before it reads what `border` reads.

    Both sum at most 216 products of weights that sum to 1, each of which has seen some 20 roundings.
    """
    random = np.random.default_rng(d)
    extent = (9, 8, 7)[:d]
    n = np.array(extent[::-1])
    image = random.uniform(-1, 1, extent)
    points = random.uniform(-2 * n, 3 * n, (60, d))
    points[:20] = random.integers(-2, n + 2, (20, d)) + random.choice([0.0, 0.5], (20, d))
    points[20:30] = random.uniform(0, n - 1, (10, d))
    points = np.clip(points, 0, n - 1) if padding == "border" else points
    options = {"mode": mode, "prefilter": False, "padding_mode": padding, "align_corners": align, "coords": "pixel"}
    fill = {"fill_value": 0.7} if padding == "zeros" else {}
    grid = points.reshape(1, *[1] * (d - 1), -1, d)
    out = plain.grid_sample(image[None, None], grid, **options, **fill)
    expected = ndimage.map_coordinates(
        image, points.T[::-1], order=int(mode[-1]), mode=boundary, cval=0.7, prefilter=False
    )
    np.testing.assert_allclose(out.ravel(), expected, rtol=0, atol=(216 + 20 * d) * np.finfo(float).eps)
