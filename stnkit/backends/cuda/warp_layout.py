"""How the threads of a GPU are numbered: what each takes of a call, and with which neighbours it adds up."""

import math
from typing import NamedTuple

from stnkit.backends.cuda.array import DeviceArray
from stnkit.backends.cuda.memory import run
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cuda import kernels, runtime
from stnkit.kernels.cuda.thread import VECTOR
from stnkit.kernels.leaves.point import MANY
from stnkit.plans.layout import Sampling, Shape
from stnkit.spec import BILINEAR, DTYPES, FLOAT64, LABEL, THIN_PLATE_SPLINE, Spec

BUSY = 1 << 19  # threads that keep any GPU busy
TRIPLE = 3  # channels that a thread takes at once
FEW = 4  # channels of a location, of which a thread takes all
SHORT, PART = 2048, 512  # rows of partial sums that a warp adds up: of a map that has no more, and of one that has


def vectored(call: Sampling, *pictures: DeviceArray) -> Spec:
    """Return a call's spec for a GPU: channels that lie side by side are taken as many as fit one access.

    Where large footprints are computed in float64, fewer are taken: four or eight numbers in each sum are too many
    registers.
    """
    spec = call.spec._replace(lanes=1, packed=False)
    if not (spec.interleaved and call.spec.packed):
        return spec
    large = spec.taps > 2 and spec.arithmetic_dtype == FLOAT64
    widest = 8 if large else max(picture.itemsize for picture in pictures)
    lanes = min(VECTOR // widest, MANY) if spec.interp == LABEL else VECTOR // widest
    while lanes > 1 and not all(fits(picture, call.channels, lanes) for picture in pictures):
        lanes //= 2
    return spec._replace(lanes=lanes, aligned=lanes > 1)


def in_warps(call: Sampling, spec: Spec, adds: bool) -> Spec:
    """Return a spec by which warps write, or add to an image's cotangent, as a whole, if these locations let them.

    Of three channels side by side, a thread takes all at once. In bilinear planes, neighbours add to the same pixels.
    """
    if spec.interleaved:
        beside = call.spec.packed and call.channels == TRIPLE and spec.taps <= 2 and spec.interp != LABEL
        return spec._replace(lanes=TRIPLE, together=True) if beside else spec
    return spec._replace(together=adds and spec.interp == BILINEAR)


def in_rows(call: Sampling, spec: Spec) -> Spec:
    """Return a spec by which a thread reads bilinear planes, or three channels, row by row, two pixels each.

    That takes more registers: of many planes, each is read faster by more threads.
    """
    rows = spec._replace(packed=call.spec.packed)
    few = not rows.interleaved and call.channels <= FEW
    return rows if rows.paired and (rows.triples or few) else spec


def grouped(call: Sampling, spec: Spec) -> Spec:
    """Return a spec by which neighbouring threads share the channels of one location, where these lie side by side."""
    group, vectors = 1, call.channels // spec.lanes if spec.interleaved and call.channels > FEW else 1
    while 2 * group <= min(vectors, runtime.WARP):
        group *= 2
    return spec._replace(group=group)


def fits(picture: DeviceArray, channels: int, lanes: int) -> bool:
    """Tell whether every `lanes` channels of a picture lie at a multiple of their size."""
    step = lanes * picture.itemsize
    others = [s for n, s in zip(picture.shape[:-1], picture.strides[:-1], strict=True) if n > 1]
    return channels % lanes == 0 and not any(s % step for s in (picture.address, *others))


def channel_groups(call: Sampling, spec: Spec) -> tuple[int, int, int]:
    """Return how many channels a thread takes, how many groups of so many there are, and how many threads that makes.

    They are so many that a location is staged for few threads, but all threads are busy. Of channels side by side, a
    thread takes those of one access, so that neighbouring threads have neighbours; few are taken one by one. Where
    warps are whole, there stands how many locations a batch item then has in place of the number of groups.
    """
    points = call.batch * math.prod(call.size)
    each = spec.lanes if call.channels > FEW else max(spec.lanes, call.channels, 1)
    if not spec.interleaved:
        each = min(max(-(-call.channels * points // BUSY), min(FEW, call.channels), 1), max(call.channels, 1))
    groups = -(-call.channels // each)
    if spec.together:
        return each, filled(call), call.batch * groups * filled(call)
    return each, groups, points * groups


class WarpLayout(NamedTuple):
    """How threads are numbered where those of a warp add up, and the memory of what they add up to."""

    shape: Shape  # of the source's cotangent
    memory: DeviceArray
    items: int
    repeat: int  # batch items that share a source's location
    rows: int  # locations of a batch item, filled up to whole warps
    strides: Shape  # of the memory: batch, location

    def sums(self) -> DeviceArray:
        """Return the source's cotangent."""
        return self.memory if self.memory.shape == self.shape else theta_sums(self.memory, self.shape)


def warp_layout(call: Sampling, spec: Spec, source: DeviceArray) -> WarpLayout:
    """Return how threads are numbered, and where they write: a grid's cotangent, or warps' partial sums of theta's."""
    points, ndim, rows = math.prod(call.size), spec.ndim, filled(call)
    if spec.mapped:
        warps, entries = rows * spec.group // runtime.WARP, map_entries(spec, call.source)
        memory = source.context.empty((call.batch, warps, entries), call.like)
        shape = (len(source), entries)
        return WarpLayout(shape, memory, call.batch * rows * spec.group, 1, rows, (warps * entries, entries))
    shared = len(source)
    memory = source.context.empty(source.shape, source.dtype)
    return WarpLayout(
        source.shape, memory, shared * rows * spec.group, call.batch // shared, rows, (points * ndim, ndim)
    )


def filled(call: Sampling) -> int:
    """Return how many locations a batch item has, filled up to whole warps."""
    points = math.prod(call.size)
    return points + -points % runtime.WARP


def map_entries(spec: Spec, strides: Shape) -> int:
    """Return how many numbers of a map have cotangents: the control points of a thin plate spline have none."""
    bent = strides[4] * spec.ndim if spec.source == THIN_PLATE_SPLINE else 0
    return bent + spec.lines * (spec.ndim + 1)


def theta_sums(partial_sums: DeviceArray, shape: Shape) -> DeviceArray:
    """Return the cotangents of maps from the warps' partial sums, in a shape and their dtype.

    A large map has so many partial sums that they are added up in parts, by many warps at once, and then the parts.
    """
    batch, rows, entries = partial_sums.shape
    maps = shape[0]
    rows *= batch // maps
    part = rows if rows <= SHORT else PART
    parts = -(-rows // part)
    out = partial_sums.context.empty(shape if parts == 1 else (maps, parts, entries), partial_sums.dtype)
    if out.size:
        code = DTYPES[partial_sums.dtype.name]
        spec = Spec(0, image_dtype=code, source_dtype=code, digest=digest())
        run(
            *(partial_sums.context, kernels.theta_sums, spec, out.size * runtime.WARP),
            *((out.address, partial_sums.address), rows, part, entries),
        )
    return out if parts == 1 else theta_sums(out, shape)
