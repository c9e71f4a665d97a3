"""What only a GPU can show: `pytest -m gpu`, on a machine that has one, with torch and numba-cuda.

Values are compared with the CPU's kernels in float64. Bounds: a coordinate of a pixel is rounded a few times, to within
4 ulps of the image's extent, which moves a value by that times its slope; a cotangent adds up so many such values, in
whatever order. Locations lie away from knots, where slopes jump.
"""

import functools
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import bounds
import numpy as np
import pytest

import stnkit
from stnkit.kernels.cuda import runtime
from stnkit.transforms import control_lattice

pytestmark = pytest.mark.gpu


def missing():
    """Say why nothing can run on a GPU here; an empty string if it can."""
    for package in ("numba_cuda", "torch"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    import torch

    if not torch.cuda.is_available():
        return "torch finds no GPU"
    try:
        runtime.machine(0)
    except (ImportError, RuntimeError) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def torch():
    """Return torch on a machine with a GPU."""
    reason = missing()
    if reason:
        pytest.skip(f"no GPU: {reason}")
    return importlib.import_module("torch")


EPS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SHAPES = {1: ((37,), (29,)), 2: ((17, 23), (13, 19)), 3: ((7, 9, 11), (5, 6, 7))}
MODES, PADDINGS = ("nearest", "bilinear", "bicubic"), ("zeros", "border", "reflection", "wrap")


def draw(torch, ndim, batch=2, channels=8, dtype="float32", last=False, kind="grid", seed=0):
    """Return image, source and cotangent on the CPU; what is not float64 is exact in float32, and in the dtype."""
    extent, size = SHAPES[ndim]
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return (torch.randint(-64, 65, shape, generator=generator) / 64).to(getattr(torch, dtype))

    def picture(spatial):
        return uniform(batch, *spatial, channels) if last else uniform(batch, channels, *spatial)

    wide = torch.float64 if dtype == "float64" else torch.float32
    n = torch.tensor(extent[::-1])
    whole = torch.stack([torch.randint(-2, int(m) + 2, (batch, *size), generator=generator) for m in n], dim=-1)
    pixels = whole + 0.125 + torch.randint(0, 9, whole.shape, generator=generator) / 32
    source = ((2 * pixels + 1) / n - 1).to(wide)
    if kind == "flow":
        source = (torch.randint(-40, 41, whole.shape, generator=generator) / 16 + 1 / 64).to(wide)
    if kind == "theta":
        turn = torch.rand(batch, ndim, ndim + 1, generator=generator, dtype=torch.float64) - 0.5
        source = (torch.eye(ndim, ndim + 1, dtype=torch.float64) + 0.6 * turn).to(wide)
    return picture(extent), source, picture(size)


def compare(torch, function, arrays, terms, dtype, **options):
    """Compare a call on the GPU with the CPU's in float64."""
    there = function(*[array.cuda() for array in arrays], **options)
    here = function(*[array.double() for array in arrays], **options)
    there, here = (results if isinstance(results, tuple) else (results,) for results in (there, here))
    for result, wanted in zip(there, here, strict=True):
        assert result.is_cuda
        assert result.shape == wanted.shape
        arithmetic = "float64" if dtype == "float64" else "float32"
        scale = max(1.0, float(wanted.abs().max()))
        bound = 2 * EPS[dtype] * scale + terms * 64 * 64 * EPS[arithmetic]  # extents are below 64, slopes below 16
        worst = float((result.double().cpu() - wanted).abs().max()) if wanted.numel() else 0.0
        assert worst <= bound, (worst, bound)


CALLS = [
    *((kind, ndim, "float32") for kind in ("grid", "theta", "flow") for ndim in SHAPES),
    *(("grid", 2, dtype) for dtype in EPS if dtype != "float32"),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kind", "ndim", "dtype"), CALLS)
def test_samplers(torch, kind, ndim, dtype, last):
    image, source, cotangent = draw(torch, ndim, dtype=dtype, last=last, kind=kind)
    name = {"grid": "grid_sample", "theta": "affine_sample", "flow": "flow_sample"}[kind]
    options = {"data_format": "channels_last" if last else "channels_first"}
    size = {"size": SHAPES[ndim][1]} if kind == "theta" else {}
    function = {end: getattr(stnkit, name + end) for end in ("", "_vjp", "_jvp", "_double_vjp")}
    points = int(np.prod(SHAPES[ndim][1])) * image.shape[-1 if last else 1]
    compare(torch, function[""], (image, source), 1, dtype, **size, **options)
    compare(torch, function["_jvp"], (image, source, image, source), 64, dtype, **size, **options)
    for steady in (False, True):
        steady = {"deterministic": steady, **options}
        compare(torch, function["_vjp"], (cotangent, image, source), points, dtype, **steady)
        arrays = (image, source, cotangent, image, source)
        compare(torch, function["_double_vjp"], arrays, 64 * points, dtype, **steady)


@pytest.mark.parametrize("antialias", [True, 2])
@pytest.mark.parametrize("kind", ["theta", "flow", "projective", "thin_plate_spline"])
def test_means_of_subsamples(torch, kind, antialias):
    """Of maps that shrink, and by another number for each item of a batch. Derivatives are of bicubic: none jumps."""
    image, source, cotangent = draw(torch, 2, channels=4, kind="flow" if kind == "flow" else "theta")
    fixed = {}
    source = source / 16 if kind == "flow" else source * torch.tensor([1.0, 2.0])[:, None, None]
    if kind == "projective":
        source = torch.cat([source, torch.tensor([0.0625, -0.03125, 1.0]).expand(2, 1, 3)], dim=1)
    if kind == "thin_plate_spline":
        fixed = {"control_points": control_lattice((3, 4))}
        source = torch.as_tensor(fixed["control_points"]).float() @ source[:, :, :2].mT + source[:, None, :, 2]
    name = {"theta": "affine_sample", "flow": "flow_sample"}.get(kind, f"{kind}_sample")
    size = {} if kind == "flow" else {"size": SHAPES[2][1]}
    sample, vjp, jvp = (functools.partial(getattr(stnkit, name + end), **fixed) for end in ("", "_vjp", "_jvp"))
    places, points = 64 if antialias is True else 4, 13 * 19 * 4
    compare(torch, sample, (image, source), places, "float32", antialias=antialias, padding_mode="border", **size)
    options = {"antialias": antialias, "mode": "bicubic"}
    compare(torch, jvp, (image, source, image, source), 64 * places, "float32", **options, **size)
    for steady in (False, True):
        compare(torch, vjp, (cotangent, image, source), places * points, "float32", deterministic=steady, **options)
    theirs = image.cuda().requires_grad_(), source.cuda().requires_grad_()
    out = sample(*theirs, **options, **size)
    bars = torch.autograd.grad(out, theirs, cotangent.cuda())
    expected = vjp(cotangent.cuda(), *(tensor.detach() for tensor in theirs), **options)
    for bar, wanted in zip(bars, expected, strict=True):
        atol = places * points * 64 * 64 * EPS["float32"]
        torch.testing.assert_close(bar, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_modes(torch, mode, padding):
    image, grid, cotangent = draw(torch, 2, channels=3)
    options = {"mode": mode, "padding_mode": padding}
    for align in (False, True):
        compare(torch, stnkit.grid_sample, (image, grid), 1, "float32", fill_value=0.5, **options)
        arrays = cotangent, image, grid
        compare(torch, stnkit.grid_sample_vjp, arrays, 3 * 13 * 19, "float32", align_corners=align, **options)


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("ndim", SHAPES)
def test_three_channels_side_by_side(torch, ndim, mode, dtype):
    """The threads of a warp exchange them; no number of locations here fills whole warps."""
    image, grid, cotangent = draw(torch, ndim, channels=3, dtype=dtype, last=True)
    options = {"mode": mode, "data_format": "channels_last"}
    points = 3 * int(np.prod(SHAPES[ndim][1]))

    def image_bar(*arrays, **options):
        return stnkit.grid_sample_vjp(*arrays, wrt="image", **options)[0]

    compare(torch, stnkit.grid_sample, (image, grid), 1, dtype, fill_value=[0.5, -0.25, 1.0], **options)
    compare(torch, stnkit.grid_sample_vjp, (cotangent, image, grid), points, dtype, **options)
    compare(torch, image_bar, (cotangent, image, grid), points, dtype, **options)
    compare(torch, stnkit.grid_splat, (cotangent, grid), points, dtype, size=SHAPES[ndim][0], **options)


def test_three_channels_of_bytes(torch):
    image, grid, _ = draw(torch, 2, channels=3, last=True)
    image = (image.abs() * 64).to(torch.uint8)
    for mode, atol in (("nearest", 0), ("bilinear", 1)):  # what a GPU contracts may move a tie
        out = stnkit.grid_sample(image.cuda(), grid.cuda(), mode=mode, data_format="channels_last").cpu()
        expected = stnkit.grid_sample(image, grid, mode=mode, data_format="channels_last")
        torch.testing.assert_close(out.double(), expected.double(), rtol=0, atol=atol)


def test_maps_of_many_locations(torch):
    """The partial sums of theta's cotangent are added up in two steps: there are 257 * 259 / 32 of them."""
    image, theta, _ = draw(torch, 2, channels=1, kind="theta")
    cotangent = torch.rand(2, 1, 257, 259, generator=torch.Generator().manual_seed(1))
    compare(torch, stnkit.affine_sample_vjp, (cotangent, image, theta), 257 * 259, "float32")
    compare(torch, stnkit.affine_sample_vjp, (cotangent, image, theta[0]), 2 * 257 * 259, "float32")


def test_grids_splats_counts_and_gradients(torch):
    image, theta, cotangent = draw(torch, 2, kind="theta")
    _, grid, _ = draw(torch, 2)
    compare(torch, stnkit.affine_grid, (theta,), 1, "float32", size=(13, 19))
    compare(torch, stnkit.affine_grid_vjp, (grid,), 13 * 19, "float32")
    compare(torch, stnkit.flow_grid, (grid,), 1, "float32")
    compare(torch, stnkit.flow_grid_vjp, (grid,), 1, "float32")
    compare(torch, stnkit.grid_splat, (cotangent, grid), 13 * 19, "float32", size=(17, 23))
    compare(torch, stnkit.grid_splat_vjp, (image, cotangent, grid), 8 * 13 * 19, "float32")
    compare(torch, stnkit.grid_count, (grid,), 13 * 19, "float32", size=(17, 23))
    compare(torch, stnkit.grid_gradient, (image, grid), 64, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_filters_of_splines(torch, order, dtype):
    """Lines of 130 pixels, of which some read no edge, and of 9, padded several times within what is read."""
    generator = torch.Generator().manual_seed(order)
    image = torch.rand(2, 130, 9, 131, generator=generator, dtype=torch.float64).to(getattr(torch, dtype))
    for function in (stnkit.spline_filter, stnkit.spline_filter_vjp):
        for padding, align in (("wrap", False), ("reflection", False), ("reflection", True)):
            options = {"order": order, "padding_mode": padding, "align_corners": align, "axes": (1, 2, 3)}
            given, twice = image.cuda(), function is stnkit.spline_filter_vjp
            result, expected = function(given, **options), function(image.double(), **options)
            assert torch.equal(given.cpu(), image)
            bound = bounds.convolved_filter(order, 3, 2 * EPS[dtype], twice)
            bound += bounds.recursive_filter(order, 3, 2 * EPS["float64"]) * (8 if twice else 1)
            torch.testing.assert_close(result.cpu().double(), expected, rtol=0, atol=bound)
            own = given.clone()
            if not twice:
                assert function(own, out=own, **options) is own
                assert torch.equal(own, result)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("mode", "padding"), [("spline3", "zeros"), ("spline2", "border"), ("spline5", "wrap")])
def test_splines_of_images(torch, mode, padding, dtype, last):
    """Coefficients are below 7.5**2, and so slopes 7 times as steep as `compare` counts with.

    The weights that meet in one pixel's cotangent sum to less than 8.
    """
    image, grid, cotangent = draw(torch, 2, channels=3, dtype=dtype, last=last)
    options = {"mode": mode, "padding_mode": padding, "data_format": "channels_last" if last else "channels_first"}
    compare(torch, stnkit.grid_sample, (image, grid), 64, dtype, **options)
    arrays = cotangent, image, grid
    compare(torch, stnkit.grid_sample_vjp, arrays, 64 * 8, dtype, **options)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "bool"])
def test_integers_are_those_of_the_cpu(torch, dtype):
    image, grid, _ = draw(torch, 2)
    image = (image.abs() * 64).to(getattr(torch, dtype))
    out = stnkit.grid_sample(image.cuda(), grid.cuda(), mode="nearest")
    assert torch.equal(out.cpu(), stnkit.grid_sample(image, grid, mode="nearest"))
    if dtype != "bool":  # what a GPU contracts may move a tie
        out = stnkit.grid_sample(image.cuda(), grid.cuda()).cpu().double()
        torch.testing.assert_close(out, stnkit.grid_sample(image, grid).double(), rtol=0, atol=1)


def test_strides(torch):
    image, grid, cotangent = (array.cuda() for array in draw(torch, 2))
    expected = stnkit.grid_sample_vjp(cotangent, image, grid, deterministic=True)
    wide = torch.zeros(*image.shape[:-1], 2 * image.shape[-1], device="cuda")
    wide[..., ::2] = image
    given = (wide[..., ::2], image.to(memory_format=torch.channels_last), image.transpose(-1, -2).contiguous().mT)
    for view in given:
        bars = stnkit.grid_sample_vjp(cotangent, view, grid, deterministic=True)
        for bar, wanted in zip(bars, expected, strict=True):
            torch.testing.assert_close(bar, wanted, rtol=0, atol=64 * 64 * 2.0**-24 * 13 * 19)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["grid", "theta", "flow"])
