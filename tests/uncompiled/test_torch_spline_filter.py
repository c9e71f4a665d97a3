"""The filter of splines in torch: autograd to the second order in both modes, vmap, and compiled."""

import pytest
import torch

import stnkit

OPTIONS = [{"order": 3, "padding_mode": "zeros"}, {"order": 4, "padding_mode": "border"}, {"padding_mode": "wrap"}]


def drawn(*shape):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64) - 1


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["spline_filter", "spline_filter_vjp"])
def test_derivatives(name, options):
    def function(image):
        return getattr(stnkit, name)(image, axes=(-1, -2), **options)

    image = drawn(2, 3, 4).requires_grad_()
    every = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(function, image, **every)
    assert torch.autograd.gradgradcheck(function, image, check_fwd_over_rev=True, check_rev_over_rev=True)


def test_gradients_go_through_the_sampler():
    """Of an image of half precision too, which gets a gradient of its own dtype."""
    grid = drawn(1, 2, 3, 2) * 0.7

    def function(image, grid):
        coefficients = stnkit.spline_filter(image, padding_mode="reflection")
        return stnkit.grid_sample(coefficients, grid, mode="spline3", prefilter=False, padding_mode="reflection")

    given = drawn(1, 1, 4, 3).requires_grad_(), grid.requires_grad_()
    assert torch.autograd.gradcheck(function, given)
    half = drawn(1, 1, 4, 3).bfloat16().requires_grad_()
    function(half, grid.float()).sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_vmap():
    image = drawn(2, 3, 4, 5)
    got = torch.vmap(lambda one: stnkit.spline_filter(one, order=5, axes=-1), in_dims=2)(image)
    torch.testing.assert_close(got, stnkit.spline_filter(image, order=5, axes=3).movedim(2, 0), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Dynamo")
def test_compiled():
    def function(image):
        return stnkit.spline_filter(image, order=2, padding_mode="wrap").square().sum()

    one, other = drawn(1, 2, 4, 5).requires_grad_(), drawn(1, 2, 4, 5).requires_grad_()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(one)
    torch.testing.assert_close(compiled, function(other), rtol=0, atol=0)
    compiled.backward()
    function(other).backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-14, atol=0)


def test_registration():
    """torch's own checks of an operation: its schema, its results without numbers, its rule of autograd."""
    image = drawn(2, 3, 4).transpose(0, 1).requires_grad_()
    options = {"order": 3, "padding_mode": ["wrap"], "align_corners": False, "axes": [-1], "transpose": False}
    torch.library.opcheck(torch.ops.stnkit.spline_filter.default, (image,), options)
    with pytest.raises(TypeError, match="`out` cannot be written to"):
        stnkit.spline_filter(image, out=torch.empty_like(image))
