"""What derivatives and formats cost beside each other: `python -m bench.derivatives`.

Both cases of a row run in one process, in turn; a ratio is that of medians.
"""

from typing import Any

from rich.console import Console
from rich.table import Table

from bench import calls, threads
from bench.cases import Inputs
from bench.harness import THOROUGH, Effort, in_turn
from bench.suite import MIDDLE, WIDE, case

BOTH, FORWARD, FLOAT = case("grid_sample.vjp", MIDDLE), case("grid_sample", MIDDLE), case("grid_sample", WIDE)
RELATIONS = (
    ("jvp / forward", case("grid_sample.jvp", MIDDLE), FORWARD),
    ("vjp / forward", BOTH, FORWARD),
    ("vjp to image / both", case("grid_sample.vjp_image", MIDDLE), BOTH),
    ("vjp to grid / both", case("grid_sample.vjp_source", MIDDLE), BOTH),
    ("double vjp / vjp", case("grid_sample.double_vjp", MIDDLE), BOTH),
    ("float16 / float32", case("grid_sample", WIDE, dtype="float16"), FLOAT),
    ("bfloat16 / float32", case("grid_sample", WIDE, dtype="bfloat16"), FLOAT),
)


def figures(effort: Effort = THOROUGH) -> list[dict[str, Any]]:
    """Return the ratio of each row, and the seconds of the second case."""
    rows = []
    for what, one, other in RELATIONS:
        sides = {name: calls.stnkit(given, Inputs(given)).call for name, given in (("one", one), ("other", other))}
        times, errors = in_turn(sides, effort)
        for error in errors.values():
            raise error
        seconds = {name: time["median"] for name, time in times.items()}
        row = {"what": what, "cases": [one.name, other.name], "seconds": seconds["other"]}
        rows.append(row | {"ratio": seconds["one"] / seconds["other"]})
    return rows


def main() -> None:
    threads.fix(min(2, threads.usable()))
    table = Table("what", "ms of the second", "ratio", title="derivatives and formats")
    for row in figures():
        table.add_row(row["what"], f"{row['seconds'] * 1e3:.2f}", f"{row['ratio']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
