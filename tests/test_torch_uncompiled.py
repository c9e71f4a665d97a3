"""Breadth in torch, where every operation meets every transform: run uncompiled, in processes of their own.

The operations are registered once in a process, so a process has either machine code behind them or plain Python.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOMS = sorted(path.stem for path in (HERE / "uncompiled").glob("torch_*.py") if path.stem != "torch_cases")


@pytest.mark.parametrize("room", ROOMS)
def test_room(room):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", f"tests/uncompiled/{room}.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
