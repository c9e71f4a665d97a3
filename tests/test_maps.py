"""Projective maps and thin plate splines: sampling under them is sampling at their grids, and both are differentiable.

The formulas are those of `oracles`, in float64; what either transform alone promises is in files of their own.
"""

import math

import maps
import ml_dtypes
import numpy as np
import oracles
import pytest
import torch
from calls import PADDINGS
from covering import every_two_of
from maps import OPS
from samplers import MODES
from strategies import LAYOUTS

E = np.finfo(float).eps


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a.astype(float) * b.astype(float)).ravel())


@every_two_of(op=OPS, d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_is_sampling_at_its_grid(plain, op, d, mode, padding):
    """Bit for bit, and so is the image's cotangent; theta's is that of the grid, pulled back, with the same bits."""
    for align in (False, True):
        given = maps.draw(op, d, mode, padding, align)
        grid = maps.grid(plain, given)
        np.testing.assert_allclose(grid, maps.exact(given), rtol=0, atol=1e-11)
        out = maps.sample(plain, given)
        np.testing.assert_array_equal(out, plain.grid_sample(given.image, grid, **given.options))
        expected = oracles.grid_sample(given.image, maps.exact(given), **given.options)
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-11)
        d_image, d_theta = maps.sample_vjp(plain, given)
        bars = plain.grid_sample_vjp(given.cotangent, given.image, grid, **given.options)
        np.testing.assert_array_equal(d_image, bars[0])
        np.testing.assert_array_equal(d_theta, maps.grid_vjp(plain, given, bars[1]))
        assert mode == "nearest" or d_theta.any()
        for wrt, wanted in (("image", (d_image, None)), ("theta", (None, d_theta)), ((), (None, None))):
            for a, b in zip(maps.sample_vjp(plain, given, wrt=wrt), wanted, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_array_equal(a, b)


@every_two_of(op=OPS, d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_adjoint(plain, op, d, mode, padding):
    """<J (v, w), c> = <v, d_image> + <w, d_theta>, up to rounding: 1e-12 of the terms' magnitudes."""
    for align in (False, True):
        given = maps.draw(op, d, mode, padding, align)
        out, out_dot = maps.sample_jvp(plain, given, given.image_dot, given.theta_dot)
        np.testing.assert_array_equal(out, maps.sample(plain, given))
        d_image, d_theta = maps.sample_vjp(plain, given)
        left, right = dot(out_dot, given.cotangent), dot(given.image_dot, d_image) + dot(given.theta_dot, d_theta)
        terms = sum(np.abs(a * b).sum() for a, b in ((given.image_dot, d_image), (given.theta_dot, d_theta)))
        assert abs(left - right) <= 1e-12 * (terms + np.abs(out_dot * given.cotangent).sum())
        alone = [maps.sample_jvp(plain, given, *dots)[1] for dots in ((given.image_dot, None), (None, given.theta_dot))]
        np.testing.assert_allclose(out_dot, alone[0] + alone[1], rtol=E, atol=0)
        assert not maps.sample_jvp(plain, given, None, None)[1].any()


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("d", "mode"), [(1, "bicubic"), (2, "bilinear"), (2, "bicubic"), (3, "bilinear")])
@pytest.mark.parametrize("op", OPS)
def test_central_differences(plain, op, d, mode, align):
    """Along a random tangent, with a step h = 1e-5 that meets no knot.

    The difference is off by h^2 / 6 of the third derivative, and by E / h of the values, both multiplied here by
    what a coordinate of some units can be moved by: with third derivatives below 1e3, 2e-8 and 2e-11 of each.
    """
    given, h = maps.draw(op, d, mode, "reflection", align), 1e-5
    grid_dot, out_dot = maps.grid_jvp(plain, given)[1], maps.sample_jvp(plain, given, None, given.theta_dot)[1]
    there, back = (given._replace(theta=given.theta + s * h * given.theta_dot) for s in (1, -1))
    moved = (maps.exact(there) - maps.exact(back)) / (2 * h)
    np.testing.assert_allclose(grid_dot, moved, rtol=0, atol=1e-7)
    sampled = [oracles.grid_sample(given.image, maps.exact(g), **given.options) for g in (there, back)]
    np.testing.assert_allclose(out_dot, (sampled[0] - sampled[1]) / (2 * h), rtol=0, atol=1e-7 * np.abs(out_dot).max())
    _, d_theta = maps.sample_vjp(plain, given)
    change = dot(given.cotangent, sampled[0] - sampled[1]) / (2 * h)
    limit = 1e-7 * np.abs(given.cotangent * out_dot).sum()
    assert abs(dot(d_theta, given.theta_dot) - change) <= limit


def composed(given, theta):
    """Return the grid by torch's own operations, from the formula."""
    align = given.options["align_corners"]
    if given.control is not None:
        table = torch.from_numpy(oracles.thin_plate_spline_table(given.control, given.size, align))
        return torch.einsum("...k,nkd->n...d", table, theta)
    base = torch.from_numpy(oracles.base(given.size, align))
    rows = torch.einsum("nij,...j->n...i", theta, base)
    return rows[..., :-1] / rows[..., -1:]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's forward mode
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("d", "mode", "padding"), [(2, "bilinear", "zeros"), (2, "bicubic", "border"),
                                                    (3, "bilinear", "reflection")])  # fmt: skip
