"""Tensors at the public functions: whose memory, which format and dtype, what is recorded, and what is refused."""

import inspect
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from ml_dtypes import bfloat16

import stnkit
from stnkit.kernels.cpu import threads
from stnkit.transforms import control_lattice

# torch scripts some of its own when forward mode is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def given(d=2, channels=3, dtype=torch.float32):
    """Return an image and a grid."""
    random = torch.Generator().manual_seed(d)
    extent, size = (3, 4, 5)[-d:], (2, 4, 3)[-d:]
    image = torch.rand((2, channels, *extent), generator=random) * 2 - 1
    return image.to(dtype), torch.rand((2, *size, d), generator=random) * 2.4 - 1.2


def as_numpy(tensor):
    return tensor.view(torch.int16).numpy().view(bfloat16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def test_memory_is_shared_both_ways(plain, monkeypatch):
    from stnkit.torch import memory

    image, _ = given()
    for view in (image, image[:, :, 1:, ::2], image[:1].expand(4, -1, -1, -1), image.mT, image.bfloat16()):
        lent = memory.as_array(view)
        assert lent.ctypes.data == view.data_ptr()
        assert lent.strides == tuple(view.element_size() * s for s in view.stride())
    result = np.ones((2, 3), bfloat16)
    assert memory.as_tensor(result).data_ptr() == result.ctypes.data
    assert memory.as_tensor(result).dtype == torch.bfloat16


@pytest.mark.parametrize("d", [2, 3])
def test_channels_last_memory_is_kept(plain, d):
    """In the output and in the image's cotangent, of one call and of a recorded one; numbers stay the same."""
    image, grid = given(d)
    last = image.to(memory_format=LAST[d]).requires_grad_()
    out = plain.grid_sample(last, grid)
    torch.testing.assert_close(out, plain.grid_sample(image, grid), rtol=1e-6, atol=1e-6)
    assert out.is_contiguous(memory_format=LAST[d])
    out.sum().backward()
    bar, _ = plain.grid_sample_vjp(torch.ones_like(out), last.detach(), grid)
    for found in (bar, last.grad):
        assert found.is_contiguous(memory_format=LAST[d])
        torch.testing.assert_close(found, plain.grid_sample_vjp(torch.ones(out.shape), image, grid)[0])
    pushed = plain.grid_sample_jvp(last.detach(), grid, last.detach(), None)
    assert all(result.is_contiguous(memory_format=LAST[d]) for result in pushed)
    splat = plain.grid_splat(out.detach(), grid, image.shape[2:])
    assert splat.is_contiguous(memory_format=LAST[d])
    with pytest.raises(ValueError, match=r"`cotangent` must have the shape of the output, \(2, 3, "):
        plain.grid_sample_vjp(torch.ones(2, 3, *[1] * d), last.detach(), grid)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.uint16, torch.int32]
)
def test_dtypes(plain, dtype):
    """Images have any dtype beside coordinates of float32; results have the bits of NumPy's."""
    image, grid = given()
    image = (image * 100 + 100).to(dtype)
    out = plain.grid_sample(image, grid)
    assert out.dtype == dtype
    np.testing.assert_array_equal(as_numpy(out), plain.grid_sample(as_numpy(image), grid.numpy()))
    if dtype.is_floating_point:
        image, grid = image.requires_grad_(), grid.requires_grad_()
        cotangent = torch.ones_like(out)
        plain.grid_sample(image, grid).backward(cotangent)
        expected = plain.grid_sample_vjp(as_numpy(cotangent), as_numpy(image.detach()), grid.detach().numpy())
        for tensor, bar in zip((image, grid), expected, strict=True):
            assert tensor.grad.dtype == tensor.dtype
            np.testing.assert_array_equal(as_numpy(tensor.grad), bar)


def test_autocast(plain):
    """A network's maps come in half precision; images stay as they are, and coordinates are float32."""
    image, _ = given()
    layer = torch.nn.Linear(4, 6)
    torch.nn.init.constant_(layer.weight, 0.1)  # so that the map stays within the image
    torch.nn.init.zeros_(layer.bias)
    with torch.autocast("cpu", torch.bfloat16):
        theta = layer(torch.ones(2, 4)).view(2, 2, 3)
        assert theta.dtype == torch.bfloat16
        grid = plain.affine_grid(theta, (3, 3))
        assert grid.dtype == torch.float32
        for given_ in (image, image.bfloat16()):
            out = plain.affine_sample(given_, theta, (3, 3))
            assert out.dtype == given_.dtype
            torch.testing.assert_close(out, plain.grid_sample(given_, grid))
            out.float().square().sum().backward(retain_graph=True)
    assert layer.weight.grad.any()


