"""Maps moved: what a map is for the subsamples beside the locations of its output, in the arithmetic of any framework.

A subsample beside a location is so many steps of the output's lattice away from it, in the order x, y, z. Each kind of
map says what it is there (`moved`), what a tangent of it is (`along`, the linear part), and how a cotangent comes back
(`pulled`, the transpose of that).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stnkit.spec import AFFINE, FLOW, PROJECTIVE, THIN_PLATE_SPLINE

Array = Any
Steps = Sequence[float]
Join = Callable[[Sequence[Array], int], Array]


class Lattice(NamedTuple):
    """The lattice of an output: lengths in the order x, y, z, and the unit of a flow."""

    halves: tuple[float, ...]  # pixels of the image in a normalised unit
    pitches: tuple[float, ...]  # normalised units in a step of the output; 0 where it has no length
    pixel: bool  # whether a flow is in steps of the output
    size: tuple[int, ...]  # of the output, in the order z, y, x
    align: bool  # whether its corners are -1 and 1


class Move(NamedTuple):
    """How a kind of map is moved."""

    moved: Callable[[Array, Steps, Lattice, Join], Array]
    along: Callable[[Array, Steps, Lattice, Join], Array]
    pulled: Callable[[Array, Steps, Lattice, Join], Array]


def lattice_of(extent: Sequence[int], size: Sequence[int], align: bool, pixel: bool) -> Lattice:
    """Return the lattice of an output beside an image, of these spatial sizes."""
    edges = int(align)  # torch's compiler subtracts no truth value from a size that it does not know
    lengths = [n - edges for n in reversed(size)]
    halves = tuple((n - edges) / 2 for n in reversed(extent))
    return Lattice(halves, tuple(2 / n if n else 0.0 for n in lengths), pixel, tuple(size), align)


def lattice_of_pixels(size: Sequence[int], align: bool) -> Lattice:
    """Return the lattice of an output of a spatial size under maps of pixels: a unit is a pixel, and a step is one."""
    ones = (1.0,) * len(size)
    return Lattice(ones, ones, True, tuple(size), align)


def _moved_theta(theta: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    """Return theta' with theta' [p, 1] = theta [p + s, 1]: the shift moves by the linear part of s.

    The last row of a projective map moves like the others.
    """
    d, shift = len(steps), 0
    for j, s in enumerate(_normalised(steps, lattice)):
        shift = shift + theta[..., j : j + 1] * s
    return join([theta[..., :d], theta[..., d:] + shift], -1)


def _pulled_theta(bar: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    d = len(steps)
    columns = [bar[..., j : j + 1] + bar[..., d:] * s for j, s in enumerate(_normalised(steps, lattice))]
    return join([*columns, bar[..., d:]], -1)


def _normalised(steps: Steps, lattice: Lattice) -> list[float]:
    return [step * pitch for step, pitch in zip(steps, lattice.pitches, strict=True)]


def _unmoved(array: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    """Return theta of a spline, whose control points move instead."""
    return array


def moved_points(points: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    """Return the control points of a spline moved: what it reads at c is read at c - s."""
    return join([points[:, j : j + 1] - s for j, s in enumerate(_normalised(steps, lattice))], -1)


def _moved_flow(flow: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    """Return the flow beside each location, and the way there: the kernel adds the location itself."""
    offset = steps if lattice.pixel else _normalised(steps, lattice)
    there = _flow_along(flow, steps, lattice, join)
    return join([there[..., j : j + 1] + s for j, s in enumerate(offset)], -1)


def _flow_along(flow: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    """Interpolate a flow between its locations, one axis after another; a subsample has a straight line on each.

    Beyond the edge the line of the two outermost locations goes on, so that a flow which is an affine map stays one.
    """
    for j, step in enumerate(steps):
        axis = -2 - j
        if step == 0 or flow.shape[axis] == 1:
            continue
        rise = part(flow, axis, 1, None) - part(flow, axis, None, -1)
        ends = [rise, part(rise, axis, -1, None)] if step > 0 else [part(rise, axis, None, 1), rise]
        flow = flow + join(ends, axis) * step
    return flow


def _pulled_flow(bar: Array, steps: Steps, lattice: Lattice, join: Join) -> Array:
    for j, step in enumerate(steps):
        axis = -2 - j
        if step == 0 or bar.shape[axis] == 1:
            continue
        ends = bar * step
        if step > 0:
            last = part(ends, axis, -2, -1) + part(ends, axis, -1, None)
            rise = join([part(ends, axis, None, -2), last], axis)
        else:
            first = part(ends, axis, None, 1) + part(ends, axis, 1, 2)
            rise = join([first, part(ends, axis, 2, None)], axis)
        inner = part(rise, axis, None, -1) - part(rise, axis, 1, None)
        bar = bar + join([-part(rise, axis, None, 1), inner, part(rise, axis, -1, None)], axis)
    return bar


def part(array: Array, axis: int, start: int | None, stop: int | None) -> Array:
    """Return a range along an axis that is counted from the last."""
    return array[(..., slice(start, stop), *[slice(None)] * (-axis - 1))]


MOVES = {
    AFFINE: Move(_moved_theta, _moved_theta, _pulled_theta),
    FLOW: Move(_moved_flow, _flow_along, _pulled_flow),
    PROJECTIVE: Move(_moved_theta, _moved_theta, _pulled_theta),
    THIN_PLATE_SPLINE: Move(_unmoved, _unmoved, _unmoved),
}
