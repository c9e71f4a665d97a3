"""The table of samplers: what each derivative of one takes and gives, for every source of coordinates alike."""

import functools
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from stnkit.spec import AFFINE, FLOW, GRID, MAPS, PROJECTIVE, THIN_PLATE_SPLINE

NAMES = {GRID: "grid", FLOW: "flow"} | dict.fromkeys(MAPS, "theta")  # of the arguments that coordinates come from

R = TypeVar("R")  # what it returns


@dataclass(frozen=True, eq=False)  # and no named tuple, of which torch's compiler cannot read properties before 2.9
class Derivative(Generic[R]):
    """A sampler, or a derivative of one: the roles of what it takes and gives, in order.

    "source" is where coordinates come from, and "dot" a tangent of it; one of the image has the image's role. "out" and
    "out_dot" are laid out as the output is, the one in the image's dtype, the other in that of derivatives.
    """

    takes: tuple[str, ...]
    gives: tuple[str, ...]
    names: tuple[str, ...]  # of the arguments, where {} is the source's
    image: int  # where the image is among them; the source comes next
    dots: int | None = None  # where the tangents are: of the image, and of the source
    prefix: str = ""  # of their names
    cotangent: int | None = None
    written: str = ""  # the argument that is written to


PAIR = ("image", "source")
SAMPLE: Derivative[Any] = Derivative(PAIR, ("out",), ("image", "{}"), 0, written="out")
VJP: Derivative[tuple[Any, Any]] = Derivative(
    takes=("out_dot", *PAIR),
    gives=PAIR,
    names=("cotangent", "image", "{}"),
    image=1,
    cotangent=0,
    written="accumulate_into",
)
JVP: Derivative[tuple[Any, Any]] = Derivative(
    takes=(*PAIR, "image", "dot"),
    gives=("out", "out_dot"),
    names=("image", "{}", "d_image", "d_{}"),
    image=0,
    dots=2,
    prefix="d_",
)
DOUBLE_VJP: Derivative[tuple[Any, Any, Any]] = Derivative(
    takes=("image", "dot", "out_dot", *PAIR),
    gives=("out_dot", *PAIR),
    names=("dd_image", "dd_{}", "cotangent", "image", "{}"),
    image=3,
    dots=0,
    prefix="dd_",
    cotangent=2,
)

SAMPLERS = {  # by the names of public functions
    name + end: (derivative, kind)
    for name, kind in (
        ("grid_sample", GRID),
        ("affine_sample", AFFINE),
        ("flow_sample", FLOW),
        ("projective_sample", PROJECTIVE),
        ("thin_plate_spline_sample", THIN_PLATE_SPLINE),
    )
    for end, derivative in (("", SAMPLE), ("_vjp", VJP), ("_jvp", JVP), ("_double_vjp", DOUBLE_VJP))
}


@functools.cache
def array_names(derivative: Derivative[Any], kind: int) -> tuple[str, ...]:
    """Return the names of the arrays that a derivative takes, for a kind of source."""
    return tuple(name.format(NAMES[kind]) for name in derivative.names)


@functools.cache
def optional(derivative: Derivative[Any], kind: int) -> tuple[str, ...]:
    """Return the names of arrays that may be None: tangents, which are zero then, and what is written to."""
    dots = () if derivative.dots is None else array_names(derivative, kind)[derivative.dots : derivative.dots + 2]
    return (*dots, derivative.written) if derivative.written else dots
