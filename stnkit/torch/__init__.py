"""What the functions of `stnkit` do with tensors. It is imported by itself when the first one comes.

Here they have the names and signatures of the public functions, and are differentiable any way that torch knows, twice.
No more threads work than `torch.get_num_threads` allows.
"""

from stnkit.torch._compat import OLDEST as OLDEST  # first: what follows needs a torch that is new enough

# isort: split
from stnkit.torch.composed import (
    affine_grid_jvp as affine_grid_jvp,
)
from stnkit.torch.composed import (
    flow_grid_jvp as flow_grid_jvp,
)
from stnkit.torch.composed import (
    grid_count as grid_count,
)
from stnkit.torch.composed import (
    grid_gradient as grid_gradient,
)
from stnkit.torch.composed import (
    projective_grid as projective_grid,
)
from stnkit.torch.composed import (
    projective_grid_jvp as projective_grid_jvp,
)
from stnkit.torch.composed import (
    projective_grid_vjp as projective_grid_vjp,
)
from stnkit.torch.composed import (
    projective_sample as projective_sample,
)
from stnkit.torch.composed import (
    projective_sample_jvp as projective_sample_jvp,
)
from stnkit.torch.composed import (
    projective_sample_vjp as projective_sample_vjp,
)
from stnkit.torch.composed import (
    thin_plate_spline_grid as thin_plate_spline_grid,
)
from stnkit.torch.composed import (
    thin_plate_spline_grid_jvp as thin_plate_spline_grid_jvp,
)
from stnkit.torch.composed import (
    thin_plate_spline_grid_vjp as thin_plate_spline_grid_vjp,
)
from stnkit.torch.composed import (
    thin_plate_spline_sample as thin_plate_spline_sample,
)
from stnkit.torch.composed import (
    thin_plate_spline_sample_jvp as thin_plate_spline_sample_jvp,
)
from stnkit.torch.composed import (
    thin_plate_spline_sample_vjp as thin_plate_spline_sample_vjp,
)
from stnkit.torch.functions import (
    affine_grid as affine_grid,
)
from stnkit.torch.functions import (
    affine_grid_vjp as affine_grid_vjp,
)
from stnkit.torch.functions import (
    affine_sample as affine_sample,
)
from stnkit.torch.functions import (
    affine_sample_double_vjp as affine_sample_double_vjp,
)
from stnkit.torch.functions import (
    affine_sample_jvp as affine_sample_jvp,
)
from stnkit.torch.functions import (
    affine_sample_vjp as affine_sample_vjp,
)
from stnkit.torch.functions import (
    flow_grid as flow_grid,
)
from stnkit.torch.functions import (
    flow_grid_vjp as flow_grid_vjp,
)
from stnkit.torch.functions import (
    flow_sample as flow_sample,
)
from stnkit.torch.functions import (
    flow_sample_double_vjp as flow_sample_double_vjp,
)
from stnkit.torch.functions import (
    flow_sample_jvp as flow_sample_jvp,
)
from stnkit.torch.functions import (
    flow_sample_vjp as flow_sample_vjp,
)
from stnkit.torch.functions import (
    grid_sample as grid_sample,
)
from stnkit.torch.functions import (
    grid_sample_double_vjp as grid_sample_double_vjp,
)
from stnkit.torch.functions import (
    grid_sample_jvp as grid_sample_jvp,
)
from stnkit.torch.functions import (
    grid_sample_vjp as grid_sample_vjp,
)
from stnkit.torch.functions import (
    grid_splat as grid_splat,
)
from stnkit.torch.functions import (
    grid_splat_vjp as grid_splat_vjp,
)
from stnkit.torch.registry import register

register()
