"""Flows: sampling under one is sampling at its grid, only more accurate; and the derivatives of both.

Forward mode and the second order of `flow_sample` are in `test_forward_mode` and `test_second_order`.
"""

import math

import bounds
import ml_dtypes
import numpy as np
import oracles
import pytest
import samplers
from calls import PADDINGS
from covering import every_two_of
from samplers import MODES
from strategies import LAYOUTS

import stnkit

E = np.finfo(float).eps
UNITS = ("pixel", "normalized")


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a.astype(float) * b.astype(float)).ravel())


def pitch(size, align):
    """Return what a pixel of a lattice is in normalised coordinates, in the order x, y, z."""
    n = np.array(size[::-1], float)
    return np.divide(2, n - 1, out=np.zeros(len(n)), where=n > 1) if align else 2 / n


def draw(d, mode, padding, align, units="pixel", batch=2):
    """Draw a call away from knots, in either unit."""
    given = samplers.draw("flow", d, mode, padding, align, batch)
    scale = pitch(given.cotangent.shape[2:], align) if units == "normalized" else 1
    options = given.options | {"units": units}
    return given._replace(source=given.source * scale, source_dot=given.source_dot * scale, options=options)


def at_grid(options):
    """Return the options of `grid_sample`, and those of `flow_grid`."""
    rest = {name: value for name, value in options.items() if name != "units"}
    return rest, {"units": options["units"], "align_corners": options["align_corners"]}


def exact_grid(flow, units, align):
    """Return the grid of a flow: the lattice's coordinates, and the flow in their units."""
    size = flow.shape[-1 - flow.shape[-1] : -1]
    return oracles.base(size, align)[..., :-1] + flow.astype(float) * (pitch(size, align) if units == "pixel" else 1)


def size_of(given, grid, **more):
    """Return the size of a bound for sampling at a flow, against sampling at its grid.

    In units of e / 2 times reach (see `bounds`), in pixels: the flow's location takes eight roundings and its fold
    five; the grid's coordinate four, of numbers below |u| + 3, and its location and fold eight: 25 in all, which
    is 12.5 e reach. A bound has 8 e reach, and with theta = 2.5 (u + 3) and the d + 1 >= 2 products of a map 5
    more.
    """
    n, u = max(given.image.shape[2:]), float(np.abs(grid).max())
    mode = given.options["mode"]
    return bounds.Size(given.image.ndim - 2, mode, "float64", n, u, theta=2.5 * (u + 3), **more)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS, units=UNITS)
def test_is_sampling_at_its_grid(plain, d, mode, padding, units):
    for align in (False, True):
        given = draw(d, mode, padding, align, units)
        sampling, making = at_grid(given.options)
        grid = plain.flow_grid(given.source, **making)
        out = plain.flow_sample(given.image, given.source, **given.options)
        limit = bounds.value(size_of(given, grid))
        np.testing.assert_allclose(out, plain.grid_sample(given.image, grid, **sampling), rtol=0, atol=limit)
        exact = oracles.grid_sample(given.image, exact_grid(given.source, units, align), **sampling)
        np.testing.assert_allclose(out, exact, rtol=0, atol=limit)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS, units=UNITS)
