"""Loops over grids: those that sources of coordinates give, and their derivatives; parts are those of `loops`."""

import functools
from typing import Any

from stnkit.kernels.compiler.jit import View, free, kernel, leaf, pointer
from stnkit.kernels.cpu.call import (
    COTANGENT,
    OUT,
    OUT_DOT,
    SHORT_OF_MEMORY,
    SOURCE,
    SOURCE_BAR,
    SOURCE_DOT,
)
from stnkit.kernels.cpu.loops import put_map_bar
from stnkit.kernels.cpu.parts import span
from stnkit.kernels.cpu.tile import allocate, divide, sum_bars
from stnkit.kernels.cpu.words import arguments_at, words_at
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.maps import stage_lattice, stage_thin_plate
from stnkit.kernels.leaves.places import locations, own, run, start
from stnkit.kernels.leaves.sources import coordinate, put_row, tangent
from stnkit.kernels.leaves.stage import slot
from stnkit.spec import TILE, Spec


@functools.cache
def grid(spec: Spec) -> Any:
    """Build the kernel that writes a source's coordinates out as a grid (batch, location, axis)."""

    def grid(words, first, last):
        return put_rows(words, first, last, spec)

    return kernel(grid, spec)


@leaf
def put_rows(address, first_chunk, last_chunk, spec):
    """Write the coordinates of some chunks of rows."""
    words = words_at(address)
    call = arguments_at(words, spec)
    like = zero(spec.source_dtype)
    out, source = pointer(words[OUT], like), View(pointer(words[SOURCE], like), call.source)
    height, width = own(call.size, 1, spec), own(call.size, 2, spec)
    rows = own(call.size, 0, spec) * height
    for row in range(first_chunk * call.batch * rows // call.chunks, last_chunk * call.batch * rows // call.chunks):
        n, z, y = (
            row // rows,
            row % rows // height + start(call.size, 0, spec),
            row % height + start(call.size, 1, spec),
        )
        put_row(out, row * width * spec.ndim, source, n, z, y, call.size, like, spec)
    return 0


@functools.cache
def grid_vjp(spec: Spec) -> Any:
    """Build the kernel that sums a grid's cotangent to those of the maps: one partial sum for each tile."""

    def grid_vjp(words, first, last):
        return sum_grids(words, first, last, spec)

    return kernel(grid_vjp, spec)


@leaf
def sum_grids(address, first_chunk, last_chunk, spec):
    """Sum some chunks of tiles of a grid's cotangent."""
    words = words_at(address)
    call = arguments_at(words, spec)
    like, points = zero(spec.source_dtype), locations(call.size, spec)
    theta_bar, grid_bar = pointer(words[SOURCE_BAR], zero(spec.source_bar_dtype)), pointer(words[COTANGENT], like)
    tiles = (points + TILE - 1) // TILE
    items = call.batch * tiles
    for item in range(first_chunk * items // call.chunks, last_chunk * items // call.chunks):
        first, count = span(item % tiles, points)
        at, to = (item // tiles * points + first) * spec.ndim, item * spec.ndim * (spec.ndim + 1)
        sum_bars(theta_bar, to, grid_bar, at, 1, spec.ndim, first, count, call.size, like, spec)
    return 0


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


@leaf
def over_grids(address, first_chunk, last_chunk, body, spec):
    """Do `body`, which needs a stage, for every tile of some chunks of grids; return a status."""
    words = words_at(address)
    call = arguments_at(words, spec)
    memory = allocate(call.channels, call.extent, spec)
    if memory == 0:
        return SHORT_OF_MEMORY
    like, points = zero(spec.source_dtype), locations(call.size, spec)
    tile = divide(memory, like, zero(spec.index_dtype), spec)
    source = View(pointer(words[SOURCE], like), call.source)
    tiles = (points + TILE - 1) // TILE
    items = call.batch * tiles
    for item in range(first_chunk * items // call.chunks, last_chunk * items // call.chunks):
        n, (first, count) = item // tiles, span(item % tiles, points)
        body(words, call, tile, source, item, n, first, count, (n * points + first) * spec.ndim, spec)
    free(memory)
    return 0


@functools.cache
def thin_plate_grid(spec: Spec) -> Any:
    """Build the kernel that writes the coordinates of thin plate splines out as a grid (batch, location, axis)."""

    def plate_grid(words, first, last):
        return over_grids(words, first, last, put_thin_plates, spec)

    return kernel(plate_grid, spec)


@leaf
def put_thin_plates(words, call, tile, source, item, n, first, count, at, spec):
    """Write the coordinates of one tile."""
    like = zero(spec.source_dtype)
    stage_lattice(tile.lattice, first, count, call.size, like, spec)
    stage_thin_plate(tile.coords, tile.lattice, source, n, count, like, spec)
    write(pointer(words[OUT], like), at, tile.coords, count, spec)


@functools.cache
def map_grid_vjp(spec: Spec) -> Any:
    """Build the kernel that sums a grid's cotangent to those of its maps: one partial sum for each tile."""

    def map_grid_vjp(words, first, last):
        return over_grids(words, first, last, sum_map_grids, spec)

    return kernel(map_grid_vjp, spec)


@leaf
def sum_map_grids(words, call, tile, source, item, n, first, count, at, spec):
    """Sum one tile of a grid's cotangent."""
    like, theta_bar = zero(spec.source_dtype), pointer(words[SOURCE_BAR], zero(spec.source_bar_dtype))
    read(tile.bars, pointer(words[COTANGENT], like), at, count, spec)
    put_map_bar(theta_bar, item * call.source_bar[1], source, tile, n, first, count, call.size, like, spec)


@functools.cache
def map_grid_jvp(spec: Spec) -> Any:
    """Build the kernel that writes out the tangent of the grid of projective maps."""

    def map_grid_jvp(words, first, last):
        return put_tangents(words, first, last, spec)

    return kernel(map_grid_jvp, spec)


@leaf
def put_tangents(address, first_chunk, last_chunk, spec):
    """Write the tangents of some chunks of locations."""
    words = words_at(address)
    call = arguments_at(words, spec)
    like, points = zero(spec.source_dtype), locations(call.size, spec)
    out, source = pointer(words[OUT_DOT], like), View(pointer(words[SOURCE], like), call.source)
    source_dot = View(pointer(words[SOURCE_DOT], like), call.source)
    items = call.batch * points
    for item in range(first_chunk * items // call.chunks, last_chunk * items // call.chunks):
        z, y, x, _ = run(item % points, 0, 1, call.size, spec)
        put_tangent(out, item * spec.ndim, source, source_dot, item // points, (z, y, x), call.size, like, spec)
    return 0


@leaf
def put_tangent(out, at, source, source_dot, n, point, size, like, spec):
    """Write the tangent of one location's coordinates."""
    for axis in range(spec.ndim):
        out[at + axis] = finite_tangent(source, source_dot, n, point, size, axis, like, spec)


@leaf
def finite_tangent(source, source_dot, n, point, size, axis, like, spec):
    """Return the tangent of a coordinate; exactly 0 where that is not finite."""
    T = type(like)
    u = coordinate(source, n, point, size, axis, like, spec)
    u_dot = tangent(source, source_dot, n, point, size, axis, like, spec)
    return u_dot if u - u == T(0) else T(0)