@pytest.mark.parametrize("op", OPS)
def test_torchs_autograd_of_the_formula(plain, op, d, mode, padding, align):
    given = maps.draw(op, d, mode, padding, align)
    given.options["fill_value"] = 0.0
    image, theta = (torch.tensor(a, requires_grad=True) for a in (given.image, given.theta))
    options = {"mode": mode, "padding_mode": padding, "align_corners": align}
    out = torch.nn.functional.grid_sample(image, composed(given, theta), **options)
    np.testing.assert_allclose(maps.sample(plain, given), out.detach(), rtol=0, atol=1e-11)
    bars = torch.autograd.grad(out, [image, theta], torch.from_numpy(given.cotangent))
    for bar, expected in zip(maps.sample_vjp(plain, given), bars, strict=True):
        np.testing.assert_allclose(bar, expected, rtol=0, atol=1e-11)
    grid, grid_dot = torch.func.jvp(
        lambda t: composed(given, t), (theta.detach(),), (torch.from_numpy(given.theta_dot),)
    )
    for a, b in zip(maps.grid_jvp(plain, given), (grid, grid_dot), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("op", OPS)
def test_several_tiles(plain, op):
    """Rows that tiles cut through: the grid and its pull-back, in float32, against float64.

    A coordinate here is a sum of terms with magnitudes below 40, of 9 roundings each: 40 * 9 * 2**-24 < 3e-5; and a
    cotangent sums 33 * 65 of them, in float64 from rows or lanes of 130 on: below 1e-4 of the sum of magnitudes.
    """
    random = np.random.default_rng(0)
    given = maps.draw(op, 2, "bilinear", "zeros", False, dtype="float32")
    given = given._replace(cotangent=np.ones((2, 1, 33, 65), np.float32))
    grid = maps.grid(plain, given)
    np.testing.assert_allclose(grid, maps.exact(given), rtol=0, atol=3e-5)
    bar = random.uniform(-1, 1, grid.shape).astype(np.float32)
    wide = given._replace(theta=given.theta.astype(float))
    exact = maps.grid_vjp(plain, wide, bar.astype(float))
    big = np.abs(maps.grid_vjp(plain, wide, np.abs(bar).astype(float))).max()
    np.testing.assert_allclose(maps.grid_vjp(plain, given, bar), exact, rtol=0, atol=1e-4 * max(big, 33 * 65))


@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize("shared", ["image", "theta"])
@pytest.mark.parametrize("op", OPS)
def test_shared_batches(plain, op, shared, unbatched):
    """What several items share has the sum of their cotangents."""
    given = maps.draw(op, 2, "bicubic", "wrap", False, batch=3)
    array = getattr(given, shared)
    one = given._replace(**{shared: array[0] if unbatched else array[:1]})
    copies = given._replace(**{shared: np.stack([array[0]] * 3)})
    np.testing.assert_array_equal(maps.sample(plain, one), maps.sample(plain, copies))
    got, each = maps.sample_vjp(plain, one), maps.sample_vjp(plain, copies)
    for name, bar, expected in zip(("image", "theta"), got, each, strict=True):
        if name == shared:
            assert bar.shape == getattr(one, shared).shape
            limit = 1e-13 * np.abs(expected).sum()
            np.testing.assert_allclose(bar.reshape(expected[0].shape), expected.sum(axis=0), rtol=0, atol=limit)
        else:
            np.testing.assert_array_equal(bar, expected)


@pytest.mark.parametrize("op", OPS)
def test_without_a_batch_axis_and_channels_last(plain, op):
    given = maps.draw(op, 2, "bilinear", "zeros", True)
    out, bars = maps.sample(plain, given), maps.sample_vjp(plain, given)
    making = getattr(plain, f"{op}_grid"), getattr(plain, f"{op}_grid_vjp"), getattr(plain, f"{op}_grid_jvp")
    single = making[0](given.theta[0], *given.fixed, given.size, **given.making)
    grid = maps.grid(plain, given)
    np.testing.assert_array_equal(single, grid[0])
    theta_bar = making[1](grid[0], given.theta[0], *given.fixed, **given.making)
    np.testing.assert_array_equal(theta_bar, maps.grid_vjp(plain, given, grid)[0])
    pair = making[2](given.theta[0], given.theta_dot[0], *given.fixed, given.size, **given.making)
    for a, b in zip(pair, maps.grid_jvp(plain, given), strict=True):
        np.testing.assert_array_equal(a, b[0])
    names = ("image", "theta", "cotangent")
    alone = given._replace(**{name: getattr(given, name)[0] for name in names})
    function = getattr(plain, f"{op}_sample")
    found = function(alone.image, alone.theta, *given.fixed, given.size, **given.options)
    np.testing.assert_array_equal(found, out[0])
    for a, b in zip(maps.sample_vjp(plain, alone), bars, strict=True):
        np.testing.assert_array_equal(a, b[0])
    options = given.options | {"data_format": "channels_last"}
    last = given._replace(image=np.moveaxis(given.image, 1, -1), options=options)
    found = function(last.image, last.theta, *given.fixed, given.size, **options)
    np.testing.assert_array_equal(found, np.moveaxis(out, 1, -1))
    found = maps.sample_vjp(plain, last._replace(cotangent=np.moveaxis(given.cotangent, 1, -1)))
    np.testing.assert_array_equal(found[0], np.moveaxis(bars[0], 1, -1))
    np.testing.assert_array_equal(found[1], bars[1])


@pytest.mark.parametrize("op", OPS)
def test_dtypes(plain, op):
    """Arithmetic is float64 if image or theta is; half precision is widened, and comes back in its own dtype."""
    given = maps.draw(op, 2, "bilinear", "border", False)
    grid_dtype = {"float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32"}
    for name, wide in grid_dtype.items():
        dtype = ml_dtypes.bfloat16 if name == "bfloat16" else name
        few = given._replace(theta=given.theta.astype(dtype), theta_dot=given.theta_dot.astype(dtype))
        grid = maps.grid(plain, few)
        assert grid.dtype == wide
        np.testing.assert_array_equal(grid, maps.grid(plain, few._replace(theta=few.theta.astype(wide))))
        assert maps.grid_vjp(plain, few, grid).dtype == dtype
        assert [a.dtype for a in maps.grid_jvp(plain, few)] == [wide] * 2
        for picture in ("float64", "float32", "float16"):
            mixed = few._replace(image=few.image.astype(picture), cotangent=few.cotangent.astype(picture))
            assert maps.sample(plain, mixed).dtype == picture
            assert [a.dtype for a in maps.sample_vjp(plain, mixed)] == [picture, dtype]
    bytes_ = given._replace(image=(given.image * 100 + 100).astype("uint8"))
    bytes_.options["fill_value"] = 1
    assert maps.sample(plain, bytes_).dtype == "uint8"
    assert maps.sample_vjp(plain, bytes_, wrt="theta")[1].any()


@pytest.mark.parametrize("op", OPS)
def test_into_memory_of_the_caller(plain, op):
    given = maps.draw(op, 2, "bilinear", "border", False)
    out = np.empty_like(given.cotangent)
    assert maps.sample(plain, given, out=out) is out
    np.testing.assert_array_equal(out, maps.sample(plain, given))
    bars = maps.sample_vjp(plain, given)
    sums = np.zeros_like(bars[0])
    found = maps.sample_vjp(plain, given, accumulate_into=sums)
    assert found[0] is sums
    np.testing.assert_array_equal(sums, bars[0])
    np.testing.assert_array_equal(found[1], bars[1])


@pytest.mark.parametrize("op", OPS)
def test_layouts(plain, op):
    """Maps and cotangents may lie in memory as they like, and are not written."""
    given = maps.draw(op, 2, "bilinear", "border", False, dtype="float32")
    out, bars, grid = maps.sample(plain, given), maps.sample_vjp(plain, given), maps.grid(plain, given)
    pulled = maps.grid_vjp(plain, given, grid)
    for lay in LAYOUTS.values():
        theta = lay(given.theta)
        moved = given._replace(theta=theta, control=None if given.control is None else lay(given.control))
        np.testing.assert_array_equal(maps.sample(plain, moved), out)
        np.testing.assert_array_equal(maps.sample_vjp(plain, moved)[1], bars[1])
        np.testing.assert_array_equal(maps.grid(plain, moved), grid)
        np.testing.assert_array_equal(maps.grid_vjp(plain, moved, lay(grid)), pulled)
        np.testing.assert_array_equal(theta, given.theta)


@pytest.mark.parametrize("op", OPS)
def test_empty(plain, op):
    """An empty batch and an empty output give the right shapes, and cotangents of 0."""
    given = maps.draw(op, 2, "bilinear", "zeros", False)
    for n, size in ((0, (2, 3)), (2, (0, 3))):
        few = given._replace(theta=given.theta[:n], cotangent=np.ones((n, 2, *size)), image=given.image[:n])
        assert maps.sample(plain, few).shape == (n, 2, *size)
        d_image, d_theta = maps.sample_vjp(plain, few)
        assert (d_image.shape, d_theta.shape) == (few.image.shape, few.theta.shape)
        assert not d_theta.any()
        grid = maps.grid(plain, few)
        assert grid.shape == (n, *size, 2)
        assert not maps.grid_vjp(plain, few, grid).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("op", OPS)
def test_theta_that_is_not_finite(plain, op, value):
    """Its item reads the fill value everywhere, and passes no gradient; the others are as they were."""
    given = maps.draw(op, 2, "bilinear", "border", False)
    theta = given.theta.copy()
    theta[1, 0] = value
    lost = given._replace(theta=theta)
    out = maps.sample(plain, lost)
    np.testing.assert_array_equal(out[0], maps.sample(plain, given)[0])
    assert (out[1] == 0.5).all()
    d_image, d_theta = maps.sample_vjp(plain, lost)
    expected = maps.sample_vjp(plain, given)
    for bar, other in zip((d_image, d_theta), expected, strict=True):
        np.testing.assert_array_equal(bar[0], other[0])
        assert not bar[1].any()
    assert not maps.sample_jvp(plain, lost, given.image_dot, given.theta_dot)[1][1].any()
