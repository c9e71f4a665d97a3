"""An image that is larger than memory may be: `python -m bench.large FOLDER` warps 8 GB with 1 GB, killed in between.

The image and the output are memory maps in a folder that has 16 GB left. The process that warps may have 1 GB of data
(`RLIMIT_DATA`, which does not count mapped files); it is killed once when a third of the blocks is done, and started
again. Then numbers of the output are compared with what NumPy makes of the image there. Linux only.
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIDE, ROWS = 46_080, 1024  # 46,080 x 46,080 numbers of float32: 8.5 GB
LIMIT, MEMORY = 1_000_000_000, "400MB"
POINTS = 20_000
ANGLE = 0.5

THETA = np.array([[np.cos(ANGLE), np.sin(ANGLE), 0.1], [-np.sin(ANGLE), np.cos(ANGLE), -0.2]])


def make(folder: Path, side: int) -> None:
    """Write an image, a band of rows after the other."""
    image = np.memmap(folder / "image", "float32", "w+", shape=(1, side, side))
    random = np.random.default_rng(0)
    for start in range(0, side, ROWS):
        part = image[0, start : start + ROWS]
        part[...] = random.random(part.shape, np.float32)
    np.memmap(folder / "out", "float32", "w+", shape=(1, side, side))  # a file of holes


def warp(folder: Path, side: int, workers: int) -> None:
    """Warp under the limit; it was set before anything was loaded."""
    from stnkit.tiles import warp_blocks

    image = np.memmap(folder / "image", "float32", "r", shape=(1, side, side))
    out = np.memmap(folder / "out", "float32", "r+", shape=(1, side, side))
    warp_blocks(image, THETA, out, memory=MEMORY, workers=workers, resume=True)


def anonymous(process: int) -> int:
    """Return how much memory of a process is no part of a file."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def blocks(folder: Path) -> tuple[int, int]:
    """Return how many blocks are done, and how many there are."""
    record = folder / "out.stnkit-blocks"
    if not record.exists():
        return 0, 0
    done = record.read_bytes().rpartition(b"\n")[2]
    return done.count(b"1"), len(done)


def run(folder: Path, side: int, workers: int, kill: bool) -> dict[str, float]:
    """Start a process that warps; kill it when a third is done, if asked."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))

    command = [sys.executable, "-m", "bench.large", str(folder), "--side", str(side), "--workers", str(workers)]
    peak, begun, began_with = 0, time.monotonic(), blocks(folder)[0]
    with subprocess.Popen([*command, "--warp"], preexec_fn=limited) as process:
        while process.poll() is None:
            try:
                peak = max(peak, anonymous(process.pid))
            except (OSError, ProcessLookupError):
                break
            done, total = blocks(folder)
            if kill and total and 3 * done >= total:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.05)
        status = process.wait()
    assert status == (-signal.SIGKILL if kill else 0), status
    return {
        "blocks done before": began_with,
        "blocks done after": blocks(folder)[0] if kill else -1,
        "seconds": time.monotonic() - begun,
        "peak of anonymous memory, MB": peak / 1e6,
    }


def check(folder: Path, side: int) -> float:
    """Return by how much numbers of the output differ from NumPy's, at most."""
    image = np.memmap(folder / "image", "float32", "r", shape=(side, side))
    out = np.memmap(folder / "out", "float32", "r", shape=(side, side))
    i = np.random.default_rng(1).integers(0, side, (POINTS, 2))
    unit = (2 * i[:, ::-1] + 1) / side - 1
    x, y = (((unit @ THETA[:, :2].T + THETA[:, 2] + 1) * side - 1) / 2).T
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros(POINTS)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = left + dx, top + dy
            there = (column >= 0) & (column < side) & (row >= 0) & (row < side)
            weight = (1 - abs(x - column)) * (1 - abs(y - row))
            total[there] += weight[there] * image[row[there], column[there]]
    assert (total != 0).sum() > POINTS // 2
    return float(abs(total - out[i[:, 0], i[:, 1]]).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--warp", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.warp:
        warp(options.folder, options.side, options.workers)
        return
    make(options.folder, options.side)
    runs = [run(options.folder, options.side, options.workers, kill) for kill in (True, False)]
    found = {"GB": 4 * options.side**2 / 1e9, "limit, MB": LIMIT / 1e6, "runs": runs}
    print(json.dumps(found | {"largest difference": check(options.folder, options.side)}, indent=2))
    for name in ("image", "out"):
        (options.folder / name).unlink()


if __name__ == "__main__":
    main()
