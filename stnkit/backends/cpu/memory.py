"""Whole arrays in main memory, without sampling: allocate, convert, scale, add, and make constants."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stnkit.plans.layout import Shape

PAGE = 1 << 21  # bytes of a large page of memory
MAPPED = 32 << 20  # bytes, from which on the C library asks the system for memory each time


def empty(shape: Shape, dtype: np.dtype[Any], least: int = MAPPED) -> np.ndarray:
    """Allocate an array without setting its elements; one of `least` bytes or more begins at a large page."""
    made: np.ndarray = allocator(shape, dtype, least)()
    return made


def allocator(shape: Shape, dtype: np.dtype[Any], least: int = MAPPED) -> Callable[[], np.ndarray]:
    """Return what allocates an array as `empty` does, each time that it is called.

    Linux clears memory as it is first written: by large pages, for which NumPy asks, in a fraction of the time, where
    these are whole.
    """
    is_large = math.prod(shape) * dtype.itemsize >= least
    return functools.partial(_at_a_page if is_large else np.empty, shape, dtype)


def _at_a_page(shape: Shape, dtype: np.dtype[Any]) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned(array: np.ndarray) -> np.ndarray:
    """Return an array whose elements lie at multiples of their size."""
    return np.require(array, requirements="A")


def converted(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array in a dtype; as it is, if it has that."""
    return np.asarray(array, dtype)


def scaled(array: np.ndarray, factors: np.ndarray | None) -> np.ndarray:
    """Return a new array: this one, times factors along its last axis; None is 1."""
    return array.copy() if factors is None else np.asarray(array * factors, array.dtype)


def added(like: np.ndarray, terms: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays, or zeros, in the shape and dtype of one."""
    total = np.zeros(like.shape, like.dtype)
    for term in terms:
        total += term
    return total


def ones(like: np.ndarray, shape: Shape) -> np.ndarray:
    """Return ones of a shape, of which one is kept, where an array lies and in its dtype."""
    return np.broadcast_to(np.ones((), like.dtype), shape)
