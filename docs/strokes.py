"""What every picture of the documentation is drawn with: colours, axes without frames, arrows, digits, grids."""

import functools
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon

from stnkit.demo.data import load_digits


class Theme(NamedTuple):
    """The colours of one kind of page."""

    ink: str
    soft: str
    line: str
    page: str
    fill: str
    blue: str
    teal: str
    orange: str
    rose: str


THEMES = {
    "light": Theme(
        ink="#1f2430", soft="#5f6775", line="#cfd4de", page="#ffffff", fill="#eef0f6",
        blue="#4353c9", teal="#0b8f7d", orange="#d2691e", rose="#c92a5f",
    ),
    "dark": Theme(
        ink="#e8eaf0", soft="#a3abba", line="#4a5162", page="#1e2129", fill="#2a2f3b",
        blue="#93a0ff", teal="#4fd1bd", orange="#ffab5e", rose="#ff7fa6",
    ),
}  # fmt: skip

CORNERS = np.array([[[45, 212, 191], [129, 140, 248]], [[251, 191, 36], [244, 114, 182]]]) / 255.0
NIGHT, SKY = "#12172a", "#1b2238"


def blank(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set(xlim=x, ylim=y)
    axes.axis("off")


def ticks(axes: Axes, theme: Theme) -> None:
    for spine in axes.spines.values():
        spine.set_color(theme.line)
    axes.tick_params(colors=theme.soft, labelsize=9, length=3)
    axes.set_facecolor("none")


def curve(axes: Axes, theme: Theme, x: np.ndarray, y: np.ndarray, color: str, fill: bool = False) -> None:
    gaps = np.abs(np.diff(y)) > 0.5
    broken = np.insert(y, np.flatnonzero(gaps) + 1, np.nan)
    axes.plot(np.insert(x, np.flatnonzero(gaps) + 1, np.nan), broken, color=color)
    if fill:
        axes.fill_between(x, y, color=color, alpha=0.15, lw=0)
    axes.axhline(0, color=theme.line, lw=1, zorder=0)
    ticks(axes, theme)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color=color, lw=1.6, clip_on=False))


def quad(axes: Axes, matrix: np.ndarray, color: str) -> None:
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) @ matrix.T
    axes.add_patch(Polygon(corners, fc="none", ec=color, lw=1.4, zorder=3, clip_on=False))


def shades(n: int) -> np.ndarray:
    """Return n x n colours that run between four corners."""
    t = np.linspace(0, 1, n)
    rows = (1 - t)[:, None, None] * CORNERS[0] + t[:, None, None] * CORNERS[1]
    return (1 - t)[None, :, None] * rows[:, :1] + t[None, :, None] * rows[:, 1:]


@functools.cache
def inks() -> mpl.colors.Colormap:
    return mpl.colors.LinearSegmentedColormap.from_list("ink", [SKY, "#eef2ff"])


@functools.cache
def digit(number: int) -> np.ndarray:
    images, labels = load_digits()
    return images[np.flatnonzero(labels == number)[:1]] / 255.0


def pose(centre: tuple[float, float], size: float, degrees: float) -> np.ndarray:
    """Return the map that carries an upright square to one of a size, turned, about a centre."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[size * c, -size * s, centre[0]], [size * s, size * c, centre[1]]])


def inverse(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
