"""Dask on workers with little memory: `python -m bench.cluster [--gigabytes 4] [--folder PATH]`.

An image of zarr, larger than the memory of all workers together, is turned and written to another one, on clusters of
two workers with a thread and of one with two. Checked are the peak of each worker's memory against its limit, that a
task runs kernels on one thread, that two runs have the same bits, that a run whose worker is killed in the middle has
them too, and that nobody warns of large graphs. Writes JSON to `bench/results`.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench import results

LIMIT = "1 GB"
SIDE = 2048  # of the chunks of both arrays
TURN = 0.1  # radians


def main(words: list[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__.partition(":")[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--clusters", default="2x1,1x2", help="workers x threads of each")
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        found = measure(folder, asked.gigabytes, asked.clusters)
    finally:
        shutil.rmtree(folder)
    versions = {name: metadata.version(name) for name in ("dask", "distributed", "zarr")}
    run = results.started(1, versions, whole=False, quick=False) | {"found": found, "complete": True}
    path = results.FOLDER / f"cluster-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}.json"
    results.save(run, path)
    print(json.dumps(found, indent=1))
    print(f"results: {path}")
    return 0


def measure(folder: Path, gigabytes: float, clusters: str) -> dict[str, Any]:
    """Return what was found, by cluster; raise AssertionError if it is not as it must be."""
    from distributed import Client, LocalCluster

    side = -(-int(np.ceil(np.sqrt(gigabytes * 1e9 / 4))) // SIDE) * SIDE
    make(folder / "image", side)
    found: dict[str, Any] = {"gigabytes": side * side * 4 / 1e9, "limit": LIMIT}
    bits = set()
    warnings.simplefilter("error", UserWarning)  # of large graphs
    for workers, count in (map(int, one.split("x")) for one in clusters.split(",")):
        runs = []
        for is_killed in (False, False, True):
            own = {"n_workers": workers, "threads_per_worker": count, "memory_limit": LIMIT, "dashboard_address": ":0"}
            with LocalCluster(processes=True, **own) as cluster, Client(cluster) as client:
                begin = time.perf_counter()
                killer = threading.Timer(6, kill_one, [client]) if is_killed else None
                if killer is not None:
                    killer.start()
                warp(folder)
                seconds = time.perf_counter() - begin
                if killer is not None:
                    killer.cancel()
                peaks = client.run(peak)
                assert set(client.run(allowed).values()) == {1}
                bits.add(digest(folder / "out"))
                ends = sorted(p / 1e6 for p in peaks.values())
                runs.append({"seconds": seconds, "peaks_mb": ends, "is_killed": is_killed})
                assert max(ends) < 1000, ends
                print(f"{workers} x {count}", runs[-1], sorted(bits), flush=True)
        found[f"{workers} x {count}"] = runs
    assert len(bits) == 1, bits
    return found


def make(path: Path, side: int) -> None:
    """Write an image of noise, strip by strip."""
    import zarr

    image = zarr.create_array(path, shape=(1, side, side), chunks=(1, SIDE, SIDE), dtype="float32", compressors=None)
    random = np.random.default_rng(0)
    for first in range(0, side, SIDE):
        image[:, first : first + SIDE] = random.random((1, SIDE, side), np.float32)


def warp(folder: Path) -> None:
    """Turn the image into the output."""
    import dask.array as da
    import zarr

    import stnkit.dask

    image = zarr.open_array(folder / "image", mode="r")
    cosine, sine = np.cos(TURN), np.sin(TURN)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0]])
    warped = stnkit.dask.affine_sample(image, turn, chunks=SIDE)
    out = zarr.create_array(
        folder / "out", shape=warped.shape, chunks=(1, SIDE, SIDE), dtype="float32", compressors=None, overwrite=True
    )
    da.store(warped, out, lock=False)


def kill_one(client: Any) -> None:
    """End a worker's process, as a system that is short of memory does."""
    pids = client.run(os.getpid)
    os.kill(next(iter(pids.values())), signal.SIGKILL)


def peak() -> int:
    """Return the most memory that this process has had, in bytes; `getrusage` would count its parent's at its start."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def allowed() -> int:
    """Return on how many threads kernels of a task run."""
    from stnkit.dask.tasks import threads_at_most
    from stnkit.kernels.cpu import threads

    with threads_at_most(1):
        return threads.available(threads.busy.LARGE)


def digest(path: Path) -> str:
    """Return a digest of an array's numbers; a killed worker may leave a file beside those that it was to become."""
    import zarr

    array, made = zarr.open_array(path, mode="r"), hashlib.blake2b()
    for first in range(0, array.shape[1], SIDE):
        made.update(array[:, first : first + SIDE].tobytes())
    return made.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
