"""The layers of `stnkit.keras`, on the backend that Keras was started with."""

import doctest
import importlib
import json
import os
import sys
from pathlib import Path

import bounds
import keras
import numpy as np
import pytest
from arrays import BACKEND, gradients, numbers
from keras import KerasTensor, ops

import stnkit
import stnkit.keras as layers
from stnkit import transforms
from stnkit.transforms import IDENTITIES

KINDS = [(name, axes) for name, known in IDENTITIES.items() for axes in known]
OPTIONS = {
    "mode": "bicubic",
    "prefilter": False,
    "padding_mode": ("border", "reflection"),
    "fill_value": (1.0, 2.0),
    "align_corners": True,
    "data_format": "channels_first",
}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, "float32")


def maps(kind, count, seed=3):
    """Return theta of a kind of map on two axes, near the identity."""
    theta = np.eye(2, 3) * 0.7 if kind == "affine" else np.diag([0.7, 0.8, 1.0])
    if kind == "thin_plate_spline":
        theta = transforms.control_lattice((2, 3)) * 0.7
    return (theta + 0.05 * np.random.default_rng(seed).standard_normal((count, *theta.shape))).astype("float32")


def network(transform="affine", outputs=None):
    """Return a small localisation network that is smooth, and begins with the identity."""
    head = layers.IdentityHead(transform)
    dense = keras.layers.Dense(6, activation="tanh", kernel_initializer="zeros")
    return keras.Sequential([keras.layers.Flatten(), dense, head if outputs is None else keras.layers.Dense(outputs)])


def transformer(**options):
    return layers.SpatialTransformer(network(**options))


