"""What a process waits for before its first result: import, and a first call with an empty and a warm cache.

Run `python -m bench.startup`. Each figure is the median of several processes, so that it includes what a user
waits for.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

FIRST_CALL = """
import numpy as np, stnkit
image = np.ones((2, 3, 32, 32), np.float32)
grid = np.zeros((2, 16, 16, 2), np.float32)
stnkit.grid_sample(image, grid)
"""
IMPORT = """
import time, numpy
start = time.perf_counter()
import stnkit
print(time.perf_counter() - start)
"""
REPEATS = 5


def process_seconds(script: str, cache: str, tree: Path | None = None) -> float:
    """Return how long a process takes that runs `script`, with stnkit of a checkout if one is given."""
    settings = {"NUMBA_CACHE_DIR": cache} | ({"PYTHONPATH": str(tree)} if tree else {})
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], env=os.environ | settings, cwd=tree, check=True)
    return time.perf_counter() - start


def import_seconds() -> float:
    """Return how long `import stnkit` takes where NumPy is already imported."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def figures(repeats: int = REPEATS) -> dict[str, float]:
    """Return the seconds of each wait."""
    with tempfile.TemporaryDirectory() as root:
        cold = [process_seconds(FIRST_CALL, os.path.join(root, str(i))) for i in range(repeats)]
        warm = [process_seconds(FIRST_CALL, os.path.join(root, "0")) for _ in range(repeats)]
    return {
        "import stnkit, over import numpy": statistics.median(import_seconds() for _ in range(repeats)),
        "process with a first call, empty cache": statistics.median(cold),
        "process with a first call, warm cache": statistics.median(warm),
    }


def main() -> None:
    table = Table("what", "ms", title="stnkit start-up")
    for what, seconds in figures().items():
        table.add_row(what, f"{seconds * 1e3:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
