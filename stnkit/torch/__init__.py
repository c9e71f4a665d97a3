"""What the functions of `stnkit` do with tensors. It is imported by itself when the first one comes.

Here they have the names and signatures of the public functions, and are differentiable any way that torch knows, twice.
No more threads work than `torch.get_num_threads` allows.
"""

from stnkit.torch._compat import OLDEST as OLDEST  # first: what follows needs a torch that is new enough

# isort: split
from stnkit.torch.composed import COMPOSED
from stnkit.torch.fast_path import repeated as repeated
from stnkit.torch.functions import FUNCTIONS
from stnkit.torch.registry import register

register()
globals().update(FUNCTIONS)
globals().update(COMPOSED)
__all__ = [*FUNCTIONS, *COMPOSED]
