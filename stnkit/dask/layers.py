"""Arrays whose graphs stay small until they run: what makes their tasks, in place of the tasks."""

import functools
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph, Layer

from stnkit.dask._compat import GraphNode, has_expressions
from stnkit.dask.axes import Chunks

Key = Any
Graph = dict[Key, GraphNode]
Make = Callable[[str, Sequence[str]], Graph]  # from the name of an array, and those of the arrays that it is made of


class Lazy(Layer):  # type: ignore[misc]  # Dask's classes have no types here
    """A layer that makes its tasks when one is asked for. Only how they are made is sent to a scheduler."""

    def __init__(self, make: functools.partial[Graph], name: str, counts: tuple[int, ...]) -> None:
        super().__init__()
        self.make, self.name, self.counts = make, name, counts

    @functools.cached_property
    def tasks(self) -> Graph:
        """All tasks by their keys."""
        return self.make()

    def __getitem__(self, key: Key) -> GraphNode:
        return self.tasks[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "tasks"}

    def is_materialized(self) -> bool:
        """Tell whether tasks were made."""
        return "tasks" in self.__dict__

    def get_output_keys(self) -> Set[Key]:
        """Return the keys that other layers may name, without making tasks."""
        return {(self.name, *index) for index in product(*map(range, self.counts))}


def array(prefix: str, token: str, make: Make, chunks: Chunks, meta: Any, inputs: Sequence[Any]) -> Any:
    """Return a Dask array in chunks of some sizes, whose tasks `make` gives; `inputs` are the arrays that they read."""
    if has_expressions():
        from stnkit.dask._expressions import Made

        return da.Array(Made(prefix, token, make, chunks, meta, *(one.expr for one in inputs)))
    name = f"{prefix}-{token}"
    layer = Lazy(functools.partial(make, name, [one.name for one in inputs]), name, tuple(map(len, chunks)))
    graph = HighLevelGraph.from_collections(name, layer, dependencies=list(inputs))
    return da.Array(graph, name, chunks, meta=meta)


def blank(like: Any, ndim: int, dtype: np.dtype[Any]) -> Any:
    """Return an empty array that says of which kind chunks are: those of an array, or NumPy's."""
    meta = getattr(like, "_meta", None)
    shape = (0,) * ndim
    return np.empty(shape, dtype) if meta is None else np.empty_like(meta, shape=shape, dtype=dtype)


def makers(array: Any) -> Iterator[functools.partial[Graph]]:
    """Give what makes the tasks of each array here that an array is made of."""
    if has_expressions():
        from stnkit.dask._expressions import made_of

        yield from made_of(array)
    else:
        yield from (layer.make for layer in array.dask.layers.values() if isinstance(layer, Lazy))