def test_deterministic_means_the_same_bits(torch, kind, last):
    image, source, cotangent = (array.cuda() for array in draw(torch, 2, batch=4, last=last, kind=kind))
    name = {"grid": "grid_sample", "theta": "affine_sample", "flow": "flow_sample"}[kind]
    options = {"data_format": "channels_last" if last else "channels_first", "deterministic": True}
    runs = [getattr(stnkit, f"{name}_vjp")(cotangent, image[:1], source, **options) for _ in range(8)]
    twice = [
        getattr(stnkit, f"{name}_double_vjp")(image, source, cotangent, image, source, **options) for _ in range(8)
    ]
    for again in (runs, twice):
        for results in again[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results, again[0], strict=True))


def test_coordinates_that_are_not_finite(torch):
    image, grid, cotangent = draw(torch, 2)
    grid[0, 0, 0, 0], grid[0, 1, 1, 1], grid[0, 2, 2] = np.nan, np.inf, torch.tensor([1e30, -1e30])
    for padding in PADDINGS:
        there = stnkit.grid_sample(image.cuda(), grid.cuda(), padding_mode=padding, fill_value=3.0).cpu()
        here = stnkit.grid_sample(image, grid, padding_mode=padding, fill_value=3.0)
        assert torch.isfinite(there).all()
        torch.testing.assert_close(there, here, rtol=0, atol=64 * 64 * 2.0**-24)
        bars = stnkit.grid_sample_vjp(cotangent.cuda(), image.cuda(), grid.cuda(), padding_mode=padding)
        assert all(torch.isfinite(bar).all() for bar in bars)
        assert float(bars[1][0, 0, 0].abs().max()) == 0


