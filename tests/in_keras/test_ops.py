"""Keras' functions with every gradient: against SciPy in float64, and gradients against the chain rule by hand."""

import warnings

import keras
import numpy as np
import pytest
from arrays import gradients, numbers
from keras import KerasTensor
from scipy import ndimage

import stnkit
from stnkit.keras import operations, ops

SCIPY = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "wrap": "grid-wrap",
    "reflect": "reflect",
    "mirror": "mirror",
}
EPS = float(np.finfo("float32").eps)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, "float32")


def rows(count, bent=True):
    random = np.random.default_rng(5)
    found = np.array([1, 0, 0, 0, 1, 0, 0, 0]) + 0.1 * random.standard_normal((count, 8))
    found[:, 6:] *= 0.1 * bent
    found[:, [2, 5]] += 0.37
    return found.astype("float32")


def read(image, row, fill_mode, order=1, fill=0.5):
    """Return what SciPy reads, for one image with its channels last, and the largest coordinate."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    a0, a1, a2, b0, b1, b2, c0, c1 = row.astype(float)
    k = c0 * x + c1 * y + 1
    at = np.stack([(b0 * x + b1 * y + b2) / k, (a0 * x + a1 * y + a2) / k])
    planes = [
        ndimage.map_coordinates(p, at, order=order, mode=SCIPY[fill_mode], cval=fill) for p in np.moveaxis(image, -1, 0)
    ]
    return np.stack(planes, -1), abs(at).max()


@pytest.mark.parametrize("fill_mode", list(SCIPY))
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_affine_transform(fill_mode, data_format):
    """A coordinate takes six roundings of numbers below 4 of its largest, and moves a value by twice that on two axes.

    Weights and sums take fewer than eight roundings of values below 1.
    """
    image, transform = draw(2, 5, 6, 2), rows(2)
    kept = transform.copy()
    given = np.moveaxis(image, -1, 1) if data_format == "channels_first" else image
    tensor = keras.ops.convert_to_tensor(transform)
    out = numbers(ops.affine_transform(given, tensor, "bilinear", fill_mode, 0.5, data_format))
    np.testing.assert_array_equal(numbers(tensor), kept)
    out = np.moveaxis(out, 1, -1) if data_format == "channels_first" else out
    for got, one, row in zip(out, image, transform, strict=True):
        expected, reach = read(one.astype(float), row, fill_mode)
        np.testing.assert_allclose(got, expected, rtol=0, atol=EPS * (6 * 4 * reach * 2 + 8))
    single = numbers(ops.affine_transform(given[0], transform[0], "bilinear", fill_mode, 0.5, data_format))
    np.testing.assert_array_equal(np.moveaxis(single, 0, -1) if data_format == "channels_first" else single, out[0])


def test_nearest():
    image, transform = draw(2, 5, 6, 1), rows(2)
    out = numbers(ops.affine_transform(image, transform, "nearest", "wrap"))
    for got, one, row in zip(out, image, transform, strict=True):
        np.testing.assert_array_equal(got, read(one, row, "wrap", order=0)[0])


def test_gradients_of_the_transform():
    """Of all eight numbers, by the chain rule in float64 from the gradient to coordinates.

    That of a coordinate is wrong by some 40 eps, as in `bounds`, of numbers below 12 with its factor; 30 are added.
    """
    image, transform, cotangent = draw(1, 5, 6, 2), rows(1), draw(1, 5, 6, 2, seed=2)
    found = gradients(
        lambda i, t: ops.affine_transform(i, t, fill_mode="reflect", data_format="channels_last"),
        cotangent,
        image,
        transform,
    )
    y, x = np.mgrid[:5, :6].astype(float)
    a0, a1, a2, b0, b1, b2, c0, c1 = transform[0].astype(float)
    k = c0 * x + c1 * y + 1
    u, v = (a0 * x + a1 * y + a2) / k, (b0 * x + b1 * y + b2) / k
    options = {"coords": "pixel", "padding_mode": "reflection", "data_format": "channels_last"}
    wide = [array.astype(float) for array in (cotangent, image)]
    image_bar, bar = stnkit.grid_sample_vjp(*wide, np.stack([u, v], -1)[None], **options)
    du, dv = bar[0, ..., 0] / k, bar[0, ..., 1] / k
    depth = -(du * u + dv * v)
    expected = [(factor * term).sum() for factor in (du, dv) for term in (x, y, 1)] + [
        (depth * term).sum() for term in (x, y)
    ]
    np.testing.assert_allclose(found[1][0], expected, rtol=0, atol=30 * 40 * EPS * 12)
    np.testing.assert_allclose(found[0], image_bar, rtol=0, atol=30 * 40 * EPS)
    assert abs(np.array(expected)).min() > 0.01


def test_perspective_transform_moves_points_to_points():
    """The eight numbers solve equations whose condition is below 1e4; what they read is wrong by that many eps."""
    size = (9, 11)
    y, x = np.mgrid[: size[0], : size[1]].astype("float32")
    image = np.stack([x, y], -1)  # which says where it is read
    start = np.array([[1, 1], [8, 2], [1, 7], [9, 7]], "float32")
    end = np.array([[2, 1], [9, 1], [1, 6], [10, 8]], "float32")
    out = numbers(ops.perspective_transform(image, start, end))
    for (u, v), (i, j) in zip(start, end.astype(int), strict=True):
        np.testing.assert_allclose(out[j, i], [u, v], rtol=0, atol=1e4 * EPS)
    found = gradients(lambda s, e: ops.perspective_transform(image, s, e), draw(*size, 2, seed=1), start, end)
    assert all(np.isfinite(one).all() and (abs(one) > 1e-3).all() for one in found)
    step = 0.01 * np.random.default_rng(3).standard_normal((4, 2)).astype("float32")
    ends = [numbers(ops.perspective_transform(image, start + s * step, end)) * draw(*size, 2, seed=1) for s in (1, -1)]
    inside = (ends[0] != 0) & (ends[1] != 0)  # what is read is linear in coordinates but at the rim
    assert inside.mean() > 0.5


@pytest.mark.parametrize("fill_mode", list(SCIPY))
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 5)])
def test_map_coordinates(shape, order, fill_mode):
    """A fold takes five roundings of numbers below 3 n, on up to three axes, and values fewer than 16 of theirs."""
    array = draw(*shape)
    at = np.stack([np.random.default_rng(n).uniform(-2, n + 1, (2, 3)) for n in shape]).astype("float32")
    out = numbers(ops.map_coordinates(array, at, order, fill_mode, 0.5))
    expected = ndimage.map_coordinates(
        array.astype(float), at.astype(float), order=order, mode=SCIPY[fill_mode], cval=0.5
    )
    np.testing.assert_allclose(out, expected, rtol=0, atol=EPS * (5 * 3 * max(shape) * len(shape) + 16))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
def test_whole_numbers_are_rounded_half_to_even(dtype):
    """As arrays that are made of Python's numbers are, int64 in most frameworks."""
    image = np.array([[0, 1, 2], [3, 1, 0]]) > 1 if dtype == "bool" else np.array([[0, 1, 2], [3, 4, 0]])
    at = np.array([[0, 1, 0.5, 1, -1], [0.5, 0.5, 1, 0.25, 0]], "float32")
    found = ops.map_coordinates(image.astype(dtype), at, 1)
    assert keras.backend.standardize_dtype(found.dtype) == keras.backend.standardize_dtype(
        keras.ops.convert_to_tensor(image.astype(dtype)).dtype
    )
    expected = [False, False, False, True, False] if dtype == "bool" else [0, 4, 2, 3, 0]
    assert numbers(found).tolist() == expected


