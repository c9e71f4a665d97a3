"""`stnkit.jax.scipy.map_coordinates` is `jax.scipy.ndimage.map_coordinates`, and the layer is `affine_sample`."""

import doctest
import importlib
import inspect

import indices
import jax
import jax.numpy as jnp
import jax.scipy.ndimage
import numpy as np
import pytest
from cases import FUNCTIONS
from jax.test_util import check_grads

from stnkit.jax import _compat

SIZES = {1: (7,), 2: (5, 7), 3: (3, 5, 4)}


@pytest.fixture(autouse=True)
def _precise():
    with _compat.enable_x64(), jax.numpy_rank_promotion("raise"):
        yield


def draw(ndim, shape):
    """Draw an array, and coordinates that reach one length beyond it, halves among them."""
    random = np.random.default_rng(ndim)
    where = [random.integers(-2 * n, 4 * n, shape) / 2 + random.choice([0, 0.3], shape) for n in SIZES[ndim]]
    return jnp.asarray(random.normal(size=SIZES[ndim])), [jnp.asarray(axis) for axis in where]


@pytest.mark.parametrize("mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_values_are_those_of_jax(ndim, order, mode, plain):
    from stnkit.jax.scipy import map_coordinates

    image, where = draw(ndim, (4, 5))
    mine = map_coordinates(image, where, order, mode, 0.25)
    expected = jax.scipy.ndimage.map_coordinates(image, where, order, mode, 0.25)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-13)


def test_gradients_are_those_of_jax(plain):
    from stnkit.jax.scipy import map_coordinates

    image, where = draw(2, (6,))
    where = [jnp.floor(axis) + 0.3 for axis in where]  # apart from knots
    mine, expected = (
        jax.grad(lambda image, where, f=f: (f(image, where, 1) ** 2).sum(), (0, 1))(image, where)
        for f in (map_coordinates, jax.scipy.ndimage.map_coordinates)
    )
    for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("ndim", "mode"), [(1, "bicubic"), (2, "nearest"), (2, "bicubic"), (3, "bilinear")])
def test_indices_are_read_as_grids_are(ndim, mode, plain):
    """Where kernels are callbacks, indices become grids; but for roundings of XLA, which contracts sums of products."""
    from stnkit.jax.samplers import sample_at

    indices.check(plain.grid_sample, sample_at, ndim, mode, np.float64, rounding=1e-13)


def test_what_is_not_done_here_is_left_to_jax(plain):
    from stnkit.jax.scipy import map_coordinates

    image, where = draw(2, (6,))
    whole = (image * 100).astype(int)
    for arguments in (
        (whole, where, 1),
        (image, [axis.astype(int) for axis in where], 1),
        (image[..., None, None], where + where, 1),
    ):
        np.testing.assert_array_equal(map_coordinates(*arguments), jax.scipy.ndimage.map_coordinates(*arguments))
    with pytest.raises(NotImplementedError, match="mode"):
        map_coordinates(image, where, 1, "extend")
    with pytest.raises(ValueError, match="length"):
        map_coordinates(image, where[:1], 1)


def test_the_layer_is_a_pytree_and_says_what_it_wants(plain):
    import stnkit
    from stnkit.jax.nn import SpatialTransformer

    images, theta = jnp.ones((2, 1, 3, 4)), jnp.array([[1.0, 0, 0.2, 0, 1, 0]] * 2)
    layer = SpatialTransformer(jax.tree_util.Partial(lambda theta, images: theta, theta), size=(2, 2), mode="nearest")
    assert jax.tree.leaves(layer)[0] is theta
    expected = stnkit.affine_sample(images, theta.reshape(2, 2, 3), (2, 2), mode="nearest")
    np.testing.assert_array_equal(jax.jit(lambda layer, images: layer(images))(layer, images), expected)
    with pytest.raises(ValueError, match=r"must have 2 \(1-D\) or 6 \(2-D\) or 12 \(3-D\) numbers"):
        SpatialTransformer(lambda images: theta[:, :5])(images)


