"""Whole arrays in main memory, without sampling: convert, scale, add, and make constants."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit.plans.layout import Shape


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
