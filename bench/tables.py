"""What a run says, as tables of text: the terminal and the documentation show the same."""

from collections.abc import Sequence
from statistics import geometric_mean
from typing import Any, NamedTuple

from bench.results import Run, records
from bench.suite import COMPARISONS, GOALS, Goal

DASH = "-"


class Table(NamedTuple):
    """A title, the names of the columns, and rows; all but the first column are figures."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Reached(NamedTuple):
    """What a group of cases reached of its goal."""

    goal: Goal
    values: dict[str, float]  # by the name of the case

    @property
    def average(self) -> float:
        """The geometric mean."""
        return geometric_mean(self.values.values())

    @property
    def worst(self) -> str:
        """The name of the case that reached least."""
        return min(self.values, key=self.values.__getitem__)

    @property
    def met(self) -> bool:
        """Whether the goal was met, in every case."""
        whole = len(self.values) == len(self.goal.cases)
        return whole and self.average >= self.goal.average and min(self.values.values()) >= (self.goal.least or 0)


def figure(value: float | None) -> str:
    """Write a number with three digits that count."""
    if value is None:
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def ratio(record: dict[str, Any] | None) -> str:
    """Write how many times as long a peer takes, or why it was not timed."""
    if record is None:
        return DASH
    return figure(record["ratio"]) if "ratio" in record else record.get("failure", DASH)


def mebibytes(record: dict[str, Any]) -> str:
    """Write by how much a call raises the peak of the memory."""
    memory = record.get("memory")
    return DASH if memory is None else f"{memory / 2**20:.1f}"


def row(record: dict[str, Any], peers: Sequence[str]) -> tuple[str, ...]:
    """Write what was measured of one case."""
    own = record["stnkit"]
    ratios = [ratio(record["peers"].get(peer)) for peer in peers]
    if "median" not in own:
        return record["name"], own["failure"], DASH, *ratios, DASH, DASH
    spread = (own["high"] - own["low"]) / own["median"]
    return (
        record["name"], figure(own["median"] * 1e3), f"{spread:.0%}", *ratios, figure(record["fraction"]),
        mebibytes(own),
    )  # fmt: skip


def sections(run: Run) -> list[Table]:
    """Return a table for each section; the columns are the peers that have one of its cases."""
    tables = []
    for section in run["sections"]:
        found = {peer for record in section["cases"] for peer in record["peers"]}
        peers = [peer for peer in run["peers"] if peer in found or not run["peers"][peer]]
        columns = ("case", "stnkit ms", "spread", *peers, "of the floor", "memory MiB")
        tables.append(Table(section["title"], columns, [row(record, peers) for record in section["cases"]]))
    return tables


def reached(run: Run) -> list[Reached]:
    """Return what each group that was measured reached."""
    measured, groups = records(run), []
    for goal in GOALS:
        values = {}
        for case in goal.cases:
            record = measured.get(case.name, {"peers": {}})
            value = record.get("fraction") if goal.against == "floor" else _ratio(record, goal.against)
            if value is not None:
                values[case.name] = value
        if values:
            groups.append(Reached(goal, values))
    return groups


def _ratio(record: dict[str, Any], peer: str) -> float | None:
    return record["peers"].get(peer, {}).get("ratio")


def goals(run: Run) -> Table:
    """Return what every group reached, beside its goal."""
    rows = []
    for group in reached(run):
        goal, least = group.goal, min(group.values.values())
        wanted = figure(goal.average) + (f", each {figure(goal.least)}" if goal.least else "")
        rows.append(
            (
                goal.title, f"{len(group.values)} of {len(goal.cases)}", figure(group.average), figure(least),
                group.worst, wanted, "met" if group.met else "short",
            )
        )  # fmt: skip
    columns = ("group", "cases", "geometric mean", "least", "in", "goal", "")
    return Table("Goals", columns, rows)


def comparisons(run: Run) -> Table:
    """Return by how much the other libraries take longer, over the cases that were measured."""
    measured, rows = records(run), []
    for title, cases, against in COMPARISONS:
        found = [_ratio(measured[case.name], against) for case in cases if case.name in measured]
        ratios = [one for one in found if one is not None]
        if ratios:
            rows.append((title, str(len(ratios)), *map(figure, (geometric_mean(ratios), min(ratios), max(ratios)))))
    return Table("Other libraries", ("takes times as long", "cases", "geometric mean", "least", "most"), rows)


def scaling(run: Run) -> Table:
    """Return how the times fall with the number of threads."""
    rows = []
    for entry in run.get("scaling", ()):
        for side, times in entry["sides"].items():
            seconds = [time["median"] for time in times]
            speed = [figure(seconds[0] / one) for one in seconds]
            rows.append((entry["name"], side, figure(seconds[0] * 1e3), ", ".join(speed)))
    numbers = ", ".join(map(str, run.get("scaling", [{"threads": []}])[0]["threads"])) if run.get("scaling") else ""
    return Table("Threads", ("case", "side", "ms on one thread", f"times as fast on {numbers}"), rows)


def relations(run: Run) -> Table:
    """Return what derivatives and formats cost beside each other."""
    rows = [(entry["what"], figure(entry["seconds"] * 1e3), figure(entry["ratio"])) for entry in run["relations"]]
    return Table("Derivatives and formats beside each other", ("what", "ms of the second", "ratio"), rows)


def training(run: Run) -> Table:
    """Return what a training step of a spatial transformer takes in torch, and how far apart the losses are."""
    rows = []
    for entry in run.get("training", ()):
        cells = []
        for part in ("sampling", "step"):
            seconds = entry[part]
            cells += [figure(seconds["stnkit"] * 1e3), figure(seconds["torch"] / seconds["stnkit"])]
        fall = f"{figure(entry['first'])} to {figure(entry['last'])}"
        rows.append((entry["name"], *cells, fall, f"{entry['gap']:.0e}"))
    columns = ("model", "sampling ms", "torch", "whole step ms", "torch", "loss", "largest difference")
    return Table("A training step in torch", columns, rows)


def start(run: Run) -> Table:
    """Return what a process waits for before its first result."""
    rows = [(what, figure(seconds * 1e3)) for what, seconds in run["start"].items()]
    return Table("Start", ("what", "ms"), rows)


def failures(run: Run) -> Table:
    """Return why sides were not timed."""
    rows = []
    for name, record in records(run).items():
        for side, found in ({"stnkit": record["stnkit"]} | record["peers"]).items():
            if "failure" in found:
                rows.append((name, side, found.get("reason", found["failure"])))
    return Table("Not timed", ("case", "side", "why"), rows)


def tables(run: Run) -> list[Table]:
    """Return every table that the run has something for."""
    rest = [make(run) for name, make in EXTRAS.items() if run.get(name)]
    return [*sections(run), *rest, *(table for table in (failures(run), goals(run)) if table.rows)]


EXTRAS = {
    "scaling": scaling,
    "relations": relations,
    "training": training,
    "start": start,
}
