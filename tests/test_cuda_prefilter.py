"""The filter of splines on GPUs, a convolution: its terms and where they end, edges, short lines, transposes, memory.

Threads run one after another, uncompiled. Values are those of the CPU's recursions in float64.
"""

import importlib

import bounds
import numpy as np
import pytest
from conftest import uncompiled
from emulation.pretended import lent, pretended, returned
from hypothesis import given, settings
from hypothesis import strategies as st

from stnkit.kernels.cuda import prefilter
from stnkit.spec import SPLINE2

ORDERS = (2, 3, 4, 5)
BOUNDARIES = [("reflection", True), ("reflection", False), ("wrap", False)]
SAMPLES = {2: [1, 6, 1], 3: [1, 4, 1], 4: [1, 76, 230, 76, 1], 5: [1, 26, 66, 26, 1]}  # of B-splines, times their sum
E = {"float32": 2.0**-23, "float64": 2.0**-52}


@pytest.fixture
def library(plain):
    """Return the uncompiled stnkit, with what stands for a device."""
    importlib.import_module("stnkit.kernels.cuda.runtime")
    return plain


def drawn(*shape, dtype="float64"):
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(dtype)


def terms(order):
    return prefilter.response(order + SPLINE2 - 2)


def taps(order, dtype):
    return prefilter.reach(terms(order), E[dtype] / 2)


def check(library, image, order, padding, align, axes, transpose=False):
    """Compare a filter on the device with the CPU's in float64."""
    function = library.spline_filter_vjp if transpose else library.spline_filter
    options = {"order": order, "padding_mode": padding, "align_corners": align, "axes": axes}
    with pretended():
        result = returned(function(lent(image), **options))
    expected = function(image.astype(float), **options)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    many = len(axes)
    here = bounds.recursive_filter(order, many, E["float64"]) * (2**many if transpose else 1)
    bound = here + bounds.convolved_filter(order, many, E[image.dtype.name], transpose)
    np.testing.assert_allclose(result, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("order", ORDERS)
def test_the_response_is_the_inverse_of_sampling(order):
    """Convolved with the samples of a B-spline it is one pixel, to some roundings of the term at hand."""
    (zs, factors), samples = terms(order), np.array(SAMPLES[order]) / sum(SAMPLES[order])
    h = sum(c * z ** np.abs(np.arange(-70.0, 71)) for z, c in zip(zs, factors, strict=True))
    assert h.sum() == pytest.approx(1, abs=1e-14)
    made = np.convolve(h, samples, "valid")
    middle, side = len(made) // 2, len(samples) // 2
    made[middle] -= 1
    around = [np.abs(h[k : k + 2 * side + 1]).max() for k in range(len(made))]
    assert np.all(np.abs(made) <= 1e-14 * np.array(around))


@pytest.mark.parametrize(("dtype", "expected"), [("float32", (10, 13, 18, 22)), ("float64", (21, 29, 38, 46))])
def test_what_is_cut_off_is_less_than_a_rounding(dtype, expected):
    for order, count in zip(ORDERS, expected, strict=True):
        assert taps(order, dtype) == count
        terms_here = bounds.response(order)
        rest = [abs(sum(c * z**j for z, c in terms_here)) for j in range(count, 400)]
        assert 2 * sum(rest[1:]) <= E[dtype] / 2 < 2 * sum(rest)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("padding", "align"), BOUNDARIES)
