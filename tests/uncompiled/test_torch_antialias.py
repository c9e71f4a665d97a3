"""Antialiasing of tensors: composed where autograd, a transform or a compiler watches, and NumPy's own elsewhere."""

import numpy as np
import pytest
import torch

import stnkit
from stnkit.torch.nn import AffineSample, SpatialTransformer

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

EPS = torch.finfo(torch.float64).eps
EXTENT, SIZE = (7, 9), (2, 3)
TAKES = {"": (0, 1), "_vjp": (2, 0, 1), "_jvp": (0, 1, 3, 4), "_double_vjp": (3, 4, 2, 0, 1)}


def drawn(op, d=2, dtype=torch.float64):
    """Draw image, map, cotangent, and tangents of the first two; one item of the map shrinks, and one does not."""
    generator = torch.Generator().manual_seed(d)

    def uniform(*shape):
        return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1

    size = SIZE[-d:]
    if op == "affine":
        source = torch.eye(d, d + 1, dtype=torch.float64) * torch.tensor([0.9, 0.2])[:, None, None]
        source = source + 0.05 * uniform(2, d, d + 1)
    else:
        source = 0.3 * uniform(2, *size, d)
    arrays = [
        uniform(2, 2, *EXTENT[-d:]),
        source,
        uniform(2, 2, *size),
        uniform(2, 2, *EXTENT[-d:]),
        uniform(*source.shape),
    ]
    return [array.to(dtype) for array in arrays]


def call(op, kind, given, **options):
    """Call one of the functions of a sampler; results are a tuple."""
    size = {"size": tuple(given[2].shape[2:])} if op == "affine" and kind in ("", "_jvp") else {}
    results = getattr(stnkit, f"{op}_sample{kind}")(*(given[i] for i in TAKES[kind]), **size, **options)
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize("op", ["affine", "flow"])
def test_bits_of_numpy(op, kind, dtype, recorded):
    """Recorded or not, in every format; derivatives too, when they are asked for by name."""
    given = drawn(op, dtype=dtype)
    given[1], given[4] = given[1].float(), given[4].float()
    views = [
        array.float().numpy().astype("float16") if array.dtype is torch.float16 else array.float().numpy()
        for array in given
    ]
    for antialias in (True, 2):
        expected = call(op, kind, views, antialias=antialias, padding_mode="border")
        given[1].requires_grad_(recorded)
        mine = call(op, kind, given, antialias=antialias, padding_mode="border")
        for one, other in zip(mine, expected, strict=True):
            tensor = torch.from_numpy(other)
            if dtype is torch.bfloat16 and one.dtype is dtype:
                assert torch.equal(one, tensor.to(dtype))
            else:
                assert one.dtype == tensor.dtype
                assert torch.equal(one, tensor)


@pytest.mark.parametrize(("op", "d", "antialias"), [("affine", 1, True), ("affine", 2, 2), ("flow", 1, True)])
def test_derivatives_of_both_orders(op, d, antialias):
    """Of the map and, on a line, of the image, times random vectors; places are more than a step away from knots."""
    image, source, *_ = drawn(op, d)
    tensors = [source.requires_grad_(), *[image[:, :1].requires_grad_()] * (d == 1)]

    def function(source, *images):
        size = {"size": SIZE[-d:]} if op == "affine" else {}
        return getattr(stnkit, f"{op}_sample")(images[0] if images else image, source, **size, antialias=antialias)

    assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, tensors, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("op", ["affine", "flow"])
def test_gradients_are_those_of_the_vjp(op):
    image, source, cotangent, *_ = given = drawn(op)
    leaves = image.requires_grad_(), source.requires_grad_()
    (out,) = call(op, "", given, antialias=True)
    bars = torch.autograd.grad(out, leaves, cotangent)
    expected = call(op, "_vjp", [tensor.detach() for tensor in given], antialias=True)
    for mine, other in zip(bars, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=512 * EPS)
    half = call(op, "", (image.detach().half().requires_grad_(), source.float(), cotangent), antialias=True)[0]
    assert half.dtype is torch.float16
    half.sum().backward()


def test_transforms():
    image, theta, *_ = drawn("affine")
    (whole,) = call("affine", "", (image, theta, torch.zeros(2, 2, *SIZE)), antialias=2)

    def sample(image, theta, antialias=2):
        return stnkit.affine_sample(image, theta, SIZE, antialias=antialias)

    torch.testing.assert_close(torch.vmap(sample)(image, theta), whole, rtol=0, atol=0)
    for antialias in (True, 2):
        theta.requires_grad_(True)
        (expected,) = torch.autograd.grad(sample(image, theta, antialias).sin().sum(), theta)
        theta.requires_grad_(False)

        def loss(theta, n=antialias):
            return sample(image, theta, n).sin().sum()

        torch.testing.assert_close(torch.func.grad(loss)(theta), expected, rtol=0, atol=512 * EPS)
        tangent = torch.func.jvp(loss, (theta,), (torch.ones_like(theta),))[1]
        torch.testing.assert_close(tangent, expected.sum(), rtol=0, atol=4096 * EPS)
    message = "`antialias=True` takes the numbers of `theta`, .* as antialias=4"
    with pytest.raises(TypeError, match=message):
        torch.vmap(lambda *a: sample(*a, True))(image, theta)


