"""Every map of one coordinate on one axis, exhaustively for small axes, against exact rational arithmetic."""

import importlib
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import uncompiled
from covering import every_two_of

from stnkit.spec import (
    AFFINE,
    BICUBIC,
    BILINEAR,
    BORDER,
    FLOW,
    LANCZOS3,
    MITCHELL,
    NEAREST,
    REFLECTION,
    SPLINE2,
    SPLINE3,
    SPLINE4,
    SPLINE5,
    WRAP,
    ZEROS,
    Spec,
)

FLOATS = [np.float32, np.float64]
SPLINES = [SPLINE2, SPLINE3, SPLINE4, SPLINE5]
FILTERS = [MITCHELL, LANCZOS3]
SIZES = range(1, 7)
EIGHTHS = [Fraction(k, 8) for k in range(-160, 161)]  # exact in both types, knots and ties among them
HUGE = [2.0**22 + 1, 3e9, 1e20, 2.0**90]


def spec(interp=BILINEAR, align=False, pixel=False, source=AFFINE):
    return Spec(2, interp, align=align, pixel=pixel, source=source, source_bar=True)


@pytest.fixture(scope="module")
def axis(plain):
    with uncompiled():
        return importlib.import_module("stnkit.kernels.leaves.axis")


@pytest.fixture(scope="module")
def paddings(plain):
    with uncompiled():
        return importlib.import_module("stnkit.kernels.leaves.padding")


@pytest.fixture(scope="module")
def looped(plain):
    with uncompiled():
        return importlib.import_module("stnkit.kernels.leaves.looped")


def pixel(u, n, align):
    return (u + 1) / 2 * (n - 1) if align else ((u + 1) * n - 1) / 2


def line(n, padding, align):
    """Return the pixels of one period of a padded axis, from pixel 0 on."""
    if padding == WRAP:
        return list(range(n))
    return [*range(n), *(range(n - 2, 0, -1) if align else range(n - 1, -1, -1))]


def reads(i, n, padding, align):
    if padding == ZEROS:
        return i if 0 <= i < n else -1
    if padding == BORDER:
        return min(max(i, 0), n - 1)
    period = line(n, padding, align)
    return period[i % len(period)]


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_locate_and_chain(axis, n, align, T):
    for u in EIGHTHS:
        assert axis.locate(T(u), n, spec(align=align)) == pixel(u, n, align)
        assert axis.locate(T(u), n, spec(align=align, pixel=True)) == u
    for t in SIZES:
        unit = pixel(Fraction(1), n, align) - pixel(Fraction(0), n, align)
        assert axis.chain(n, t, T(0), spec(align=align)) == unit
        assert axis.chain(n, t, T(0), spec(align=align, source=FLOW)) == unit
        assert axis.chain(n, t, T(0), spec(align=align, pixel=True)) == 1
    for given, in_pixels in itertools.product([np.nan, np.inf, -np.inf], [False, True]):
        assert np.isnan(axis.locate(T(given), n, spec(align=align, pixel=in_pixels)))
    for u, in_pixels in itertools.product([*HUGE, float(np.finfo(T).max)], [False, True]):
        there = [axis.locate(T(s * u), n, spec(align=align, pixel=in_pixels)) for s in (-1, 1)]
        assert np.isfinite(there).all()
        if n > 1 or in_pixels or not align:
            assert there[0] < -(2**20)
            assert there[1] > 2**20
        else:
            assert there == [0, 0]
        assert type(there[0]) is T


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_drift(axis, n, align, T):
    """A flow in pixels of the output's lattice: exact where the pitch is; nothing moves what has no pitch."""
    for t, i, f in itertools.product((n, 2 * n, 1), range(2 * n), EIGHTHS[::16]):
        if align:
            pitch = Fraction(n - 1, t - 1) if t > 1 else Fraction(0)
            origin = Fraction(0) if t > 1 else Fraction(n - 1, 2)
        else:
            pitch = Fraction(n, t)
            origin = (pitch - 1) / 2
        if pitch.denominator not in (1, 2) or i >= t:
            continue
        given = spec(align=align, pixel=True, source=FLOW)
        assert axis.chain(n, t, T(0), given) == pitch
        assert axis.drift(T(f), i, n, t, given) == i * pitch + origin + f * pitch
        given = given._replace(pixel=False)
        unit = Fraction(n - 1 if align else n, 2)
        assert axis.drift(T(f), i, n, t, given) == i * pitch + origin + f * unit
    for given, in_pixels in itertools.product([np.nan, np.inf, -np.inf], [False, True]):
        assert np.isnan(axis.drift(T(given), 0, n, n, spec(align=align, pixel=in_pixels, source=FLOW)))
    for u in HUGE[1:]:
        assert np.isfinite(axis.drift(T(u), 0, n, n, spec(align=align, pixel=True, source=FLOW)))


