"""Whole arrays with tangents: forward mode, and the second order."""

import itertools
from typing import Any

import numpy as np

from stnkit.backends.cpu.execute import Arrays, allocated, execute, readable, rounded, sample, source_sums, walkable
from stnkit.dtypes import bar_dtype, dot_dtype
from stnkit.kernels.cpu.call import (
    COTANGENT,
    FILL,
    IMAGE,
    IMAGE_BAR,
    IMAGE_DOT,
    OUT,
    OUT_DOT,
    SOURCE,
    SOURCE_BAR,
    SOURCE_DOT,
)
from stnkit.plans import tangents as plans
from stnkit.plans.launch import Buffer
from stnkit.plans.layout import Shape, contiguous, layout
from stnkit.spec import CHOOSING, GRID, PROJECTIVE, THIN_PLATE_SPLINE, Options

Maybe = np.ndarray | None


def sample_jvp(
    image_dot: Maybe,
    source_dot: Maybe,
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return `sample` and its tangent along the tangents given; one that is None is zero."""
    source_dot = source_dot if options.interp not in CHOOSING else None  # it has no slope
    if options.interp in CHOOSING and image_dot is None:
        out = sample(image, source, kind, size, options, fill)
        return out, np.zeros(out.shape, dot_dtype(image.dtype, source.dtype))
    image, image_dot = _alike(image, image_dot)
    source, source_dot = _read(source, source_dot, kind, image.dtype, options)
    given = image_dot is not None, source_dot is not None
    plan = plans.jvp(layout(image), layout(source), kind, size, options, *given)
    inputs = {IMAGE: image, SOURCE: source, FILL: fill} | _given({IMAGE_DOT: image_dot, SOURCE_DOT: source_dot})
    made = execute(plan, inputs | _allocated_together(*plan.buffers))
    return made[OUT], made[OUT_DOT]


def sample_double_vjp(
    image_dot: Maybe,
    source_dot: Maybe,
    cotangent: np.ndarray,
    image: np.ndarray,
    source: np.ndarray,
    kind: int,
    size: Shape,
    options: Options,
    fill: np.ndarray,
    deterministic: bool = True,
) -> tuple[np.ndarray, Maybe, np.ndarray]:
    """Return the cotangents of the arguments of `sample_vjp`, from those of its results, None for zero.

    They are always deterministic.
    """
    source_dot = source_dot if options.interp not in CHOOSING else None  # it has no slope
    image, image_dot = _alike(image, image_dot)
    assert kind not in (PROJECTIVE, THIN_PLATE_SPLINE), "the second order is not written for this source"
    read, source_dot = _read(source, source_dot, kind, image.dtype, options)
    cotangent, strides = walkable(cotangent, options)
    dots = image_dot is not None, source_dot is not None
    plan = plans.double_vjp(layout(image), contiguous(image), layout(read), kind, size, options, dots, strides)
    arrays = {
        COTANGENT: cotangent,
        IMAGE: image,
        IMAGE_DOT: image_dot,
        SOURCE: read,
        SOURCE_DOT: source_dot,
        FILL: fill,
    }
    made = execute(plan, _given(arrays))
    return made[OUT], rounded(made[IMAGE_BAR], image.dtype), source_sums(made[SOURCE_BAR], source, kind)


def sample_gradient(
    image: np.ndarray, source: np.ndarray, kind: int, size: Shape, options: Options, fill: np.ndarray
) -> np.ndarray:
    """Return the derivatives of `sample` with respect to its coordinates, one for each axis."""
    source = readable(source, kind, image.dtype, options.control)
    plan = plans.gradient(layout(image), layout(source), kind, size, options)
    return execute(plan, {IMAGE: image, SOURCE: source, FILL: fill})[OUT]


def splat_double_jvp(
    values: np.ndarray,
    grid: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    shape: Shape,
    options: Options,
    deterministic: bool = True,
) -> np.ndarray:
    """Return the second derivative of `splat` along two tangents of the grid.

    It is a sum over all pairs of axes: values, times the first tangent on one and the second on the other, are splatted
    with the weights of these axes differentiated. Sums are always deterministic.
    """
    image_bar = np.zeros(shape, bar_dtype(values.dtype, grid.dtype))
    if values.size and options.interp not in CHOOSING:
        image = contiguous(np.broadcast_to(np.zeros((), values.dtype), shape))
        for a, b in itertools.product(range(grid.shape[-1]), repeat=2):
            along = values * np.expand_dims(first[..., a] * second[..., b], -1 if options.channels_last else 1)
            along, strides = walkable(np.asarray(along, values.dtype), options, pulled=False)
            order = tuple((axis == a) + (axis == b) for axis in range(grid.shape[-1]))
            plan = plans.splat(image, layout(grid), GRID, grid.shape[1:-1], options, strides, order)
            execute(plan, {COTANGENT: along, SOURCE: grid, IMAGE_BAR: image_bar})
    sums = rounded(image_bar, values.dtype)
    assert sums is not None
    return sums


def _allocated_together(out: Buffer, out_dot: Buffer) -> Arrays:
    """Allocate a result and its tangent: in one block where they are alike, which allocators keep for the next call."""
    if out.dtype == out_dot.dtype:
        return dict(zip((OUT, OUT_DOT), np.empty((2, *out.shape), out.dtype), strict=True))
    return {OUT: allocated(out), OUT_DOT: allocated(out_dot)}


def _given(arrays: dict[int, Maybe]) -> Arrays:
    """Return the arrays that are there."""
    return {slot: array for slot, array in arrays.items() if array is not None}


def _alike(array: np.ndarray, dot: Maybe) -> tuple[np.ndarray, Maybe]:
    """Return an array and its tangent laid out alike: copied, both of them, only where they are not."""
    if dot is None or dot.strides == array.strides:
        return array, dot
    return np.ascontiguousarray(array), np.ascontiguousarray(dot)


def _read(
    source: np.ndarray, source_dot: Maybe, kind: int, image_dtype: np.dtype[Any], options: Options
) -> tuple[np.ndarray, Maybe]:
    """Return what kernels read of a source and its tangent, laid out alike."""
    read = readable(source, kind, image_dtype, options.control)
    return _alike(read, None if source_dot is None else readable(source_dot, kind, image_dtype, options.control))
