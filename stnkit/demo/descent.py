"""Registration by gradient descent: the affine maps under which some images look like others.

What is made small is the squared difference of `affine_sample(images, theta)` and the targets, whose gradient
with respect to theta comes from `affine_sample_vjp`: there is no network here, and no solver but Adam. The
images are blurred at first and sharpened in stages, so that strokes which do not touch yet attract each
other.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stnkit.api.affine import affine_sample, affine_sample_vjp
from stnkit.demo.layers import Moments

Images = NDArray[np.float32]  # (N, 1, H, W)

# Stages of the descent: the blur's standard deviation in pixels, and the first step size in units of theta.
STAGES = ((3.0, 0.05), (1.5, 0.02), (0.75, 0.01), (0.0, 0.005))
MEMORY = 0.99  # of Adam


def identities(count: int) -> NDArray[np.float32]:
    """Return the maps that a descent starts from, (count, 2, 3)."""
    return np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))


def stage_ends(steps: int) -> list[int]:
    """Share steps out among the stages: 0, and the number of steps that are done when each stage ends."""
    return [steps * stage // len(STAGES) for stage in range(len(STAGES) + 1)]


def coarse_to_fine(
    theta: NDArray[np.float32], images: Images, targets: Images, steps: int
) -> Iterator[NDArray[np.float32]]:
    """Go down through all the stages from theta, (N, 2, 3), and yield theta after each step.

    Images are read, and look like the targets then; both are (N, 1, H, W).
    """
    ends = stage_ends(steps)
    for (sigma, rate), first, last in zip(STAGES, ends, ends[1:], strict=False):
        path = descent(theta, blurred(images, sigma), blurred(targets, sigma), rate, last - first)
        for theta in path:
            yield theta


def descent(
    theta: NDArray[np.float32], images: Images, targets: Images, rate: float, steps: int
) -> Iterator[NDArray[np.float32]]:
    """Follow the gradient of the squared difference with Adam, the step size falling to nothing on a cosine.

    Arrays are those of `coarse_to_fine`; the first step size, `rate`, is in units of theta.
    """
    weight = 2.0 / np.sum(targets**2, axis=(1, 2, 3), keepdims=True)
    moments = Moments(theta, MEMORY)
    for step in range(1, steps + 1):
        residual = affine_sample(images, theta) - targets
        gradient: Any = affine_sample_vjp(weight * residual, images, theta, wrt="theta")[1]
        theta = theta - moments.step(gradient, rate * 0.5 * (1.0 + math.cos(math.pi * step / steps)))
        yield theta


def blurred(images: Images, sigma: float) -> Images:
    """Blur images (N, 1, H, W), with paper around, by a Gaussian of a standard deviation in pixels, axis by axis."""
    if sigma == 0.0:
        return images
    radius = math.ceil(3.0 * sigma)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (bell / bell.sum()).astype(np.float32)
    for axis in (2, 3):
        border = [(0, 0)] * images.ndim
        border[axis] = (radius, radius)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, border), len(weights), axis)
        images = np.sum(windows * weights, axis=-1)
    return images
