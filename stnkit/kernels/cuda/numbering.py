"""How the threads of a GPU are numbered: which batch item, location and channels a thread has.

Neighbouring threads write neighbours: tasks are numbered by location where a channel is a plane, and by channels where
pixels hold them.
"""

from typing import Any

from numba import types

from stnkit.kernels.compiler.jit import int64, intrinsic, leaf
from stnkit.kernels.leaves.places import own


def split(i: Any, n: Any) -> tuple[Any, Any]:
    """Return quotient and remainder of two numbers that are not negative, in the type of the first."""
    return i // n, i % n


@intrinsic(split, lambda i, n: types.UniTuple(i, 2))
def _split(context, builder, signature, args):
    i, n = args[0], context.cast(builder, args[1], signature.args[1], signature.args[0])
    return context.make_tuple(builder, signature.return_type, [builder.udiv(i, n), builder.urem(i, n)])


@leaf
def task(i, points, groups, spec):
    """Return batch item, location and group of channels of task number `i`."""
    if spec.interleaved:
        i, group = split(i, groups)
        n, p = split(i, points)
    else:
        i, p = split(i, points)
        n, group = split(i, groups) if groups > 1 else (i, type(i)(0))
    return int64(n), p, int64(group)


@leaf
def warp_slot(i, rows, points, spec):
    """Return batch item, location, the thread's place in the location's group, and whether all of these exist.

    `rows` is how many locations a batch item has once it is filled up to whole warps: every thread of a warp is needed
    where they add up. A thread without a location does the last one, and adds nothing.
    """
    i, place = split(i, int64(spec.group))
    n, p = split(i, rows)
    there = p < points
    return int64(n), p if there else type(p)(points - 1), int64(place), there


@leaf
def whole_warps(i, rows, channels, group, points):
    """Return batch item, location, group of channels, and whether there is the location; a warp's are neighbours.

    `rows` is as in `warp_slot`; all threads of a warp have one batch item and group.
    """
    i, p = split(i, rows)
    n, part = i, type(i)(0)
    if channels > group:
        n, part = split(i, (channels + group - 1) // group)
    there = p < points
    return int64(n), p if there else type(p)(points - 1), int64(part), there


@leaf
def located(p, size, spec):
    """Return where location number `p` of the output at hand stands in the whole one: (z, y, x).

    Of a grid without gaps, which is walked as one long row, nothing is divided.
    """
    z, y, x = type(p)(0), type(p)(0), p
    if spec.ndim > 1 and p >= own(size, 2, spec):
        y, x = split(p, own(size, 2, spec))
        if spec.ndim > 2:
            z, y = split(y, own(size, 1, spec))
    if spec.placed:
        return z + size[3], y + size[4], x + size[5]
    return z, y, x