def classifier():
    """Return a network with a transformer, with the same weights on every backend, and data that it can learn."""
    images, labels = 4 * draw(6, 5, 5, 1) - 2, np.arange(6) % 3
    model = keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            layers.SpatialTransformer(network(), mode="spline2", prefilter=False, padding_mode="reflection"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_initializer="zeros"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    random = np.random.default_rng(4)
    model.set_weights([numbers(w) + 0.1 * random.standard_normal(w.shape) for w in model.weights])
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model, images, labels


def alike(first, second):
    np.testing.assert_array_equal(numbers(first), numbers(second))


@pytest.mark.parametrize("name", ["ops", "heads", "samplers", "transformer"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"stnkit.keras.{name}"))
    assert found.attempted > 4
    assert not found.failed


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_gradients_of_image_and_grid_are_those_of_numpy(data_format):
    random = np.random.default_rng(0)
    shape = (2, 3, 5, 6) if data_format == "channels_first" else (2, 5, 6, 3)
    image, grid = draw(*shape), (random.integers(0, 4, (2, 3, 4, 2)) + random.uniform(0.2, 0.8, (2, 3, 4, 2)))
    grid = grid.astype("float32")  # away from knots
    layer = layers.GridSample(coords="pixel", data_format=data_format)
    out = numbers(layer(image, grid))
    cotangent = draw(*out.shape, seed=1)
    options = {"coords": "pixel", "data_format": data_format}
    wide = [array.astype(float) for array in (cotangent, image, grid)]
    size = bounds.Size(2, "bilinear", "float32", 6, 6.0, channels=3, points=12)
    expected = stnkit.grid_sample(*wide[1:], **options)
    np.testing.assert_allclose(out, expected, rtol=0, atol=bounds.value(size))
    found = gradients(layer, cotangent, image, grid)
    image_bar, grid_bar = stnkit.grid_sample_vjp(*wide, **options)
    np.testing.assert_allclose(found[0], image_bar, rtol=0, atol=bounds.d_image(size))
    np.testing.assert_allclose(found[1], grid_bar, rtol=0, atol=bounds.d_grid(size))
    assert all(abs(one).max() > 0.1 for one in found)


@pytest.mark.parametrize("kind", ["affine", "projective", "thin_plate_spline"])
def test_gradients_of_theta_are_those_of_numpy(kind):
    """Theta's is the sum of the grid's over P locations below 1, and so is its error; maps round P numbers more.

    Bicubic sampling has no knots in its slopes, so that a rounded coordinate moves these by what `bounds` says.
    """
    image, theta, size = draw(2, 5, 6, 2), maps(kind, 2), (3, 4)
    points = {"control_points": transforms.control_lattice((2, 3))} if kind == "thin_plate_spline" else {}
    layer = {
        "affine": layers.AffineSample,
        "projective": layers.ProjectiveSample,
        "thin_plate_spline": layers.ThinPlateSplineSample,
    }[kind](size, mode="bicubic", data_format="channels_last", **points)
    cotangent = draw(2, *size, 2, seed=1)
    wide = [array.astype(float) for array in (cotangent, image, theta)]
    options = {"mode": "bicubic", "data_format": "channels_last", **points}
    image_bar, theta_bar = getattr(stnkit, f"{kind}_sample_vjp")(*wide, **options)
    many = bounds.Size(2, "bicubic", "float32", 6, 2.0, channels=2, points=12, theta=8.0)
    found = gradients(layer, cotangent, image, theta)
    np.testing.assert_allclose(found[0], image_bar, rtol=0, atol=bounds.d_image(many))
    sides = 12 * (bounds.d_grid(many) + (12 + 4) * np.finfo("float32").eps * 2 * abs(theta_bar).max())
    np.testing.assert_allclose(found[1], theta_bar, rtol=0, atol=sides)
    assert abs(theta_bar).max() > 10 * sides


def test_gradients_of_a_flow_are_those_of_numpy():
    image, flow = draw(2, 5, 6, 2), (draw(2, 5, 6, 2, seed=4) * 0.6 + 0.2)
    layer = layers.FlowSample(data_format="channels_last")
    cotangent = draw(2, 5, 6, 2, seed=1)
    wide = [array.astype(float) for array in (cotangent, image, flow)]
    bars = stnkit.flow_sample_vjp(*wide, data_format="channels_last")
    size = bounds.Size(2, "bilinear", "float32", 6, 6.0, channels=2, points=30)
    found = gradients(layer, cotangent, image, flow)
    np.testing.assert_allclose(found[0], bars[0], rtol=0, atol=bounds.d_image(size))
    np.testing.assert_allclose(found[1], bars[1], rtol=0, atol=bounds.d_grid(size))


@pytest.mark.parametrize(("transform", "axes"), KINDS)
def test_it_starts_at_the_identity(transform, axes):
    given = draw(2, *(3, 4, 5)[:axes], 2)
    localization = keras.Sequential([keras.layers.Flatten(), layers.IdentityHead(transform, axes)])
    layer = layers.SpatialTransformer(localization, transform, data_format="channels_last")
    np.testing.assert_allclose(numbers(layer(given)), given, rtol=0, atol=1e-5)
    assert layer.compute_output_shape(given.shape) == given.shape
    alike(layers.SpatialTransformer.from_config(layer.get_config())(given), layer(given))


def test_it_learns_and_its_file_holds_it(tmp_path):
    """50 steps; the losses are kept for `test_keras.py`, which compares those of backends."""
    model, images, labels = classifier()
    before = [numbers(weight).copy() for weight in model.layers[0].trainable_weights]
    losses = [float(model.train_on_batch(images, labels)) for _ in range(50)]
    assert losses[-1] < 0.7 * losses[0]
    assert all(abs(numbers(w) - b).max() > 1e-4 for w, b in zip(model.layers[0].trainable_weights, before, strict=True))
    if "STNKIT_LOSSES" in os.environ:
        Path(os.environ["STNKIT_LOSSES"]).write_text(json.dumps(losses))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))
    again.fit(images, labels, epochs=1, batch_size=3, verbose=0)
    assert model.jit_compile == (BACKEND == "jax")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.transformer = layers.SpatialTransformer(network("similarity"), "similarity", (4, 5), antialias=2)
        self.dense = keras.layers.Dense(1)

    def call(self, image):
        return self.dense(ops.reshape(self.transformer(image), (-1, 20)))


