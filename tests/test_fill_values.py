"""Fill values that are NaN or infinite: they count where a location reads them with a weight, and nowhere else."""

import itertools

import numpy as np
import oracles
import pytest
from samplers import FILTERS, MODES, SPLINES

EXTENTS = {1: (5,), 2: (3, 5), 3: (1, 2, 3)}  # at the rim of 3 and 5 pixels, coordinates are rounded outwards
SAMPLERS = ("grid", "affine", "flow", "projective", "thin_plate_spline")
FILLS = ([np.nan, 1.0], -np.inf)


def finite(fill):
    """Return a fill value with 0 in place of what is not finite."""
    return np.where(np.isfinite(fill), fill, 0).tolist()


def identity(package, op, image, extent, options):
    """Sample an image at the identity."""
    d, dtype = len(extent), image.dtype
    align = {"align_corners": options["align_corners"]}
    if op == "grid":
        grid = package.affine_grid(np.eye(d, d + 1, dtype=dtype)[None], extent, **align)
        return package.grid_sample(image, grid, **options)
    if op == "flow":
        return package.flow_sample(image, np.zeros((1, *extent, d), dtype), **options)
    if op == "affine":
        return package.affine_sample(image, np.eye(d, d + 1, dtype=dtype)[None], **options)
    if op == "projective":
        return package.projective_sample(image, np.eye(d + 1, dtype=dtype)[None], **options)
    points = np.array(list(itertools.product((-1.0, 0.5, 1.0), repeat=d)), dtype)
    return package.thin_plate_spline_sample(image, points[None], points, **options)


@pytest.mark.parametrize("op", SAMPLERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("d", EXTENTS)
def test_identity(plain, d, mode, op):
    """The identity returns the image, however its coordinates are rounded: it has the bits of a finite fill value."""
    extent = EXTENTS[d]
    choices = itertools.product((False, True), (False, True), zip(("float32", "float64"), FILLS, strict=True))
    for align, last, (dtype, fill) in choices:
        image = np.random.default_rng(d).uniform(1, 2, (1, *extent, 2) if last else (1, 2, *extent)).astype(dtype)
        options = {"mode": mode, "align_corners": align, "data_format": "channels_last" if last else "channels_first"}
        out, expected = (
            identity(plain, op, image, extent, {**options, "fill_value": value}) for value in (fill, finite(fill))
        )
        np.testing.assert_array_equal(out, expected, str((options, dtype)))
        np.testing.assert_allclose(out, image, rtol=2**12 * np.finfo(dtype).eps)  # of the spline's linear system


def around(extent, count):
    """Return pixel coordinates (1, count, d): whole numbers in the image, and eighths in and around it."""
    random = np.random.default_rng(len(extent))
    n = np.array(extent[::-1])
    inside = random.integers(0, n, (count // 3, len(extent)))
    whole = random.integers(-3, n + 2, (count - count // 3, len(extent)))
    return np.concatenate([inside, whole + random.choice([0, 0, 0, 0.125, 0.5], whole.shape)])[None]


def located(array, role, places, last):
    """Return what a result says of some locations; all of an image."""
    if role == "image":
        return array
    return array[0][places] if last or role == "grid" else array[0][:, places]


RESULTS = {  # the arguments and the results of each function
    "grid_sample": ("image grid", "out"),
    "grid_sample_vjp": ("out image grid", "image grid"),
    "grid_sample_jvp": ("image grid image grid", "out out"),
    "grid_sample_double_vjp": ("image grid out image grid", "out image grid"),
    "grid_gradient": ("image grid", "out"),
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize(
    ("d", "mode"),
    [
        *itertools.product(EXTENTS, ("bilinear", "bicubic")),
        *((1, mode) for mode in (*SPLINES, *FILTERS)),
        (2, "spline3"),
    ],
)
def test_results_are_those_of_a_finite_fill(plain, d, mode, name):
    """Where no location reads the fill value with a weight, results have the bits that they have for a fill of 0.

    Elsewhere the output is not finite. A channel whose own fill value is finite is as if all were.
    """
    random = np.random.default_rng(0)
    extent, grid = EXTENTS[d], around(EXTENTS[d], 21).reshape(1, *[1] * (d - 1), -1, d)
    taken, given = (text.split() for text in RESULTS[name])
    shapes = {"image": (1, 2, *extent), "grid": grid.shape, "out": (1, 2, *grid.shape[1:-1])}
    drawn = [random.uniform(-1, 1, shapes[role]) for role in taken]
    drawn[1 if name == "grid_sample_jvp" else -1] = grid  # what else is drawn for a grid is its tangent
    counts = oracles.weighs_fill(np.empty(shapes["image"]), grid, mode=mode, coords="pixel")[0]
    assert counts.any()
    assert not counts.all()
    for last, fill in itertools.product((False, True), (np.inf, [1.5, np.nan])):
        options = {"mode": mode, "prefilter": False, "coords": "pixel"}
        options |= {"data_format": "channels_last" if last else "channels_first"}
        moved = [
            np.moveaxis(array, 1, -1) if last and role != "grid" else array
            for role, array in zip(taken, drawn, strict=True)
        ]
        values = fill, finite(fill)
        both = [getattr(plain, name)(*moved, fill_value=value, **options) for value in values]
        got, expected = (result if isinstance(result, tuple) else (result,) for result in both)
        for role, one, other in zip(given, got, expected, strict=True):
            there = (located(array, role, ~counts, last) for array in (one, other))
            np.testing.assert_array_equal(*there, str((role, last, fill)))
        if name == "grid_sample":
            outside = located(got[0], "out", counts, last)
            channels = outside if last else outside.T
            assert not np.isfinite(channels[:, 1]).any()
            assert np.isfinite(channels[:, 0]).all() == isinstance(fill, list)


@pytest.mark.parametrize("padding", ["border", "reflection", "wrap"])
def test_other_paddings_read_it_where_coordinates_are_not_finite(plain, padding):
    image, grid = np.ones((1, 1, 3, 3)), np.array([[[[1.0, 9.0], [np.nan, 1.0], [2.0, 2.0], [0.5, -np.inf]]]])
    for mode, fill in itertools.product((*MODES, *SPLINES, *FILTERS), (np.nan, np.inf)):
        options = {"mode": mode, "prefilter": False, "padding_mode": padding, "fill_value": fill, "coords": "pixel"}
        out = plain.grid_sample(image, grid, **options)
        rounded = 0 if mode in MODES else 36 * np.finfo(float).eps  # weights of others are no fractions of two
        np.testing.assert_allclose(out.ravel(), [1, fill, 1, fill], rtol=rounded, atol=0)
        d_image, d_grid = plain.grid_sample_vjp(np.ones_like(out), image, grid, **options)
        assert d_image.sum() == pytest.approx(2)
        assert not d_grid[..., [1, 3], :].any()


def test_a_location_outside_by_more_than_roundings(plain):
    """A coordinate that is 16 of its roundings outside is outside, in the dtype in which it is given."""
    for dtype, n in itertools.product(("float32", "float64"), (3, 1000)):
        image = np.ones((1, 1, n))
        away = 16 * n * np.finfo(dtype).eps
        grid = np.array([-away, -away / 4, n - 1 + away / 4, n - 1 + away], dtype).reshape(1, 4, 1)
        for mode in ("bilinear", "bicubic"):
            out = plain.grid_sample(image, grid, mode=mode, coords="pixel", fill_value=np.nan)
            np.testing.assert_array_equal(np.isnan(out.ravel()), [True, False, False, True])
