"""SciPy's functions, and affine maps of pixels, on tensors and on JAX arrays: values, dtypes, outputs and gradients."""

import dask.array
import jax
import numpy as np
import pytest
import scipy.ndimage
import torch
from jax.test_util import check_grads

import stnkit
import stnkit.ndimage as nd

EXACT = 1e-12  # some hundred roundings of float64, of sums of up to 36 products


FUNCTIONS = {
    "map_coordinates": lambda nd, **o: lambda x, c: nd.map_coordinates(x, c, **o),
    "affine_transform": lambda nd, **o: lambda x, c: nd.affine_transform(x, c[:, :2] * 0.3, c[:, 2], **o),
    "map_coordinates, axes": lambda nd, **o: lambda x, c: nd.map_coordinates(x, list(c), **o),
    "shift": lambda nd, **o: lambda x, c: nd.shift(x, c[:, 0], **o),
    "zoom": lambda nd, **o: lambda x, c: nd.zoom(x, (1.5, 1), **o),
    "rotate": lambda nd, **o: lambda x, c: nd.rotate(x, 20, **o),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("options", [{"order": 1}, {"mode": "nearest"}, {"mode": "grid-constant", "cval": 0.5}])
def test_gradients(name, options):
    """Of images, coordinates, matrices and offsets, in torch and in JAX; and values are those of NumPy."""
    random = np.random.default_rng(1)
    image, numbers = random.normal(size=(3, 4)), random.uniform(0.2, 1.8, (2, 3))
    function = FUNCTIONS[name](nd, **options)
    tensors = [torch.tensor(array, requires_grad=True) for array in (image, numbers)]
    used = tensors if name not in ("zoom", "rotate") else tensors[:1]
    assert torch.autograd.gradcheck(lambda *given: function(*given, *tensors[len(given) :]), used)
    out = function(*tensors)
    expected = function(image, numbers)
    np.testing.assert_allclose(out.detach(), expected, rtol=0, atol=EXACT)
    out.square().sum().backward()
    with jax.enable_x64(True):
        given = [jax.numpy.asarray(array) for array in (image, numbers)]
        np.testing.assert_allclose(jax.jit(function)(*given), expected, rtol=0, atol=EXACT)
        bars = jax.grad(lambda *both: (function(*both) ** 2).sum(), (0, 1))(*given)
    for bar, tensor in zip(bars, used, strict=False):
        np.testing.assert_allclose(bar, tensor.grad, rtol=0, atol=1e-10)


def test_coordinates_of_one_framework():
    """An array for each axis is as good as one array of them; numbers go with any, and other shapes with none."""
    image = torch.arange(6.0).reshape(2, 3)
    rows, columns = torch.tensor([0.5, 1.0]), np.array([1.0, 2.0])
    assert nd.map_coordinates(image, (rows, columns), order=1).tolist() == [2.5, 5.0]
    assert nd.map_coordinates(image.numpy(), [rows, columns], order=1).tolist() == [2.5, 5.0]
    lazy = dask.array.from_array(columns, chunks=1)
    assert nd.map_coordinates(image.numpy(), [rows.numpy(), lazy], order=1).compute().tolist() == [2.5, 5.0]
    with pytest.raises(ValueError, match=r"`coordinates` must have one shape for all axes; got \(2,\), \(3,\)"):
        nd.map_coordinates(image, [rows, np.ones(3)])
    with pytest.raises(TypeError, match="`coordinates` is a JAX array"):
        nd.map_coordinates(image, [rows, jax.numpy.ones(2)])


def test_tensors_are_done_as_numpys_arrays_are():
    """With the same bits, by the same ways; and autograd is told of a tensor that is written to."""
    random = np.random.default_rng(0)
    volume, points = random.random((40, 41, 42)).astype(np.float32), random.random((3, 7)) * 40
    for call in (
        lambda one, at: nd.zoom(one, 1.1, order=1),
        lambda one, at: nd.shift(one, [0.5, 1, -2], order=0),
        lambda one, at: nd.rotate(one, 20, (0, 1), reshape=False, order=1),
        lambda one, at: nd.map_coordinates(one, list(at), order=3),
        lambda one, at: nd.affine_transform(one, np.eye(3) * 0.9, order=1, output=np.float64),
        lambda one, at: nd.spline_filter1d(one),
    ):
        found, expected = call(torch.from_numpy(volume), torch.from_numpy(points)), call(volume, points)
        np.testing.assert_array_equal(found.numpy(), expected)
        assert found.numpy().dtype == expected.dtype
    leaf = torch.zeros(4, requires_grad=True)
    kept = leaf.exp()
    with torch.no_grad():
        assert nd.shift(torch.ones(4), 1, kept) is kept
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.sum().backward()


def test_frameworks():
    """Dtypes and outputs of torch and JAX, which has no float64 unless it is asked to; and no mixtures."""
    image = np.random.default_rng(0).normal(size=(5, 6))
    tensor, out = torch.tensor(image), torch.empty(5, 6)
    assert nd.shift(tensor, 0.5, out) is out
    np.testing.assert_allclose(out, scipy.ndimage.shift(image, 0.5), rtol=0, atol=1e-6)
    assert nd.zoom(tensor, 2, torch.float32).dtype == nd.zoom(tensor, 2, "float32").dtype == torch.float32
    assert nd.zoom(tensor.bfloat16(), 2).dtype == torch.bfloat16
    assert nd.spline_filter(tensor.float()).dtype == torch.float64
    array = jax.numpy.asarray(image, "float32")
    assert nd.spline_filter(array).dtype == nd.map_coordinates(array, [[0.5], [1]]).dtype == np.float32
    assert nd.shift(jax.numpy.arange(3), 1, order=1).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="immutable"):
        nd.shift(array, 0.5, array)
    for call in (
        lambda: nd.shift(image, torch.tensor(0.5)),
        lambda: nd.affine_transform(image, np.eye(2), torch.zeros(2)),
        lambda: nd.shift(image, 0.5, out),
    ):
        with pytest.raises(TypeError, match=r"`(shift|offset|output)` is a torch array"):
            call()
    with pytest.raises(TypeError, match="`shift` must be real"):
        nd.shift(tensor, torch.tensor(1j))
    whole = np.empty((5, 6))
    assert nd.shift(tensor, 0.5, whole) is whole
    np.testing.assert_allclose(whole, scipy.ndimage.shift(image, 0.5), rtol=0, atol=EXACT)
    assert nd.zoom(tensor + 1j, 1, "complex64").dtype == nd.zoom(tensor, 1, "complex64").dtype == torch.complex64


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_integers_of_jax(dtype):
    """Whether it has 64 bits or not, they saturate."""
    numbers = np.array([-1e20, -3.0, 1.5, 2.0**31, 2.0**40, 1e20])
    for wide in (False, True):
        with jax.enable_x64(wide):
            got = nd.zoom(jax.numpy.asarray(numbers), 1, dtype)
            limits = np.iinfo(dtype if wide else dtype.replace("64", "32"))
            assert got.dtype == limits.dtype
            expected = [min(max(round(n), limits.min), limits.max) for n in numbers]
            assert got.tolist() == expected


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_affine_maps_of_pixels():
    """To the second order, where these compose derivatives of grids."""
    random, size = np.random.default_rng(1), (4,)
    image, theta = (
        random.normal(size=(2, 2, 7)),
        np.concatenate([np.full((2, 1, 1), 1.3), random.normal(size=(2, 1, 1))], -1),
    )
    options = {"mode": "spline3", "padding_mode": "wrap", "coords": "pixel"}

    def sample(image, theta):
        return stnkit.affine_sample(image, theta, size, **options)

    tensors = [torch.tensor(array, requires_grad=True) for array in (image, theta)]
    assert torch.autograd.gradcheck(sample, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(sample, tensors, check_fwd_over_rev=True, fast_mode=True)
    push = torch.func.jvp
    dots = [torch.ones_like(tensor) for tensor in tensors]
    given = [tensor.detach() for tensor in tensors]
    twice = push(lambda *both: push(sample, both, tuple(dots))[1], tuple(given), tuple(dots))[1]
    ahead, here, back = (
        sample(*(g + step * dot for g, dot in zip(given, dots, strict=True))) for step in (1e-4, 0, -1e-4)
    )
    np.testing.assert_allclose(twice, (ahead - 2 * here + back) / 1e-8, rtol=0, atol=1e-5)
    with jax.enable_x64(True):
        check_grads(sample, [jax.numpy.asarray(array) for array in (image, theta)], 2)
