"""Draw the pictures of the documentation, each for a light and a dark page.

Whatever can be computed is computed by stnkit itself: the kernels are responses to an impulse, the padded
images are sampled, the slopes come from a vjp.

    python docs/pictures.py           draws the README's picture again, the only one that is kept
    python docs/pictures.py FOLDER    draws all the others into a folder, to look at
"""

import base64
import functools
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

import stnkit

sys.path.append(str(Path(__file__).parent))  # which a test that loads this file by its path does not know
sys.path.append(str(Path(__file__).parents[1]))  # the benchmark lives at the repository's top, outside the wheel

import gallery
import scenes
from strokes import (
    NIGHT,
    THEMES,
    Theme,
    arrow,
    bare,
    blank,
    curve,
    digit,
    inks,
    inverse,
    pose,
    quad,
    shades,
    ticks,
)

from bench import plots, report, results

HERO = Path(__file__).parent / "pages" / "pictures" / "hero.png"

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "stnkit",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def coordinates(theme: Theme) -> Figure:
    """Draw the pixels of one axis with the rulers that name positions on it, and the axes of an image."""
    figure = blank(8.8, 3.0)
    rulers, plane = figure.subplots(1, 2, width_ratios=(2.1, 1))
    bare(rulers, (-2.35, 3.75), (3.35, -0.95))
    shades = (theme.blue, theme.teal, theme.orange, theme.rose)
    for i, shade in enumerate(shades):
        rulers.add_patch(Rectangle((i - 0.5, -0.5), 1, 1, fc=shade, ec=theme.page, lw=2.5, alpha=0.85))
        rulers.plot([i, i], [0, 3.0], color=theme.line, lw=1, ls=(0, (2, 2)), zorder=0)
        rulers.plot(i, 0, "o", ms=5, color=theme.page)
    for edge in (-0.5, 3.5):
        rulers.plot([edge, edge], [0.5, 3.0], color=theme.line, lw=1, ls=(0, (2, 2)), zorder=0)
    _ruler(rulers, theme, 1.0, 'coords="pixel"', {-0.5: "−½", 0: "0", 1: "1", 2: "2", 3: "3", 3.5: "3½"}, ())
    halves = {-0.5: "−1", 0: "−¾", 1: "−¼", 2: "¼", 3: "¾", 3.5: "1"}
    _ruler(rulers, theme, 2.0, "align_corners=False", halves, (-0.5, 3.5))
    _ruler(rulers, theme, 3.0, "align_corners=True", {0: "−1", 1: "−⅓", 2: "⅓", 3: "1"}, (0, 3))

    bare(plane, (-2.0, 5.2), (3.6, -2.0))
    plane.set_aspect("equal")
    for y in range(3):
        for x in range(4):
            plane.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fc=theme.fill, ec=theme.line, lw=1.2))
            plane.plot(x, y, "o", ms=2.5, color=theme.soft)
    plane.add_patch(Rectangle((-0.5, -0.5), 4, 3, fc="none", ec=theme.ink, lw=1.4))
    arrow(plane, (-0.5, -1.5), (3.6, -1.5), theme.blue)
    arrow(plane, (-1.3, -0.5), (-1.3, 2.6), theme.rose)
    plane.text(1.5, -1.72, "x, along W", color=theme.blue, ha="center", va="bottom")
    plane.text(-1.52, 1, "y, along H", color=theme.rose, ha="right", va="center", rotation=90)
    for at, label, side in (((-0.5, -0.5), "(−1, −1)", -0.62), ((3.5, 2.5), "(1, 1)", 3.12)):
        plane.plot(*at, "o", ms=6, color=theme.orange)
        plane.text(at[0], side, label, color=theme.orange, fontsize=9.5, ha="center", va="bottom")
    return figure


