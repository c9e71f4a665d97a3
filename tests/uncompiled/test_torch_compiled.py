"""`torch.compile` and `torch.export`: whole graphs, any sizes, the same results, and errors that say what is wrong."""

import pytest
import torch
import torch._dynamo.testing
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

import stnkit

# torch warns of its own
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:torch", "ignore::FutureWarning:torch", "ignore::UserWarning:torch"
)


@pytest.fixture(autouse=True)
def _afresh():
    torch._dynamo.reset()


def uniform(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) * 1.8 - 0.9


def network(image, theta, flow):
    """Chain every sampler, by the names of the package."""
    grid = stnkit.affine_grid(theta, image.shape[2:])
    first = stnkit.grid_sample(image * 2, grid, padding_mode="border") + 1
    second = stnkit.affine_sample(first, theta, mode="bicubic", padding_mode=("wrap", "zeros"), fill_value=0.5)
    third = stnkit.flow_sample(second, flow, padding_mode="reflection")
    return stnkit.grid_splat(third, stnkit.flow_grid(flow), image.shape[2:])


def given(n, h, w, grad=False):
    theta = torch.eye(2, 3) + 0.1 * uniform(n, 2, 3)
    return [t.requires_grad_(grad) for t in (uniform(n, 3, h, w), theta, 0.3 * uniform(n, h, w, 2))]


def both(f, n, h, w):
    tensors = given(n, h, w, grad=True)
    out = f(*tensors)
    return out, *torch.autograd.grad((out**2).sum(), tensors)


def close(got, expected):
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_any_batch_and_size_without_a_break():
    """Forward and backward, in one graph for all sizes: the first call fixes none of them.

    Its batch is not 2, as the number of axes is: torch's compiler takes equal sizes for one symbol.
    """
    network(*given(4, 5, 7))  # the door is open: a call that opens it is compiled for once
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((4, 5, 7), (6, 8, 9), (7, 6, 4)):
        close(both(compiled, *shape), both(network, *shape))
    assert counter.frame_count == 1


def test_static_sizes():
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    close(both(compiled, 2, 5, 7), both(network, 2, 5, 7))


@pytest.fixture
def inductor():
    """Ask for torch's default backend, which needs a C++ compiler; only a machine without one skips the test."""
    try:
        cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch's default backend needs a C++ compiler, and finds none on this machine")


def test_the_default_backend_in_both_memory_formats(inductor):
    """Forward and backward: strides are those that torch's compiler was promised."""

    def f(image, theta):
        return stnkit.affine_sample(image * 2, theta) + 1

    image, theta, _ = given(2, 4, 5)
    compiled = torch.compile(f, fullgraph=True)
    for fmt in (torch.contiguous_format, torch.channels_last):
        x, u = image.to(memory_format=fmt).requires_grad_(), theta.clone().requires_grad_()
        out = compiled(x, u)
        expected = f(x, u)
        torch.testing.assert_close(out, expected)
        assert out.is_contiguous(memory_format=fmt)
        for found, bar in zip(*(torch.autograd.grad(r.square().sum(), (x, u)) for r in (out, expected)), strict=True):
            torch.testing.assert_close(found, bar)


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_default_backend(inductor, dynamic):
    """Every sampler in one program, forward and backward, fused with what is around them; then of another size."""
    compiled = torch.compile(network, fullgraph=True, dynamic=dynamic)
    for shape in ((4, 5, 7), (3, 6, 4))[: 1 + dynamic]:
        for one, other in zip(both(compiled, *shape), both(network, *shape), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_export():
    """A module is exported with symbols for its sizes, and runs on others."""

    class Warp(torch.nn.Module):
        def forward(self, image, theta):
            return stnkit.affine_sample(image, theta, (image.shape[2] // 2, 7))

    n, h = torch.export.Dim("n", min=2), torch.export.Dim("h", min=4)
    image, theta, _ = given(2, 6, 5)
    program = torch.export.export(Warp(), (image, theta), dynamic_shapes=({0: n, 2: h}, {0: n}))
    assert any(node.target is torch.ops.stnkit.affine_sample.default for node in program.graph.nodes)
    image, theta, _ = given(5, 9, 5)
    close([program.module()(image, theta)], [Warp()(image, theta)])


def test_a_first_call_may_be_a_compiled_one():
    """The package for torch is found while torch's compiler reads the call."""
    from stnkit import _dispatch

    _dispatch._packages.clear()
    compiled = torch.compile(lambda x, u: stnkit.grid_sample(x, u), fullgraph=True, backend="aot_eager")
    image, grid = uniform(1, 1, 3, 4), uniform(1, 2, 3, 2)
    close([compiled(image, grid)], [stnkit.grid_sample(image, grid)])


@pytest.mark.parametrize("dynamic", [False, True])
def test_shapes_are_checked_while_a_call_is_compiled(dynamic):
    compiled = torch.compile(stnkit.grid_sample, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    with pytest.raises(Exception, match=r"`image` must have shape \(N, C, H, W\)"):
        compiled(uniform(4, 5), uniform(1, 2, 3, 2))
    with pytest.raises(Exception, match="must have the same batch size, or one of them 1"):
        compiled(uniform(2, 1, 4, 5), uniform(3, 2, 3, 2))


def test_a_trace_is_refused():
    """It would keep results as constants."""
    with pytest.raises(
        NotImplementedError, match=r"cannot be traced by torch\.jit; use torch\.compile, or torch\.export"
    ):
        torch.jit.trace(stnkit.grid_sample, (uniform(1, 1, 3, 4), uniform(1, 2, 3, 2)))


def test_what_cannot_be_written_while_transformed():
    image, grid = uniform(1, 1, 3, 4), uniform(1, 2, 3, 2)
    with pytest.raises(TypeError, match="`out` cannot be written to"):
        torch.func.vmap(lambda x, u: stnkit.grid_sample(x, u, out=torch.empty(1, 2, 3)))(image, grid)
