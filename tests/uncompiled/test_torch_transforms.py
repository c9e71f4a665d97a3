"""`torch.func` and its compositions, of every operation in each of its arguments; the same under `torch.compile`."""

import pytest
import torch
from covering import every_two_of
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch_cases import draw

import stnkit

NAMES = ("grid_sample", "affine_sample", "flow_sample", "affine_grid", "flow_grid", "grid_splat")
CASES = [(name, at) for name in NAMES for at in range(1 if name.endswith("grid") else 2)]
COMPOSITIONS = {  # of two modes
    "hessian": hessian,
    "reverse over reverse": lambda scalar: jacrev(jacrev(scalar)),
    "reverse over forward": lambda scalar: jacrev(jacfwd(scalar)),
    "forward over forward": lambda scalar: jacfwd(jacfwd(scalar)),
}

# torch warns of its own
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:torch")


def functions(name, at, d, **options):
    """Return the value and a scalar of it as functions of one tensor, and that tensor."""
    tensors, rest, options = draw(name, d, **options)

    def value(tensor):
        return getattr(stnkit, name)(*tensors[:at], tensor, *tensors[at + 1 :], *rest, **options)

    return value, lambda tensor: (value(tensor) ** 3).sum(), tensors[at]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("name", "at"), CASES)
def test_first_order(name, at, d):
    """Against torch's autograd, which is checked by finite differences elsewhere."""
    value, scalar, x = functions(name, at, d)
    jacobian = torch.autograd.functional.jacobian(value, x)
    slope = torch.autograd.functional.jacobian(scalar, x)
    tangent = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)
    along = (jacobian * tangent).flatten(-x.dim()).sum(-1)
    found = {
        "grad": (grad(scalar)(x), slope),
        "vjp": (vjp(scalar, x)[1](torch.ones((), dtype=x.dtype))[0], slope),
        "jvp": (jvp(value, (x,), (tangent,))[1], along),
        "jacrev": (jacrev(value)(x), jacobian),
        "jacfwd": (jacfwd(value)(x), jacobian),
    }
    for what, (got, expected) in found.items():
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10, msg=what)


def _affordable(case, d_mode, composition):
    """On three axes in the coordinates alone: volumes have too many pixels for a program that is not compiled."""
    (name, at), (d, _) = case, d_mode
    return d < 3 or at == 1 or not name.endswith("sample")


@every_two_of(
    _affordable,
    name_at=CASES,
    d_mode=[(1, "bilinear"), (1, "bicubic"), (2, "bilinear"), (3, "bilinear")],
    composition=COMPOSITIONS,
)
def test_second_order(name, at, d, mode, composition):
    _, scalar, x = functions(name, at, d, mode=mode)
    expected = torch.autograd.functional.hessian(scalar, x)
    torch.testing.assert_close(COMPOSITIONS[composition](scalar)(x), expected, rtol=1e-9, atol=1e-9)


def test_products_with_the_hessian():
    """`hvp` goes backwards through a backward pass of a backward pass, as a third derivative does."""
    _, scalar, x = functions("grid_sample", 1, 2)
    v = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)
    expected = (hessian(scalar)(x) * v).flatten(x.dim()).sum(-1)
    for got in (jvp(grad(scalar), (x,), (v,))[1], torch.autograd.functional.vhp(scalar, x, v)[1]):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(NotImplementedError, match="third derivatives"):
        torch.autograd.functional.hvp(scalar, x, v)


