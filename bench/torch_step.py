"""A training step of a small spatial transformer in torch: stnkit beside `affine_grid` and `grid_sample` of torch.

Run `python -m bench.torch_step`. Both sides are the same model with the same weights, which reads the digits that come
with the package, and differ in one function. They are first trained side by side, so that their losses can be
compared; then the sampling part, forward and backward, and the whole step are timed in turn, in one process.

Activations and pooling are smooth, so that a rounding stays one: with rectifiers and max pooling, torch differs from
itself by as much as the loss within 50 steps, if theta is changed by one unit in its last place.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bench import tables, threads
from bench.harness import THOROUGH, Effort, in_turn
from bench.report import printed

STEPS = 50  # of training, to compare losses
RATE = 0.1  # of plain gradient descent; a tenth of it for the localisation network, as Jaderberg et al. chose

Sampler = Callable[[Any, Any], Any]  # images and theta to images


class Setting(NamedTuple):
    """One model and its batches."""

    name: str
    batch: int
    extent: int  # of the images, a side
    channels: int = 1  # of what is sampled: the images, or so many feature maps of them


SETTINGS = (
    Setting("digits, 28 x 28", 64, 28),
    Setting("digits, 40 x 40", 64, 40),
    Setting("digits, 64 x 64", 64, 64),
    Setting("16 feature maps, 28 x 28", 64, 28, 16),
)


def by_torch(images: Any, theta: Any) -> Any:
    """Sample by torch's two functions."""
    from torch.nn import functional

    grid = functional.affine_grid(theta, images.shape, align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def by_stnkit(images: Any, theta: Any) -> Any:
    """Sample by stnkit's one."""
    import stnkit

    return stnkit.affine_sample(images, theta)


SAMPLERS: dict[str, Sampler] = {"stnkit": by_stnkit, "torch": by_torch}


def model(setting: Setting, sampler: Sampler) -> Any:
    """Build a spatial transformer network of random weights, the same ones each time."""
    import torch
    from torch import nn

    from stnkit.torch.nn import identity_head

    torch.manual_seed(0)
    channels, reduced = setting.channels, ((setting.extent - 6) // 2 - 4) // 2  # after two convolutions and poolings
    localization = nn.Sequential(
        *(nn.Conv2d(channels, 8, 7), nn.AvgPool2d(2), nn.GELU()),
        *(nn.Conv2d(8, 10, 5), nn.AvgPool2d(2), nn.GELU(), nn.Flatten()),
        *(nn.Linear(10 * reduced**2, 32), nn.GELU(), identity_head(32)),
    )
    classifier = nn.Sequential(
        *(nn.Conv2d(channels, 10, 5), nn.AvgPool2d(2), nn.GELU()),
        *(nn.Conv2d(10, 20, 5), nn.AdaptiveAvgPool2d(4), nn.GELU(), nn.Flatten()),
        *(nn.Linear(320, 50), nn.GELU(), nn.Linear(50, 10)),
    )
    features = nn.Identity() if channels == 1 else nn.Sequential(nn.Conv2d(1, channels, 5, padding=2), nn.GELU())

    with torch.no_grad():  # at the identity itself every location is a knot, where rounding decides between two slopes
        for parameter in localization[-1].parameters():
            parameter.add_(torch.empty_like(parameter).uniform_(-0.05, 0.05))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.localization, self.classifier = features, localization, classifier

        def forward(self, images: Any) -> Any:
            read = self.features(images)
            theta = self.localization(read).reshape(-1, 2, 3)
            return self.classifier(sampler(read, theta))

    return Network()


def batches(setting: Setting) -> list[tuple[Any, Any]]:
    """Return the batches of an epoch: digits, each somewhere on a canvas of the setting's size, and their labels."""
    import torch

    from stnkit.demo.data import load_digits

    digits, labels = load_digits()
    random = np.random.default_rng(0)
    canvas = np.zeros((len(digits), 1, setting.extent, setting.extent), np.float32)
    room = setting.extent - digits.shape[-1] + 1
    for image, digit, y, x in zip(canvas, digits, *random.integers(room, size=(2, len(digits))), strict=True):
        image[0, y : y + 28, x : x + 28] = digit / np.float32(255)
    whole = range(0, len(digits) - setting.batch + 1, setting.batch)
    canvas = (canvas - canvas.mean()) / canvas.std()
    images, classes = torch.from_numpy(canvas), torch.from_numpy(labels.astype(np.int64))
    return [(images[i : i + setting.batch], classes[i : i + setting.batch]) for i in whole]


def trainer(setting: Setting, sampler: Sampler) -> Callable[[Any, Any], float]:
    """Return what does one step of training on a batch, and returns the loss before it."""
    import torch
    from torch.nn import functional

    network = model(setting, sampler)
    slow, fast = network.localization.parameters(), [*network.features.parameters(), *network.classifier.parameters()]
    optimizer = torch.optim.SGD([{"params": fast}, {"params": slow, "lr": RATE / 10}], RATE)

    def step(images: Any, labels: Any) -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def losses(setting: Setting, sampler: Sampler, steps: int = STEPS) -> list[float]:
    """Return the losses of some steps of training."""
    step, given = trainer(setting, sampler), batches(setting)
    return [step(*given[i % len(given)]) for i in range(steps)]


def sampling(setting: Setting, sampler: Sampler) -> Callable[[], Any]:
    """Return what does the sampling part of a step: forward, and backward to what the model learns from."""
    import torch

    random = torch.Generator().manual_seed(0)
    extent = (setting.batch, setting.channels, setting.extent, setting.extent)
    images, cotangent = (torch.rand(extent, generator=random) for _ in range(2))
    images.requires_grad_(setting.channels > 1)  # feature maps are learnt; images are given
    theta = torch.eye(2, 3) + 0.1 * torch.randn(setting.batch, 2, 3, generator=random)
    wanted = [array for array in (images, theta.requires_grad_()) if array.requires_grad]
    return lambda: torch.autograd.grad(sampler(images, theta), wanted, cotangent)


def figures(effort: Effort = THOROUGH, settings: tuple[Setting, ...] = SETTINGS) -> list[dict[str, Any]]:
    """Return for each setting how far apart the losses are, and the seconds of both sides."""
    rows = []
    for setting in settings:
        both = [losses(setting, sampler) for sampler in SAMPLERS.values()]
        batch = batches(setting)[0]
        steps = {name: trainer(setting, sampler) for name, sampler in SAMPLERS.items()}
        parts = {
            "sampling": {name: sampling(setting, sampler) for name, sampler in SAMPLERS.items()},
            "step": {name: partial(step, *batch) for name, step in steps.items()},
        }
        row: dict[str, Any] = {"name": setting.name, "steps": STEPS, "first": both[0][0], "last": both[0][-1]}
        row["gap"] = max(abs(a - b) for a, b in zip(*both, strict=True))
        rows.append(row | {part: timed(sides, effort) for part, sides in parts.items()})
    return rows


def timed(sides: dict[str, Callable[[], Any]], effort: Effort) -> dict[str, float]:
    """Return the median seconds of each side, in turn."""
    times, errors = in_turn(sides, effort)
    for error in errors.values():
        raise error
    return {name: time["median"] for name, time in times.items()}


def main() -> None:
    number = min(2, threads.usable())
    threads.fix(number)
    import torch

    torch.set_num_threads(number)
    printed([tables.training({"training": figures()})])


if __name__ == "__main__":
    main()