def test_work_goes_to_the_current_stream(torch):
    """A call on a stream that is busy returns before its result is there, and its result is right."""
    image, grid, _ = (array.cuda() for array in draw(torch, 2))
    expected = stnkit.grid_sample(image, grid)
    torch.cuda.synchronize()
    stream, done = torch.cuda.Stream(), torch.cuda.Event()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        out = stnkit.grid_sample(image, grid)
        done.record(stream)
    assert not done.query()
    stream.synchronize()
    assert torch.equal(out, expected)


def test_a_training_step_in_a_graph(torch):
    image, theta, _ = (array.cuda() for array in draw(torch, 2, kind="theta"))
    theta = theta.clone().requires_grad_()

    def step():
        theta.grad = None
        stnkit.affine_sample(image, theta, (13, 19), fill_value=0.25).square().mean().backward()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    theta.grad = None
    with torch.cuda.graph(graph):
        step()
    for scale in (1.0, 1.25):
        with torch.no_grad():
            theta.mul_(scale)
        graph.replay()
        torch.cuda.synchronize()
        found = theta.grad.clone()
        other = theta.detach().clone().requires_grad_()
        stnkit.affine_sample(image, other, (13, 19), fill_value=0.25).square().mean().backward()
        torch.testing.assert_close(found, other.grad, rtol=1e-5, atol=1e-6)


