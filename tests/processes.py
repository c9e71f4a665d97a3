"""Scripts that tests run in processes of their own."""

import os
import subprocess
import sys


def run(script, folder=None, **environment):
    """Run a script, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