@pytest.mark.parametrize("T", FLOATS)
def test_whole_and_is_near(axis, T):
    for x, integer in itertools.product(EIGHTHS, [np.int32, np.int64]):
        index, number = axis.whole(T(x), integer(5))
        assert (index, type(index)) == (math.floor(x), integer)
        assert (number, type(number)) == (math.floor(x), T)
    for x in (2.0**22, -(2.0**22), 0.5):
        assert axis.is_near(T(x))
        assert axis.whole(T(x), np.int32(5)) == (math.floor(x), math.floor(x))
    for x in (np.nan, np.inf, -np.inf, 2.0**22 + 0.5, -(2.0**22) - 0.5):
        assert not axis.is_near(T(x))


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("span", range(1, 13))
def test_fold_is_exact(paddings, span, T):
    far = [Fraction(s * (2**22 - k) + j, 2) for s in (-2, 2) for k in range(15) for j in (0, 1)]
    for x in EIGHTHS + [x for x in far if abs(x) <= 2**22]:
        assert paddings.fold(T(x), span) == x % span
    for k, end in itertools.product(range(-40, 41), (-np.inf, np.inf)):
        x = np.nextafter(T(k * span), T(end))  # beside a seam, where a rounded quotient could cross it
        if k:
            assert (
                abs(Fraction(float(paddings.fold(x, span))) - Fraction(float(x)) % span) <= span * np.finfo(T).eps / 2
            )
    for tiny in (-1e-30, -np.finfo(T).eps / 4):
        assert 0 <= paddings.fold(T(tiny), span) < span


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_clip(paddings, n, T):
    for x in EIGHTHS:
        assert paddings.clip(T(x), n) == (min(max(x, 0), n - 1), 1 if 0 < x < n - 1 else 0)


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_settle(paddings, n, align, T):
    """Reflection is a triangle wave between the mirrors, and then clamped; its slope is 0 at the edge pixels."""
    for x, interp in itertools.product(EIGHTHS, [NEAREST, BILINEAR]):
        for padding in (ZEROS, WRAP):
            assert paddings.settle(T(x), n, padding, spec(interp, align)) == (x, 1)
        inside = 0 < x < n - 1
        assert paddings.settle(T(x), n, BORDER, spec(interp, align)) == (min(max(x, 0), n - 1), int(inside))
        low, span = (0, n - 1) if align else (Fraction(-1, 2), n)
        phase = (x - low) % (2 * span) if span else 0
        y = min(max(low + span - abs(phase - span), 0), n - 1) if span else 0
        slope = 0 if not 0 < y < n - 1 else (1 if phase < span else -1)
        assert paddings.settle(T(x), n, REFLECTION, spec(interp, align)) == (y, slope)
    for padding in (ZEROS, BORDER, REFLECTION, WRAP):
        assert paddings.settle(T(-3.25), n, padding, spec(BICUBIC, align)) == (-3.25, 1)


@pytest.mark.parametrize("padding", [ZEROS, BORDER, REFLECTION, WRAP])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_neighbour(paddings, n, align, padding):
    """Every tap of a footprint reads the pixel that the padded line has there."""
    for interp, reach in ((NEAREST, 1), (BILINEAR, 2), (BICUBIC, 4)):
        if interp != BICUBIC and padding == REFLECTION:
            continue  # acts on the coordinate: only pixels inside, and one beyond with weight 0, are asked for
        for i, k in itertools.product(range(-40, 41), range(reach)):
            first = paddings.base(i, n, padding, spec(interp, align))
            got = paddings.neighbour(first + k, n, padding, spec(interp, align))
            assert got == reads(i + k, n, padding, align)
    for i in range(n + 1):
        assert paddings.neighbour(i, n, REFLECTION, spec(BILINEAR, align)) == min(i, n - 1)


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_tame_reads_the_same(axis, paddings, n, align, T):
    """A far coordinate keeps its exact phase in a padding that repeats, and stays outside elsewhere."""
    for x, sign in itertools.product([*HUGE, 2.0**22 + 0.5, 4194311.5], (-1, 1)):
        x = T(sign * x)
        for padding in (REFLECTION, WRAP):
            span = len(line(n, padding, align)) if n > 1 or padding == WRAP or not align else 0
            y = paddings.tame(x, n, padding, spec(align=align))
            assert axis.is_near(y)
            assert Fraction(float(y)) == (Fraction(float(x)) % span if span else 0)
        for padding in (ZEROS, BORDER):
            y = paddings.tame(x, n, padding, spec(align=align))
            assert y == (-4 if sign < 0 else n + 3)
    assert paddings.tame(T(2**23), 2**24, BORDER, spec()) == 2**23  # far, but inside