def _ruler(axes: Axes, theme: Theme, y: float, name: str, ticks: dict[float, str], ends: tuple[float, ...]) -> None:
    low, high = (min(ends), max(ends)) if ends else (-0.5, 3.5)
    color = theme.ink if ends else theme.soft
    axes.plot([low, high], [y, y], color=color, lw=1.6)
    axes.text(-0.75, y, name, ha="right", va="center", color=theme.ink, family="DejaVu Sans Mono", fontsize=9)
    for x, label in ticks.items():
        end = x in ends
        axes.plot([x, x], [y - 0.09, y + 0.09], color=color, lw=1.6)
        axes.text(
            x, y - 0.17, label, ha="center", va="bottom", color=theme.orange if end else theme.ink,
            fontweight="bold" if end else "normal",
            bbox={"fc": theme.page, "ec": "none", "pad": 1.0},
        )  # fmt: skip


def theta(theme: Theme) -> Figure:
    """Draw how theta carries an output location to the input, whence its value comes back."""
    figure = Figure(figsize=(8.2, 3.7))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.45, left=0.01, right=0.99, top=0.9, bottom=0.02)
    matrix = np.array([[0.5, -0.28, 0.18], [0.28, 0.5, -0.12]])
    image = digit(3)
    out = stnkit.affine_sample(image, matrix, (48, 48))[0]
    points = stnkit.affine_grid(np.eye(2, 3), (7, 7)).reshape(-1, 2)
    landed = points @ matrix[:, :2].T + matrix[:, 2]
    for axes, picture, places, frame, title in (
        (left, out, points, np.eye(2, 3), "output"),
        (right, image[0], landed, matrix, "input"),
    ):
        bare(axes, (-1.12, 1.12), (1.12, -1.12))
        axes.set_aspect("equal")
        axes.imshow(picture, extent=(-1, 1, 1, -1), cmap=inks(), vmin=0, vmax=1, interpolation="nearest")
        quad(axes, frame, theme.orange)
        axes.scatter(*places.T, s=20, c=shades(7).reshape(-1, 3), edgecolors=NIGHT, linewidths=0.5, zorder=4)
        axes.set_title(title, color=theme.ink, fontsize=12)
    k = 12
    for start, end, (source, a), (target, b), style in (
        (0.35, "-|>", (left, points[k]), (right, landed[k]), theme.orange),
        (0.38, "-|>", (right, landed[k]), (left, points[k]), theme.teal),
    ):
        figure.add_artist(
            ConnectionPatch(
                a, b, "data", "data", axesA=source, axesB=target, arrowstyle=end, mutation_scale=16,
                connectionstyle=f"arc3,rad={-start}", color=style, lw=2, shrinkA=6, shrinkB=6,
            )
        )  # fmt: skip
    figure.text(0.5, 0.9, "theta", color=theme.orange, ha="center", fontsize=12, family="DejaVu Sans Mono")
    figure.text(0.5, 0.3, "value", color=theme.teal, ha="center", fontsize=12)
    return figure


def padding(theme: Theme) -> Figure:
    """Draw an image and what each padding puts around it."""
    n = 22
    y, x = np.mgrid[0 : 1 : n * 1j, 0 : 1 : n * 1j]
    ink = stnkit.affine_sample(digit(2), 0.92 * np.eye(2, 3), (n, n))
    ground = np.stack([0.20 + 0.65 * x, 0.45 + 0.25 * y - 0.2 * x, 0.75 - 0.45 * y])
    image = ground * (1 - ink) + ink
    reach = np.arange(-n, 2 * n, dtype=float)
    grid = np.stack(np.meshgrid(reach, reach), axis=-1)
    cases: list[tuple[str, dict[str, object]]] = [
        ('"zeros"', {"padding_mode": "zeros"}),
        ('"zeros", fill_value=(1, .8, .3)', {"padding_mode": "zeros", "fill_value": (1.0, 0.8, 0.3)}),
        ('"border"', {"padding_mode": "border"}),
        ('"reflection"', {"padding_mode": "reflection"}),
        ('"wrap"', {"padding_mode": "wrap"}),
        ('("wrap", "border")', {"padding_mode": ("wrap", "border")}),
    ]
    figure = blank(8.2, 5.9)
    for axes, (title, options) in zip(figure.subplots(2, 3).flat, cases, strict=True):
        padded = stnkit.grid_sample(image, grid, coords="pixel", mode="nearest", **options)
        bare(axes, (-n - 0.5, 2 * n - 0.5), (2 * n - 0.5, -n - 0.5))
        edges = (-n - 0.5, 2 * n - 0.5, 2 * n - 0.5, -n - 0.5)
        axes.imshow(np.clip(padded, 0, 1).transpose(1, 2, 0), extent=edges, interpolation="nearest")
        axes.add_patch(Rectangle((-0.5, -0.5), n, n, fc="none", ec="white", lw=2.2))
        axes.add_patch(Rectangle((-0.5, -0.5), n, n, fc="none", ec="#11131a", lw=0.8))
        axes.set_title(title, color=theme.ink, family="DejaVu Sans Mono", fontsize=9)
    return figure


