"""What the functions of `stnkit` do with tensors. It is imported by itself when the first one comes.

Here they have the names and signatures of the public functions, and are differentiable any way that torch knows, twice.
No more threads work than `torch.get_num_threads` allows.
"""

from stnkit.torch._compat import OLDEST as OLDEST  # first: what follows needs a torch that is new enough

# isort: split
import stnkit
from stnkit.torch import composed as parts
from stnkit.torch import prefilter
from stnkit.torch.composed import composed, made_of
from stnkit.torch.fast_path import repeated as repeated
from stnkit.torch.functions import public_function
from stnkit.torch.registration import register

register()

grid_sample = public_function(stnkit.grid_sample)
grid_sample_vjp = public_function(stnkit.grid_sample_vjp)
grid_sample_jvp = public_function(stnkit.grid_sample_jvp)
grid_sample_double_vjp = public_function(stnkit.grid_sample_double_vjp)
affine_sample = public_function(stnkit.affine_sample)
affine_sample_vjp = public_function(stnkit.affine_sample_vjp)
affine_sample_jvp = public_function(stnkit.affine_sample_jvp)
affine_sample_double_vjp = public_function(stnkit.affine_sample_double_vjp)
flow_sample = public_function(stnkit.flow_sample)
flow_sample_vjp = public_function(stnkit.flow_sample_vjp)
flow_sample_jvp = public_function(stnkit.flow_sample_jvp)
flow_sample_double_vjp = public_function(stnkit.flow_sample_double_vjp)
affine_grid = public_function(stnkit.affine_grid)
affine_grid_vjp = public_function(stnkit.affine_grid_vjp)
flow_grid = public_function(stnkit.flow_grid)
flow_grid_vjp = public_function(stnkit.flow_grid_vjp)
grid_splat = public_function(stnkit.grid_splat)
grid_splat_vjp = public_function(stnkit.grid_splat_vjp)

projective_grid = made_of(stnkit.projective_grid)
projective_grid_vjp = made_of(stnkit.projective_grid_vjp)
projective_grid_jvp = made_of(stnkit.projective_grid_jvp)
projective_sample = made_of(stnkit.projective_sample)
projective_sample_vjp = made_of(stnkit.projective_sample_vjp)
projective_sample_jvp = made_of(stnkit.projective_sample_jvp)
thin_plate_spline_grid = made_of(stnkit.thin_plate_spline_grid)
thin_plate_spline_grid_vjp = made_of(stnkit.thin_plate_spline_grid_vjp)
thin_plate_spline_grid_jvp = made_of(stnkit.thin_plate_spline_grid_jvp)
thin_plate_spline_sample = made_of(stnkit.thin_plate_spline_sample)
thin_plate_spline_sample_vjp = made_of(stnkit.thin_plate_spline_sample_vjp)
thin_plate_spline_sample_jvp = made_of(stnkit.thin_plate_spline_sample_jvp)

affine_grid_jvp = composed(stnkit.affine_grid_jvp, parts.affine_grid_jvp)
flow_grid_jvp = composed(stnkit.flow_grid_jvp, parts.flow_grid_jvp)
grid_count = composed(stnkit.grid_count, parts.grid_count)
grid_gradient = composed(stnkit.grid_gradient, parts.grid_gradient)
spline_filter = composed(stnkit.spline_filter, prefilter.spline_filter)
spline_filter_vjp = composed(stnkit.spline_filter_vjp, prefilter.spline_filter_vjp)
