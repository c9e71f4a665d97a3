"""What the functions of `stnkit` do with tensors. It is imported by itself when the first one comes.

Here they have the names and signatures of the public functions, and are differentiable any way that torch knows, twice.
No more threads work than `torch.get_num_threads` allows.
"""

from stnkit.torch._compat import OLDEST as OLDEST  # first: what follows needs a torch that is new enough

# isort: split
import stnkit
from stnkit._dispatch import PUBLIC
from stnkit.torch import composed as parts
from stnkit.torch import prefilter
from stnkit.torch.composed import composed, made_of
from stnkit.torch.fast_path import repeated as repeated
from stnkit.torch.functions import public_function
from stnkit.torch.operations import OPERATIONS
from stnkit.torch.registration import register
from stnkit.transforms.differentiable_grids import FORMULAS

register()

for _name, _public in PUBLIC.items():
    if _name in OPERATIONS:
        globals()[_name] = public_function(_public)
    elif _name in FORMULAS:
        globals()[_name] = made_of(_public)

affine_grid_jvp = composed(stnkit.affine_grid_jvp, parts.affine_grid_jvp)
flow_grid_jvp = composed(stnkit.flow_grid_jvp, parts.flow_grid_jvp)
grid_count = composed(stnkit.grid_count, parts.grid_count)
grid_gradient = composed(stnkit.grid_gradient, parts.grid_gradient)
spline_filter = composed(stnkit.spline_filter, prefilter.spline_filter)
spline_filter_vjp = composed(stnkit.spline_filter_vjp, prefilter.spline_filter_vjp)
