"""Whole arrays with tangents: forward mode, and the second order, as `ops` does for the plain operations."""

import math
from typing import Any

import numpy as np

from stnkit.dtypes import bar_dtype, dot_dtype
from stnkit.kernels import cpu_tangent
from stnkit.kernels.threads import launch
from stnkit.ops import address, readable, rounded, sample, source_bars, source_sums, walkable
from stnkit.plan import (
    CHUNKS,
    Plan,
    Shape,
    backward_parts,
    contiguous,
    forward_parts,
    layout,
    likes,
    out_strides,
    plan,
    zero,
)
from stnkit.spec import NEAREST, Options

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
    source, source_dot = _alike(readable(source, kind, image.dtype), _readable(source_dot, kind, image.dtype))
    call = plan(layout(image), layout(source), kind, size, options)
    out, out_dot = _twins(call.out_shape, image.dtype, dot_dtype(image.dtype, source.dtype))
    if out.size:
        parts = forward_parts(call)
        launch(
            cpu_tangent.sample_jvp,
            call.spec._replace(image_dot=image_dot is not None, source_dot=source_dot is not None),
            2 * call.work,
            *_addresses(out, out_dot, image, image_dot, source, source_dot, fill),
            *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
            *(out_strides(call, options), call.image, call.source),
            *likes(call, "image", "dot", "source", "like", "index"),
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
) -> tuple[np.ndarray, Maybe, np.ndarray]:
    """Return the cotangents of the arguments of `ops.sample_vjp`, from those of its results, None for zero."""
    source_dot = source_dot if options.interp != NEAREST else None  # it has no slope
    image, image_dot = _alike(image, image_dot)
    read, source_dot = _alike(readable(source, kind, image.dtype), _readable(source_dot, kind, image.dtype))
    out_bar_bar = np.zeros(cotangent.shape, cotangent.dtype)
    image_bar = np.zeros(image.shape, bar_dtype(image.dtype, read.dtype))
    source_bar = source_bars(image, source, kind, size)
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
    rows, width = source_bar.shape[1:]
    launch(
        cpu_tangent.sample_double_vjp,
        spec,
        3 * call.work,
        *_addresses(out_bar_bar, image_bar, source_bar, cotangent, *inputs),
        *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
        *(out_strides(call, options), cotangent_strides, call.image, call.source),
        (0 if len(source_bar) == 1 else rows * width, width),
        *likes(call, "image", "dot", "image_bar", "source"),
        zero(source_bar.dtype),
        *likes(call, "like", "index"),
    )


def sample_gradient(
    image: np.ndarray, source: np.ndarray, kind: int, size: Shape, options: Options, fill: np.ndarray
) -> np.ndarray:
    """Return the derivatives of `ops.sample` with respect to its coordinates, one for each axis."""
    source = readable(source, kind, image.dtype)
    call = plan(layout(image), layout(source), kind, size, options)
    out = np.zeros((*call.out_shape, len(size)), dot_dtype(image.dtype, source.dtype))
    if out.size and options.interp != NEAREST:
        parts = forward_parts(call)
        launch(
            cpu_tangent.sample_gradient,
            call.spec._replace(source_bar=True),
            2 * call.work,
            *_addresses(out, image, source, fill),
            *(call.batch, call.channels, parts, min(math.prod(parts), CHUNKS), call.size, call.extent),
            *(out_strides(call, options), call.image, call.source),
            *likes(call, "image", "dot", "source", "like", "index"),
        )
    return out


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


def _readable(source_dot: Maybe, kind: int, image_dtype: np.dtype[Any]) -> Maybe:
    return None if source_dot is None else readable(source_dot, kind, image_dtype)
