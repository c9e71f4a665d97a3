"""Train the networks of Jaderberg et al. (2015), appendix A.4, on translated digits among clutter, 60 x 60 pixels.

    python docs/examples/cluttered.py --data mnist.npz --network FCN ST-FCN --transform affine

The paper tells the errors of the affine transformer; the others may be tried too. It is resumed as `mnist.py` is.
"""

import argparse
import sys

import command
import experiment


def main(options: argparse.Namespace) -> None:
    """Train what was asked for."""
    experiment.run(("TC",), options)


if __name__ == "__main__":
    sys.exit(command.run(main, experiment.parser("Spatial transformers on cluttered, translated MNIST.")))
