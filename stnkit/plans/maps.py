"""Plans of the grids of maps that are not affine, and of their derivatives; layouts are those of what kernels read."""

import functools
import math

from stnkit.kernels.cpu import factories
from stnkit.kernels.cpu.call import OUT, OUT_DOT, SOURCE_BAR
from stnkit.plans.launch import Buffer, Launch, Plan, grid_call, planned, source_bar
from stnkit.plans.layout import Layout, Shape, grid_spec, tiles
from stnkit.spec import PROJECTIVE, THIN_PLATE_SPLINE, Place


@functools.lru_cache(maxsize=4096)
def thin_plate_grid(source: Layout, size: Shape, align: bool, place: Place | None = None) -> Plan:
    """Plan the writing of the coordinates of thin plate splines as a grid."""
    out = Buffer(OUT, (source[0][0], *size, len(size)), source[2])
    spec = grid_spec(len(size), source[2], THIN_PLATE_SPLINE, align, placed=place is not None)
    words = grid_call(source, THIN_PLATE_SPLINE, size, source[0][0] * tiles(math.prod(size)), place)
    return planned((out,), Launch(factories.THIN_PLATE_GRID, spec, math.prod(out.shape), words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def map_grid_vjp(source: Layout, kind: int, size: Shape, align: bool, place: Place | None = None) -> Plan:
    """Plan the cotangent of maps from that of their grids, without gaps."""
    batch, ndim = source[0][0], len(size)
    bars = source_bar(batch, source, kind, size)
    spec = grid_spec(ndim, source[2], kind, align, placed=place is not None)._replace(source_bar=True)
    words = grid_call(source, kind, size, batch * tiles(math.prod(size)), place)
    words = words._replace(source_bar=(0, bars.shape[-1]))
    return planned((bars,), Launch(factories.MAP_GRID_VJP, spec, batch * math.prod(size) * ndim, words, (SOURCE_BAR,)))


@functools.lru_cache(maxsize=4096)
def projective_grid_jvp(theta: Layout, size: Shape, align: bool, place: Place | None = None) -> Plan:
    """Plan the tangent of the grid that projective maps give."""
    batch, ndim = theta[0][0], len(size)
    out = Buffer(OUT_DOT, (batch, *size, ndim), theta[2])
    words = grid_call(theta, PROJECTIVE, size, batch * math.prod(size), place)
    spec = grid_spec(ndim, theta[2], PROJECTIVE, align, placed=place is not None)
    return planned((out,), Launch(factories.MAP_GRID_JVP, spec, math.prod(out.shape), words, (OUT_DOT,)))
