"""What `torch.library` asks of a registered operation: its own checks, of every operation."""

import pytest
import torch
from torch_cases import draw

from stnkit.torch.operations import OPERATIONS, registered

# torch's own, of 2.15: its check describes tensors that are no leaves
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")

CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


def given(name, d, **options):
    operation = OPERATIONS[name]
    tensors, rest, options = draw(name, d, **options)
    rest = rest + [[True, True]] * operation.chosen
    if operation.picture is not None:
        options["padding_mode"] = ["border"]
    return registered(operation), tensors, rest, options


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_opcheck(name, d):
    op, tensors, rest, options = given(name, d)
    if "double" not in name:  # the third order is not there, and says so
        tensors = [tensor.requires_grad_() for tensor in tensors]
    torch.library.opcheck(op, (*tensors, *rest), options, test_utils=CHECKS)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.picture is not None])
def test_opcheck_in_channels_last_memory(name, d):
    """The strides that are promised are those of the results."""
    op, tensors, rest, options = given(name, d, channels=3)
    last = torch.channels_last if d == 2 else torch.channels_last_3d
    shapes = OPERATIONS[name].shapes
    pairs = zip(tensors, shapes, strict=True)
    tensors = [t.to(memory_format=last) if shape in ("image", "out") else t for t, shape in pairs]
    torch.library.opcheck(op, (*tensors, *rest), options, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("wrt", [[True, False], [False, True]])
@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.chosen])
def test_opcheck_of_a_choice(name, wrt):
    op, tensors, _, options = given(name, 1)
    torch.library.opcheck(op, (*(t.requires_grad_() for t in tensors), wrt), options, test_utils=CHECKS)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.optional])
def test_opcheck_without_tangents(name):
    op, tensors, rest, options = given(name, 1)
    missing = [None if array in OPERATIONS[name].optional else t for t, array in
               zip(tensors, OPERATIONS[name].arrays, strict=True)]  # fmt: skip
    torch.library.opcheck(op, (*missing, *rest), options, test_utils=("test_schema", "test_faketensor"))
