"""CUDA tensors, pretended: torch's own CPU tensors, taken for what lies on a GPU, through every operation and autograd.

What a GPU's threads do is done one after another, on main memory; values are those of the CPU's loops.
"""

import weakref

import pytest
import torch
from emulation.pretended import pretended
from torch_cases import draw

import stnkit
import stnkit.kernels.cuda.runtime  # of the kernels' room for GPUs
from stnkit.torch import fast_path
from stnkit.torch._compat import ORDINARY
from stnkit.torch.cuda import fast_path as on_devices
from stnkit.torch.cuda import interop
from stnkit.torch.operations import OPERATIONS
from stnkit.torch.run import run

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


@pytest.fixture
def on_gpu(monkeypatch):
    """Take every tensor for one on a GPU; return what is launched."""
    record = []
    fast_path._known.clear()  # which launch what another test records

    def turn(on=True):
        monkeypatch.setattr(interop, "on_gpu", lambda tensor: on)
        monkeypatch.setattr(fast_path, "ORDINARY", frozenset() if on else ORDINARY)
        monkeypatch.setattr(fast_path, "ON_GPU", set())

    monkeypatch.setattr(interop, "stream", lambda index: 5)
    with pretended(record):
        turn()
        yield turn, record


def close(results, expected):
    for result, wanted in zip(results, expected, strict=True):
        if wanted is None:
            assert result is None
            continue
        assert (result.shape, result.dtype, result.stride()) == (wanted.shape, wanted.dtype, wanted.stride())
        torch.testing.assert_close(result, wanted, rtol=1e-12, atol=1e-12)


def both(on_gpu, function):
    """Return a call's results on a pretended GPU and on the CPU."""
    turn, record = on_gpu
    there = function()
    assert record or not any(torch.any(r != 0) for r in there if torch.is_tensor(r)), "nothing was launched"
    turn(False)
    here = function()
    return (tuple(r) if isinstance(r, tuple | list) else (r,) for r in (there, here))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(on_gpu, name, mode):
    """Bounds: a few dozen float64 numbers of size 1 are added, in an order of the device's own."""
    tensors, rest, options = draw(name, 2, mode=mode)
    close(*both(on_gpu, lambda: run(OPERATIONS[name], tensors, rest if OPERATIONS[name].sized else (), options)))
    assert all(stream == 5 for *_, stream, _ in on_gpu[1])


@pytest.mark.parametrize("last", [False, True])
def test_memory_formats_stay(on_gpu, last):
    image, grid = torch.rand(2, 4, 5, 6, dtype=torch.float64), torch.rand(2, 3, 4, 2, dtype=torch.float64)
    image = image.to(memory_format=torch.channels_last if last else torch.contiguous_format)

    def function():
        leaf = image.clone().requires_grad_()
        out = stnkit.grid_sample(leaf, grid)
        out.backward(torch.ones_like(out))
        return out.detach(), leaf.grad

    there, here = both(on_gpu, function)
    close(there, list(here))
    on_gpu[0]()
    close(function(), function())  # both from traces
    assert {spec.interleaved for name, spec, *_ in on_gpu[1] if name == "sample"} == {last}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_formats(on_gpu, dtype):
    image, grid = (torch.rand(1, 2, 4, 5) * 100).to(dtype), torch.rand(1, 3, 4, 2) * 2 - 1
    there, here = both(on_gpu, lambda: stnkit.grid_sample(image, grid))
    assert there[0].dtype is dtype
    assert torch.equal(there[0], here[0])


