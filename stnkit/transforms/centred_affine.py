"""Affine transforms as they are seen, in pixels about the image's centre, and their normalised theta.

As seen, x runs right and y runs down, both counted in pixels from the centre of the image. A transform is a
matrix (..., 2, 3), A = [M | t], that carries a point p of the input to the point M p + t of the output.

The sampler asks the opposite question, in other units: theta carries the output's normalised coordinates to
the input's. In the convention `align_corners=False` a unit coordinate u lies p = u n / 2 pixels from the
centre of an axis of n pixels. With S = diag(width, height) / 2 of either image, p_out = S_out u_out and
p_in = S_in u_in, so

    p_out = M p_in + t
    p_in  = inverse(M) (p_out - t)
    u_in  = inverse(S_in) inverse(M) S_out u_out  -  inverse(S_in) inverse(M) t

whose two terms are the left and the right part of theta. The pixels keep their shape because S stands on both
sides: a rotation of normalised coordinates would shear an image that is not square.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Number = float | NDArray[np.float64]


def cos_sin(degrees: Number) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cosine and sine of an angle in degrees, exact at every quarter turn.

    Parameters
    ----------
    degrees : float or ndarray
        Angles in degrees.

    Returns
    -------
    cosine, sine : ndarray of float64
        Of the shape of `degrees`. A quarter turn is exact, so it moves pixels onto pixels and blends none.

    """
    turn = np.remainder(np.asarray(degrees, np.float64), 360.0)
    quarter = np.rint(turn / 90.0)
    rest = np.radians(turn - 90.0 * quarter)
    cosine, sine = np.cos(rest), np.sin(rest)
    quarter = quarter.astype(int) % 4
    return np.choose(quarter, [cosine, -sine, -cosine, sine]), np.choose(quarter, [sine, cosine, -sine, -cosine])


def seen(
    rotate: Number = 0.0,
    scale: Sequence[Number] = (1.0, 1.0),
    shear: Number = 0.0,
    translate: Sequence[Number] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Build the transform that is seen as a scaling, then a shear, a rotation and a translation.

    Parameters
    ----------
    rotate : float or ndarray
        Degrees, counter-clockwise as seen.
    scale : pair of float or ndarray
        Factors along x and y; a negative one mirrors.
    shear : float or ndarray
        Degrees by which upright lines lean to the right, as in italics.
    translate : pair of float or ndarray
        Pixels to the right and down.

    Returns
    -------
    ndarray of float64, shape (..., 2, 3)
        Pixels of the input to pixels of the output, both about their centres. The arguments broadcast.

    """
    cosine, sine = cos_sin(rotate)
    upright, slope = cos_sin(shear)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lean = slope / upright
        # Rotation [[c, s], [-s, c]] (y runs down) times shear [[1, -lean], [0, 1]] times diag(scale).
        entries = [
            cosine * scale[0],
            (sine - cosine * lean) * scale[1],
            translate[0],
            -sine * scale[0],
            (cosine + sine * lean) * scale[1],
            translate[1],
        ]
    stacked = np.stack(np.broadcast_arrays(*(np.asarray(entry, np.float64) for entry in entries)), axis=-1)
    return stacked.reshape(*stacked.shape[:-1], 2, 3)


def check_regular(matrix: NDArray[Any]) -> None:
    """Refuse a transform that has no inverse, or that is not made of finite numbers.

    Parameters
    ----------
    matrix : ndarray, shape (..., 2, 3)
        Transforms in any units.

    Raises
    ------
    ValueError
        If a number is not finite, or the left 2 x 2 part is singular in double precision.

    """
    if not np.isfinite(matrix).all():
        message = "the transform is singular or too extreme: its numbers are not finite"
        raise ValueError(message)
    values = np.linalg.svd(matrix[..., :2], compute_uv=False)
    if not (values[..., 1] > values[..., 0] * np.finfo(np.float64).eps).all():
        message = "the transform is singular: it flattens the image to a line or a point"
        raise ValueError(message)


def theta_of(matrix: NDArray[np.float64], size_in: tuple[int, int], size_out: tuple[int, int]) -> NDArray[np.float64]:
    """Turn transforms in pixels into theta, as this module's text derives it.

    Parameters
    ----------
    matrix : ndarray of float64, shape (..., 2, 3)
        Input to output, in pixels about the centres.
    size_in, size_out : (int, int)
        Heights and widths of the images.

    Returns
    -------
    ndarray of float64, shape (..., 2, 3)
        Output to input, in normalised coordinates, for `align_corners=False`.

    Raises
    ------
    ValueError
        If a transform is singular or not finite.

    """
    check_regular(matrix)
    half_in = np.array(size_in[::-1]) / 2.0
    half_out = np.array(size_out[::-1]) / 2.0
    with np.errstate(over="ignore", invalid="ignore"):  # an inverse can overflow: looked for below
        inverse = np.linalg.inv(matrix[..., :2])
        left = inverse * half_out / half_in[:, None]
        right = -(inverse @ matrix[..., 2:]) / half_in[:, None]
    theta = np.concatenate([left, right], axis=-1)
    check_regular(theta)
    return theta


def points_through(
    theta: NDArray[Any], points: NDArray[Any], size_in: tuple[int, int], size_out: tuple[int, int]
) -> NDArray[np.float64]:
    """Carry points of the output to the input, in pixels about the centres.

    Parameters
    ----------
    theta : ndarray, shape (..., 2, 3)
        Output to input, in normalised coordinates, for `align_corners=False`.
    points : ndarray, shape (K, 2)
        x and y in the output, in pixels.
    size_in, size_out : (int, int)
        Heights and widths of the images.

    Returns
    -------
    ndarray of float64, shape (..., K, 2)
        x and y in the input, in pixels.

    """
    half_in = np.array(size_in[::-1]) / 2.0
    half_out = np.array(size_out[::-1]) / 2.0
    units: NDArray[np.float64] = (points / half_out) @ np.swapaxes(theta[..., :2], -1, -2)
    points_in: NDArray[np.float64] = (units + theta[..., None, :, 2]) * half_in
    return points_in
