"""What the scripts on digits share: every cell of a table that is asked for is one run."""

import argparse
from collections.abc import Iterable

import command
import data
import networks
import table
import torch
import training
from distortions import DISTORTIONS
from networks import NETWORKS, TRANSFORMS


def parser(about: str) -> argparse.ArgumentParser:
    """Describe the options of an experiment on digits."""
    options = command.parser(about, "mnist.npz, or the folder of the four IDX files")
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--transform", nargs="+", choices=[*TRANSFORMS], default=[*TRANSFORMS])
    return options


def run(kinds: Iterable[str], options: argparse.Namespace) -> None:
    """Train every network that was asked for on digits distorted in these ways, and print the table."""
    images = training.Images(*data.load(options.data))
    kinds = tuple(kinds)
    for seed in options.seed:
        for kind in kinds:
            for name in options.network:
                for transform in options.transform if name.startswith("ST-") else ("",):
                    cell(images, kind, name, transform, seed, options)
    print(table.text(options.folder, kinds))


def cell(images: training.Images, kind: str, name: str, transform: str, seed: int, options: argparse.Namespace) -> None:
    """Train one network on digits distorted in one way."""
    torch.manual_seed(seed)
    network = networks.build(name, DISTORTIONS[kind], transform)
    plan = training.Plan(table.name(kind, name, transform), seed, options.steps, momentum=options.momentum)
    training.train(network, images, DISTORTIONS[kind].make, plan, options.folder, command.reporter(plan))