def test_autograd_is_that_of_the_cpu(on_gpu):
    image = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([[[0.71, 0.13, 0.06], [-0.22, 0.64, 0.11]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: stnkit.affine_sample(*given, (2, 2)), (image, theta))
    assert torch.autograd.gradgradcheck(lambda *given: stnkit.affine_sample(*given, (2, 2)), (image, theta))
    assert on_gpu[1]


def test_an_item_without_its_batch_axis(on_gpu):
    image, grid = torch.rand(3, 4, 5, dtype=torch.float64), torch.rand(2, 2, 2, dtype=torch.float64)
    close(*both(on_gpu, lambda: stnkit.grid_sample_vjp(torch.ones(3, 2, 2, dtype=torch.float64), image, grid)))


@pytest.mark.parametrize("public", [False, True])
def test_what_torch_is_told_of_determinism_holds(on_gpu, public):
    """From then on: the calls are alike but for that."""
    image, grid = torch.rand(1, 1, 4, 5, requires_grad=not public), torch.rand(1, 3, 4, 2)
    for steady in (False, True, False, True):
        torch.use_deterministic_algorithms(steady)
        try:
            if public:
                stnkit.grid_sample_vjp(torch.ones(1, 1, 3, 4), image, grid, wrt="image")
            else:
                stnkit.grid_sample(image, grid).sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)
        assert told(on_gpu) == ({"scatter_binned"} if steady else {"scatter"})


SAMPLERS = [name + end for name in ("grid_sample", "affine_sample", "flow_sample") for end in ("", "_vjp")]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in SAMPLERS for mode in ("bilinear", "nearest")),
        ("flow_sample", "spline3"),  # whose filter is the same for all of them
        ("affine_sample_vjp", "spline3"),
    ],
)
def test_a_repeated_call_is_done_from_its_trace(on_gpu, name, mode, monkeypatch):
    """It gives the same bits as the long way, and works on other tensors of its kind."""
    function, operation = getattr(stnkit, name), OPERATIONS[name]
    calls = []
    for seed in range(2):
        tensors, rest, options = draw(name, 2, mode=mode, channels=2)
        tensors = [tensor * (1 - seed / 8) for tensor in tensors]
        options |= {"prefilter": True, "padding_mode": "zeros"} if mode == "spline3" else {}  # which puts zeros around
        rest = rest if operation.sized else ()
        calls.append((tensors, rest, options))
    expected = [run(operation, *call) for call in calls]
    function(*calls[0][0], *calls[0][1], **calls[0][2])  # which a process' first call is not learned from
    fast_path._known.clear()
    function(*calls[0][0], *calls[0][1], **calls[0][2])
    assert len(fast_path._known) == 1
    monkeypatch.setattr(on_devices, "on_views", None)  # the long way is closed
    for (tensors, rest, options), wanted in zip(calls, expected, strict=True):
        results = function(*tensors, *rest, **options)
        pairs = zip(results, wanted, strict=True) if isinstance(wanted, tuple) else [(results, wanted)]
        assert all(torch.equal(result, other) for result, other in pairs)


@pytest.mark.parametrize("last", [False, True])
def test_a_result_owns_its_memory(on_gpu, last):
    """From a trace as before it: no result is a view, and none is larger than its numbers."""
    image, grid = torch.rand(2, 4, 5, 6), torch.rand(2, 3, 4, 2)
    image = image.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    for _ in range(3):
        out = stnkit.grid_sample(image, grid)
        for result in (out, *stnkit.grid_sample_vjp(out, image, grid)):
            assert result._base is None
            assert result.untyped_storage().nbytes() == result.nbytes


def test_the_first_result_is_let_go_of_too(on_gpu):
    """What autograd records of a call must not keep the result that was there when it was learned."""
    image, grid = torch.rand(1, 1, 4, 5, requires_grad=True), torch.rand(1, 3, 4, 2)
    for _ in range(2):
        out = stnkit.grid_sample(image, grid)
        gone = weakref.ref(out)
        out.sum().backward()
        del out
        assert gone() is None


def test_constants_are_those_of_the_stream(on_gpu, monkeypatch):
    """What was written on another stream might not be there yet; what a graph writes is there when it runs."""
    image, grid = torch.rand(1, 1, 4, 5), torch.rand(1, 3, 4, 2)
    runtime = stnkit.kernels.cuda.runtime
    written = []
    for stream, capturing in ((105, False), (105, False), (106, True), (106, True), (106, False), (106, False)):
        monkeypatch.setattr(interop, "stream", lambda index, stream=stream: stream)
        monkeypatch.setattr(runtime, "is_capturing", lambda stream, at, capturing=capturing: capturing)
        out = stnkit.grid_sample(image, grid, fill_value=0.375)
        assert {at for *_, at, _ in on_gpu[1]} == {stream}
        written.append("constant" in {name for name, *_ in on_gpu[1]})
        on_gpu[1].clear()
        on_gpu[0](False)
        close([out], [stnkit.grid_sample(image, grid, fill_value=0.375)])
        on_gpu[0]()
    assert written == [True, False, True, True, True, False]


def test_integers_have_no_gradient_to_be_recorded(on_gpu):
    image, grid = torch.ones(1, 1, 4, 5, dtype=torch.uint8), torch.rand(1, 3, 4, 2)
    for _ in range(2):
        stnkit.grid_sample(image, grid)
        with pytest.raises(TypeError, match="requires a gradient"):
            stnkit.grid_sample(image, grid.clone().requires_grad_())


