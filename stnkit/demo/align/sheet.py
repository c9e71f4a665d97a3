"""The contact sheet of the alignment demo: ten digits before and after, and the way down."""

from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from numpy.typing import NDArray

from stnkit.demo.align.task import CANVAS, LANDMARKS, Result
from stnkit.demo.charts import DASHES, FOUND, FRAME, INK, SOFT, TRUE, framed, open_corner
from stnkit.demo.descent import STAGES, stage_ends

COLUMNS = ("original", "distorted", "recovered", "difference")
SHOWN = 10  # digits on the sheet, in two blocks side by side
WIDTH, HEAD, CELL, FOOT = 11.0, 1.85, 1.21, 2.3  # inches
RED, BLUE = "#b2182b", "#2166ac"


def draw(result: Result, file: IO[bytes]) -> None:
    """Draw the contact sheet, as a PNG, into a binary file."""
    shown = min(SHOWN, len(result.labels))
    rows = (shown + 1) // 2
    height = HEAD + CELL * rows + FOOT
    figure = Figure(figsize=(WIDTH, height), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    _headline(figure, result, height)
    edges = {"left": 0.045, "right": 0.985, "top": 1.0 - HEAD / height, "bottom": FOOT / height}
    blocks = figure.add_gridspec(1, 2, wspace=0.09, **edges)
    for index in range(shown):
        block, row = divmod(index, rows)
        cells = blocks[block].subgridspec(rows, len(COLUMNS), wspace=0.06, hspace=0.22)
        axes = [figure.add_subplot(cells[row, column]) for column in range(len(COLUMNS))]
        _digit(axes, result, index)
        if row == 0:
            for one, name in zip(axes, COLUMNS, strict=True):
                one.set_title(name, fontsize=10, color=INK, pad=6)
    _descent(figure.add_axes((0.075, 0.6 / height, 0.905, 1.15 / height)), result)
    figure.savefig(file, format="png")


def _headline(figure: Figure, result: Result, height: float) -> None:
    title = "Finding affine maps by gradient descent through the sampler"
    before, after = np.median(result.before), np.median(result.after)
    lines = (
        f"{len(result.labels)} MNIST digits, each under an unknown rotation, scale, shear and translation, "
        "and the map found again from the pixels alone.",
        f"Worst corner of a digit's box: {before:.1f} px off before, {after:.2f} px after (medians); "
        f"{np.mean(result.after < 1.0):.0%} of the digits end below 1 px.",
    )
    figure.text(0.045, 1.0 - 0.42 / height, title, size=17, weight="bold", color=INK, va="center")
    for number, line in enumerate(lines):
        figure.text(0.045, 1.0 - (0.8 + 0.23 * number) / height, line, size=10, color=INK, va="center")
    figure.legend(
        handles=[
            Line2D([], [], color=TRUE, linewidth=1.3, label="the digit's box, and where it truly went"),
            Line2D([], [], color=FOUND, linewidth=1.3, linestyle=DASHES, label="where theta says it went"),
            Patch(color=RED, label="ink missing"),
            Patch(color=BLUE, label="ink in excess (full colour: half of full ink)"),
        ],
        loc="center left", bbox_to_anchor=(0.037, 1.0 - 1.36 / height), ncols=4, frameon=False, fontsize=8.5,
        labelcolor=INK, handlelength=1.6, columnspacing=1.8,
    )  # fmt: skip


def _digit(axes: list[Axes], result: Result, index: int) -> None:
    original, recovered = result.originals[index, 0], result.recovered[index, 0]
    for one, picture in zip(axes, (original, result.distorted[index, 0], recovered), strict=False):
        one.imshow(picture, cmap="gray_r", vmin=0.0, vmax=1.0)
    axes[3].imshow(recovered - original, cmap="RdBu", vmin=-0.5, vmax=0.5)
    for one in axes:
        framed(one)
    axes[0].set_ylabel(str(result.labels[index]), rotation=0, size=13, color=INK, labelpad=10, va="center")
    _outline(axes[0], LANDMARKS, color=TRUE)
    _outline(axes[1], result.truth[index], color=TRUE)
    _outline(axes[1], result.found[index], color=FOUND, linestyle=DASHES)
    _caption(axes[1], f"{result.before[index]:.1f} px off")
    _caption(axes[2], f"{result.after[index]:.2f} px off")


def _outline(axes: Axes, corners: NDArray[Any], **style: Any) -> None:
    shifted = corners + (CANVAS - 1) / 2.0  # from the centre to the indices that imshow counts in
    axes.add_patch(Polygon(shifted, fill=False, linewidth=1.3, **style))


def _caption(axes: Axes, text: str) -> None:
    axes.text(0.5, -0.03, text, transform=axes.transAxes, fontsize=7.5, color=SOFT, ha="center", va="top")


def _descent(axes: Axes, result: Result) -> None:
    steps = np.arange(len(result.history))
    low, middle, high = np.quantile(result.history, (0.1, 0.5, 0.9), axis=1)
    axes.fill_between(steps, low, high, color=FOUND, alpha=0.2, linewidth=0.0)
    axes.plot(steps, middle, color=FOUND, linewidth=1.8)
    axes.axhline(1.0, color=SOFT, linewidth=0.8, linestyle=DASHES)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g} px")
    axes.set_xlim(0, steps[-1])
    axes.set_xlabel("step", fontsize=9, color=INK)
    title = "Worst corner of the box: median, and the middle 8 of 10 digits"
    axes.set_title(title, size=10, color=INK, loc="left", pad=10)
    above = axes.get_xaxis_transform()
    ends = stage_ends(int(steps[-1]))
    for (sigma, _), first, last in zip(STAGES, ends, ends[1:], strict=False):
        axes.axvline(first, color=FRAME, linewidth=0.8, zorder=0)
        blur = f"blur {sigma:g} px" if sigma else "no blur"
        axes.text((first + last) / 2, 0.97, blur, transform=above, size=8, color=SOFT, ha="center", va="top")
    open_corner(axes)