def test_forward_over_forward_knows_fill_values_and_channels():
    """The second tangent goes channel by channel, each with a fill value of its own, and shares nothing."""
    for fmt, shape in {"channels_first": (1, 2, 2, 3), "channels_last": (1, 2, 3, 2)}.items():
        image = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(shape).sin()
        grid = torch.tensor([[[[-1.1, 0.3]]], [[[0.1, 0.4]]]], dtype=torch.float64)

        def scalar(image, grid, fmt=fmt):
            out = stnkit.grid_sample(image, grid, fill_value=(0.5, -2.0), data_format=fmt)
            return (out**2).sum()

        expected = hessian(scalar, argnums=(0, 1))(image, grid)
        got = jacfwd(jacfwd(scalar, argnums=(0, 1)), argnums=(0, 1))(image, grid)
        for row, other in zip(got, expected, strict=True):
            for block, exact in zip(row, other, strict=True):
                torch.testing.assert_close(block, exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("d", "at_axis"), [(1, 0), (1, 1), (2, 0), (3, 1)])
@pytest.mark.parametrize(("name", "at"), CASES)
def test_vmap(name, at, d, at_axis):
    """One result for each item, as in a loop; with and without derivatives, and nested."""
    value, scalar, x = functions(name, at, d)
    many = torch.stack([x, 0.5 * x, 0.9 * x], dim=at_axis)
    items = many.unbind(at_axis)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(vmap(value, in_dims=at_axis)(many), torch.stack([value(t) for t in items]), **close)
    slopes = torch.stack([grad(scalar)(t) for t in items])
    torch.testing.assert_close(vmap(grad(scalar), in_dims=at_axis)(many), slopes, **close)
    torch.testing.assert_close(
        grad(lambda t: vmap(scalar, at_axis)(t).sum())(many).movedim(at_axis, 0), slopes, **close
    )
    twice = vmap(vmap(value))(torch.stack([torch.stack(items), torch.stack(items)]))
    torch.testing.assert_close(twice[1], torch.stack([value(t) for t in items]), **close)


def test_vmap_of_items_without_a_batch():
    """Each item of the mapped axis is an image without an axis for the batch; one image may serve them all."""
    (image, grid), _, _ = draw("grid_sample", 2, batch=3)
    expected = stnkit.grid_sample(image, grid)
    torch.testing.assert_close(vmap(stnkit.grid_sample)(image, grid), expected, rtol=0, atol=0)
    shared = vmap(stnkit.grid_sample, in_dims=(None, 0))(image[0], grid)
    torch.testing.assert_close(shared, stnkit.grid_sample(image[:1], grid), rtol=0, atol=0)

    def scalar(image, grid):
        return (stnkit.grid_sample(image, grid) ** 2).sum()

    bars = vmap(grad(scalar, argnums=(0, 1)), in_dims=(None, 0))(image[0], grid)
    for n in range(3):
        for bar, exact in zip(bars, grad(scalar, argnums=(0, 1))(image[0], grid[n]), strict=True):
            torch.testing.assert_close(bar[n], exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "at"), [("grid_sample", 0), ("grid_sample", 1), ("affine_sample", 1)])
def test_transforms_under_compile(name, at):
    """A compiled transform is right: neither zero, as a lost tangent would be, nor broken into graphs."""
    value, scalar, x = functions(name, at, 1)
    tangent = torch.ones_like(x)
    transforms = {
        "grad": grad(scalar),
        "jvp": lambda x: jvp(value, (x,), (tangent,))[1],
        "jacfwd": jacfwd(value),
        "vmap": vmap(grad(scalar)),
        "hessian": hessian(scalar),
    }
    for what, transform in transforms.items():
        given = torch.stack([x, 0.5 * x]) if what == "vmap" else x
        expected = transform(given)
        assert what == "vmap" or expected.any()
        torch._dynamo.reset()
        got = torch.compile(transform, fullgraph=True, backend="aot_eager")(given)
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12, msg=what)


def test_dual_numbers():
    """`torch.autograd.forward_ad`, outside of any transform; under a compiler too."""
    value, _, x = functions("grid_sample", 1, 2)
    tangent = torch.ones_like(x)

    def push(x):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, tangent)
            return torch.autograd.forward_ad.unpack_dual(value(dual)).tangent

    expected = jvp(value, (x,), (tangent,))[1]
    assert expected.any()
    torch.testing.assert_close(push(x), expected, rtol=0, atol=0)
