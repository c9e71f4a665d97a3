"""What SciPy's functions take, and `stnkit.ndimage` on two threads: `python -m bench ndimage [--before PATH]`.

Both are called in turn, in one process, with SciPy's defaults: mode "constant", and the filter for order 3. Times are
medians. Processor time tells what a core does, whatever else runs on the machine. The floor is what no program can
beat: the arrays that are given read once and the result written once, over the bandwidth of a copy by two threads in
the same process. Writes JSON to `bench/results`, and the table to the documentation's page on performance.
"""

import sys
from collections.abc import Sequence
from typing import Any

from bench import sittings
from bench.tables import Table, figure

SCRIPT = """
import json, time
import numba, numpy as np, scipy.ndimage
from bench.harness import bandwidth
from stnkit import ndimage

copied = bandwidth(2)
numba.set_num_threads(2)
CALLS = {
    "map_coordinates": lambda module, image, points, **o: module.map_coordinates(image, points, **o),
    "affine_transform": lambda module, image, points, **o: module.affine_transform(image, turn(image.ndim), 5.0, **o),
    "shift": lambda module, image, points, **o: module.shift(image, 2.5, **o),
    "zoom": lambda module, image, points, **o: module.zoom(image, 1.1, **o),
    "rotate": lambda module, image, points, **o: module.rotate(image, 20, reshape=False, **o),
    "spline_filter": lambda module, image, points, order: module.spline_filter(image, order, image.dtype),
}

def turn(d):
    matrix = 0.9 * np.eye(d)
    matrix[0, -1], matrix[-1, 0] = 0.1, -0.1
    return matrix

def once(call):
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor

found, random = {}, np.random.default_rng(0)
for shape in ((2048, 2048), (128, 128, 128)):
    for dtype in ("float32", "float64"):
        image = random.random(shape, dtype)
        points = (np.indices(shape) + random.normal(size=(len(shape), *shape))).astype(dtype)
        for order in (0, 1, 3):
            for name, call in CALLS.items():
                if name == "spline_filter" and order < 2:
                    continue
                sides = {
                    side: lambda module=module: call(module, image, points, order=order)
                    for side, module in (("stnkit", ndimage), ("scipy", scipy.ndimage))
                }
                touched = sides["stnkit"]().nbytes + image.nbytes + points.nbytes * (name == "map_coordinates")
                times = {side: [] for side in sides}
                for _ in range(5):
                    for side, run in sides.items():
                        times[side].append(once(run))
                label = f"{name}, order {order}, {'x'.join(map(str, shape))}, {dtype}"
                found[label] = {side: np.median(pairs, axis=0).tolist() for side, pairs in times.items()}
                found[label]["floor"] = touched / copied
print(json.dumps(found))
"""


def measure(trees: sittings.Trees) -> dict[str, Any]:
    """Return the figures of each checkout by call: seconds, and seconds of processor time."""
    return {side: sittings.answer(SCRIPT, tree) for side, tree in trees.items()}


def table(sides: dict[str, Any]) -> Table:
    """Return milliseconds, and how many times as long SciPy takes; and at most could, if the run has floors."""
    rows, columns = [], ("call", "stnkit, ms", "SciPy, ms", "ratio", "ratio of processor time")
    for side, found in sides.items():
        for label, times in found.items():
            (ours, own), (theirs, its) = times["stnkit"], times["scipy"]
            name = label if len(sides) == 1 else f"{label}, {side}"
            row = (name, figure(ours * 1e3), figure(theirs * 1e3), figure(theirs / ours), figure(its / own))
            if floor := times.get("floor"):
                row += (figure(floor * 1e3), figure(theirs / floor))
            rows.append(row)
    if any("floor" in times for found in sides.values() for times in found.values()):
        columns += ("floor, ms", "ratio of the floor")
    return Table("SciPy's functions", columns, rows)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    return sittings.main("ndimage", measure, table, words)


if __name__ == "__main__":
    sys.exit(main())
