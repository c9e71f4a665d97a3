"""The public functions on TensorFlow's tensors: values, gradients, and everywhere that TensorFlow calls functions."""

import inspect

import numpy as np
import pytest
from arrays import BACKEND

import stnkit
from stnkit import transforms

if BACKEND != "tensorflow":
    pytest.skip("these are TensorFlow's own tests", allow_module_level=True)

import tensorflow as tf

POINTS = transforms.control_lattice((2, 3))
SIZE = (4, 5)
FUNCTIONS = [name for name in stnkit.__all__ if name != "compile_ahead"]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, "float32")


def theta(name, seed=3):
    found = {"projective": np.diag([0.7, 0.8, 1.0]), "thin_plate_spline": POINTS * 0.7}
    for kind, value in found.items():
        if name.startswith(kind):
            return (value + 0.05 * np.random.default_rng(seed).standard_normal((2, *value.shape))).astype("float32")
    return (np.eye(2, 3) * 0.7 + 0.05 * np.random.default_rng(seed).standard_normal((2, 2, 3))).astype("float32")


def call(name):
    """Return a call of a function: its arrays, and what else it takes."""
    parameters = inspect.signature(getattr(stnkit, name)).parameters
    grid, out = 2 * draw(2, *SIZE, 2, seed=1) - 1, draw(2, 3, *SIZE, seed=2)
    shapes = {"image": draw(2, 3, 6, 7), "grid": grid, "flow": grid, "values": out, "theta": theta(name)}
    given = {}
    for word, parameter in parameters.items():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or word in ("size", "control_points"):
            continue
        own = word.removeprefix("dd_").removeprefix("d_")
        given[word] = shapes[own].copy() if own in shapes else out
        if word.startswith("d_theta"):
            given[word] = theta(name, 4)
    if "grid_vjp" in name:
        given["cotangent"] = grid
    if name == "grid_splat_vjp":
        given["cotangent"] = draw(2, 3, 6, 7, seed=4)
    rest = {"size": (6, 7) if name in ("grid_splat", "grid_count") else SIZE} if "size" in parameters else {}
    if "control_points" in parameters:
        rest["control_points"] = POINTS
    return given, rest


def flat(results):
    return list(results) if isinstance(results, tuple) else [results]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_the_bits_of_numpy(name):
    """At once, in a graph that knows shapes, and in one that knows no more than how many axes there are."""
    given, rest = call(name)
    function = getattr(stnkit, name)
    expected = flat(function(**given, **rest))
    tensors = {word: tf.constant(array) for word, array in given.items()}

    def graph(tensors):
        return function(**tensors, **rest)

    known = {"theta": 2, "grid": 1, "flow": 1}
    loose = {}
    for word, tensor in tensors.items():
        own = word.removeprefix("dd_").removeprefix("d_")
        last = known.get(own, 1 if "grid_vjp" in name or "flow_grid" in name else 0)
        loose[word] = tf.TensorSpec(
            [None] * (tensor.ndim - last) + list(tensor.shape[tensor.ndim - last :]), tensor.dtype
        )
    runs = [function(**tensors, **rest), tf.function(graph)(tensors)]
    traced = tf.function(graph, input_signature=[loose])
    runs.append(traced(tensors))
    shapes = [one.shape for one in flat(traced.get_concrete_function().structured_outputs) if one is not None]
    for shape, one in zip(shapes, [one for one in expected if one is not None], strict=True):
        assert shape.rank == one.ndim
        assert shape.is_compatible_with(one.shape)
    for found in runs:
        for one, other in zip(flat(found), expected, strict=True):
            assert (one is None) == (other is None)
            if other is not None:
                assert isinstance(one, tf.Tensor)
                np.testing.assert_array_equal(one.numpy(), other)


def loss(image, maps, **options):
    return tf.reduce_sum(stnkit.affine_sample(image, maps, SIZE, mode="bicubic", **options) ** 2)


def slopes(image, maps):
    with tf.GradientTape() as tape:
        tape.watch([image, maps])
        value = loss(image, maps)
    return tape.gradient(value, [image, maps])


def test_shapes_are_set():
    read = tf.function(lambda image, maps: stnkit.affine_sample(image, maps, data_format="channels_last"))
    spec = tf.TensorSpec((None, 6, 7, 3)), tf.TensorSpec((None, 2, 3))
    assert read.get_concrete_function(*spec).structured_outputs.shape.as_list() == [None, 6, 7, 3]
    spec = tf.TensorSpec((1, None, 7, 3)), tf.TensorSpec((4, 2, 3))
    assert read.get_concrete_function(*spec).structured_outputs.shape.as_list() == [4, None, 7, 3]


