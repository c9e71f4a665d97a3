"""Thin plate splines alone: they interpolate, bend least, reproduce affine maps, and refuse what gives no spline."""

import math

import maps
import numpy as np
import oracles
import pytest
from scipy.interpolate import CubicSpline, RBFInterpolator

import stnkit
from stnkit.plans import thin_plates
from stnkit.plans.memo import Memo
from stnkit.spec import THIN_PLATE_SPLINE, Spec
from stnkit.transforms import control_lattice

LATTICES = {1: [(2,), (9,)], 2: [(2, 2), (4, 4), (3, 7), (10, 10)], 3: [(2, 2, 2), (3, 4, 3)]}
EACH = [(d, shape) for d, shapes in LATTICES.items() for shape in shapes]


def scattered(d, shape):
    """Return a lattice whose points are moved a little, and values for them."""
    random = np.random.default_rng([d, *shape])
    points = control_lattice(shape) + random.uniform(-0.3, 0.3, (math.prod(shape), d)) / max(shape)
    return points, random.uniform(-1, 1, points.shape)


def solved(points, theta):
    """Return [w; A] of a spline."""
    first, second = thin_plates.solution(points.tobytes(), points.shape[-1])
    return second @ (first @ theta)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_outside(plain, number):
    """And warn of nothing, as those of other maps do."""
    points = control_lattice((2, 2))
    theta = np.stack([np.where(points == 1, number, points), points])
    with np.errstate(all="raise"):
        out = plain.thin_plate_spline_sample(np.ones((1, 4, 4)), theta, points, fill_value=-1.0)
    assert (out[0] == -1).all()
    assert (out[1] > -1).all()


@pytest.mark.parametrize(("d", "shape"), EACH)
def test_interpolates_its_control_points(plain, d, shape):
    """With aligned corners a regular lattice is the output's own: to 1e-9, and to rounding of its terms in float32."""
    random = np.random.default_rng(d)
    points = control_lattice(shape)
    theta = random.uniform(-1, 1, (2, *points.shape))
    grid = plain.thin_plate_spline_grid(theta, points, shape, align_corners=True)
    np.testing.assert_allclose(grid.reshape(theta.shape), theta, rtol=0, atol=1e-9)
    moved, values = scattered(d, shape)
    weights = solved(moved, values)
    np.testing.assert_allclose(thin_plates.basis(moved, moved) @ weights, values, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("d", "shape"), EACH)
def test_is_that_of_scipy(plain, d, shape):
    """SciPy's interpolator has the same functions, in its own units: r^3, r^2 log r and -r, with a linear part."""
    points, theta = scattered(d, shape)
    size = (3, 4, 5)[-d:]
    kernel = {1: "cubic", 2: "thin_plate_spline", 3: "linear"}[d]
    for align in (False, True):
        places = oracles.base(size, align)[..., :-1].reshape(-1, d)
        expected = RBFInterpolator(points, theta, kernel=kernel, degree=1)(places)
        grid = plain.thin_plate_spline_grid(theta, points, size, align_corners=align)
        np.testing.assert_allclose(grid.reshape(-1, d), expected, rtol=0, atol=1e-9)
        if d == 1:
            order = np.argsort(points[:, 0])
            inside = (np.abs(places) <= np.abs(points[order[[0, -1]], 0]).min())[:, 0]
            natural = CubicSpline(points[order, 0], theta[order], bc_type="natural")(places[:, 0])
            np.testing.assert_allclose(grid[inside], natural[inside], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("d", "shape"), EACH)
