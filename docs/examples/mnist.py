"""Train the networks of Jaderberg et al. (2015), section 4.1, on distorted MNIST, and print their errors beside it.

    python docs/examples/mnist.py --data mnist.npz --distortion R --network FCN ST-FCN

A run that was interrupted goes on where it was if the same command is given again. `distortions.CHOICES` and the
documentation of `networks` and `training` say what the paper leaves open, and what is done here.
"""

import argparse
import sys

import command
import experiment

KINDS = ("R", "RTS", "P", "E")


def main(options: argparse.Namespace) -> None:
    """Train what was asked for."""
    experiment.run(options.distortion, options)


if __name__ == "__main__":
    parser = experiment.parser("Spatial transformers on distorted MNIST.")
    parser.add_argument("--distortion", nargs="+", choices=KINDS, default=KINDS)
    sys.exit(command.run(main, parser))
