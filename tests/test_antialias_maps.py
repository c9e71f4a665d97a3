"""Antialiasing of maps that are no affine ones: how many subsamples, horizons, and control points. Uncompiled."""

import numpy as np
import oracles
import pytest
from shrunk import EACH, EPS, EXTENT, SIZE, call, control, drawn

MAPS = [(op, kind) for op, kind in EACH if op in ("projective", "thin_plate_spline")]
WIDE = (24, 40)  # an image that maps shrink


def lengths(plain, op, theta, size, align=False):
    """Return how long the steps of the output are, in pixels of the image."""
    from stnkit.antialias.footprints import FOOTPRINTS
    from stnkit.antialias.subsamples import lattice_of
    from stnkit.calls.derivatives import SAMPLERS

    points = control(2) if op == "thin_plate_spline" else None
    return FOOTPRINTS[SAMPLERS[f"{op}_sample"][1]](theta, lattice_of(WIDE, size, align, False), points)


def grid(op, theta, size, align, way):
    """Return the grid of a formula at places beside the locations."""
    if op == "thin_plate_spline":
        return np.einsum("...k,nkd->n...d", oracles.thin_plate_spline_table(control(2), size, align, way), theta)
    rows = np.einsum("nij,...j->n...i", theta, oracles.base(size, align) + np.append(way, 0))
    with np.errstate(invalid="ignore"):
        return np.where(rows[..., 2:] > 0, rows[..., :2] / rows[..., 2:], np.nan)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("op", ["projective", "thin_plate_spline"])
def test_a_step_is_as_long_as_between_its_ends(plain, op, align):
    """The longest of an item, in pixels; on an axis of one location too."""
    _, theta, *_ = drawn(op, 2, batch=3)
    halves = (np.array(WIDE[::-1]) - align) / 2
    for size in ((5, 6), (1, 4)):
        pitch = np.divide(2.0, np.array(size[::-1]) - align, out=np.zeros(2), where=np.array(size[::-1]) > align)
        expected = []
        for j in range(2):
            way = 0.5 * pitch * np.eye(2)[j]
            steps = (grid(op, theta, size, align, way) - grid(op, theta, size, align, -way)) * halves
            expected.append(np.linalg.norm(steps, axis=-1).max(axis=(1, 2)))
        np.testing.assert_allclose(lengths(plain, op, theta, size, align), np.stack(expected, -1), rtol=0, atol=1e-9)


def test_a_horizon_has_no_step(plain):
    """w = 1 + 2 x: half of the output lies behind, and the step that crosses the horizon does not count."""
    theta = np.eye(3)
    theta[2, 0] = 2.0
    x = (2 * np.arange(8) + 1) / 8 - 1
    ahead, back = x + 1 / 8, x - 1 / 8
    steps = [a / (1 + 2 * a) - b / (1 + 2 * b) for a, b in zip(ahead, back, strict=True) if 1 + 2 * b > 1e-9]
    assert len(steps) == 5
    near = lengths(plain, "projective", theta[None], (1, 8))
    np.testing.assert_allclose(near[0, 0], max(steps) * WIDE[1] / 2, rtol=1e-12)
    theta[2] = [0, 0, -1]
    np.testing.assert_array_equal(lengths(plain, "projective", theta[None], (4, 8)), 0)
    theta[0, 0], theta[2] = np.nan, [0, 0, 1]
    np.testing.assert_array_equal(lengths(plain, "projective", theta[None], (4, 8)), 0)
    points = np.full((1, *control(2).shape), np.inf)
    np.testing.assert_array_equal(lengths(plain, "thin_plate_spline", points, (4, 8)), 0)


@pytest.mark.parametrize("antialias", [True, 3])
def test_behind_the_horizon_is_the_fill_value_and_no_gradient(plain, antialias):
    """A location beside the horizon is a blend, of places before it and behind it."""
    image, cotangent = np.full((1, 1, 6, 40), 2.0), np.ones((1, 1, 1, 8))
    theta = np.eye(3)[None].copy()
    theta[0, 2, 0] = 2.0  # w = 0 at x = -1/2: between locations 1 and 2
    theta[0, 2, 2] = 0.9  # and now within the step of location 2
    options = {"padding_mode": "border", "fill_value": 1.0, "antialias": antialias}
    out = plain.projective_sample(image, theta, (1, 8), **options)
    np.testing.assert_array_equal(out[..., :2], 1.0)
    assert 1 < out[0, 0, 0, 2] < 2
    np.testing.assert_allclose(out[..., 3:], 2.0, rtol=4 * EPS)
    d_image, d_theta = plain.projective_sample_vjp(cotangent, image, theta, **options)
    behind = cotangent * (np.arange(8) < 2)
    for bar in plain.projective_sample_vjp(behind, image, theta, **options):
        assert not bar.any()
    np.testing.assert_allclose(d_image.sum(), (out - 1).sum(), rtol=64 * EPS)  # the weights of what is read
    assert np.isfinite(d_theta).all()