def interpolation(theme: Theme) -> Figure:
    """Draw each mode's weights, its passage through a step, and a small image enlarged by it."""
    figure = blank(8.2, 6.6)
    rows = figure.subplots(3, 3, height_ratios=(1, 1, 1.55))
    impulse = np.zeros((1, 9))
    impulse[0, 4] = 1.0
    step = np.array([[0.0, 0, 0, 0, 1, 1, 1, 1]])
    patch = stnkit.affine_sample(digit(5), np.array([[0.62, 0.0, 0.02], [0.0, 0.62, -0.06]]), (9, 9))
    fine = (np.arange(9 * 16) + 0.5) / 16 - 0.5
    plane = np.stack(np.meshgrid(fine, fine), axis=-1)
    for column, (mode, color) in enumerate(
        (("nearest", theme.teal), ("bilinear", theme.blue), ("bicubic", theme.rose))
    ):
        weights, edge, enlarged = rows[:, column]
        s = np.linspace(-2.4, 2.4, 961)
        w = stnkit.grid_sample(impulse, s[:, None] + 4, coords="pixel", mode=mode)[0]
        curve(weights, theme, s, w, color, fill=True)
        weights.set(xlim=(-2.5, 2.5), ylim=(-0.22, 1.12), xticks=range(-2, 3), yticks=(0, 1))
        weights.set_title(f'"{mode}"', color=color, family="DejaVu Sans Mono", fontsize=11)

        x = np.linspace(0.8, 6.2, 1081)
        v = stnkit.grid_sample(step, x[:, None], coords="pixel", mode=mode, padding_mode="border")[0]
        curve(edge, theme, x, v, color)
        edge.plot(np.arange(1, 7), step[0, 1:7], "o", ms=5, color=theme.ink, zorder=5)
        edge.set(xlim=(0.7, 6.3), ylim=(-0.22, 1.22), xticks=range(1, 7), yticks=(0, 1))

        big = stnkit.grid_sample(patch, plane, coords="pixel", mode=mode, padding_mode="border")[0]
        bare(enlarged, (-0.5, 8.5), (8.5, -0.5))
        enlarged.imshow(big, extent=(-0.5, 8.5, 8.5, -0.5), cmap=inks(), vmin=0, vmax=1, interpolation="nearest")
    for axes, label in zip(
        rows[:, 0], ("weight of a pixel\nat distance s", "a step", "9 × 9 pixels,\nenlarged"), strict=True
    ):
        axes.text(
            -0.24,
            0.5,
            label,
            transform=axes.transAxes,
            rotation=90,
            ha="center",
            va="center",
            color=theme.soft,
        )
    return figure


