"""The tests of `in_keras`, in a process for each backend of Keras; and that backends learn alike."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest

BACKENDS = ("torch", "jax", "tensorflow")
TESTS = Path(__file__).parent / "in_keras"


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """Run the tests of every backend that is installed, at once; return the losses of the same training on each."""
    folder = tmp_path_factory.mktemp("losses")
    there = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", str(TESTS)]
    runs = {}
    for backend in there:
        own = {"KERAS_BACKEND": backend, "NUMBA_DISABLE_JIT": "1", "CUDA_VISIBLE_DEVICES": ""}
        own["STNKIT_LOSSES"] = str(folder / backend)
        runs[backend] = subprocess.Popen(
            command, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    found = {}
    for backend, run in runs.items():
        output, _ = run.communicate()
        passed = re.search(r"(\d+) passed", output)
        if run.returncode or passed is None or int(passed[1]) < 90:
            found[backend] = output
        else:
            found[backend] = json.loads((folder / backend).read_text())
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_backend(losses, backend):
    if backend not in losses:
        pytest.skip(f"{backend} is not installed")
    assert not isinstance(losses[backend], str), losses[backend]


def test_backends_learn_alike(losses):
    """From the same weights: 50 steps of gradient descent through a smooth network."""
    assert len(losses) > 1
    first, *others = losses.values()
    assert len(first) == 50
    for other in others:
        np.testing.assert_allclose(other, first, rtol=0, atol=1e-4)


def test_what_will_not_do():
    """A Keras that is too old, and a backend that is unknown."""
    script = """
import keras
release, keras.__version__ = keras.__version__, "3.3.3"
for _ in range(2):
    try:
        import stnkit.keras
    except ImportError as error:
        print(error)
    keras.__version__, keras.backend.backend = release, lambda: "openvino"
"""
    old, unknown = processes.run(script, KERAS_BACKEND="jax").splitlines()
    assert "needs keras 3.10 or newer; got keras 3.3.3" in old
    assert "must be one of 'torch', 'jax', 'tensorflow', 'numpy' for stnkit; got 'openvino'" in unknown
