"""Named workloads as data: the cases that the tests compare with torch, and how arrays are drawn for them."""

import numpy as np
from calls import SPECS

import stnkit
from bench.cases import Case

FUNCTIONS = tuple(name for name in stnkit.__all__ if name != "compile_ahead")  # those on arrays
SIZES = (2, 3, (24, 31), (29, 23))  # batch, channels, image, output
CASES = (  # the kernels of `SPECS`, and those that most calls ask for
    *(
        Case(f"{mode}-{padding}", *SIZES, mode, padding, align, "pixel", dtype="float64")
        for mode, padding, align in SPECS
    ),
    Case("everyday", *SIZES),
    Case("everyday-last", *SIZES, data_format="channels_last"),
)


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