def test_vjp_is_the_chain(plain, d, mode, padding, units):
    """The image's cotangent is that of sampling at the grid, and the flow's that of the grid, pulled back."""
    for align in (False, True):
        given = draw(d, mode, padding, align, units)
        sampling, making = at_grid(given.options)
        grid = plain.flow_grid(given.source, **making)
        d_image, d_flow = plain.flow_sample_vjp(given.cotangent, given.image, given.source, **given.options)
        expected, d_grid = plain.grid_sample_vjp(given.cotangent, given.image, grid, **sampling)
        readers = oracles.readers(given.image, grid, **sampling)
        assert (np.abs(d_image - expected) <= bounds.d_image(size_of(given, grid, points=readers))).all()
        limit = bounds.d_grid(size_of(given, grid, channels=given.image.shape[1]))
        scale = pitch(given.cotangent.shape[2:], align).max() if units == "pixel" else 1
        chained = plain.flow_grid_vjp(d_grid, **making)
        np.testing.assert_allclose(d_flow, chained, rtol=0, atol=limit * scale)
        assert mode == "nearest" or d_flow.any()
        for wrt, bars in (("image", (d_image, None)), ("flow", (None, d_flow)), ((), (None, None))):
            got = plain.flow_sample_vjp(given.cotangent, given.image, given.source, wrt=wrt, **given.options)
            for a, b in zip(got, bars, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_grid(plain, d, units, align):
    """The lattice rounds once, the flow twice and their sum once, on either side of the comparison."""
    random = np.random.default_rng(d)
    size = (2, 3, 4)[-d:]
    for dtype in ("float64", "float32", "float16", ml_dtypes.bfloat16):
        flow, wide = random.uniform(-3, 3, (2, *size, d)).astype(dtype), "f4" if dtype != "float64" else "f8"
        grid, exact = plain.flow_grid(flow, units=units, align_corners=align), exact_grid(flow, units, align)
        assert (grid.shape, grid.dtype) == (flow.shape, wide)
        limit = 4 * np.finfo(wide).eps * (1 + np.abs(exact - oracles.base(size, align)[..., :-1]))
        assert (np.abs(grid - exact) <= limit).all()
        np.testing.assert_array_equal(plain.flow_grid(flow[1], units=units, align_corners=align), grid[1])
    lattice = plain.affine_grid(np.eye(d, d + 1), size, align_corners=align)
    np.testing.assert_array_equal(plain.flow_grid(np.zeros((*size, d)), units=units, align_corners=align), lattice)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_grids_derivatives(plain, d, units, align):
    """The jvp is linear, adjoint to the vjp, and what the grid changes by along the tangent.

    Let p be the pitch, or 1 if that is more. A number is a product with the pitch, rounded once: with those of the
    sums that are compared it is off by 4 e p at most. The oracle's grids take six roundings of numbers below
    1 + 2 p each; with their difference and the jvp's product they are off by less than 8 e (1 + 2 p).
    """
    random = np.random.default_rng(d)
    flow, dots, more, cotangent = random.uniform(-1, 1, (4, 2, *(1, 3, 4)[-d:], d))
    options = {"units": units, "align_corners": align}
    grid, grid_dot = plain.flow_grid_jvp(flow, dots, **options)
    np.testing.assert_array_equal(grid, plain.flow_grid(flow, **options))
    np.testing.assert_array_equal(plain.flow_grid_jvp(flow, 2 * dots, **options)[1], 2 * grid_dot)
    np.testing.assert_array_equal(plain.flow_grid_jvp(more, dots, **options)[1], grid_dot)
    added = grid_dot + plain.flow_grid_jvp(flow, more, **options)[1]
    p = max(1, pitch(flow.shape[1:-1], align).max())
    np.testing.assert_allclose(plain.flow_grid_jvp(flow, dots + more, **options)[1], added, rtol=0, atol=4 * E * p)
    moved = exact_grid(flow + dots, units, align) - exact_grid(flow, units, align)
    np.testing.assert_allclose(grid_dot, moved, rtol=0, atol=8 * E * (1 + 2 * p))
    d_flow = plain.flow_grid_vjp(cotangent, **options)
    terms = np.abs(grid_dot * cotangent).sum()
    assert abs(dot(grid_dot, cotangent) - dot(dots, d_flow)) <= 1e-13 * terms
    for n in range(2):
        np.testing.assert_array_equal(plain.flow_grid_vjp(cotangent[n], **options), d_flow[n])
        for a, b in zip(plain.flow_grid_jvp(flow[n], dots[n], **options), (grid[n], grid_dot[n]), strict=True):
            np.testing.assert_array_equal(a, b)


@every_two_of(d=(1, 2, 3), mode=MODES, padding=PADDINGS)
def test_no_flow_is_the_identity(plain, d, mode, padding):
    """Where the output is as large as the input, locations are whole pixels: no bit of the image changes."""
    shape = (1, 2, *(3, 1, 7)[-d:])
    for dtype in ("float64", "float32", "float16", ml_dtypes.bfloat16):
        image = np.random.default_rng(d).uniform(-1, 1, shape).astype(dtype)
        flow = np.zeros((1, *shape[2:], d), "float64" if dtype == "float64" else dtype)
        for align in (False, True):
            for units in UNITS:
                options = {"mode": mode, "padding_mode": padding, "align_corners": align, "units": units}
                assert plain.flow_sample(image, flow, **options).tobytes() == image.tobytes()


@pytest.mark.parametrize(("mode", "dtype"), [("bilinear", "float32"), ("bicubic", "float16")])
def test_no_flow_on_a_long_axis(plain, mode, dtype):
    """So it is on an axis so long that coordinates of a grid in float32 miss whole pixels."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 1, 2, 1000)).astype(dtype)
    flow = np.zeros((1, 2, 1000, 2), dtype)
    assert plain.flow_sample(image, flow, mode=mode).tobytes() == image.tobytes()
    grid = plain.flow_grid(flow)
    assert grid.dtype == np.float32
    pixel, _ = oracles.locate(grid[0, 0, :, 0], 1000, False, "normalized")
    assert (pixel != np.arange(1000)).any()


@every_two_of(mode=MODES, padding=PADDINGS, align=[False, True])
def test_whole_pixels(plain, mode, padding, align):
    """A flow of whole pixels moves pixels as they are, and what it brings in is the padding's."""
    extent = (4, 5)
    random = np.random.default_rng(0)
    for dtype in ("float64", "float32", "float16", "uint8"):
        image = random.integers(1, 200, (1, 2, *extent)).astype(dtype)
        flow = random.integers(-7, 8, (1, *extent, 2)).astype("float64" if dtype == "float64" else "float16")
        at = [np.indices(extent)[k] + flow[0, ..., 1 - k].astype(int) for k in (0, 1)]
        y, x = (oracles.pad(i, n, padding, align) for i, n in zip(at, extent, strict=True))
        expected = np.where((y < 0) | (x < 0), 7, image[0][:, y, x])
        options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 7.0}
        np.testing.assert_array_equal(plain.flow_sample(image, flow, **options)[0], expected)