@pytest.mark.parametrize("T", FLOATS)
def test_cubic(axis, T):
    """Weights, slopes and curves to 16 epsilon of Keys' polynomials; they sum to 1, to 0 and to 0."""
    a, e = Fraction(-3, 4), float(np.finfo(T).eps)
    for k in range(257):
        t = Fraction(k, 256)
        weights, slopes, curves = axis.cubic(T(t))
        for s, w, v, q, sign in zip((t + 1, t, 1 - t, 2 - t), weights, slopes, curves, (1, 1, -1, -1), strict=True):
            near = s <= 1
            exact = (a + 2) * s**3 - (a + 3) * s**2 + 1 if near else a * (s**3 - 5 * s**2 + 8 * s - 4)
            slope = 3 * (a + 2) * s**2 - 2 * (a + 3) * s if near else a * (3 * s**2 - 10 * s + 8)
            assert abs(Fraction(float(w)) - exact) <= 16 * e
            curve = 6 * (a + 2) * s - 2 * (a + 3) if near else a * (6 * s - 10)
            assert abs(Fraction(float(v)) - sign * slope) <= 16 * e
            assert abs(Fraction(float(q)) - curve) <= 16 * e
        assert abs(sum(map(Fraction, map(float, weights))) - 1) <= 16 * e
        assert abs(sum(map(Fraction, map(float, slopes)))) <= 16 * e
        assert abs(sum(map(Fraction, map(float, curves)))) <= 16 * e


def b_spline(x, degree, times=0):
    """Return the B-spline of a degree about 0, or a derivative: divided differences of truncated powers, exactly."""
    total, p = Fraction(0), degree - times
    for k in range(degree + 2):
        past = x + Fraction(degree + 1, 2) - k
        total += (-1) ** k * math.comb(degree + 1, k) * (past**p if past >= 0 else 0)
    return total / math.factorial(p)


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("interp", SPLINES)
def test_spline(looped, interp, T):
    """Weights, slopes, curves and all further derivatives to 16 epsilon; weights sum to 1, and derivatives to 0."""
    choices, e = spec(interp), float(np.finfo(T).eps)
    degree = choices.degree
    for k in range(65):
        t = Fraction(k, 64) if k < 64 else 1 - Fraction(1, 2**20)
        distances = [t + Fraction(degree - 1, 2) - tap for tap in range(degree + 1)]
        found = [
            *looped.weigh(T(t), choices),
            *(looped.derivatives(T(t), times, choices) for times in range(1, 7)),
        ]
        for got, times in zip(found, (0, 1, 2, *range(1, 7)), strict=True):
            exact = [b_spline(s, degree, times) if times <= degree else 0 for s in distances]
            for one, other in zip(got[: degree + 1], exact, strict=True):
                assert abs(Fraction(float(one)) - other) <= 16 * e
            assert abs(sum(map(Fraction, map(float, got[: degree + 1]))) - (times == 0)) <= 16 * e


@every_two_of(n=SIZES, align=[False, True], padding=[ZEROS, BORDER, REFLECTION, WRAP], T=FLOATS)
def test_looped_taps(axis, looped, n, align, padding, T):
    """A footprint is centred at the coordinate; a lost one has dead taps, and sums to the fill value exactly."""
    for interp in SPLINES + FILTERS:
        choices = spec(interp, align)
        for x in EIGHTHS:
            first, _, _, _, lost = looped.looped_taps(T(x), n, padding, choices)
            js = [looped.looped_tap(first, k, lost, n, padding, choices) for k in range(choices.taps)]
            begin = math.floor(x - Fraction(choices.taps - 2, 2))
            assert js == [reads(begin + k, n, padding, align) for k in range(choices.taps)]
            assert axis.padding_slope(T(x), n, padding, choices) == 1
        first, ws, _, _, lost = looped.looped_taps(T(np.nan), n, padding, choices)
        assert [looped.looped_tap(first, k, lost, n, padding, choices) for k in range(6)] == [-1] * 6
        assert ws == (1, 0, 0, 0, 0, 0)
        assert axis.padding_slope(T(np.nan), n, padding, choices) == 0


