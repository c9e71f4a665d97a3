"""The same bits on any number of threads and run after run, where work is split into several parts."""

import numba
import numpy as np
import pytest

import stnkit
from stnkit.kernels.compiler import jit
from stnkit.kernels.cpu import busy, call, threads
from stnkit.spec import Spec


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """Let threads pay, however busy the machine is and small the work."""
    monkeypatch.setattr(threads.balance, "pauses", lambda now: False)
    monkeypatch.setattr(threads, "SMALL", 1)


def draw(images, grids, channels=4, size=(64, 64)):
    random = np.random.default_rng(0)
    batch = max(images, grids)
    image = random.uniform(-1, 1, (images, channels, 40, 40)).astype(np.float32)
    grid = random.uniform(-1.2, 1.2, (grids, *size, 2)).astype(np.float32)
    return random.uniform(-1, 1, (batch, channels, *size)).astype(np.float32), image, grid


def on_threads(call):
    """Return the results of a call on 1 to 4 threads, twice each."""
    results, before = [], numba.get_num_threads()
    try:
        for threads in sorted({1, 2, 3, numba.config.NUMBA_NUM_THREADS} & set(range(before + 1))):
            numba.set_num_threads(threads)
            results += [call(), call()]
    finally:
        numba.set_num_threads(before)
    assert len(results) > 2
    return results


@pytest.mark.parametrize(
    ("images", "grids"), [(3, 3), (1, 3), (3, 1), (1, 1), (9, 9)], ids=["each", "image", "grid", "plane", "many"]
)
def test_grid_sample(images, grids):
    """Shared images and grids, a single plane, and a batch whose two cotangents take one pass."""
    cotangent, image, grid = draw(images, grids)

    def call():
        out = stnkit.grid_sample(image, grid)
        return [out, *stnkit.grid_sample_vjp(cotangent, image, grid)]

    first, *others = on_threads(call)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_pass_is_two_passes():
    """Both cotangents at once are the same bits as one at a time."""
    cotangent, image, grid = draw(9, 9)
    together = stnkit.grid_sample_vjp(cotangent, image, grid)
    for bar, wrt, index in zip(together, ("image", "grid"), (0, 1), strict=True):
        np.testing.assert_array_equal(bar, stnkit.grid_sample_vjp(cotangent, image, grid, wrt=wrt)[index])


@pytest.mark.parametrize(("images", "maps"), [(3, 3), (3, 1)], ids=["each", "theta"])
def test_affine_sample(images, maps):
    cotangent, image, _ = draw(images, images)
    theta = np.random.default_rng(1).uniform(-1, 1, (maps, 2, 3)).astype(np.float32)

    def call():
        grid = stnkit.affine_grid(theta, (160, 160))
        out = stnkit.affine_sample(image, theta, (64, 64))
        bars = stnkit.affine_sample_vjp(cotangent, image, theta)
        return [grid, out, *bars, stnkit.affine_grid_vjp(grid)]

    first, *others = on_threads(call)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


KIND, WORK = (1, 20), 1 << 20
ALONE = busy.GUESS * WORK  # seconds


def losing(balance, now):
    """Let threads lose until there is a pause; return when it ends."""
    while not balance.pauses(now):
        balance.note_threads(KIND, WORK, 5 * ALONE, now)
    return balance.until


def test_threads_that_save_go_on():
    balance = busy.Balance()
    for now in range(1000):
        balance.note_threads(KIND, WORK, ALONE / 2, now)
        balance.note_threads(KIND, WORK, 1.9 * ALONE, now)  # which is no loss yet
    assert not balance.pauses(1000)
    assert balance.saved == busy.CREDIT


def test_threads_that_lose_pause_for_longer_and_longer():
    balance, lengths, now = busy.Balance(), [], 0.0
    for _ in range(6):
        end = losing(balance, now)
        assert balance.pauses(end - 1e-6)
        assert not balance.pauses(end)
        lengths.append(end - now)
        now = end
    assert lengths == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]
    while balance.saved < busy.CREDIT:
        balance.note_threads(KIND, WORK, ALONE / 2, now)
    assert losing(balance, now) - now == 0.25


def test_what_one_thread_takes_is_measured_in_a_pause():
    """A kernel that is slower than was guessed raises one alarm, and no more."""
    balance = busy.Balance()
    end = losing(balance, 0.0)
    balance.note_alone(KIND, WORK, 30 * ALONE)
    balance.note_alone(KIND, WORK, 8 * ALONE)
    for _ in range(100):
        balance.note_threads(KIND, WORK, 5 * ALONE, end)
    assert not balance.pauses(end)


@pytest.mark.parametrize("work", [1, 1 << 20], ids=["serial", "parallel"])
def test_a_kernel_that_finds_no_memory_says_so(work):
    """On any thread: of 16 chunks one has none."""

    def short(words, first, last):
        return call.SHORT_OF_MEMORY if first <= 11 < last else 0

    start = threads.launch(jit.kernel(short, Spec(1)), call.Arguments(chunks=16), work)
    with pytest.raises(MemoryError, match="'short' found no memory"):
        start(*[0] * call.SLOTS)
