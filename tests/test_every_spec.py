"""Every combination of axes, mode and padding, and for each every two other choices that can meet, uncompiled.

Values and both cotangents are compared with the float64 oracle, and with torch where it has the case, at
four kinds of coordinates: generic ones away from knots; exact ones, knots, ties and edges among them; far
ones; and ones that are not finite.
"""

import itertools

import bounds
import numpy as np
import oracles
import pytest
import torch_reference
from calls import PADDINGS
from cases import margin, unit
from samplers import EACH

from stnkit.spec import COORDS, DATA_FORMATS, MODES

EXTENTS = {1: [(5,), (1,)], 2: [(5, 4), (1, 3)], 3: [(3, 4, 5), (2, 1, 3)]}
FAR = {"float32": [3e9, -1e20, 3e38], "float64": [3e9, -1e20, 1e300]}
TYPED = [  # each mode with each padding, in one of two dtypes; each mode has both, and each padding on so many axes
    (d, mode, padding, list(FAR)[(i + j // 2) % 2])
    for i, (d, mode) in enumerate(EACH)
    for j, padding in enumerate(PADDINGS)
]


def forms(d):
    """Return (extent, alignment, layout): every two meet, but not all three, as channels do not know of coordinates."""
    for extent, layouts in zip(EXTENTS[d], ([*DATA_FORMATS], [*DATA_FORMATS][::-1]), strict=True):
        for align, layout in zip((False, True), layouts, strict=True):
            yield extent, align, layout


def met(d, padding, dtype):
    """Return (form, coordinates) for one of two dtypes; which extents those are alternates with the padding."""
    mine = (PADDINGS.index(padding) + list(FAR).index(dtype)) % 2
    pairs = itertools.product(enumerate(forms(d)), enumerate(COORDS))
    return [(form, coords) for (k, form), (c, coords) in pairs if (k // 2 + c) % 2 == mine]


def coordinates(d, extent, align, coords, dtype):
    """Return grids of shape (2, P, d) by kind, in the units of a call."""
    random = np.random.default_rng(d)
    generic = np.stack([margin(random, (2, 10), -n - 1, 2 * n + 1) for n in extent[::-1]], axis=-1)
    generic = unit(generic, extent, align, coords)
    exact = random.integers(-20, 21, (2, 12, d)) / 8  # few bits: no rounding on the way to a pixel
    exact[0, :3], exact[1, :3] = [[-1.0], [1.0], [0.0]], [[-0.5], [0.5], [2.5]]
    strange = random.integers(-8, 9, (2, 12, d)) / 8
    values = [np.nan, np.inf, -np.inf, *FAR[dtype]]
    for p in range(12):
        strange[:, p, p % d] = values[p % 6]
    parts = [part.astype(dtype) for part in (generic, exact, strange)]
    return dict(zip(("generic", "exact", "strange"), parts, strict=True))


def call(package, image, grid, cotangent, options):
    out = package.grid_sample(image, grid, prefilter=False, **options)
    return out, *package.grid_sample_vjp(cotangent, image, grid, prefilter=False, **options)


def close(got, expected, limits, about):
    for name, a, b, limit in zip(("out", "d_image", "d_grid"), got, expected, limits, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=f"{name} {about}")


@pytest.mark.parametrize(("d", "mode", "padding", "dtype"), TYPED)
def test_grid_sample(plain, d, mode, padding, dtype):
    for (extent, align, layout), coords in met(d, padding, dtype):
        random = np.random.default_rng(0)
        last = layout == "channels_last"
        for kind, grid in coordinates(d, extent, align, coords, dtype).items():
            points = grid.shape[1]
            grid = grid.reshape(2, *[1] * (d - 1), points, d)
            image = random.uniform(-1, 1, (2, *extent, 2) if last else (2, 2, *extent)).astype(dtype)
            size = grid.shape[1:-1]
            cotangent = random.uniform(-1, 1, (2, *size, 2) if last else (2, 2, *size)).astype(dtype)
            options = {
                "mode": mode, "padding_mode": padding, "align_corners": align, "coords": coords,
                "data_format": layout, "fill_value": [0.5, -0.25],
            }  # fmt: skip
            got = call(plain, image, grid, cotangent, options)
            assert all(a.dtype == dtype for a in got)
            reach = np.abs(grid[np.abs(grid) < 1e6]).max(initial=0)
            size = bounds.Size(d, mode, dtype, max(extent), reach, channels=2, points=points)
            limits = bounds.value(size), bounds.d_image(size), bounds.d_grid(size)
            wide = grid if kind == "strange" else grid.astype(float)
            expected = (
                oracles.grid_sample(image, wide, **options),
                *oracles.grid_sample_vjp(cotangent, image, wide, **options),
            )
            close(got, expected, limits, (kind, extent, options))
            if kind != "strange" and coords == "normalized" and torch_reference.has(d, mode, padding):
                del options["fill_value"]
                got = call(plain, image, grid, cotangent, options)
                expected = torch_reference.grid_sample(cotangent, image, grid, **options)
                close(got, expected, limits, ("torch", kind, extent, options))


# In 3-D without bicubic: axes are as in bilinear.
@pytest.mark.parametrize(("d", "mode", "padding", "dtype"), [case for case in TYPED if case[:2] != (3, "bicubic")])
def test_affine_sample(plain, d, mode, padding, dtype):
    """`affine_sample` is `grid_sample` of `affine_grid`, bit for bit, and so are its cotangents."""
    for extent, align, layout in forms(d):
        random = np.random.default_rng(1)
        last = layout == "channels_last"
        options = {"mode": mode, "padding_mode": padding, "align_corners": align, "data_format": layout}
        options["fill_value"] = 0.5
        size = (2, 3, 4)[-d:]
        image = random.uniform(-1, 1, (2, *extent, 2) if last else (2, 2, *extent)).astype(dtype)
        theta = random.uniform(-1, 1, (2, d, d + 1)).astype(dtype)
        theta[1, 0, 0] = np.inf if align else 1e30
        cotangent = random.uniform(-1, 1, (2, *size, 2) if last else (2, 2, *size)).astype(dtype)
        grid = plain.affine_grid(theta, size, align_corners=align)
        out = plain.affine_sample(image, theta, size, **options)
        np.testing.assert_array_equal(out, plain.grid_sample(image, grid, **options), str(options))
        d_image, d_theta = plain.affine_sample_vjp(cotangent, image, theta, **options)
        d_image_too, d_grid = plain.grid_sample_vjp(cotangent, image, grid, **options)
        np.testing.assert_array_equal(d_image, d_image_too)
        expected = oracles.affine_grid_vjp(d_grid, align)
        np.testing.assert_allclose(d_theta, expected, rtol=0, atol=bounds.d_theta(d_grid, dtype))


@pytest.mark.parametrize("dtype", FAR)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_affine_grid(plain, d, align, dtype):
    """A coordinate is a sum of d + 1 products of numbers rounded twice: below 3 (d + 1) e sum |theta|."""
    random = np.random.default_rng(2)
    e = np.finfo(dtype).eps
    for size in itertools.product((1, 2, 3, 5), repeat=d):
        theta = random.uniform(-1, 1, (2, d, d + 1)).astype(dtype)
        limit = 3 * (d + 1) * e * (d + 1)
        grid = plain.affine_grid(theta, size, align_corners=align)
        assert grid.dtype == dtype
        np.testing.assert_allclose(grid, oracles.affine_grid(theta, size, align), rtol=0, atol=limit)
        if d > 1:
            expected = torch_reference.affine_grid(theta, size, align)
            np.testing.assert_allclose(grid, expected, rtol=0, atol=2 * limit)
        cotangent = random.uniform(-1, 1, grid.shape).astype(dtype)
        d_theta = plain.affine_grid_vjp(cotangent, align_corners=align)
        assert d_theta.dtype == dtype
        points = int(np.prod(size))
        expected = oracles.affine_grid_vjp(cotangent, align)
        np.testing.assert_allclose(d_theta, expected, rtol=0, atol=(points + 4) * points * e)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("padding", list(itertools.product(PADDINGS, repeat=2)), ids="-".join)
def test_padding_of_each_axis(plain, mode, padding):
    for align in (False, True):
        for kind, grid in coordinates(2, (5, 4), align, "normalized", "float64").items():
            random = np.random.default_rng(3)
            image = random.uniform(-1, 1, (2, 1, 5, 4))
            cotangent = random.uniform(-1, 1, (2, 1, 1, grid.shape[1]))
            grid = grid[:, None]
            options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 0.5}
            got = call(plain, image, grid, cotangent, options)
            expected = (
                oracles.grid_sample(image, grid, **options),
                *oracles.grid_sample_vjp(cotangent, image, grid, **options),
            )
            size = bounds.Size(
                2, mode, "float64", 5, np.abs(grid[np.abs(grid) < 1e6]).max(initial=0), points=grid.shape[2]
            )
            close(
                got,
                expected,
                (bounds.value(size), bounds.d_image(size), bounds.d_grid(size)),
                (kind, options),
            )


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "label"])  # which reads integers
def test_mode_names(plain, mode):
    image, grid = np.arange(5.0).reshape(1, 1, 5), np.array([[[0.3]]])
    options = {"mode": mode, "prefilter": False, "padding_mode": "constant"}
    expected = oracles.grid_sample(image, grid, **options)
    np.testing.assert_allclose(plain.grid_sample(image, grid, **options), expected, atol=1e-14)


@pytest.mark.parametrize(("d", "mode"), [*EACH, (3, "spline4")])
def test_what_is_outside_is_not_read(plain, d, mode):
    """A dead tap reads the fill value, NaN too, and never the image."""
    own = {"mode": mode, "prefilter": False}
    image = np.full((1, 1, *[3] * d), np.nan)
    grid = np.full((1, *[1] * d, d), 0.0)
    grid[..., 0] = 50.0
    assert plain.grid_sample(image, grid, fill_value=2.0, coords="pixel", **own).item() == pytest.approx(2)
    assert np.isnan(plain.grid_sample(np.ones_like(image), grid, fill_value=np.nan, **own)).all()
    grid[...] = np.nan
    for padding in PADDINGS:
        out = plain.grid_sample(image, grid, fill_value=2.0, padding_mode=padding, **own)
        assert out.item() == 2.0
        d_image, d_grid = plain.grid_sample_vjp(out, image, grid, fill_value=2.0, padding_mode=padding, **own)
        assert not d_image.any()
        assert not d_grid.any()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_empty(plain, d):
    """An empty batch, no channels and an empty output give the right shapes, and cotangents of 0."""
    for n, c, t in [(0, 2, 3), (2, 0, 3), (2, 2, 0)]:
        image, grid = np.ones((n, c, *[4] * d)), np.zeros((n, *[3] * (d - 1), t, d))
        out = plain.grid_sample(image, grid)
        assert out.shape == (n, c, *[3] * (d - 1), t)
        d_image, d_grid = plain.grid_sample_vjp(out, image, grid)
        assert d_image.shape == image.shape
        assert d_grid.shape == grid.shape
        assert not d_image.any()
        assert not d_grid.any()
        theta, size = np.ones((n, d, d + 1)), grid.shape[1:-1]
        out = plain.affine_sample(image, theta, size)
        assert out.shape == (n, c, *size)
        d_image, d_theta = plain.affine_sample_vjp(out, image, theta)
        assert not d_image.any()
        assert not d_theta.any()
        assert plain.affine_grid(theta, size).shape == (n, *size, d)
        assert not plain.affine_grid_vjp(np.ones((n, *size, d)))[:, :, :-1].round(12).any()
    empty = np.ones((2, 2, *[0] * d))
    assert plain.grid_sample(empty, np.zeros((2, *[0] * d, d))).shape == (2, 2, *[0] * d)
