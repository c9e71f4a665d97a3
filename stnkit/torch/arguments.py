"""The words of a call: as users say them, and as the schema of an operation has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.torch.operations import Operation

Options = dict[str, Any]

_NUMBER = (int, float)  # as a tuple: torch's compiler cannot read a union before 2.9


def in_schema(operation: Operation, options: Options) -> Options:
    """Return options in the types of a schema, where one word for all axes, and one number, are lists of one."""
    if "padding_mode" not in operation.options:
        return options
    listed = {**options, "padding_mode": _names(options.get("padding_mode", operation.options["padding_mode"]))}
    if "fill_value" in options:
        listed["fill_value"] = _numbers(options["fill_value"])
    return listed


def in_speech(schema: Options) -> Options:
    """Return options as the public functions take them."""
    return {word: _one(value) if word in ("padding_mode", "fill_value") else value for word, value in schema.items()}


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _names(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _numbers(given: Any) -> list[float]:
    if isinstance(given, _NUMBER):
        return [float(given)]
    validation.constant(given)
    return [float(value) for value in np.atleast_1d(np.asarray(given)).tolist()]
