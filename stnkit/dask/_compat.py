"""What is private in Dask: nodes of graphs, and arrays as expressions."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import dask.array as da
from dask._task_spec import DataNode as DataNode
from dask._task_spec import GraphNode as GraphNode
from dask._task_spec import List as List
from dask._task_spec import Task as Task
from dask._task_spec import TaskRef as TaskRef

Make = Callable[[str, Sequence[str]], dict[Any, Any]]


def has_expressions() -> bool:
    """Tell whether arrays are expressions, as the option `array.query-planning` has them since Dask was imported."""
    return bool(getattr(da, "ARRAY_EXPR_ENABLED", False))


def expression(prefix: str, token: str, make: Make, chunks: Any, meta: Any, inputs: Sequence[Any]) -> Any:
    """Return an array that is an expression of others."""
    return da.Array(_made()(prefix, token, make, chunks, meta, *(one.expr for one in inputs)))


@cache
def _made() -> Any:
    from dask.array._array_expr._expr import ArrayExpr

    class Made(ArrayExpr):  # type: ignore[misc]  # Dask's classes have no types here
        """An array whose tasks a function makes of the names of others."""

        _parameters = ("prefix", "token", "make", "chunks", "meta")

        @property
        def _name(self) -> str:
            return f"{self.operand('prefix')}-{self.operand('token')}"

        @property
        def _meta(self) -> Any:
            return self.operand("meta")

        def _layer(self) -> dict[Any, Any]:
            return self.operand("make")(self._name, [one._name for one in self.dependencies()])  # type: ignore[no-any-return]

    return Made
