"""SciPy's own tests of resampling and splines pass on `stnkit.ndimage`."""

import os
import re
import subprocess
import sys
from pathlib import Path

MODULES = ("scipy.ndimage.tests.test_interpolation", "scipy.ndimage.tests.test_splines")
LEAST = 840  # tests, so that the run has been of SciPy's


def test_all_pass(tmp_path):
    """On the uncompiled kernels, as there are hundreds of kinds of calls."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "scipy_suite",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        *MODULES,
    ]
    done = subprocess.run(
        [*command, "-k", "not geometric"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (.*)", done.stdout, re.MULTILINE)
    assert not failed
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout + done.stderr
    assert int(passed[1]) >= LEAST
