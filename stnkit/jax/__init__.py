"""The public functions on JAX arrays and tracers, as operations with every rule.

`stnkit.grid_sample` and its like come here when an argument is a JAX array, so there is nothing to import. They work
in `jax.jit`, `jax.grad`, `jax.vmap` and all that is made of them, to any order.
"""

from stnkit.jax._compat import OLDEST as OLDEST  # first: what follows needs a JAX that is new enough

# isort: split
from functools import partial

import stnkit
from stnkit.jax import grids, prefilter, samplers
from stnkit.jax import registration as registration  # which registers the operations
from stnkit.jax.call import signed
from stnkit.jax.fast_path import repeated as repeated
from stnkit.jax.ffi import export as export  # which answers for exported programs
from stnkit.jax.maps import made_of
from stnkit.jax.prefiltered import prefiltering, sampler
from stnkit.spec import AFFINE, FLOW

grid_sample = sampler(stnkit.grid_sample)
grid_sample_vjp = sampler(stnkit.grid_sample_vjp)
grid_sample_jvp = sampler(stnkit.grid_sample_jvp)
grid_sample_double_vjp = sampler(stnkit.grid_sample_double_vjp)
affine_sample = sampler(stnkit.affine_sample)
affine_sample_vjp = sampler(stnkit.affine_sample_vjp)
affine_sample_jvp = sampler(stnkit.affine_sample_jvp)
affine_sample_double_vjp = sampler(stnkit.affine_sample_double_vjp)
flow_sample = sampler(stnkit.flow_sample)
flow_sample_vjp = sampler(stnkit.flow_sample_vjp)
flow_sample_jvp = sampler(stnkit.flow_sample_jvp)
flow_sample_double_vjp = sampler(stnkit.flow_sample_double_vjp)
projective_sample = sampler(stnkit.projective_sample)
projective_sample_vjp = sampler(stnkit.projective_sample_vjp)
projective_sample_jvp = sampler(stnkit.projective_sample_jvp)
thin_plate_spline_sample = sampler(stnkit.thin_plate_spline_sample)
thin_plate_spline_sample_vjp = sampler(stnkit.thin_plate_spline_sample_vjp)
thin_plate_spline_sample_jvp = sampler(stnkit.thin_plate_spline_sample_jvp)

projective_grid = made_of(stnkit.projective_grid)
projective_grid_vjp = made_of(stnkit.projective_grid_vjp)
projective_grid_jvp = made_of(stnkit.projective_grid_jvp)
thin_plate_spline_grid = made_of(stnkit.thin_plate_spline_grid)
thin_plate_spline_grid_vjp = made_of(stnkit.thin_plate_spline_grid_vjp)
thin_plate_spline_grid_jvp = made_of(stnkit.thin_plate_spline_grid_jvp)

affine_grid = signed(stnkit.affine_grid, partial(grids.grid, AFFINE))
affine_grid_vjp = signed(stnkit.affine_grid_vjp, grids.affine_grid_vjp)
affine_grid_jvp = signed(stnkit.affine_grid_jvp, partial(grids.grid_jvp, AFFINE))
flow_grid = signed(stnkit.flow_grid, partial(grids.grid, FLOW))
flow_grid_vjp = signed(stnkit.flow_grid_vjp, grids.flow_grid_vjp)
flow_grid_jvp = signed(stnkit.flow_grid_jvp, partial(grids.grid_jvp, FLOW))
grid_splat = prefiltering(stnkit.grid_splat, grids.grid_splat)
grid_splat_vjp = prefiltering(stnkit.grid_splat_vjp, grids.grid_splat_vjp)
grid_count = signed(stnkit.grid_count, grids.grid_count)
grid_gradient = prefiltering(stnkit.grid_gradient, samplers.gradient)
spline_filter = signed(stnkit.spline_filter, prefilter.spline_filter)
spline_filter_vjp = signed(stnkit.spline_filter_vjp, prefilter.spline_filter_vjp)
