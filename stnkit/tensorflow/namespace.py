"""The functions that transforms and their algebra are made of, on TensorFlow's tensors, by the array API's names."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

Tensor = Any


def _reshape(array: Tensor, shape: Sequence[int | None]) -> Tensor:
    """Return a tensor in another shape, in which one size may not be known."""
    return tf.reshape(array, [-1 if n is None else n for n in shape])


def _asarray(numbers: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    return tf.convert_to_tensor(numbers, dtype=dtype)


def _sum(array: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_sum(array, axis, keepdims)


namespace = SimpleNamespace(
    __name__="stnkit.tensorflow.namespace",
    all=tf.reduce_all,
    asarray=_asarray,
    astype=tf.cast,
    bfloat16=tf.bfloat16,
    concat=tf.concat,
    cos=tf.cos,
    float16=tf.float16,
    float32=tf.float32,
    float64=tf.float64,
    isfinite=tf.math.is_finite,
    linalg=SimpleNamespace(inv=tf.linalg.inv),
    ones_like=tf.ones_like,
    reshape=_reshape,
    sin=tf.sin,
    sqrt=tf.sqrt,
    stack=tf.stack,
    sum=_sum,
    tan=tf.tan,
    where=tf.where,
    zeros_like=tf.zeros_like,
)
