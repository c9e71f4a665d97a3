"""torch's own checks of derivatives, by finite differences: of every operation, in both modes, to the second order.

Along one axis of every entry; on more axes of products with random vectors, which an entry that is wrong changes too.
"""

import itertools

import pytest
import torch
from covering import every_two_of
from torch_cases import draw

import stnkit
from stnkit.torch.autograd import call
from stnkit.torch.operations import OPERATIONS

# torch scripts some of its own when it is asked for batched gradients.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

FIRST = [name for name in OPERATIONS if "double" not in name]
TWICE = [name for name in OPERATIONS if not name.endswith("jvp") and "vjp" not in name]


def function(name, rest, options):
    """Return a public function of its tensors alone; of what has none, the operation."""
    if name in stnkit.__all__:
        return lambda *tensors: getattr(stnkit, name)(*tensors, *rest, **options)
    return lambda *tensors: call(name, *tensors, *rest, **options)


MODES = ("bilinear", "bicubic", "spline2", "spline5", "lanczos3")


def _affordable(name, d, mode):
    """Leave out what takes too long without a compiler: tangents and modes of many taps on more axes."""
    if mode == "bilinear":
        return d < 3 or not name.endswith("_jvp")
    return OPERATIONS[name].picture is not None and d <= (2 if mode == "bicubic" and not name.endswith("jvp") else 1)


@every_two_of(_affordable, name=FIRST, d=(1, 2, 3), mode=MODES)
def test_first_order(name, d, mode):
    tensors, rest, options = draw(name, d, batch=2 if d == 1 else 1, mode=mode)
    tensors = [tensor.requires_grad_() for tensor in tensors]
    f = function(name, rest, options)
    batched = d == 1
    assert torch.autograd.gradcheck(
        f,
        tensors,
        check_forward_ad=True,
        check_batched_grad=batched,
        check_batched_forward_grad=batched,
        fast_mode=d > 1,
    )


@every_two_of(_affordable, name=TWICE, d=(1, 2, 3), mode=MODES)
def test_second_order(name, d, mode):
    tensors, rest, options = draw(name, d, batch=2 if d == 1 else 1, mode=mode)
    tensors = [tensor.requires_grad_() for tensor in tensors]
    f = function(name, rest, options)
    orders = {"check_fwd_over_rev": True, "check_rev_over_rev": True}
    assert torch.autograd.gradgradcheck(f, tensors, **orders, fast_mode=d > 1)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_subset_has_its_own_gradients(name, d):
    """What needs no gradient gets none, and the others get what they get when all do."""
    tensors, rest, options = draw(name, d)
    f = function(name, rest, options)

    def gradients(wanted):
        given = [t.clone().requires_grad_(needed) for t, needed in zip(tensors, wanted, strict=True)]
        results = f(*given)
        results = results if isinstance(results, tuple) else (results,)
        sum((result**2).sum() for result in results if result.requires_grad).backward()
        return [tensor.grad for tensor in given]

    full = gradients([True] * len(tensors))
    for wanted in itertools.product((False, True), repeat=len(tensors)):
        if not any(wanted):
            continue
        for bar, expected, asked in zip(gradients(wanted), full, wanted, strict=True):
            assert (bar is not None) == asked
            if asked:
                torch.testing.assert_close(bar, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["border", "reflection", "wrap", ["zeros", "border"]])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_options_reach_every_order(padding, data_format):
    tensors, rest, options = draw("grid_sample", 2, batch=1, channels=2)
    image = tensors[0].movedim(1, -1).contiguous() if data_format == "channels_last" else tensors[0]
    tensors = [image.requires_grad_(), tensors[1].requires_grad_()]
    options |= {"padding_mode": padding, "data_format": data_format, "fill_value": [0.5, -0.25], "align_corners": True}
    f = function("grid_sample", rest, options)
    assert torch.autograd.gradcheck(f, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, tensors, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("shared", ["image", "source"])
@pytest.mark.parametrize("name", ["grid_sample", "affine_sample", "flow_sample", "grid_splat"])
def test_what_a_batch_shares_gets_the_sum(name, shared):
    tensors, rest, options = draw(name, 1)
    at = 0 if shared == "image" else 1
    tensors[at] = tensors[at][:1].clone()
    tensors = [tensor.requires_grad_() for tensor in tensors]
    f = function(name, rest, options)
    assert torch.autograd.gradcheck(f, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, tensors, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.endswith("double_vjp")])
def test_third_order_is_refused(name):
    tensors, rest, options = draw(name, 1)
    f = function(name, rest, options)
    results = f(*(tensor.requires_grad_() for tensor in tensors))
    with pytest.raises(NotImplementedError, match="third derivatives"):
        results[1].sum().backward()
    with pytest.raises(NotImplementedError, match="third derivatives"):
        torch.func.jvp(f, tuple(t.detach() for t in tensors), tuple(map(torch.ones_like, tensors)))


def test_derived_functions():
    """Of those that are composed of others: counting and the spatial gradient."""
    (image, grid), _, _ = draw("grid_sample", 2, batch=1)
    grid, image = grid.requires_grad_(), image.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: stnkit.grid_count(u, (3, 4)), [grid], check_forward_ad=True)
    expected = stnkit.grid_gradient(image.detach(), grid.detach())
    torch.testing.assert_close(stnkit.grid_gradient(image, grid), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(stnkit.grid_gradient, [image, grid])
    flow = (grid.detach() / 4).requires_grad_()
    assert torch.autograd.gradcheck(stnkit.flow_grid_jvp, [flow, flow.detach().clone().requires_grad_()])
    theta = torch.eye(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: stnkit.affine_grid_jvp(a, b, (2, 3)), [theta, theta.detach() * 2])


def test_cotangents_that_autograd_batches():
    """torch asks no batched tensor whether its channels lie last."""
    image, grid = torch.rand(2, 2, 4, 5), torch.rand(2, 4, 3, 2) * 2.4 - 1.2
    image = image.contiguous(memory_format=torch.channels_last).requires_grad_()
    for _ in range(2):
        items = stnkit.grid_sample(image, grid).sum((1, 2, 3))
        (found,) = torch.autograd.grad(items, image, torch.eye(2), is_grads_batched=True, retain_graph=True)
        for item, bar in zip(items, found, strict=True):
            assert torch.equal(bar, torch.autograd.grad(item, image, retain_graph=True)[0])
