"""Cotangents are the derivatives: adjoints by dot products, coordinates by differences away from knots.

Uncompiled: machine code has the same bits, as `test_machine_code.py` finds.
"""

import math

import numpy as np
import pytest
from calls import SPECS
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import numbers, off_knots, pixels, shapes, strange

E = np.finfo(float).eps
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}


def dot(a, b):
    """Sum products without rounding the sum."""
    return math.fsum((a.astype(float) * b.astype(float)).ravel())


@pytest.mark.parametrize(("mode", "padding", "align"), SPECS)
@settings(max_examples=50)
@given(data=st.data())
def test_adjoint(plain, data, mode, padding, align):
    """<S v, c> = <v, S' c> for the sampling S at any coordinates: the two use the same weights.

    A term is a product of 2 weights, an image and a cotangent value. On the left it takes part in nested sums of
    K terms, 2 (K + 1) roundings; on the right in 3 products and in a sum over at most K K P terms; one product
    follows on each side. Both sums are off by at most that times e / 2 times the sum of the terms' magnitudes,
    which is below 1.375**2 max|v| sum|c|.
    """
    extent = data.draw(shapes(2))
    image = data.draw(numbers((2, 2, *extent)))
    px = data.draw(strange(data.draw(pixels((2, 3, 4), extent))))
    cotangent = data.draw(numbers((2, 2, 3, 4)))
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "coords": "pixel"}
    out = plain.grid_sample(image, px, **options)
    d_image, nothing = plain.grid_sample_vjp(cotangent, image, px, wrt="image", **options)
    assert nothing is None
    k = TAPS[mode]
    limit = (2 * (k + 1) + 3 + k * k * 12 + 2) * E * 1.375**2 * np.abs(image).max() * np.abs(cotangent).sum()
    assert abs(dot(out, cotangent) - dot(image, d_image)) <= limit


@pytest.mark.parametrize(("mode", "padding", "align"), SPECS)
@settings(max_examples=50)
@given(data=st.data())
def test_grid_cotangent_is_the_difference_quotient(plain, data, mode, padding, align):
    """Central differences of step h, which meet no knot.

    Their own error is h**2 / 6 times a third derivative: 0 for nearest and bilinear; for bicubic the slopes'
    second derivatives are 6 (a + 2) = 7.5 and 6 a = -4.5, in sum 24, times 1.375 for the other axis, times two
    channels. An output, of a coordinate below 20, is off by 1e-13 at most: that is divided by h.
    """
    extent = data.draw(shapes(2))
    image, px = data.draw(numbers((1, 2, *extent))), data.draw(off_knots((1, 3, 4), extent))
    cotangent = data.draw(numbers((1, 2, 3, 4)))
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "coords": "pixel", "fill_value": 0.5}
    nothing, d_grid = plain.grid_sample_vjp(cotangent, image, px, wrt="grid", **options)
    assert nothing is None
    h = 2.0**-13
    limit = (h**2 / 6 * 24 * 1.375 * 2 if mode == "bicubic" else 0) + 4 * 1e-13 / h
    for axis in range(2):
        step = h * np.eye(2)[axis]
        ahead, behind = (plain.grid_sample(image, px + s * step, **options) for s in (1, -1))
        quotient = ((ahead - behind) * cotangent).sum(axis=1) / (2 * h)
        np.testing.assert_allclose(d_grid[..., axis], quotient, rtol=0, atol=limit)


@given(data=st.data())
def test_theta_cotangent_is_the_difference_quotient(plain, data):
    """The output is piecewise multilinear in each entry of theta: halving the step until no knot is met."""
    image, cotangent = data.draw(numbers((1, 2, 4, 5))), data.draw(numbers((1, 2, 3, 4)))
    theta = data.draw(numbers((1, 2, 3)))
    _, d_theta = plain.affine_sample_vjp(cotangent, image, theta, wrt="theta")
    px = ((plain.affine_grid(theta, (3, 4)) + 1) * [5, 4] - 1) / 2
    room = np.abs(px - np.rint(px)).min()  # pixels to the next knot; an entry moves one by at most 2.5 h
    if room < 1e-4:
        return
    h = room / 4
    # An output, of numbers below 20, is off by at most 1e-13, and 24 of them are summed.
    for entry in np.ndindex(2, 3):
        step = np.zeros_like(theta)
        step[0][entry] = h
        ahead, behind = (plain.affine_sample(image, theta + s * step, (3, 4)) for s in (1, -1))
        quotient = ((ahead - behind) * cotangent).sum() / (2 * h)
        assert abs(d_theta[0][entry] - quotient) <= 24 * 1e-13 / h


@given(data=st.data())
def test_shared_axes_sum(plain, data):
    """The cotangent of what several items share is the sum of theirs; values are those of copies."""
    image, px = data.draw(numbers((3, 2, 4, 5))), data.draw(pixels((3, 2, 3), (4, 5)))
    cotangent = data.draw(numbers((3, 2, 2, 3)))
    for shared_image, shared_grid in ((True, False), (False, True)):
        one_image = image[:1] if shared_image else image
        one_grid = px[:1] if shared_grid else px
        copies = np.broadcast_to(one_image, image.shape).copy(), np.broadcast_to(one_grid, px.shape).copy()
        out = plain.grid_sample(one_image, one_grid, coords="pixel")
        np.testing.assert_array_equal(out, plain.grid_sample(*copies, coords="pixel"))
        got = plain.grid_sample_vjp(cotangent, one_image, one_grid, coords="pixel")
        each = plain.grid_sample_vjp(cotangent, *copies, coords="pixel")
        for bar, bars, shared in zip(got, each, (shared_image, shared_grid), strict=True):
            expected = bars.sum(axis=0, keepdims=True) if shared else bars
            # At most 3 items of 24 terms below 4 each, in another order.
            np.testing.assert_allclose(bar, expected, rtol=0, atol=72 * 72 * 4 * E if shared else 0)


@given(data=st.data())
def test_shared_theta_sums(plain, data):
    image, theta = data.draw(numbers((3, 2, 4, 5))), data.draw(numbers((1, 2, 3)))
    cotangent = data.draw(numbers((3, 2, 2, 3)))
    _, d_theta = plain.affine_sample_vjp(cotangent, image, theta)
    _, each = plain.affine_sample_vjp(cotangent, image, theta.repeat(3, axis=0))
    assert d_theta.shape == theta.shape
    np.testing.assert_allclose(d_theta[0], each.sum(axis=0), rtol=0, atol=72 * 72 * 20 * E)


@given(data=st.data())
def test_no_batch_axis(plain, data):
    """Without a batch axis on both sides the result has none; on one side, it is that of a batch of one."""
    image, px = data.draw(numbers((2, 4, 5))), data.draw(pixels((2, 3), (4, 5)))
    batched = plain.grid_sample(image[None], px[None], coords="pixel")
    bars = plain.grid_sample_vjp(batched, image[None], px[None], coords="pixel")
    for a, b in ((image, px), (image[None], px), (image, px[None])):
        out = plain.grid_sample(a, b, coords="pixel")
        np.testing.assert_array_equal(out, batched if 4 in (a.ndim, b.ndim) else batched[0])
        d_a, d_b = plain.grid_sample_vjp(out, a, b, coords="pixel")
        np.testing.assert_array_equal(d_a.reshape(bars[0].shape), bars[0])
        np.testing.assert_array_equal(d_b.reshape(bars[1].shape), bars[1])
        assert (d_a.shape, d_b.shape) == (a.shape, b.shape)
