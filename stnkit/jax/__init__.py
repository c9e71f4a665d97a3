"""The public functions on JAX arrays and tracers, as operations with every rule.

`stnkit.grid_sample` and its like come here when an argument is a JAX array, so there is nothing to import. They work
in `jax.jit`, `jax.grad`, `jax.vmap` and all that is made of them, to any order.
"""

from stnkit.jax._compat import OLDEST as OLDEST  # first: what follows needs a JAX that is new enough

# isort: split
from functools import partial

import stnkit
from stnkit._dispatch import PUBLIC
from stnkit.calls.derivatives import SAMPLERS
from stnkit.jax import grids, prefilter, samplers
from stnkit.jax import registration as registration  # which registers the operations
from stnkit.jax.call import signed
from stnkit.jax.ffi import export as export  # which answers for exported programs
from stnkit.jax.maps import JAX
from stnkit.jax.prefiltered import prefiltering, sampler
from stnkit.spec import AFFINE, FLOW
from stnkit.transforms.differentiable_grids import FORMULAS

for _name, _public in PUBLIC.items():
    if _name in SAMPLERS:
        globals()[_name] = sampler(_public)
    elif _name in FORMULAS:
        globals()[_name] = signed(_public, partial(FORMULAS[_name], JAX))

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
