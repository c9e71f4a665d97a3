"""Antialiasing of projective maps and thin plate splines on tensors: composed of formulas, where anything watches."""

import numpy as np
import pytest
import shrunk
import torch

import stnkit

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

EACH = [(op, kind) for op, kind in shrunk.EACH if op in ("projective", "thin_plate_spline")]
OPS = ("projective", "thin_plate_spline")


def drawn(op, d=2, dtype=torch.float64):
    return [torch.from_numpy(array).to(dtype) for array in shrunk.drawn(op, d)]


def close(got, expected, atol=1e-11):
    for one, other in zip(got, expected, strict=True):
        assert type(one) is torch.Tensor
        np.testing.assert_allclose(one.detach(), other, rtol=0, atol=atol)


@pytest.mark.parametrize("antialias", [True, 2])
@pytest.mark.parametrize(("op", "kind"), EACH)
def test_numbers(op, kind, antialias):
    """Not recorded, recorded, and transformed; derivatives too, when they are asked for by name."""
    options = {"antialias": antialias, "padding_mode": "border"}
    expected = shrunk.call(stnkit, op, kind, shrunk.drawn(op, 2), **options)
    given = drawn(op)
    close(shrunk.call(stnkit, op, kind, given, **options), expected)

    def function(theta):
        return shrunk.call(stnkit, op, kind, (given[0], theta, *given[2:]), **options)

    close(function(given[1].clone().requires_grad_()), expected)
    if antialias == 2:
        close(torch.func.functionalize(function)(given[1]), expected)


@pytest.mark.parametrize("op", OPS)
def test_half_precision_is_rounded_once(op):
    image, theta, cotangent, *_ = drawn(op)
    given = image.half(), theta.float().requires_grad_(), cotangent.half(), None, None
    (out,) = shrunk.call(stnkit, op, "", given, antialias=2)
    wide = given[0].float(), given[1].detach(), None, None, None
    (expected,) = shrunk.call(stnkit, op, "", (*wide[:2], cotangent, None, None), antialias=2)
    assert out.dtype is torch.float16
    e = torch.finfo(torch.float32).eps
    assert ((out.float() - expected).abs() <= 2.0**-11 * expected.abs() + 64 * e).all()
    out.sum().backward()
    assert given[1].grad.abs().sum() > 0