def test_autograd_and_the_compiler(torch):
    image, theta, _ = draw(torch, 2, batch=1, channels=1, dtype="float64", kind="theta")
    image, theta = (array.cuda().requires_grad_() for array in (image[..., :4, :5], theta))
    assert torch.autograd.gradcheck(
        lambda *given: stnkit.affine_sample(*given, (3, 2)), (image, theta), nondet_tol=1e-12
    )
    function = torch.compile(lambda *given: stnkit.affine_sample(*given, (3, 2)).square(), fullgraph=True)
    torch.testing.assert_close(function(image, theta), stnkit.affine_sample(image, theta, (3, 2)).square())


def test_more_than_two_to_the_31_elements(torch):
    if torch.cuda.get_device_properties(0).total_memory < 24 * 2**30:
        pytest.skip("the GPU has less than 24 GiB of memory")
    image = torch.zeros(3, 1, 1 << 15, 1 << 15, dtype=torch.float16, device="cuda")  # 3 * 2**30
    image[2, 0, -1, -1], image[0, 0, -1, -1] = 2.0, 1.0
    grid = torch.ones(3, 1, 1, 2, device="cuda")
    out = stnkit.grid_sample(image, grid, mode="nearest", align_corners=True)
    assert out.flatten().tolist() == [1.0, 0.0, 2.0]
    theta = torch.eye(2, 3, device="cuda").expand(3, 2, 3)
    out = stnkit.affine_sample(image, theta, mode="nearest")
    assert torch.equal(out, image)
    one = torch.zeros(1, 1, 46400, 46400, dtype=torch.uint8, device="cuda")  # one plane beyond 2**31
    one[0, 0, -1, -1] = 7
    out = stnkit.grid_sample(one, grid[:1], mode="nearest", align_corners=True)
    assert int(out) == 7


