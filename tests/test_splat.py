"""Splatting is the adjoint of sampling; counts are its splat of ones, and gradients the derivatives per channel."""

import math

import bounds
import ml_dtypes
import numpy as np
import oracles
import pytest
import samplers
import torch
from calls import PADDINGS
from covering import every_two_of
from samplers import MODES
from strategies import LAYOUTS
from torch.nn import functional

import stnkit

E = np.finfo(float).eps
STENCIL = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)  # of f(kh) - f(-kh): exact for polynomials up to degree 10


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a.astype(float) * b.astype(float)).ravel())


def draw(d, mode, padding, align, batch=2, dtype="float64", coords="normalized"):
    """Draw an image, a grid away from knots and its values, as `samplers.draw` does, in either unit."""
    given = samplers.draw("grid", d, mode, padding, align, batch, dtype)
    extent = given.image.shape[2:]
    options = {name: value for name, value in given.options.items() if name != "fill_value"}
    if coords == "pixel":
        at, per_unit = zip(*(axis(given.source, k, extent, align) for k in range(d)), strict=True)
        source, source_dot = np.stack(at, axis=-1), given.source_dot * per_unit
        given = given._replace(source=source.astype(dtype), source_dot=source_dot.astype(dtype))
    return given._replace(options=options | {"coords": coords})


def axis(grid, k, extent, align):
    return oracles.locate(grid[..., k].astype(float), extent[len(extent) - 1 - k], align, "normalized")


def splat(package, given):
    """Splat what `samplers.draw` calls the cotangent: it has the shape of values."""
    extent = given.image.shape[2:]
    return package.grid_splat(given.cotangent, given.source, extent, **given.options)


def splat_vjp(package, given, **more):
    return package.grid_splat_vjp(given.image, given.cotangent, given.source, **given.options, **more)


def item(given, n=0):
    """Take one item without its batch axis."""
    return samplers.Given(*(array[n] for array in given[:-1]), given.options)


def turned(array):
    """Move the channels of an array with a batch axis last."""
    return np.moveaxis(array, 1, -1)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_adjoint(plain, d, mode, padding):
    """<splat(v, g), x> = <v, sample(x, g)>: both sides sum the same terms v w x, of the same weights.

    A term takes part in fewer than 900 roundings: a pixel is read by at most 12 locations of 64 taps, the
    products and sums of the blend are fewer than 100. Each is wrong by e / 2 of the sum of the magnitudes of all
    terms, so the two differ by 900 e / 2 < 1.0e-13 of it at most.
    """
    for align in (False, True):
        given = draw(d, mode, padding, align)
        image = splat(plain, given)
        assert (image.shape, image.dtype) == (given.image.shape, given.image.dtype)
        values = plain.grid_sample(given.image, given.source, **given.options)
        terms = (1.375 if mode == "bicubic" else 1) ** d * np.abs(given.cotangent).sum()
        assert abs(dot(image, given.image) - dot(given.cotangent, values)) <= 1e-13 * terms


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS, coords=["normalized", "pixel"])
def test_is_the_cotangent_of_the_image(plain, d, mode, padding, coords):
    """A splat has the bits of `grid_sample_vjp`, and is what the oracle says to the bound of `d_image`."""
    for align in (False, True):
        given = draw(d, mode, padding, align, coords=coords)
        arguments = given.cotangent, given.image, given.source
        got = splat(plain, given)
        expected, _ = plain.grid_sample_vjp(*arguments, wrt="image", **given.options)
        np.testing.assert_array_equal(got, expected)
        exact, _ = oracles.grid_sample_vjp(*arguments, **given.options)
        readers = oracles.readers(given.image, given.source, **given.options)
        n = max(given.image.shape[2:])
        size = bounds.Size(d, mode, "float64", n, np.abs(given.source).max(), points=readers)
        assert (np.abs(got - exact) <= bounds.d_image(size)).all()


