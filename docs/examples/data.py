"""MNIST from a file or a folder: an npz archive, or the four IDX files, as they are or gzipped."""

import gzip
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

LAYOUT = (
    "expected is an .npz with uint8 arrays x_train, y_train, x_test, y_test, or a folder with train-images-idx3-ubyte, "
    "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (or these with .gz); get it from "
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz or http://yann.lecun.com/exdb/mnist"
)
MEMBERS = ("x_train", "y_train", "x_test", "y_test")
IDX_FILES = dict(
    zip(
        MEMBERS,
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        strict=True,
    )
)


class Digits(NamedTuple):
    """Images as float32 of shape (N, 28, 28), where 1 is ink, and the digit on each."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def load(source: Path) -> Digits:
    """Read MNIST, or say in one line what is expected."""
    try:
        arrays = _folder(source) if source.is_dir() else _archive(source)
        _check(arrays)
    except (OSError, EOFError, KeyError, ValueError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        msg = f"{source}: no MNIST ({error}); {LAYOUT}"
        raise ValueError(msg) from error
    train, test = ((arrays[name] / np.float32(255)).astype(np.float32) for name in ("x_train", "x_test"))
    return Digits(train, arrays["y_train"].astype(np.int64), test, arrays["y_test"].astype(np.int64))


def _archive(source: Path) -> dict[str, np.ndarray]:
    with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in MEMBERS}


def _folder(source: Path) -> dict[str, np.ndarray]:
    return {name: _idx(source / file) for name, file in IDX_FILES.items()}


def _idx(path: Path) -> np.ndarray:
    packed = path.with_name(f"{path.name}.gz")
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() and not path.exists() else path.read_bytes()
    zero, kind, ndim = struct.unpack(">HBB", raw[:4])
    if (zero, kind) != (0, 8):
        msg = f"{path.name} is no IDX file of unsigned bytes"
        raise ValueError(msg)
    shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def _check(arrays: dict[str, np.ndarray]) -> None:
    for images, labels in (("x_train", "y_train"), ("x_test", "y_test")):
        count, *size = arrays[images].shape
        if size != [28, 28] or not count or arrays[labels].shape != (count,):
            msg = f"{images} is {arrays[images].shape} and {labels} is {arrays[labels].shape}"
            raise ValueError(msg)
        if arrays[images].dtype != np.uint8 or arrays[labels].max() > 9:
            msg = f"{images} must be uint8, and {labels} from 0 to 9"
            raise ValueError(msg)
