"""Forward mode: the tangent is the adjoint of the cotangents, in every specification, and zero where they are."""

import math

import numpy as np
import pytest
import samplers
import torch
from calls import PADDINGS
from covering import every_two_of
from samplers import EACH, MODES, SOURCES
from strategies import LAYOUTS

import stnkit


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a.astype(float) * b.astype(float)).ravel())


def jvp(package, op, given, image_dot, source_dot, **more):
    call = samplers.of(package, op, "_jvp")
    return call(given.image, given.source, image_dot, source_dot, **samplers.sized(op, given), **given.options, **more)


@every_two_of(op=SOURCES, d_mode=EACH, padding=PADDINGS)
def test_adjoint(plain, op, d, mode, padding):
    """<J (v, w), c> = <v, d_image> + <w, d_source>: both sides sum the same terms, of the same weights.

    A term takes part in fewer than 900 roundings: a pixel is read by at most 12 locations of 64 taps, and the
    products, chains and other sums take less than 100. Each is wrong by e / 2 of the sum of the magnitudes of
    all terms, so the two differ by 900 e < 2e-13 / 2 of it at most.
    """
    for align in (False, True):
        given = samplers.draw(op, d, mode, padding, align)
        out, out_dot = jvp(plain, op, given, given.image_dot, given.source_dot)
        sample = samplers.of(plain, op)
        expected = sample(given.image, given.source, **samplers.sized(op, given), **given.options)
        np.testing.assert_array_equal(out, expected)
        d_image, d_source = samplers.of(plain, op, "_vjp")(given.cotangent, given.image, given.source, **given.options)
        left, right = dot(out_dot, given.cotangent), dot(given.image_dot, d_image) + dot(given.source_dot, d_source)
        limit = 1e-13 * samplers.magnitude(given) * np.abs(given.cotangent).sum()
        assert abs(left - right) <= limit, (align, left, right)
        alone = [jvp(plain, op, given, *dots)[1] for dots in ((given.image_dot, None), (None, given.source_dot))]
        e = np.finfo(float).eps  # the two parts of a tangent are summed separately, and then rounded once
        np.testing.assert_allclose(out_dot, alone[0] + alone[1], rtol=e, atol=0)
        zeros = np.zeros_like(given.image), np.zeros_like(given.source)
        np.testing.assert_array_equal(jvp(plain, op, given, zeros[0], given.source_dot)[1], alone[1])
        assert not jvp(plain, op, given, None, None)[1].any()
        assert not jvp(plain, op, given, *zeros)[1].any()


@pytest.mark.parametrize("shared", ["image", "source"])
@pytest.mark.parametrize("op", SOURCES)
def test_shared_batches(plain, op, shared):
    """An array that several items share has one tangent, shared as it is."""
    given = samplers.draw(op, 2, "bicubic", "zeros", False, batch=3)
    names = (shared, f"{shared}_dot")
    given = given._replace(**{name: getattr(given, name)[:1] for name in names})
    copies = given._replace(**{name: np.repeat(getattr(given, name), 3, axis=0) for name in names})
    for a, b in zip(
        jvp(plain, op, given, given.image_dot, given.source_dot),
        jvp(plain, op, copies, copies.image_dot, copies.source_dot),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("op", SOURCES)
def test_without_a_batch_axis_and_channels_last(plain, op):
    given = samplers.draw(op, 2, "bilinear", "zeros", False)
    whole = jvp(plain, op, given, given.image_dot, given.source_dot)
    item = samplers.Given(*(array[0] for array in given[:-1]), given.options)
    sizes = samplers.sized(op, given)
    got = samplers.of(plain, op, "_jvp")(*item[:2], *item[3:5], **sizes, **given.options)
    for a, b in zip(got, whole, strict=True):
        np.testing.assert_array_equal(a, b[0])
    image, image_dot = (np.moveaxis(array, 1, -1) for array in (given.image, given.image_dot))
    last = given._replace(image=image, image_dot=np.ascontiguousarray(image_dot))
    got = samplers.of(plain, op, "_jvp")(*last[:2], *last[3:5], **sizes, **given.options, data_format="channels_last")
    for a, b in zip(got, whole, strict=True):
        np.testing.assert_array_equal(np.moveaxis(a, -1, 1), b)


@pytest.mark.parametrize("other", ["contiguous", "fortran", "gaps", None])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, other):
    """Arrays and their tangents may lie in memory in different ways, or alike; neither is written."""
    given, other = samplers.draw("grid", 2, "bilinear", "zeros", False, dtype="float32"), other or layout
    expected = jvp(stnkit, "grid", given, given.image_dot, given.source_dot)
    views = given._replace(
        **{name: LAYOUTS[layout](getattr(given, name)) for name in ("image", "source")},
        **{name: LAYOUTS[other](getattr(given, name)) for name in ("image_dot", "source_dot")},
    )
    for arrays in (views, views._replace(image=given.image, source_dot=given.source_dot)):
        got = jvp(stnkit, "grid", arrays, arrays.image_dot, arrays.source_dot)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        for view, array in zip(arrays[:-1], given[:-1], strict=True):
            np.testing.assert_array_equal(view, array)


