"""The layer for plain NumPy: its derivatives, alone, in series, in parallel, and on feature maps."""

import doctest

import numpy as np
import pytest

SHAPES = {"affine": [(5,), (4, 5), (2, 3, 3)], "attention": [(5,), (4, 5)], "similarity": [(4, 5), (2, 3, 3)]}
SHAPES["rotation"] = SHAPES["similarity"]
SHAPES["projective"] = SHAPES["thin_plate_spline"] = SHAPES["attention"]
CASES = [(transform, shape) for transform, shapes in SHAPES.items() for shape in shapes]
SMOOTH = {"mode": "bicubic", "padding_mode": "wrap"}  # without a knot that a difference quotient could meet


def transformer(shape, transform, seed=0, size=None, channels=2, points=None, **options):
    """Return a transformer that does something: a network in float64, near the identity."""
    from stnkit.demo.layers import perceptron
    from stnkit.nn import SpatialTransformer
    from stnkit.transforms import identity_parameters

    rng = np.random.default_rng(seed)
    identity = identity_parameters(transform, len(shape), control_points=points)
    looking = perceptron((channels * int(np.prod(shape)), 3, len(identity)), rng)
    for layer in looking.linear():
        layer.weights = [weight.astype(float) for weight in layer.weights]
    last, bias = looking.linear()[-1].weights
    last *= 0.1 if transform == "projective" else 1  # no horizon is in sight
    bias += identity
    return SpatialTransformer(looking, transform, size, control_points=points, **(SMOOTH | options))


def weights(layer):
    return [weight for linear in layer.localization.linear() for weight in linear.weights]


def slopes(layer):
    return [slope for linear in layer.localization.linear() for slope in linear.cotangents]


def check(forward, backward, layers, shape):
    """Compare the backward pass with a central quotient along a random direction of images and all weights.

    With values of order 1 the quotient is off by about step^2, times a third derivative that grows with the number of
    pixels per unit, cubed, and by eps / step.
    """
    rng = np.random.default_rng(1)
    image = rng.standard_normal((3, 2, *shape))
    out = forward(image)
    cotangent = rng.standard_normal(out.shape)
    image_bar = backward(cotangent)
    moved = [image, *(weight for layer in layers for weight in weights(layer))]
    bars = [image_bar, *(slope.copy() for layer in layers for slope in slopes(layer))]
    along = [rng.standard_normal(array.shape) for array in moved]
    step, ends = 1e-6, []
    for sign in (1, -1):
        for array, direction in zip(moved, along, strict=True):
            array += sign * step * direction
        ends.append(forward(image).copy())
        for array, direction in zip(moved, along, strict=True):
            array -= sign * step * direction
    quotient = ((ends[0] - ends[1]) * cotangent).sum() / (2 * step)
    expected = sum((bar * direction).sum() for bar, direction in zip(bars, along, strict=True))
    assert quotient == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("transform", "shape"), CASES)
def test_the_backward_pass_is_the_derivative(plain, transform, shape):
    layer = transformer(shape, transform)
    check(layer.forward, layer.backward, [layer], shape)


def test_options_reach_the_sampler(plain):
    layer = transformer((4, 5), "attention", size=(3, 2), align_corners=True)
    check(layer.forward, layer.backward, [layer], (4, 5))
    image = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
    theta = layer.theta(layer.localization.forward(image))
    expected = plain.affine_sample(image, theta, (3, 2), align_corners=True, **SMOOTH)
    np.testing.assert_array_equal(layer.forward(image), expected)


@pytest.mark.parametrize("transform", ["projective", "thin_plate_spline"])
def test_options_reach_every_sampler(plain, transform):
    """Control points and antialiasing too."""
    points = np.array([[-1, -1], [1, -1], [0, 1], [0.2, 0]], float) if transform == "thin_plate_spline" else None
    layer = transformer((4, 5), transform, size=(2, 3), points=points, align_corners=True, antialias=2)
    check(layer.forward, layer.backward, [layer], (4, 5))
    image = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
    theta = layer.theta(layer.localization.forward(image))
    fixed = () if points is None else (points,)
    sample = getattr(plain, f"{transform}_sample")
    expected = sample(image, theta, *fixed, (2, 3), align_corners=True, antialias=2, **SMOOTH)
    np.testing.assert_array_equal(layer.forward(image), expected)


def test_in_series(plain):
    """The second reads what the first made: images of another size, and a cotangent that comes back to pixels."""
    first = transformer((4, 5), "affine", size=(3, 4))
    second = transformer((3, 4), "similarity", seed=1)
    check(
        lambda image: second.forward(first.forward(image)),
        lambda bar: first.backward(second.backward(bar)),
        [first, second],
        (4, 5),
    )


def test_in_parallel(plain):
    """Each looks for itself; what they read stands side by side as channels, and their images' cotangents add."""
    layers = [transformer((4, 5), name, seed, (2, 3)) for seed, name in enumerate(("attention", "rotation"))]

    def backward(bar):
        return sum(layer.backward(part) for layer, part in zip(layers, np.split(bar, 2, axis=1), strict=True))

    check(lambda image: np.concatenate([layer.forward(image) for layer in layers], axis=1), backward, layers, (4, 5))


