"""Tensors that are split over processes, in two processes of their own; and what a rule says without any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_results_of_split_tensors_are_those_of_whole_ones_and_stay_split():
    program = Path(__file__).parent / "sharded.py"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("equal\n")