def test_an_output_of_integers_does_not_lose_a_gradient(plain):
    image, grid = given()
    grid = grid.requires_grad_()
    with pytest.raises(TypeError, match=r"`grid` requires a gradient, which an output of dtype torch.uint8 cannot"):
        plain.grid_sample(image.byte(), grid)
    assert not plain.grid_sample(image.byte(), grid, mode="nearest").requires_grad  # its slope is 0
    with torch.no_grad():
        assert plain.grid_sample(image.byte(), grid).dtype == torch.uint8
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(grid.detach(), torch.ones_like(grid))
        with pytest.raises(TypeError, match="`grid` has a tangent"):
            plain.grid_sample(image.byte(), dual)


def test_what_is_not_recorded(plain):
    image, grid = given()
    image = torch.nn.Parameter(image)
    assert plain.grid_sample(image, grid).requires_grad
    with torch.no_grad():
        assert not plain.grid_sample(image, grid).requires_grad
        out = torch.empty(2, 3, 4, 3)
        assert plain.grid_sample(image.detach(), grid, out=out) is out
    with torch.inference_mode():
        assert plain.grid_sample(image, grid).is_inference()
    with pytest.raises(TypeError, match=r"`image` requires a gradient.*\.detach\(\)"):
        plain.grid_sample(image, grid, out=out)
    with pytest.raises(TypeError, match="`fill_value` requires a gradient"):
        plain.grid_sample(image, grid, fill_value=torch.ones(3, requires_grad=True))


def test_autograd_sees_that_memory_was_written_to(plain):
    image, grid = given()
    kept, weight = torch.ones(2, 3, 4, 3), torch.ones(2, 3, 4, 3, requires_grad=True)
    product = kept * weight
    with torch.inference_mode():
        ours = plain.grid_sample(image, grid, out=torch.empty(2, 3, 4, 3))
    assert torch.equal(plain.grid_sample(image, grid, out=kept), ours)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_arguments_by_name(plain):
    image, grid = given()
    expected = plain.grid_sample(image, grid)
    assert torch.equal(plain.grid_sample(grid=grid, image=image), expected)
    assert torch.equal(plain.grid_sample(image, grid=grid.requires_grad_()), expected)
    theta = torch.eye(2, 3).repeat(2, 1, 1)
    assert plain.affine_sample(image=image, size=(2, 2), theta=theta.requires_grad_()).shape == (2, 3, 2, 2)
    assert plain.affine_sample(image, theta).shape == image.shape
    _, bar = plain.grid_sample_vjp(expected, image, grid, wrt="grid", deterministic=True)
    assert bar.requires_grad
    with pytest.raises(TypeError, match=r"missing .* argument"):
        plain.grid_sample(image)
    with pytest.raises(TypeError, match="unexpected keyword"):
        plain.grid_sample(image, grid, colour="red")


@pytest.mark.parametrize("name", [name for name in stnkit.__all__ if name != "compile_ahead"])
def test_arguments_by_name_where_nothing_is_recorded(plain, name):
    """Tensors that need a gradient are given to functions that are composed, too."""
    axes = {"affine": (2, 3), "projective": (3, 3), "thin": (4, 2)}.get(name.partition("_")[0])
    picture, field = torch.rand(1, 1, 4, 4), torch.rand(1, 4, 4, 2)
    arrays = dict.fromkeys(("image", "values", "d_image", "dd_image"), picture)
    arrays |= dict.fromkeys(("grid", "flow", "d_grid", "dd_grid", "d_flow", "dd_flow"), field)
    arrays |= {} if axes is None else dict.fromkeys(("theta", "d_theta", "dd_theta"), torch.rand(1, *axes))
    arrays["cotangent"] = field if name.endswith("grid_vjp") else picture
    options = {"size": (4, 4), "control_points": control_lattice((2, 2))}
    function = getattr(plain, name)
    wanted = inspect.signature(function).parameters
    given = {word: array.requires_grad_() for word, array in arrays.items() if word in wanted}
    given |= {word: option for word, option in options.items() if word in wanted}
    with torch.no_grad():
        found = function(**given)
        if "out" in wanted:
            before = found._version
            assert function(**given, out=found) is found
            assert found._version > before
        if "accumulate_into" in wanted:
            sums = torch.zeros_like(next(one for one in found if one is not None) if type(found) is tuple else found)
            function(**given, accumulate_into=sums)
            assert sums._version == 1
    assert not any(one.requires_grad for one in (found if isinstance(found, tuple) else (found,)))


