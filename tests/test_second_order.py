"""The second order: `double_vjp` is the derivative of `vjp`, by exact differences and by torch's double backward."""

import math

import numpy as np
import pytest
import samplers
import torch
from calls import PADDINGS
from covering import every_two_of
from samplers import EACH, MODES, SOURCES
from strategies import LAYOUTS
from torch.nn import functional

import stnkit

E = np.finfo(float).eps
STENCIL = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)  # of f(kh) - f(-kh): exact for polynomials up to degree 10


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a.astype(float) * b.astype(float)).ravel())


def double_vjp(package, op, given, image_dot, source_dot):
    """Call it with cotangents of the vjp's results: they have the shapes of tangents."""
    call = samplers.of(package, op, "_double_vjp")
    return call(image_dot, source_dot, given.cotangent, given.image, given.source, **given.options)


def pairing(package, op, given):
    """Return < vjp's results, given.image_dot and given.source_dot >."""
    call = samplers.of(package, op, "_vjp")
    d_image, d_source = call(given.cotangent, given.image, given.source, **given.options)
    return dot(given.image_dot, d_image) + dot(given.source_dot, d_source)


@every_two_of(op=SOURCES, d_mode=EACH, padding=PADDINGS)
def test_is_the_derivative_of_vjp(plain, op, d, mode, padding):
    """< vjp(c, x, u), (v, w) > changes along (c', x', u') as the double vjp says.

    Between knots it is a polynomial in t along a line: of degree 1 in c, 1 in x (in the part of w) and 3 d in the
    coordinates, 5 of spline5, less 1 in that part: 10 at most, for which the stencil of ten points is exact. None moves
    farther than 5 h = 0.04 pixels. A value of the pairing is off by 1e-13 of the sum of its terms' magnitudes
    (see `test_forward_mode`), which is divided by h, times twice the sum of the stencil, below 2.3.
    """
    for align in (False, True) if d < 3 else (d % 2 == 0,):
        given = samplers.draw(op, d, mode, padding, align, batch=2 if d < 3 else 1)
        random = np.random.default_rng(1)
        moved = random.uniform(-1, 1, given.cotangent.shape), random.uniform(-1, 1, given.image.shape)
        moved = *moved, np.roll(given.source_dot, 1, axis=-2)  # within the bound on how far locations may move
        h = samplers.REACH / 5
        quotient = 0.0
        for k, weight in enumerate(STENCIL, start=1):
            for sign in (1, -1):
                there = given._replace(
                    cotangent=given.cotangent + sign * k * h * moved[0],
                    image=given.image + sign * k * h * moved[1],
                    source=given.source + sign * k * h * moved[2],
                )
                quotient += sign * weight * pairing(plain, op, there) / h
        bars = double_vjp(plain, op, given, given.image_dot, given.source_dot)
        for bar, array in zip(bars, (given.cotangent, given.image, given.source), strict=True):
            assert (bar.shape, bar.dtype) == (array.shape, array.dtype)
        got = sum(dot(bar, dot_) for bar, dot_ in zip(bars, moved, strict=True))
        terms = 1.2 * samplers.magnitude(given) * np.abs(given.cotangent).sum()
        assert abs(got - quotient) <= 2.3 * 1e-13 * terms / h, (align, got, quotient)


@every_two_of(op=SOURCES, d_mode=[(d, mode) for d in (1, 2, 3) for mode in MODES], padding=PADDINGS)
def test_its_parts(plain, op, d, mode, padding):
    """d_cotangent is the tangent of the output; what is not given is zero, and results are linear in it.

    The two kernels sum the same terms in another order: each takes part in fewer than d (4 + 1) + 3 d + 4 < 32
    additions and products on either side, so they differ by 32 e of the terms' magnitudes at most.
    """
    for align in (False, True):
        given = samplers.draw(op, d, mode, padding, align, batch=1)
        v, w = given.image_dot, given.source_dot
        bars = double_vjp(plain, op, given, v, w)
        call = samplers.of(plain, op, "_jvp")
        _, out_dot = call(given.image, given.source, v, w, **samplers.sized(op, given), **given.options)
        np.testing.assert_allclose(bars[0], out_dot, rtol=0, atol=32 * E * samplers.magnitude(given))
        of_image, of_source = double_vjp(plain, op, given, v, None), double_vjp(plain, op, given, None, w)
        zeros = double_vjp(plain, op, given, np.zeros_like(v), np.zeros_like(w))
        nothing = double_vjp(plain, op, given, None, None)
        assert not of_image[1].any()
        for a, b in zip(zeros, nothing, strict=True):
            assert not a.any()
            assert not b.any()
        np.testing.assert_array_equal(bars[1], of_source[1])
        np.testing.assert_allclose(bars[0], of_image[0] + of_source[0], rtol=E, atol=0)
        if op != "affine":  # one channel or two, and a product with the chain: three roundings of each part
            scale = np.abs(of_image[2]) + np.abs(of_source[2])
            assert (np.abs(bars[2] - (of_image[2] + of_source[2])) <= 4 * E * (scale + scale.max())).all()
        if mode == "nearest":
            assert not bars[2].any()
            assert not of_source[0].any()