@pytest.mark.parametrize("align", [False, True])
def test_an_output_of_another_size(plain, align):
    """A pixel of the flow is one of its own lattice; an axis of one location has none between aligned corners."""
    image = np.arange(9.0).reshape(1, 9)
    flow = np.array([[0.0], [1.0], [-0.5]])
    expected = [0, 8, 6] if align else [1, 7, 5.5]  # lattice 0 4 8 with pitch 4, or 1 4 7 with pitch 3
    assert plain.flow_sample(image, flow, align_corners=align).ravel().tolist() == expected
    single = np.array([[2.0]])
    options = {"align_corners": align, "padding_mode": "border"}
    assert plain.flow_sample(image, single, **options).item() == (4 if align else 8)
    _, d_flow = plain.flow_sample_vjp(np.ones((1, 1)), image, single / 8, **options)
    assert d_flow.item() == (0 if align else 9)
    assert plain.flow_grid(single, align_corners=align).item() == (0 if align else 4)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_accuracy_in_half_precision(plain, half):
    """A ramp of 1000 pixels shows the location that each output reads: a flow in half precision keeps it.

    A displacement below 1/2 rounds to half precision by eps / 8 at most. The location, and the four roundings of
    the blend, of numbers below 1024 in float32, by 2**-14 each: 5 of them. A grid rounds coordinates above 1/2 by
    up to eps / 4, which is 125 eps pixels here; with more than 400 of them one is off by half of that.
    """
    eps = float(ml_dtypes.finfo(half).eps)
    limit = eps / 8 + 5 * 2.0**-14
    shift = np.random.default_rng(0).uniform(-0.5, 0.5, 1000)
    exact = np.clip(np.arange(1000) + shift, 0, 999)
    image = np.arange(1000, dtype=np.float32).reshape(1, 1000)
    by_flow = plain.flow_sample(image, shift.astype(half).reshape(-1, 1), padding_mode="border")
    np.testing.assert_allclose(by_flow[0], exact, rtol=0, atol=limit)
    grid = plain.flow_grid(shift.reshape(-1, 1)).astype(half)
    off = np.abs(plain.grid_sample(image, grid, padding_mode="border")[0] - exact).max()
    assert off >= 62.5 * eps > 100 * limit


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_flows_that_are_not_finite(plain, mode, padding):
    """They read the fill value, and pass no gradient, in either unit; beside them nothing changes."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 2, 3, 4))
    flow = np.full((1, 3, 4, 2), 0.25)
    bad = [(0, 0), (1, 2), (2, 3), (2, 0)]
    lost = flow.copy()
    for (y, x), value in zip(bad, ([np.nan, 0], [0, np.inf], [-np.inf, np.nan], [np.nan, np.nan]), strict=True):
        lost[0, y, x] = value
    where = np.isfinite(lost).all(axis=-1)[0]
    for units in UNITS:
        options = {"mode": mode, "padding_mode": padding, "units": units, "fill_value": 3.0}
        out = plain.flow_sample(image, lost, **options)
        assert (out[..., ~where] == 3).all()
        np.testing.assert_array_equal(out[..., where], plain.flow_sample(image, flow, **options)[..., where])
        cotangent = np.random.default_rng(1).uniform(-1, 1, out.shape)
        d_image, d_flow = plain.flow_sample_vjp(cotangent, image, lost, **options)
        expected = plain.flow_sample_vjp(np.where(where, cotangent, 0), image, flow, **options)
        np.testing.assert_array_equal(d_image, expected[0])
        np.testing.assert_array_equal(d_flow[:, where], expected[1][:, where])
        assert not d_flow[:, ~where].any()
        assert not plain.flow_sample_jvp(image, lost, image, np.ones_like(lost), **options)[1][..., ~where].any()
        assert not np.isfinite(plain.flow_grid(lost, units=units)[:, ~where]).all(axis=-1).any()


@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize("shared", ["image", "source"])
def test_shared_batches(plain, shared, unbatched):
    """What several items share has the sum of their cotangents: 3 items of fewer than 80 terms."""
    given = draw(2, "bicubic", "wrap", False, batch=3)
    one = getattr(given, shared)[0] if unbatched else getattr(given, shared)[:1]
    copies = given._replace(**{shared: np.stack([getattr(given, shared)[0]] * 3)})
    given = given._replace(**{shared: one})
    out = plain.flow_sample(given.image, given.source, **given.options)
    np.testing.assert_array_equal(out, plain.flow_sample(copies.image, copies.source, **given.options))
    got = plain.flow_sample_vjp(given.cotangent, given.image, given.source, **given.options)
    each = plain.flow_sample_vjp(given.cotangent, copies.image, copies.source, **given.options)
    for name, bar, expected in zip(("image", "source"), got, each, strict=True):
        if name == shared:
            assert bar.shape == one.shape
            limit = 240 * E * samplers.magnitude(given) * np.abs(given.cotangent).sum()
            np.testing.assert_allclose(bar.reshape(expected[0].shape), expected.sum(axis=0), rtol=0, atol=limit)
        else:
            np.testing.assert_array_equal(bar, expected)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_batch_axis_and_channels_last(plain, mode):
    given = draw(2, mode, "zeros", True)
    out = plain.flow_sample(given.image, given.source, **given.options)
    bars = plain.flow_sample_vjp(given.cotangent, given.image, given.source, **given.options)
    np.testing.assert_array_equal(plain.flow_sample(given.image[0], given.source[0], **given.options), out[0])
    got = plain.flow_sample_vjp(given.cotangent[0], given.image[0], given.source[0], **given.options)
    for a, b in zip(got, bars, strict=True):
        np.testing.assert_array_equal(a, b[0])
    image, cotangent = (np.moveaxis(a, 1, -1) for a in (given.image, given.cotangent))
    options = given.options | {"data_format": "channels_last"}
    np.testing.assert_array_equal(plain.flow_sample(image, given.source, **options), np.moveaxis(out, 1, -1))
    got = plain.flow_sample_vjp(cotangent, image, given.source, **options)
    np.testing.assert_array_equal(got[0], np.moveaxis(bars[0], 1, -1))
    np.testing.assert_array_equal(got[1], bars[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    """A flow is walked where it lies, and is not written. Compiled: plain Python has no index below an address."""
    given = samplers.draw("flow", 2, "bilinear", "zeros", False, dtype="float32")
    view = LAYOUTS[layout](given.source)
    out = stnkit.flow_sample(given.image, given.source, **given.options)
    np.testing.assert_array_equal(stnkit.flow_sample(given.image, view, **given.options), out)
    arguments = given.cotangent, given.image
    _, d_flow = stnkit.flow_sample_vjp(*arguments, given.source, wrt="flow", **given.options)
    got = stnkit.flow_sample_vjp(*arguments, view, wrt="flow", **given.options)
    assert got[0] is None
    np.testing.assert_array_equal(got[1], d_flow)
    np.testing.assert_array_equal(stnkit.flow_grid(view), stnkit.flow_grid(given.source))
    np.testing.assert_array_equal(stnkit.flow_grid_vjp(view), stnkit.flow_grid_vjp(given.source))
    for a, b in zip(stnkit.flow_grid_jvp(view, view), stnkit.flow_grid_jvp(given.source, given.source), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(view, given.source)


def test_into_memory_of_the_caller(plain):
    """A result may be written where the caller wants it, and a gradient added there."""
    given = draw(2, "bilinear", "border", False)
    out = np.empty_like(given.cotangent)
    assert plain.flow_sample(given.image, given.source, out=out, **given.options) is out
    np.testing.assert_array_equal(out, plain.flow_sample(given.image, given.source, **given.options))
    d_image, d_flow = plain.flow_sample_vjp(given.cotangent, given.image, given.source, **given.options)
    sums = np.zeros_like(d_image)
    got = plain.flow_sample_vjp(given.cotangent, given.image, given.source, accumulate_into=sums, **given.options)
    assert got[0] is sums
    np.testing.assert_array_equal(sums, d_image)
    np.testing.assert_array_equal(got[1], d_flow)