def test_subclassed_and_functional_models_fit_and_predict():
    images = draw(4, 6, 6, 1)
    model = Subclassed()
    model.compile("adam", "mse")
    history = model.fit(images, np.ones((4, 1)), batch_size=2, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert model.predict(images, verbose=0).shape == (4, 1)

    image, theta, flow = keras.Input((6, 6, 1)), keras.Input((2, 3)), keras.Input((4, 5, 2))
    read = layers.AffineSample((4, 5))(image, theta)
    assert read.shape == (None, 4, 5, 1)
    read = layers.FlowSample()(read, flow)
    functional = keras.Model([image, theta, flow], read)
    given = [images, maps("affine", 4), draw(4, 4, 5, 2)]
    out = functional.predict(given, verbose=0)
    assert out.shape == (4, 4, 5, 1)
    again = keras.Model.from_config(functional.get_config())
    np.testing.assert_array_equal(again.predict(given, verbose=0), out)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_policies(policy):
    """Coordinates have float32 at least: the images move by less than half of what a half's digits would let them."""
    if policy == "float64" and BACKEND == "jax":
        pytest.skip("JAX has no float64 unless it is told to")
    keras.config.set_dtype_policy(policy)
    try:
        model, images, labels = classifier()
        transformer = model.layers[0]
        theta = transformer.theta(ops.convert_to_tensor(images))
        assert keras.backend.standardize_dtype(theta.dtype) == ("float64" if policy == "float64" else "float32")
        read = transformer(images)
        assert keras.backend.standardize_dtype(read.dtype) == policy.removeprefix("mixed_")
        assert model.outputs[0].dtype == keras.backend.standardize_dtype(model(images).dtype)
        assert np.isfinite(model.fit(images, labels, epochs=1, verbose=0).history["loss"]).all()
        kept = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(transformer))
        assert kept.dtype_policy == transformer.dtype_policy
        assert kept.localization.layers[-1].dtype_policy == transformer.localization.layers[-1].dtype_policy
    finally:
        keras.config.set_dtype_policy("float32")


class Watched(keras.layers.Layer):
    """A localisation network that notes whether it is trained."""

    def __init__(self):
        super().__init__()
        self.head, self.seen = layers.IdentityHead(), []

    def build(self, shape):
        self.head.build((None, 36))

    def compute_output_shape(self, shape):
        return (shape[0], 6)

    def call(self, image, training=None):
        self.seen.append(training)
        return self.head(ops.reshape(image, (-1, 36)))


def test_the_network_is_told_whether_it_is_trained():
    layer = layers.SpatialTransformer(Watched())
    images = draw(2, 6, 6, 1)
    layer(images)
    layer(images, training=True)
    layer(images, training=False)
    assert layer.localization.seen[-2:] == [True, False]


@pytest.mark.parametrize(
    "name", ["GridSample", "FlowSample", "AffineSample", "ProjectiveSample", "ThinPlateSplineSample"]
)
def test_options_are_kept(name):
    own = {"GridSample": {"coords": "pixel"}, "FlowSample": {"units": "normalized", "antialias": 2}}
    own |= {kind: {"size": (3, 4), "antialias": 2} for kind in ("AffineSample", "ProjectiveSample")}
    points = transforms.control_lattice((2, 3))
    own["ThinPlateSplineSample"] = {"size": (3, 4), "control_points": points.tolist()}
    layer = getattr(layers, name)(name="one", **OPTIONS, **own[name])
    source = {"AffineSample": maps("affine", 2), "ProjectiveSample": maps("projective", 2)}
    source["ThinPlateSplineSample"] = maps("thin_plate_spline", 2)
    given = draw(2, 2, 5, 6), source.get(name, draw(2, 3, 4, 2))
    out = layer(*given)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
    assert again.get_config() == layer.get_config()
    alike(again(*given), out)
    assert layer.compute_output_shape(*[array.shape for array in given]) == tuple(out.shape)
    public = getattr(
        stnkit, {"ThinPlateSplineSample": "thin_plate_spline_sample"}.get(name, f"{name[:-6].lower()}_sample")
    )
    options = {word: np.asarray(value) if word == "control_points" else value for word, value in own[name].items()}
    np.testing.assert_allclose(numbers(out), public(*given, **OPTIONS, **options), rtol=0, atol=1e-4)


