"""Real handwritten digits for demonstrations and tests: a small subset of MNIST (see `README.md` here)."""

from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "test")


def load_digits(split: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Load the digits that come with the package.

    Parameters
    ----------
    split : {"train", "test"}
        Which part: 1000 digits of the MNIST training set, 100 of each class, or 500 of its test set, 50 of
        each.

    Returns
    -------
    images : ndarray of uint8, shape (N, 28, 28)
        0 is paper, 255 is ink.
    labels : ndarray of uint8, shape (N,)
        The digit on each image, 0 to 9.

    Raises
    ------
    ValueError
        If `split` is not one of the two names.

    Examples
    --------
    >>> from stnkit.demo.data import load_digits
    >>> images, labels = load_digits()
    >>> images.shape, images.dtype.name, [int(label) for label in labels[:5]]
    ((1000, 28, 28), 'uint8', [5, 0, 4, 1, 9])

    """
    if split not in SPLITS:
        message = f"`split` must be one of {', '.join(map(repr, SPLITS))}; got {split!r}"
        raise ValueError(message)
    file = resources.files(__name__) / "mnist_subset.npz"
    with file.open("rb") as handle, np.load(handle) as archive:
        images: NDArray[Any] = archive[f"x_{split}"]
        labels: NDArray[Any] = archive[f"y_{split}"]
    return images, labels