@pytest.mark.parametrize("T", FLOATS)
@pytest.mark.parametrize("padding", [ZEROS, BORDER, REFLECTION, WRAP])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_taps(axis, paddings, n, align, padding, T):
    """Nearest rounds half to even; the weights of a footprint sum to 1 and its slopes to 0, at every eighth."""
    for x in EIGHTHS:
        y = Fraction(float(paddings.settle(T(x), n, padding, spec(BILINEAR, align))[0]))
        slope = paddings.settle(T(x), n, padding, spec(BILINEAR, align))[1]
        (j, *_), (w, *_), (v, *_), (q, *_), scale = axis.taps(T(x), n, padding, spec(NEAREST, align))
        assert (j, w, v, q, scale) == (reads(round(y), n, padding, align), 1, 0, 0, 0)
        js, ws, vs, qs, scale = axis.taps(T(x), n, padding, spec(BILINEAR, align))
        t = y - math.floor(y)
        assert (ws[:2], vs[:2], scale) == ((1 - t, t), (-1, 1), slope)
        assert js[0] == reads(math.floor(y), n, padding, align)
        assert t == 0 or js[1] == reads(math.floor(y) + 1, n, padding, align)
        assert qs == (0, 0, 0, 0)
        js, ws, vs, qs, scale = axis.taps(T(x), n, padding, spec(BICUBIC, align))
        assert scale == 1
        assert list(js) == [reads(math.floor(x) + k, n, padding, align) for k in (-1, 0, 1, 2)]
        assert sum(ws) == 1  # exact: eighths have few bits
        assert sum(vs) == 0
        assert sum(qs) == 0
    for interp, share in ((NEAREST, [1]), (BILINEAR, [0.5] * 2), (BICUBIC, [0.25] * 4)):
        js, ws, _, _, scale = axis.taps(T(np.nan), n, padding, spec(interp, align))
        count = spec(interp).taps
        assert (list(js[:count]), list(ws[:count]), scale) == ([-1] * count, share, 0)


@pytest.mark.parametrize("T", FLOATS)
def test_lattice(plain, T):
    """Each location is one correctly rounded division."""
    sources = importlib.import_module("stnkit.kernels.leaves.sources")
    for n in range(1, 50):
        for i in range(n):
            exact = Fraction(2 * i, n - 1) - 1 if n > 1 else Fraction(0)
            assert sources.lattice(i, n, T(0), spec(align=True)) == T(float(exact))
            assert sources.lattice(i, n, T(0), spec()) == T(float(Fraction(2 * i + 1, n) - 1))


def test_parts_cover_all_work_once(plain):
    cpu = importlib.import_module("stnkit.kernels.cpu.loops")
    for batch, channels, tiles in itertools.product((1, 3), (1, 5), (1, 4)):
        for parts in itertools.product(range(1, batch + 1), range(1, channels + 1), range(1, tiles + 1)):
            done = [
                each
                for item in range(math.prod(parts))
                for each in itertools.product(*(range(*r) for r in cpu.ranges(item, parts, batch, channels, tiles)))
            ]
            assert sorted(done) == list(itertools.product(range(batch), range(channels), range(tiles)))


def test_collapse(plain):
    """One stride walks several axes in order, or none does: as walking them one by one says."""
    layout = importlib.import_module("stnkit.plans.layout")
    for shape in itertools.product((1, 2, 3), repeat=2):
        for strides in itertools.product((-6, -1, 0, 1, 2, 3), repeat=2):
            walk = [i * strides[0] + j * strides[1] for i in range(shape[0]) for j in range(shape[1])]
            steps = {b - a for a, b in itertools.pairwise(walk)}
            step = layout.collapse(shape, strides)
            assert (step is None) == (len(steps) > 1)
            assert step is None or steps <= {step}
