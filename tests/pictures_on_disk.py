"""Pictures of every kind that files hold, and how tests put them on disk and get them back."""

from pathlib import Path

import numpy as np
from PIL import Image

PIXELS = {
    "L": np.random.default_rng(1).integers(0, 256, (9, 14), dtype=np.uint8),
    "LA": np.random.default_rng(2).integers(0, 256, (9, 14, 2), dtype=np.uint8),
    "RGB": np.random.default_rng(3).integers(0, 256, (9, 14, 3), dtype=np.uint8),
    "RGBA": np.random.default_rng(4).integers(0, 256, (9, 14, 4), dtype=np.uint8),
    "I;16": np.random.default_rng(5).integers(0, 65536, (9, 14), dtype=np.uint16),
    "F": np.random.default_rng(6).normal(0.0, 300.0, (9, 14)).astype(np.float32),
}
PIXELS["RGBA"][2:5, 3:8, 3] = 0  # colours that transparency hides are kept too


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)
