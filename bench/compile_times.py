"""What compiling costs: `python -m bench compile [--before PATH]`.

A fresh process with an empty cache makes one call after the other, and tells what each took in CPU seconds; what a call
shares with those before it is compiled already, as in a user's process. `--before` measures another checkout of stnkit
in turn with this one. Writes JSON to `bench/results`, and the table to the documentation's page on performance.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from bench import sittings, startup
from bench.tables import DASH, Table, figure

ROUNDS = 3  # of whole processes with one call, of which the median counts

ROWS = {
    "2-D bilinear, forward": "forward",
    "another padding": "padding",
    "its vjp": "vjp",
    "the forward pass on threads": "forward on threads",
    "the vjp on threads": "vjp on threads",
    "bicubic, forward": "bicubic",
    "bicubic, vjp": "bicubic vjp",
    "3-D, forward": "volume",
    "flow in 3-D, vjp": "flow vjp",
    "float64, forward": "float64",
    "nearest, forward": "nearest",
}

# Both sides run this text. A map's grid comes first, so that what Numba loads at its first compilation is there. Eight
# images are split between threads by images, so that their kernels are those of the small calls.
SCRIPT = """
import gc, json, sys, time
from pathlib import Path
import numpy as np
import stnkit

def resident():
    gc.collect()
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0

rng = np.random.default_rng(0)
image, cotangent = rng.random((2, 3, 32, 32), np.float32), rng.random((2, 3, 16, 16), np.float32)
grid = rng.random((2, 16, 16, 2), np.float32)
large, wide = rng.random((8, 3, 64, 64), np.float32), rng.random((8, 64, 64, 2), np.float32)
volume, points, flow = (rng.random(s, np.float32) for s in ((1, 2, 6, 7, 8), (1, 6, 7, 8, 3), (1, 6, 7, 8, 3)))
stnkit.affine_grid(np.eye(2, 3, dtype=np.float32)[None], (4, 4))

calls = {
    "forward": lambda: stnkit.grid_sample(image, grid),
    "padding": lambda: stnkit.grid_sample(image, grid, padding_mode="border"),
    "vjp": lambda: stnkit.grid_sample_vjp(cotangent, image, grid),
    "forward on threads": lambda: stnkit.grid_sample(large, wide),
    "vjp on threads": lambda: stnkit.grid_sample_vjp(large, large, wide),
    "bicubic": lambda: stnkit.grid_sample(image, grid, mode="bicubic"),
    "bicubic vjp": lambda: stnkit.grid_sample_vjp(cotangent, image, grid, mode="bicubic"),
    "volume": lambda: stnkit.grid_sample(volume, points),
    "flow vjp": lambda: stnkit.flow_sample_vjp(volume, volume, flow),
    "float64": lambda: stnkit.grid_sample(image.astype(float), grid.astype(float)),
    "nearest": lambda: stnkit.grid_sample(image, grid, mode="nearest"),
}

def kept():
    return len(list(Path(sys.argv[1]).rglob("*.nbc")))

before, files, seconds = resident(), kept(), {}
for name, call in calls.items():
    start = time.process_time()
    call()
    seconds[name] = time.process_time() - start
kernels = kept() - files
print(json.dumps({"seconds": seconds, "kernels": kernels, "memory": (resident() - before) / max(kernels, 1)}))
"""


def measure(trees: sittings.Trees) -> dict[str, Any]:
    """Return the figures of each checkout."""
    sides: dict[str, Any] = {}
    walls: dict[str, list[float]] = {side: [] for side in trees}
    for side, tree in trees.items():
        with tempfile.TemporaryDirectory() as cache:
            sides[side] = sittings.answer(SCRIPT, tree, cache, NUMBA_CACHE_DIR=cache, NUMBA_NUM_THREADS="2")
    for _ in range(ROUNDS):
        for side, tree in trees.items():
            with tempfile.TemporaryDirectory() as cache:
                walls[side].append(startup.process_seconds(startup.FIRST_CALL, cache, tree))
    return {side: found | {"wall": statistics.median(walls[side])} for side, found in sides.items()}


def table(sides: dict[str, Any]) -> Table:
    """Return what each call took, a column for each checkout."""
    rows = [
        (f"{what}, CPU s", *(figure(found["seconds"][key]) for found in sides.values())) for what, key in ROWS.items()
    ]
    rows += [("a process with a first call, wall s", *(figure(found["wall"]) for found in sides.values()))]
    memory = [figure(found["memory"] / 2**20) if found["memory"] > 0 else DASH for found in sides.values()]
    rows += [("memory kept for each kernel, MiB", *memory)]
    return Table("What compiling costs", ("first call, empty cache", *sides), rows)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    return sittings.main("compile", measure, table, words)


if __name__ == "__main__":
    sys.exit(main())
