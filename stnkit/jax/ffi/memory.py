"""Memory that others lay out, in machine code: an address is an integer, and so is how far from it a field lies."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def at(builder: Any, address: Any, offset: Any, bits: int = 64) -> Any:
    """Build a pointer to a number of so many bits."""
    return builder.inttoptr(builder.add(address, offset), ir.IntType(bits).as_pointer())


def load(builder: Any, address: Any, offset: int) -> Any:
    """Build the code that reads the 8 bytes at an offset from an address."""
    return builder.load(at(builder, address, ir.IntType(64)(offset)))


@intrinsic
def half(context, address, offset):
    """Read the 4 bytes at an offset from an address."""
    return types.int32(types.int64, types.int64), lambda _, b, __, args: b.load(at(b, args[0], args[1], 32))


@intrinsic
def write(context, address, offset, value):
    """Write an integer of 4 or 8 bytes at an offset from an address."""

    def generate(context, builder, signature, args):
        builder.store(args[2], at(builder, args[0], args[1], args[2].type.width))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), generate


@intrinsic
def add(context, address, offset, change):
    """Add to 8 bytes that threads share, in one step; return what they were."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", at(builder, args[0], args[1]), args[2], "acq_rel")

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def current(context, address, offset):
    """Read 8 bytes that threads share, with all that was written before they were."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(at(builder, args[0], args[1]), "acquire", 8)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def clear(context, address, count):
    """Set bytes to 0."""

    def generate(context, builder, signature, args):
        memory = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, memory, args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
