"""Few of many combinations, in which every two values that can meet do.

A fault mostly takes one value to show, or two that meet: all combinations take many times as long, and find few more.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest


def covering(
    found: dict[Any, frozenset[Any]], first: Sequence[Any] = (), cost: Callable[[Any], float] = lambda item: 1.0
) -> list[Any]:
    """Choose few items in which all pairs of the others meet: those named, then one that adds the most for its cost.

    What an item adds never grows, so that only those which added the most when they were last looked at are looked at.
    """
    rest = set().union(*found.values())
    chosen = list(first)
    rest -= set().union(*(found[item] for item in first))
    queue = [(-len(met) / cost(item), place, item) for place, (item, met) in enumerate(found.items())]
    heapq.heapify(queue)
    while rest:
        _, place, item = queue[0]
        adds = len(found[item] & rest) / cost(item)
        heapq.heapreplace(queue, (-adds, place, item))
        if queue[0][1] == place:
            chosen.append(item)
            rest -= found[item]
    return chosen


def every_two_of(exist: Callable[..., bool] | None = None, /, **axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize a test by few combinations, in which every two values of different axes meet, if they can.

    An axis is an argument, or arguments that belong together, as `d_mode=[(1, "nearest"), ...]` for `d` and `mode`.
    `exist` tells of a combination whether there is one.
    """
    values = [list(axis) for axis in axes.values()]
    everything = itertools.product(*(range(len(axis)) for axis in values))
    found = {}
    for places in everything:
        row = [axis[place] for axis, place in zip(values, places, strict=True)]
        if exist is None or exist(*row):
            found[places] = frozenset(itertools.combinations(enumerate(places), 2))
    names = [name.split("_") for name in axes]
    rows = [
        tuple(
            one
            for name, axis, place in zip(names, values, places, strict=True)
            for one in (axis[place] if len(name) > 1 else (axis[place],))
        )
        for places in sorted(covering(found))
    ]
    return pytest.mark.parametrize([one for name in names for one in name], rows)
