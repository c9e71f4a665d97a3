"""What runs for arrays of given layouts: kernels, and all that these take but addresses.

It follows from layouts and options alone, so it is remembered, and serves the memory of any framework.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from stnkit.dtypes import FLOAT64
from stnkit.kernels import cpu
from stnkit.plan import (
    CHUNKS,
    Layout,
    Plan,
    Shape,
    backward_parts,
    forward_parts,
    likes,
    out_strides,
    plan,
    tiles,
    zero,
)
from stnkit.spec import MAPS, NEAREST, Options, Spec

Numbers = tuple[Any, ...]  # integers, tuples of integers, and zeros that carry types

LITTLE = 1 << 13  # numbers of an output: for fewer, threads would not pay


class Run(NamedTuple):
    """One run of a kernel: what `launch` takes before the addresses, and after them."""

    head: tuple[Callable[[Spec], Any], Spec, int]  # factory, spec, and the taps that are read
    numbers: Numbers


@functools.lru_cache(maxsize=4096)
def forward(image: Layout, source: Layout, kind: int, size: Shape, options: Options) -> tuple[Shape, Run]:
    """Return the shape of an output, and the run that writes it; an output without elements needs none."""
    call = plan(image, source, kind, size, options)
    numbers = forward_numbers(call, options, "image", "source", "like", "index")
    return call.out_shape, Run((cpu.sample, call.spec, call.work), numbers)


@functools.lru_cache(maxsize=4096)
def backward(
    image: Layout,
    gapless: Layout,
    source: Layout,
    kind: int,
    size: Shape,
    options: Options,
    wrt: tuple[bool, bool],
    strides: Shape,
    outputs: int,
) -> tuple[Run, ...]:
    """Return the runs that add up the cotangents which `wrt` asks for.

    `gapless` is the image's layout if it had no gaps, which its cotangent has: a run that writes that walks it.
    `strides` are those of the output's cotangent, and `outputs` is how many numbers it has: one or more.
    """
    images, sources = image[0][0], source[0][0]
    bars = bars_form(images, source[0], kind, size, source[2]) if wrt[1] else ((0, 0, 0), FLOAT64)
    # The slope of nearest is 0 everywhere: its source's cotangent is done as it stands.
    slopes = (wrt[0], wrt[1] and options.interp != NEAREST)
    runs = []
    for asked in passes(slopes, image == gapless, images, sources, outputs):
        call = plan(gapless if asked[0] else image, source, kind, size, options)
        parts = backward_parts(call, images, sources, asked)
        spec = call.spec._replace(image_bar=asked[0], source_bar=asked[1])
        numbers = backward_numbers(call, parts, (strides,), *bars)
        runs.append(Run((cpu.sample_vjp, spec, call.work * sum(asked)), numbers))
    return tuple(runs)


def forward_numbers(call: Plan, options: Options, *witnesses: str) -> Numbers:
    """Return what a forward kernel takes after its addresses, for an output without gaps."""
    parts = forward_parts(call)
    return (
        *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
        *(out_strides(call, options), call.image, call.source),
        *likes(call, *witnesses),
    )


def backward_numbers(
    call: Plan, parts: Shape, strides: tuple[Shape, ...], bars: Shape, bars_dtype: np.dtype[Any]
) -> Numbers:
    """Return what a backward kernel takes after its addresses.

    `strides` are those of the arrays that are laid out as outputs are; `bars` and its dtype are the form of what the
    source's cotangent is added to.
    """
    batch, rows, width = bars
    return (
        *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
        *(*strides, call.image, call.source, (0 if batch == 1 else rows * width, width)),
        *likes(call, "image", "dot", "image_bar", "source"),
        zero(bars_dtype),
        *likes(call, "like", "index"),
    )


def passes(wrt: tuple[bool, bool], alike: bool, images: int, sources: int, outputs: int) -> list[tuple[bool, bool]]:
    """Decide which passes give the cotangents asked for; `images` and `sources` are batch sizes.

    One pass serves both, with whole batch items as parts, if the image's cotangent is laid out as the image
    is (`alike`) and nothing is shared. It stages every tile once, but a small batch leaves threads idle where there
    is work for them; `outputs` is how many numbers the output has.
    """
    if not all(wrt):
        return [wrt] if any(wrt) else []
    if alike and images == sources and (images >= 8 or outputs < LITTLE):
        return [(True, True)]
    return [(True, False), (False, True)]


def bars_form(
    images: int, source: Shape, kind: int, size: Shape, dtype: np.dtype[Any]
) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Return the shape and dtype of what a source's cotangent is added to: the grid's own, or a map's tile by tile.

    `images` is a batch size, and `source` the shape of what the kernel reads.
    """
    points, sources = math.prod(size), source[0]
    if kind not in MAPS:
        return (sources, points, len(size)), dtype
    batch = max(images, sources) if images and sources else 0
    return (batch, tiles(points), math.prod(source[1:])), FLOAT64