@pytest.mark.parametrize("order", ORDERS)
def test_lines_of_any_length(library, order, padding, align, transpose):
    """Padded several times within the taps, once, and not at all, with pixels that read no edge between others."""
    reach = taps(order, "float32")
    for n in (1, 2, 3, 4, reach - 1, reach, reach + 1, 2 * reach, 2 * reach + 1, 2 * reach + 3, 3 * reach):
        check(library, drawn(n, 2, dtype="float32"), order, padding, align, (0,), transpose)
    for n in (1, 2, 5, 40, 2 * taps(order, "float64") + 4):
        check(library, drawn(1, n), order, padding, align, (1,), transpose)


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize(("padding", "align"), BOUNDARIES)
def test_no_line_reads_another(library, padding, align, inner):
    reach = taps(3, "float32")
    for n in (2, 3, reach, *range(2 * reach - 1, 2 * reach + 6)):
        image = np.full((3, n, inner), np.nan, "float32")
        image[1, :, inner // 2] = 1
        with pretended():
            result = returned(library.spline_filter(lent(image), padding_mode=padding, align_corners=align, axes=1))
        assert np.isfinite(result).sum() == n
        assert np.isfinite(result[1, :, inner // 2]).all()


@settings(max_examples=60)
@given(st.data())
def test_arrays(data):
    """Along any axes, in any order, of arrays with any gaps."""
    sizes = [
        data.draw(st.integers(1, 60), label="n"),
        *data.draw(st.lists(st.integers(1, 3), max_size=3), label="sizes"),
    ]
    shape = tuple(data.draw(st.permutations(sizes), label="shape"))
    ndim = len(shape)
    axes = data.draw(st.permutations(range(-ndim, 0)), label="axes")[: data.draw(st.integers(1, ndim), label="many")]
    image = drawn(*shape, dtype=data.draw(st.sampled_from(["float32", "float64"]), label="dtype"))
    turned = data.draw(st.permutations(range(ndim)), label="strides")
    image = np.ascontiguousarray(image.transpose(turned)).transpose(np.argsort(turned))
    boundary = data.draw(st.sampled_from(BOUNDARIES), label="boundary")
    order, transpose = data.draw(st.sampled_from(ORDERS), label="order"), data.draw(st.booleans(), label="transpose")
    with uncompiled() as package:
        importlib.import_module("stnkit.kernels.cuda.runtime")
        check(package, image, order, *boundary, tuple(axes), transpose)


@pytest.mark.parametrize(("padding", "align"), BOUNDARIES)
def test_a_transpose_is_one(library, padding, align):
    """To the roundings of either; lines are shorter than what a coefficient reads, and longer."""
    options = {"order": 3, "padding_mode": padding, "align_corners": align, "axes": (0, 1)}
    image, cotangent = drawn(5, 64), drawn(64, 5).T
    with pretended():
        left = returned(library.spline_filter(lent(image), **options))
        right = returned(library.spline_filter_vjp(lent(cotangent), **options))
    bound = sum(bounds.convolved_filter(3, 2, E["float64"], t) for t in (False, True)) + 640 * 9 * E["float64"]
    assert abs((left * cotangent).sum() - (image * right).sum()) <= image.size * bound


@pytest.mark.parametrize("axes", [(2,), (0, 2), (2, 1, 0), (3,), (1, 3)])
def test_memory(library, axes, monkeypatch):
    """One launch for each axis, one array beside the result if there are several, and a copy where `out` needs one."""
    context = importlib.import_module("stnkit.backends.cuda.array").DeviceContext
    shapes, empty = [], context.empty
    monkeypatch.setattr(
        context, "empty", lambda place, shape, dtype: shapes.append(shape) or empty(place, shape, dtype)
    )
    image = drawn(3, 4, 5, 1, dtype="float32")
    options, many = {"order": 2, "axes": axes}, sum(image.shape[axis] > 1 for axis in axes)
    bound = sum(limit(2, len(axes), E["float32"]) for limit in (bounds.convolved_filter, bounds.recursive_filter))
    record = []
    with pretended(record):
        results = [returned(library.spline_filter(lent(image), **options))]
        assert [name for name, *_ in record] == (["spline_filter"] * many if many else ["product"])
        assert shapes == [image.shape] * max(min(many, 2), 1)
        np.testing.assert_array_equal(image, drawn(3, 4, 5, 1, dtype="float32"))
        for array in (image, np.asfortranarray(image)):
            shapes.clear()
            out = np.empty(image.shape, "float32")
            library.spline_filter(lent(array), out=lent(out), **options)
            assert len(shapes) <= 1
            results.append(out)
        shapes.clear()
        own = lent(image.copy())
        assert library.spline_filter(own, out=own, **options) is own
        assert len(shapes) == (many > 0)
        results.append(own.array)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    np.testing.assert_allclose(results[0], library.spline_filter(image, **options), rtol=0, atol=bound)


@pytest.mark.parametrize("order", ORDERS)
def test_constants(library, order):
    """The filter's weights sum to 1."""
    with pretended():
        result = returned(library.spline_filter(lent(np.full((1, 70), 3.0, "float32")), order=order, axes=1))
    np.testing.assert_allclose(result, 3, rtol=0, atol=3 * bounds.convolved_filter(order, 1, E["float32"]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ORDERS)
def test_numbers_that_are_not_finite(library, order, dtype):
    """They reach as far as the taps."""
    image, reach = drawn(1, 110, dtype=dtype), taps(order, dtype)
    image[0, 53] = np.nan
    with pretended():
        result = returned(library.spline_filter(lent(image), order=order, axes=1))
    assert np.flatnonzero(np.isnan(result)).tolist() == list(range(53 - reach, 54 + reach))


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_short_formats(library, dtype):
    """They are filtered in float32."""
    image = (100 * np.abs(drawn(2, 3, 20))).astype(dtype)
    with pretended():
        result = returned(library.spline_filter(lent(image)))
    assert result.dtype == np.float32
    bound = 100 * (bounds.convolved_filter(3, 1, E["float32"]) + bounds.recursive_filter(3, 1, E["float64"]))
    np.testing.assert_allclose(result, library.spline_filter(image.astype(float)), rtol=0, atol=bound)
