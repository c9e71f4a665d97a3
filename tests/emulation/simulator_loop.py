"""Kernels in numba-cuda's simulator: blocks of threads, and the loop in which each takes the items that are its own.

The simulator runs Python, so a warp is one thread here. Sums that threads share are left out: its threads are
Python's, which may interrupt each other between a read and a write.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from emulation.pretended import lent, pretended, returned
from numba import cuda

import stnkit
import stnkit.kernels.cuda.runtime  # of the kernels' room for GPUs
from stnkit.kernels.cuda import runtime

BLOCK = 4
RANDOM = np.random.default_rng(0)


class Swapped:
    """What the simulator's threads see as `numba.cuda`: it is put among the globals of the room a kernel is from."""

    def __getattr__(self, name):
        return getattr(vars(runtime)["cuda"], name)


@pytest.fixture(params=[1, 3, 32], ids="{} blocks".format)
def launched(request, monkeypatch):
    """Launch so many blocks of a few threads, fewer than there are items, or more; return what is launched."""
    monkeypatch.setattr(runtime, "cuda", cuda, raising=False)
    record = []

    def launch(factory, spec, items, arguments, stream, at):
        record.append((factory.__name__, items))
        thread = factory(spec)
        kernel = runtime._kernel(lambda i, arguments: thread(i, *arguments))
        cuda.jit(kernel)[request.param, BLOCK](np.int32(items), arguments)

    with pretended(), monkeypatch.context() as patch:
        driver = runtime.tools().driver
        patch.setattr(runtime, "launch", launch)
        patch.setattr(runtime, "tools", lambda: SimpleNamespace(cuda=Swapped(), driver=driver))
        yield record


def compare(function, *arguments, **options):
    """Compare with the CPU's loops, bit for bit."""
    results, expected = returned(function(*map(lent, arguments), **options)), function(*arguments, **options)
    if isinstance(expected, tuple):
        assert all(np.array_equal(result, wanted) for result, wanted in zip(results, expected, strict=True))
    else:
        np.testing.assert_array_equal(results, expected)


def test_each_item_is_done_by_a_thread(launched):
    image, image_dot = RANDOM.uniform(-1, 1, (2, 1, 2, 4, 5)).astype("float32")
    grid, grid_dot = RANDOM.uniform(-1, 1, (2, 1, 3, 6, 2)).astype("float32")
    theta = RANDOM.uniform(-1, 1, (1, 3, 3))
    compare(stnkit.grid_sample, image, grid, padding_mode="reflection")
    compare(stnkit.grid_sample_jvp, image, grid, image_dot, grid_dot)
    compare(stnkit.projective_sample, image.astype(float), theta, (3, 6))
    compare(stnkit.projective_grid, theta, (3, 6))
    items = dict(launched)
    assert {name: items[name] for name in ("sample", "sample_jvp", "grid")} == {
        "sample": 18,
        "sample_jvp": 18,
        "grid": 18,
    }
