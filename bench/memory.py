"""By how much a call raises the peak of a process' memory: `python -m bench.memory SIDE` reads names of cases.

Each side has a process of its own, which answers each line with a number of bytes, or with "-" for a case that it
does not have. The case is called once before, so that what is loaded or compiled once does not count, and freed
memory is given back, so that what is allocated does. Linux only: the peak is read from /proc.
"""

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path

from bench import calls
from bench.cases import Inputs
from bench.peers import PEERS
from bench.suite import everything

RESET = Path("/proc/self/clear_refs")


class Gauge:
    """The processes that measure, one for each side, started when they are first asked."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Gauge":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()

    def extra(self, side: str, case: str) -> int | None:
        """Return how many bytes a call adds to the peak, or None where that cannot be told."""
        if not RESET.exists():
            return None
        process = self._processes.get(side) or self._start(side)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(case, file=process.stdin, flush=True)
            answer = process.stdout.readline().strip()
        except BrokenPipeError:
            return None
        return int(answer) if answer.isdecimal() else None

    def _start(self, side: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bench.memory", side]
        unkept = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)}  # so that what is freed leaves the process
        self._processes[side] = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=unkept,
            start_new_session=True,
        )  # fmt: skip
        return process


def peak() -> int:
    """Return the peak of this process' memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def extra(side: str, name: str) -> int | None:
    """Return how many bytes a call adds to the peak of this process."""
    case = everything()[name]
    inputs = Inputs(case)
    way = calls.stnkit(case, inputs) if side == "stnkit" else PEERS[side].side(case, inputs)
    if way is None:
        return None
    way.call()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")  # the peak becomes what is in use now
    before = peak()
    answer = way.call()
    after = peak()
    del answer
    return after - before


def main(side: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    for line in sys.stdin:
        try:
            found = extra(side, line.strip())
        except Exception as error:
            print(error)
            found = None
        print("-" if found is None else found, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
