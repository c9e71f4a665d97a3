"""What other processes on all cores do to a training step: `python -m bench busy [--before PATH]`.

A training step of affine maps, to image and theta, on (64, 1, 32, 32) images of torch on two threads is timed alone,
and beside as many processes that are always busy as there are threads. GNU OpenMP reads how its threads wait when it is
loaded, so each policy has a process of its own. `--before` measures another checkout of stnkit as well. Writes JSON to
`bench/results`, and the table to the documentation's page on performance.
"""

import sys
from collections.abc import Sequence
from typing import Any

from bench import sittings
from bench.tables import Table, figure

POLICIES: dict[str, dict[str, str]] = {
    "none": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}

SCRIPT = """
import json, subprocess, sys, time
import torch
from torch.nn import functional
import numba, stnkit

THREADS, ALONE, BESIDE = 2, 1.0, 3.0
torch.set_num_threads(THREADS)
numba.set_num_threads(THREADS)
random = torch.Generator().manual_seed(0)
image, cotangent = (torch.rand(64, 1, 32, 32, generator=random) for _ in range(2))
theta = torch.eye(2, 3) + 0.1 * torch.randn(64, 2, 3, generator=random)
wanted = image.requires_grad_(), theta.requires_grad_()

def own():
    grid = functional.affine_grid(theta, image.shape, align_corners=False)
    return functional.grid_sample(image, grid, align_corners=False)

sides = {"stnkit": lambda: stnkit.affine_sample(image, theta), "torch": own}

def mean(sample, seconds):
    for _ in range(5):
        torch.autograd.grad(sample(), wanted, cotangent)
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        torch.autograd.grad(sample(), wanted, cotangent)
        steps += 1
    return (time.perf_counter() - start) / steps

alone = {name: mean(sample, ALONE) for name, sample in sides.items()}
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(THREADS)]
try:
    time.sleep(0.5)
    beside = {name: mean(sample, BESIDE) for name, sample in sides.items()}
finally:
    for process in busy:
        process.kill()
print(json.dumps({name: {"alone": alone[name], "beside": beside[name]} for name in sides}))
"""


def measure(trees: sittings.Trees) -> dict[str, Any]:
    """Return the figures of each checkout by policy."""
    return {
        side: {policy: sittings.answer(SCRIPT, tree, **POLICIES[policy]) for policy in policies}
        for side, policies in {side: POLICIES if side == "now" else ["none"] for side in trees}.items()
        for tree in [trees[side]]
    }


def table(sides: dict[str, Any]) -> Table:
    """Return the mean milliseconds of a step alone and beside busy processes, and how they compare."""
    lines = {("torch", policy): found["torch"] for policy, found in sides["now"].items()}
    for side, policies in sides.items():
        name = "stnkit" if len(sides) == 1 else f"stnkit, {side}"
        lines |= {(name, policy): found["stnkit"] for policy, found in policies.items()}
    rows = []
    for (name, policy), found in lines.items():
        alone, beside = found["alone"], found["beside"]
        rows.append((name, policy, figure(alone * 1e3), figure(beside * 1e3), figure(beside / alone)))
    return Table("Busy machines", ("side", "setting", "alone, ms", "beside two busy processes, ms", "times"), rows)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    return sittings.main("busy", measure, table, words)


if __name__ == "__main__":
    sys.exit(main())
