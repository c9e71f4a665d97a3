"""Arrays as expressions, whose classes are private in Dask; imported where arrays are expressions."""

from collections.abc import Iterator
from typing import Any

from dask.array._array_expr._expr import ArrayExpr
from dask.base import tokenize


class Made(ArrayExpr):  # type: ignore[misc]  # Dask's classes have no types here
    """An array whose tasks a function makes of the names of others."""

    _parameters = ("prefix", "token", "make", "chunks", "meta")

    @property
    def _name(self) -> str:
        inputs = [one._name for one in self.dependencies()]  # which are others once they are lowered
        return f"{self.operand('prefix')}-{tokenize(self.operand('token'), inputs)}"

    @property
    def _meta(self) -> Any:
        return self.operand("meta")

    def _layer(self) -> dict[Any, Any]:
        made: dict[Any, Any] = self.operand("make")(self._name, [one._name for one in self.dependencies()])
        return made


def made_of(array: Any) -> Iterator[Any]:
    """Give what makes the tasks of each expression here that an array is made of."""
    yield from (one.operand("make") for one in array.expr.walk() if isinstance(one, Made))