def smoother(theme: Theme) -> Figure:
    """Draw the weights of splines and filters, and their passage through a step: of splines by coefficients, too."""
    figure = blank(8.2, 4.4)
    rows = figure.subplots(2, 3)
    impulse, step = np.zeros((1, 13)), np.array([[0.0] * 7 + [1.0] * 7])
    impulse[0, 6] = 1.0
    s, x = np.linspace(-3.2, 3.2, 1281), np.linspace(3.8, 9.2, 1081)
    columns = (
        ("spline2 to spline5", ("spline2", "spline3", "spline4", "spline5"), theme.blue),
        ("mitchell", ("mitchell",), theme.teal),
        ("lanczos3", ("lanczos3",), theme.rose),
    )
    for (weights, edge), (title, modes, color) in zip(rows.T, columns, strict=True):
        for mode in modes:
            whole = mode in ("spline5", "mitchell", "lanczos3")  # of splines, the others are drawn thinner
            sample = functools.partial(stnkit.grid_sample, coords="pixel", mode=mode, padding_mode="reflection")
            if whole:
                curve(weights, theme, s, sample(impulse, s[:, None] + 6)[0], color, fill=True)
                edge.plot(x, sample(step, x[:, None])[0], color=color, ls="--" if mode == "spline5" else "-")
            else:
                weights.plot(s, sample(impulse, s[:, None] + 6)[0], color=color, lw=0.9)
            if mode == "spline5":
                found = stnkit.spline_filter(step, order=5, padding_mode="reflection", axes=-1)
                edge.plot(x, sample(found, x[:, None])[0], color=color)
        edge.axhline(0, color=theme.line, lw=1, zorder=0)
        edge.plot(np.arange(4, 10), step[0, 4:10], "o", ms=5, color=theme.ink, zorder=5)
        ticks(edge, theme)
        weights.set(xlim=(-3.3, 3.3), ylim=(-0.22, 1.12), xticks=range(-3, 4), yticks=(0, 1))
        weights.set_title(title, color=color, family="DejaVu Sans Mono", fontsize=10)
        edge.set(xlim=(3.7, 9.3), ylim=(-0.22, 1.22), xticks=range(4, 10), yticks=(0, 1))
    rows[1, 0].text(7.05, 0.16, "of coefficients\n(solid), of pixels\n(dashed)", color=theme.soft, fontsize=8)
    return figure


def knots(theme: Theme) -> Figure:
    """Draw the bilinear value and its slope, and what the slope is at each knot."""
    image = np.array([[1.0, 2.0, 4.0, 3.0]])
    figure = blank(8.2, 4.1)
    rows = figure.subplots(2, 2, sharex=True, height_ratios=(1.1, 1))
    whole = np.arange(-2.0, 6.0)
    for column, mode in enumerate(("zeros", "border")):
        values, slopes = rows[:, column]
        x = np.linspace(-1.7, 4.7, 641)
        sample = functools.partial(stnkit.grid_sample, image, coords="pixel", padding_mode=mode)
        curve(values, theme, x, sample(x[:, None])[0], theme.blue)
        values.plot(np.arange(4), image[0], "o", ms=5.5, color=theme.ink, zorder=5)
        values.set(ylim=(-0.4, 4.6), yticks=(0, 2, 4))
        values.set_title(f'padding_mode="{mode}"', color=theme.ink, family="DejaVu Sans Mono", fontsize=9.5)

        def slope(at: np.ndarray, mode: str = mode) -> np.ndarray:
            ones = np.ones((1, len(at)))
            options = {"coords": "pixel", "padding_mode": mode, "wrt": "grid"}
            return stnkit.grid_sample_vjp(ones, image, at[:, None], **options)[1][:, 0]

        left, here = slope(whole - 1e-6), slope(whole)
        middle = slope(whole[:-1] + 0.5)
        for a, level in zip(whole[:-1], middle, strict=True):
            slopes.plot([a, a + 1], [level, level], color=theme.rose)
        for a, before, at in zip(whole, left, here, strict=True):
            if before != at:
                slopes.plot(a, before, "o", ms=6, mfc=theme.page, mec=theme.rose, mew=1.4, zorder=5)
            if before != at or at != slope(np.array([a + 1e-6]))[0]:
                slopes.plot(
                    a,
                    slope(np.array([a + 1e-6]))[0],
                    "o",
                    ms=6,
                    mfc=theme.page,
                    mec=theme.rose,
                    mew=1.4,
                    zorder=5,
                )
                slopes.plot(a, at, "o", ms=6, color=theme.rose, zorder=6)
        slopes.axhline(0, color=theme.line, lw=1, zorder=0)
        slopes.set(xlim=(-1.6, 4.6), ylim=(-3.7, 2.7), yticks=(-3, 0, 2), xticks=range(-1, 5))
        ticks(slopes, theme)
        slopes.set_xlabel("pixel coordinate", color=theme.soft)
    for axes, label in zip(rows[:, 0], ("value", "slope"), strict=True):
        axes.set_ylabel(label, color=theme.soft)
    return figure


