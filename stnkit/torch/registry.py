"""Registration: every operation of the table as `torch.ops.stnkit.<name>`, with all that torch asks of one."""

import functools
from typing import Any

import torch

from stnkit.torch._compat import BELOW
from stnkit.torch.arguments import in_speech
from stnkit.torch.autograd import RULES, dispatched
from stnkit.torch.batching import batched
from stnkit.torch.derivatives.grids import LINEAR, of_flow, of_grid, of_theta
from stnkit.torch.derivatives.samplers import sampler
from stnkit.torch.derivatives.splat import SPLAT
from stnkit.torch.fake import fake
from stnkit.torch.operations import NAMESPACE, OPERATIONS, Operation
from stnkit.torch.run import kernel

RULES.update(sampler("grid_sample", of_grid))
RULES.update(sampler("affine_sample", of_theta))
RULES.update(sampler("flow_sample", of_flow))
RULES.update(LINEAR)
RULES.update(SPLAT)

# Images of any precision go beside coordinates of any other, so autocast has nothing to cast: torch's dispatcher
# passes such operations through.
LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")


def computed(operation: Operation, *arguments: Any, **schema: Any) -> Any:
    """Be the operation's kernel in torch's dispatcher."""
    count = len(operation.arrays)
    return kernel(operation, arguments[:count], arguments[count:], in_speech(schema))


def register() -> None:
    """Register the operations, once in a process."""
    if hasattr(getattr(torch.ops, NAMESPACE), next(iter(OPERATIONS))):
        return
    for name, operation in OPERATIONS.items():
        for end in {"", BELOW}:
            _register(operation, name + end)
        LIBRARY.impl(name, functools.partial(dispatched, operation), "Autograd")


def _register(operation: Operation, name: str) -> None:
    """Register all of an operation but its derivatives."""
    qualified = f"{NAMESPACE}::{name}"
    LIBRARY.define(operation.schema.replace(operation.name, name, 1), tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        LIBRARY.impl(name, functools.partial(computed, operation), device)
    torch.library.register_fake(qualified, functools.partial(fake, operation), lib=LIBRARY)
    torch.library.register_vmap(qualified, functools.partial(batched, operation), lib=LIBRARY)
