"""Train a convolutional network on traffic signs, with and without a spatial transformer in front.

    python docs/examples/traffic_signs.py --data GTSRB --steps 20000

The data are the German Traffic Sign Recognition Benchmark (Stallkamp et al., 2012): 43 classes of photographs of
different sizes, with some surroundings. They are brought to 48 x 48 pixels whole: it is left to the transformer to
find the sign. The paper has no such experiment.
"""

import argparse
import csv
import sys
from pathlib import Path

import command
import networks
import numpy as np
import torch
import training
from PIL import Image
from torch import nn

import stnkit

SIDE = 48
LAYOUT = (
    "expected is a folder with Final_Training/Images/00000/GT-00000.csv and the .ppm pictures it names, one such "
    "folder for each class, and Final_Test/Images/GT-final_test.csv likewise (columns Filename;...;ClassId); get "
    "GTSRB_Final_Training_Images.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip from "
    "https://benchmark.ini.rub.de/gtsrb_dataset.html"
)


def load(source: Path) -> training.Images:
    """Read the benchmark, or say in one line what is expected."""
    try:
        train = [read(folder) for folder in sorted((source / "Final_Training" / "Images").iterdir()) if folder.is_dir()]
        pictures, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
        test = read(source / "Final_Test" / "Images")
    except (OSError, KeyError, ValueError) as error:
        msg = f"{source}: no traffic signs ({error}); {LAYOUT}"
        raise ValueError(msg) from error
    return training.Images(pictures, labels, *test)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the pictures that a folder's table names, (N, 3, 48, 48) of uint8, and their classes."""
    (listing,) = list(folder.glob("GT-*.csv")) or [folder / "GT-*.csv"]
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    if not rows:
        msg = f"{listing} names no pictures"
        raise ValueError(msg)
    pictures = np.stack([resized(folder / row["Filename"]) for row in rows])
    return pictures, np.array([int(row["ClassId"]) for row in rows])


def resized(path: Path) -> np.ndarray:
    """Read a picture and bring it to 48 x 48 pixels, (3, 48, 48) of uint8."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    out = stnkit.affine_sample(pixels, np.eye(2, 3), (SIDE, SIDE), padding_mode="border", data_format="channels_last")
    return out.transpose(2, 0, 1)


def unit(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bring values to [-1, 1]; nothing is distorted."""
    return (pictures / np.float32(127.5) - 1).astype(np.float32)


def build(name: str, classes: int) -> nn.Module:
    """Make the network of appendix A.4 for colour pictures, with an affine transformer in front or without."""
    classifier = networks.convolutional(SIDE, 64, 3, classes)
    if name == "CNN":
        return classifier
    before, features = networks.localization("CNN", SIDE, 3)
    return nn.Sequential(networks.transformer(before, features, "affine", SIDE, pooled=False), classifier)


def main(options: argparse.Namespace) -> None:
    """Train what was asked for, and print the errors."""
    images = load(options.data)
    classes = int(max(images.train_labels.max(), images.test_labels.max())) + 1
    for seed in options.seed:
        for name in options.network:
            torch.manual_seed(seed)
            plan = training.Plan(f"GTSRB-{name}", seed, options.steps, momentum=options.momentum)
            network = build(name, classes)
            progress = training.train(network, images, unit, plan, options.folder, command.reporter(plan))
            print(f"{name}, seed {seed}: {progress.errors[-1]:.2%} of the test pictures are wrong")


if __name__ == "__main__":
    parser = command.parser("Spatial transformers on traffic signs.", "the folder of GTSRB")
    parser.add_argument("--network", nargs="+", choices=("CNN", "ST-CNN"), default=("CNN", "ST-CNN"))
    sys.exit(command.run(main, parser))