def floors(theme: Theme) -> Figure:
    """Draw the folders of the package, in the order of their imports."""
    stories = (
        ("functions", "what a user reads", ("api/", "prefilter/", "antialias/")),
        ("calls", "arguments in one form", ("calls/", "validation/", "_dispatch.py")),
        ("whole arrays", "what is allocated and run", ("backends/cpu", "backends/cuda", "bounds/, plans/")),
        ("loops", "order, threads, tiles", ("kernels/cpu", "kernels/cuda")),
        ("numbers", "one axis, one location", ("kernels/leaves", "kernels/simd")),
        ("names", "choices, and compiling", ("spec.py", "dtypes.py", "kernels/compiler")),
    )
    shades = (theme.rose, theme.orange, theme.teal, theme.blue, theme.blue, theme.soft)
    figure = blank(10.4, 4.5)
    axes = figure.subplots()
    bare(axes, (-0.3, 15.9), (-0.15, 6.75))
    for k, (name, question, rooms) in enumerate(stories):
        bottom = 5 - k
        axes.add_patch(Rectangle((0, bottom), 12.7, 0.94, fc=theme.fill, ec="none"))
        axes.add_patch(Rectangle((0, bottom), 0.09, 0.94, fc=shades[k], ec="none"))
        axes.text(
            0.32,
            bottom + 0.61,
            name,
            color=theme.ink,
            va="center",
            fontsize=11,
            fontweight="bold",
        )
        axes.text(0.32, bottom + 0.26, question, color=theme.soft, va="center", fontsize=9)
        for i, room in enumerate(rooms):
            _room(axes, theme, (3.85 + 2.92 * i, bottom + 0.18), 2.7, room, shades[k])
    axes.add_patch(Rectangle((13.05, 0), 2.45, 5.94, fc=theme.fill, ec="none"))
    axes.text(14.27, 5.61, "frameworks", color=theme.ink, va="center", ha="center", fontsize=11, fontweight="bold")
    axes.text(14.27, 5.26, "above all of these", color=theme.soft, va="center", ha="center", fontsize=9)
    for i, room in enumerate(("torch/", "jax/", "ndimage/", "tiles/", "transforms/", "nn.py", "cli/, demo/")):
        _room(axes, theme, (13.46, 4.3 - 0.7 * i), 1.62, room, theme.soft)
    axes.add_patch(Polygon([(-0.2, 6.03), (12.9, 6.03), (6.35, 6.68)], fc=theme.line, ec="none"))
    arrow(axes, (15.8, 5.7), (15.8, 0.2), theme.soft)
    axes.text(
        16.07,
        2.95,
        "imports go down only",
        rotation=270,
        ha="center",
        va="center",
        color=theme.soft,
        clip_on=False,
    )
    return figure


