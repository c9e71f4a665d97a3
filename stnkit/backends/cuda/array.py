"""Whose memory on a GPU: arrays of any framework as addresses, shapes and strides, and results in their framework.

What NumPy arrays are to the folders above for main memory, these are for a GPU's. They know no arithmetic but by its
names: see `ARITHMETIC`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from stnkit.plans.strides import gapless, is_gapless

Shape = tuple[int, ...]

# What takes kernels, by NumPy's names: the module that launches them adds them when it is imported.
ARITHMETIC: dict[Any, Callable[..., Any]] = {}

LEGACY = 1  # the stream that all others but those that say so wait for


class DeviceContext(NamedTuple):
    """Where arrays lie, how their framework allocates there, and on which stream it works."""

    framework: str
    device: int
    stream: int
    allocate: Callable[[Shape, np.dtype[Any]], tuple[int, Any]]  # returns the address, and the array that owns it
    export: Callable[["DeviceArray"], Any]  # hands an array that was allocated so over to the framework
    trace: Any = None  # is told what is done here, if there is one

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> "DeviceArray":
        """Allocate an array without gaps."""
        address, owner = self.allocate(shape, dtype)
        if self.trace is not None:
            self.trace.allocated(address, shape, dtype)
        return DeviceArray(address, shape, gapless(shape, dtype.itemsize), dtype, self, owner)


class Flags(NamedTuple):
    """What NumPy tells of an array's memory."""

    writeable: bool
    c_contiguous: bool
    aligned: bool


class DeviceArray:
    """An array in a GPU's memory, which its owner keeps. Its attributes are those of a NumPy array."""

    __slots__ = ("address", "context", "dtype", "owner", "readonly", "shape", "strides")

    def __init__(
        self,
        address: int,
        shape: Shape,
        strides: Shape,
        dtype: np.dtype[Any],
        context: DeviceContext,
        owner: Any,
        readonly: bool = False,
    ) -> None:
        self.address, self.shape, self.strides, self.dtype = address, shape, strides, dtype
        self.context, self.owner, self.readonly = context, owner, readonly

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """How many bytes a number has."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """How many bytes the numbers have."""
        return self.size * self.dtype.itemsize

    @property
    def flags(self) -> Flags:
        """What can be done with the memory."""
        steps = (self.address, *(s for n, s in zip(self.shape, self.strides, strict=True) if n > 1))
        aligned = not any(step % self.itemsize for step in steps)
        return Flags(not self.readonly, is_gapless(self.shape, self.strides, self.itemsize), aligned)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | tuple[Any, ...] | None) -> "DeviceArray":
        """Add an axis before the first, take one or some of its items, or ranges along several axes."""
        if index is None:
            return self.view((1, *self.shape), (0, *self.strides))
        if isinstance(index, tuple):
            return self._part(index)
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            shape = (max(last - first, 0), *self.shape[1:])
            return self.view(shape, self.strides, first * self.strides[0])
        return self.view(self.shape[1:], self.strides[1:], index * self.strides[0])

    def _part(self, index: tuple[Any, ...]) -> "DeviceArray":
        """Take ranges along the axes before and after an ellipsis."""
        at = index.index(...)
        index = (*index[:at], *[slice(None)] * (self.ndim - len(index) + 1), *index[at + 1 :])
        spans = [cut.indices(n)[:2] for cut, n in zip(index, self.shape, strict=True)]
        offset = sum(first * step for (first, _), step in zip(spans, self.strides, strict=True))
        return self.view(tuple(max(last - first, 0) for first, last in spans), self.strides, offset)

    def __add__(self, other: "DeviceArray | float") -> "DeviceArray":
        total: DeviceArray = ARITHMETIC[np.add](self, other)
        return total

    __radd__ = __add__  # of `sum`, which begins with 0

    def __iadd__(self, other: "DeviceArray | float") -> "DeviceArray":
        total: DeviceArray = ARITHMETIC[np.add](self, other, out=self)
        return total

    def __sub__(self, other: "DeviceArray") -> "DeviceArray":
        difference: DeviceArray = ARITHMETIC[np.subtract](self, other)
        return difference

    def __mul__(self, factor: float) -> "DeviceArray":
        product: DeviceArray = ARITHMETIC[np.multiply](self, factor)
        return product

    def __truediv__(self, divisor: float) -> "DeviceArray":
        quotient: DeviceArray = ARITHMETIC[np.divide](self, divisor)
        return quotient

    def __neg__(self) -> "DeviceArray":
        return self * -1.0

    def view(self, shape: Shape, strides: Shape, offset: int = 0) -> "DeviceArray":
        """View the memory, from `offset` bytes on, in another shape."""
        at = self.address + offset
        return DeviceArray(at, shape, strides, self.dtype, self.context, self.owner, self.readonly)

    def reshape(self, shape: Shape) -> "DeviceArray":
        """View an array without gaps, or one with other axes of one item, in another shape."""
        if shape == self.shape:
            return self
        if self.flags.c_contiguous:
            return self.view(shape, gapless(shape, self.itemsize))
        kept = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        assert tuple(n for n, _ in kept) == tuple(n for n in shape if n != 1), "only axes of one item may differ"
        steps = iter([s for _, s in kept])
        return self.view(shape, tuple(0 if n == 1 else next(steps) for n in shape))

    def transpose(self, axes: Shape) -> "DeviceArray":
        """View the axes in another order."""
        return self.view(tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Share the memory with any framework that reads this."""
        return {
            "version": 3,
            "shape": self.shape,
            "strides": self.strides,
            "typestr": self.dtype.str,
            "data": (self.address, self.readonly),
            "stream": self.context.stream or LEGACY,
        }

    def __array_function__(self, function: Any, kinds: Any, arrays: Any, options: Any) -> Any:
        """Do what NumPy does with the layout of arrays, and what there is a kernel for, and nothing else."""
        known = _LAYOUTS.get(function) or ARITHMETIC.get(function)
        return NotImplemented if known is None else known(*arrays, **options)


def broadcast_to(array: DeviceArray, shape: Shape) -> DeviceArray:
    """View an array in a shape that it is broadcast to."""
    missing = len(shape) - array.ndim
    pairs = zip(array.shape, array.strides, shape[missing:], strict=True)
    return array.view(shape, (0,) * missing + tuple(s if n == m else 0 for n, s, m in pairs))


def squeeze(array: DeviceArray, axis: int) -> DeviceArray:
    """View an array without an axis of one item."""
    at = axis % array.ndim
    kept = [k for k in range(array.ndim) if k != at]
    return array.view(tuple(array.shape[k] for k in kept), tuple(array.strides[k] for k in kept))


def overlap(one: DeviceArray, other: DeviceArray) -> bool:
    """Tell whether two arrays reach into the same stretch of memory."""
    (a, b), (c, d) = reach(one), reach(other)
    return a < d and c < b


def reach(array: DeviceArray) -> tuple[int, int]:
    """Return where an array's memory begins and ends."""
    if not array.size:
        return array.address, array.address
    spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    low, high = sum(s for s in spans if s < 0), sum(s for s in spans if s > 0)
    return array.address + low, array.address + high + array.itemsize


_LAYOUTS: dict[Any, Callable[..., Any]] = {
    np.broadcast_to: broadcast_to,
    np.may_share_memory: overlap,
    np.squeeze: squeeze,
}