def test_a_launch_that_fails_leaves_the_context_usable(torch, monkeypatch):
    from stnkit.torch import fast_path

    image, grid, _ = (array.cuda() for array in draw(torch, 2))
    expected = stnkit.grid_sample(image, grid)
    fast_path._known.clear()  # so that the call is launched anew
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "BLOCK", 1 << 20)  # threads, more than any block has
        for _ in range(2):
            with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
                stnkit.grid_sample(image, grid)
    for _ in range(2):  # once in full, and once from what that did
        assert torch.equal(stnkit.grid_sample(image, grid), expected)
    torch.cuda.synchronize()


def test_threads_launch_at_the_same_time(torch):
    """Each on a stream of its own, of which a thread knows nothing at first; results are those of one thread."""
    images = [torch.full((1, 1, 4, 4), float(n), device="cuda") for n in range(8)]
    grid = torch.zeros(1, 4, 4, 2, device="cuda")
    stnkit.grid_sample(images[0], grid)
    torch.cuda.synchronize()

    def sampled(image):
        with torch.cuda.stream(torch.cuda.Stream()):
            outs = torch.stack([stnkit.grid_sample(image, grid) for _ in range(200)])
            return outs.min().item(), outs.max().item()

    with ThreadPoolExecutor(len(images)) as pool:
        assert list(pool.map(sampled, images)) == [(n, n) for n in range(len(images))]