def test_transformers_in_series_in_parallel_and_on_feature_maps(plain):
    """bicubic and wrap have no knot that a difference quotient could meet."""
    from stnkit.jax.nn import SpatialTransformer, spatial_transform

    keys = jax.random.split(jax.random.key(0), 4)
    mix, look, turn, image = (
        jax.random.normal(key, shape, jnp.float64)
        for key, shape in zip(keys, ((3, 2), (36, 3), (12, 1), (2, 2, 3, 4)), strict=True)
    )
    smooth = {"mode": "bicubic", "padding_mode": "wrap"}

    def network(weights, image):
        mix, look, turn = weights
        features = jnp.tanh(jnp.einsum("ij,nj...->ni...", mix, image))
        attend = jnp.array([[0.8, 0.1, 0.0]]) + 0.1 * features.reshape(2, -1) @ look
        first = SpatialTransformer(lambda features: attend, (2, 2), transform="attention", **smooth)(features)
        second = spatial_transform(first, first.reshape(2, -1) @ turn, "rotation", **smooth)
        beside = spatial_transform(features, jnp.ones((1, 1)), "rotation", (2, 2), **smooth)
        return jnp.concatenate([second, beside], axis=1)

    assert network((mix, look, turn), image).shape == (2, 6, 2, 2)
    check_grads(network, ((mix, look, turn), image), order=1, modes=["fwd", "rev"])
    with pytest.raises(ValueError, match="`transform` must be one of 'affine'"):
        spatial_transform(image, turn, "shear")


def test_transformers_of_maps_that_are_not_affine(plain):
    """The numbers of the samplers, in programs and out of them; control points are part of what a layer is."""
    from stnkit.jax.nn import SpatialTransformer, spatial_transform
    from stnkit.transforms import control_lattice, identity_parameters

    image = np.random.default_rng(0).standard_normal((2, 2, 4, 5))
    points = control_lattice((2, 3))
    options = {"padding_mode": "border", "antialias": 2}
    for transform, own in (
        ("projective", {}),
        ("thin_plate_spline", {}),
        ("thin_plate_spline", {"control_points": points}),
        ("thin_plate_spline", {"control_points": jnp.asarray(points)}),
    ):
        parameters = np.array([identity_parameters(transform, **own)] * 2, float)
        parameters += np.random.default_rng(1).uniform(-0.1, 0.1, parameters.shape)
        theta = np.append(parameters, np.ones((2, 1)), axis=1).reshape(2, 3, 3) if transform == "projective" else None
        theta = parameters.reshape(2, -1, 2) if theta is None else theta
        fixed = {"control_points": control_lattice((4, 4))} | own if transform == "thin_plate_spline" else {}
        expected = getattr(plain, f"{transform}_sample")(image, theta, **fixed, size=(3, 3), **options)
        layer = SpatialTransformer(
            jax.tree_util.Partial(lambda p, images: p, jnp.asarray(parameters)),
            (3, 3),
            transform=transform,
            **own,
            **options,
        )
        assert len(jax.tree.leaves(layer)) == 1
        for out in (
            layer(image),
            jax.jit(lambda layer, images: layer(images))(layer, image),
            spatial_transform(image, parameters, transform, (3, 3), **own, **options),
        ):
            assert isinstance(out, jax.Array)
            np.testing.assert_allclose(out, expected, rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match="`control_points` are those of 'thin_plate_spline'"):
        spatial_transform(image, jnp.ones((2, 6)), control_points=points)
    with pytest.raises(ValueError, match="must have 12"):
        SpatialTransformer(lambda images: jnp.ones((2, 32)), transform="thin_plate_spline", control_points=points)(
            image
        )


@pytest.mark.parametrize("room", ["scipy", "nn"])
def test_examples(room, plain):
    with _compat.enable_x64(False):  # as users have it
        found = doctest.testmod(importlib.import_module(f"stnkit.jax.{room}"))
    assert found.attempted > 2
    assert found.failed == 0


def test_the_door_has_every_public_function_with_its_signature():
    import stnkit
    import stnkit.jax

    for name in FUNCTIONS:
        assert inspect.signature(getattr(stnkit.jax, name)) == inspect.signature(getattr(stnkit, name))
