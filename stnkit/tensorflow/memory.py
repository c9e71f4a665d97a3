"""How functions of NumPy's arrays run on tensors: on the memory that is there, or as a step of a graph."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from stnkit.calls.unknown_sizes import Shaped

Tensor = Any


def run(
    name: str, function: Callable[..., Sequence[np.ndarray]], tensors: Sequence[Tensor], shaped: Any
) -> list[Tensor]:
    """Call a function of arrays that returns a sequence of arrays; `shaped` says what these are, where a graph asks.

    In main memory, arrays are views of the tensors. What lies on a GPU is copied there, and results are copied back.
    """
    if tf.executing_eagerly():
        return [tf.convert_to_tensor(result) for result in function(*map(np.asarray, tensors))]
    forms: list[Shaped] = shaped()
    dtypes = [tf.as_dtype(form.dtype) for form in forms]
    results = tf.numpy_function(lambda *views: list(function(*views)), tensors, dtypes, stateful=False, name=name)
    for result, form in zip(results, forms, strict=True):
        result.set_shape(form.shape)
    return list(results)
