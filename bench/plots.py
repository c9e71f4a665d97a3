"""The pictures of a run, in the colours of a page: `docs/pictures.py` has them drawn while the site is built."""

from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import Run, records
from bench.tables import reached


class Colours(Protocol):
    """What is used of a page's colours."""

    ink: str
    soft: str
    line: str
    blue: str
    teal: str
    orange: str
    rose: str


SIDES = {"torch": "orange", "opencv": "rose", "scipy": "teal", "jax": "soft"}  # by the names of colours


def ratios(run: Run, colours: Colours) -> Figure:
    """Draw for each group how many times as long its peer takes: the mean as a bar, every case as a dot."""
    groups = [group for group in reached(run) if group.goal.against != "floor"][::-1]
    figure = Figure(figsize=(8.2, 0.9 + 0.34 * max(1, len(groups))), layout="constrained")
    axes = figure.subplots()
    for y, group in enumerate(groups):
        color = getattr(colours, SIDES[group.goal.against])
        axes.barh(y, group.average - 1, left=1, height=0.62, color=color, alpha=0.45, lw=0)
        axes.plot(group.values.values(), [y] * len(group.values), "o", ms=4.5, color=color)
        axes.plot([group.goal.average] * 2, [y - 0.42, y + 0.42], color=colours.ink, lw=1.6)
    axes.axvline(1, color=colours.soft, lw=1)
    axes.set_yticks(range(len(groups)), [group.goal.title for group in groups])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("times as long as stnkit; a line marks the goal of the mean")
    _dress(axes, colours)
    return figure


def roofline(run: Run, colours: Colours) -> Figure:
    """Draw the bytes of each case against the bandwidth it reaches, under that of a copy."""
    figure = Figure(figsize=(8.2, 4.2), layout="constrained")
    axes = figure.subplots()
    measured = [record for record in records(run).values() if "fraction" in record]
    for side, color, size in (("torch", colours.orange, 3.5), ("stnkit", colours.blue, 5)):
        points = [(record["bytes"], seconds) for record in measured if (seconds := _median(record, side))]
        places = [(moved / 2**20, moved / seconds / 1e9) for moved, seconds in points]
        axes.plot(*zip(*places, strict=True) if places else ((), ()), "o", ms=size, color=color, alpha=0.8, label=side)
    axes.axhline(run["bandwidth"] / 1e9, color=colours.ink, lw=1.6, label="a large copy")
    axes.set(xscale="log", yscale="log", xlabel="MiB that a case reads and writes at least", ylabel="GB/s")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    _dress(axes, colours)
    axes.legend(frameon=False, labelcolor=colours.ink)
    return figure


def _median(record: dict[str, Any], side: str) -> float | None:
    return (record["stnkit"] if side == "stnkit" else record["peers"].get(side, {})).get("median")


def _dress(axes: Axes, colours: Colours) -> None:
    for spine in axes.spines.values():
        spine.set_color(colours.line)
    axes.tick_params(which="both", colors=colours.soft, labelsize=9, length=3)
    axes.tick_params(axis="y", labelcolor=colours.ink)
    axes.xaxis.label.set_color(colours.soft)
    axes.yaxis.label.set_color(colours.soft)
    axes.set_facecolor("none")