def test_affine_maps_are_among_them(plain, d, shape):
    """Control points that an affine map moves give that map."""
    points, _ = scattered(d, shape)
    theta = np.random.default_rng(0).uniform(-1, 1, (d, d + 1))
    size = (3, 4, 5)[-d:]
    moved = points @ theta[:, :-1].T + theta[:, -1]
    grid = plain.thin_plate_spline_grid(moved, points, size)
    np.testing.assert_allclose(grid, oracles.affine_grid(theta[None], size)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize(("d", "shape"), EACH)
def test_float32(plain, d, shape):
    """A sum of K + d + 1 terms of float32, each rounded less than 8 times: by (K + d + 9) e / 2 of their magnitudes."""
    points, theta = (a.astype(np.float32) for a in scattered(d, shape))
    size = (3, 4, 5)[-d:]
    grid = plain.thin_plate_spline_grid(theta, points, size)
    assert grid.dtype == np.float32
    table = oracles.thin_plate_spline_table(points, size)
    basis = thin_plates.basis(oracles.base(size, False)[..., :-1].reshape(-1, d), points.astype(float))
    weights = solved(points.astype(float), theta.astype(float))
    limit = (len(points) + d + 9) * 2.0**-24 * (np.abs(basis) @ np.abs(weights)).reshape(grid.shape)
    # A location that is off by e / 2 moves U by its slope, below 2 (|r| + 1)^2 where r < 4, and on three axes by 1.
    limit = limit + 50 * 2.0**-24 * np.abs(weights[: len(points)]).sum(axis=0)
    assert (np.abs(grid - table @ theta.astype(float)) <= limit).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithm(plain, dtype):
    """Within an ulp of the exact one, and harmless at 0."""
    from stnkit.kernels.leaves import radial

    random = np.random.default_rng(0)
    x = np.concatenate([np.exp(random.uniform(-80, 80, 3000)), random.uniform(0.5, 2, 3000), [1.0, 0.5, 2.0]])
    x = x.astype(dtype)
    got = np.array([radial.log(value) for value in x])
    assert got.dtype == dtype
    exact = np.log(x.astype(np.longdouble))
    assert (np.abs(got - exact) <= np.spacing(np.abs(exact).astype(dtype))).all()
    for d in (1, 2, 3):
        assert radial.radial(dtype(0), dtype(0), Spec(d)) == 0


def test_leaves_agree(plain):
    """What gives one location, as devices with a thread for each need it, has the bits of what gives a row."""
    from stnkit.backends.cpu import execute
    from stnkit.kernels.compiler.jit import View
    from stnkit.kernels.leaves import sources
    from stnkit.plans import layout

    for d in (1, 2, 3):
        given = maps.draw("thin_plate_spline", d, "bilinear", "zeros", False, dtype="float32")
        block = execute.readable(given.theta, THIN_PLATE_SPLINE, np.dtype("f4"), given.control.tobytes())
        size, strides = layout.source_layout(layout.layout(block), THIN_PLATE_SPLINE, given.size)
        spec = layout.grid_spec(d, np.dtype("f4"), THIN_PLATE_SPLINE, False)
        source, grid = View(block.ravel(), strides), maps.grid(plain, given)
        for at in np.ndindex(grid.shape):
            point = (0, 0, *at[1:-1])[-3:]
            assert sources.normalized(source, at[0], point, size, at[-1], np.float32(0), spec) == grid[at]


def test_a_lattice_is_solved_once(monkeypatch):
    points, theta = scattered(2, (5, 5))
    monkeypatch.setattr(thin_plates, "KEPT", Memo(2**20))
    times, solve = [], thin_plates._solved
    monkeypatch.setattr(thin_plates, "_solved", lambda lattice: times.append(lattice) or solve(lattice))
    for _ in range(3):
        stnkit.thin_plate_spline_grid(theta, points.copy(), (0, 4))
    assert len(times) == 1
    assert not any(matrix.flags.writeable for matrix in thin_plates.solution(points.tobytes(), 2))


def test_table_is_that_of_the_formula(monkeypatch):
    """What frameworks multiply theta by is the table of the oracle, computed at once or row by row."""
    for d, shape in EACH:
        points, _ = scattered(d, shape)
        for align in (False, True):
            for size in ((3, 4, 5)[-d:], (1, 2, 1)[-d:]):
                table = thin_plates.table(points.tobytes(), size, align)
                expected = oracles.thin_plate_spline_table(points, size, align)
                np.testing.assert_allclose(table, expected.reshape(table.shape), rtol=0, atol=1e-10)
                monkeypatch.setattr(thin_plates, "BLOCK", 1)
                in_rows = thin_plates._table(points.tobytes(), size, align)
                monkeypatch.undo()
                np.testing.assert_allclose(in_rows, table, rtol=0, atol=1e-10)


def test_what_is_kept_has_a_size(monkeypatch):
    """Solutions and tables share a number of bytes; what is larger is computed, and not kept."""
    kept = Memo(40_000)
    monkeypatch.setattr(thin_plates, "KEPT", kept)
    points, _ = scattered(2, (4, 4))
    for n in range(1, 40):
        table = thin_plates.table(points.tobytes(), (n, 8), False)
        assert table.nbytes == n * 8 * 16 * 8
        assert kept.nbytes <= 40_000
        known = [entry[0] for entry in kept._kept.values()]
        sizes = [array.nbytes for entry in known for array in (entry if isinstance(entry, tuple) else (entry,))]
        assert kept.nbytes == sum(sizes) + len(kept) * points.nbytes
    table = thin_plates.table(points.tobytes(), (20, 8), False)
    assert thin_plates.table(points.tobytes(), (39, 8), False) is not thin_plates.table(
        points.tobytes(), (39, 8), False
    )
    assert thin_plates.table(points.tobytes(), (20, 8), False) is table  # what is too large drives nothing out
    large, _ = scattered(2, (8, 8))  # 2 * 64^2 numbers and more
    first, _ = thin_plates.solution(large.tobytes(), 2)
    assert thin_plates.solution(large.tobytes(), 2)[0] is not first
    assert thin_plates.solution(points.tobytes(), 2)[0] is thin_plates.solution(points.tobytes(), 2)[0]


def landmarks(d, count):
    return np.random.default_rng([d, count]).uniform(-1, 1, (count, d))


def pair(apart):
    """Return 9 points, of which two are close to each other."""
    points = control_lattice((3, 3))
    points[7] = points[2] + apart / 2**0.5
    return points


BUNCHES = (landmarks(2, 20)[:, None] + 1e-4 * landmarks(2, 20)).reshape(-1, 2)
THIN = landmarks(2, 300) * [1, 1e-5] @ [[0.8, 0.6], [-0.6, 0.8]]
MANY = {  # as the page on concepts has them: by how much a smooth map misses them, and any numbers of the order of one
    "40 x 40": (control_lattice((40, 40)), 1e-12, 1e-8),
    "1000 in a plane": (landmarks(2, 1000), 1e-12, 1e-8),
    "500 in space": (landmarks(3, 500), 1e-13, 1e-11),
    "bunches": (BUNCHES, 1e-11, 1e-2),
    "100 on a line": (landmarks(1, 100), 1e-12, 1e-2),
    "a pair": (pair(1e-7), 1e-10, 1e-2),
    "1000 evenly": (control_lattice((1000,)), 1e-11, 1e-3),
    "200 on a line": (landmarks(1, 200), 1e-11, 1),
    "nearly on a line": (THIN, 1e-12, 1e-6),
    "pixels": (500 + 500 * landmarks(2, 100), 1e-13, 1e-9),
}


@pytest.mark.parametrize("name", MANY)
def test_many_landmarks(name):
    """They are met within the rounding of a sum of K + d + 1 terms, whatever its terms are.

    A system solved stably has a solution that is exact for one whose numbers are rounded: so the miss is K + d + 1
    times half an ulp of the sum of the terms' magnitudes, once for the solution and once for the sum. A map that is
    smooth has small terms, which a matrix that is the system's inverse would not profit from.
    """
    points, smooth_miss, rough_miss = MANY[name]
    count, d = points.shape
    extent = np.abs(points).max()
    smooth = points + extent * np.sin(2 * points / extent) / 9
    rough = extent * np.random.default_rng(0).uniform(-1, 1, points.shape)
    rows = thin_plates.basis(points, points)
    for theta, limit in ((smooth, smooth_miss), (rough, rough_miss)):
        weights = solved(points, theta)
        missed = np.abs(rows @ weights - theta)
        assert (missed <= (count + d + 1) * thin_plates.EPS * (np.abs(rows) @ np.abs(weights)).max(axis=0)).all()
        assert missed.max() <= limit * extent


IMAGE, POINTS = np.ones((2, 3, 4, 5)), control_lattice((3, 3))
LINE, PLANE = np.linspace(-1, 1, 5)[:, None] * [[0.3, 0.7]] + [[0.1, 0.2]], control_lattice((2, 2, 2)) * [1, 1, 0.5]
PLANE = np.concatenate([PLANE[:, :2], PLANE[:, :1] + 0.3 * PLANE[:, 1:2]], axis=1)[:4]
LONG = (landmarks(1, 1000) * [[0.3, 0.7]] + [[1, 2]]).astype("f4")
TWICE, CLOSE = POINTS.copy(), POINTS.copy()
TWICE[7], CLOSE[7] = POINTS[2], POINTS[2] + 1e-13


def grid(points, theta=None, size=(4, 5)):
    return stnkit.thin_plate_spline_grid(points if theta is None else theta, points, size)


REFUSED = [
    (ValueError, lambda: grid(LINE), ["`control_points`", "collinear", "5", "one line"]),
    (ValueError, lambda: grid(LINE.astype("f4")), ["`control_points`", "collinear"]),
    (ValueError, lambda: grid(LONG), ["`control_points`", "collinear", "1000"]),
    (ValueError, lambda: grid(np.array([[0.0], [1.0], [1 + 1e-8]]), size=(3,)), ["too close", "1 and 2", "1.0e-08"]),
    (ValueError, lambda: grid(PLANE, size=(2, 2, 2)), ["`control_points`", "coplanar", "4", "one plane"]),
    (ValueError, lambda: grid(TWICE), ["`control_points`", "differ", "[1.0, -1.0]", "2 and 7"]),
    (ValueError, lambda: grid(np.ones((2, 1)), size=(3,)), ["`control_points`", "differ", "0 and 1"]),
    (ValueError, lambda: grid(CLOSE), ["too close", "these 9", "2 and 7", "1.4e-13 apart", "over 2.0e+00"]),
    (ValueError, lambda: grid(pair(1e-9)), ["too close", "these 9", "2 and 7", "1.0e-09 apart"]),
    (ValueError, lambda: grid(landmarks(1, 700), size=(3,)), ["too close", "these 700"]),
    (ValueError, lambda: grid(POINTS[:2]), ["`control_points`", "at least 3", "got 2"]),
    (ValueError, lambda: grid(POINTS[:0]), ["`control_points`", "at least 3", "got 0"]),
    (ValueError, lambda: grid(np.where(POINTS == 0, np.nan, POINTS)), ["`control_points`", "finite", "number 1"]),
    (ValueError, lambda: grid(POINTS[None]), ["`control_points`", "(K, 2)", "(1, 9, 2)"]),
    (ValueError, lambda: grid(np.ones((9, 4))), ["`control_points`", "(K, 3)", "(9, 4)"]),
    (ValueError, lambda: grid(POINTS, POINTS[:8]), ["`theta`", "(N, 9, 2)", "(8, 2)"]),
    (ValueError, lambda: grid(POINTS, size=(4, 5, 6)), ["`size`", "2 integers", "(4, 5, 6)"]),
    (TypeError, lambda: grid(POINTS, POINTS.astype(int)), ["`theta`", "float32", "int64"]),
    (TypeError, lambda: grid(POINTS.astype(int), POINTS), ["`control_points`", "float32", "int64"]),
    (TypeError, lambda: stnkit.thin_plate_spline_grid(POINTS, POINTS.tolist(), (4, 5)), ["`control_points`", "list"]),
    (ValueError, lambda: stnkit.thin_plate_spline_sample(np.ones((4, 5)), POINTS, POINTS), ["`image`"]),
    (ValueError, lambda: stnkit.thin_plate_spline_grid_vjp(np.ones((4, 5, 3)), POINTS, POINTS), ["`cotangent`"]),
    (ValueError, lambda: control_lattice((3, 1)), ["`shape`", "2 or more", "(3, 1)"]),
    (ValueError, lambda: control_lattice((2,) * 4), ["`shape`", "1 to 3", "(2, 2, 2, 2)"]),
    (TypeError, lambda: control_lattice(4), ["`shape`", "sequence", "4"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "call", "parts"), REFUSED)
def test_refused(kind, call, parts):
    with pytest.raises(kind) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


def test_a_lattice(plain):
    """As theta it is the identity; the last axis runs fastest, and is x."""
    np.testing.assert_array_equal(control_lattice((2, 3))[:4], [[-1, -1], [0, -1], [1, -1], [-1, 1]])
    for d, shape in EACH:
        points = control_lattice(shape)
        grid = plain.thin_plate_spline_grid(points, points, (3, 4, 5)[-d:])
        np.testing.assert_allclose(grid, oracles.base((3, 4, 5)[-d:], False)[..., :-1], rtol=0, atol=1e-11)


@pytest.mark.parametrize("d", [1, 2])
def test_float32_keeps_what_it_promises_or_is_refused(plain, d):
    """The terms of a location are bounded from the control points alone; each has about four roundings."""
    points = np.random.default_rng(0).uniform(-1, 1, (60, d))
    theta = (points + 0.3 * np.sin(2 * points)).astype(np.float32)
    size = (40,) if d == 1 else (6, 7)
    near = plain.thin_plate_spline_grid(theta, points, size)
    exact = plain.thin_plate_spline_grid(theta.astype(float), points, size)
    assert np.abs(near - exact).max() < 2.0**-10


def test_points_too_close_for_float32(plain):
    points = np.random.default_rng(0).uniform(-1, 1, (300, 1))
    image = np.linspace(0, 1, 16).reshape(1, 1, 16)
    theta = points.astype(np.float32)[None]
    for call in (
        lambda: plain.thin_plate_spline_grid(theta, points, (4,)),
        lambda: plain.thin_plate_spline_grid_jvp(theta, theta, points, (4,)),
        lambda: plain.thin_plate_spline_sample(image.astype(np.float32), theta, points, (4,)),
        lambda: plain.thin_plate_spline_sample_vjp(np.ones((1, 1, 4), np.uint8), image.astype(np.uint8), theta, points),
    ):
        with pytest.raises(ValueError, match=r"too close to each other for float32.*`theta` in float64"):
            call()
    wide = plain.thin_plate_spline_sample(image, theta, points, (4,), padding_mode="border")
    same = plain.thin_plate_spline_sample(image, theta.astype(float), points, (4,), padding_mode="border")
    np.testing.assert_array_equal(wide, same)