def test_they_are_nodes_of_functional_models(tmp_path):
    image, transform, points = keras.Input((5, 6, 1)), keras.Input((8,)), keras.Input((4, 2))
    out = ops.perspective_transform(ops.affine_transform(image, transform, fill_mode="wrap"), points, points + 0.25)
    assert out.shape == (None, 5, 6, 1)
    model = keras.Model([image, transform, points], out)
    corners = np.array([[[0, 0], [5, 0], [0, 4], [5, 4]]] * 2, "float32")
    given = [draw(2, 5, 6, 1), rows(2), corners]
    expected = model.predict(given, verbose=0)
    again = keras.Model.from_config(model.get_config())
    np.testing.assert_array_equal(again.predict(given, verbose=0), expected)
    assert ops.map_coordinates(KerasTensor((5, 6)), KerasTensor((2, 3, 4)), 1).shape == (3, 4)


@pytest.mark.parametrize(
    ("words", "make"),
    [
        (r"`images` must have shape \(N, H, W, C\)", lambda: ops.affine_transform(draw(5, 6), rows(1))),
        (r"`transform` must have shape \(N, 8\)", lambda: ops.affine_transform(draw(5, 6, 1), draw(6))),
        ("`fill_mode` must be one of", lambda: ops.affine_transform(draw(5, 6, 1), rows(1), fill_mode="edge")),
        ("`start_points` must have shape", lambda: ops.perspective_transform(draw(5, 6, 1), draw(3, 2), draw(4, 2))),
        ("the same shape; got", lambda: ops.perspective_transform(draw(5, 6, 1), draw(1, 4, 2), draw(4, 2))),
        ("`order` must be one of 0, 1; got 3", lambda: ops.map_coordinates(draw(5), draw(1, 2), 3)),
        ("`order` must be one of 0, 1; got 1.0", lambda: ops.map_coordinates(draw(5), draw(1, 2), 1.0)),
        ("`fill_value` must be a real", lambda: ops.map_coordinates(draw(5), draw(1, 2), 1, fill_value=None)),
        ("`fill_value` must be a real", lambda: ops.affine_transform(draw(5, 6, 1), rows(1), fill_value="a")),
        ("`coordinates` must have shape", lambda: ops.map_coordinates(draw(5, 6), draw(3, 2), 1)),
        ("`inputs` must have 1 to 3 axes", lambda: ops.map_coordinates(draw(2, 2, 2, 2), draw(4, 2), 1)),
    ],
)  # fmt: skip
def test_errors(words, make):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_calls_follow_the_layout_that_is_configured(monkeypatch):
    image, right = draw(1, 4, 4), np.array([1, 0, 1, 0, 1, 0, 0, 0], "float32")  # reads the next pixel of x
    for layout, axis in (("channels_last", 1), ("channels_first", 2), ("channels_last", 1)):
        monkeypatch.setattr(keras.config, "image_data_format", lambda layout=layout: layout)
        expected = np.delete(np.insert(image, 4, 0, axis), 0, axis)
        np.testing.assert_array_equal(numbers(ops.affine_transform(image, right)), expected)


