"""The conventions that derivatives and ties follow, one test each, by name; uncompiled."""

import numpy as np
import pytest

SQUARES = np.array([[[0.0, 1.0, 4.0, 9.0, 16.0]]])


def value(package, px, image=SQUARES, **options):
    grid = np.array(px, float).reshape(1, -1, 1)
    return package.grid_sample(image, grid, **{"coords": "pixel"} | options)[0, 0].tolist()


def slopes(package, px, image=SQUARES, **options):
    grid = np.array(px, float).reshape(1, -1, 1)
    cotangent = np.ones((1, 1, grid.size))
    _, d_grid = package.grid_sample_vjp(cotangent, image, grid, wrt="grid", **{"coords": "pixel"} | options)
    return d_grid.ravel().tolist()


def test_slope_at_a_knot_is_the_right_hand_one(plain):
    assert slopes(plain, [0, 1, 2, 3, 4]) == [1, 3, 5, 7, -16]
    assert slopes(plain, [0, 1, 2, 3, 4], padding_mode="wrap") == [1, 3, 5, 7, -16]


def test_border_has_no_slope_at_the_edge_and_beyond(plain):
    assert slopes(plain, [-2, 0, 0.5, 3.5, 4, 9], padding_mode="border") == [0, 0, 1, 7, 0, 0]


def test_bicubic_border_keeps_its_slope_at_the_edge(plain):
    """It clamps each tap, not the coordinate: as in torch, 0.75 at the first pixel of these squares."""
    assert slopes(plain, [0], padding_mode="border", mode="bicubic") == [0.75]


def test_reflection_turns_the_slope_around(plain):
    options = {"padding_mode": "reflection"}
    assert slopes(plain, [-0.5, -1.5, 4.5, 5.5], align_corners=True, **options) == [-1, -3, -7, -5]
    assert slopes(plain, [0, 4, 8], align_corners=True, **options) == [0, 0, 0]
    assert slopes(plain, [-0.5, -0.75, -1.5, -2, 4.25, 5.5], **options) == [0, 0, -1, -3, 0, -7]


def test_reflection_is_about_centres_or_about_edges(plain):
    options = {"padding_mode": "reflection"}
    assert value(plain, [-1, -2, 5, 9], align_corners=True, **options) == [1, 4, 9, 1]
    assert value(plain, [-1, -2, 5, 9, -0.5], **options) == [0, 1, 16, 0, 0]


def test_zeros_blends_at_the_rim(plain):
    assert value(plain, [-0.5, -1, 4.25, 5], fill_value=-8) == [-4, -8, 10, -8]


def test_nearest_rounds_half_to_even_and_has_no_slope(plain):
    assert value(plain, [0.5, 1.5, 2.5, 3.5, -0.5, 4.5], mode="nearest") == [0, 4, 4, 16, 0, 16]
    assert slopes(plain, [0.5, 1, 2.25], mode="nearest") == [0, 0, 0]
    assert value(plain, [4.5, 4.75, -0.5, -0.75], mode="nearest", padding_mode="wrap") == [16, 0, 0, 16]


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection", "wrap"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_single_pixel_between_aligned_corners_is_everywhere(plain, mode, padding):
    """n = 1 with align_corners: every finite normalised coordinate is pixel 0, and none has a slope."""
    options = {"mode": mode, "padding_mode": padding, "align_corners": True, "coords": "normalized"}
    image = np.array([[[3.0]]])
    assert value(plain, [-30, -1, 0, 0.3, 1e300], image, **options) == [3] * 5
    assert slopes(plain, [-30, -1, 0, 0.3, 1e300], image, **options) == [0] * 5


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection", "wrap"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_what_is_not_finite_reads_the_fill_value(plain, mode, padding):
    options = {"mode": mode, "padding_mode": padding, "fill_value": -8.0}
    assert value(plain, [np.nan, np.inf, -np.inf], **options) == [-8] * 3
    assert slopes(plain, [np.nan, np.inf, -np.inf], **options) == [0] * 3


@pytest.mark.parametrize("image_dtype", ["float32", "float64"])
@pytest.mark.parametrize("grid_dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_dtypes_are_kept(plain, mode, image_dtype, grid_dtype):
    """Out and d_image have the image's dtype, d_grid and d_theta the grid's; arithmetic is the wider of the two."""
    random = np.random.default_rng(0)
    image = random.uniform(-1, 1, (2, 3, 4, 5)).astype(image_dtype)
    grid = random.uniform(-1, 1, (2, 3, 3, 2)).astype(grid_dtype)
    theta = random.uniform(-1, 1, (2, 2, 3)).astype(grid_dtype)
    wide = np.result_type(image_dtype, grid_dtype)
    out = plain.grid_sample(image, grid, mode=mode)
    assert out.dtype == image_dtype
    exact = plain.grid_sample(image.astype(wide), grid.astype(wide), mode=mode)
    np.testing.assert_array_equal(out, exact.astype(image_dtype))
    d_image, d_grid = plain.grid_sample_vjp(out, image, grid, mode=mode)
    assert (d_image.dtype, d_grid.dtype) == (image_dtype, grid_dtype)
    exact = plain.grid_sample_vjp(out.astype(wide), image.astype(wide), grid.astype(wide), mode=mode)
    np.testing.assert_array_equal(d_grid, exact[1].astype(grid_dtype))
    # Each of at most 9 * 16 additions to a pixel is rounded to the image's dtype; terms are below 2.
    limit = 144 * 144 * 2 * np.finfo(image_dtype).eps if wide != image_dtype else 0
    np.testing.assert_allclose(d_image, exact[0], rtol=0, atol=limit)
    out = plain.affine_sample(image, theta, mode=mode)
    d_image, d_theta = plain.affine_sample_vjp(out, image, theta, mode=mode)
    assert (out.dtype, d_image.dtype, d_theta.dtype) == (image_dtype, image_dtype, grid_dtype)
    assert plain.affine_grid(theta, (3, 3)).dtype == grid_dtype
    assert plain.affine_grid_vjp(grid).dtype == grid_dtype


def test_wrt_leaves_out(plain):
    image, grid, out = np.ones((1, 1, 3, 3)), np.zeros((1, 2, 2, 2)), np.ones((1, 1, 2, 2))
    both = plain.grid_sample_vjp(out, image, grid)
    for wrt in ("image", "grid", ["image"], ("grid",), ("grid", "image"), ()):
        got = plain.grid_sample_vjp(out, image, grid, wrt=wrt)
        for name, bar, expected in zip(("image", "grid"), got, both, strict=True):
            if name in ([wrt] if isinstance(wrt, str) else wrt):
                np.testing.assert_array_equal(bar, expected)
            else:
                assert bar is None


def test_affine_size_is_that_of_the_image_by_default(plain):
    image, theta = np.arange(24.0).reshape(1, 2, 3, 4), np.eye(2, 3)[None]
    np.testing.assert_array_equal(plain.affine_sample(image, theta), plain.affine_sample(image, theta, (3, 4)))
    assert plain.affine_sample(image, theta, [2, 5]).shape == (1, 2, 2, 5)
