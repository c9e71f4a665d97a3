"""How fast kernels of archives are beside those that are compiled for this very processor.

`python -m bench.native FILE...` calls the benchmark's cases on one thread, in a process for each side. These take
turns, a sample of some milliseconds each, in CPU seconds; what counts of a case is the median of how many times as long
the compiled kernels took in each round, so that 1 is as fast, and more is faster. Cases of which an archive lacks a
kernel are left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import calls, suite
from bench.cases import Case, Inputs
from bench.report import printed
from bench.sittings import HERE
from bench.tables import Table, figure
from stnkit.kernels.compiler import monitor
from stnkit.kernels.objects import shipped

LEAST, MOST, SECONDS, SAMPLE = 3, 15, 0.3, 5e-3  # rounds of a case, seconds of one side in all, and of a sample


class Beside(NamedTuple):
    """What was found of one archive."""

    speeds: dict[str, float]  # how many times as long compiled kernels take, by the names of cases
    cases: int  # in all
    there: int  # kernels of the cases that are in the archive
    kernels: int  # in all


class Process:
    """A process that calls cases, with kernels of an archive, or without one."""

    def __init__(self, archive: Path | None) -> None:
        settings = {"STNKIT_ARCHIVE": str(archive or 0), "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "bench.native", "--serve"], env=os.environ | settings, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, *words: Any) -> Any:
        """Ask for something, and return the answer."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        print(json.dumps(words), file=self.child.stdin, flush=True)
        return json.loads(self.child.stdout.readline())

    def end(self) -> None:
        """Let it end."""
        self.child.communicate()


def serve() -> None:
    """Answer what is asked on standard input: to make a case ready, and to call it so many times."""
    call, known = None, suite.everything()
    for line in sys.stdin:
        asked, value = json.loads(line)
        answer: Any
        if asked == "ready":
            call = None  # with its arrays
            call = calls.stnkit(known[value], Inputs(known[value])).call
            answer = kernels(call)
        else:
            assert call is not None
            begin = time.process_time()
            for _ in range(value):
                call()
            answer = (time.process_time() - begin) / value
        print(json.dumps(answer), flush=True)


def kernels(call: Callable[[], Any]) -> dict[str, bool]:
    """Return the kernels that a call runs, and whether each is in the archive."""
    with monitor.collecting() as tally:
        call()
    return {key: shipped.find(key, kernel.spec.digest) is not None for key, kernel in tally.kernels.items()}


def rounds(sides: Sequence[Process]) -> list[list[float]]:
    """Return the seconds of each round, of each side."""
    seconds = [[side.ask("call", 1) for side in sides] for _ in range(2)][1]
    number = max(1, int(SAMPLE / max(seconds[0], 1e-7)))
    found: list[list[float]] = []
    while len(found) < LEAST or (len(found) < MOST and sum(map(sum, found)) * number < SECONDS * len(sides)):
        first = len(found) % len(sides)
        turns = [*range(first, len(sides)), *range(first)]
        times = {one: sides[one].ask("call", number) for one in turns}
        found.append([times[one] for one in range(len(sides))])
    return found


def measure(archives: dict[str, Path], cases: Sequence[Case]) -> dict[str, Beside]:
    """Compare archives with kernels that are compiled here."""
    sides = [Process(None), *map(Process, archives.values())]
    speeds: dict[str, dict[str, float]] = {name: {} for name in archives}
    there: dict[str, dict[str, bool]] = {name: {} for name in archives}
    try:
        for case in cases:
            needed = dict(zip(archives, [side.ask("ready", case.name) for side in sides][1:], strict=True))
            times = rounds(sides)
            for number, (name, keys) in enumerate(needed.items(), 1):
                there[name] |= keys
                if keys and all(keys.values()):
                    speeds[name][case.name] = statistics.median(one[0] / one[number] for one in times)
    finally:
        for side in sides:
            side.end()
    return {name: Beside(speeds[name], len(cases), sum(there[name].values()), len(there[name])) for name in archives}


def table(found: dict[str, Beside]) -> Table:
    """Return what was found, a row for each case and a column for each archive."""
    names = dict.fromkeys(name for one in found.values() for name in one.speeds)
    rows = [(name, *(figure(one.speeds.get(name)) for one in found.values())) for name in names]
    means = (figure(statistics.geometric_mean(one.speeds.values())) for one in found.values())
    return Table("Compiled kernels, in multiples of archives'", ("case", *found), [*rows, ("geometric mean", *means)])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("files", type=Path, nargs="*")
    words.add_argument("--cases", metavar="GLOB", default="*", help="only the cases whose name fits")
    words.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = words.parse_args()
    if options.serve:
        serve()
        return
    chosen = [one for section in suite.selected(suite.SECTIONS, options.cases) for one in section.cases]
    found = measure({file.stem: file.resolve() for file in options.files}, chosen)
    printed([table(found)])


if __name__ == "__main__":
    main()
