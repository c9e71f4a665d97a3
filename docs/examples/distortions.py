"""The distorted digits of Jaderberg et al. (2015), section 4.1 and appendix A.4.

Every distortion takes digits (N, 28, 28) and a generator, and returns images (N, 1, H, W). `CHOICES` says what the
paper leaves open, and what is done here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import stnkit
from stnkit import projective_sample, thin_plate_spline_sample
from stnkit.transforms import control_lattice

CHOICES = """\
Digits are drawn anew in every epoch: a network never sees one distortion twice. The test digits are distorted once, by
a seed of their own that is the same for every network.
All sampling is bilinear; beyond a digit there is paper.
R: the canvas is the digit's own, 28 x 28.
RTS: a location is one of the digit's centre; it is uniform where the 28 x 28 frame of the digit, scaled and not
rotated, keeps inside the canvas of 42 x 42.
P and E: the canvas is 28 x 28. Corners and control points are those of that frame, 5 and 1.5 pixels are its pixels, and
the digit is scaled before they move. Corners that make no convex quadrilateral are drawn again: no projective map of
the digit is one. For E the 16 points are a regular 4 x 4 lattice from edge to edge.
TC: pieces of 6 x 6 are cut anywhere from other digits of the same batch, and laid over by the maximum.
"""


def affine(digits: np.ndarray, angle: np.ndarray, scale: np.ndarray, shift: np.ndarray, side: int) -> np.ndarray:
    """Turn digits by radians, scale them, and move their centres by pixels (N, 2) on a canvas of so many pixels."""
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.stack([cosine, -sine, sine, cosine], axis=-1).reshape(-1, 2, 2)
    back = -np.einsum("nij,nj->ni", linear, shift)
    theta = np.concatenate([linear * (side / 2), back[..., None]], axis=-1) / (digits.shape[-1] / 2)
    return stnkit.affine_sample(digits[:, None], theta.astype(np.float32), (side, side))


def rotated(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """R: a rotation between -90 and 90 degrees."""
    count = len(digits)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, count)
    return affine(digits, angle, np.ones(count), np.zeros((count, 2)), 28)


def moved(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RTS: a rotation between -45 and 45 degrees, a scale between 0.7 and 1.2, a random location in 42 x 42."""
    count, side = len(digits), 42
    angle, scale = rng.uniform(-np.pi / 4, np.pi / 4, count), rng.uniform(0.7, 1.2, count)
    room = (side - 28 * scale) / 2
    return affine(digits, angle, scale, rng.uniform(-1, 1, (count, 2)) * room[:, None], side)


def projected(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """P: a scale between 0.75 and 1, then each corner moved by a normal deviate of 5 pixels."""
    count = len(digits)
    scale = rng.uniform(0.75, 1.0, count)
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    placed = corners * scale[:, None, None]
    landed = placed + rng.normal(0.0, 5 / 14, placed.shape)
    while (folded := ~convex(landed)).any():
        landed[folded] = placed[folded] + rng.normal(0.0, 5 / 14, placed[folded].shape)
    return projective_sample(digits[:, None], homographies(landed, corners).astype(np.float32))


def warped(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """E: a scale between 0.75 and 1, then 16 points of a thin plate spline moved by normal deviates of 1.5 pixels."""
    count = len(digits)
    scale = rng.uniform(0.75, 1.0, count)
    points = control_lattice((4, 4))
    read = (points + rng.normal(0.0, 1.5 / 14, (count, 16, 2))) / scale[:, None, None]
    return thin_plate_spline_sample(digits[:, None], read.astype(np.float32), points)


def cluttered(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """TC: a digit anywhere on 60 x 60, and six 6 x 6 pieces of other digits anywhere around and over it."""
    count, side, patch = len(digits), 60, 6
    canvas = np.zeros((count, 1, side, side), np.float32)
    rows = np.arange(count)
    _lay(canvas, digits, rng.integers(0, side - 28 + 1, (count, 2)))
    for _ in range(6):
        others = (rows + rng.integers(1, max(count, 2), count)) % count
        windows = np.lib.stride_tricks.sliding_window_view(digits, (patch, patch), axis=(1, 2))
        y, x = rng.integers(0, 28 - patch + 1, (2, count))
        _lay(canvas, windows[others, y, x], rng.integers(0, side - patch + 1, (count, 2)))
    return canvas


def _lay(canvas: np.ndarray, pieces: np.ndarray, corners: np.ndarray) -> None:
    height, width = pieces.shape[1:]
    for picture, piece, (y, x) in zip(canvas[:, 0], pieces, corners, strict=True):
        below = picture[y : y + height, x : x + width]
        np.maximum(below, piece, out=below)


def convex(corners: np.ndarray) -> np.ndarray:
    """Tell which quadrilaterals (N, 4, 2) turn the same way at every corner as the frame does."""
    sides = np.roll(corners, -1, axis=1) - corners
    after = np.roll(sides, -1, axis=1)
    return (sides[..., 0] * after[..., 1] - sides[..., 1] * after[..., 0] > 0).all(axis=1)


def homographies(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the maps (N, 3, 3) that carry convex quadrilaterals (N, 4, 2) to one (4, 2), with positive depth there."""
    x, y = start[..., 0], start[..., 1]
    zero, one = np.zeros_like(x), np.ones_like(x)
    u, v = (np.broadcast_to(end[:, axis], x.shape) for axis in (0, 1))
    above = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=-1)
    below = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=-1)
    entries = np.linalg.solve(np.concatenate([above, below], axis=1), np.concatenate([u, v], axis=1)[..., None])
    maps = np.concatenate([entries[..., 0], np.ones((len(x), 1))], axis=1).reshape(-1, 3, 3)
    depth = np.einsum("nk,nkp->np", maps[:, 2], np.stack([x, y, one], axis=1))
    return maps * np.sign(depth.sum(axis=1))[:, None, None]


class Distortion(NamedTuple):
    """How digits are distorted, on how large a canvas, and which part of the canvas a network classifies."""

    make: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    canvas: int  # pixels a side
    read: int  # pixels a side of what a transformer reads
    pooled: bool  # whether a transformer's output is averaged over 2 x 2 pixels


DISTORTIONS = {
    "R": Distortion(rotated, 28, 28, False),
    "RTS": Distortion(moved, 42, 56, True),
    "P": Distortion(projected, 28, 28, False),
    "E": Distortion(warped, 28, 28, False),
    "TC": Distortion(cluttered, 60, 60, True),
}
