"""Threads of a GPU where there is none: compiled for a CPU, and in NVIDIA's simulator; each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def passes(file, **environment):
    """Run a file of tests in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", f"tests/{file}.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compiled_for_a_cpu():
    """Leaves stage locations one by one there, which those of this process's loops do not.

    As for a GPU, no loop becomes one of vectors, which takes a quarter of the time.
    """
    passes("emulation/threads_compiled", NUMBA_LOOP_VECTORIZE="0", NUMBA_SLP_VECTORIZE="0")


def test_in_the_simulator(compiler):
    """It is part of numba-cuda, and chosen when that is imported."""
    passes("emulation/simulator_loop", NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