def call(theme: Theme) -> Figure:
    """Draw a call's way from words to tiles."""
    steps = (
        ("check", "words become\nOptions, misfits\nare refused", theme.rose),
        ("plan", "layouts become\nsizes, strides\nand a Spec", theme.orange),
        ("factory", "a Spec becomes\none kernel,\ncompiled once", theme.teal),
        ("launch", "on one thread\nor on many,\nsame bits", theme.blue),
    )
    figure = blank(8.2, 4.3)
    axes = figure.subplots()
    bare(axes, (-0.1, 12.1), (-0.2, 6.4))
    for i, (name, text, color) in enumerate(steps):
        x = 3.1 * i
        axes.add_patch(
            FancyBboxPatch(
                (x, 4.2),
                2.45,
                1.9,
                boxstyle="round,pad=0,rounding_size=0.15",
                fc=theme.fill,
                ec=color,
                lw=1.6,
            )
        )
        axes.text(x + 1.22, 5.76, name, color=color, ha="center", va="center", fontsize=11.5, fontweight="bold")
        axes.text(x + 1.22, 4.93, text, color=theme.ink, ha="center", va="center", fontsize=9, linespacing=1.35)
        if i:
            arrow(axes, (x - 0.6, 5.15), (x - 0.05, 5.15), theme.soft)
    arrow(axes, (10.52, 4.15), (10.52, 3.35), theme.soft)
    axes.text(
        0,
        3.0,
        "in each tile of output locations",
        color=theme.ink,
        fontsize=11,
        fontweight="bold",
        va="center",
    )
    count, width = 30, 0.245
    for row, (label, color) in enumerate((("x: offset, weight", theme.blue), ("y: offset, weight", theme.blue))):
        y = 2.25 - 0.42 * row
        axes.text(3.05, y + 0.15, label, color=theme.soft, ha="right", va="center", fontsize=9)
        for p in range(count):
            axes.add_patch(Rectangle((3.3 + p * width, y), width * 0.84, 0.3, fc=color, ec="none", alpha=0.85))
    axes.text(
        11,
        2.2,
        "1. stage the\n    taps once",
        color=theme.blue,
        ha="left",
        va="center",
        fontsize=9.5,
        linespacing=1.3,
        clip_on=False,
    )
    for row in range(3):
        y = 0.98 - 0.42 * row
        label = f"channel {row}" if row < 2 else "…"
        axes.text(3.05, y + 0.15, label, color=theme.soft, ha="right", va="center", fontsize=9)
        for p in range(count):
            axes.add_patch(Rectangle((3.3 + p * width, y), width * 0.84, 0.3, fc=theme.teal, ec="none", alpha=0.85))
    axes.text(
        11,
        0.7,
        "2. run every\n    channel\n    over them",
        color=theme.teal,
        ha="left",
        va="center",
        fontsize=9.5,
        linespacing=1.3,
        clip_on=False,
    )
    return figure


def parts(theme: Theme) -> Figure:
    """Draw that the parts of a call stay the same whatever number of threads takes them."""
    figure = blank(8.2, 2.1)
    axes = figure.subplots()
    bare(axes, (-2.3, 12.1), (-0.1, 3.3))
    colors = (theme.blue, theme.teal, theme.orange, theme.rose)
    for row, threads in enumerate((1, 2, 4)):
        y = 2.2 - 1.0 * row
        axes.text(
            -0.25,
            y + 0.35,
            f"{threads} thread{'s' if threads > 1 else ''}",
            color=theme.ink,
            ha="right",
            va="center",
        )
        for part in range(12):
            color = colors[part * threads // 12]
            axes.add_patch(Rectangle((part + 0.04, y), 0.92, 0.7, fc=color, ec="none", alpha=0.85))
            axes.text(
                part + 0.5,
                y + 0.35,
                str(part),
                color=theme.page,
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold",
            )
    axes.text(6, 3.08, "the parts of one call", color=theme.soft, ha="center", va="bottom")
    return figure


def ratios(theme: Theme) -> Figure:
    """Draw what the run that the performance page shows says about groups of cases."""
    return plots.ratios(results.load(report.source()), theme)


def roofline(theme: Theme) -> Figure:
    """Draw how near that run came to the bandwidth of the memory."""
    return plots.roofline(results.load(report.source()), theme)


EMBEDDED = re.compile(r'data:image/png;base64,\s*([^"]+)')

PICTURES: dict[str, Callable[[Theme], Figure]] = {
    draw.__name__: draw
    for draw in (
        coordinates,
        theta,
        padding,
        interpolation,
        smoother,
        knots,
        floors,
        call,
        parts,
        ratios,
        roofline,
        scenes.boxes,
        scenes.grids,
        scenes.pooling,
    )
} | gallery.PICTURES


@functools.cache
def svg(name: str, theme: str) -> str:
    """Return the SVG text of one picture for "light" or "dark" pages."""
    with mpl.rc_context(STYLE):
        text = io.StringIO()
        PICTURES[name](THEMES[theme]).savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return EMBEDDED.sub(_packed, text.getvalue())


def _packed(embedded: re.Match[str]) -> str:
    """Return an image of an SVG, the same pixel by pixel, in half the bytes."""
    from PIL import Image

    packed = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(embedded[1]))).save(packed, format="webp", lossless=True, method=6)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()