def test_gradients_in_a_graph_and_of_variables():
    image, maps = tf.Variable(draw(2, 3, 6, 7)), tf.Variable(theta("affine"))
    bars = slopes(tf.convert_to_tensor(image), tf.convert_to_tensor(maps))
    with tf.GradientTape() as tape:
        value = loss(image, maps)
    for found in (tape.gradient(value, [image, maps]), tf.function(slopes)(*map(tf.convert_to_tensor, (image, maps)))):
        for one, bar in zip(found, bars, strict=True):
            np.testing.assert_array_equal(one.numpy(), bar.numpy())


def test_second_order_and_forward_mode():
    """In float64 against a central difference, which is off by step^2 and eps / step, times what is below 1e3."""
    image, maps, along = (
        tf.constant(array.astype(float)) for array in (draw(2, 3, 6, 7), theta("affine"), theta("affine", 5))
    )
    with tf.GradientTape() as outer:
        outer.watch([image, maps])
        bar = slopes(image, maps)[1]
        product = tf.reduce_sum(bar * along)
    second = outer.gradient(product, [image, maps])
    step = 1e-5
    quotient = [
        (up - down) / (2 * step)
        for up, down in zip(slopes(image, maps + step * along), slopes(image, maps - step * along), strict=True)
    ]
    for one, other in zip(second, quotient, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=1e-6)
        assert abs(other.numpy()).max() > 0.1
    with tf.autodiff.ForwardAccumulator(maps, along) as forward:
        out = stnkit.affine_sample(image, maps, SIZE, mode="bicubic")
    _, expected = stnkit.affine_sample_jvp(image.numpy(), maps.numpy(), None, along.numpy(), SIZE, mode="bicubic")
    np.testing.assert_allclose(forward.jvp(out).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["affine_grid", "flow_grid", "thin_plate_spline_grid", "spline_filter", "grid_splat"])
def test_linear_functions_are_the_transposes_of_their_gradients(name):
    """<f(x), y> = <x, g(y)>: sums of up to 126 products, in float64; and g has f as its gradient in turn.

    A flow's grid is that of no flow beside what is linear.
    """
    given, rest = call(name)
    first, *others = (tf.constant(array.astype(float)) for array in given.values())
    constant = stnkit.flow_grid(0 * first) if name == "flow_grid" else 0.0
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(first)
        with tf.GradientTape() as tape:
            tape.watch(first)
            out = getattr(stnkit, name)(first, *others, **rest) - constant
        weights = tf.constant(np.random.default_rng(7).standard_normal(out.shape))
        outer.watch(weights)
        bar = tape.gradient(out, first, output_gradients=weights)
    np.testing.assert_allclose(tf.reduce_sum(bar * first).numpy(), tf.reduce_sum(out * weights).numpy(), rtol=1e-11)
    if name != "grid_splat":
        np.testing.assert_allclose(
            outer.gradient(bar, weights, output_gradients=first).numpy(), out.numpy(), rtol=0, atol=1e-12
        )


def test_data_pipelines_and_vectorized_maps():
    image, maps = draw(4, 3, 6, 7), np.concatenate([theta("affine"), theta("affine", 5)])
    expected = stnkit.affine_sample(image, maps, SIZE)
    pairs = tf.data.Dataset.from_tensor_slices((image, maps)).map(
        lambda x, t: stnkit.affine_sample(x, t[None], SIZE)[0]
    )
    np.testing.assert_array_equal(np.concatenate([one.numpy() for one in pairs.batch(2)]), expected)
    each = tf.vectorized_map(
        lambda pair: stnkit.affine_sample(pair[0][None], pair[1][None], SIZE)[0],
        (tf.constant(image), tf.constant(maps)),
    )
    np.testing.assert_array_equal(each.numpy(), expected)


def test_memory_is_shared_with_what_is_read():
    from stnkit.tensorflow import memory

    tensor, seen = tf.constant(draw(2, 3, 6, 7)), []
    memory.run("one", lambda view: [seen.append(view), view][1:], [tensor], None)
    assert np.shares_memory(seen[0], np.frombuffer(tensor, "float32"))


