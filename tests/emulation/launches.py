"""What a driver reads of a launch: arguments at the addresses that it is told, where a kernel's signature puts them."""

import ctypes
from collections.abc import Iterator
from typing import Any

from numba import types

END, POINTER, SIZE = 0, 1, 2  # CU_LAUNCH_PARAM_...
INTEGERS = {types.int32: ctypes.c_int32, types.int64: ctypes.c_int64}


def unpacked(extra: int, signature: Any) -> list[int]:
    """Return the arguments that `cuLaunchKernel` is handed as `extra`, each at a multiple of its size."""
    name, buffer, other, size, end = (ctypes.c_uint64 * 5).from_address(extra)
    assert (name, other, end) == (POINTER, SIZE, END)
    found, offset = [], 0
    for kind in map(INTEGERS.__getitem__, _flat(signature.args)):
        offset += -offset % ctypes.sizeof(kind)
        found.append(kind.from_address(buffer + offset).value)
        offset += ctypes.sizeof(kind)
    assert ctypes.c_size_t.from_address(size).value == offset
    return found


def nested(numbers: list[int], template: tuple[int, ...]) -> tuple[Any, ...]:
    """Return a kernel's arguments as they were before they were put one after another."""
    rest = iter(numbers)
    found = tuple(tuple(next(rest) for _ in range(length)) if length else next(rest) for length in template)
    assert next(rest, None) is None
    return found


def _flat(kinds: Any) -> Iterator[Any]:
    for kind in kinds:
        if isinstance(kind, types.BaseTuple):
            yield from _flat(kind.types)
        else:
            yield kind
