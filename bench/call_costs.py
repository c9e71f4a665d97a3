"""What a call costs besides its arithmetic: `python -m bench calls [--before PATH]`.

Sampling few numbers takes no time, so all of it goes into getting to the kernel and back: in microseconds, and in
Python functions entered on the way. Beside stands what the own function of torch or SciPy takes. `--before` measures
another checkout of stnkit in turn with this one. Writes JSON to `bench/results`, and the table to the documentation's
page on performance. A framework that is not installed is left out.
"""

import importlib.util
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from bench import sittings
from bench.tables import DASH, Table, figure

ROUNDS = 3  # processes for each framework, of which the median counts

# Both sides run these texts: each defines `sides`, calls of stnkit and of torch's own by their names.
COMMON = """
import json, statistics, sys, time
import numpy as np
import stnkit

rng = np.random.default_rng(0)
image, grid, cotangent = (rng.random(shape, np.float32) for shape in ((1, 1, 4, 4), (1, 2, 2, 2), (1, 1, 2, 2)))
theta = np.eye(2, 3, dtype=np.float32)[None]
"""
MEASURED = """
def microseconds(call, number=200, repeats=25):
    for _ in range(50):
        call()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(number):
            call()
        samples.append((time.perf_counter() - start) / number * 1e6)
    return min(samples)

def frames(call):
    entered = []
    sys.setprofile(lambda frame, event, _: entered.append(event) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    return len(entered) - 1  # but for the call's own

print(json.dumps({name: {"us": microseconds(call), "frames": frames(call)} for name, call in sides.items()}))
"""
NUMPY = """
sides = {
    "NumPy, grid_sample": lambda: stnkit.grid_sample(image, grid),
    "NumPy, affine_sample": lambda: stnkit.affine_sample(image, theta),
    "NumPy, grid_sample_vjp to the grid": lambda: stnkit.grid_sample_vjp(cotangent, image, grid, wrt="grid"),
}
"""
SCIPY = """
import scipy.ndimage
import stnkit.ndimage

plane, points = image[0, 0], rng.random((2, 10), np.float32) * 3
sides = {
    "NumPy, ndimage.map_coordinates at ten points":
        lambda: stnkit.ndimage.map_coordinates(plane, points, order=1),
    "own NumPy, ndimage.map_coordinates at ten points":
        lambda: scipy.ndimage.map_coordinates(plane, points, order=1),
    "NumPy, ndimage.shift": lambda: stnkit.ndimage.shift(plane, 0.5, order=1),
    "own NumPy, ndimage.shift": lambda: scipy.ndimage.shift(plane, 0.5, order=1),
}
"""
TORCH = """
import torch
from torch.nn.functional import grid_sample as own
import stnkit.torch.nn

image, grid, cotangent, theta = map(torch.from_numpy, (image, grid, cotangent, theta))
leaf, maps = grid.clone().requires_grad_(), torch.eye(3)[None].requires_grad_()
picture = torch.rand(1, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
layer = stnkit.torch.nn.AffineSample()
sides = {
    "torch, grid_sample, no gradient": lambda: stnkit.grid_sample(image, grid),
    "own torch, grid_sample, no gradient": lambda: own(image, grid, align_corners=False),
    "torch, grid_sample, forward and backward to the grid":
        lambda: torch.autograd.grad(stnkit.grid_sample(image, leaf), leaf, cotangent),
    "own torch, grid_sample, forward and backward to the grid":
        lambda: torch.autograd.grad(own(image, leaf, align_corners=False), leaf, cotangent),
    "torch, grid_sample of channels_last, forward and backward to the image":
        lambda: torch.autograd.grad(stnkit.grid_sample(picture, grid).sum(), picture),
    "own torch, grid_sample of channels_last, forward and backward to the image":
        lambda: torch.autograd.grad(own(picture, grid, align_corners=False).sum(), picture),
    "torch, projective_sample, forward and backward to theta":
        lambda: torch.autograd.grad(stnkit.projective_sample(image, maps).sum(), maps),
    "torch, the layer AffineSample, no gradient": lambda: layer(image, theta),
}
"""
JAX = """
import jax

image, grid = jax.numpy.asarray(image), jax.numpy.asarray(grid)
compiled = jax.jit(stnkit.grid_sample)
sides = {
    "JAX, grid_sample": lambda: stnkit.grid_sample(image, grid).block_until_ready(),
    "JAX, grid_sample in jax.jit": lambda: compiled(image, grid).block_until_ready(),
}
"""
SCRIPTS = {"numpy": NUMPY, "scipy": SCIPY, "torch": TORCH, "jax": JAX}


def measure(trees: sittings.Trees) -> dict[str, Any]:
    """Return the figures of each checkout."""
    rounds: dict[str, dict[str, list[Any]]] = {side: {} for side in trees}
    for framework in SCRIPTS:
        if importlib.util.find_spec(framework) is None:
            continue
        for _ in range(ROUNDS):
            for side, tree in trees.items():
                answer = sittings.answer(COMMON + SCRIPTS[framework] + MEASURED, tree)
                for name, found in answer.items():
                    rounds[side].setdefault(name, []).append(found)
    return {side: {name: _middle(found) for name, found in each.items()} for side, each in rounds.items()}


def _middle(found: list[dict[str, float]]) -> dict[str, float]:
    return {what: statistics.median(one[what] for one in found) for what in ("us", "frames")}


def table(sides: dict[str, Any]) -> Table:
    """Return what each call takes, with columns for each checkout."""
    rows = []
    for name in sides["now"]:
        if name.startswith("own "):
            continue
        own = sides["now"].get(f"own {name}")
        both = [(figure(found[name]["us"]), f"{found[name]['frames']:.0f}") for found in sides.values()]
        cells = [text for pair in both for text in pair]
        rows.append((name, *cells, figure(own["us"]) if own else DASH))
    columns = [text for side in sides for text in (f"{side}, us", f"{side}, frames")]
    return Table("What a call costs", ("call on 4 by 4 pixels", *columns, "torch's or SciPy's own, us"), rows)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    return sittings.main("calls", measure, table, words)


if __name__ == "__main__":
    sys.exit(main())
