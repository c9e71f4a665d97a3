"""Warps of a GPU on a CPU: 32 threads of Python, uncompiled, that wait for each other wherever a warp's threads must.

A thread that is missing there breaks the barrier, so that all of them raise.
"""

import contextlib
import importlib
import threading

import numpy as np

WARP, PATIENCE = 32, 20  # threads, and the seconds that they wait for each other

_own = threading.local()  # of a thread: its warp, and its number in that
_memory = threading.Lock()


class Warp:
    """What threads exchange their numbers through."""

    def __init__(self):
        self.barrier, self.places = threading.Barrier(WARP, timeout=PATIENCE), [None] * WARP

    def run(self, body, first):
        """Let each thread do one of the numbers from `first` on."""
        failures = []

        def one(lane):
            _own.warp, _own.lane = self, lane
            try:
                body(np.int32(first + lane))
            except Exception as error:
                failures.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=one, args=(lane,)) for lane in range(WARP)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise next((e for e in failures if not isinstance(e, threading.BrokenBarrierError)), failures[0])


def exchanged(value):
    """Return the number of this thread, and what all have."""
    warp = _own.warp
    warp.places[_own.lane] = value
    warp.barrier.wait()
    every = list(warp.places)
    warp.barrier.wait()
    return _own.lane, every


def before(x):
    lane, every = exchanged(x)
    return every[lane - 1]


def matched(left, right):
    lane, every = exchanged((left, right))
    here = lane > 0 and left >= 0 and every[lane - 1][1] == left
    after = lane < WARP - 1 and right >= 0 and every[lane + 1][0] == right
    return here + 2 * after


def add_triple(memory, at, offset, value, spec):
    lane, every = exchanged((at, offset, value))
    assert {one for one, *_ in every} == {at}
    for number in range(lane, 3 * WARP, WARP):
        _, there, values = every[number // 3]
        if there >= 0:
            place = at + there + number % 3
            with _memory:
                memory[place] += values[number % 3]


def put_triple(memory, at, end, value):
    lane, every = exchanged((at, value))
    for number in range(lane, 3 * WARP, WARP):
        first, values = every[number // 3]
        assert first == at + 3 * (number // 3 - lane)
        if first + number % 3 < end:
            memory[first + number % 3] = values[number % 3]


def warp_total(x):
    return sum(exchanged(x)[1])


def launch(factory, spec, items, arguments, stream, at):
    """Run warp after warp; of numbers that fill no whole warps, one after the other."""
    body = factory(spec)
    if items % WARP:
        for i in range(items):
            body(np.int32(i), *arguments)
    else:
        for first in range(0, items, WARP):
            Warp().run(lambda i: body(i, *arguments), first)


@contextlib.contextmanager
def in_warps(runtime, added):
    """Let what a room for GPUs launches run in warps; write down to `added` how many additions were alone."""
    rooms = {name: importlib.import_module(f"stnkit.kernels.cuda.{name}") for name in ("maps", "merging", "thread")}
    add = rooms["merging"].add

    def alone(*given):
        added.append(given[1])
        with _memory:
            add(*given)

    own = {
        "maps": {"warp_total": warp_total, "warp_size": lambda: WARP},
        "merging": {"before": before, "matched": matched, "add_triple": add_triple, "add": alone},
        "thread": {"put_triple": put_triple},
    }
    kept = {room: {name: getattr(rooms[room], name) for name in names} for room, names in own.items()}

    for room, names in own.items():
        vars(rooms[room]).update(names)
    runtime.WARP = WARP
    try:
        yield
    finally:
        for room, names in kept.items():
            vars(rooms[room]).update(names)
