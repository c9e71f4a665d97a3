"""These tests are runs of their own, one for each backend of Keras: `test_keras.py` starts them."""

import os

import numba
import pytest

if "KERAS_BACKEND" not in os.environ or not numba.config.DISABLE_JIT:
    msg = "tests/in_keras needs a backend: KERAS_BACKEND=jax NUMBA_DISABLE_JIT=1 python -m pytest tests/in_keras"
    raise pytest.UsageError(msg)


def pytest_collection_modifyitems(items):
    for item in items:  # of Keras: how it makes arrays of torch's tensors
        item.add_marker(pytest.mark.filterwarnings("ignore:__array.*__ implementation:DeprecationWarning"))
        item.add_marker(pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"))
