"""What is private in Dask: nodes of graphs, and whether arrays are expressions."""

import dask.array as da
from dask._task_spec import DataNode as DataNode
from dask._task_spec import GraphNode as GraphNode
from dask._task_spec import List as List
from dask._task_spec import Task as Task
from dask._task_spec import TaskRef as TaskRef


def has_expressions() -> bool:
    """Tell whether arrays are expressions, as the option `array.query-planning` has them since Dask was imported."""
    return bool(getattr(da, "ARRAY_EXPR_ENABLED", False))
