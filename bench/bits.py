"""Whether results have the bits that they had: `python -m bench bits --save FILE`, and later `--compare FILE`.

Every public function is called on small arrays, of NumPy, and of torch and JAX where they are installed. The calls are
chosen so that each function meets each mode, number of axes and layout, and any other two choices meet at least once;
some are so large that threads take them. A file holds a hash of each result. Rounding depends on the processor and on
versions, so files are compared on one machine. `--tree` takes stnkit from another checkout.
"""

import argparse
import functools
import hashlib
import json
import multiprocessing
import random
import sys
from collections.abc import Callable, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from bench import calls, threads
from bench.cases import Case, Inputs

Call = dict[str, Any]  # choices by their names

SAMPLERS = tuple(
    f"{source}_sample.{derivative}"
    for source in ("grid", "affine", "flow", "projective", "thin_plate_spline")
    for derivative in ("forward", "vjp", "vjp_image", "vjp_source", "jvp", "double_vjp")
    if derivative != "double_vjp" or source in ("grid", "affine", "flow")
)
SPLATS = ("grid_splat.forward", "grid_splat.vjp", "grid_count.forward", "grid_gradient.forward")
GRIDS = tuple(
    f"{source}_grid.{derivative}"
    for source in ("affine", "flow", "projective", "thin_plate_spline")
    for derivative in ("forward", "vjp", "jvp")
)
FILTERS = ("spline_filter.forward", "spline_filter.vjp")
CHOICES: dict[str, tuple[Any, ...]] = {
    "function": SAMPLERS + SPLATS,
    "axes": (2, 1, 3),
    "mode": ("bilinear", "nearest", "bicubic"),
    "padding_mode": ("zeros", "border", "reflection", "wrap"),
    "align_corners": (False, True),
    "coords": ("normalized", "pixel"),
    "data_format": ("channels_first", "channels_last"),
    "dtype": ("float32", "float64", "float16", "uint8"),
    "channels": (1, 3, 16),
    "antialias": (0, 2),
}
# With these, operations and derivatives meet, but not each function: kernels are many.
APART = ("padding_mode", "dtype", "channels", "antialias", "align_corners", "coords")
DEFAULTS: Call = {name: values[0] for name, values in CHOICES.items()} | {"channels": 3}
EXTENTS: dict[int, tuple[int, ...]] = {1: (301,), 2: (19, 45), 3: (5, 7, 23)}
LARGE = (128, 160)  # the work of several threads
BOLD = 1.7  # how far maps reach beyond the image
TRIES = 40


def possible(call: Call) -> bool:
    """Tell whether a function has such a call."""
    operation, derivative = call["function"].split(".")
    if call["dtype"] == "uint8" and (derivative != "forward" or operation in ("grid_splat", "grid_count")):
        return False
    if call["antialias"] and operation.startswith("grid_"):
        return False
    return call["coords"] == "normalized" or operation.startswith("grid_")


def met(call: Call) -> list[tuple[Any, ...]]:
    """Return the pairs of choices that meet in a call."""
    operation, derivative = call["function"].split(".")
    choices = call | {"operation": operation, "derivative": derivative}
    pairs = combinations(choices.items(), 2)
    return [(a, b) for a, b in pairs if not (a[0] == "function" and b[0] in APART)]


def covering() -> list[Call]:
    """Return few calls in which any two choices meet that can: the same ones every time."""
    draw = random.Random(0)

    def drawn(**fixed: Any) -> list[Call]:
        tries = [{option: draw.choice(values) for option, values in CHOICES.items()} | fixed for _ in range(TRIES)]
        return [tried for tried in tries if possible(tried)]

    rest: dict[tuple[Any, ...], Call] = {}  # pairs that meet in no call that was chosen, and a call of each
    for first, second in combinations(CHOICES, 2):
        for one, other in product(CHOICES[first], CHOICES[second]):
            for call in drawn(**{first: one, second: other}):
                rest = dict.fromkeys(met(call), call) | rest
    chosen = []
    while rest:
        pair, call = next(iter(rest.items()))
        fixed = {"function": call["function"]} | {option: value for option, value in pair if option in CHOICES}
        chosen.append(max([call, *drawn(**fixed)], key=lambda call: len(rest.keys() & met(call))))
        for found in met(chosen[-1]):
            rest.pop(found, None)
    return chosen


@functools.cache
def cases() -> dict[str, tuple[Case, tuple[str, ...]]]:
    """Return every call as a case by its name, with the frameworks whose arrays it is given."""
    every = ("numpy", "torch", "jax")
    grids = [
        DEFAULTS | {"function": function, "axes": axes, "dtype": dtype, "align_corners": align}
        for function in GRIDS + FILTERS
        for axes, dtype, align in ((1, "float64", True), (2, "float32", False), (3, "float32", True))
    ]
    found = {name(call): (case(call), every) for call in [*covering(), *grids]}
    for function in (
        "grid_sample.forward", "grid_sample.vjp", "affine_sample.vjp", "flow_sample.jvp", "affine_sample.double_vjp",
        "thin_plate_spline_sample.vjp", "projective_grid.jvp", "grid_splat.vjp",
    ):  # fmt: skip
        call = DEFAULTS | {"function": function}
        found[f"{name(call)}/large"] = case(call)._replace(extent=LARGE, size=LARGE), every
    for dtype in ("int32", "uint16", "bool"):
        call = DEFAULTS | {"function": "affine_sample.forward", "mode": "nearest", "dtype": dtype}
        found[name(call)] = case(call), ("numpy",)
    return found


