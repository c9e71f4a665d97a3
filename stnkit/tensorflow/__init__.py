"""What the functions of `stnkit` do with TensorFlow's tensors. It is imported by itself when the first one comes.

They have the names and signatures of the public functions, and run these on the tensors' memory: at once in eager mode,
and in a graph as `tf.numpy_function`. Gradients are those of the `_vjp` functions, and theirs those of `_double_vjp`.
"""

from stnkit.tensorflow._compat import OLDEST as OLDEST  # first: what follows needs a TensorFlow that is new enough

# isort: split
import stnkit
from stnkit.tensorflow.call import signed
from stnkit.tensorflow.namespace import namespace as namespace

affine_grid = signed(stnkit.affine_grid)
affine_grid_jvp = signed(stnkit.affine_grid_jvp)
affine_grid_vjp = signed(stnkit.affine_grid_vjp)
affine_sample = signed(stnkit.affine_sample)
affine_sample_double_vjp = signed(stnkit.affine_sample_double_vjp)
affine_sample_jvp = signed(stnkit.affine_sample_jvp)
affine_sample_vjp = signed(stnkit.affine_sample_vjp)
flow_grid = signed(stnkit.flow_grid)
flow_grid_jvp = signed(stnkit.flow_grid_jvp)
flow_grid_vjp = signed(stnkit.flow_grid_vjp)
flow_sample = signed(stnkit.flow_sample)
flow_sample_double_vjp = signed(stnkit.flow_sample_double_vjp)
flow_sample_jvp = signed(stnkit.flow_sample_jvp)
flow_sample_vjp = signed(stnkit.flow_sample_vjp)
grid_count = signed(stnkit.grid_count)
grid_gradient = signed(stnkit.grid_gradient)
grid_sample = signed(stnkit.grid_sample)
grid_sample_double_vjp = signed(stnkit.grid_sample_double_vjp)
grid_sample_jvp = signed(stnkit.grid_sample_jvp)
grid_sample_vjp = signed(stnkit.grid_sample_vjp)
grid_splat = signed(stnkit.grid_splat)
grid_splat_vjp = signed(stnkit.grid_splat_vjp)
projective_grid = signed(stnkit.projective_grid)
projective_grid_jvp = signed(stnkit.projective_grid_jvp)
projective_grid_vjp = signed(stnkit.projective_grid_vjp)
projective_sample = signed(stnkit.projective_sample)
projective_sample_jvp = signed(stnkit.projective_sample_jvp)
projective_sample_vjp = signed(stnkit.projective_sample_vjp)
spline_filter = signed(stnkit.spline_filter)
spline_filter_vjp = signed(stnkit.spline_filter_vjp)
thin_plate_spline_grid = signed(stnkit.thin_plate_spline_grid)
thin_plate_spline_grid_jvp = signed(stnkit.thin_plate_spline_grid_jvp)
thin_plate_spline_grid_vjp = signed(stnkit.thin_plate_spline_grid_vjp)
thin_plate_spline_sample = signed(stnkit.thin_plate_spline_sample)
thin_plate_spline_sample_jvp = signed(stnkit.thin_plate_spline_sample_jvp)
thin_plate_spline_sample_vjp = signed(stnkit.thin_plate_spline_sample_vjp)
