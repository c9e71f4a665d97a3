"""Make `stnkit/demo/data/mnist_subset.npz`, the digits that the package carries, from the full MNIST set.

    python bench/make_digits.py path/to/mnist.npz [--out PATH]

The source is an archive of the arrays `x_train`, `y_train`, `x_test` and `y_test`, uint8, in the order of
the original files. The subset is the first digits of every class, in that order: no random choice, so the
same source gives the same file. NumPy stamps every member with one fixed date, so the bytes repeat too,
wherever Python is linked to the same zlib.
"""

import argparse
from pathlib import Path

import numpy as np

PER_CLASS = {"train": 100, "test": 50}
TARGET = Path(__file__).parent.parent / "stnkit" / "demo" / "data" / "mnist_subset.npz"


def first_of_every_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the sorted indices of the first `count` labels of each digit."""
    return np.sort(np.concatenate([np.flatnonzero(labels == digit)[:count] for digit in range(10)]))


def subset(archive: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the four arrays of the subset."""
    arrays = {}
    for split, count in PER_CLASS.items():
        chosen = first_of_every_class(archive[f"y_{split}"], count)
        arrays[f"x_{split}"] = archive[f"x_{split}"][chosen]
        arrays[f"y_{split}"] = archive[f"y_{split}"][chosen]
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the embedded digits from the full MNIST set.")
    parser.add_argument("source", type=Path, help="an npz archive of all 70 000 digits")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    with np.load(options.source) as archive:
        np.savez_compressed(options.out, **subset(archive))
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
