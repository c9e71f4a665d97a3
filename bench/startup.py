"""What a call costs before it computes anything: import, first call cold and warm, validation and dispatch.

Run `python -m bench.startup`. Each figure of a whole process is the median of several processes, so that it
includes what a user waits for; the cost of one call is the least of several batches, on an image of 4 x 4.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit

import numpy as np
from rich.console import Console
from rich.table import Table

import stnkit

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


def process_seconds(script: str, cache: str) -> float:
    """Return how long a process takes that runs `script`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True)
    return time.perf_counter() - start


def import_seconds() -> float:
    """Return how long `import stnkit` takes where NumPy is already imported."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def call_seconds() -> dict[str, float]:
    """Return what one call on a (1, 1, 4, 4) image takes, and how much of it the kernel."""
    image = np.ones((1, 1, 4, 4), np.float32)
    grid = np.zeros((1, 4, 4, 2), np.float32)
    theta = np.eye(2, 3, dtype=np.float32)[None]
    calls = {
        "grid_sample": lambda: stnkit.grid_sample(image, grid),
        "affine_sample": lambda: stnkit.affine_sample(image, theta),
    }
    for call in calls.values():
        call()
    return {name: min(timeit.repeat(call, number=2000, repeat=15)) / 2000 for name, call in calls.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        cold = [process_seconds(FIRST_CALL, os.path.join(root, str(i))) for i in range(REPEATS)]
        warm = [process_seconds(FIRST_CALL, os.path.join(root, "0")) for _ in range(REPEATS)]
    imports = [import_seconds() for _ in range(REPEATS)]
    table = Table("what", "figure", title="stnkit start-up and per-call cost")
    table.add_row("import stnkit, over import numpy", f"{statistics.median(imports) * 1e3:.1f} ms")
    table.add_row("process with a first call, empty cache", f"{statistics.median(cold):.2f} s")
    table.add_row("process with a first call, warm cache", f"{statistics.median(warm):.2f} s")
    for name, seconds in call_seconds().items():
        table.add_row(f"{name} on a (1, 1, 4, 4) image", f"{seconds * 1e6:.1f} us")
    Console().print(table)


if __name__ == "__main__":
    main()