def test_on_feature_maps(plain):
    """In the middle of a network: convolutions of 1 x 1 before and after it mix channels."""
    rng = np.random.default_rng(2)
    before, after = rng.standard_normal((4, 2)), rng.standard_normal((2, 4))
    layer = transformer((4, 5), "affine", channels=4)

    def mix(weight, image):
        return np.einsum("ij,nj...->ni...", weight, image)

    def forward(image):
        return mix(after, layer.forward(mix(before, image)))

    check(forward, lambda bar: mix(before.T, layer.backward(mix(after.T, bar))), [layer], (4, 5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay(plain, dtype):
    layer = transformer((4, 5), "rotation")
    for linear in layer.localization.linear():
        linear.weights = [weight.astype(dtype) for weight in linear.weights]
    image = np.ones((2, 2, 4, 5), dtype)
    out = layer.forward(image)
    assert out.dtype == layer.backward(out).dtype == dtype
    assert {slope.dtype for slope in slopes(layer)} == {np.dtype(dtype)}


def test_the_images_cotangent_is_left_out_where_it_is_not_wanted(plain):
    layer = transformer((4, 5), "affine")
    out = layer.forward(np.ones((2, 2, 4, 5)))
    layer.backward(out)
    kept = [slope.copy() for slope in slopes(layer)]
    assert layer.backward(out, image=False) is None
    for before, after in zip(kept, slopes(layer), strict=True):
        np.testing.assert_array_equal(before, after)


def test_misuse_is_refused(plain):
    from stnkit.nn import SpatialTransformer

    with pytest.raises(ValueError, match="`transform` must be one of 'affine'"):
        SpatialTransformer(None, "shear")
    with pytest.raises(ValueError, match="`control_points` are those of 'thin_plate_spline'; got some beside 'affine'"):
        SpatialTransformer(None, "affine", control_points=np.eye(3)[:, :2])
    with pytest.raises(ValueError, match="`control_points` are collinear"):
        SpatialTransformer(None, "thin_plate_spline", control_points=np.arange(3.0)[:, None] * [1.0, 2.0])
    with pytest.raises(RuntimeError, match="`backward` needs what `forward` remembers"):
        transformer((4, 5), "affine").backward(np.ones((1, 2, 4, 5)))
    with pytest.raises(TypeError, match="`size` must be a sequence of 1 to 3 integers"):
        transformer((4, 5), "affine", size=4).forward(np.ones((1, 2, 4, 5)))
    layer = transformer((4, 5), "affine")
    layer.localization.layers.pop()
    with pytest.raises(ValueError, match="`parameters` of 'affine' must have"):
        layer.forward(np.ones((1, 2, 4, 5)))


@pytest.mark.parametrize("layer", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(
    ("kind", "words", "options"),
    [
        (ValueError, r"`size` must be 1 to 3 integers >= 0, .*; got \(-1, 2\)", {"size": (-1, 2)}),
        (ValueError, r"`size` must be .*; got \(2, 3, 4, 5\)", {"size": (2, 3, 4, 5)}),
        (ValueError, r"`size` must be .*; got \(\)", {"size": ()}),
        (TypeError, r"`size` must be .*; got \(2.5, 2\)", {"size": (2.5, 2)}),
        (TypeError, r"`size` must be .*; got 7", {"size": 7}),
        (ValueError, "`mode` must be one of", {"mode": "smooth"}),
        (ValueError, "3 names", {"size": (2, 2), "padding_mode": ("zeros",) * 3}),
        (ValueError, "`padding_mode` must be one of", {"padding_mode": ["zeros", "none"]}),
        (ValueError, "`data_format` must be one of", {"data_format": "last"}),
        (TypeError, "`align_corners` must be True or False", {"align_corners": 1}),
        (TypeError, "`prefilter` must be True or False", {"prefilter": "no"}),
        (ValueError, "`antialias` must be True", {"antialias": 0}),
        (TypeError, "`fill_value` must be a real number", {"fill_value": "grey"}),
        (ValueError, r"`fill_value` must be .*; got shape \(1, 1\)", {"fill_value": [[1.0]]}),
        (TypeError, "colour", {"colour": "grey"}),
    ],
)
def test_layers_refuse_options_when_they_are_made(layer, kind, words, options):
    made = pytest.importorskip({"numpy": "stnkit.nn"}.get(layer, f"stnkit.{layer}.nn")).SpatialTransformer
    network = pytest.importorskip("torch").nn.Identity() if layer == "torch" else (lambda image: image)
    made(network)
    with pytest.raises(kind, match=words):
        made(network, **options)


def test_layers_of_jax_know_each_other_by_options_in_lists():
    jax = pytest.importorskip("jax")
    from stnkit.jax.nn import SpatialTransformer

    layer = SpatialTransformer(
        jax.tree_util.Partial(lambda image: np.float32([1, 0, 9, 0, 1, 0])),
        size=[2, 3], padding_mode=["zeros", "border"], fill_value=np.array([2.0, 3.0]),
    )  # fmt: skip
    out = jax.jit(lambda layer, image: layer(image))(layer, np.ones((1, 2, 4, 4), "float32"))
    np.testing.assert_array_equal(out, np.broadcast_to(np.float32([2, 3])[:, None, None], (1, 2, 2, 3)))


def test_examples(plain):
    import stnkit.nn

    found = doctest.testmod(stnkit.nn)
    assert found.attempted > 5
    assert found.failed == 0


def test_every_transform_is_tried(plain):
    from stnkit.transforms import IDENTITIES

    assert set(SHAPES) == set(IDENTITIES)
