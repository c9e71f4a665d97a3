"""Splines of images in torch: autograd to the second order in both modes, transforms, compiled, and exported."""

import numpy as np
import pytest
import torch

import stnkit
from stnkit.torch.nn import GridSample

OPTIONS = {"mode": "spline3", "padding_mode": ["zeros", "border"], "fill_value": [0.5, -1.0]}
POINTS = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])


def drawn(*shape):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64) - 1


def maps(rows):
    return 0.7 * torch.eye(rows, 3, dtype=torch.float64)[None] + 0.03 * drawn(1, rows, 3)


CALLS = {
    "grid_sample": (lambda: (drawn(1, 2, 3, 2), 0.8 * drawn(1, 1, 2, 2)), (), {}),
    "affine_sample": (lambda: (drawn(1, 2, 3, 2), maps(2)), ((1, 2),), {"antialias": 2}),
    "flow_sample": (lambda: (drawn(1, 2, 1, 3), 0.4 * drawn(1, 1, 3, 2)), (), {}),
    "projective_sample": (lambda: (drawn(1, 2, 3, 2), maps(3)), ((1, 2),), {}),
    "thin_plate_spline_sample": (
        lambda: (drawn(1, 2, 3, 2), 0.7 * torch.tensor(POINTS)[None] + 0.02),
        (POINTS, (1, 2)),
        {},
    ),
    "grid_splat": (lambda: (drawn(1, 2, 1, 2), 0.8 * drawn(1, 1, 2, 2)), ((3, 2),), {"fill_value": None}),
    "grid_gradient": (lambda: (drawn(1, 2, 3, 2), 0.8 * drawn(1, 1, 2, 2)), (), {"padding_mode": "reflection"}),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("name", CALLS)
def test_derivatives(name):
    make, rest, own = CALLS[name]
    options = {word: value for word, value in {**OPTIONS, **own}.items() if value is not None}
    given = [tensor.requires_grad_() for tensor in make()]

    def function(image, source):
        return getattr(stnkit, name)(image, source, *rest, **options)

    arrays = [tensor.detach().numpy() for tensor in given]
    np.testing.assert_allclose(function(*given).detach().numpy(), function(*arrays), rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
    if name in ("grid_sample", "grid_splat"):
        assert torch.autograd.gradgradcheck(function, given, check_rev_over_rev=True)


@pytest.mark.parametrize("op", ["grid_sample", "affine_sample", "grid_splat"])
def test_recorded_derivatives_are_those_of_arrays(op):
    """Each function of a derivative, where autograd has to see it, and where the NumPy function does it."""
    make, rest, _ = CALLS[op]
    image, source = make()
    options = OPTIONS if op != "grid_splat" else {"mode": "spline3", "padding_mode": "border"}
    out = getattr(stnkit, op)(image, source, *rest, **options)
    calls = {"_vjp": ((torch.ones_like(out), image, source), ())}
    if op != "grid_splat":
        calls["_jvp"] = (image, source, image.flip(-1), 0.1 * source), rest
        calls["_double_vjp"] = (image.flip(-1), 0.1 * source, torch.ones_like(out), image, source), ()
    for end, (tensors, after) in calls.items():
        function = getattr(stnkit, op + end)
        expected = function(*(tensor.numpy() for tensor in tensors), *after, **options)
        for kept in (False, True):
            given = [tensor.detach().requires_grad_(kept) for tensor in tensors]
            for one, other in zip(function(*given, *after, **options), expected, strict=True):
                np.testing.assert_allclose(one.detach().numpy(), other, rtol=0, atol=1e-13)


def test_backward_is_not_remembered_for_coefficients():
    """The same kind of call with an image and with coefficients, in turn; each has its own gradient."""
    image, grid = drawn(1, 1, 4, 3), 0.8 * drawn(1, 2, 2, 2)
    bars = {}
    for own in (True, False, True, False):
        x = image.clone().requires_grad_()
        stnkit.grid_sample(x, grid, mode="spline3", prefilter=own).sum().backward()
        arrays = np.ones((1, 1, 2, 2)), image.numpy(), grid.numpy()
        expected, _ = stnkit.grid_sample_vjp(*arrays, mode="spline3", prefilter=own)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=0, atol=1e-13)
        bars.setdefault(own, x.grad)
    assert not torch.allclose(bars[True], bars[False])


def test_transforms():
    image, grid = drawn(2, 2, 4, 3), 0.8 * drawn(2, 2, 2, 2)

    def loss(x, u):
        return stnkit.grid_sample(x, u, **OPTIONS).square().sum()

    given = image.clone().requires_grad_(), grid.clone().requires_grad_()
    loss(*given).backward()
    for one, other in zip(torch.func.grad(loss, (0, 1))(image, grid), given, strict=True):
        torch.testing.assert_close(one, other.grad, rtol=0, atol=1e-13)
    for one, other in zip(torch.vmap(torch.func.grad(loss, (0, 1)))(image, grid), given, strict=True):
        torch.testing.assert_close(one, other.grad, rtol=0, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Dynamo")
@pytest.mark.parametrize("padding", ["border", "wrap"])
def test_compiled(padding):
    options = OPTIONS | {"padding_mode": padding}

    def function(image, theta):
        return stnkit.affine_sample(image, theta, (2, 3), antialias=2, **options).square().sum()

    one, other = ([drawn(1, 2, 4, 3).requires_grad_(), maps(2).requires_grad_()] for _ in range(2))
    torch.compile(function, fullgraph=True, backend="aot_eager")(*one).backward()
    function(*other).backward()
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)


def test_exported():
    image, grid = drawn(1, 2, 4, 3), 0.8 * drawn(1, 2, 2, 2)
    model = GridSample(mode="spline2", padding_mode="border")
    program = torch.export.export(model, (image, grid))
    torch.testing.assert_close(program.module()(image, grid), model(image, grid), rtol=0, atol=0)
    coefficients = GridSample(mode="spline2", padding_mode="border", prefilter=False)
    assert "prefilter=False" in repr(coefficients)
    expected = stnkit.grid_sample(image, grid, mode="spline2", padding_mode="border", prefilter=False)
    torch.testing.assert_close(coefficients(image, grid), expected, rtol=0, atol=0)


def test_memory_formats_and_dtypes():
    image, grid = drawn(2, 3, 4, 5).to(memory_format=torch.channels_last).float(), drawn(2, 2, 3, 2).float()
    out = stnkit.grid_sample(image, grid, mode="spline3")
    recorded = stnkit.grid_sample(image, grid.requires_grad_(), mode="spline3")
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert recorded.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(recorded, out, rtol=0, atol=0)
    assert stnkit.grid_sample(image.bfloat16(), grid, mode="spline3").dtype == torch.bfloat16
    with pytest.raises(TypeError, match="`grid` requires a gradient, which an output"):
        stnkit.grid_sample((image.abs() * 100).byte(), grid, mode="spline3")
