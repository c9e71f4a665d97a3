"""The alignment demo: real digits under unknown affine maps, each map found again by gradient descent.

A distorted digit is the image D; a map theta reads it back onto the lattice of the original O. What is made
small is the squared difference of `affine_sample(D, theta)` and O, by `stnkit.demo.descent`.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stnkit.api.affine import affine_sample, affine_sample_vjp
from stnkit.demo.data import load_digits
from stnkit.demo.descent import Images, coarse_to_fine, identities
from stnkit.transforms.centred_affine import points_through, seen, theta_of

Floats = NDArray[Any]

CANVAS = 40  # pixels a side: a digit of 28 nearly always keeps inside when it is turned, enlarged and moved
EXTENT = (CANVAS, CANVAS)
LANDMARKS = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])  # MNIST's box of 20 x 20

# The largest distortion: degrees, a factor, degrees, pixels.
ROTATION, SCALE, SHEAR, SHIFT = 45.0, 1.35, 20.0, 4.0


class Result(NamedTuple):
    """What the demo found; displacements are in pixels of the distorted canvas."""

    labels: NDArray[np.uint8]
    originals: Images
    distorted: Images
    recovered: Images
    truth: Floats  # (N, 4, 2): where the landmarks went
    found: Floats  # (N, 4, 2): where theta says they went
    history: Floats  # (steps + 1, N): the displacement of the worst landmark
    samples_per_second: float
    gradients_per_second: float
    compile_seconds: float
    seconds: float

    @property
    def before(self) -> Floats:
        """The displacement of each digit's worst landmark before the descent."""
        first: Floats = self.history[0]
        return first

    @property
    def after(self) -> Floats:
        """The displacement of each digit's worst landmark after it."""
        last: Floats = self.history[-1]
        return last


def alignment(count: int, steps: int, seed: int, advance: Callable[[], None]) -> Result:
    """Distort 1 to 1000 digits, find the distortions, and measure how well.

    `seed` chooses digits and distortions. `advance` is called after each of at least one step of gradient descent.
    """
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    originals, labels = choose_digits(count, rng)
    maps = distortions(count, rng)
    truth = LANDMARKS @ np.swapaxes(maps[..., :2], -1, -2) + maps[..., None, :, 2]
    distorted = affine_sample(originals, theta_of(maps, EXTENT, EXTENT).astype(np.float32))
    affine_sample_vjp(distorted, originals, identities(count), wrt="theta")
    compiled = time.perf_counter()

    history = [displacement(identities(count), truth)]
    for theta in coarse_to_fine(identities(count), distorted, originals, steps):
        history.append(displacement(theta, truth))
        advance()
    recovered = affine_sample(distorted, theta)
    finished = time.perf_counter()
    return Result(
        labels=labels,
        originals=originals,
        distorted=distorted,
        recovered=recovered,
        truth=truth,
        found=points_through(theta, LANDMARKS, EXTENT, EXTENT),
        history=np.stack(history),
        samples_per_second=count / seconds_of(lambda: affine_sample(distorted, theta)),
        gradients_per_second=count / seconds_of(lambda: affine_sample_vjp(recovered, distorted, theta, wrt="theta")),
        compile_seconds=compiled - start,
        seconds=finished - start,
    )


def choose_digits(count: int, rng: np.random.Generator) -> tuple[Images, NDArray[np.uint8]]:
    """Choose digits at random, the classes 0 to 9 in turn.

    Return images (N, 1, CANVAS, CANVAS), where 1 is ink, and labels (N,).
    """
    images, labels = load_digits()
    classes = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    chosen = np.stack(classes, axis=1).reshape(-1)[:count]
    margin = (CANVAS - images.shape[-1]) // 2
    framed = np.pad(images[chosen], ((0, 0), (margin, margin), (margin, margin)))
    return (framed[:, None] / np.float32(255)).astype(np.float32), labels[chosen]


def distortions(count: int, rng: np.random.Generator) -> Floats:
    """Draw affine maps (count, 2, 3) within ROTATION, SCALE, SHEAR and SHIFT, in pixels about the centre.

    They lead from original to distorted. There is one scale for both axes; shear makes them differ.
    """
    factor = SCALE ** rng.uniform(-1.0, 1.0, count)
    return seen(
        rotate=rng.uniform(-ROTATION, ROTATION, count),
        scale=(factor, factor),
        shear=rng.uniform(-SHEAR, SHEAR, count),
        translate=(rng.uniform(-SHIFT, SHIFT, count), rng.uniform(-SHIFT, SHIFT, count)),
    )


def displacement(theta: Floats, truth: Floats) -> Floats:
    """Return by how many pixels each map carries the worst of the four landmarks from where it went, (N,).

    theta, (N, 2, 3), leads from original to distorted in normalised coordinates; `truth`, (N, 4, 2), says where the
    landmarks went, in pixels about the centre.
    """
    offset = points_through(theta, LANDMARKS, EXTENT, EXTENT) - truth
    worst: Floats = np.sqrt((offset**2).sum(axis=-1)).max(axis=-1)
    return worst


def seconds_of(call: Callable[[], object], times: int = 5) -> float:
    """Return the median time of a call that is compiled already, in seconds."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))
