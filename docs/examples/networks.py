"""The networks of Jaderberg et al. (2015), appendix A.4: fully connected, convolutional, each with a transformer.

All are initialised by torch's defaults, but for the last layer of a localisation network, which is the identity. What
is left open there: 2 x 2 downsampling before a convolutional localisation network is by averages; a classifier is as
wide as the paper's range allows without more parameters, transformer included, than the plain network at its widest
has, or 400 000.
"""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from distortions import Distortion
from torch import Tensor, nn

import stnkit
from stnkit.transforms import control_lattice

NETWORKS = ("FCN", "CNN", "ST-FCN", "ST-CNN")
TRANSFORMS = ("affine", "projective", "tps")
WIDTHS = {"FCN": (128, 256), "CNN": (32, 64)}  # the paper's units and filters, least and most
BUDGET = 400_000

POINTS = control_lattice((4, 4))
IDENTITY = {"affine": np.eye(2, 3), "projective": np.eye(3), "tps": POINTS}


class Transformer(nn.Module):
    """A spatial transformer of any of the paper's maps; its localisation network outputs IDENTITY at first."""

    def __init__(self, localization: nn.Module, features: int, transform: str, size: int, pooled: bool) -> None:
        super().__init__()
        head = nn.Linear(features, IDENTITY[transform].size)
        nn.init.zeros_(head.weight)
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(IDENTITY[transform].ravel()))
        self.localization = nn.Sequential(localization, head)
        self.transform, self.size = transform, (size, size)
        self.pool = nn.AvgPool2d(2) if pooled else nn.Identity()

    def theta(self, images: Tensor) -> Tensor:
        """Return where each image is read."""
        return self.localization(images).reshape(-1, *IDENTITY[self.transform].shape)

    def forward(self, images: Tensor) -> Tensor:
        """Read each image where the localisation network says."""
        return self.pool(SAMPLERS[self.transform](images, self.theta(images), self.size))


SAMPLERS: dict[str, Callable[[Tensor, Tensor, tuple[int, int]], Tensor]] = {
    "affine": stnkit.affine_sample,
    "projective": stnkit.projective_sample,
    "tps": lambda images, theta, size: stnkit.thin_plate_spline_sample(images, theta, POINTS, size),
}


def fully_connected(side: int, width: int, channels: int = 1, classes: int = 10) -> nn.Module:
    """Make a classifier of three fully connected layers."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * side * side, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def convolutional(side: int, width: int, channels: int = 1, classes: int = 10) -> nn.Module:
    """Make a classifier of a 9 x 9 and a 7 x 7 convolution, each with a maximum over 2 x 2, and one linear layer."""
    left = ((side - 8) // 2 - 6) // 2
    return nn.Sequential(
        nn.Conv2d(channels, width, 9),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, width, 7),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(left * left * width, classes),
    )


CLASSIFIERS = {"FCN": fully_connected, "CNN": convolutional}


def localization(kind: str, side: int, channels: int = 1) -> tuple[nn.Module, int]:
    """Make a localisation network without its head, and say how many features it has."""
    if kind == "FCN":
        sizes = (channels * side * side, 32, 32, 32)
        layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers), 32
    left = (side // 2 - 4) // 2 - 4
    layers = [nn.AvgPool2d(2), nn.Conv2d(channels, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 20, 5), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(20 * left * left, 20), nn.ReLU()), 20


def parameters(network: nn.Module) -> int:
    """Count what a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def build(name: str, distortion: Distortion, transform: str = "affine") -> nn.Module:
    """Make a network for a kind of distorted digits."""
    kind = name.removeprefix("ST-")
    classifier, (least, most) = CLASSIFIERS[kind], WIDTHS[kind]
    budget = min(BUDGET, parameters(classifier(distortion.canvas, most)))
    if name == kind:
        front, side = nn.Identity(), distortion.canvas
    else:
        before, features = localization(kind, distortion.canvas)
        front = Transformer(before, features, transform, distortion.read, distortion.pooled)
        side = distortion.read // 2 if distortion.pooled else distortion.read
    fits = [
        width for width in range(least, most + 1) if parameters(front) + parameters(classifier(side, width)) <= budget
    ]
    return nn.Sequential(front, classifier(side, max(fits, default=least)))