def test_the_data_format_is_that_of_the_configuration():
    assert layers.GridSample().data_format == "channels_last"
    keras.config.set_image_data_format("channels_first")
    try:
        assert layers.GridSample().data_format == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")


def test_no_other_framework_is_asked_for():
    """Keras imports some for itself, where they are installed."""
    layers.AffineSample()(draw(1, 2, 2, 1), np.eye(2, 3, dtype="float32")[None])
    adapters = {f"stnkit.{name}" for name in ("torch", "jax", "tensorflow")} & set(sys.modules)
    assert adapters == {f"stnkit.{BACKEND}"}


def test_images_of_integers_stay_as_they_are():
    image = np.arange(12, dtype="uint8").reshape(1, 3, 4, 1)
    out = layers.AffineSample()(image, np.eye(2, 3, dtype="float32")[None])
    assert keras.backend.standardize_dtype(out.dtype) == "uint8"
    alike(out, image)
    assert layers.AffineSample()(KerasTensor((None, 3, 4, 1), "uint8"), KerasTensor((None, 2, 3))).dtype == "uint8"


@pytest.mark.parametrize(
    ("kind", "words", "make"),
    [
        (ValueError, "must give 6 numbers", lambda: transformer(outputs=5)(draw(2, 6, 6, 1))),
        (ValueError, "must give 6 numbers for each", lambda: transformer(transform="projective")(draw(2, 6, 6, 1))),
        (ValueError, r"\(N, H, W, C\).* in channels_last; got \(6, 6\)", lambda: transformer()(draw(6, 6))),
        (ValueError, "must be one of 'affine', .*; got 'bent'", lambda: layers.SpatialTransformer(network(), "bent")),
        (ValueError, "`mode` must be one of", lambda: layers.AffineSample(mode="smooth")),
        (ValueError, "`data_format` must be one of", lambda: layers.AffineSample(data_format="last")),
        (ValueError, r"`size` must be 1 to 3 integers >= 0, .*; got \(-1, 2\)", lambda: layers.AffineSample((-1, 2))),
        (ValueError, r"`size` must be .*; got \(2, 3, 4, 5\)", lambda: layers.ProjectiveSample((2, 3, 4, 5))),
        (TypeError, r"`size` must be .*; got \(2.5, 2\)", lambda: layers.SpatialTransformer(network(), size=(2.5, 2))),
        (ValueError, "`size` must be 1 int", lambda: layers.ThinPlateSplineSample((2, 3), control_points=[[-1], [1]])),
        (ValueError, "`coords` must be one of", lambda: layers.GridSample(coords="inch")),
        (ValueError, "`units` must be one of", lambda: layers.FlowSample(units="inch")),
        (ValueError, "`antialias` must be True", lambda: layers.AffineSample(antialias=99)),
        (TypeError, "`prefilter` must be True or False", lambda: layers.GridSample(prefilter="no")),
        (TypeError, "`fill_value` must be a real number", lambda: layers.GridSample(fill_value="grey")),
        (ValueError, "3 names", lambda: layers.AffineSample((2, 2), padding_mode=("zeros",) * 3)),
        (ValueError, "size", lambda: layers.GridSample(size=(2, 2))),
        (ValueError, "`theta` must have shape", lambda: layers.AffineSample()(draw(2, 6, 6, 1), draw(2, 3, 3))),
        (ValueError, "`image` must have shape", lambda: layers.AffineSample()(draw(6, 6), draw(2, 2, 3))),
        (TypeError, "`localization` must be a layer", lambda: layers.SpatialTransformer(print)),
        (ValueError, "shape .*6", lambda: layers.IdentityParameters()((5,))),
    ],
)  # fmt: skip
def test_errors(kind, words, make):
    with pytest.raises(kind, match=words):
        make()
