"""The fast path of torch: the same bits as the NumPy functions, call after call; what is special goes the long way."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import stnkit

# torch scripts some of its own when forward mode is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

SINGLE, DOUBLE = torch.float32, torch.float64
SOURCES = {"grid_sample": "grid", "affine_sample": "theta", "flow_sample": "flow"}

# sampler, axes, batch sizes (None: no batch axis), dtypes of image and source, options
KINDS = [
    ("grid_sample", 2, (2, 2), (SINGLE, SINGLE), {}),
    ("grid_sample", 1, (1, 3), (DOUBLE, DOUBLE), {"mode": "bicubic", "padding_mode": "reflection"}),
    ("grid_sample", 3, (2, 1), (SINGLE, DOUBLE), {"fill_value": 0.5, "data_format": "channels_last"}),
    ("grid_sample", 2, (None, None), (DOUBLE, SINGLE), {"mode": "nearest", "coords": "pixel", "fill_value": 2}),
    ("grid_sample", 2, (None, 3), (SINGLE, SINGLE), {"padding_mode": "border", "align_corners": True}),
    ("affine_sample", 2, (2, 2), (SINGLE, SINGLE), {}),
    ("affine_sample", 3, (1, 2), (DOUBLE, DOUBLE), {"mode": "bicubic", "padding_mode": "wrap"}),
    ("affine_sample", 1, (3, 1), (SINGLE, SINGLE), {"data_format": "channels_last", "align_corners": True}),
    ("affine_sample", 2, (2, None), (SINGLE, DOUBLE), {"fill_value": (-1.0, 2.0)}),
    ("flow_sample", 2, (2, 2), (SINGLE, SINGLE), {"units": "normalized", "padding_mode": ["border", "zeros"]}),
    ("flow_sample", 3, (2, None), (DOUBLE, SINGLE), {"padding_mode": "reflection", "data_format": "channels_last"}),
]
SIZES = {"affine_sample": (3, 2, 4)}


def drawn(name, d, batches, dtypes, options, seed=0):
    """Return an image and a source of few numbers, some of which lie outside."""
    random = torch.Generator().manual_seed(seed)
    extent, size = (3, 4, 5)[-d:], (2, 4, 3)[-d:]
    last = options.get("data_format") == "channels_last"
    shapes = ((*extent, 2) if last else (2, *extent), (d, d + 1) if name == "affine_sample" else (*size, d))
    shapes = [shape if batch is None else (batch, *shape) for shape, batch in zip(shapes, batches, strict=True)]
    return [torch.rand(s, generator=random, dtype=t) * 2.4 - 1.2 for s, t in zip(shapes, dtypes, strict=True)]


def arguments(name, d):
    return (SIZES[name][-d:],) if name in SIZES else ()


@pytest.fixture
def no_long_way(plain, monkeypatch):
    """Close the long way, which each type of tensor goes once."""
    from stnkit.torch import autograd, functions

    plain._dispatch.implementation(torch.Tensor)

    def closed(*_, **__):
        pytest.fail("this call went the long way")

    for room, name in ((functions, "run"), (functions, "performed"), (autograd, "kernel"), (autograd, "perform")):
        monkeypatch.setattr(room, name, closed)


def same(found, expected):
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found.detach().numpy(), expected)
        assert str(found.dtype).removeprefix("torch.") == expected.dtype.name


@pytest.mark.parametrize("kind", KINDS, ids=[f"{k[0]}-{k[1]}-{n}" for n, k in enumerate(KINDS)])
@pytest.mark.parametrize(
    "differentiable", [(True, True), (True, False), (False, True)], ids=["both", "image", "source"]
)
def test_results_have_the_bits_of_numpys(plain, no_long_way, kind, differentiable):
    """On the first call of a kind and on the next, of other numbers, recorded or not."""
    name, d, *_, options = kind
    sample, vjp = getattr(plain, name), getattr(plain, f"{name}_vjp")
    names = ("image", SOURCES[name])
    wrt = [name for name, asked in zip(names, differentiable, strict=True) if asked]
    for seed in (1, 2, 3):
        tensors = drawn(*kind, seed)
        arrays = [tensor.numpy() for tensor in tensors]
        expected = sample(*arrays, *arguments(name, d), **options)
        same(sample(*tensors, *arguments(name, d), **options), expected)
        cotangent = torch.rand(expected.shape, dtype=tensors[0].dtype) - 0.5
        both = vjp(cotangent.numpy(), *arrays, **options)
        for found, bar in zip(vjp(cotangent, *tensors, **options), both, strict=True):
            same(found, bar)
        leaves = [t.clone().requires_grad_(asked) for t, asked in zip(tensors, differentiable, strict=True)]
        out = sample(*leaves, *arguments(name, d), **options)
        same(out, expected)
        out.backward(cotangent)
        bars = vjp(cotangent.numpy(), *arrays, wrt=wrt, **options)
        for leaf, bar, one_of_both in zip(leaves, bars, both, strict=True):
            same(leaf.grad, bar)
            if bar is not None:
                np.testing.assert_array_equal(bar, one_of_both)


LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
STRIDES = {
    "gaps": lambda tensor: tensor.mT.contiguous().mT,
    "steps": lambda tensor: torch.cat([tensor, tensor], -1)[..., ::2],
    "one item for all": lambda tensor: tensor[:1].expand(tensor.shape),
    "channels last memory": lambda tensor: tensor.contiguous(memory_format=LAST[tensor.dim() - 2]),
}


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[5], (*KINDS[10][:4], {})], ids=SOURCES)
def test_tensors_of_any_strides_take_it_too(plain, no_long_way, kind, strides):
    """Results and cotangents have the memory format of the image, whatever that of the given cotangent is."""
    name, d, *_ = kind
    sample, vjp = getattr(plain, name), getattr(plain, f"{name}_vjp")
    for seed in (1, 2):
        image, source = drawn(*kind, seed)
        image = STRIDES[strides](image)
        arrays = [image.numpy(), source.numpy()]
        leaves = [image.detach().requires_grad_(), source.requires_grad_()]
        out = sample(*leaves)
        same(out, sample(*arrays))
        expected = vjp(np.ones(out.shape, arrays[0].dtype), *arrays)
        for given in (torch.ones_like(out, memory_format=torch.contiguous_format), torch.ones_like(out)):
            for found, bar in zip(torch.autograd.grad(out, leaves, given, retain_graph=True), expected, strict=True):
                same(found, bar)
        found = torch.autograd.grad(out.sum(), leaves)
        same(found[0], expected[0])
        if strides == "channels last memory":
            assert all(t.is_contiguous(memory_format=LAST[d]) for t in (out, found[0]))


@pytest.mark.parametrize("name", SOURCES)
def test_memory_that_is_gone_is_not_read(plain, name):
    tensors = drawn(*next(kind for kind in KINDS if kind[:2] == (name, 2)))
    function = getattr(plain, name)
    for known in (False, True):
        for gone in range(2):
            freed = [tensor.clone() for tensor in tensors]
            freed[gone].untyped_storage().resize_(0)
            with pytest.raises(ValueError, match="a tensor has no memory"):
                function(*freed)
        if not known:
            function(*tensors)
    leaf = tensors[0].clone().requires_grad_()
    out = function(leaf, tensors[1])
    leaf.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="a tensor has no memory"):
        out.sum().backward()


@pytest.mark.parametrize("name", SOURCES)
def test_results_of_any_memory_format_may_be_written_to(plain, name):
    """They are views of nothing, so autograd goes on from what was written, whether it had recorded the call or not."""
    image, source = drawn(*next(kind for kind in KINDS if kind[:2] == (name, 2)))
    weight = torch.ones(1, requires_grad=True)
    for _ in range(2):
        leaf = image.contiguous(memory_format=torch.channels_last).requires_grad_()
        out = getattr(plain, name)(leaf, source)
        (found,) = torch.autograd.grad(out.mul_(2).sum(), leaf)
        np.testing.assert_array_equal(found, 2 * torch.autograd.grad(getattr(plain, name)(leaf, source).sum(), leaf)[0])
        with torch.no_grad():
            out = getattr(plain, name)(leaf, source)
        total = out.sum()
        out.mul_(weight).sum().backward()
        torch.testing.assert_close(weight.grad[0], total)
        weight.grad = None


def test_an_item_that_looks_as_if_its_channels_were_last(plain):
    """An image of three axes without a batch axis: the output has one more, and no memory format of the image."""
    image = torch.rand(2, 3, 2, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    theta = (torch.eye(3, 4) + 0.1).expand(2, 3, 4).contiguous().requires_grad_()
    for _ in range(2):
        out = plain.affine_sample(image, theta)
        cotangent = torch.rand(5, 2, 3, 2, 2).permute(4, 1, 2, 3, 0)[..., :5]
        given = [one.detach().numpy() for one in (cotangent, image, theta)]
        bars = torch.autograd.grad(out, (image, theta), cotangent)
        for found, expected in zip(bars, plain.affine_sample_vjp(*given), strict=True):
            same(found, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.bool], ids=str)
def test_integers_take_it_too(plain, no_long_way, dtype):
    image, grid = drawn(*KINDS[0])
    image, options = (image * 99).to(dtype), {"mode": "nearest"} if dtype == torch.bool else {}
    for _ in range(2):
        same(plain.grid_sample(image, grid, **options), plain.grid_sample(image.numpy(), grid.numpy(), **options))


def test_large_tensors_take_it_too(plain, no_long_way):
    """Of any size: only a part of what is in memory is read here."""
    image, grid = torch.rand(2, 2, 600, 600), torch.rand(2, 3, 4, 2) * 2.4 - 1.2
    same(plain.grid_sample(image, grid), plain.grid_sample(image.numpy(), grid.numpy()))


@pytest.mark.parametrize("name", SOURCES)
def test_machine_code(name):
    """The same, compiled, for one kind of each sampler."""
    kind = (name, 2, (2, 2), (SINGLE, SINGLE), {})
    for seed in (1, 2):
        leaves = [tensor.requires_grad_() for tensor in drawn(*kind, seed)]
        arrays = [leaf.detach().numpy() for leaf in leaves]
        out = getattr(stnkit, name)(*leaves)
        same(out, getattr(stnkit, name)(*arrays))
        bars = getattr(stnkit, f"{name}_vjp")(np.ones(out.shape, np.float32), *arrays)
        out.sum().backward()
        for leaf, bar in zip(leaves, bars, strict=True):
            same(leaf.grad, bar)


def special():
    image, grid = drawn(*KINDS[0])
    bytes_ = torch.zeros(image.numel() * 4 + 1, dtype=torch.uint8)
    unaligned = torch.frombuffer(bytes_.numpy(), dtype=SINGLE, offset=1, count=image.numel()).view(image.shape)
    unaligned.copy_(image)
    negative = torch.complex(image, -image).conj().imag
    yield "unaligned", (unaligned, grid), {}
    yield "negative bit", (negative, grid), {}
    yield "bytes and a gradient", ((image * 99).to(torch.uint8), grid.clone().requires_grad_()), {"mode": "nearest"}
    yield "half grid", (image, grid.half()), {}
    yield "nothing", (image, grid[:, :0]), {}
    yield "fill of numpy", (image, grid), {"fill_value": np.float32(0.5)}
    yield "subclass", (image.as_subclass(Tagged), grid), {}


class Tagged(torch.Tensor):
    """A tensor with a type of its own."""


@pytest.mark.parametrize(("tensors", "options"), [pytest.param(*s[1:], id=s[0]) for s in special()])
def test_what_is_special_goes_the_long_way(plain, tensors, options):
    from stnkit.torch import fast_path

    arrays = [tensor.detach().as_subclass(torch.Tensor).resolve_neg().numpy() for tensor in tensors]
    expected = plain.grid_sample(*arrays, **options)
    for _ in range(2):
        if type(tensors[0]) is torch.Tensor:  # others are dispatched, to the copy that is registered
            same(plain.grid_sample(*tensors, **options), expected)
        assert fast_path.repeated("grid_sample", tensors, options) is None


def test_theta_of_less_precision_goes_the_long_way(plain):
    image, theta = drawn("affine_sample", 2, (2, 2), (DOUBLE, SINGLE), {})
    for _ in range(2):
        same(plain.affine_sample(image, theta), plain.affine_sample(image.numpy(), theta.numpy()))


def test_equal_words_of_other_types_are_other_words(plain):
    """What is refused is refused though an equal word has been accepted, and what can change is read again."""
    image, grid = drawn(*KINDS[0])
    theta = drawn("affine_sample", 2, (2, 2), (SINGLE, SINGLE), {})[1]
    for _ in range(2):
        plain.grid_sample(image, grid, align_corners=True)
        with pytest.raises(TypeError, match="`align_corners` must be True or False; got 1"):
            plain.grid_sample(image, grid, align_corners=1)
        plain.affine_sample(image, theta, (3, 2))
        with pytest.raises(TypeError, match="`size` must be a sequence of 2 integers"):
            plain.affine_sample(image, theta, (3.0, 2.0))
        bars = plain.grid_sample_vjp(torch.ones(2, 2, 4, 3), image, grid, wrt="grid")
        assert bars[0] is None
        with pytest.raises(TypeError, match="positional argument"):
            plain.grid_sample_vjp(torch.ones(2, 2, 4, 3), image, grid, (True, False))
    size, fill = [3, 2], torch.zeros(2)
    for n in (3, 5):
        size[0] = n
        fill += 1
        assert plain.affine_sample(image, theta, size).shape == (2, 2, n, 2)
        far = plain.grid_sample(image, grid + 9, fill_value=fill)
        assert torch.equal(far, fill[:, None, None].expand(far.shape))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grid_sample", {}),
        ("affine_sample", {"antialias": 2}),
        ("projective_sample", {}),
        ("grid_splat", {"size": [3, 2]}),
    ],
)
def test_lists_that_change_before_the_backward_pass_change_nothing(plain, name, options):
    """On the fast path, as any call by autograd, or as one step."""
    image, grid = drawn(*KINDS[0])
    source = grid if "grid" in name else torch.eye(2 + (name == "projective_sample"), 3).repeat(2, 1, 1) * 1.5
    if name == "grid_splat":
        image = torch.rand(2, 2, *grid.shape[1:3])
    bars = []
    for later in ("cubic", "border"):  # first that which would be remembered
        leaf, given = source.clone().requires_grad_(), {"padding_mode": ["border", "zeros"], **options}
        out = getattr(plain, name)(image, leaf, **given)
        given["padding_mode"][0] = later
        bars += torch.autograd.grad(out.square().sum(), leaf)
    assert bars[0].any()
    assert torch.equal(*bars)


@pytest.mark.parametrize("size", [[3, 4], (3, 4), torch.Size((3, 4))], ids=["list", "tuple", "torch"])
def test_a_size_by_name_is_no_option_of_the_vjp(plain, size):
    image, theta = drawn("affine_sample", 2, (2, 2), (SINGLE, SINGLE), {})
    expected = plain.affine_sample(image.numpy(), theta.numpy(), (3, 4))
    bars = plain.affine_sample_vjp(np.ones_like(expected), image.numpy(), theta.numpy())
    for _ in range(2):
        leaves = [tensor.clone().requires_grad_() for tensor in (image, theta)]
        out = plain.affine_sample(*leaves, size=size)
        same(out, expected)
        for found, bar in zip(torch.autograd.grad(out.sum(), leaves), bars, strict=True):
            same(found, bar)


def test_names_and_what_is_so_without_it_change_nothing(plain, no_long_way):
    """Arrays may be given by name, and `antialias=False` is the default; the vjp in the backward pass knows neither."""
    image, _ = drawn(*KINDS[0])
    theta = torch.tensor([[[0.9, 0.1, 0.2], [-0.2, 1.1, 0.0]]]).repeat(len(image), 1, 1)
    expected = plain.affine_sample(image.numpy(), theta.numpy())
    bars = plain.affine_sample_vjp(np.ones_like(expected), image.numpy(), theta.numpy())
    for _ in range(2):
        leaves = [tensor.clone().requires_grad_() for tensor in (image, theta)]
        same(plain.affine_sample(image, theta=theta), expected)
        out = plain.affine_sample(theta=leaves[1], image=leaves[0], antialias=False)
        same(out, expected)
        for found, bar in zip(torch.autograd.grad(out.sum(), leaves), bars, strict=True):
            same(found, bar)


@pytest.mark.parametrize("change", [lambda t: t.mT.contiguous().mT, lambda t: t[:, :1]], ids=["gaps", "shape"])
def test_what_data_was_swapped_for_is_read_as_it_is(plain, change):
    """Autograd does not notice that, and keeps a tensor whose numbers, strides or shape are others now."""
    image, grid = drawn(*KINDS[0])
    plain.grid_sample(image, grid)
    leaf = image.clone().requires_grad_()
    out = plain.grid_sample(leaf, grid)
    leaf.data = change(leaf.data + 1)
    cotangent = torch.ones_like(out)
    if leaf.shape != image.shape:
        with pytest.raises((RuntimeError, ValueError), match="shape"):
            torch.autograd.grad(out, leaf, cotangent)
        return
    (found,) = torch.autograd.grad(out, leaf, cotangent)
    same(found, plain.grid_sample_vjp(cotangent.numpy(), leaf.detach().numpy(), grid.numpy(), wrt="image")[0])


def test_kernels_are_asked_for_where_the_call_is_known():
    """The fast path runs none of them in a call that is made ahead."""
    from stnkit.kernels.compiler import monitor

    leaves = [tensor.requires_grad_() for tensor in drawn(*KINDS[0])]
    for _ in range(2):
        stnkit.grid_sample(*leaves).sum().backward()
    with monitor.collecting() as tally:
        stnkit.grid_sample(*leaves).sum().backward()
    assert len(tally.kernels) == 2
    assert tally.compiled == 0


def test_errors_are_those_of_the_long_way(plain):
    image, grid = drawn(*KINDS[0])
    for _ in range(2):
        with pytest.raises(ValueError, match="must have the same batch size"):
            plain.grid_sample(torch.cat([image, image]), torch.cat([grid, grid[:1]]))
        with pytest.raises(ValueError, match="`mode` must be one of"):
            plain.grid_sample(image, grid, mode="cubic")
        for wrong in ({"wrt": "image"}, {"antialias": False}):
            for given in ((image, grid), (image.clone().requires_grad_(), grid)):
                with pytest.raises(TypeError, match="unexpected keyword"):
                    plain.grid_sample(*given, **wrong)
        with pytest.raises(ValueError, match="`cotangent` must have the shape of the output"):
            plain.grid_sample_vjp(torch.ones(2, 2, 1, 1), image, grid)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("changed", [0, 1])
def test_a_tensor_that_has_been_changed_is_not_read_again(plain, name, changed):
    leaves = [tensor.requires_grad_() for tensor in drawn(name, 2, (2, 2), (SINGLE, SINGLE), {})]
    for _ in range(2):
        out = getattr(plain, name)(*leaves)
        with torch.no_grad():
            leaves[changed].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()


@pytest.mark.parametrize("name", SOURCES)
def test_second_derivatives(plain, name):
    """A recorded backward pass goes the long way, and is differentiated as ever."""
    options = {"mode": "bicubic"}
    leaves = [tensor.requires_grad_() for tensor in drawn(name, 2, (1, 1), (DOUBLE, DOUBLE), options)]
    leaves[0] = leaves[0].detach()[:, :1].clone().requires_grad_()
    sample = getattr(plain, name)
    torch.autograd.gradcheck(lambda *a: sample(*a, **options), leaves, fast_mode=True)
    torch.autograd.gradgradcheck(lambda *a: sample(*a, **options), leaves, fast_mode=True)


def test_saved_tensors_are_unpacked_once(plain):
    """As checkpoints demand; and what hooks make of them is read as it is then."""
    leaves = [tensor.requires_grad_() for tensor in drawn(*KINDS[0])]
    expected = torch.autograd.grad(plain.grid_sample(*leaves).sum(), leaves)
    unpacked = []

    def with_gaps(tensor):
        unpacked.append(tensor)
        return tensor.mT.contiguous().mT

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, with_gaps):
        out = plain.grid_sample(*leaves)
    checkpointed = torch.utils.checkpoint.checkpoint(plain.grid_sample, *leaves, use_reentrant=False)
    for found in (torch.autograd.grad(result.sum(), leaves) for result in (out, checkpointed)):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
    assert len(unpacked) == 2


def test_who_watches_sees_the_calls():
    """A mode that is entered between the passes sees the operation of the second."""
    leaves = [tensor.requires_grad_() for tensor in drawn(*KINDS[0])]
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    out = stnkit.grid_sample(*leaves)
    with Watch():
        out.sum().backward()
    assert torch.ops.stnkit.grid_sample_vjp.default in seen
    with Watch():
        stnkit.grid_sample(*leaves)
    assert torch.ops.stnkit.grid_sample.default in seen


def test_forward_mode_beside_the_lane(plain):
    image, grid = drawn(*KINDS[0])
    plain.grid_sample(image, grid)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(image, torch.ones_like(image))
        tangent = torch.autograd.forward_ad.unpack_dual(plain.grid_sample(dual, grid)).tangent
    same(tangent, plain.grid_sample(np.ones(image.shape, np.float32), grid.numpy()))


def test_a_cotangent_with_a_tangent(plain):
    """It has come between the passes: the vjp is linear in it."""
    leaves = [tensor.requires_grad_() for tensor in drawn(*KINDS[0])]
    out = plain.grid_sample(*leaves)
    tangent = torch.rand(out.shape)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(torch.ones_like(out), tangent)
        bars = torch.autograd.grad(out, leaves, dual)
        found = [torch.autograd.forward_ad.unpack_dual(bar).tangent for bar in bars]
    expected = plain.grid_sample_vjp(tangent, *(leaf.detach() for leaf in leaves))
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_what_is_remembered_is_bounded(plain, monkeypatch):
    from stnkit.torch import fast_path

    monkeypatch.setattr(fast_path, "KINDS", 3)
    image, grid = drawn(*KINDS[0])
    for n in range(1, 9):
        same(plain.grid_sample(image, grid, fill_value=n), plain.grid_sample(image.numpy(), grid.numpy(), fill_value=n))
        assert 0 < len(fast_path._known) <= 3 or n == 1


def test_a_default_device_is_none_of_ours():
    """Results lie where the arguments do."""
    image, grid = drawn(*KINDS[0])
    expected = stnkit.grid_sample(image, grid)
    with torch.device("meta"):
        found = stnkit.grid_sample(image, grid)
    assert found.device.type == "cpu"
    assert torch.equal(found, expected)
