"""Arrays of other libraries: shared without a copy, both ways, and handed back as what they came as."""

import numpy as np
import pytest
import torch
from cases import FUNCTIONS
from ml_dtypes import bfloat16

from stnkit.backends import interop


class Producer:
    """As little as an array of another library has to be."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Older(Producer):
    """One of before DLPack's version 1, which cannot say that it may be written to."""

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__()

    def __array__(self, dtype=None, copy=None):
        return self.array


class Elsewhere(Producer):
    def __dlpack_device__(self):
        return 8, 0  # of Apple


class Standard(Producer):
    """An array of a library that follows the array API standard."""

    def __array_namespace__(self):
        return type("namespace", (), {"from_dlpack": lambda array: Standard(np.from_dlpack(array))})


class Subclass(np.ndarray):
    pass


def tensors():
    random = np.random.default_rng(0)
    image = torch.tensor(random.uniform(-1, 1, (2, 3, 4, 5)).astype(np.float32))
    return image, torch.tensor(random.uniform(-1, 1, (2, 3, 3, 2)).astype(np.float32))


VIEWS = {
    "whole": lambda t: t,
    "moved": lambda t: t.movedim(1, -1).contiguous().movedim(-1, 1),
    "gaps": lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
    "expanded": lambda t: t[:1].expand(t.shape),
    "storage offset": lambda t: torch.cat([t, t])[len(t) :],
}


@pytest.mark.parametrize("name", VIEWS)
def test_torch_memory_is_shared_on_the_way_in(name):
    view = VIEWS[name](tensors()[0])
    (array,), _ = interop.import_arrays(image=view)
    assert array.ctypes.data == view.data_ptr()
    assert array.strides == tuple(view.element_size() * s for s in view.stride())
    assert array.shape == tuple(view.shape)


def test_torch_memory_is_shared_on_the_way_out():
    _, leave = interop.import_arrays(image=tensors()[0])
    result = np.ones((2, 3), np.float32)
    out = leave(result)
    assert type(out) is torch.Tensor
    assert out.data_ptr() == result.ctypes.data
    out[0, 0] = 7
    assert result[0, 0] == 7


@pytest.mark.parametrize("name", VIEWS)
def test_torch_results_are_those_of_numpy(name):
    import stnkit

    image, grid = tensors()
    image = VIEWS[name](image)
    before = image.clone()
    expected = stnkit.grid_sample(image.numpy(), grid.numpy())
    out = stnkit.grid_sample(image, grid)
    assert type(out) is torch.Tensor
    assert out.dtype == torch.float32
    np.testing.assert_array_equal(out.numpy(), expected)
    bars = stnkit.grid_sample_vjp(out, image, grid)
    for bar, other in zip(bars, stnkit.grid_sample_vjp(expected, image.numpy(), grid.numpy()), strict=True):
        assert type(bar) is torch.Tensor
        np.testing.assert_array_equal(bar.numpy(), other)
    assert torch.equal(image, before)


def test_torch_negated_views(plain):
    """torch may note a change of sign instead of carrying it out; DLPack does not pass the note on."""
    image = torch.complex(torch.ones(1, 1, 2, 2), 2 * torch.ones(1, 1, 2, 2)).conj().imag
    assert image.is_neg()
    out = plain.grid_sample(image, torch.zeros(1, 1, 1, 2))
    assert out.item() == -2


def test_torch_affine(plain):
    image, _ = tensors()
    theta = torch.eye(2, 3)[None]
    assert type(plain.affine_grid(theta, (2, 2))) is torch.Tensor
    assert type(plain.affine_grid_vjp(torch.ones(1, 2, 2, 2))) is torch.Tensor
    out = plain.affine_sample(image, theta)
    assert [type(bar) for bar in plain.affine_sample_vjp(out, image, theta)] == [torch.Tensor] * 2
    assert plain.affine_sample_vjp(out, image, theta, wrt="image")[1] is None


