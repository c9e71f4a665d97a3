"""The pictures of the page on spatial transformers: what grids read, and what pooling keeps beside them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from strokes import NIGHT, Theme, bare, blank, digit, inks, inverse, pose, quad, shades

import stnkit
from stnkit.tiles import source_box
from stnkit.transforms import control_lattice

SIDE = 9  # locations along an axis of the grids that are drawn
FINE = (84, 84)


def grids(theme: Theme) -> Figure:
    """Draw four grids over one image, and below what each of them reads."""
    scene = stnkit.affine_sample(digit(2), inverse(pose((0.1, -0.05), 0.8, -20.0)), (112, 112))
    points = control_lattice((4, 4))
    bent = points + 0.16 * np.random.default_rng(5).standard_normal((16, 2))
    cases = {
        "identity": np.eye(2, 3),
        "rotation": pose((0.0, 0.0), 1.0, -20.0),
        "attention": pose((0.1, -0.05), 0.55, 0.0),
        "thin plate spline": None,
    }
    figure = blank(9.2, 5.0)
    for (above, below), (title, matrix) in zip(figure.subplots(2, 4).T, cases.items(), strict=True):
        start, landed, read = (stnkit.affine_grid(np.eye(2, 3), (size, size)) for size in (SIDE, SIDE, FINE[0]))
        if matrix is None:
            landed, read = (
                stnkit.thin_plate_spline_grid(bent, points, lattice.shape[:2]) for lattice in (landed, read)
            )
        else:
            landed, read = (lattice @ matrix[:, :2].T + matrix[:, 2] for lattice in (landed, read))
        _points(above, scene[0], landed.reshape(-1, 2), 1.3)
        _points(below, stnkit.grid_sample(scene, read)[0], start.reshape(-1, 2), 1.3)
        if matrix is None:
            above.scatter(*bent.T, s=34, facecolors="none", edgecolors=theme.orange, linewidths=1.3, zorder=5)
        else:
            quad(above, matrix, theme.orange)
        above.set_title(title, color=theme.ink, fontsize=11)
    return figure


def _points(axes: Axes, picture: np.ndarray, points: np.ndarray, reach: float) -> None:
    bare(axes, (-reach, reach), (reach, -reach))
    axes.set_aspect("equal")
    axes.imshow(picture, extent=(-1, 1, 1, -1), cmap=inks(), vmin=0, vmax=1, interpolation="bilinear")
    colours = shades(SIDE).reshape(-1, 3)
    axes.scatter(*points.T, s=11, c=colours, edgecolors=NIGHT, linewidths=0.4, zorder=4, clip_on=False)


def pooling(theme: Theme) -> Figure:
    """Draw one digit in four poses, what three maxima over 2 x 2 leave of it, and what a transformer reads."""
    poses = [((0.0, 0.0), 0.7, 0.0), ((0.12, 0.08), 0.7, 0.0), ((-0.2, 0.15), 0.55, 0.0), ((0.05, 0.0), 0.75, 55.0)]
    names = ("a digit", "moved a little", "moved and smaller", "turned")
    figure = blank(7.4, 5.9)
    rows = figure.subplots(3, 4)
    for column, (name, place) in zip(rows.T, zip(names, poses, strict=True), strict=True):
        matrix = pose(*place)
        image = stnkit.affine_sample(digit(5), inverse(matrix), (56, 56))
        pooled = image[0].reshape(7, 8, 7, 8).max(axis=(1, 3))  # three times the largest of 2 x 2
        read = stnkit.affine_sample(image, matrix, (28, 28))[0]
        for axes, picture in zip(column, (image[0], pooled, read), strict=True):
            bare(axes, (-1.05, 1.05), (1.05, -1.05))
            axes.set_aspect("equal")
            axes.imshow(picture, extent=(-1, 1, 1, -1), cmap=inks(), vmin=0, vmax=1, interpolation="nearest")
        quad(column[0], matrix, theme.orange)
        column[0].set_title(name, color=theme.ink, fontsize=11)
    for axes, label in zip(rows[:, 0], ("56 × 56", "maxima,\n7 × 7", "read by a\ntransformer,\n28 × 28"), strict=True):
        axes.text(-1.2, 0, label, color=theme.soft, ha="right", va="center", fontsize=10, clip_on=False)
    return figure


def boxes(theme: Theme) -> Figure:
    """Draw an output in tiles, and the boxes of the image that some read under a rotation; one with a spline's halo."""
    n, tile = 96, 24
    matrix = pose((0.02, 0.0), 0.86, -20.0)
    scene = stnkit.affine_sample(digit(2), inverse(pose((0.1, -0.05), 0.8, -20.0)), (n, n))
    figure = blank(8.2, 3.7)
    left, right = figure.subplots(1, 2)
    places = {(0, 1): theme.blue, (1, 2): theme.orange, (2, 0): theme.teal, (3, 3): theme.rose}
    for axes, title in ((left, "output, in 16 tiles"), (right, "image, and what four of them read")):
        bare(axes, (-5, n + 4), (n + 4, -5))
        axes.set_aspect("equal")
        axes.set_title(title, color=theme.ink, fontsize=12)
    edges = (-0.5, n - 0.5, n - 0.5, -0.5)
    read = stnkit.affine_sample(scene, matrix, (n, n))[0]
    for axes, picture in ((left, read), (right, scene[0])):
        axes.imshow(picture, extent=edges, cmap=inks(), vmin=0, vmax=1, interpolation="bilinear")
    for j in range(4):
        for i in range(4):
            color = places.get((j, i), theme.line)
            corner = i * tile - 0.5, j * tile - 0.5
            left.add_patch(Rectangle(corner, tile, tile, fc="none", ec=color, lw=2.2 if (j, i) in places else 0.6))
    pixels = stnkit.affine_grid(matrix, (n, n))
    for (j, i), color in places.items():
        box = slice(j * tile, (j + 1) * tile), slice(i * tile, (i + 1) * tile)
        ends = pixels[box][[0, 0, -1, -1], [0, -1, -1, 0]]  # the corners of the tile
        right.add_patch(Polygon((ends + 1) / 2 * n - 0.5, fc=color, ec=color, alpha=0.35, lw=1))
        for mode, style in (("bilinear", "-"), ("spline3", ":"))[: 1 + (color == theme.orange)]:
            found = source_box("affine", matrix, box, (n, n), (n, n), mode=mode)
            if found is not None:
                y, x = found
                size = x.stop - x.start, y.stop - y.start
                right.add_patch(Rectangle((x.start - 0.5, y.start - 0.5), *size, fc="none", ec=color, lw=2, ls=style))
    return figure