def everything(package, given):
    counts = package.grid_count(given.source, given.image.shape[2:], **given.options)
    slopes = package.grid_gradient(given.image, given.source, **given.options)
    return splat(package, given), counts, slopes, *splat_vjp(package, given)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_vjp(plain, d, mode, padding):
    """The values' cotangent is a sample of the image's; that of the grid is the derivative along it.

    Between knots <splat(v, g + t w), c> is a polynomial in t of degree 3 d at most, for which the stencil of ten
    points is exact. It is off by 1e-13 of the sum of its terms (see `test_adjoint`), divided by h, times twice
    the sum of the stencil, below 2.3; no point moves farther than 5 h = 0.04 pixels, where weights sum to at most
    1.375 + 0.12 in magnitude: 1.2**d more.
    """
    for align in (False, True):
        given = draw(d, mode, padding, align)
        d_values, d_grid = splat_vjp(plain, given)
        assert (d_grid.shape, d_grid.dtype) == (given.source.shape, given.source.dtype)
        np.testing.assert_array_equal(d_values, plain.grid_sample(given.image, given.source, **given.options))
        h, quotient = samplers.REACH / 5, 0.0
        for k, weight in enumerate(STENCIL, start=1):
            for sign in (1, -1):
                there = given._replace(source=given.source + sign * k * h * given.source_dot)
                quotient += sign * weight * dot(splat(plain, there), given.image) / h
        terms = (1.2 * 1.375 if mode == "bicubic" else 1) ** d * np.abs(given.cotangent).sum()
        assert abs(dot(d_grid, given.source_dot) - quotient) <= 2.3 * 1e-13 * terms / h
        assert mode != "nearest" or not d_grid.any()


@every_two_of(
    d_mode=[(2, "nearest"), (2, "bilinear"), (2, "bicubic"), (3, "nearest"), (3, "bilinear")],
    padding=PADDINGS[:3],
    align=[False, True],
)
def test_torch(plain, d, mode, padding, align):
    """torch has the splat as the derivative of its `grid_sample` in the image, and its autograd that of both."""
    given = draw(d, mode, padding, align)
    v, g, c = (torch.tensor(a, requires_grad=True) for a in (given.cotangent, given.source, given.image))
    x = torch.zeros_like(c, requires_grad=True)
    out = functional.grid_sample(x, g, mode=mode, padding_mode=padding, align_corners=align)
    (image,) = torch.autograd.grad(out, x, v, create_graph=True)
    np.testing.assert_allclose(splat(plain, given), image.detach().numpy(), rtol=0, atol=1e-12)
    expected = torch.autograd.grad(image, (v, g), c.detach(), allow_unused=True)
    for a, b in zip(splat_vjp(plain, given), expected, strict=True):
        np.testing.assert_allclose(a, 0 if b is None else b.numpy(), rtol=0, atol=1e-12)


def test_wrt_leaves_out(plain):
    given = draw(2, "bilinear", "zeros", False)
    both = splat_vjp(plain, given)
    for wrt in ("values", "grid", ["values"], ("grid",), ("grid", "values"), ()):
        for name, bar, expected in zip(("values", "grid"), splat_vjp(plain, given, wrt=wrt), both, strict=True):
            if name in ([wrt] if isinstance(wrt, str) else wrt):
                np.testing.assert_array_equal(bar, expected)
            else:
                assert bar is None


