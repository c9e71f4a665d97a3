"""The picture of the learning demo: what the transformer made of digits as it learnt, and both networks' errors."""

from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from stnkit.demo.charts import FOUND, INK, SOFT, TRUE, curve, framed, open_corner
from stnkit.demo.learn.task import Result
from stnkit.demo.poses import CANVAS

STAGES = 6  # shown after the start
WIDTH, HEIGHT = 11.0, 11.4  # inches
PLAIN, TRANSFORMED = SOFT, FOUND
CORNERS = np.array([[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])


def draw(result: Result, file: IO[bytes]) -> None:
    """Draw the picture, as a PNG, into a binary file."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    _headline(figure, result)
    stages = _stages(result.measured)
    cells = figure.add_gridspec(
        len(result.labels), 2 + len(stages), left=0.05, right=0.985, top=0.865, bottom=0.23, wspace=0.08, hspace=0.1
    )
    for row, label in enumerate(result.labels):
        axes = [figure.add_subplot(cells[row, column]) for column in range(2 + len(stages))]
        axes[0].set_ylabel(str(label), rotation=0, size=13, color=INK, labelpad=10, va="center")
        _picture(axes[0], result.distorted[row, 0])
        _picture(axes[1], result.distorted[row, 0])
        _frame(axes[1], result.theta[row])
        for one, stage in zip(axes[2:], stages, strict=True):
            _picture(one, result.read[stage][row, 0])
        if row == 0:
            heads = ["distorted", "looked at", *(f"epoch {result.measured[stage]}" for stage in stages)]
            for one, name in zip(axes, heads, strict=True):
                one.set_title(name, fontsize=10, color=INK, pad=6)
    _errors(figure.add_axes((0.075, 0.05, 0.29, 0.135)), result)
    _poses(figure.add_axes((0.575, 0.05, 0.33, 0.135)), result)
    figure.savefig(file, format="png")


def _headline(figure: Figure, result: Result) -> None:
    title = "Learning where to look: a spatial transformer in front of a classifier"
    plain, transformed = result.plain[-1], result.transformed[-1]
    lines = (
        f"Two fully connected networks saw the same turned, scaled and moved digits for {result.epochs} epochs. "
        f"On other digits the plain one errs in {plain:.1%}, the one with a transformer in {transformed:.1%}.",
        "Nobody told the transformer where to look: it followed the gradient of the classifier's loss, which comes "
        "through the sampler.",
        "The frame is where it looks in the end, with its top marked. To the right of it is what it read by and by.",
    )
    figure.text(0.05, 0.972, title, size=17, weight="bold", color=INK, va="center")
    for number, line in enumerate(lines):
        figure.text(0.05, 0.944 - 0.019 * number, line, size=8.4, color=INK, va="center")


def _stages(measured: list[int]) -> list[int]:
    """Choose the first stage, the last, and some between, evenly along the logarithm of the epoch."""
    last = len(measured) - 1
    wanted = np.geomspace(1, measured[-1], STAGES)
    nearest = (int(np.argmin(np.abs(np.array(measured) - epoch))) for epoch in wanted)
    return sorted({0, *nearest, last})


def _picture(axes: Axes, pixels: NDArray[Any]) -> None:
    axes.imshow(pixels, cmap="gray_r", vmin=0.0, vmax=1.0)
    framed(axes)


def _frame(axes: Axes, theta: NDArray[Any]) -> None:
    corners = (CORNERS @ theta.T + 1.0) * CANVAS / 2.0 - 0.5
    axes.add_patch(Polygon(corners, fill=False, linewidth=1.2, color=FOUND))
    axes.plot(*corners[:2].T, color=TRUE, linewidth=2.2)
    axes.set(xlim=(-0.5, CANVAS - 0.5), ylim=(CANVAS - 0.5, -0.5))  # whatever stands out


def _errors(axes: Axes, result: Result) -> None:
    for errors, color, name in (
        (result.plain, PLAIN, "plain"),
        (result.transformed, TRANSFORMED, "with a transformer"),
    ):
        curve(axes, result.measured, errors, color, f"{name} {errors[-1]:.1%}")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    _finish(axes, "Test error", result.epochs)


def _poses(axes: Axes, result: Result) -> None:
    first = result.poses[0]
    for name, color, above in (("turn", FOUND, 5), ("size", TRUE, -5), ("place", SOFT, 0)):
        ratios = [getattr(pose, name) / getattr(first, name) for pose in result.poses]
        curve(axes, result.measured, ratios, color, f"{name} {ratios[-1]:.0%}", above)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    _finish(axes, "How much the poses of digits differ in what is read", result.epochs)


def _finish(axes: Axes, title: str, last: int) -> None:
    axes.set_xscale("symlog", linthresh=1.0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0, last)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch", fontsize=9, color=INK)
    axes.set_title(title, size=10, color=INK, loc="left", pad=8)
    open_corner(axes)
