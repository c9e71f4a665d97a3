"""Train a network on images that are distorted anew in every epoch; stop and go on without losing more than one.

The schedule is the paper's: batches of 256, plain stochastic gradient descent, a rate of 0.01 that is divided by ten
after each third of the steps (150 000 there), no weight decay, no dropout. All that is random in an epoch follows from
the seed and the epoch's number, so an interrupted run ends in the same weights as one that was not.
"""

import dataclasses
import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

Distort = Callable[[np.ndarray, np.random.Generator], np.ndarray]
TEST_SEED = 2015  # of the test images' distortions, the same for every network


@dataclasses.dataclass(frozen=True)
class Plan:
    """What makes one run: two runs of one plan end in the same weights, on one machine."""

    name: str  # of the data, the network and the transform: a file's name
    seed: int = 0
    steps: int = 150_000
    batch: int = 256
    rate: float = 0.01
    momentum: float = 0.0

    @property
    def file(self) -> str:
        """The name that the files of this run begin with."""
        momentum = f"-momentum{self.momentum:g}" if self.momentum else ""
        return f"{self.name}{momentum}-seed{self.seed}"


class Images(NamedTuple):
    """What is learnt and what is asked, before distortion."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclasses.dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = dataclasses.field(default_factory=list)  # the mean of each epoch
    errors: list[float] = dataclasses.field(default_factory=list)  # on the test images, after each epoch


def train(
    network: nn.Module,
    images: Images,
    distort: Distort,
    plan: Plan,
    folder: Path,
    report: Callable[[Progress], None],
) -> Progress:
    """Train to the end of the plan, from the last checkpoint if there is one, and write the result."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{plan.file}.checkpoint"
    optimiser = torch.optim.SGD(network.parameters(), plan.rate, momentum=plan.momentum)
    progress = restore(checkpoint, plan, network, optimiser)
    test = distort(images.test, np.random.default_rng(TEST_SEED))
    report(progress)
    while progress.step < plan.steps:
        start = time.perf_counter()
        progress.losses.append(_epoch(network, optimiser, images, distort, plan, progress))
        progress.epoch += 1
        progress.seconds += time.perf_counter() - start
        progress.errors.append(error(network, test, images.test_labels))
        _keep(checkpoint, plan, network, optimiser, progress)
        report(progress)
    result = {**dataclasses.asdict(plan), **dataclasses.asdict(progress)}
    replace(folder / f"{plan.file}.json", (json.dumps(result, indent=1) + "\n").encode())
    return progress


def _epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Images,
    distort: Distort,
    plan: Plan,
    progress: Progress,
) -> float:
    """Take the steps of one epoch, or those that are left, and return their mean loss."""
    rng = np.random.default_rng((plan.seed, progress.epoch))
    order = rng.permutation(len(images.train))
    losses = []
    network.train()
    for first in range(0, max(len(order) - plan.batch + 1, 1), plan.batch):
        if progress.step == plan.steps:
            break
        chosen = order[first : first + plan.batch]
        inputs = torch.from_numpy(distort(images.train[chosen], rng))
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * 0.1 ** (3 * progress.step // plan.steps)
        loss = nn.functional.cross_entropy(network(inputs), torch.from_numpy(images.train_labels[chosen]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        progress.step += 1
    return float(np.mean(losses))


@torch.no_grad()
def error(network: nn.Module, inputs: np.ndarray, labels: np.ndarray, batch: int = 1000) -> float:
    """Return the share of images that are classified wrongly."""
    network.eval()
    wrong = 0
    for first in range(0, len(inputs), batch):
        guessed = network(torch.from_numpy(inputs[first : first + batch])).argmax(1)
        wrong += int((guessed != torch.from_numpy(labels[first : first + batch])).sum())
    return wrong / len(inputs)


def restore(checkpoint: Path, plan: Plan, network: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Put a checkpoint back, and return how far it had come; from the start if there is none."""
    if not checkpoint.exists():
        return Progress()
    try:
        kept: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        asked, progress = kept["plan"], Progress(**kept["progress"])
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as damage:
        msg = f"{checkpoint}: a damaged checkpoint ({type(damage).__name__}); delete it to begin anew"
        raise ValueError(msg) from damage
    if asked != dataclasses.asdict(plan):
        msg = f"{checkpoint}: of another run ({asked}); choose another --folder, or delete it to begin anew"
        raise ValueError(msg)
    try:
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
    except (RuntimeError, ValueError, KeyError) as mismatch:
        msg = f"{checkpoint}: of another version of this network; delete it to begin anew"
        raise ValueError(msg) from mismatch
    return progress


def _keep(
    checkpoint: Path, plan: Plan, network: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    partial = checkpoint.with_suffix(".part")
    state = {
        "plan": dataclasses.asdict(plan),
        "progress": dataclasses.asdict(progress),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, partial)
    os.replace(partial, checkpoint)


def replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)