def everything():
    """Return arguments of the functions with tangents and of those beside the samplers; None where there is none."""
    image, grid = tensors()
    theta = torch.eye(2, 3).repeat(2, 1, 1)
    flow, out = grid[:, :, :2], torch.ones(2, 3, 3, 3)
    moved, size, pixel = torch.ones_like(grid), {"size": (3, 3)}, {"coords": "pixel"}
    square, control = torch.eye(3).repeat(2, 1, 1), torch.tensor([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]])
    bent = control.repeat(2, 1, 1) / 2
    return {
        "grid_sample_jvp": [((image, grid, None, moved), {}), ((image, grid, image, None), {})],
        "grid_sample_double_vjp": [((image, None, out, image, grid), {}), ((None, moved, out, image, grid), pixel)],
        "affine_grid_jvp": [((theta, theta), size)],
        "affine_sample_jvp": [((image, theta, None, None), size), ((image, theta, None, theta), {})],
        "affine_sample_double_vjp": [((None, theta, out, image, theta), {})],
        "flow_grid": [((flow,), {}), ((flow.bfloat16(),), {"units": "normalized"})],
        "flow_grid_vjp": [((flow,), {})],
        "flow_grid_jvp": [((flow, flow), {})],
        "flow_sample": [((image, flow), {}), ((image.bfloat16(), flow.half()), {})],
        "flow_sample_vjp": [((out[..., :2], image, flow), {}), ((out[..., :2], image, flow), {"wrt": "flow"})],
        "flow_sample_jvp": [((image, flow, None, None), {}), ((image, flow, None, flow), {})],
        "flow_sample_double_vjp": [((None, flow, out[..., :2], image, flow), {})],
        "projective_grid": [((square,), size), ((square.half(),), size)],
        "projective_grid_vjp": [((moved, square), {})],
        "projective_grid_jvp": [((square, square), size)],
        "projective_sample": [((image, square), {}), ((image.bfloat16(), square.bfloat16()), size)],
        "projective_sample_vjp": [((out, image, square), {}), ((out, image, square), {"wrt": "theta"})],
        "projective_sample_jvp": [((image, square, None, None), {}), ((image, square, None, square), {})],
        "thin_plate_spline_grid": [((bent, control), size), ((bent.half(), control), size)],
        "thin_plate_spline_grid_vjp": [((moved, bent, control), {})],
        "thin_plate_spline_grid_jvp": [((bent, bent, control), size)],
        "thin_plate_spline_sample": [((image, bent, control), {}), ((image.bfloat16(), bent.bfloat16(), control), {})],
        "thin_plate_spline_sample_vjp": [((out, image, bent, control), {"wrt": wrt}) for wrt in ("image", "theta")],
        "thin_plate_spline_sample_jvp": [((image, bent, None, dot, control), {}) for dot in (None, bent)],
        "grid_splat": [((out, grid), size), ((out.bfloat16(), grid.bfloat16()), size)],
        "grid_splat_vjp": [((image, out, grid), {}), ((image, out, grid), {"wrt": "grid"})],
        "grid_count": [((grid,), size), ((grid.bfloat16(),), size)],
        "grid_gradient": [((image, grid), {}), ((image.byte(), grid), {}), ((image.bfloat16(), grid), {})],
    }


def as_numpy(tensor):
    if type(tensor) is not torch.Tensor:
        return tensor
    return tensor.view(torch.uint16).numpy().view(bfloat16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


@pytest.mark.parametrize("name", everything())
def test_torch_everywhere(plain, name):
    """Every other function takes tensors and gives tensors of the same bits; what is None may be so, and stays so."""
    for arguments, options in everything()[name]:
        got = getattr(plain, name)(*arguments, **options)
        expected = getattr(plain, name)(*map(as_numpy, arguments), **options)
        pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
        for a, b in pairs:
            assert type(a) is (torch.Tensor if b is not None else type(None))
            assert b is None or as_numpy(a).dtype == b.dtype
            np.testing.assert_array_equal(as_numpy(a), b)


def test_every_function_is_tried_with_tensors():
    above = {"grid_sample", "grid_sample_vjp", "affine_grid", "affine_grid_vjp", "affine_sample", "affine_sample_vjp"}
    assert set(everything()) | above == set(FUNCTIONS)


def test_tangents_of_another_framework_are_refused(plain):
    image, grid = tensors()
    with pytest.raises(TypeError, match=r"`d_grid` is a numpy array and `image` a torch array"):
        plain.grid_sample_jvp(image, grid, None, grid.numpy())
    with pytest.raises(TypeError, match=r"`cotangent` is a torch array and `dd_grid` a numpy array"):
        plain.grid_sample_double_vjp(None, grid.numpy(), torch.ones(2, 3, 3, 3), image, grid)
    with pytest.raises(TypeError, match=r"`d_flow` must be .*NoneType"):
        plain.flow_grid_jvp(grid, None)


def test_an_array_api_library_gets_its_own_arrays(plain):
    image, grid = (Standard(t.numpy()) for t in tensors())
    out = plain.grid_sample(image, grid)
    assert type(out) is Standard
    np.testing.assert_array_equal(out.array, plain.grid_sample(image.array, grid.array))


def test_a_library_without_from_dlpack_gets_numpy(plain):
    image, grid = (Producer(t.numpy()) for t in tensors())
    out = plain.grid_sample(image, grid)
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, plain.grid_sample(image.array, grid.array))


@pytest.mark.parametrize("name", ["out", "accumulate_into"])
def test_what_is_to_be_written_to_may_be_of_before_version_1(plain, name):
    image, grid = (tensor.numpy() for tensor in tensors())
    cotangent = np.ones((2, 3, 3, 3), np.float32)

    def call(into):
        if name == "out":
            return plain.grid_sample(Older(image), Older(grid), out=into)
        return plain.grid_sample_vjp(Older(cotangent), Older(image), Older(grid), accumulate_into=into)[0]

    expected = plain.grid_sample(image, grid) if name == "out" else plain.grid_sample_vjp(cotangent, image, grid)[0]
    memory = np.zeros_like(expected)
    into = Older(memory)
    assert call(into) is into
    np.testing.assert_array_equal(memory, expected)
    memory.flags.writeable = False
    with pytest.raises((ValueError, TypeError), match=name):
        call(into)


def test_another_device_is_refused(plain):
    image, grid = tensors()
    with pytest.raises(TypeError, match=r"`image` lies on DLPack device \(8, 0\).*main memory"):
        plain.grid_sample(Elsewhere(image.numpy()), Elsewhere(grid.numpy()))


def test_numpy_subclasses_and_read_only_arrays(plain):
    image, grid = (t.numpy() for t in tensors())
    expected = plain.grid_sample(image, grid)
    out = plain.grid_sample(image.view(Subclass), grid)
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, expected)
    image = image.copy()
    image.flags.writeable = False
    np.testing.assert_array_equal(plain.grid_sample(image, grid), expected)
    out = plain.grid_sample(Standard(image), Standard(grid))
    np.testing.assert_array_equal(out.array, expected)
