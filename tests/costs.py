"""What each test file costs: the kernels it compiles and its CPU seconds, listed at the end of a run.

Kernels that another test has compiled come from the cache on disk, so a file is only charged for those it is first to
ask for.
"""

import os
import time
from collections import Counter

import pytest
from numba.core import event

LINES = 15
costs: dict[str, list] = {}  # by file: CPU seconds, those of compiling, names of what was compiled


def _cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


class _Compiling(event.Listener):
    """Notes what is compiled, but not what is compiled on the way to it."""

    def __init__(self) -> None:
        self.depth, self.began = 0, 0.0
        self.seconds, self.names = 0.0, []

    def on_start(self, passed: event.Event) -> None:
        if self.depth == 0:
            name = f"{passed.data['module']}.{passed.data['qualname']}{passed.data['args']}"
            if name not in self.names[-1:]:
                self.names.append(name)
            self.began = time.process_time()
        self.depth += 1

    def on_end(self, passed: event.Event) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.process_time() - self.began


_compiling = _Compiling()
event.register("numba:run_pass", _compiling)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    _compiling.seconds, _compiling.names, began = 0.0, [], _cpu()
    done = yield
    mine = costs.setdefault(item.path.name, [0.0, 0.0, []])
    mine[0] += _cpu() - began
    mine[1] += _compiling.seconds
    mine[2] += _compiling.names
    return done


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["costs"] = costs


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for name, theirs in getattr(node, "workeroutput", {}).get("costs", {}).items():
        costs[name] = [a + b for a, b in zip(costs.get(name, (0.0, 0.0, [])), theirs, strict=True)]


def pytest_terminal_summary(terminalreporter):
    if not costs:
        return
    terminalreporter.section("CPU seconds, of which compiling, and functions compiled")
    dear = sorted(costs, key=lambda name: -costs[name][0])
    for name in dear[:LINES]:
        terminalreporter.write_line("{:9.1f}{:9.1f}{:6}  {}".format(*costs[name][:2], len(costs[name][2]), name))
    total, compiling = (sum(cost[i] for cost in costs.values()) for i in (0, 1))
    names = Counter(name for cost in costs.values() for name in cost[2])
    about = f"all {len(costs)} files; {len(names)} functions differ"
    terminalreporter.write_line(f"{total:9.1f}{compiling:9.1f}{names.total():6}  {about}")
