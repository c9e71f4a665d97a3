"""Samplers on Dask arrays beside dask-image, and beside the same call without Dask: `python -m bench dask`.

An image of 4096 x 4096 in float32 and chunks, on the threaded scheduler with two threads; all sides in one process, in
turn, where threads that wait leave their core to the other side's. "kept" is the result in its chunks, as `persist`
leaves it; "whole" is one array, into which Dask copies the chunks. Times are medians. Writes JSON to `bench/results`.
"""

import sys
from collections.abc import Sequence
from typing import Any

from bench import sittings
from bench.tables import Table, figure

SCRIPT = """
import json, time
import dask, dask.array as da, numba, numpy as np
from dask_image import ndinterp
import stnkit
from stnkit import ndimage

numba.set_num_threads(2)
dask.config.set(scheduler="threads", num_workers=2)
N, random = 4096, np.random.default_rng(0)
image = random.random((N, N), np.float32)
cosine, sine = np.cos(0.1), np.sin(0.1)
turn, offset = np.array([[cosine, -sine], [sine, cosine]]), [100.0, 50.0]
points = np.indices((N, N)).astype(np.float32) + random.normal(size=(2, N, N)).astype(np.float32)
found = {}

def once(call):
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor

theta = np.array([[cosine, sine, offset[1]], [-sine, cosine, offset[0]]])
for shape in ((4096, 4096), (2048, 4096), (2048, 2048), (1024, 1024)):
    chunked = da.from_array(image, chunks=shape)
    places = da.from_array(points, chunks=(2, *shape))
    squares = da.from_array(image, chunks=shape[0])  # as dask-image fails on others
    rows = da.from_array(points.reshape(2, -1), chunks=(2, shape[0] ** 2))
    sampled = stnkit.affine_sample(chunked[None], theta, coords="pixel", chunks=shape)
    mapped = ndimage.map_coordinates(chunked, places, order=1)
    cases = {
        "affine": {
            "plain": lambda: stnkit.affine_sample(image[None], theta, coords="pixel"),
            "kept": sampled.persist,
            "whole": sampled.compute,
            "dask-image": ndinterp.affine_transform(
                squares, turn, offset, order=1, output_chunks=(shape[0], shape[0])
            ).persist,
        },
        "map_coordinates": {
            "plain": lambda: ndimage.map_coordinates(image, points, order=1),
            "kept": mapped.persist,
            "whole": mapped.compute,
            "dask-image": ndinterp.map_coordinates(squares, rows, order=1).persist,
        },
    }
    for name, sides in cases.items():
        for call in sides.values():
            call()
        times = {one: [] for one in sides}
        for k in range(15):
            for one, call in sides.items():
                if one != "dask-image" or k < 3:  # which takes seconds
                    times[one].append(once(call))
        label = f"{name}, chunks of {shape[0]} x {shape[1]}"
        found[label] = {one: np.median(pairs, axis=0).tolist() for one, pairs in times.items()}
print(json.dumps(found))
"""


def measure(trees: sittings.Trees) -> dict[str, Any]:
    """Return the figures of each checkout by call: seconds, and seconds of processor time."""
    return {side: sittings.answer(SCRIPT, tree, OMP_WAIT_POLICY="passive") for side, tree in trees.items()}


def table(sides: dict[str, Any]) -> Table:
    """Return milliseconds, and how many times as long others take, by processor time."""
    rows = []
    for side, found in sides.items():
        for label, times in found.items():
            name = label if len(sides) == 1 else f"{label}, {side}"
            each = [figure(times[one][0] * 1e3) for one in ("plain", "kept", "whole", "dask-image")]
            own = times["kept"][1]
            ratios = times["plain"][0] / times["kept"][0], times["plain"][1] / own, times["dask-image"][1] / own
            rows.append((name, *each, *map(figure, ratios)))
    columns = (
        "call", "without Dask, ms", "kept in chunks, ms", "whole, ms", "dask-image, ms", "without Dask / kept",
        "the same, CPU", "dask-image / kept, CPU",
    )  # fmt: skip
    return Table("Dask arrays", columns, rows)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    return sittings.main("dask", measure, table, words, page=False)


if __name__ == "__main__":
    sys.exit(main())