@pytest.mark.parametrize("op", ["affine", "flow"])
def test_compile(op):
    """An integer leaves no break in the graph, for any size; True breaks it, and says why where that is forbidden."""
    given = drawn(op)
    given[1].requires_grad_()

    def function(antialias, *tensors):
        return call(op, "", tensors, antialias=antialias, padding_mode="border")[0]

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    torch.testing.assert_close(compiled(2, *given[:3]), function(2, *given[:3]), rtol=0, atol=16 * EPS)
    broken, given[1] = torch.compile(function, backend="eager"), given[1].detach()  # torch warns of what is no leaf
    torch.testing.assert_close(broken(True, *given[:3]), function(True, *given[:3]), rtol=0, atol=0)
    torch.compiler.reset()  # which would find the broken graphs again
    forbidden = torch.compile(function, fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"takes the numbers of theta or the flow.*as antialias=4"):
        forbidden(True, *given[:3])


def test_export():
    image, theta, *_ = drawn("affine")
    theta = torch.cat([theta[:1], theta[:1]])
    for antialias in (2, True):
        module = AffineSample(SIZE, antialias=antialias)
        if antialias is True:
            with pytest.raises(TypeError, match="are not known where torch compiles, exports or maps"):
                torch.export.export(module, (image, theta))
            continue
        program = torch.export.export(module, (image, theta))
        torch.testing.assert_close(program.module()(image, theta), module(image, theta), rtol=0, atol=0)


def test_modules_antialias():
    images = drawn("affine")[0]
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 63, 3))
    transformer = SpatialTransformer(head.double(), "attention", SIZE, antialias=True)
    assert "antialias=True" in repr(transformer)
    theta = transformer.theta(images)
    torch.testing.assert_close(transformer(images), stnkit.affine_sample(images, theta, SIZE, antialias=True))
    transformer(images).sum().backward()
    assert head[1].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="`antialias` must be True, False or an integer from 1 to 16; got 0"):
        AffineSample(antialias=0)


def test_memory_format_is_kept():
    image, theta, *_ = drawn("affine")
    last = image.contiguous(memory_format=torch.channels_last)
    for tensor in (theta, theta.clone().requires_grad_()):
        out = stnkit.affine_sample(last, tensor, SIZE, antialias=True)
        assert out.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(
            out, stnkit.affine_sample(image, tensor, SIZE, antialias=True), rtol=0, atol=16 * EPS
        )


def test_bytes_have_no_gradient():
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    theta = torch.eye(2, 3)[None]
    expected = torch.tensor(np.rint(image.numpy().reshape(4, 2, 4, 2).mean((1, 3))))
    assert torch.equal(stnkit.affine_sample(image, theta, (4, 4), antialias=True)[0, 0], expected.byte())
    carry = r"`theta` {}, which an output of dtype torch.uint8 cannot carry"
    with pytest.raises(TypeError, match=carry.format("requires a gradient")):
        stnkit.affine_sample(image, theta.clone().requires_grad_(), (4, 4), antialias=True)
    with pytest.raises(TypeError, match=carry.format("has a tangent")):
        torch.func.jvp(lambda t: stnkit.affine_sample(image, t, (4, 4), antialias=2), (theta,), (theta,))


def test_words():
    image, theta, *_ = drawn("affine")
    plain = stnkit.affine_sample(image, theta, SIZE)
    assert torch.equal(stnkit.affine_sample(image, theta, SIZE, antialias=False), plain)
    out = torch.empty_like(plain)
    assert stnkit.affine_sample(image, theta, SIZE, antialias=2, out=out) is out
    assert torch.equal(out, stnkit.affine_sample(image, theta, SIZE, antialias=2))
    theta.requires_grad_()
    for given, error, says in (
        ({"antialias": 0}, ValueError, "from 1 to 16; got 0"),
        ({"antialias": 2, "mode": "area"}, ValueError, "`mode` must be one of"),
        ({"antialias": 2, "out": out}, TypeError, "`theta` requires a gradient"),
    ):
        with pytest.raises(error, match=says):
            stnkit.affine_sample(image, theta, SIZE, **given)
    with pytest.raises(TypeError, match="`antialias` takes means, which an image of dtype int64 cannot hold"):
        stnkit.affine_sample(image.long(), theta, SIZE, mode="nearest", antialias=2)
