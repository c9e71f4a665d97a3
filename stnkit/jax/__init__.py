"""The public functions on JAX arrays and tracers, as operations with every rule.

`stnkit.grid_sample` and its like come here when an argument is a JAX array, so there is nothing to import. They work
in `jax.jit`, `jax.grad`, `jax.vmap` and all that is made of them, to any order.
"""

from stnkit.jax._compat import OLDEST as OLDEST  # first: what follows needs a JAX that is new enough

# isort: split
from functools import partial

from stnkit.api import affine, flow, grid, projective, splat, thin_plate_spline
from stnkit.jax import grids, maps, samplers
from stnkit.jax import registration as registration  # which registers the operations
from stnkit.jax.antialias import antialiasing
from stnkit.jax.call import signed
from stnkit.jax.ffi import export as export  # which answers for exported programs
from stnkit.spec import AFFINE, FLOW, GRID

grid_sample = signed(grid.grid_sample, partial(samplers.sample, GRID))
grid_sample_vjp = signed(grid.grid_sample_vjp, partial(samplers.sample_vjp, GRID))
grid_sample_jvp = signed(grid.grid_sample_jvp, partial(samplers.sample_jvp, GRID))
grid_sample_double_vjp = signed(grid.grid_sample_double_vjp, partial(samplers.sample_double_vjp, GRID))

affine_sample = antialiasing(affine.affine_sample, partial(samplers.sample, AFFINE))
affine_sample_vjp = antialiasing(affine.affine_sample_vjp, partial(samplers.sample_vjp, AFFINE))
affine_sample_jvp = antialiasing(affine.affine_sample_jvp, partial(samplers.sample_jvp, AFFINE))
affine_sample_double_vjp = antialiasing(affine.affine_sample_double_vjp, partial(samplers.sample_double_vjp, AFFINE))

flow_sample = antialiasing(flow.flow_sample, partial(samplers.sample, FLOW))
flow_sample_vjp = antialiasing(flow.flow_sample_vjp, partial(samplers.sample_vjp, FLOW))
flow_sample_jvp = antialiasing(flow.flow_sample_jvp, partial(samplers.sample_jvp, FLOW))
flow_sample_double_vjp = antialiasing(flow.flow_sample_double_vjp, partial(samplers.sample_double_vjp, FLOW))

affine_grid = signed(affine.affine_grid, grids.affine_grid)
affine_grid_vjp = signed(affine.affine_grid_vjp, grids.affine_grid_vjp)
affine_grid_jvp = signed(affine.affine_grid_jvp, grids.affine_grid_jvp)
flow_grid = signed(flow.flow_grid, grids.flow_grid)
flow_grid_vjp = signed(flow.flow_grid_vjp, grids.flow_grid_vjp)
flow_grid_jvp = signed(flow.flow_grid_jvp, grids.flow_grid_jvp)

projective_grid = signed(projective.projective_grid, maps.projective_grid)
projective_grid_vjp = signed(projective.projective_grid_vjp, maps.projective_grid_vjp)
projective_grid_jvp = signed(projective.projective_grid_jvp, maps.projective_grid_jvp)
projective_sample = antialiasing(projective.projective_sample, maps.projective_sample)
projective_sample_vjp = antialiasing(projective.projective_sample_vjp, maps.projective_sample_vjp)
projective_sample_jvp = antialiasing(projective.projective_sample_jvp, maps.projective_sample_jvp)
thin_plate_spline_grid = signed(thin_plate_spline.thin_plate_spline_grid, maps.thin_plate_spline_grid)
thin_plate_spline_grid_vjp = signed(thin_plate_spline.thin_plate_spline_grid_vjp, maps.thin_plate_spline_grid_vjp)
thin_plate_spline_grid_jvp = signed(thin_plate_spline.thin_plate_spline_grid_jvp, maps.thin_plate_spline_grid_jvp)
thin_plate_spline_sample = antialiasing(thin_plate_spline.thin_plate_spline_sample, maps.thin_plate_spline_sample)
thin_plate_spline_sample_vjp = antialiasing(
    thin_plate_spline.thin_plate_spline_sample_vjp, maps.thin_plate_spline_sample_vjp
)
thin_plate_spline_sample_jvp = antialiasing(
    thin_plate_spline.thin_plate_spline_sample_jvp, maps.thin_plate_spline_sample_jvp
)

grid_splat = signed(splat.grid_splat, grids.grid_splat)
grid_splat_vjp = signed(splat.grid_splat_vjp, grids.grid_splat_vjp)
grid_count = signed(splat.grid_count, grids.grid_count)
grid_gradient = signed(splat.grid_gradient, samplers.gradient)
