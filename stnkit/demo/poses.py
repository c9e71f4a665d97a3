"""Digits at random poses on a larger canvas, and how much their poses differ in what is read of it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stnkit.api.affine import affine_sample
from stnkit.demo.descent import Images
from stnkit.transforms.centred_affine import seen, theta_of

Floats = NDArray[Any]

CANVAS = 40  # pixels a side
EXTENT = (CANVAS, CANVAS)

# The largest distortion: degrees, factors, pixels.
ROTATION, SCALE, SHIFT = 60.0, (0.7, 1.2), 6.0


class Poses(NamedTuple):
    """How much the poses of digits differ in what is read: standard deviations."""

    turn: float  # degrees
    size: float  # a share of the mean size
    place: float  # of either coordinate of the centre: a share of the width that is read


def distorted(digits: Images, rng: np.random.Generator) -> tuple[Images, Floats]:
    """Turn, scale and move digits (N, 28, 28) at random, within ROTATION, SCALE and SHIFT.

    Return images of a larger canvas, (N, 1, CANVAS, CANVAS), and the maps from digit to canvas, (N, 2, 3), in pixels
    about the centres.
    """
    count = len(digits)
    factor = np.exp(rng.uniform(np.log(SCALE[0]), np.log(SCALE[1]), count))
    maps = seen(
        rotate=rng.uniform(-ROTATION, ROTATION, count),
        scale=(factor, factor),
        translate=(rng.uniform(-SHIFT, SHIFT, count), rng.uniform(-SHIFT, SHIFT, count)),
    )
    theta = theta_of(maps, (digits.shape[1], digits.shape[2]), EXTENT).astype(np.float32)
    images: Images = affine_sample(digits[:, None], theta, EXTENT)
    return images, maps


def differences(maps: Floats, theta: Floats) -> Poses:
    """Measure how much the poses of digits differ in what theta, (N, 2, 3), reads of the canvas, which is square.

    Maps lead from digit to canvas, in pixels about the centres. All is 0 if all digits were brought to one pose,
    whichever it is.
    """
    back = np.linalg.pinv(theta[..., :2].astype(np.float64))  # canvas to what is read
    through = back @ maps[..., :2]
    # The rotation nearest to M = [[a, b], [c, d]] has the angle of (a + d, b - c); y runs down.
    turn = np.arctan2(through[:, 0, 1] - through[:, 1, 0], through[:, 0, 0] + through[:, 1, 1])
    size = np.sqrt(np.abs(np.linalg.det(through)))
    place = np.einsum("nij,nj->ni", back, maps[..., 2] / (CANVAS / 2) - theta[..., 2])
    together = np.abs(np.exp(1j * turn).mean())
    return Poses(
        turn=float(np.degrees(np.sqrt(-2.0 * np.log(together)))),  # of angles on a circle
        size=float(size.std() / size.mean()),
        place=float(np.sqrt(place.var(axis=0).mean()) / 2.0),  # normalised coordinates are 2 wide
    )