def test_broadcast_arrays(plain):
    given = samplers.draw("grid", 2, "bilinear", "wrap", False)
    wide = given._replace(
        image=np.broadcast_to(given.image[:, :1], given.image.shape),
        source_dot=np.broadcast_to(given.source_dot[:1, :1, :1], given.source.shape),
    )
    copy = samplers.Given(*(array.copy() for array in wide[:-1]), wide.options)
    for a, b in zip(
        jvp(plain, "grid", wide, wide.image_dot, wide.source_dot),
        jvp(plain, "grid", copy, copy.image_dot, copy.source_dot),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@every_two_of(mode=MODES, padding=PADDINGS, fill=[0.5, np.nan, np.inf])
def test_what_has_no_slope_moves_nothing(plain, mode, padding, fill):
    """A coordinate that is not finite, or is clamped, passes no tangent: exactly 0, whatever it reads."""
    image = np.full((1, 1, 3, 4), np.inf if np.isinf(fill) else 1.0)
    grid = np.array([[np.nan, 0.0], [0.5, np.inf], [-np.inf, np.nan], [50.0, 1.5]])[None, None]
    options = {"mode": mode, "padding_mode": padding, "fill_value": fill, "coords": "pixel"}
    out, out_dot = plain.grid_sample_jvp(image, grid, None, np.ones_like(grid), **options)
    np.testing.assert_array_equal(out, plain.grid_sample(image, grid, **options))
    assert not out_dot[..., :3].any()
    out, out_dot = plain.grid_sample_jvp(image, grid, np.ones_like(image), np.ones_like(grid), **options)
    assert not out_dot[..., :3].any()
    if mode == "nearest":
        assert out_dot[..., 3] == (0 if padding == "zeros" else 1)
    far = np.array([[[[50.0, 50.0]]]])
    if padding == "border" and mode != "bicubic":
        assert plain.grid_sample_jvp(image, far, None, np.ones_like(far), **options)[1] == 0


@pytest.mark.parametrize(("name", "dtype"), [("float32", "float32"), ("float64", "float64"), ("float16", "float32")])
@pytest.mark.parametrize("whole", [np.uint8, np.int32])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_an_image_of_integers(plain, mode, whole, name, dtype):
    """Its own tangent has no meaning; that of the output has the dtype of the coordinates."""
    image = np.arange(12, dtype=whole).reshape(1, 1, 3, 4)
    grid, moved = np.array([[[[0.5, 0.5], [1.25, 1.0]]]], name), np.ones((1, 1, 2, 2), name)
    out, out_dot = plain.grid_sample_jvp(image, grid, None, moved, mode=mode, coords="pixel")
    assert (out.dtype, out_dot.dtype) == (whole, dtype)
    assert out_dot.ravel().tolist() == ([0, 0] if mode == "nearest" else [5, 5])
    with pytest.raises(TypeError, match=r"`d_image`.*int\d+ has no derivative"):
        plain.grid_sample_jvp(image, grid, image, moved, mode=mode, coords="pixel")


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_grids(plain, d, align):
    """The tangent of a grid of maps is that of its linear part: the grid of the tangent, and adjoint to the vjp."""
    random = np.random.default_rng(d)
    theta, theta_dot = random.uniform(-1, 1, (2, 2, d, d + 1))
    size = (2, 3, 4)[-d:]
    grid, grid_dot = plain.affine_grid_jvp(theta, theta_dot, size, align_corners=align)
    np.testing.assert_array_equal(grid, plain.affine_grid(theta, size, align_corners=align))
    np.testing.assert_array_equal(grid_dot, plain.affine_grid(theta_dot, size, align_corners=align))
    cotangent = random.uniform(-1, 1, grid.shape)
    d_theta = plain.affine_grid_vjp(cotangent, align_corners=align)
    limit = 64 * np.finfo(float).eps * (d + 1) * np.abs(cotangent).sum()  # 24 locations, sums of 4 products
    assert abs(dot(grid_dot, cotangent) - dot(theta_dot, d_theta)) <= limit
    one, one_dot = plain.affine_grid_jvp(theta[0], theta_dot[0], size, align_corners=align)
    np.testing.assert_array_equal(one, grid[0])
    np.testing.assert_array_equal(one_dot, grid_dot[0])


def test_torch(plain):
    given = samplers.draw("grid", 2, "bilinear", "zeros", False)
    tensors = [torch.tensor(array) for array in (given.image, given.source, given.image_dot, given.source_dot)]
    expected = jvp(plain, "grid", given, given.image_dot, given.source_dot)
    for a, b in zip(plain.grid_sample_jvp(*tensors, **given.options), expected, strict=True):
        assert type(a) is torch.Tensor
        np.testing.assert_array_equal(a.numpy(), b)


def test_refused(plain):
    given = samplers.draw("grid", 2, "bilinear", "zeros", False)
    image, grid = given.image, given.source
    for dots, kind, parts in [
        ((image[0], None), ValueError, "`d_image` must have the shape of `image`"),
        ((None, grid[:1]), ValueError, "`d_grid` must have the shape of `grid`"),
        ((image.astype(np.float32), None), TypeError, "`d_image` must have the dtype of `image`, float64"),
        ((None, grid.astype(np.float32)), TypeError, "`d_grid` must have the dtype of `grid`, float64"),
    ]:
        with pytest.raises(kind, match=parts):
            plain.grid_sample_jvp(image, grid, *dots)