def test_tensors_on_host_and_device_are_refused(torch):
    image, grid, _ = draw(torch, 2)
    with pytest.raises(TypeError, match="`grid` lies on cpu and `image` on cuda:0"):
        stnkit.grid_sample(image.cuda(), grid)


def test_cupy(torch):
    cupy = pytest.importorskip("cupy")
    image, grid, _ = draw(torch, 2)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        out = stnkit.grid_sample(cupy.asarray(image.numpy()), cupy.asarray(grid.numpy()))
        stream.synchronize()
    assert type(out) is cupy.ndarray
    expected = stnkit.grid_sample(image.numpy(), grid.numpy())
    np.testing.assert_allclose(out.get(), expected, rtol=0, atol=64 * 64 * 2.0**-24)


def test_arrays_of_numba(torch):
    """Their results come as arrays that every framework can read."""
    from numba import cuda

    image, grid, _ = draw(torch, 2)
    out = stnkit.grid_sample(cuda.to_device(image.numpy()), cuda.to_device(grid.numpy()))
    expected = stnkit.grid_sample(image.numpy(), grid.numpy())
    np.testing.assert_allclose(cuda.as_cuda_array(out).copy_to_host(), expected, rtol=0, atol=64 * 64 * 2.0**-24)


def test_code_is_kept_for_the_next_process(torch, tmp_path):
    """The second process compiles nothing for the GPU."""
    script = (
        "import torch, stnkit; from stnkit.kernels.cuda import runtime; compiled = []; plain = runtime.compile\n"
        "runtime.compile = lambda *given: compiled.append(1) or plain(*given)\n"
        "stnkit.grid_sample(torch.ones(1, 1, 4, 4).cuda(), torch.zeros(1, 2, 2, 2).cuda()); print(len(compiled))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    counts = [
        int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, env=environment).stdout)
        for _ in range(2)
    ]
    assert counts[0] > 0
    assert counts[1] == 0


def test_jax(torch, monkeypatch):
    """A training step in a compiled program, to the second order, is that of the CPU."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # by which JAX leaves memory to other tests
    jax = pytest.importorskip("jax")
    if not any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("JAX finds no GPU")
    image, theta, weight = (array.numpy() for array in draw(torch, 2, kind="theta"))

    def loss(image, theta):
        return (weight * stnkit.affine_sample(image, theta, weight.shape[2:], mode="bicubic") ** 2).sum()

    def step(image, theta):
        first = jax.grad(loss, (0, 1))(image, theta)
        return first, jax.grad(lambda t: (jax.grad(loss, 1)(image, t) ** 2).sum())(theta)

    there = jax.jit(step)(image, theta)
    with jax.default_device(jax.devices("cpu")[0]):
        here = jax.jit(step)(image, theta)
    for one, other in zip(jax.tree.leaves(there), jax.tree.leaves(here), strict=True):
        scale = float(np.abs(other).max())  # as many roundings of it as locations are added
        np.testing.assert_allclose(np.asarray(one), other, rtol=0, atol=weight.size * EPS["float32"] * scale)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", MODES)
def test_items_that_are_gathered_and_scattered(torch, mode, padding, last):
    """A batch has both: maps that have an inverse, and one that has none."""
    image, theta, cotangent = draw(torch, 2, batch=4, last=last, kind="theta")
    theta[1, 0] = theta[1, 1]
    options = {"mode": mode, "padding_mode": padding, "data_format": "channels_last" if last else "channels_first"}
    for steady in (False, True):
        call = functools.partial(stnkit.affine_sample_vjp, wrt="image", deterministic=steady, **options)
        if mode != "nearest":  # which jumps where coordinates are rounded
            compare(torch, lambda *given, call=call: call(*given)[0], (cotangent, image, theta), 13 * 19, "float32")
        bars = [call(cotangent.cuda(), image.cuda(), theta.cuda())[0] for _ in range(4)]
        assert not steady or all(torch.equal(bar, bars[0]) for bar in bars)
