"""The networks of Jaderberg et al. (2015), appendix A.4: fully connected, convolutional, each with a transformer.

All are initialised by torch's defaults, but for the last layer of a localisation network, which is the identity. What
is left open there: 2 x 2 downsampling before a convolutional localisation network is by averages; a classifier is as
wide as the paper's range allows without more parameters, transformer included, than the plain network at its widest
has, or 400 000.
"""

import itertools

from distortions import Distortion
from torch import nn

from stnkit.torch.nn import SpatialTransformer, identity_head

NETWORKS = ("FCN", "CNN", "ST-FCN", "ST-CNN")
TRANSFORMS = {"affine": "affine", "projective": "projective", "tps": "thin_plate_spline"}  # stnkit's names of them
WIDTHS = {"FCN": (128, 256), "CNN": (32, 64)}  # the paper's units and filters, least and most
BUDGET = 400_000


def transformer(localization: nn.Module, features: int, transform: str, size: int, *, pooled: bool) -> nn.Module:
    """Put a head that is the identity at first on a localisation network, and a spatial transformer around both."""
    name = TRANSFORMS[transform]
    looking = nn.Sequential(localization, identity_head(features, name))
    front = SpatialTransformer(looking, name, (size, size))
    return nn.Sequential(front, nn.AvgPool2d(2)) if pooled else front


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
        front = transformer(before, features, transform, distortion.read, pooled=distortion.pooled)
        side = distortion.read // 2 if distortion.pooled else distortion.read
    fits = [
        width for width in range(least, most + 1) if parameters(front) + parameters(classifier(side, width)) <= budget
    ]
    return nn.Sequential(front, classifier(side, max(fits, default=least)))