@pytest.mark.parametrize(("op", "d", "antialias"), [("projective", 1, True), ("thin_plate_spline", 1, 2)])
def test_derivatives_of_both_orders(op, d, antialias):
    image, theta, cotangent, *_ = drawn(op, d)

    def function(theta, image):
        return shrunk.call(stnkit, op, "", (image, theta, cotangent, None, None), antialias=antialias, mode="bicubic")[
            0
        ]

    tensors = theta.requires_grad_(), image[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, tensors, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("op", OPS)
def test_gradients_are_those_of_the_vjp(op):
    given = image, theta, cotangent, *_ = drawn(op)
    expected = shrunk.call(stnkit, op, "_vjp", shrunk.drawn(op, 2), antialias=True)
    (out,) = shrunk.call(stnkit, op, "", (image.requires_grad_(), theta.requires_grad_(), *given[2:]), antialias=True)
    close(torch.autograd.grad(out, (image, theta), cotangent), expected)


def test_the_horizon_passes_nothing():
    theta = torch.eye(3, dtype=torch.float64)[None].clone()
    theta[0, 2] = torch.tensor([2.0, 0.0, 0.9])
    image, cotangent = torch.rand(1, 1, 6, 40, dtype=torch.float64), torch.ones(1, 1, 1, 8, dtype=torch.float64)
    for antialias in (True, 3):
        with np.errstate(all="ignore"):  # uncompiled
            expected = stnkit.projective_sample_vjp(
                cotangent.numpy(), image.numpy(), theta.numpy(), antialias=antialias, fill_value=0.5
            )
        theta.requires_grad_(True)
        out = stnkit.projective_sample(image, theta, (1, 8), antialias=antialias, fill_value=0.5)
        (bar,) = torch.autograd.grad(out, theta, cotangent)
        theta.requires_grad_(False)
        assert (out[..., :2] == 0.5).all()
        scale = np.abs(expected[1]).max()  # of 1 / w^2, near the horizon
        close([bar], expected[1:], atol=1e-13 * scale)


@pytest.mark.parametrize("op", OPS)
def test_transforms(op):
    image, theta, cotangent, *_ = drawn(op)

    def sample(image, theta, antialias=2):
        return shrunk.call(stnkit, op, "", (image, theta, cotangent, None, None), antialias=antialias)[0]

    (whole,) = shrunk.call(stnkit, op, "", shrunk.drawn(op, 2), antialias=2)
    close([torch.vmap(sample)(image, theta)], [whole])
    for antialias in (True, 2):
        (expected,) = torch.autograd.grad(sample(image, theta.requires_grad_(), antialias).sin().sum(), theta)
        theta.requires_grad_(False)

        def loss(theta, n=antialias):
            return sample(image, theta, n).sin().sum()

        close([torch.func.grad(loss)(theta)], [expected])
        tangent = torch.func.jvp(loss, (theta,), (torch.ones_like(theta),))[1]
        close([tangent], [expected.sum()])
    with pytest.raises(TypeError, match=r"`antialias=True` takes the numbers of `theta`, .* as antialias=4"):
        torch.vmap(lambda *a: sample(*a, True))(image, theta)


@pytest.mark.parametrize("op", OPS)
def test_compile(op):
    """An integer leaves no break in the graph, for any size, and control points of either kind; True breaks it."""
    torch.compiler.reset()
    image, theta, cotangent, *_ = drawn(op)
    (expected,) = shrunk.call(stnkit, op, "", shrunk.drawn(op, 2), antialias=2, padding_mode="border")
    sample, size = getattr(stnkit, f"{op}_sample"), shrunk.SIZE[1:]
    points = shrunk.control(2)
    fixed = [(points,), (torch.from_numpy(points),)] if op == "thin_plate_spline" else [()]
    theta.requires_grad_()

    def function(antialias, image, theta, *points):
        return sample(image, theta, *points, size, antialias=antialias, padding_mode="border")

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for given in fixed:
        out = compiled(2, image, theta, *given)
        close([out], [expected])
        (bar,) = torch.autograd.grad(out, theta, cotangent)
        eager = torch.autograd.grad(function(2, image, theta, *given), theta, cotangent)
        close([bar], eager)
    broken, theta = torch.compile(function, backend="eager"), theta.detach()  # torch warns of what is no leaf
    (whole,) = shrunk.call(stnkit, op, "", shrunk.drawn(op, 2), antialias=True, padding_mode="border")
    close([broken(True, image, theta, *fixed[-1])], [whole])
    torch.compiler.reset()  # which would find the broken graphs again


def test_mistakes_are_said_in_the_words_of_the_plain_call():
    image, theta, *_ = drawn("thin_plate_spline")
    bytes_, points = (127 * image).abs().byte(), torch.from_numpy(shrunk.control(2))
    for tensor in (theta, theta.clone().requires_grad_()):
        for wrong, error, says in (
            (points.clone().requires_grad_(), TypeError, r"`control_points` are constants.*\.detach\(\)"),
            (points.long(), TypeError, "`control_points` must have dtype"),
            (torch.zeros_like(points), ValueError, r"`control_points` must differ; got \[0.0, 0.0\]"),
            (points[:, :1], ValueError, "`theta`"),
        ):
            with pytest.raises(error, match=says):
                stnkit.thin_plate_spline_sample(image, tensor, wrong, antialias=2)
        with pytest.raises(TypeError, match=r"missing .* argument: 'control_points'"):
            stnkit.thin_plate_spline_sample(image, tensor, antialias=2)
        with pytest.raises(TypeError, match=r"missing .* argument.*: 'theta'"):
            stnkit.projective_sample(image.requires_grad_(tensor.requires_grad), antialias=2)
        image.requires_grad_(False)
        with pytest.raises(ValueError, match="`antialias` must be True, False or an integer from 1 to 16; got 0"):
            stnkit.thin_plate_spline_sample(image, tensor, points, antialias=0)
    with pytest.raises(TypeError, match=r"`theta` requires a gradient, which an output of dtype torch\.uint8"):
        stnkit.thin_plate_spline_sample(bytes_, theta.requires_grad_(), points, antialias=2)
    with pytest.raises(TypeError, match="`out` cannot be written"):
        stnkit.thin_plate_spline_sample(image, theta, points, antialias=2, out=image)
    out = stnkit.thin_plate_spline_sample(image, theta, points, antialias=np.False_)
    torch.testing.assert_close(out, stnkit.thin_plate_spline_sample(image, theta, points), rtol=0, atol=0)
