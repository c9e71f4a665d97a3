"""Loops over the grids of maps that are no affine ones, and their derivatives; parts and arrays are those of `cpu`."""

import functools
from typing import Any

from numba import int64, prange

from stnkit.kernels.cpu import put_map_bar, share, span
from stnkit.kernels.jit import View, kernel, leaf, pointer
from stnkit.kernels.maps import bend_out, run, spread_out
from stnkit.kernels.point import slot
from stnkit.kernels.sources import coordinate, tangent
from stnkit.kernels.tile import allocate, divide, release
from stnkit.spec import Spec

# Memory that a parallel kernel writes by itself, and not in a leaf, Numba may take for dead: a pointer has no aliases.


@leaf
def write(out, at, rows, count, spec):
    """Write staged rows, one per axis, out as a grid."""
    for p in range(count):
        for axis in range(spec.ndim):
            out[at + p * spec.ndim + axis] = rows[slot(axis, p)]


@leaf
def read(rows, grid, at, count, spec):
    """Stage a grid as rows, one per axis."""
    for p in range(count):
        for axis in range(spec.ndim):
            rows[slot(axis, p)] = grid[at + p * spec.ndim + axis]


@functools.cache
def plate_grid(spec: Spec) -> Any:
    """Build the kernel that writes the coordinates of thin plate splines out as a grid (batch, location, axis)."""

    def plate_grid(out_at, source_at, items, tiles, chunks, size, source_strides, like, index_like):
        points = size[0] * size[1] * size[2]
        for chunk in prange(chunks):
            out = pointer(out_at, like)
            source = View(pointer(source_at, like), source_strides)
            memory = allocate(spec.serial)
            tile = divide(memory, like, index_like, spec.serial)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                first, count = span(item % tiles, points)
                spread_out(tile.places, first, count, size, like, spec.serial)
                bend_out(tile.coords, tile.places, source, item // tiles, count, like, spec.serial)
                at = (item // tiles * points + first) * spec.ndim
                write(out, at, tile.coords, count, spec.serial)
            release(memory)

    return kernel(plate_grid, spec)


@functools.cache
def map_grid_vjp(spec: Spec) -> Any:
    """Build the kernel that sums a grid's cotangent to those of its maps: one partial sum for each tile."""

    def map_grid_vjp(
        theta_bar_at, grid_bar_at, source_at, items, tiles, chunks, size, width, source_strides, like, index_like
    ):  # fmt: skip
        points = size[0] * size[1] * size[2]
        for chunk in prange(chunks):
            theta_bar, grid_bar = pointer(theta_bar_at, 0.0), pointer(grid_bar_at, like)
            source = View(pointer(source_at, like), source_strides)
            memory = allocate(spec.serial)
            tile = divide(memory, like, index_like, spec.serial)
            first_item, last_item = share(items, int64(chunk), chunks)
            for item in range(first_item, last_item):
                first, count = span(item % tiles, points)
                at = (item // tiles * points + first) * spec.ndim
                read(tile.bars, grid_bar, at, count, spec.serial)
                put_map_bar(
                    theta_bar, item * width, source, tile, item // tiles, first, count, size, like, spec.serial
                )  # fmt: skip
            release(memory)

    return kernel(map_grid_vjp, spec)


@functools.cache
def map_grid_jvp(spec: Spec) -> Any:
    """Build the kernel that writes out the tangent of the grid of projective maps."""

    def map_grid_jvp(out_at, source_at, source_dot_at, batch, chunks, size, source_strides, like):
        points = size[0] * size[1] * size[2]
        for chunk in prange(chunks):
            out = pointer(out_at, like)
            source = View(pointer(source_at, like), source_strides)
            source_dot = View(pointer(source_dot_at, like), source_strides)
            first, last = share(batch * points, int64(chunk), chunks)
            for place in range(first, last):
                z, y, x, _ = run(place % points, 0, 1, size)
                at = place * spec.ndim
                put_tangent(out, at, source, source_dot, place // points, (z, y, x), size, like, spec.serial)

    return kernel(map_grid_jvp, spec)


@leaf
def put_tangent(out, at, source, source_dot, n, point, size, like, spec):
    """Write the tangent of one location's coordinates."""
    for axis in range(spec.ndim):
        out[at + axis] = calm(source, source_dot, n, point, size, axis, like, spec)


@leaf
def calm(source, source_dot, n, point, size, axis, like, spec):
    """Return the tangent of a coordinate; exactly 0 where that is not finite."""
    T = type(like)
    u = coordinate(source, n, point, size, axis, like, spec)
    u_dot = tangent(source, source_dot, n, point, size, axis, like, spec)
    return u_dot if u - u == T(0) else T(0)
