"""How a case is measured: results are compared first, then every side is timed in turn, in one process.

Medians and quartiles are kept, in seconds. A ratio is that of medians. The floor of a case is its bytes, each input
read once and each output written once, over the bandwidth of a large copy.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from bench import calls
from bench.agreement import disagreement
from bench.cases import Case, Inputs
from bench.peers import Peer

Call = Callable[[], Any]
Record = dict[str, Any]


class Effort(NamedTuple):
    """How long to look at a case."""

    seconds: float  # of timing, all sides together
    least: int  # rounds, however long they take
    most: int = 101
    sample: float = 5e-3  # seconds; a side that is quicker is called several times for one sample


THOROUGH, QUICK = Effort(3.0, 5), Effort(0.15, 3, 21, 2e-4)


def in_turn(sides: dict[str, Call], effort: Effort) -> tuple[dict[str, Record], dict[str, Exception]]:
    """Time all sides in turn.

    Each round begins with another side, so that none always follows the same one. A side that raises is left out
    from there on.

    Returns
    -------
    times, errors : dict
        Median and quartiles of each side's seconds for one call, and what the others raised.

    """
    running, errors, numbers = dict(sides), {}, {}
    for name, call in sides.items():
        try:
            call()
            numbers[name] = max(1, int(effort.sample / _seconds(call, 1)))
        except Exception as error:
            errors[name] = error
            del running[name]
    samples: dict[str, list[float]] = {name: [] for name in running}
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for rounds in range(effort.most):
            if rounds >= effort.least and time.perf_counter() - start > effort.seconds:
                break
            names = list(running)
            first = rounds % max(1, len(names))
            for name in names[first:] + names[:first]:
                try:
                    samples[name].append(_seconds(running[name], numbers[name]))
                except Exception as error:
                    errors[name] = error
                    del running[name]
    finally:
        gc.enable()
    return {name: spread(samples[name]) for name in running}, errors


def _seconds(call: Call, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def spread(samples: list[float]) -> Record:
    """Return the median and the quartiles of some seconds."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def bandwidth(threads: int, size: int = 2**28, rounds: int = 9) -> float:
    """Return the bytes that a copy of a large array reads and writes in a second, on some threads."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            for _ in pool.map(lambda part: np.copyto(part[1], part[0]), parts):
                pass

        copy()
        return 2 * size / statistics.median(_seconds(copy, 1) for _ in range(rounds))


def measure(case: Case, peers: Iterable[Peer], copied: float, effort: Effort) -> Record:
    """Compare and time stnkit and its peers on a case.

    A peer that raises, or whose results differ by more than its tolerance, has a failure in its record and is not
    timed. A peer that does not have the case has no record.

    Parameters
    ----------
    case : Case
        What to compute.
    peers : iterable of Peer
        Whom to compare with.
    copied : float
        The bandwidth of a copy, in bytes per second.
    effort : Effort
        How long to look.

    Returns
    -------
    dict
        What JSON can hold: seconds, bytes, ratios.

    """
    inputs = Inputs(case)
    record: Record = {"name": case.name, "peers": {}}
    try:
        mine = calls.stnkit(case, inputs)
        expected = mine.arrays(mine.call())
    except Exception as error:
        return record | {"stnkit": failure(error)}
    given = (inputs[name] for name in calls.arguments(case))
    moved = sum(array.nbytes for array in (*given, *expected) if isinstance(array, np.ndarray))
    sides = {"stnkit": mine.call}
    for peer in peers:
        try:
            theirs = peer.side(case, inputs)
            if theirs is None:
                continue
            differs = disagreement(case, expected, theirs.arrays(theirs.call()), peer.tolerances[case.dtype])
        except Exception as error:
            record["peers"][peer.name] = failure(error)
            continue
        if differs is None:
            sides[peer.name] = theirs.call
        else:
            record["peers"][peer.name] = differs
    del expected
    times, errors = in_turn(sides, effort)
    times |= {name: failure(error) for name, error in errors.items()}
    record["stnkit"] = times.pop("stnkit")
    record |= {"bytes": moved, "floor": moved / copied}
    if "median" in record["stnkit"]:
        own = record["stnkit"]["median"]
        record["fraction"] = record["floor"] / own
        times = {n: t | {"ratio": t["median"] / own} if "median" in t else t for n, t in times.items()}
    record["peers"] |= times
    return record


def failure(error: Exception) -> Record:
    """Return the record of a side that raised."""
    return {"failure": "error", "reason": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}
