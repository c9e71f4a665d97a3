"""Whole arrays with tangents: forward mode, and the second order, as `ops` does for the plain operations."""

import itertools
from typing import Any

import numpy as np

from stnkit.dtypes import FLOAT64, bar_dtype, dot_dtype
from stnkit.kernels import cpu_order, cpu_tangent
from stnkit.kernels.threads import launch
from stnkit.ops import (
    address,
    readable,
    rounded,
    sample,
    source_bars,
    source_sums,
    walkable,
)
from stnkit.plan import Plan, Shape, backward_parts, contiguous, layout, out_strides, plan
from stnkit.recipes import backward_numbers, forward_numbers
from stnkit.spec import GRID, NEAREST, PROJECTIVE, THIN_PLATE_SPLINE, Options

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
    """Return `ops.sample` and its tangent along the tangents given; one that is None is zero."""
    source_dot = source_dot if options.interp != NEAREST else None  # it has no slope
    if options.interp == NEAREST and image_dot is None:
        out = sample(image, source, kind, size, options, fill)
        return out, np.zeros(out.shape, dot_dtype(image.dtype, source.dtype))
    image, image_dot = _alike(image, image_dot)
    source, source_dot = _read(source, source_dot, kind, image.dtype, options)
    call = plan(layout(image), layout(source), kind, size, options)
    out, out_dot = _twins(call.out_shape, image.dtype, dot_dtype(image.dtype, source.dtype))
    if out.size:
        launch(
            cpu_tangent.sample_jvp,
            call.spec._replace(image_dot=image_dot is not None, source_dot=source_dot is not None),
            2 * call.work,
            *_addresses(out, out_dot, image, image_dot, source, source_dot, fill),
            *forward_numbers(call, options, "image", "dot", "source", "like", "index"),
        )
    return out, out_dot


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
    """Return the cotangents of the arguments of `ops.sample_vjp`, from those of its results, None for zero.

    They are always deterministic.
    """
    source_dot = source_dot if options.interp != NEAREST else None  # it has no slope
    image, image_dot = _alike(image, image_dot)
    assert kind not in (PROJECTIVE, THIN_PLATE_SPLINE), "the second order is not written for this source"
    read, source_dot = _read(source, source_dot, kind, image.dtype, options)
    out_bar_bar = np.zeros(cotangent.shape, cotangent.dtype)
    image_bar = np.zeros(image.shape, bar_dtype(image.dtype, read.dtype))
    source_bar = source_bars(image, read, kind, size)
    if cotangent.size and not (image_dot is None and source_dot is None):
        arrays = (out_bar_bar, image_bar, source_bar, cotangent, image, image_dot, read, source_dot, fill)
        slopes = options.interp != NEAREST
        if image.flags.c_contiguous and min(len(image), len(source)) >= 8:
            passes = [(True, slopes and source_dot is not None, slopes)]
        else:
            passes = [(True, False, slopes), (False, slopes and source_dot is not None, False)]
        for out_too, image_too, source_too in passes:
            if not (out_too or image_too):
                continue
            call = plan(contiguous(image) if image_too else layout(image), layout(read), kind, size, options)
            parts = backward_parts(call, len(image), len(source), (image_too, source_too or out_too))
            spec = call.spec._replace(
                image_dot=image_dot is not None,
                source_dot=source_dot is not None,
                image_bar=image_too,
                source_bar=source_too,
                out_bar=out_too,
            )
            _launch_double_vjp(call, spec, parts, arrays, options)
    return out_bar_bar, rounded(image_bar, image.dtype), source_sums(source_bar, source, kind)


def _launch_double_vjp(call: Plan, spec: Any, parts: Shape, arrays: tuple[Any, ...], options: Options) -> None:
    out_bar_bar, image_bar, source_bar, cotangent, *inputs = arrays
    cotangent, cotangent_strides = walkable(cotangent, options)
    strides = out_strides(call, options), cotangent_strides
    launch(
        cpu_tangent.sample_double_vjp,
        spec,
        3 * call.work,
        *_addresses(out_bar_bar, image_bar, source_bar, cotangent, *inputs),
        *backward_numbers(call, parts, strides, source_bar.shape, source_bar.dtype),
    )


def sample_gradient(
    image: np.ndarray, source: np.ndarray, kind: int, size: Shape, options: Options, fill: np.ndarray
) -> np.ndarray:
    """Return the derivatives of `ops.sample` with respect to its coordinates, one for each axis."""
    source = readable(source, kind, image.dtype, options.control)
    call = plan(layout(image), layout(source), kind, size, options)
    out = np.zeros((*call.out_shape, len(size)), dot_dtype(image.dtype, source.dtype))
    if out.size and options.interp != NEAREST:
        launch(
            cpu_tangent.sample_gradient,
            call.spec._replace(source_bar=True),
            2 * call.work,
            *_addresses(out, image, source, fill),
            *forward_numbers(call, options, "image", "dot", "source", "like", "index"),
        )
    return out


def splat_double_jvp(
    values: np.ndarray,
    grid: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    shape: Shape,
    options: Options,
    deterministic: bool = True,
) -> np.ndarray:
    """Return the second derivative of `ops.splat` along two tangents of the grid.

    It is a sum over all pairs of axes: values, times the first tangent on one and the second on the other, are splatted
    with the weights of these axes differentiated. Sums are always deterministic.
    """
    image_bar = np.zeros(shape, bar_dtype(values.dtype, grid.dtype))
    if values.size and options.interp != NEAREST:
        image = np.broadcast_to(np.zeros((), values.dtype), shape)  # only its layout is read
        call = plan(contiguous(image), layout(grid), GRID, grid.shape[1:-1], options)
        parts = backward_parts(call, len(image), len(grid), (True, False))
        for a, b in itertools.product(range(grid.shape[-1]), repeat=2):
            along = values * np.expand_dims(first[..., a] * second[..., b], -1 if options.channels_last else 1)
            along, strides = walkable(np.asarray(along, values.dtype), options, pulled=False)
            launch(
                cpu_order.splat_order,
                call.spec._replace(source_bar=True),
                call.work,
                *_addresses(image_bar, along, grid),
                *backward_numbers(call, parts, (strides,), (0, 0, 0), FLOAT64),
                tuple((axis == a) + (axis == b) for axis in range(3)),
            )
    sums = rounded(image_bar, values.dtype)
    assert sums is not None
    return sums


def _twins(shape: Shape, dtype: np.dtype[Any], dot: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Allocate a result and its tangent: in one block where they are alike, which allocators keep for the next call."""
    if dtype == dot:
        out, out_dot = np.empty((2, *shape), dtype)
        return out, out_dot
    return np.empty(shape, dtype), np.empty(shape, dot)


def _addresses(*arrays: Maybe) -> tuple[int, ...]:
    return tuple(0 if array is None else address(array) for array in arrays)


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