def test_other_dtypes_and_what_transforms_make():
    image, maps = draw(2, 3, 6, 7), theta("affine")
    half = stnkit.affine_sample(tf.cast(image, tf.bfloat16), tf.constant(maps))
    assert half.dtype == tf.bfloat16
    labels = tf.constant((255 * image).astype("uint8"))
    np.testing.assert_array_equal(
        stnkit.affine_sample(labels, tf.constant(maps)), stnkit.affine_sample(labels.numpy(), maps)
    )
    with tf.GradientTape() as tape:
        moved = tf.constant(maps)
        tape.watch(moved)
        out = tf.cast(stnkit.affine_sample(labels, moved), tf.float32)
    assert tape.gradient(out, moved) is None  # what is rounded has none
    for name, transform in transforms.TRANSFORMS.items():
        parameters = np.array([transforms.identity_parameters(name)] * 2, "float32") + 0.1
        expected = transform(parameters)
        np.testing.assert_allclose(transform(tf.constant(parameters)), expected, rtol=0, atol=1e-6)
        made = tf.function(transform, input_signature=[tf.TensorSpec((None, parameters.shape[1]))])(parameters)
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(transforms.invert(tf.constant(maps)), transforms.invert(maps), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        transforms.compose(tf.constant(maps), tf.constant(maps)), transforms.compose(maps, maps), rtol=0, atol=1e-6
    )


graph = tf.function(stnkit.affine_sample)
loose = tf.function(stnkit.affine_sample, input_signature=[tf.TensorSpec(None), tf.TensorSpec((2, 2, 3))])


@pytest.mark.parametrize(
    ("kind", "words", "make"),
    [
        (TypeError, "numpy array and `image` a tensorflow", lambda i, t: stnkit.affine_sample(i, t.numpy())),
        (TypeError, r"pass `tf.convert_to_tensor\(theta\)`", lambda i, t: stnkit.affine_sample(i, [[1.0]])),
        (TypeError, "`out` cannot be written to", lambda i, t: stnkit.affine_sample(i, t, out=i.numpy())),
        (ValueError, "`theta` must have shape", lambda i, t: stnkit.affine_sample(i, tf.ones((2, 3, 3)))),
        (ValueError, "`theta` must have shape", lambda i, t: graph(i, tf.ones((2, 3, 3)))),
        (ValueError, "`mode` must be one of", lambda i, t: graph(i, t, mode="smooth")),
        (TypeError, "`size` is a tensor of a graph", lambda i, t: graph(i, t, tf.shape(i)[2:])),
        (ValueError, "unknown rank", lambda i, t: loose(i, t)),
        (NotImplementedError, "differentiated only once", lambda i, t: third(i, t)),
    ],
)  # fmt: skip
def test_errors(kind, words, make):
    with pytest.raises(kind, match=words):
        make(tf.constant(draw(2, 3, 6, 7)), tf.constant(theta("affine")))


def third(image, maps):
    with tf.GradientTape() as tape:
        tape.watch(maps)
        with tf.GradientTape() as second:
            second.watch(maps)
            bar = slopes(image, maps)[1]
        product = second.gradient(bar, maps)
    return tape.gradient(product, maps)


def test_a_saved_model_of_a_layer_is_refused(tmp_path):
    """And of a function, it names the function where it fails, in the process that loads it."""
    import keras

    from stnkit.keras import AffineSample

    model = keras.Model(inputs := [keras.Input((6, 6, 1)), keras.Input((2, 3))], AffineSample()(*inputs))
    saves = [lambda: tf.saved_model.save(model, tmp_path)]
    if tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 14):  # older ones export without asking the layers
        saves.append(lambda: model.export(tmp_path, verbose=False))
    for save in saves:
        with pytest.raises(NotImplementedError, match="cannot be in a SavedModel, which holds no Python"):
            save()
    concrete = graph.get_concrete_function(tf.TensorSpec((2, 3, 6, 7)), tf.TensorSpec((2, 2, 3)))
    assert any("stnkit_affine_sample_in_Python" in step.name for step in concrete.graph.get_operations())


def test_a_release_that_is_too_old(monkeypatch):
    from stnkit.tensorflow import _compat

    monkeypatch.setattr(tf, "__version__", "2.15.1")
    with pytest.raises(ImportError, match=r"needs tensorflow 2\.16 or newer; got tensorflow 2\.15\.1"):
        _compat.check_release()
