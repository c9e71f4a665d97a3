"""Affine transforms as they are seen: their signs, their order, and the way to theta."""

import numpy as np
import pytest

from stnkit.transforms.centred_affine import check_regular, cos_sin, points_through, seen, theta_of

SIZES = ((30, 40), (17, 90))


def test_quarter_turns_are_exact() -> None:
    degrees = 90.0 * np.arange(-9, 10)
    cosine, sine = cos_sin(degrees)
    np.testing.assert_array_equal(cosine, np.resize([0, 1, 0, -1], 19))
    np.testing.assert_array_equal(sine, np.resize([-1, 0, 1, 0], 19))


def test_other_angles_are_those_of_numpy() -> None:
    degrees = np.random.default_rng(0).uniform(-800.0, 800.0, 1000)
    cosine, sine = cos_sin(degrees)
    np.testing.assert_allclose(cosine, np.cos(np.radians(degrees)), atol=1e-14)
    np.testing.assert_allclose(sine, np.sin(np.radians(degrees)), atol=1e-14)


@pytest.mark.parametrize(
    ("transform", "point", "goes_to"),
    [
        ({"rotate": 90.0}, (1.0, 0.0), (0.0, -1.0)),  # what is on the right comes to the top
        ({"scale": (2.0, 3.0)}, (1.0, 1.0), (2.0, 3.0)),
        ({"shear": 45.0}, (0.0, -1.0), (1.0, -1.0)),  # the top leans to the right
        ({"translate": (5.0, -6.0)}, (1.0, 1.0), (6.0, -5.0)),
        ({"rotate": 90.0, "scale": (2.0, 1.0), "translate": (1.0, 0.0)}, (1.0, 0.0), (1.0, -2.0)),
        ({"shear": 45.0, "scale": (1.0, 2.0)}, (0.0, -1.0), (2.0, -2.0)),
        ({"rotate": 180.0, "shear": 45.0}, (0.0, -1.0), (-1.0, 1.0)),
    ],
)
def test_points_go_where_they_are_seen_to_go(transform, point, goes_to) -> None:
    matrix = seen(**transform)
    np.testing.assert_allclose(matrix[:, :2] @ point + matrix[:, 2], goes_to, atol=1e-15)


def test_theta_carries_every_point_back() -> None:
    rng = np.random.default_rng(1)
    factors = rng.uniform(0.5, 2.0, (2, 20))
    shifts = rng.uniform(-9.0, 9.0, (2, 20))
    maps = seen(rng.uniform(-180, 180, 20), factors, rng.uniform(-40, 40, 20), shifts)
    points = rng.uniform(-50.0, 50.0, (7, 2))
    size_in, size_out = SIZES
    for matrix, theta in zip(maps, theta_of(maps, size_in, size_out), strict=True):
        moved = points @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(points_through(theta, moved, size_in, size_out), points, atol=1e-12)


def test_theta_agrees_with_pixel_centres() -> None:
    # Output pixel (3, 5) of a whole-pixel translation by (2, 1) reads input pixel (2, 3): row, column.
    theta = theta_of(seen(translate=(2.0, 1.0)), (8, 10), (8, 10))
    unit = np.array([(2 * 5 + 1) / 10 - 1, (2 * 3 + 1) / 8 - 1, 1.0])
    x, y = theta @ unit
    assert ((x + 1) * 10 - 1) / 2 == pytest.approx(3.0, abs=1e-13)
    assert ((y + 1) * 8 - 1) / 2 == pytest.approx(2.0, abs=1e-13)


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        ([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]], "singular"),
        ([[0.1, 0.2, 0.0], [0.3, 0.6, 0.0]], "singular"),  # not exactly so in binary
        ([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], "singular"),
        ([[1.0, 0.0, np.nan], [0.0, 1.0, 0.0]], "not finite"),
        ([[np.inf, 0.0, 0.0], [0.0, 1.0, 0.0]], "not finite"),
    ],
)
def test_transforms_without_an_inverse_are_refused(matrix, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_regular(np.array(matrix))
    with pytest.raises(ValueError, match=says):
        theta_of(np.array(matrix), *SIZES)


def test_tiny_and_huge_transforms_are_regular() -> None:
    for scale in (1e-200, 1e200):
        assert np.isfinite(theta_of(seen(scale=(scale, scale)), *SIZES)).all()