@pytest.mark.parametrize(("op", "kind"), MAPS)
@pytest.mark.parametrize("shared", [False, True])
def test_an_item_is_antialiased_for_itself(plain, op, kind, shared):
    """Items that shrink stand between items that do not; what they share adds up."""
    given = list(drawn(op, 2, batch=4))
    given[1] = given[1] * (np.array([1, 0.3, 0.35, 1.1])[:, None, None] if op == "thin_plate_spline" else 1)
    if op == "projective":
        given[1][1:3, :2] *= 0.3
    if shared:
        given[0], given[3] = given[0][0], given[3][0]
    together = call(plain, op, kind, given, antialias=True)
    apart = []
    for i in range(4):
        one = [array if shared and array.ndim == 3 and len(array) == 2 else array[i : i + 1] for array in given]
        apart.append(call(plain, op, kind, one, antialias=True))
    for mine, others in zip(together, zip(*apart, strict=True), strict=True):
        if mine.shape == given[0].shape and shared:
            atol = 16 * EPS * np.abs(others).max()
            np.testing.assert_allclose(mine, np.sum(others, axis=0), rtol=0, atol=atol)
        else:
            np.testing.assert_array_equal(mine, np.concatenate(others))


@pytest.mark.parametrize(("op", "kind"), MAPS)
def test_half_precision_is_rounded_once(plain, op, kind):
    given = [a.astype("float16" if i in (0, 2, 3) else "float32") for i, a in enumerate(drawn(op, 2))]
    wide = [array.astype("float32") for array in given]
    expected = call(plain, op, kind, wide, antialias=2)
    for mine, other in zip(call(plain, op, kind, given, antialias=2), expected, strict=True):
        assert mine.dtype == (np.float32 if mine.shape == given[1].shape else np.float16)
        np.testing.assert_array_equal(mine, other.astype(mine.dtype))


@pytest.mark.parametrize("op", ["projective", "thin_plate_spline"])
def test_memory_of_ones_own(plain, op):
    given = image, theta, cotangent, *_ = drawn(op, 2)
    (expected,) = call(plain, op, "", given, antialias=True)
    out = np.full_like(expected, 7)
    assert call(plain, op, "", given, antialias=True, out=out)[0] is out
    np.testing.assert_array_equal(out, expected)
    d_image, _ = call(plain, op, "_vjp", given, antialias=True)
    into = np.ones_like(image)
    assert call(plain, op, "_vjp", given, antialias=True, accumulate_into=into)[0] is into
    np.testing.assert_array_equal(into, 1 + d_image)
    assert call(plain, op, "_vjp", given, antialias=True, wrt=()) == (None, None)
    alone = call(plain, op, "_vjp", (image[:1], theta[0], cotangent[:1], None, None), antialias=2)
    assert alone[1].shape == theta[0].shape
    empty = image[:, :, :, :], theta[:0], cotangent[:0], None, None
    assert call(plain, op, "", (image[:1], *empty[1:]), antialias=True)[0].shape == (0, 2, *SIZE[1:])


def test_control_points_may_be_of_any_kind(plain):
    torch = pytest.importorskip("torch")
    image, theta, *_ = drawn("thin_plate_spline", 2)
    points = control(2).astype("float32")
    expected = plain.thin_plate_spline_sample(image, theta, points, SIZE[1:], antialias=2)
    for other in (points.astype(float), torch.from_numpy(points)):
        got = plain.thin_plate_spline_sample(image, theta, other, SIZE[1:], antialias=2)
        np.testing.assert_array_equal(got, expected)


X, T, POINTS = np.ones((1, 1, *EXTENT[1:])), np.eye(3)[None], control(2)
COPIES = np.zeros((5, 2))


@pytest.mark.parametrize(
    ("error", "call", "says"),
    [
        (ValueError, lambda s: s.projective_sample(X, T, antialias=0), "True, False or an integer from 1 to 16; got 0"),
        (ValueError, lambda s: s.projective_sample(X, T[:, :2], antialias=2), "`theta` must have shape"),
        (ValueError, lambda s: s.projective_sample(X, T, (2,), antialias=True), "`size` must be 2 integers"),
        (TypeError, lambda s: s.projective_sample(X.astype(int), T, mode="nearest", antialias=2), "takes means, .*int"),
        (ValueError, lambda s: s.projective_sample_vjp(X, X, T, wrt="grid", antialias=2), "`wrt` must name some of"),
        (TypeError, lambda s: s.projective_sample_jvp(X, T, X.astype("f"), None, antialias=2), "`d_image` must have"),
        (ValueError, lambda s: s.thin_plate_spline_sample(X, COPIES, COPIES, antialias=2), "must differ; got .0.0, 0"),
        (ValueError, lambda s: s.thin_plate_spline_sample(X, T, POINTS, antialias=2), "`theta` must have shape"),
        (TypeError, lambda s: s.thin_plate_spline_sample(X, POINTS, COPIES.astype(int), antialias=2), "must have dty"),
        (TypeError, lambda s: s.thin_plate_spline_sample(X, POINTS, None, antialias=2), "`control_points` must be"),
    ],
)  # fmt: skip
def test_errors_are_those_of_the_plain_call(plain, error, call, says):
    with pytest.raises(error, match=says):
        call(plain)
