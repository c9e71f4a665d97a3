"""Named workloads as data: the cases that the tests compare with torch, and how arrays are drawn for them."""

import numpy as np

import stnkit
from bench.cases import Case

FUNCTIONS = tuple(name for name in stnkit.__all__ if name != "compile_ahead")  # those on arrays

# Every value of every option, and every pair of mode, padding, number of axes and alignment, but for wrap,
# which stands once in 2-D and once in 3-D.
CASES = (
    Case("line", 2, 3, (37,), (41,)),
    Case("line-cubic", 2, 3, (37,), (41,), "bicubic", "reflection", True, dtype="float64"),
    Case("line-nearest", 2, 3, (37,), (41,), "nearest", "border", data_format="channels_last"),
    Case("zeros", 2, 3, (24, 31), (29, 23)),
    Case("zeros-corners", 3, 2, (24, 31), (29, 23), align_corners=True, dtype="float64"),
    Case("zeros-pixels", 2, 3, (24, 31), (29, 23), coords="pixel", data_format="channels_last"),
    Case("border", 2, 3, (24, 31), (29, 23), "bilinear", "border", data_format="channels_last", dtype="float64"),
    Case("reflection", 3, 2, (24, 31), (29, 23), "bilinear", "reflection", True),
    Case("nearest", 2, 3, (24, 31), (29, 23), "nearest", "zeros", True, dtype="float64"),
    Case("nearest-border", 2, 3, (24, 31), (29, 23), "nearest", "border", True, "pixel", dtype="float64"),
    Case("nearest-reflection", 2, 3, (24, 31), (29, 23), "nearest", "reflection", data_format="channels_last"),
    Case("wrap", 2, 3, (24, 31), (29, 23), "bilinear", "wrap", True),
    Case("cubic", 2, 3, (24, 31), (29, 23), "bicubic", "zeros"),
    Case("cubic-border", 2, 3, (24, 31), (29, 23), "bicubic", "border", True, data_format="channels_last"),
    Case("cubic-reflection", 2, 3, (24, 31), (29, 23), "bicubic", "reflection", dtype="float64"),
    Case("volume", 2, 3, (9, 12, 11), (8, 13, 10), "bilinear", "zeros", True),
    Case("volume-border", 2, 3, (9, 12, 11), (8, 13, 10), "bilinear", "border", coords="pixel", dtype="float64"),
    Case("volume-reflection", 2, 3, (9, 12, 11), (8, 13, 10), "bilinear", "reflection", False, "normalized",
         "channels_last", "float64"),
    Case("volume-cubic", 2, 3, (5, 4, 6), (3, 4, 5), "bicubic", "wrap", coords="pixel"),
    Case("volume-nearest", 2, 3, (9, 12, 11), (8, 13, 10), "nearest", "reflection", True, dtype="float64"),
)  # fmt: skip


def margin(random: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Draw pixel coordinates at least 0.05 away from every multiple of one half, where slopes may jump."""
    half = random.integers(int(np.ceil(2 * low)), int(2 * high), shape)
    return half / 2 + random.uniform(0.05, 0.45, shape)


def unit(px: np.ndarray, extent: tuple[int, ...], align: bool, coords: str) -> np.ndarray:
    """Bring pixel coordinates, last axis x, y, z, to the units of a call."""
    if coords == "pixel":
        return px
    n = np.array(extent[::-1], float)
    return 2 * px / np.maximum(n - 1, 1) - 1 if align else (2 * px + 1) / n - 1


def arrays(case: Case, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw (image, grid, cotangent) of a case, below 1 in magnitude; the grid reaches one image beyond the rim."""
    random = np.random.default_rng(seed)
    last = case.data_format == "channels_last"

    def draw(spatial: tuple[int, ...]) -> np.ndarray:
        shape = (case.batch, *spatial, case.channels) if last else (case.batch, case.channels, *spatial)
        return random.uniform(-1, 1, shape).astype(case.dtype)

    px = np.stack([margin(random, (case.batch, *case.size), -n, 2 * n) for n in case.extent[::-1]], axis=-1)
    grid = unit(px, case.extent, case.align_corners, case.coords)
    return draw(case.extent), grid.astype(case.dtype), draw(case.size)