def name(call: Call) -> str:
    """Return a call's function, and its other choices where they are not the defaults."""
    return "/".join(str(value) for key, value in call.items() if key == "function" or value != DEFAULTS[key])


def case(call: Call) -> Case:
    """Return a call as a case, of two images."""
    operation, derivative = call["function"].split(".")
    rest = {key: value for key, value in call.items() if key not in ("function", "axes", "channels")}
    extent = EXTENTS[call["axes"]]
    return Case(name(call), 2, call["channels"], extent, extent, op=operation, derivative=derivative, **rest)


class Wide(Inputs):
    """The arrays of a case, with maps that reach beyond the image, and coordinates in the units of the case."""

    def _theta(self) -> np.ndarray:
        theta = super()._theta()
        return np.asarray(theta * BOLD, theta.dtype)

    def _grid(self) -> np.ndarray:
        grid = super()._grid()
        if self.case.coords == "normalized":
            return grid
        extent = np.array(self.case.extent[::-1], grid.dtype)
        return ((grid + 1) * extent - 1) / 2

    def _draw(self, seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if np.dtype(dtype).kind in "bi":
            return np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 1000, shape).astype(dtype)
        return super()._draw(seed, shape, dtype)


def into(framework: str) -> Callable[[np.ndarray], Any]:
    """Return what makes a framework's array of one of NumPy."""
    if framework == "torch":
        import torch

        return torch.from_numpy
    if framework == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax.numpy.asarray
    return np.asarray


def hashed(of: str, frameworks: Sequence[str]) -> dict[str, str]:
    """Return a hash of what a call gives in each framework; of one that raises, the error."""
    case, able = cases()[of]
    found = {}
    for framework in (one for one in frameworks if one in able):
        inputs, convert = Wide(case), into(framework)
        given = {key: inputs[key] for key in calls.arguments(case)}
        fixed = ("size", "control")  # no arrays, and constants
        arrays: Any = {key: value if key in fixed else convert(value) for key, value in given.items()}
        try:
            results = calls.stnkit(case, _Given(case, arrays)).call()
            found[f"{of} {framework}"] = digest(results)
        except Exception as error:
            found[f"{of} {framework}"] = f"{type(error).__name__}: {error}"
    return found


class _Given(Inputs):
    """Arrays that are there already."""

    def __init__(self, of: Case, arrays: dict[str, Any]) -> None:
        super().__init__(of)
        self._drawn = arrays


def digest(results: Any) -> str:
    """Hash the shapes, dtypes and bytes of arrays."""
    state = hashlib.sha256()
    for array in map(np.asarray, calls.results(results)):
        state.update(f"{array.shape} {array.dtype.name}".encode())
        state.update(array.tobytes())
    return state.hexdigest()[:16]


def recorded(frameworks: Sequence[str], processes: int, tree: Path) -> dict[str, str]:
    """Return the hashes of all calls, that several processes compile and make, of the stnkit of a checkout."""
    found: dict[str, str] = {}
    threads.fix(min(2, threads.usable()))
    with multiprocessing.get_context("spawn").Pool(processes, _taken_from, (tree,)) as pool:
        parts = pool.starmap_async(hashed, [(of, frameworks) for of in cases()], chunksize=8)
        for part in parts.get():
            found |= part
    return found


def _taken_from(tree: Path) -> None:
    sys.path.insert(0, str(tree))


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return a line for each call whose result is not the same, or that only one side has."""
    lines = [f"{of}: {was} before, {now.get(of, 'missing')} now" for of, was in before.items() if now.get(of) != was]
    return lines + [f"{of}: missing before" for of in now.keys() - before.keys()]


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status: 1 if any result has other bits."""
    parser = argparse.ArgumentParser(prog="python -m bench bits", description="Record or compare the bits of results.")
    do = parser.add_mutually_exclusive_group(required=True)
    do.add_argument("--save", metavar="FILE", type=Path, help="write a hash of each result")
    do.add_argument("--compare", metavar="FILE", type=Path, help="name the results that differ from those of a file")
    parser.add_argument(
        "--frameworks",
        metavar="NAME,NAME",
        default="numpy,torch",
        help="of numpy, torch and jax, which compiles as much again",
    )
    parser.add_argument("--tree", metavar="PATH", type=Path, default=Path.cwd(), help="the checkout; else this one")
    parser.add_argument("--processes", metavar="N", type=int, default=min(2, threads.usable()))
    options = parser.parse_args(words)
    now = recorded(options.frameworks.split(","), options.processes, options.tree.resolve())
    if options.save:
        options.save.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{len(now)} results: {options.save}")
        return 0
    lines = differences(json.loads(options.compare.read_text(encoding="utf-8")), now)
    print(*lines, f"{len(now)} results, {len(lines)} differ", sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
