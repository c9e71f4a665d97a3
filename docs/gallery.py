"""The pictures of the gallery: the code of a recipe's page is run, and what it made is drawn.

So a picture shows what the code on its page computes. Each recipe has a picture for its page, and a small one, of
some of the same panels, for the gallery's start page.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import blocks
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from strokes import NIGHT, SKY, THEMES, Theme, bare, inks, shades

PAGES = Path(__file__).parent / "pages" / "gallery"
WIDTH = 6.6  # inches of a picture

Made = dict[str, Any]
SIGNAL = THEMES["dark"]  # colours on pictures, which are dark on both kinds of page


class Panel(NamedTuple):
    """One image with a title, and what is drawn over it in its own pixels."""

    title: str
    image: np.ndarray
    over: Callable[[Axes], None] | None = None
    limits: tuple[float, float] = (0.0, 1.0)


@functools.cache
def panels(name: str) -> list[Panel]:
    """Run the code of a recipe's page, and return what its picture shows."""
    return RECIPES[name].panels(blocks.run(PAGES / f"{name}.md"))


def deformable_attention(m: Made) -> list[Panel]:
    start, end, weights = m["start"], m["end"], m["weights"]

    def reads(level: int, side: int, axes: Axes) -> None:
        for query, color in enumerate(shades(3).reshape(-1, 3)):
            first, last = (side * places[0, query, level].numpy() - 0.5 for places in (start, end))
            weight = weights[0, query, level].numpy()
            seen = weight > 0.04  # half of what each began with
            ways = np.stack([first, last, np.full_like(last, np.nan)], axis=1)[seen]
            axes.plot(*ways.reshape(-1, 2).T, color=color, lw=1.1)
            sizes = 3 * np.ceil(3 * weight**0.5)  # few, as every size is another path
            for size in np.unique(sizes[seen]):
                at = last[seen & (sizes == size)]
                axes.plot(*at.T, "o", ms=size, color=color, mec=NIGHT, mew=0.6, zorder=4)

    def starts(axes: Axes) -> None:
        for query, color in enumerate(shades(3).reshape(-1, 3)):
            places = 28 * start[0, query].reshape(-1, 2).numpy() - 0.5
            axes.plot(*places.T, "o", ms=3, color=color, mew=0)

    panels = [Panel("nine queries, at first", m["values"][0][0, 0].numpy(), starts)]
    for level, value in enumerate(m["values"]):
        side = value.shape[-1]
        title = f"{side} × {side}, after learning"
        panels.append(Panel(title, value[0, 0].numpy(), functools.partial(reads, level, side)))
    return panels


def flow(m: Made) -> list[Panel]:
    colours = inks()(np.nan_to_num(m["warped"]))[..., :3]
    colours[m["hidden"]] = to_rgb(SIGNAL.rose)
    colours[~m["inside"]] = to_rgb(SIGNAL.orange)

    def arrows(axes: Axes) -> None:
        y, x = np.mgrid[12:120:24, 16:160:32]
        shift = m["forward"][y, x]
        axes.quiver(
            x, y, *np.moveaxis(shift, -1, 0), color=SIGNAL.teal, angles="xy", scale_units="xy",
            scale=2.5, width=0.008,
        )  # fmt: skip

    return [
        Panel("the first frame, its flow", m["first"], arrows),
        Panel("the second frame", m["second"]),
        Panel("the second, warped", np.nan_to_num(m["warped"])),
        Panel("hidden, and outside", colours),
    ]


def labels(m: Made) -> list[Panel]:
    colours = shades(3).reshape(-1, 3)

    def frame(axes: Axes) -> None:
        corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1]]) @ m["theta"].T
        axes.plot(*(24 * corners.T + 23.5), color=NIGHT, lw=1.6)

    return [
        Panel("labels, and what is read", colours[m["labels"]], frame),
        Panel("nearest", colours[m["nearest"]]),
        Panel("one-hot", colours[m["smooth"]]),
        Panel("numbers blended", colours[m["blended"].astype(int)]),
    ]


def log_polar(m: Made) -> list[Panel]:
    def rings(axes: Axes) -> None:
        for radius in (0.05, 0.9):
            turn = np.linspace(0, 2 * np.pi, 200)
            axes.plot(*(84 * radius * np.stack([np.cos(turn), np.sin(turn)]) + 83.5), color=SIGNAL.orange, lw=1.2)

    return [
        Panel("a page", m["page"][0], rings),
        Panel("turned and enlarged", m["other"][0], rings),
        Panel("log-polar", m["polar"]),
        Panel("log-polar: shifted", m["other_polar"]),
    ]