def hero(path: Path = HERO) -> None:
    """Draw the README's picture: a scene, three grids laid over it, and what each of them reads."""
    from PIL import Image

    places = {7: ((-0.5, 0.46), 0.40, 24.0), 2: ((0.42, -0.36), 0.46, -34.0), 5: ((-0.56, -0.5), 0.36, 8.0)}
    poses = {number: pose(*place) for number, place in places.items()}
    scene = np.max(
        [stnkit.affine_sample(digit(number), inverse(seen), (112, 112)) for number, seen in poses.items()],
        axis=0,
    )
    cases = (
        ("identity", np.eye(2, 3)),
        ("rotation", pose((0.0, 0.0), 1.0, -34.0)),
        ("crop, turned upright", poses[2]),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 6.9), facecolor="none")
        figure.add_artist(
            FancyBboxPatch(
                (0.012, 0.016), 0.976, 0.968, boxstyle="round,pad=0,rounding_size=0.025", fc=NIGHT, ec="none",
                transform=figure.transFigure, mutation_aspect=9.6 / 6.9, zorder=-1,
            )
        )  # fmt: skip
        for column, (title, matrix) in enumerate(cases):
            left = 0.085 + 0.299 * column
            above = figure.add_axes((left, 0.485, 0.268, 0.373))
            below = figure.add_axes((left + 0.042, 0.045, 0.184, 0.256))
            places_ = stnkit.affine_grid(np.eye(2, 3), (9, 9)).reshape(-1, 2)
            landed = places_ @ matrix[:, :2].T + matrix[:, 2]
            read = stnkit.affine_sample(scene, matrix, (112, 112))[0]
            for axes, picture, points, frame, size in (
                (above, scene[0], landed, matrix, 20), (below, read, places_, np.eye(2, 3), 11),
            ):  # fmt: skip
                reach = 1.22 if axes is above else 1.03
                bare(axes, (-reach, reach), (reach, -reach))
                axes.imshow(picture, extent=(-1, 1, 1, -1), cmap=inks(), vmin=0, vmax=1, interpolation="bilinear")
                quad(axes, frame, "#ffffff")
                alpha = 0.95 if axes is above else 0.55
                axes.scatter(
                    *points.T,
                    s=size,
                    c=shades(9).reshape(-1, 3),
                    edgecolors=NIGHT,
                    linewidths=0.5,
                    clip_on=False,
                    alpha=alpha,
                    zorder=4,
                )
            middle = left + 0.134
            figure.text(middle, 0.905, title, color="#f4f6fb", ha="center", fontsize=14)
            rows = ["[" + " ".join(f"{value:5.2f}" for value in row + 0.0) + "]" for row in matrix]
            figure.text(
                middle,
                0.385,
                "\n".join(rows),
                color="#aeb6ca",
                ha="center",
                fontsize=8.5,
                family="DejaVu Sans Mono",
                linespacing=1.3,
            )
            figure.add_artist(
                FancyArrowPatch(
                    (middle, 0.372), (middle, 0.312), transform=figure.transFigure, arrowstyle="-|>",
                    mutation_scale=15, color="#aeb6ca", lw=1.6,
                )
            )  # fmt: skip
        for y, label in ((0.67, "image and grid"), (0.175, "result")):
            figure.text(0.052, y, label, color="#aeb6ca", ha="center", va="center", rotation=90, fontsize=11)
        raw = io.BytesIO()
        figure.savefig(raw, format="png", dpi=125, transparent=True)
    picture = Image.open(raw).quantize(160, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)


def _room(axes: Axes, theme: Theme, at: tuple[float, float], width: float, name: str, color: str) -> None:
    axes.add_patch(
        FancyBboxPatch(at, width, 0.58, boxstyle="round,pad=0,rounding_size=0.1", fc=theme.page, ec=color, lw=1.5)
    )
    axes.text(
        at[0] + width / 2,
        at[1] + 0.28,
        name,
        color=theme.ink,
        ha="center",
        va="center",
        family="DejaVu Sans Mono",
        fontsize=9,
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        hero()
    else:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            for theme in THEMES:
                (folder / f"{name}-{theme}.svg").write_text(svg(name, theme))
