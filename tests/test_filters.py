"""The filters `mitchell` and `lanczos3`: weights, slopes and curves in exact arithmetic, and what they reproduce."""

import importlib
from fractions import Fraction

import numpy as np
import pytest
from conftest import uncompiled

from stnkit.spec import LANCZOS3, MITCHELL, Spec

PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494")
FRACTIONS = [Fraction(0), *(Fraction(2 * k + 1, 64) for k in range(32)), Fraction(1, 2**20), 1 - Fraction(1, 2**20)]


@pytest.fixture(scope="module")
def looped(plain):
    with uncompiled():
        return importlib.import_module("stnkit.kernels.leaves.looped")


def sine(x):
    """Return sin(pi x), for |x| <= 3 to 50 digits."""
    x, term, total = PI * x, Fraction(1), Fraction(0)
    for k in range(1, 70):
        term = Fraction(round(term * x / k * 10**60), 10**60)
        total += (0, 1, 0, -1)[k % 4] * term
    return total


def mitchell(s):
    """Mitchell and Netravali's kernel as they write it, at a distance from a pixel."""
    b, c, s = Fraction(1, 3), Fraction(1, 3), abs(s)
    if s < 1:
        return ((12 - 9 * b - 6 * c) * s**3 + (-18 + 12 * b + 6 * c) * s**2 + (6 - 2 * b)) / 6
    far = (-b - 6 * c) * s**3 + (6 * b + 30 * c) * s**2 + (-12 * b - 48 * c) * s + (8 * b + 24 * c)
    return far / 6 if s < 2 else Fraction(0)


def weights(t, interp):
    """Return the weights of a filter's taps for the fraction `t`."""
    if interp == MITCHELL:
        return [mitchell(t + 1 - k) for k in range(4)]
    found = [3 * sine(s) * sine(s / 3) / (PI * s) ** 2 if s else Fraction(1) for s in (t + 2 - k for k in range(6))]
    return [weight / sum(found) for weight in found]


def exact(t, interp):
    """Return the weights, their slopes and curves, by differences to 18 digits, on the right of a knot."""
    h = Fraction(1, 10**10)
    parts = [weights(t + k * h, interp) for k in range(5)]
    slopes = [(-25 * a + 48 * b - 36 * c + 16 * d - 3 * e) / (12 * h) for a, b, c, d, e in zip(*parts, strict=True)]
    curves = [
        (35 * a - 104 * b + 114 * c - 56 * d + 11 * e) / (12 * h**2) for a, b, c, d, e in zip(*parts, strict=True)
    ]
    return parts[0], slopes, curves


@pytest.mark.parametrize("interp", [MITCHELL, LANCZOS3])
def test_weights(looped, interp):
    """Weights to 2 epsilon, slopes to 4, curves to 16, which are numbers as large as 10; what they sum to, as well."""
    choices = Spec(1, interp)
    for t in FRACTIONS:
        expected = exact(t, interp)
        for T in (np.float32, np.float64):
            e = float(np.finfo(T).eps)
            found = looped.weigh(T(t), choices)
            again = [found[0], *(looped.derivatives(T(t), times, choices) for times in (1, 2))]
            assert again == [*found]
            for got, numbers, total, most in zip(found, expected, (1, 0, 0), (2, 4, 16), strict=True):
                for one, other in zip(got, [*numbers, 0, 0], strict=False):
                    assert type(one) is T
                    assert abs(Fraction(float(one)) - other) <= most * e, (t, T)
                assert abs(sum(map(Fraction, map(float, got))) - total) <= most * e


def test_derivatives_of_higher_order(looped):
    """The third of `mitchell` are what curves rise by, and higher ones 0; those of `lanczos3` are not known."""
    (*_, low), (*_, high) = (looped.weigh(t, Spec(1, MITCHELL)) for t in (0.0, 1.0))
    third = looped.derivatives(0.25, 3, Spec(1, MITCHELL))
    np.testing.assert_allclose(third, np.subtract(high, low), rtol=1e-15)
    assert not any(looped.derivatives(0.25, 4, Spec(1, MITCHELL)))
    assert np.isnan(looped.derivatives(0.25, 3, Spec(1, LANCZOS3))).all()


def test_lanczos_of_jax(plain):
    """It divides by the sum as well, of the taps that lie inside."""
    import jax
    from jax.image import scale_and_translate

    line, scale, shift = np.random.default_rng(0).random(24), np.array([1.3]), np.array([0.37])
    with jax.enable_x64(True):
        expected = scale_and_translate(line, (24,), (0,), scale, shift, method="lanczos3", antialias=False)
    x = (np.arange(24) + 0.5 - shift) / scale - 0.5
    out = plain.grid_sample(line[None], x[:, None], mode="lanczos3", coords="pixel")[0]
    inside = (x > 2) & (x < 21)
    np.testing.assert_allclose(out[inside], np.asarray(expected)[inside], rtol=0, atol=36 * np.finfo(float).eps)


@pytest.mark.parametrize("mode", ["mitchell", "lanczos3"])
def test_constants_and_pixels(plain, mode):
    """Both keep a constant; lanczos3 reads a pixel at its centre, exactly, and mitchell blurs it."""
    x = np.linspace(-3, 9, 97)[None, :, None]
    options = {"mode": mode, "padding_mode": "border", "coords": "pixel"}
    np.testing.assert_allclose(plain.grid_sample(np.full((1, 1, 6), 3.0), x, **options), 3.0, rtol=1e-15)
    image, centres = np.random.default_rng(0).random((1, 1, 6)), np.arange(6.0)[None, :, None]
    out = plain.grid_sample(image, centres, **options)
    if mode == "lanczos3":
        np.testing.assert_array_equal(out, image)
    else:
        line = np.pad(image[0, 0], 1, mode="edge")
        np.testing.assert_allclose(out[0, 0], np.convolve(line, np.array([1, 16, 1]) / 18, "valid"), rtol=1e-15)