def panorama(m: Made) -> list[Panel]:
    return [
        Panel("the panorama", np.moveaxis(m["panorama"], 0, -1)),
        Panel('("wrap", "border")', np.moveaxis(m["view"], 0, -1)),
        Panel("folded, zeros", np.moveaxis(m["seam"], 0, -1)),
    ]


def rectification(m: Made) -> list[Panel]:
    def marks(axes: Axes) -> None:
        for row, color in zip(m["points"].reshape(3, 7, 2), (SIGNAL.teal, SIGNAL.blue, SIGNAL.orange), strict=True):
            axes.plot(*row.T, "o", ms=4.5, color=color, mec=NIGHT, mew=0.5)

    def control(axes: Axes) -> None:
        for row, color in enumerate((SIGNAL.teal, SIGNAL.blue, SIGNAL.orange)):
            x = np.linspace(-0.5, 167.5, 7)
            axes.plot(x, np.full(7, 14 * row - 0.5), "o", ms=4.5, color=color, mec=NIGHT, mew=0.5, clip_on=False)

    return [
        Panel("the picture, and points of the line", m["picture"][0], marks),
        Panel("laid straight", m["straight"][0], control),
    ]


def registration(m: Made) -> list[Panel]:
    fixed, before, after = (volume[24] for volume in (*m["volumes"], m["warped"][0, 0]))
    return [
        Panel("fixed", fixed, None, (0, 1.3)),
        Panel("moving", before, None, (0, 1.3)),
        Panel("difference before", abs(fixed - before), None, (0, 0.7)),
        Panel("difference after", abs(fixed - after), None, (0, 0.7)),
    ]


def splatting(m: Made) -> list[Panel]:
    average, _ = m["softmax_splat"](m["picture"], m["places"], 0 * m["depth"])
    holes = inks()(m["moved"])[..., :3]
    holes[m["covered"] <= 0.5] = to_rgb(SIGNAL.rose)
    return [
        Panel("the picture", m["picture"]),
        Panel("nearness", 1.5 / m["depth"]),
        Panel("averaged", average),
        Panel("softmax, and not covered", holes),
    ]


def triplanes(m: Made) -> list[Panel]:
    import torch

    step = np.linspace(-1, 1, 128)
    y, x, z = np.meshgrid(step, step, step, indexing="ij")
    for a, b, angle in ((x, z, 0.6), (y, z, 0.5)):  # seen from the side, and from above
        a[:], b[:] = np.cos(angle) * a - np.sin(angle) * b, np.sin(angle) * a + np.cos(angle) * b
    points = torch.from_numpy(np.stack([x, -y, z], axis=-1).reshape(-1, 3)).float()
    with torch.no_grad():
        learnt = m["decoder"](m["triplane"](m["planes"], points)).sigmoid()
        features = m["planes"].norm(dim=1).numpy()
    solids = [_lit(inside.numpy().reshape(x.shape)) for inside in (m["linked_rings"](points).float(), learnt)]
    titles = ("two rings", "learnt", "plane x y", "plane x z", "plane y z")
    return [Panel(title, image) for title, image in zip(titles, [*solids, *features / features.max()], strict=True)]


def _lit(solid: np.ndarray) -> np.ndarray:
    """Return a density as it is seen along the last axis, lit from the upper left."""
    for axis in range(3):
        solid = (np.roll(solid, 1, axis) + 2 * solid + np.roll(solid, -1, axis)) / 4
    beyond = np.cumprod(1 - solid, axis=2)  # how much of the light comes from behind each place
    weight = np.concatenate([1 - beyond[..., :1], -np.diff(beyond, axis=2)], axis=2)
    normal = -(weight[..., None] * np.stack(np.gradient(solid), axis=-1)).sum(axis=2)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
    return weight.sum(axis=2) * (0.25 + 0.75 * np.clip(normal @ (-0.5, -0.6, -0.62), 0, 1))


def volumes(m: Made) -> list[Panel]:
    fixed, moving = (np.asarray(m[name][0, 24]) for name in ("fixed", "moving"))
    after = m["affine_sample"](m["moving"], m["theta"], chunks=24)[0, 24].compute()
    drop = -np.log10(np.array(m["losses"]) / m["losses"][0])

    def curve(axes: Axes) -> None:
        x, y = np.linspace(3, 44, len(drop)), 4 + 20 * drop
        axes.plot(x, y, color=SIGNAL.teal, lw=1.6)
        for decade, label in enumerate(("1", "1/10", "1/100")):
            axes.plot((3, 44), (4 + 20 * decade,) * 2, color=SIGNAL.soft, lw=0.5)
            axes.text(44, 5 + 20 * decade, label, color=SIGNAL.soft, fontsize=8, ha="right", va="top")

    return [
        Panel("fixed", fixed),
        Panel("the loss, over 20 steps", np.zeros((48, 48)), curve),
        Panel("difference before", abs(fixed - moving), None, (0, 0.3)),
        Panel("difference after", abs(fixed - after), None, (0, 0.3)),
    ]