def quantized(tensor):
    with warnings.catch_warnings(action="ignore"):  # torch is giving them up
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image, grid: (image, grid.detach().numpy()), r"`grid` is a numpy array and `image` a torch array"),
        (lambda image, grid: (image, grid.tolist()), r"`grid` must be a NumPy array or .* got builtins.list"),
        (lambda image, grid: (image, None), r"`grid` must be .*NoneType"),
        (lambda image, grid: (image.to("meta"), grid), r"`grid` lies on cpu and `image` on meta"),
        (lambda image, grid: (image.to("meta"), grid.to("meta")), r"`image` .* holds no numbers"),
        (lambda image, grid: (image.to_sparse(), grid), r"`image` has layout torch.sparse_coo; .*\.to_dense\(\)"),
        (lambda image, grid: (quantized(image.detach()), grid), r"`image` is quantized; .*\.dequantize\(\)"),
        (lambda image, grid: (image.to(torch.float8_e4m3fn), grid), r"`image` has the dtype torch.float8_e4m3fn; pass"),
        (lambda image, grid: (image, grid.to(torch.float8_e5m2)), r"`grid` has the dtype torch.float8_e5m2; .*float"),
        (lambda image, grid: (image.cfloat(), grid), r"`image` must have dtype .* got complex64; pass a real view"),
    ],
)
def test_refused(plain, change, message, grad):
    image, grid = given()
    with pytest.raises(TypeError, match=message):
        plain.grid_sample(*change(image.requires_grad_(grad), grid.requires_grad_(grad)))


def test_as_many_threads_as_torch_has(monkeypatch):
    """And no other calls are affected."""
    working = []
    monkeypatch.setattr(threads.Kernel, "address", 0)
    monkeypatch.setattr(threads, "starter", lambda: lambda *_: working.append(numba.get_num_threads()) or 0)
    monkeypatch.setattr(threads, "_parallel", lambda: 0)
    image, grid = given(channels=23)  # a kind of call that nothing else makes, as what runs it is remembered
    before, had = numba.get_num_threads(), torch.get_num_threads()
    monkeypatch.setattr(threads, "pays", lambda _: True)
    monkeypatch.setattr(threads, "SMALL", 0)
    try:
        for n in (2, 64):
            torch.set_num_threads(n)
            stnkit.grid_sample(image, grid)  # on the fast path
            stnkit.grid_sample(image.mT, grid)  # and on the whole way
            assert numba.get_num_threads() == before
    finally:
        torch.set_num_threads(had)
    assert working == [min(2, before), min(2, before), before, before]


def test_numba_does_not_change_how_many_threads_torch_has():
    """It would, as its threads start: both may be on the same GNU OpenMP."""
    script = """
    import torch, stnkit
    torch.set_num_threads(1)
    stnkit.grid_sample(torch.ones(1, 1, 2, 2), torch.zeros(1, 64, 1024, 2))
    print(torch.get_num_threads())
    """
    assert run(script, NUMBA_NUM_THREADS="3", NUMBA_DISABLE_JIT="0") == "1\n"


def run(script, **environment):
    """Run a script in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(stnkit.__file__).parent.parent), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_workers_of_a_data_loader(layer):
    """Two forked workers warp images after the parent has used threads; the parent goes on."""
    script = """
    import torch, stnkit
    from torch.utils.data import DataLoader, Dataset

    image = torch.linspace(-1, 1, 4 * 3 * 64 * 64).sin().reshape(4, 3, 64, 64)
    theta = torch.tensor([[[0.9, 0.2, 0.0], [-0.2, 0.9, 0.1]]]).repeat(4, 1, 1).requires_grad_()
    first = stnkit.affine_sample(image, theta)
    first.sum().backward()

    class Warped(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, at):
            with torch.no_grad():
                return stnkit.affine_sample(image, theta)[at % 4]

    loader = DataLoader(Warped(), batch_size=4, num_workers=2, multiprocessing_context="fork")
    for batch in loader:
        assert torch.equal(batch, first)
    stnkit.affine_sample(image, theta).sum().backward()
    print("done")
    """
    assert run(script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == "done\n"


def test_tensors_stand_for_calls_with_tensors(plain):
    """A call that is made ahead with tensors asks for its kernels, whether gradients are recorded or not."""
    image, grid = torch.ones(1, 1, 4, 4), torch.zeros(1, 4, 4, 2)
    for needed in (False, True):
        found = plain.compile_ahead(plain.grid_sample, image.requires_grad_(needed), grid)
        assert (found.kernels, found.compiled) == (1, 0)
    assert plain.compile_ahead(plain.grid_sample_vjp, image.detach(), image.detach(), grid).kernels > 0