@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize("shared", ["cotangent", "source"])
def test_shared_batches(plain, shared, unbatched):
    """What several items share is splatted for each, and has the sum of their cotangents.

    A cotangent of 3 items is a sum of 3 terms, or for a grid of 3 times 2 channels: fewer than 8 roundings.
    """
    given = draw(2, "bicubic", "reflection", False, batch=3)
    one = getattr(given, shared)[0] if unbatched else getattr(given, shared)[:1]
    copies = given._replace(**{shared: np.stack([getattr(given, shared)[0]] * 3)})
    given = given._replace(**{shared: one})
    np.testing.assert_array_equal(splat(plain, given), splat(plain, copies))
    for name, bar, each in zip(("cotangent", "source"), splat_vjp(plain, given), splat_vjp(plain, copies), strict=True):
        if name == shared:
            assert (bar.shape, bar.dtype) == (one.shape, one.dtype)
            limit = 8 * E * np.abs(each).sum(axis=0)
            assert (np.abs(bar.reshape(each[0].shape) - each.sum(axis=0)) <= limit + limit.max()).all()
        else:
            np.testing.assert_array_equal(bar, each)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_batch_axis_and_channels_last(plain, mode):
    given = draw(2, mode, "zeros", False)
    extent = given.image.shape[2:]
    image, bars = splat(plain, given), splat_vjp(plain, given)
    slopes = plain.grid_gradient(given.image, given.source, **given.options)
    counts = plain.grid_count(given.source, extent, **given.options)
    one = item(given)
    got = plain.grid_splat(one.cotangent, one.source, extent, **given.options)
    np.testing.assert_array_equal(got, image[0])
    for a, b in zip(splat_vjp(plain, one), bars, strict=True):
        np.testing.assert_array_equal(a, b[0])
    np.testing.assert_array_equal(plain.grid_gradient(one.image, one.source, **given.options), slopes[0])
    np.testing.assert_array_equal(plain.grid_count(one.source, extent, **given.options), counts[0])

    options = given.options | {"data_format": "channels_last"}
    last = given._replace(image=turned(given.image), cotangent=turned(given.cotangent), options=options)
    np.testing.assert_array_equal(plain.grid_splat(last.cotangent, last.source, extent, **options), turned(image))
    for a, b in zip(splat_vjp(plain, last), (turned(bars[0]), bars[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    got = plain.grid_gradient(last.image, last.source, **options)
    np.testing.assert_array_equal(got, np.moveaxis(slopes, 1, -2))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    """Values and grids may lie in memory in any way, and are not written."""
    given = draw(2, "bilinear", "zeros", False, dtype="float32")
    expected = everything(stnkit, given)
    views = samplers.Given(*(LAYOUTS[layout](array) for array in given[:-1]), given.options)
    for a, b in zip(everything(stnkit, views), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for view, array in zip(views[:-1], given[:-1], strict=True):
        np.testing.assert_array_equal(view, array)


@pytest.mark.parametrize("grid_dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("mode", MODES)
def test_half_precision(plain, mode, half, grid_dtype):
    """A splat of half values is that of the wider arithmetic, rounded once.

    So it is half a unit in the last place of the exact sum, plus the bound of the arithmetic.
    """
    given = draw(2, mode, "reflection", False)
    given = given._replace(
        image=given.image.astype(half), cotangent=given.cotangent.astype(half), source=given.source.astype(grid_dtype)
    )
    wide = "float64" if grid_dtype == "float64" else "float32"
    got = splat(plain, given)
    assert got.dtype == half
    whole = splat(plain, given._replace(cotangent=given.cotangent.astype(wide)))
    np.testing.assert_array_equal(got, whole.astype(half))
    arguments = given.cotangent.astype(float), given.image.astype(float), given.source.astype(wide)
    exact, _ = oracles.grid_sample_vjp(*arguments, **given.options)
    readers = oracles.readers(given.image, arguments[2], **given.options)
    size = bounds.Size(2, mode, wide, 5, float(np.abs(arguments[2]).max()), points=readers)
    bound = bounds.d_image(size)
    rounding = float(ml_dtypes.finfo(half).eps) / 2 * (np.abs(exact) + bound) + float(ml_dtypes.finfo(half).tiny)
    assert (np.abs(got.astype(float) - exact) <= rounding + bound).all()
    d_values, d_grid = splat_vjp(plain, given)
    assert (d_values.dtype, d_grid.dtype) == (half, given.source.dtype)
    np.testing.assert_array_equal(d_values, plain.grid_sample(given.image, given.source, **given.options))


@pytest.mark.parametrize(("half", "times"), [(np.float16, 3000), (ml_dtypes.bfloat16, 384)])
def test_half_precision_does_not_stall(plain, half, times):
    """A sum in half precision itself would end where the next one is less than half a unit: at 2048, or 256."""
    values, grid = np.ones((1, times), half), np.ones((times, 1), np.float32)
    image = plain.grid_splat(values, grid, (3,), coords="pixel")
    assert image.astype(float).tolist() == [[0, times, 0]]
    assert plain.grid_count(grid.astype(half), (3,), coords="pixel").tolist() == [0, times, 0]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_coordinates_that_are_not_finite(plain, mode, padding):
    """They add nothing, are not counted, and have no slope and no cotangent, whatever stands there."""
    grid = np.array([[[[np.nan, 0.0], [0.5, np.inf], [-np.inf, np.nan]]]])
    options = {"mode": mode, "padding_mode": padding, "coords": "pixel"}
    for value in (1.0, np.nan, np.inf):
        values, image = np.full((1, 2, 1, 3), value), np.full((1, 2, 3, 4), value)
        assert not plain.grid_splat(values, grid, (3, 4), **options).any()
        d_values, d_grid = plain.grid_splat_vjp(image, values, grid, **options)
        assert not d_values.any()
        assert not d_grid.any()
        assert not plain.grid_gradient(image, grid, fill_value=value, **options).any()
    assert not plain.grid_count(grid, (3, 4), **options).any()


V, G = np.ones((2, 3, 4, 5)), np.zeros((2, 4, 5, 2))
REFUSED = [
    (lambda p: p.grid_splat(V, G, (3,)), ValueError, ["`size`", "2 integers", "(H, W)", "(3,)"]),
    (lambda p: p.grid_splat(V, G, (3, -1)), ValueError, ["`size`", "(3, -1)"]),
    (lambda p: p.grid_splat(V, G, (2, 3, 6, 7)), ValueError, ["`size`", "without N and C"]),
    (lambda p: p.grid_splat(V, G, 3), TypeError, ["`size`", "got 3"]),
    (lambda p: p.grid_splat(V, G, (3, 1.5)), TypeError, ["`size`", "(3, 1.5)"]),
    (lambda p: p.grid_splat(V, G, (0, 3)), ValueError, ["`size`", "at least one pixel", "(0, 3)"]),
    (lambda p: p.grid_count(G, (0, 3)), ValueError, ["`size`", "at least one pixel", "(0, 3)"]),
    (lambda p: p.grid_splat(V[0, 0], G, (3, 3)), ValueError, ["`values`", "(N, C, H, W)", "(4, 5)"]),
    (lambda p: p.grid_splat(V[..., :4], G, (3, 3)), ValueError, ["`values`", "(4, 5)", "(4, 4)"]),
    (lambda p: p.grid_splat(np.ones((3, 3, 4, 5)), G, (3, 3)), ValueError, ["`values`", "`grid`", "3 and 2"]),
    (lambda p: p.grid_splat(V, G[..., :1], (3, 3)), ValueError, ["`grid`"]),
    (lambda p: p.grid_splat(V.astype(np.uint8), G, (3, 3)), TypeError, ["`values`", "uint8"]),
    (lambda p: p.grid_splat(V, G.astype(int), (3, 3)), TypeError, ["`grid`", "int64"]),
    (lambda p: p.grid_splat(V, G, (3, 3), mode="cubic"), ValueError, ["`mode`", "'cubic'"]),
    (lambda p: p.grid_splat_vjp(np.ones((2, 2, 3, 3)), V, G), ValueError, ["`cotangent`", "(2, 3, 3, 3)"]),
    (lambda p: p.grid_splat_vjp(np.ones((3, 3, 3)), V, G), ValueError, ["`cotangent`", "(2, 3, 3, 3)"]),
    (lambda p: p.grid_splat_vjp(np.ones((2, 3, 3, 3), "f"), V, G), TypeError, ["`cotangent`", "float64"]),
    (lambda p: p.grid_splat_vjp(np.ones((2, 3, 3, 3)), V, G, wrt="image"), ValueError, ["`wrt`", "'values'"]),
    (lambda p: p.grid_count(G, (3,)), ValueError, ["`size`", "2 integers"]),
    (lambda p: p.grid_count(G.astype(int), (3, 3)), TypeError, ["`grid`", "int64"]),
    (lambda p: p.grid_count(G[0, 0], (3, 3)), ValueError, ["`grid`"]),
    (lambda p: p.grid_gradient(V[0, 0], G), ValueError, ["`image`", "(N, C, H, W)"]),
    (lambda p: p.grid_gradient(V.astype(np.int64), G), TypeError, ["`image`", "int64", "'nearest'"]),
]


@pytest.mark.parametrize(("call", "kind", "parts"), REFUSED)
def test_refused(plain, call, kind, parts):
    with pytest.raises(kind) as caught:
        call(plain)
    for part in parts:
        assert part in str(caught.value)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_count(plain, d, mode, padding):
    """It is the splat of ones, and sums to the number of locations, but for what zeros padding loses.

    The d weights' sums are off by K taps e each, times W**(d-1) (see `bounds`), a product by d e W**d, and a sum
    of P locations' taps, P K**d at most, by as many e of the sum of their magnitudes, P W**d.
    """
    taps, w, _, _, rounding = bounds._TAPS[mode]
    for dtype, align in (("float64", False), ("float64", True), ("float32", False)):
        given = draw(d, mode, padding, align, dtype=dtype)
        extent, batch = given.image.shape[2:], len(given.source)
        counts = plain.grid_count(given.source, extent, **given.options)
        assert (counts.shape, counts.dtype) == ((batch, *extent), dtype)
        size = given.source.shape[1:-1]
        ones = plain.grid_splat(np.ones((batch, 1, *size), dtype), given.source, extent, **given.options)
        np.testing.assert_array_equal(counts, ones[:, 0])
        grid = np.random.default_rng(d).uniform(1, 2, given.source.shape).astype(dtype)  # of all taps: 0 to 3
        for points, known in ((given.source, padding != "zeros"), (grid, True)):
            options = given.options | {"coords": "normalized" if points is given.source else "pixel"}
            counts = plain.grid_count(points, (4,) * d if points is grid else extent, **options)
            count = math.prod(size)
            off = d * taps * rounding * w ** (d - 1) + (count * taps**d + d) * w**d
            limit = count * off * float(np.finfo(dtype).eps)
            for whole in counts.astype(float):
                assert not known or abs(math.fsum(whole.ravel()) - count) <= limit


@pytest.mark.parametrize(
    ("name", "dtype"), [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_count_in_every_dtype(plain, name, dtype):
    grid = np.array([[0.5], [2.0], [2.0], [-3.0]]).astype(name if name != "bfloat16" else ml_dtypes.bfloat16)
    for given, shape in ((grid, (4,)), (grid[None], (1, 4)), (np.stack([grid] * 3), (3, 4))):
        counts = plain.grid_count(given, (4,), coords="pixel")
        assert (counts.shape, counts.dtype) == (shape, dtype)
        np.testing.assert_array_equal(counts, np.broadcast_to([0.5, 0.5, 2, 0], shape))


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS, coords=["normalized", "pixel"])
def test_gradient(plain, d, mode, padding, coords):
    """It has the bits of the grid's cotangent for a cotangent of 1 on one channel, and 0 on the others.

    The two do the same products: signs of a folded axis, and the other channels' zeros, round nothing.
    """
    for align in (False, True):
        given = draw(d, mode, padding, align, coords=coords)
        options = given.options | {"fill_value": 0.5}
        got = plain.grid_gradient(given.image, given.source, **options)
        assert (got.shape, got.dtype) == ((*given.cotangent.shape, d), given.image.dtype)
        for c in range(given.image.shape[1]):
            one = np.zeros_like(given.cotangent)
            one[:, c] = 1
            _, expected = plain.grid_sample_vjp(one, given.image, given.source, wrt="grid", **options)
            np.testing.assert_array_equal(got[:, c], expected)
        assert (mode == "nearest") != got.any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_gradient_of_a_ramp(plain, d, dtype):
    """Bilinear interpolation of whole numbers at eighths of a pixel rounds nowhere: slopes are exact, by axis."""
    extent, random = (5, 6, 7)[-d:], np.random.default_rng(d)
    slopes = np.array([2.0, -3.0, 5.0])[:d]  # along x, y, z
    image = sum(slope * line for slope, line in zip(slopes, np.indices(extent)[::-1], strict=True))
    size = (2, 2, 3)[-d:]
    px = np.stack([random.integers(0, 8 * (n - 1), size) / 8 for n in extent[::-1]], axis=-1)
    got = plain.grid_gradient(image[None].astype(dtype), px.astype("float32"), coords="pixel")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.broadcast_to(slopes, (1, *size, d)))


@pytest.mark.parametrize(("name", "dtype"), [("float32", "float32"), ("float64", "float64"), ("float16", "float32")])
@pytest.mark.parametrize("whole", [np.uint8, np.int32])
def test_gradient_of_integers(plain, whole, name, dtype):
    """Beside an image of integers, derivatives have the dtype of the coordinates."""
    image = np.arange(12, dtype=whole).reshape(1, 3, 4)
    grid = np.array([[[0.5, 0.5], [1.25, 1.0]]], name)
    for mode, expected in (("bilinear", [1, 4]), ("nearest", [0, 0])):
        got = plain.grid_gradient(image, grid, mode=mode, coords="pixel")
        assert (got.shape, got.dtype) == ((1, 1, 2, 2), dtype)
        np.testing.assert_array_equal(got, np.broadcast_to(np.array(expected, dtype), got.shape))


@pytest.mark.parametrize("shared", ["image", "source"])
def test_gradient_of_shared_batches(plain, shared):
    given = draw(2, "bilinear", "wrap", True, batch=3)
    one, copies = (
        given._replace(**{shared: array}) for array in (getattr(given, shared)[:1], getattr(given, shared)[[0] * 3])
    )
    got = plain.grid_gradient(one.image, one.source, **given.options)
    np.testing.assert_array_equal(got, plain.grid_gradient(copies.image, copies.source, **given.options))


@pytest.mark.parametrize("batch", [0, 2])
def test_nothing_to_splat(plain, batch):
    """No locations leave an image of zeros, and no items none."""
    values, grid = np.ones((batch, 3, 0)), np.zeros((batch, 0, 1))
    image = plain.grid_splat(values, grid, (4,))
    assert image.shape == (batch, 3, 4)
    assert not image.any()
    assert plain.grid_count(grid, (4,)).tolist() == [[0] * 4] * batch
    assert [bar.shape for bar in plain.grid_splat_vjp(image, values, grid)] == [values.shape, grid.shape]
    assert plain.grid_gradient(image, grid).shape == (batch, 3, 0, 1)


@pytest.mark.parametrize("values", [np.ones((1, 1, 2), np.float16), np.ones((1, 2), np.float16)])
def test_shared_half_values_sum_in_float32(plain, values):
    """4096 ones: a sum in float16 would stop at 2048."""
    cotangent, grid = np.ones((4096, 1, 2), np.float16), np.zeros((4096, 2, 1), np.float32)
    d_values, _ = plain.grid_splat_vjp(cotangent, values, grid, wrt="values", coords="pixel")
    assert (d_values.shape, d_values.dtype) == (values.shape, np.float16)
    assert (d_values == 4096).all()


def test_shared_values_and_no_grids(plain):
    bars = plain.grid_splat_vjp(np.ones((0, 1, 4)), np.ones((1, 1, 3)), np.zeros((0, 3, 1)))
    assert [bar.shape for bar in bars] == [(1, 1, 3), (0, 3, 1)]
    assert not bars[0].any()