def world(m: Made) -> list[Panel]:
    scan, cubes = m["scan"], m["cubes"]
    return [
        Panel("a slice of the scan", scan[:, :, 11].T[::-1]),
        Panel("across its slices", np.repeat(scan[52].T[::-1], 4, axis=0)),
        Panel("on the grid", cubes[:, :, 45].T[::-1]),
        Panel("across", cubes[45].T[::-1]),
    ]


class Recipe(NamedTuple):
    """How the picture of a page is laid out, and which of its panels make the small one."""

    panels: Callable[[Made], list[Panel]]
    rows: tuple[int, ...]
    small: tuple[int, ...]
    whole: bool = False  # whether the small one shows its panels whole, before their own background


RECIPES = {
    recipe.panels.__name__: recipe
    for recipe in (
        Recipe(flow, (2, 2), (3,)),
        Recipe(registration, (2, 2), (2, 3)),
        Recipe(volumes, (2, 2), (2, 3)),
        Recipe(world, (2, 2), (2,)),
        Recipe(rectification, (1, 1), (0,), whole=True),
        Recipe(deformable_attention, (2, 2), (2,)),
        Recipe(triplanes, (2, 3), (1,)),
        Recipe(panorama, (1, 2), (1,)),
        Recipe(log_polar, (2, 2), (2,)),
        Recipe(splatting, (2, 2), (3,)),
        Recipe(labels, (2, 2), (2,)),
    )
}


def picture(name: str, theme: Theme) -> Figure:
    """Draw the panels of a recipe, in rows of panels with equal height."""
    left_over = iter(panels(name))
    rows = [list(itertools.islice(left_over, count)) for count in RECIPES[name].rows]
    gap, head = 0.12, 0.34
    heights = [
        (WIDTH - gap * (len(row) - 1)) / sum(panel.image.shape[1] / panel.image.shape[0] for panel in row)
        for row in rows
    ]
    height = sum(heights) + head * len(rows)
    figure, top = Figure(figsize=(WIDTH, height)), height
    for row, tall in zip(rows, heights, strict=True):
        left, top = 0.0, top - head - tall
        for panel in row:
            wide = tall * panel.image.shape[1] / panel.image.shape[0]
            axes = figure.add_axes((left / WIDTH, top / height, wide / WIDTH, tall / height))
            draw(axes, panel)
            axes.set_title(panel.title, color=theme.ink, fontsize=13, pad=5)
            left += wide + gap
    return figure


def small(name: str, theme: Theme) -> Figure:
    """Draw some panels side by side, each cut to its share of one size."""
    recipe = RECIPES[name]
    width, height, gap = 3.6, 2.4, 0.06
    figure = Figure(figsize=(width, height))
    share = (width - gap * (len(recipe.small) - 1)) / len(recipe.small)
    for i, panel in enumerate(panels(name)[k] for k in recipe.small):
        axes = figure.add_axes((i * (share + gap) / width, 0, share / width, 1))
        draw(axes, panel)
        axes.add_artist(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fc=SKY, ec="none", zorder=-1))
        rows, columns = panel.image.shape[:2]
        scale = (max if recipe.whole else min)(columns / share, rows / height)
        x, y = (columns - 1) / 2, (rows - 1) / 2
        axes.set(
            xlim=(x - scale * share / 2, x + scale * share / 2), ylim=(y + scale * height / 2, y - scale * height / 2)
        )
    return figure


def draw(axes: Axes, panel: Panel) -> None:
    rows, columns = panel.image.shape[:2]
    axes.imshow(
        panel.image, cmap=inks(), vmin=panel.limits[0], vmax=panel.limits[1], interpolation="none", aspect="auto"
    )
    if panel.over is not None:
        panel.over(axes)
    bare(axes, (-0.5, columns - 0.5), (rows - 0.5, -0.5))


PICTURES: dict[str, Callable[[Theme], Figure]] = {
    **{f"gallery_{name}": functools.partial(picture, name) for name in RECIPES},
    **{f"gallery_{name}_small": functools.partial(small, name) for name in RECIPES},
}