@pytest.mark.parametrize("name", ["grid_sample_vjp", "affine_sample_vjp", "flow_sample_vjp"])
def test_a_trace_lets_go_of_what_it_has_read(on_gpu, name, monkeypatch):
    """No more memory is held at once than in the first call: bins of sums are several times the image."""
    live, allocated, peaks = {}, [], []

    def counted(allocate):
        def call(*args, **options):
            tensor = allocate(*args, **options)
            live[id(tensor)] = tensor.nbytes
            weakref.finalize(tensor, live.pop, id(tensor))
            allocated.append(tensor.nbytes)
            peaks.append(sum(live.values()))
            return tensor

        return call

    tensors, _, options = draw(name, 2, channels=2)
    first = getattr(stnkit, name)(*tensors, deterministic=True, **options)  # kernels and constants come to be
    fast_path._known.clear()
    for allocate in ("empty", "empty_like", "empty_strided"):
        monkeypatch.setattr(torch, allocate, counted(getattr(torch, allocate)))
    most = []
    for _ in range(2):
        allocated.clear()
        peaks.clear()
        results = getattr(stnkit, name)(*tensors, deterministic=True, **options)
        assert all(torch.equal(result, other) for result, other in zip(results, first, strict=True))
        del results
        assert not live
        assert sum(allocated) > max(peaks)
        most.append(max(peaks))
    assert most[1] <= most[0]


@pytest.mark.parametrize("recorded", [False, True])
def test_what_a_call_asks_of_determinism_holds(on_gpu, recorded):
    values, grid = torch.rand(1, 1, 3, 4, requires_grad=recorded), torch.rand(1, 3, 4, 2)
    stnkit.grid_splat(values, grid, (4, 5), deterministic=True)
    stnkit.grid_sample_vjp(values, torch.rand(1, 1, 4, 5), grid, deterministic=True)
    told = [name for name, *_ in on_gpu[1]]
    assert told.count("scatter_binned") == 2
    assert "scatter" not in told


def told(on_gpu):
    """Return which kernels of those that add to an image were launched, and forget them."""
    names = {name for name, *_ in on_gpu[1]} & {"scatter", "scatter_binned"}
    on_gpu[1].clear()
    return names


@pytest.mark.parametrize("steady", [False, True])
def test_what_a_call_asks_of_determinism_holds_for_its_derivatives(on_gpu, steady):
    values, grid = torch.rand(1, 1, 3, 4, requires_grad=True), torch.rand(1, 3, 4, 2)
    image = torch.rand(1, 1, 4, 5, requires_grad=True)
    d_image, d_grid = stnkit.grid_sample_vjp(values, image, grid.requires_grad_(), deterministic=steady)
    on_gpu[1].clear()
    d_grid.sum().backward()  # which moves locations, so that the image's cotangent is a sum again
    assert told(on_gpu) == ({"scatter_binned"} if steady else set())
    names = {name for name, *_ in on_gpu[1]}
    assert d_image.shape == image.shape
    assert not names


@pytest.mark.parametrize("steady", [False, True])
def test_what_a_call_asks_of_determinism_holds_in_transforms(on_gpu, steady):
    image, grid = torch.rand(2, 1, 1, 4, 5), torch.rand(2, 1, 3, 4, 2)
    values = torch.rand(2, 1, 1, 3, 4)
    sums = {"scatter_binned"} if steady else {"scatter"}

    def pull(values, image, grid):
        return stnkit.grid_sample_vjp(values, image, grid, wrt="image", deterministic=steady)[0]

    def splat(values, grid):
        return stnkit.grid_splat(values, grid, (4, 5), deterministic=steady)

    torch.func.vmap(pull)(values, image, grid)
    assert told(on_gpu) == sums
    torch.func.grad(lambda v: splat(v, grid[0]).square().sum())(values[0])
    assert told(on_gpu) == sums
    torch.func.jvp(lambda v: splat(v, grid[0]), (values[0],), (values[0],))
    assert told(on_gpu) == sums


@pytest.mark.parametrize("steady", [False, True])
def test_what_a_call_asks_of_determinism_holds_in_compiled_code(on_gpu, steady):
    image, grid, values = torch.rand(1, 1, 4, 5), torch.rand(1, 3, 4, 2), torch.rand(1, 1, 3, 4)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def pull(values, image, grid):
        d_image, _ = stnkit.grid_sample_vjp(values, image, grid, wrt="image", deterministic=steady)
        return d_image + stnkit.grid_splat(values, grid, (4, 5), deterministic=steady)

    pull(values, image, grid)
    assert told(on_gpu) == ({"scatter_binned"} if steady else {"scatter"})


