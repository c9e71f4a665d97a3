"""Projective maps alone: they extend the affine ones, have a horizon, and are those of OpenCV."""

import cv2
import maps
import matplotlib
import numpy as np
import oracles
import pytest
from calls import PADDINGS
from covering import every_two_of
from PIL import Image
from samplers import MODES
from scipy import ndimage

import stnkit


def extended(theta):
    """Return affine maps as projective ones."""
    last = np.eye(theta.shape[-1])[-1:]
    return np.concatenate([theta, np.broadcast_to(last, (*theta.shape[:-2], *last.shape))], axis=-2).astype(theta.dtype)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_affine_maps_are_among_them(plain, d, mode, padding):
    """Where the last row of theta is (0, ..., 0, 1), the bits are those of the affine map, of derivatives too."""
    random = np.random.default_rng(d)
    for align, dtype in ((False, "float32"), (True, "float64")):
        theta, dots = random.uniform(-1, 1, (2, 2, d, d + 1)).astype(dtype)
        image = random.uniform(-1, 1, (2, 2, *(3, 4, 5)[-d:])).astype(dtype)
        options = {"mode": mode, "padding_mode": padding, "align_corners": align}
        grid, size = plain.affine_grid(theta, (2, 3, 4)[-d:], align_corners=align), (2, 3, 4)[-d:]
        np.testing.assert_array_equal(plain.projective_grid(extended(theta), size, align_corners=align), grid)
        out = plain.affine_sample(image, theta, size, **options)
        np.testing.assert_array_equal(plain.projective_sample(image, extended(theta), size, **options), out)
        cotangent = random.uniform(-1, 1, out.shape).astype(dtype)
        d_image, d_theta = plain.affine_sample_vjp(cotangent, image, theta, **options)
        found = plain.projective_sample_vjp(cotangent, image, extended(theta), **options)
        np.testing.assert_array_equal(found[0], d_image)
        np.testing.assert_array_equal(found[1][:, :d], d_theta)
        moved = extended(dots)
        moved[:, d] = 0
        _, out_dot = plain.projective_sample_jvp(image, extended(theta), None, moved, size, **options)
        np.testing.assert_array_equal(out_dot, plain.affine_sample_jvp(image, theta, None, dots, size, **options)[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_grid(plain, d, align, dtype):
    """With e the epsilon, d + 1 products of numbers rounded twice are off by r = 3 (d + 1) e sum |theta| at most.

    So a row through the last one, w, is off by (1 + |u|) r / w and what the division rounds.
    """
    random, e = np.random.default_rng(d), np.finfo(dtype).eps
    for size in ((1, 2, 3), (2, 1, 5), (4, 3, 2)):
        theta = random.uniform(-1, 1, (3, d + 1, d + 1)).astype(dtype)
        theta[:, d] = np.append(random.uniform(-0.9, 0.9, d), 1.0)
        grid = plain.projective_grid(theta, size[-d:], align_corners=align)
        assert grid.dtype == dtype
        exact = oracles.projective_grid(theta, size[-d:], align)
        w = oracles.affine_grid(theta, size[-d:], align)[..., -1:]
        limit = 3 * (d + 1) * e * (d + 1) * (1 + np.abs(exact)) / np.abs(w) + e * np.abs(exact)
        ahead = w[..., 0] > 2 * limit.max(where=np.isfinite(limit), initial=0) * np.abs(w[..., 0])
        assert (np.abs(grid - exact)[ahead] <= limit[ahead]).all()
        assert np.isnan(grid[w[..., 0] < -limit.max(where=np.isfinite(limit), initial=0)]).all()


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_the_horizon(plain, d, mode, padding):
    """At it and behind it the fill value is read, and nothing is passed; before it nothing changes."""
    random = np.random.default_rng(d)
    size = (3, 3, 5)[-d:]
    theta = random.uniform(-1, 1, (2, d + 1, d + 1))
    theta[:, :d] *= 0.3  # so that some of what is ahead lies in the image
    theta[:, d] = [1.0] + [0.0] * d  # w = x: 0 in the middle
    image = random.uniform(-1, 1, (2, 2, *(3, 4, 5)[-d:]))
    options = {"mode": mode, "padding_mode": padding, "fill_value": 0.25}
    grid = plain.projective_grid(theta, size)
    behind = np.broadcast_to(np.arange(5) <= 2, size)
    assert np.isnan(grid[:, behind]).all()
    assert np.isfinite(grid[:, ~behind]).all()
    out = plain.projective_sample(image, theta, size, **options)
    assert (out[..., behind] == 0.25).all()
    assert (out[..., ~behind] != 0.25).any()
    cotangent = random.uniform(-1, 1, out.shape)
    bars = plain.projective_sample_vjp(cotangent, image, theta, **options)
    ahead = plain.projective_sample_vjp(np.where(behind, 0, cotangent), image, theta, **options)
    alone = plain.projective_sample_vjp(np.where(behind, cotangent, 0), image, theta, **options)
    for bar, expected, nothing in zip(bars, ahead, alone, strict=True):
        assert np.isfinite(bar).all()
        np.testing.assert_array_equal(bar, expected)
        assert not nothing.any()
    assert mode == "nearest" or bars[1].any()
    dots = random.uniform(-1, 1, theta.shape)
    out_dot = plain.projective_sample_jvp(image, theta, image, dots, size, **options)[1]
    assert not out_dot[..., behind].any()
    assert np.isfinite(out_dot).all()
    grid_dot = plain.projective_grid_jvp(theta, dots, size)[1]
    assert not grid_dot[:, behind].any()
    assert grid_dot[:, ~behind].all()
    grid_bar = random.uniform(-1, 1, grid.shape)
    pulled = plain.projective_grid_vjp(grid_bar, theta)
    np.testing.assert_array_equal(pulled, plain.projective_grid_vjp(np.where(behind[..., None], 0, grid_bar), theta))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_close_to_the_horizon(plain, dtype):
    """A coordinate that overflows reads the fill value, and one that is huge what the padding says."""
    tiny = np.finfo(dtype).tiny
    image = np.arange(1.0, 7.0).reshape(1, 1, 2, 3).astype(dtype)
    theta = np.eye(3, dtype=dtype)[None].copy()
    theta[0, 2, 2] = tiny
    theta[0, 0, 0] = theta[0, 1, 1] = 8.0
    out = plain.projective_sample(image, theta, padding_mode="border", fill_value=9.0)
    assert (out == 9).all()
    d_image, d_theta = plain.projective_sample_vjp(np.ones_like(out), image, theta, padding_mode="border")
    assert not d_image.any()
    assert not d_theta.any()
    theta[0, 2, 2] = 1e-20
    out = plain.projective_sample(image, theta, padding_mode="border", fill_value=9.0)
    np.testing.assert_array_equal(out[0, 0, :, [0, 2]].T, image[0, 0, :, [0, 2]].T)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tangent_that_overflows_passes_nothing_where_the_image_does_not_change(plain, dtype, padding):
    """Far outside, where u = r / w is finite and u' is not: an axis that has no slope there adds exactly 0."""
    image = np.arange(1.0, 7.0).reshape(1, 1, 2, 3).astype(dtype)
    theta = np.eye(3, dtype=dtype)[None].copy()
    theta[0, 2, 2] = np.sqrt(np.finfo(dtype).tiny)
    theta[0, :2, 2] = 8.0
    options = {"padding_mode": padding}
    d_image, d_theta = np.ones_like(image), np.zeros_like(theta)
    d_theta[0, 2, 2] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        out, out_dot = plain.projective_sample_jvp(image, theta, d_image, d_theta, **options)
        assert not np.isfinite(plain.projective_grid_jvp(theta, d_theta, (2, 3))[1]).any()
    read = 6 if padding == "border" else 0
    assert (out == read).all()
    assert (out_dot == (1 if padding == "border" else 0)).all()  # what d_image has there


def test_a_scaled_theta_is_the_same_map(plain):
    given = maps.draw("projective", 2, "bilinear", "zeros", False)
    for scale in (2.0, 0.25):
        scaled = given._replace(theta=given.theta * scale)
        np.testing.assert_array_equal(maps.sample(plain, scaled), maps.sample(plain, given))
    assert np.isnan(maps.grid(plain, given._replace(theta=-given.theta))).all()


MATRICES = [
    np.array([[0.8, 0.2, 0.05], [-0.15, 0.9, -0.1], [0.2, -0.25, 1.0]]),
    np.array([[1.2, -0.3, 0.1], [0.4, 1.1, 0.2], [-0.3, 0.1, 0.9]]),
]


@pytest.mark.parametrize("matrix", MATRICES)
def test_opencv(plain, matrix):
    """A photograph under OpenCV's `warpPerspective`, which computes locations and values in float32.

    With e = 2**-23, a row and the last row w of its pixel matrix round less than 8 times each, by e / 2 of the sum
    |m| of their terms' magnitudes: their quotient is off by 4 e (|m| + |u| |m_w|) / |w| pixels. A value changes by no
    more than that times the largest step to a neighbour of the pixels around, on each axis, and the blend rounds 8
    times more.
    """
    with Image.open(f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg") as photograph:
        image = np.asarray(photograph.convert("L"), np.float32)
    (height, width), size, e = image.shape, (30, 40), 2.0**-23

    def unit(h, w):
        return np.array([[2 / w, 0, 1 / w - 1], [0, 2 / h, 1 / h - 1], [0, 0, 1]])

    pixels = np.linalg.inv(unit(height, width)) @ matrix @ unit(*size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpPerspective(image, pixels, size[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT)
    with np.errstate(all="ignore"):
        got = plain.projective_sample(image[None], matrix, size)[0]
    place = np.stack([*np.meshgrid(np.arange(40.0), np.arange(30.0)), np.ones(size)], axis=-1)
    rows, terms = place @ pixels.T, place @ np.abs(pixels).T
    at = rows[..., :2] / rows[..., 2:]
    delta = 4 * e * (terms[..., :2] + np.abs(at) * terms[..., 2:]) / rows[..., 2:]
    padded = np.pad(image, 4)
    near = [np.clip(np.rint(at[..., k]).astype(int) + 4, 0, n + 7) for k, n in ((1, height), (0, width))]
    limit = 4 * e * 255
    for axis, along in ((1, 0), (0, 1)):
        steps = ndimage.maximum_filter(np.abs(np.diff(padded, axis=axis, append=0)), 5)
        limit = limit + steps[near[0], near[1]] * delta[..., along]
    assert (np.abs(got - expected) <= limit).all()
    assert got.any()
    assert limit.max() < 1  # of 255
    byte = image.astype(np.uint8)
    expected = cv2.warpPerspective(byte, pixels, size[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT)
    with np.errstate(all="ignore"):
        got = plain.projective_sample(byte[None], matrix, size)[0]
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


IMAGE, THETA = np.ones((2, 3, 4, 5)), np.ones((2, 3, 3))
REFUSED = [
    (ValueError, lambda: stnkit.projective_grid(np.ones((2, 2, 3)), (4, 5)), ["`theta`", "(N, 3, 3)", "(2, 2, 3)"]),
    (ValueError, lambda: stnkit.projective_grid(np.ones((5, 5)), (4, 5)), ["`theta`", "(N, 4, 4)", "(5, 5)"]),
    (ValueError, lambda: stnkit.projective_grid(np.ones((1, 1)), (4,)), ["`theta`", "(N, 2, 2)", "(1, 1)"]),
    (ValueError, lambda: stnkit.projective_sample(IMAGE[0, 0], THETA), ["`image`", "(N, C, H, W)", "(4, 5)"]),
    (ValueError, lambda: stnkit.projective_sample(np.ones((3, 3, 4, 5)), THETA), ["`theta`", "batch", "3 and 2"]),
    (ValueError, lambda: stnkit.projective_grid(THETA, (4, 5, 6)), ["`size`", "2 integers", "(4, 5, 6)"]),
    (ValueError, lambda: stnkit.projective_sample_vjp(IMAGE[:, :2], IMAGE, THETA), ["`cotangent`", "(2, 3, 4, 5)"]),
    (ValueError, lambda: stnkit.projective_grid_vjp(np.ones((1, 4, 5, 2)), THETA), ["`cotangent`", "(2, 4, 5, 2)"]),
    (ValueError, lambda: stnkit.projective_grid_vjp(np.ones((2, 4, 2)), THETA), ["`cotangent`", "(2, 4, 2)"]),
    (ValueError, lambda: stnkit.projective_grid_jvp(THETA, THETA[0], (4, 5)), ["`d_theta`", "(2, 3, 3)", "(3, 3)"]),
    (TypeError, lambda: stnkit.projective_grid(THETA.astype(int), (4, 5)), ["`theta`", "float32", "int64"]),
    (TypeError, lambda: stnkit.projective_grid_vjp(np.ones((2, 4, 5, 2), "f4"), THETA), ["`cotangent`", "float64"]),
    (TypeError, lambda: stnkit.projective_sample_jvp(IMAGE, THETA, None, THETA.astype("f4")), ["`d_theta`", "float64"]),
    (TypeError, lambda: stnkit.projective_grid(THETA, (4, 5), align_corners=1), ["`align_corners`", "True or False"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "call", "parts"), REFUSED)
def test_refused(kind, call, parts):
    with pytest.raises(kind) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