@every_two_of(
    d_mode=[(2, "nearest"), (2, "bilinear"), (2, "bicubic"), (3, "nearest"), (3, "bilinear")],
    padding=PADDINGS[:3],
    align=[False, True],
)
def test_torch(plain, d, mode, padding, align):
    """Every result equals what torch's autograd of its own backward says, to the promise of float64."""
    given = samplers.draw("grid", d, mode, padding, align)
    options = {name: value for name, value in given.options.items() if name != "fill_value"}
    given = given._replace(options=options)
    c, x, u = (torch.tensor(a, requires_grad=True) for a in (given.cotangent, given.image, given.source))
    out = functional.grid_sample(x, u, mode=mode, padding_mode=padding, align_corners=align)
    bars = torch.autograd.grad(out, (x, u), c, create_graph=True)
    dots = torch.tensor(given.image_dot), torch.tensor(given.source_dot)
    expected = torch.autograd.grad(bars, (c, x, u), dots, allow_unused=True)
    got = double_vjp(plain, "grid", given, given.image_dot, given.source_dot)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, 0 if b is None else b.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("op", SOURCES)
def test_one_pass_and_two_agree(plain, op):
    """A large batch in contiguous memory takes one pass; as a strided image, or item by item, it takes two."""
    given = samplers.draw(op, 2, "bicubic", "zeros", False, batch=8)
    v, w = given.image_dot, given.source_dot
    whole = double_vjp(plain, op, given, v, w)
    strided = given._replace(image=LAYOUTS["axes moved"](given.image))
    for a, b in zip(double_vjp(plain, op, strided, v, w), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    for n in range(8):
        item = samplers.Given(*(array[n : n + 1] for array in given[:-1]), given.options)
        for a, b in zip(double_vjp(plain, op, item, item.image_dot, item.source_dot), whole, strict=True):
            np.testing.assert_array_equal(a[0], b[n])


@pytest.mark.parametrize("batch", [3, 8])
@pytest.mark.parametrize("shared", ["image", "source"])
@pytest.mark.parametrize("op", SOURCES)
def test_shared_batches(plain, op, shared, batch):
    """What several items share has the sum of their cotangents, of 8 items of fewer than 100 terms."""
    given = samplers.draw(op, 2, "bilinear", "reflection", False, batch=batch)
    names = (shared, f"{shared}_dot")
    given = given._replace(**{name: getattr(given, name)[:1] for name in names})
    copies = given._replace(**{name: np.repeat(getattr(given, name), batch, axis=0) for name in names})
    got = double_vjp(plain, op, given, given.image_dot, given.source_dot)
    each = double_vjp(plain, op, copies, copies.image_dot, copies.source_dot)
    np.testing.assert_array_equal(got[0], each[0])
    for a, b, one in zip(got[1:], each[1:], (shared == "image", shared == "source"), strict=True):
        limit = 800 * E * np.abs(b).sum(axis=0).max() if one else 0
        np.testing.assert_allclose(a, b.sum(axis=0, keepdims=True) if one else b, rtol=0, atol=limit)


@pytest.mark.parametrize("op", SOURCES)
def test_without_a_batch_axis_and_channels_last(plain, op):
    given = samplers.draw(op, 2, "bilinear", "zeros", True)
    whole = double_vjp(plain, op, given, given.image_dot, given.source_dot)
    item = samplers.Given(*(array[0] for array in given[:-1]), given.options)
    for a, b in zip(double_vjp(plain, op, item, item.image_dot, item.source_dot), whole, strict=True):
        np.testing.assert_array_equal(a, b[0])
    last = {name: np.moveaxis(getattr(given, name), 1, -1) for name in ("image", "image_dot", "cotangent")}
    last = given._replace(**last, options=given.options | {"data_format": "channels_last"})
    got = double_vjp(plain, op, last, last.image_dot, last.source_dot)
    for a, b in zip(got, (np.moveaxis(whole[0], 1, -1), np.moveaxis(whole[1], 1, -1), whole[2]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    given = samplers.draw("grid", 2, "bilinear", "zeros", False, dtype="float32")
    expected = double_vjp(stnkit, "grid", given, given.image_dot, given.source_dot)
    views = samplers.Given(*(LAYOUTS[layout](array) for array in given[:-1]), given.options)
    mixed = given._replace(image=views.image, source_dot=views.source_dot, cotangent=views.cotangent)
    for arrays in (views, mixed):
        got = double_vjp(stnkit, "grid", arrays, arrays.image_dot, arrays.source_dot)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    for view, array in zip(views[:-1], given[:-1], strict=True):
        np.testing.assert_array_equal(view, array)


@pytest.mark.parametrize("fill", [0.5, np.nan])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_coordinates_that_are_not_finite(plain, mode, padding, fill):
    image = np.ones((1, 1, 3, 4))
    grid = np.array([[[[np.nan, 0.0], [0.5, np.inf], [-np.inf, np.nan]]]])
    options = {"mode": mode, "padding_mode": padding, "fill_value": fill, "coords": "pixel"}
    ones = np.ones_like(image), np.ones_like(grid)
    for bar in plain.grid_sample_double_vjp(*ones, np.ones((1, 1, 1, 3)), image, grid, **options):
        assert not bar.any()


@pytest.mark.parametrize("name", ["uint8", "int32", "float16"])
@pytest.mark.parametrize("mode", MODES)
def test_formats(plain, mode, name):
    """An image of integers has no cotangent; one of half precision has it rounded once."""
    random = np.random.default_rng(0)
    image = random.integers(0, 200, (1, 2, 3, 4)).astype(name)
    wide = image.astype("float64" if name == "int32" else "float32")
    grid, dd_grid = random.integers(0, 20, (2, 1, 2, 3, 2)).astype("float32") / 8  # exact in the arithmetic
    floating = name if name == "float16" else "float32"
    cotangent = random.integers(-4, 5, (1, 2, 2, 3)).astype(floating)
    got = plain.grid_sample_double_vjp(None, dd_grid, cotangent, image, grid, mode=mode, coords="pixel")
    expected = plain.grid_sample_double_vjp(
        None, dd_grid, cotangent.astype(wide.dtype), wide, grid, mode=mode, coords="pixel"
    )
    assert (got[1] is None) == (name != "float16")
    for a, b, dtype in zip(got, expected, (floating, floating, "float32"), strict=True):
        if a is not None:
            assert a.dtype == dtype
            np.testing.assert_array_equal(a, b.astype(dtype))


def test_refused(plain):
    given = samplers.draw("grid", 2, "bilinear", "zeros", False)
    arguments = given.cotangent, given.image, given.source
    integers = given.image.astype(np.uint8)
    for call, kind, text in [
        (lambda: plain.grid_sample_double_vjp(given.image[0], None, *arguments), ValueError, "`dd_image` .* shape"),
        (lambda: plain.grid_sample_double_vjp(None, given.source[:1], *arguments), ValueError, "`dd_grid` .* shape"),
        (lambda: plain.grid_sample_double_vjp(None, None, given.cotangent[:1], *arguments[1:]), ValueError, "`cotan"),
        (
            lambda: plain.grid_sample_double_vjp(None, None, None, *arguments[1:]),
            TypeError,
            "`cotangent` .*NoneType",
        ),
        (lambda: plain.grid_sample_double_vjp(None, given.source.astype("f"), *arguments), TypeError, "`dd_grid`"),
        (
            lambda: plain.grid_sample_double_vjp(integers, None, arguments[0], integers, arguments[2]),
            TypeError,
            "`dd_image`.*uint8 has no derivative",
        ),
    ]:
        with pytest.raises(kind, match=text):
            call()