def test_a_fill_value_that_changes_between_calls_is_read_anew():
    class Fill:
        def __float__(self):
            return self.value

    away, fill = np.array([1, 0, 9, 0, 1, 0, 0, 0], "float32"), Fill()
    for fill.value in (0.5, 0.25):
        read = ops.affine_transform(draw(3, 3, 1), away, fill_value=fill, data_format="channels_last")
        np.testing.assert_array_equal(numbers(read), np.full((3, 3, 1), fill.value))


def test_a_fill_value_may_be_a_number_of_numpy():
    away = np.array([1, 0, 9, 0, 1, 0, 0, 0], "float32")
    for given in (np.float32(0.5), np.asarray(0.5)):
        read = ops.affine_transform(np.ones((2, 2, 1), "float32"), away, fill_value=given, data_format="channels_last")
        assert keras.ops.convert_to_numpy(read).ravel().tolist() == [0.5] * 4


def test_each_nan_is_the_same_program():
    away, image = np.array([1, 0, 9, 0, 1, 0, 0, 0], "float32"), np.ones((2, 2, 1), "float32")
    made = []
    for _ in range(2):
        read = ops.affine_transform(image, away, fill_value=float("nan"), data_format="channels_last")
        assert np.isnan(numbers(read)).all()
        made.append(operations._program.cache_info().misses)
    assert made[0] == made[1]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch.compile is what is asked")
def test_torch_compiles_calls_without_a_warning():
    import torch

    image, identity = torch.tensor(draw(4, 5, 1)), torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0])

    @torch.compile(fullgraph=True, backend="eager")
    def moved(image, identity):
        return ops.affine_transform(image, identity, data_format="channels_last")

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert torch.equal(moved(image, identity), image)
    assert not [one for one in found if "lru_cache" in str(one.message)]