@pytest.mark.parametrize("name", ["projective", "thin_plate_spline"])
def test_maps_that_are_no_affine_ones(on_gpu, name, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__dlpack_device__", lambda tensor: (2 if interop.on_gpu(tensor) else 1, 0))
    points = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1], [0.2, 0.1]], dtype=torch.float64)
    theta = torch.eye(3, dtype=torch.float64) if name == "projective" else points.clone()
    theta = (theta + 0.1 * torch.rand(theta.shape, dtype=torch.float64))[None].requires_grad_()
    image = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    fixed = () if name == "projective" else (points,)

    def function():
        out = getattr(stnkit, f"{name}_sample")(image, theta, *fixed, size=(3, 4))
        return out.detach(), *torch.autograd.grad(out.square().sum(), (image, theta))

    close(*both(on_gpu, function))


def shrinking(op):
    """Draw maps that shrink, and their control points; of affine ones and flows, one item alone."""
    points = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1], [0.2, 0.1]], dtype=torch.float64)
    each = torch.tensor([0.9, 0.2], dtype=torch.float64)[:, None, None]
    theta = each * torch.eye(2, 3, dtype=torch.float64) + 0.05 * torch.rand(2, 2, 3, dtype=torch.float64)
    last = torch.tensor([0.1, -0.05, 1.0], dtype=torch.float64).expand(2, 1, 3)
    bent = each * points + 0.05 * torch.rand(2, 5, 2, dtype=torch.float64)  # so that no location lies on a knot
    return {
        "affine": (theta, {}),
        "projective": (torch.cat([theta, last], dim=1), {}),
        "thin_plate_spline": (bent, {"control_points": points.numpy()}),
        "flow": (each[..., None] * torch.rand(2, 2, 3, 2, dtype=torch.float64), {}),
    }[op]


@pytest.mark.parametrize("antialias", [True, 2])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("op", ["affine", "projective", "thin_plate_spline", "flow"])
def test_means_of_subsamples(on_gpu, op, recorded, antialias, monkeypatch):
    """With a gradient, without one, with a tangent, and with derivatives that are asked for by name."""
    monkeypatch.setattr(torch.Tensor, "__dlpack_device__", lambda tensor: (2 if interop.on_gpu(tensor) else 1, 0))
    source, points = shrinking(op)
    image, cotangent = torch.rand(2, 2, 7, 9, dtype=torch.float64), torch.rand(2, 2, 2, 3, dtype=torch.float64)
    size = {} if op == "flow" else {"size": (2, 3)}

    def sample(image, source):
        return getattr(stnkit, f"{op}_sample")(image, source, antialias=antialias, **size, **points)

    def function():
        if not recorded:
            vjp, jvp = (getattr(stnkit, f"{op}_sample_{kind}") for kind in ("vjp", "jvp"))
            bars = vjp(cotangent, image, source, antialias=antialias, deterministic=True, **points)
            dots = jvp(image, source, image, source, antialias=antialias, **size, **points)
            return sample(image, source), *bars, *dots
        leaves = image.clone().requires_grad_(), source.clone().requires_grad_()
        out = sample(*leaves)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(source, torch.ones_like(source))
            tangent = torch.autograd.forward_ad.unpack_dual(sample(image, dual)).tangent
        return out.detach(), tangent, *torch.autograd.grad(out, leaves, cotangent)

    close(*both(on_gpu, function))


def test_a_number_of_subsamples_is_kept_on_the_trace_and_true_is_not(on_gpu):
    image, (theta, _) = torch.rand(2, 2, 7, 9, dtype=torch.float64), shrinking("affine")
    for antialias, kept in ((2, 1), (True, 0)):
        fast_path._known.clear()
        for scale in (1.0, 3.0):
            there = stnkit.affine_sample(image, scale * theta, (2, 3), antialias=antialias)
            on_gpu[0](False)
            close([there], [stnkit.affine_sample(image, scale * theta, (2, 3), antialias=antialias)])
            on_gpu[0](True)
        assert sum(known is not None for known in fast_path._known.values()) == kept  # on the CPU, there is none


def test_tensors_that_share_memory_go_the_long_way(on_gpu):
    image = torch.rand(1, 2, 4, 4, dtype=torch.float64)
    grid = image.view(1, 4, 4, 2)
    there = stnkit.grid_sample(image, grid)
    assert not fast_path._known
    on_gpu[0](False)
    close([there], [stnkit.grid_sample(image, grid)])


def test_tensors_to_write_into(on_gpu):
    image, grid, out = torch.rand(1, 1, 4, 5), torch.rand(1, 3, 4, 2), torch.zeros(1, 1, 3, 4)
    assert stnkit.grid_sample(image, grid, out=out) is out
    on_gpu[0](False)
    assert torch.equal(out, stnkit.grid_sample(image, grid))
