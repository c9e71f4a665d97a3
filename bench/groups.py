"""How fast every group of the benchmark is beside another checkout: `python -m bench groups --before PATH`.

A group is a section of `suite.py`, of which a few cases are timed, with stnkit alone, in processes that take the two
checkouts in turn. A case's figure is the median of these processes' medians, and a group's the geometric mean of how
many times as long its cases took before: 1 is as fast, and more is faster. What a checkout does not have is left out.
`--groups GLOB` picks groups by their titles. Writes JSON to `bench/results`, and prints the table.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from bench import sittings, suite
from bench.cases import Case
from bench.tables import DASH, Table, figure

ROUNDS = 3  # of processes for each group and checkout
FEW = 4  # cases of a group, at most

# The text of both sides: cases, and how they are timed, are of this checkout, and stnkit is that of the other.
SCRIPT = """
import json, sys
import stnkit
place, names = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, place)
from bench import calls, harness, suite, threads
from bench.cases import Inputs

threads.use(min(2, threads.usable()))
found, known = {}, suite.everything()
for name in names:
    try:
        call = calls.stnkit(known[name], Inputs(known[name])).call
        times, errors = harness.in_turn({name: call}, harness.Effort(0.5, 5))
        found |= {name: one["median"] for name, one in times.items()}
    except (AttributeError, TypeError, ValueError) as error:
        print(name, error, file=sys.stderr)
assert stnkit.__file__.startswith(sys.argv[3]), stnkit.__file__
print(json.dumps(found))
"""


def picked(cases: Sequence[Case], most: int = FEW) -> tuple[Case, ...]:
    """Return a few of some cases, as far apart as they stand in their table."""
    return tuple(cases[place * len(cases) // most] for place in range(most)) if len(cases) > most else tuple(cases)


def measure(trees: sittings.Trees, groups: str = "*") -> dict[str, Any]:
    """Return the median seconds of each checkout by group and case."""
    sections = [section for section in suite.SECTIONS if fnmatch(section.title, groups)]
    if "before" not in trees or not sections:
        titles = "; ".join(section.title for section in suite.SECTIONS)
        sys.exit(f"bench groups: give --before PATH, and --groups that fits some of: {titles}")
    sides: dict[str, Any] = {side: {} for side in trees}
    for section in sections:
        names = json.dumps([case.name for case in picked(section.cases)])
        samples: dict[str, dict[str, list[float]]] = {side: {} for side in trees}
        for turn in range(ROUNDS):
            for side in sorted(trees, reverse=turn % 2 == 1):
                words = str(sittings.HERE), names, str(trees[side])
                for name, seconds in sittings.answer(SCRIPT, trees[side], *words).items():
                    samples[side].setdefault(name, []).append(seconds)
        for side, found in samples.items():
            sides[side][section.title] = {name: statistics.median(times) for name, times in found.items()}
    return sides


def table(sides: dict[str, Any]) -> Table:
    """Return how many times as long each group took before: on geometric average, and its slowest and fastest case."""
    rows = []
    for title, now in sides["now"].items():
        before = sides["before"][title]
        ratios = sorted(before[name] / now[name] for name in now if name in before)
        cells = (statistics.geometric_mean(ratios), ratios[0], ratios[-1]) if ratios else ()
        rows.append((title, *(map(figure, cells) if cells else [DASH] * 3), str(len(ratios))))
    return Table("Before, in multiples of now", ("group", "geometric mean", "least", "most", "cases"), rows)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    return sittings.main("groups", measure, table, words, page=False, groups="only groups whose title fits, as GLOB")


if __name__ == "__main__":
    sys.exit(main())
