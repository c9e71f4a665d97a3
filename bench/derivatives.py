"""What derivatives and formats cost, beside the forward pass and beside torch: `python -m bench.derivatives`.

Both sides of a ratio run in one process, in turn, on two threads, after their results were compared; a ratio is that
of medians. Extra memory is what the peak of a process of its own rises by, over the arrays that are there before.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a pool that waits must not hold the other's cores

SHAPE = (16, 16, 64, 64)
WIDE = (16, 64, 64, 64)
REPEATS = 21


def data(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    image, cotangent, image_dot = (random.standard_normal(shape, dtype=np.float32) for _ in range(3))
    grid, grid_dot = (random.uniform(-1, 1, (shape[0], *shape[2:], 2)).astype(np.float32) for _ in range(2))
    return image, grid, cotangent, image_dot, grid_dot


def second_orders(shape: tuple[int, ...] = SHAPE) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the double backward of bilinear 2-D sampling, stnkit's and torch's, on the same arrays."""
    import torch
    from torch.nn import functional

    import stnkit

    torch.set_num_threads(2)
    image, grid, cotangent, image_dot, grid_dot = data(shape)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (cotangent, image, grid)]
    g, i, u = tensors
    out = functional.grid_sample(i, u, align_corners=False)
    first = torch.autograd.grad(out, (i, u), g, create_graph=True)
    dots = torch.from_numpy(image_dot), torch.from_numpy(grid_dot)

    def theirs() -> Any:
        return torch.autograd.grad(first, tensors, dots, retain_graph=True)

    def ours() -> Any:
        return stnkit.grid_sample_double_vjp(image_dot, grid_dot, cotangent, image, grid)

    return ours, theirs


def ratio(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[float, float]:
    """Return the median time of `one`, and how many times as long `other` takes."""
    times: tuple[list[float], list[float]] = [], []
    for _ in range(REPEATS):
        for call, seconds in zip((one, other), times, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    first, second = map(statistics.median, times)
    return first, second / first


def peak() -> int:
    """Return the peak of this process' memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def extra_memory(side: str) -> float:
    """Return by how much the peak rises for one double backward, in MiB, in a process of its own."""
    command = [sys.executable, "-m", "bench.derivatives", side]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_extra(side: str) -> None:
    """Print by how much the peak rises; a first call, of a small size, has loaded what is loaded once."""
    for call in second_orders((2, 16, 32, 32)):
        call()
    ours, theirs = second_orders()
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what is in use now
    before = peak()
    result = ours() if side == "stnkit" else theirs()
    print((peak() - before) / 2**20)
    del result


def main() -> None:
    import stnkit

    table = Table("what", "stnkit", "ratio", title="derivatives and formats, float32 bilinear 2-D")
    ours, theirs = second_orders()
    for mine, reference in zip(ours(), theirs(), strict=True):
        np.testing.assert_allclose(mine, reference.numpy(), rtol=1e-3, atol=1e-3)
    seconds, factor = ratio(ours, theirs)
    table.add_row(f"double vjp {SHAPE}: torch / stnkit", f"{seconds * 1e3:.2f} ms", f"{factor:.2f}")
    memory = extra_memory("stnkit"), extra_memory("torch")
    table.add_row("  extra memory: stnkit / torch", f"{memory[0]:.1f} MiB", f"{memory[0] / memory[1]:.2f}")

    image, grid, cotangent, image_dot, grid_dot = data(SHAPE)

    def forward() -> Any:
        return stnkit.grid_sample(image, grid)

    def both() -> Any:
        return stnkit.grid_sample_vjp(cotangent, image, grid)

    rows: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "jvp / forward": (forward, lambda: stnkit.grid_sample_jvp(image, grid, image_dot, grid_dot)),
        "vjp to image / both": (both, lambda: stnkit.grid_sample_vjp(cotangent, image, grid, wrt="image")),
        "vjp to grid / both": (both, lambda: stnkit.grid_sample_vjp(cotangent, image, grid, wrt="grid")),
    }
    wide, wide_grid, *_ = data(WIDE)
    from ml_dtypes import bfloat16

    for dtype in (np.float16, bfloat16):
        half = wide.astype(dtype)
        rows[f"{np.dtype(dtype).name} / float32 forward {WIDE}"] = (
            lambda: stnkit.grid_sample(wide, wide_grid),
            lambda half=half: stnkit.grid_sample(half, wide_grid),
        )
    for name, (one, other) in rows.items():
        one(), other()
        seconds, factor = ratio(one, other)
        table.add_row(name, f"{seconds * 1e3:.2f} ms", f"{factor:.2f}")
    Console().print(table)


if __name__ == "__main__":
    measure_extra(sys.argv[1]) if len(sys.argv) > 1 else main()
