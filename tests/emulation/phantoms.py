"""Arrays on a GPU that have an address and nothing behind it, calls with them, and the kernels that calls ask for.

Which kernels run follows from shapes, strides, dtypes and options. So what calls of any size launch can be learnt where
there is no GPU, and from the very functions that launch it.
"""

import contextlib
import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from calls import CHOICES, PADDINGS, Absent, perform

import stnkit
from stnkit.backends.cuda.array import DeviceArray, DeviceContext
from stnkit.kernels.cuda import runtime
from stnkit.plans.strides import gapless
from stnkit.spec import Spec

DRAWN = CHOICES | {"padding": (*PADDINGS, "mixed")}  # what others do to an axis does not depend on other choices


class Kernel(NamedTuple):
    """What machine code follows from."""

    factory: Any
    spec: Spec
    template: tuple[int, ...]
    narrow: bool


# ------------------------------------------------------------------------------------------------------------ arrays

_addresses, _streams = itertools.count(1 << 40, 1 << 12), itertools.count(3)


def phantom(shape, dtype, place, strides=None, shift=0):
    """Return an array at an address of its own, which may be `shift` bytes off a multiple of any size."""
    dtype = np.dtype(dtype)
    strides = gapless(tuple(shape), dtype.itemsize) if strides is None else strides
    return DeviceArray(next(_addresses) + shift, tuple(shape), strides, dtype, place, None)


def nowhere():
    """Return a place of its own, for which nothing is remembered."""
    return DeviceContext(
        "phantom", 0, next(_streams), lambda shape, dtype: (next(_addresses), None), lambda result: result
    )


@contextlib.contextmanager
def recorded() -> Iterator[list[Kernel]]:
    """Write down what is launched, and launch nothing."""
    kernels: list[Kernel] = []
    kept = {name: getattr(runtime, name) for name in ("launch", "clear", "is_capturing")}

    def launch(factory, spec, items, arguments, stream, at):
        kernels.append(Kernel(factory, spec, runtime.template(arguments), items < runtime.NARROW))

    runtime.launch = launch
    runtime.clear = lambda *given: None
    runtime.is_capturing = lambda *given: True  # so that constants are not remembered
    try:
        yield kernels
    finally:
        vars(runtime).update(kept)


# ------------------------------------------------------------------------------------------------------------- calls


def kernels_of(call: dict[str, Any]) -> tuple[Kernel, ...]:
    """Return what a call launches; nothing if there is no such call, or if it is refused."""
    place = nowhere()

    def make(what, shape, dtype, gaps):
        return phantom(shape, dtype, place, _apart(shape, dtype) if gaps else None)

    with recorded() as kernels, contextlib.suppress(Absent, ValueError, TypeError):
        perform(stnkit, make, **call)
        return tuple(dict.fromkeys(kernels))
    return ()


def _apart(shape, dtype):
    """Return strides with a gap after every number."""
    return tuple(2 * step for step in gapless(tuple(shape), np.dtype(dtype).itemsize))


# ---------------------------------------------------------------------------------------------------------- covering

Trait = tuple[str, Any]
Pair = tuple[Trait, Trait]

FLAGS = ("image_dot", "source_dot", "image_bar", "source_bar", "out_bar")
CHOSEN = ("ndim", "interp", "align", "pixel", "source", "dense", "source_dtype", "wide", *FLAGS)
SHORT = {  # kernels that read some choices only
    "product": ("image_dtype", "dot_dtype", "source_dtype", "image_dot", "source_dot"),
    "total": ("image_dtype", "dot_dtype"),
    "combination": ("image_dtype", "dot_dtype", "source_dtype", "image_dot"),
    "longest": ("ndim", "source_dtype"),
    "constant": (),
    "largest": ("image_dtype", "source_dtype"),
    "opened": ("image_dtype", "source_dtype", "source_dot"),
    "from_bins": ("image_dtype", "source_dtype"),
    "theta_sums": ("source_dtype",),
    "contraction": ("image_dtype", "dot_dtype", "source_dtype"),
    "grid": ("ndim", "align", "pixel", "source", "source_dtype"),
    "grid_jvp": ("ndim", "align", "source", "source_dtype"),
    "grid_vjp": ("ndim", "align", "source", "source_dtype"),
}


def traits(kernel: Kernel) -> tuple[Trait, ...]:
    """Return the choices of a kernel, of which the pairs are covered."""
    spec, name = kernel.spec, kernel.factory.__name__
    found = {"kernel": name, "narrow": kernel.narrow}
    if name in SHORT:
        found |= {choice: getattr(spec, choice) for choice in SHORT[name]}
        return tuple(found.items())
    paddings = set(spec.padding[: spec.ndim])
    found |= {choice: getattr(spec, choice) for choice in CHOSEN}
    found |= {
        "padding": paddings.pop() if len(paddings) == 1 else "mixed",
        "lanes": (spec.interleaved, spec.lanes, spec.aligned),
        "group": min(spec.group, 2) if spec.group < runtime.WARP else runtime.WARP,
        "image": spec.image_dtype,
    }
    return tuple(found.items())


def pairs(kernel: Kernel) -> frozenset[Pair]:
    """Return the pairs of choices that meet in a kernel; the name of a kernel that reads few is a choice of its own."""
    name, *others = traits(kernel)
    if name[1] in SHORT:
        others = [((name[1], choice), value) for choice, value in others]
    return frozenset(itertools.combinations((name, *others), 2))


def asked_for(seed: int, each: int = 8) -> dict[Kernel, frozenset[Pair]]:
    """Return kernels that calls ask for, with their pairs: every two choices of calls meet `each` times, if they can.

    The other choices of these calls are drawn.
    """
    drawn = random.Random(seed)
    asked: dict[Kernel, None] = {}
    for (one, ones), (other, others) in itertools.combinations(DRAWN.items(), 2):
        for a, b in itertools.product(ones, others):
            calls = (
                {name: drawn.choice(values) for name, values in DRAWN.items()} | {one: a, other: b}
                for _ in range(10 * each)
            )
            met = filter(None, map(kernels_of, calls))
            asked |= dict.fromkeys(itertools.chain.from_iterable(itertools.islice(met, each)))
    return {kernel: pairs(kernel) for kernel in asked}
