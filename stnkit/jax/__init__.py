"""The public functions on JAX arrays and tracers, as operations with every rule.

`stnkit.grid_sample` and its like come here when an argument is a JAX array, so there is nothing to import. They work
in `jax.jit`, `jax.grad`, `jax.vmap` and all that is made of them, to any order.
"""

from stnkit.jax._compat import OLDEST as OLDEST  # first: what follows needs a JAX that is new enough

# isort: split
from functools import partial

import stnkit
from stnkit.jax import grids, samplers
from stnkit.jax import registration as registration  # which registers the operations
from stnkit.jax.antialias import antialiasing
from stnkit.jax.call import signed
from stnkit.jax.ffi import export as export  # which answers for exported programs
from stnkit.jax.maps import JAX
from stnkit.spec import AFFINE, FLOW, GRID, PROJECTIVE, THIN_PLATE_SPLINE
from stnkit.transforms import formulas

grid_sample = signed(stnkit.grid_sample, partial(samplers.sample, GRID))
grid_sample_vjp = signed(stnkit.grid_sample_vjp, partial(samplers.sample_vjp, GRID))
grid_sample_jvp = signed(stnkit.grid_sample_jvp, partial(samplers.sample_jvp, GRID))
grid_sample_double_vjp = signed(stnkit.grid_sample_double_vjp, partial(samplers.sample_double_vjp, GRID))

affine_sample = antialiasing(stnkit.affine_sample, partial(samplers.sample, AFFINE))
affine_sample_vjp = antialiasing(stnkit.affine_sample_vjp, partial(samplers.sample_vjp, AFFINE))
affine_sample_jvp = antialiasing(stnkit.affine_sample_jvp, partial(samplers.sample_jvp, AFFINE))
affine_sample_double_vjp = antialiasing(stnkit.affine_sample_double_vjp, partial(samplers.sample_double_vjp, AFFINE))

flow_sample = antialiasing(stnkit.flow_sample, partial(samplers.sample, FLOW))
flow_sample_vjp = antialiasing(stnkit.flow_sample_vjp, partial(samplers.sample_vjp, FLOW))
flow_sample_jvp = antialiasing(stnkit.flow_sample_jvp, partial(samplers.sample_jvp, FLOW))
flow_sample_double_vjp = antialiasing(stnkit.flow_sample_double_vjp, partial(samplers.sample_double_vjp, FLOW))

affine_grid = signed(stnkit.affine_grid, grids.affine_grid)
affine_grid_vjp = signed(stnkit.affine_grid_vjp, grids.affine_grid_vjp)
affine_grid_jvp = signed(stnkit.affine_grid_jvp, grids.affine_grid_jvp)
flow_grid = signed(stnkit.flow_grid, grids.flow_grid)
flow_grid_vjp = signed(stnkit.flow_grid_vjp, grids.flow_grid_vjp)
flow_grid_jvp = signed(stnkit.flow_grid_jvp, grids.flow_grid_jvp)

projective_grid = signed(stnkit.projective_grid, partial(formulas.grid, JAX, PROJECTIVE))
projective_grid_vjp = signed(stnkit.projective_grid_vjp, partial(formulas.grid_vjp, JAX, PROJECTIVE))
projective_grid_jvp = signed(stnkit.projective_grid_jvp, partial(formulas.grid_jvp, JAX, PROJECTIVE))
projective_sample = antialiasing(stnkit.projective_sample, partial(formulas.sample, JAX, PROJECTIVE))
projective_sample_vjp = antialiasing(stnkit.projective_sample_vjp, partial(formulas.sample_vjp, JAX, PROJECTIVE))
projective_sample_jvp = antialiasing(stnkit.projective_sample_jvp, partial(formulas.sample_jvp, JAX, PROJECTIVE))
thin_plate_spline_grid = signed(stnkit.thin_plate_spline_grid, partial(formulas.grid, JAX, THIN_PLATE_SPLINE))
thin_plate_spline_grid_vjp = signed(
    stnkit.thin_plate_spline_grid_vjp, partial(formulas.grid_vjp, JAX, THIN_PLATE_SPLINE)
)
thin_plate_spline_grid_jvp = signed(
    stnkit.thin_plate_spline_grid_jvp, partial(formulas.grid_jvp, JAX, THIN_PLATE_SPLINE)
)
thin_plate_spline_sample = antialiasing(
    stnkit.thin_plate_spline_sample, partial(formulas.sample, JAX, THIN_PLATE_SPLINE)
)
thin_plate_spline_sample_vjp = antialiasing(
    stnkit.thin_plate_spline_sample_vjp, partial(formulas.sample_vjp, JAX, THIN_PLATE_SPLINE)
)
thin_plate_spline_sample_jvp = antialiasing(
    stnkit.thin_plate_spline_sample_jvp, partial(formulas.sample_jvp, JAX, THIN_PLATE_SPLINE)
)

grid_splat = signed(stnkit.grid_splat, grids.grid_splat)
grid_splat_vjp = signed(stnkit.grid_splat_vjp, grids.grid_splat_vjp)
grid_count = signed(stnkit.grid_count, grids.grid_count)
grid_gradient = signed(stnkit.grid_gradient, samplers.gradient)
