"""What the pictures of both demos have in common: colours, frames of small images, axes and labelled curves."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

INK, SOFT, TRUE, FOUND, FRAME = "#1d2b3a", "#7f8c99", "#2a9d8f", "#e76f51", "#d5dbe1"
DASHES = (0.0, (3.0, 3.0))


def framed(axes: Axes) -> None:
    """Leave a thin frame of an image's axes."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(FRAME)


def open_corner(axes: Axes) -> None:
    """Take the upper and right lines from a chart's axes."""
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def curve(axes: Axes, x: Sequence[float], y: Sequence[float], color: str, label: str, above: float = 0.0) -> None:
    """Draw a curve with a label at its end, so many points above it."""
    axes.plot(x, y, color=color, linewidth=1.8)
    style: dict[str, Any] = {"color": color, "va": "center", "fontsize": 9, "weight": "bold"}
    axes.annotate(label, (x[-1], y[-1]), (5, above), textcoords="offset points", **style)
