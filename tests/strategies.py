"""Hypothesis strategies: coordinates, and the many ways in which the same numbers can lie in memory.

Shapes and numbers come from a drawn seed: what is searched is the structure of a call, and a failing seed
is printed like any other value.
"""

import numpy as np
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)
STRANGE = [np.nan, np.inf, -np.inf, 3e9, -1e20, 3e38]  # finite ones fit float32


def shapes(axes: int, low: int = 1, high: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw a shape."""
    return st.tuples(*[st.integers(low, high)] * axes)


def numbers(shape: tuple[int, ...], dtype: str = "float64") -> st.SearchStrategy[np.ndarray]:
    """Draw an array of numbers between -1 and 1."""
    return SEEDS.map(lambda seed: np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype))


def pixels(shape: tuple[int, ...], extent: tuple[int, ...], dtype: str = "float64") -> st.SearchStrategy[np.ndarray]:
    """Draw pixel coordinates (*shape, d), up to two images beyond the rim, no two axes alike."""
    low, high = -2.0 * np.array(extent[::-1]), 3.0 * np.array(extent[::-1])
    return numbers((*shape, len(extent))).map(lambda u: (low + (u + 1) / 2 * (high - low)).astype(dtype))


def eighths(shape: tuple[int, ...], extent: tuple[int, ...], dtype: str = "float64") -> st.SearchStrategy[np.ndarray]:
    """Draw pixel coordinates in eighths of a pixel: exact in every sum here, knots and ties among them."""
    return pixels(shape, extent).map(lambda px: (np.rint(8 * px) / 8).astype(dtype))


def off_knots(shape: tuple[int, ...], extent: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Draw pixel coordinates at least 0.05 away from every multiple of one half, where slopes may jump."""
    return pixels(shape, extent).map(lambda px: np.floor(2 * px) / 2 + 0.05 + 0.8 * (px - np.floor(2 * px) / 2))


@st.composite
def strange(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    """Put numbers that are not finite, or huge, into an array of coordinates."""
    array = array.copy()
    for _ in range(draw(st.integers(0, 4))):
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(STRANGE))
    return array


def _reverse(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a[tuple([slice(None, None, -1)] * a.ndim)])[tuple([slice(None, None, -1)] * a.ndim)]


def _spread(a: np.ndarray) -> np.ndarray:
    wide = np.full([3 * n for n in a.shape], np.nan, a.dtype)
    view = wide[tuple([slice(1, None, 3)] * a.ndim)]
    view[...] = a
    return view


def _skew(a: np.ndarray) -> np.ndarray:
    memory = np.empty(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _lock(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "reversed": _reverse,
    "one axis reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "gaps": _spread,
    "reversed gaps": lambda a: _reverse(_spread(a)),
    "axes moved": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "misaligned": _skew,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": _lock,
}
