"""Parameterisations of theta: their matrices, their identities, and their derivatives in a framework."""

import doctest

import array_api_compat
import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation

from stnkit import transforms
from stnkit.transforms import IDENTITIES, TRANSFORMS
from stnkit.transforms.for_layers import reader

KINDS = [(name, axes) for name, known in IDENTITIES.items() for axes in known]


def drawn(name, axes, batch=(5,), dtype="float64"):
    count = len(IDENTITIES[name][axes])
    return np.random.default_rng(axes).uniform(-2, 2, (*batch, count)).astype(dtype)


def identity(name, axes):
    """Return the theta that leaves an image as it is."""
    if name == "thin_plate_spline":
        return transforms.control_lattice((4,) * axes)
    return np.eye(axes + (name == "projective"), axes + 1)


@pytest.mark.parametrize(("name", "axes"), KINDS)
def test_identity(name, axes):
    theta = TRANSFORMS[name](np.array(transforms.identity_parameters(name, axes), float))
    np.testing.assert_array_equal(theta, identity(name, axes))


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize(("name", "axes"), KINDS)
@pytest.mark.parametrize("batch", [(), (4,), (0,), (2, 3)])
def test_shape_dtype_and_framework(name, axes, batch, framework):
    given = drawn(name, axes, batch, "float32")
    parameters = given if framework == "numpy" else torch.from_numpy(given)
    theta = TRANSFORMS[name](parameters)
    assert type(theta) is type(parameters)
    assert theta.dtype == parameters.dtype
    assert tuple(theta.shape) == (*batch, *identity(name, axes).shape)
    e = np.finfo("float32").eps  # entries are at most 4, of a few products
    np.testing.assert_allclose(theta, TRANSFORMS[name](given.astype(float)), rtol=0, atol=32 * e)


def test_affine_is_a_reshape():
    parameters = np.arange(12.0)
    np.testing.assert_array_equal(transforms.affine_from_parameters(parameters), parameters.reshape(3, 4))


def test_a_projective_map_is_a_reshape_and_ends_in_one():
    entries = np.arange(8.0) + 2
    np.testing.assert_array_equal(transforms.projective_from_parameters(entries), [[2, 3, 4], [5, 6, 7], [8, 9, 1]])


def test_a_spline_is_a_reshape_to_its_control_points():
    parameters = np.arange(12.0)
    theta = transforms.thin_plate_spline_from_parameters(parameters, transforms.control_lattice((2, 3)))
    np.testing.assert_array_equal(theta, parameters.reshape(6, 2))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_attention_reads_a_window(axes):
    """The corners of the output, -1 and 1, read the corners of the window."""
    scale, *centre = parameters = drawn("attention", axes, ())
    theta = transforms.attention(parameters)
    for corner in (-1.0, 1.0):
        np.testing.assert_allclose(theta @ [*[corner] * axes, 1.0], centre + scale * corner, atol=1e-15)


def test_rotation_is_the_exponential_of_its_cross_product():
    """On two and on three axes, for angles on both sides of the series' end."""
    for length in (0.0, 1e-30, 1e-9, 1e-3, 0.1249, 0.1251, 0.2499, 0.2501, 1.0, 3.0, 50.0):
        vector = np.array([2.0, -3.0, 6.0]) / 7 * length
        theta = transforms.rotation(vector)
        e = 8 * np.finfo(float).eps * max(1.0, length)
        np.testing.assert_allclose(theta[:, :3], Rotation.from_rotvec(vector).as_matrix(), rtol=0, atol=e)
        flat = transforms.rotation(np.array([length]))
        np.testing.assert_allclose(flat[:, :2], scipy.linalg.expm(length * np.array([[0, -1], [1, 0]])), atol=16 * e)


def test_rotation_about_z_is_the_rotation_of_the_plane():
    angle = np.array([0.7])
    volume = transforms.rotation(np.array([0.0, 0.0, 0.7]))
    np.testing.assert_allclose(volume[:2, :2], transforms.rotation(angle)[:, :2], atol=1e-15)


@pytest.mark.parametrize("axes", [2, 3])
def test_similarity_is_scale_rotation_and_translation(axes):
    parameters = drawn("similarity", axes)
    scale, angles, shift = parameters[:, 0, None, None], parameters[:, 1:-axes], parameters[:, -axes:]
    theta = transforms.similarity(parameters)
    np.testing.assert_allclose(theta[..., :-1], scale * transforms.rotation(angles)[..., :-1], atol=1e-15)
    np.testing.assert_array_equal(theta[..., -1], shift)


def test_a_positive_angle_turns_what_is_seen_counter_clockwise(plain):
    image = np.arange(9.0).reshape(1, 3, 3)
    turned = plain.affine_sample(image, transforms.rotation(np.array([np.pi / 2])))
    np.testing.assert_allclose(turned, np.rot90(image, 1, axes=(1, 2)), atol=1e-12)


# torch's forward mode loads some of its own rules by torch.jit.script, which it deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize(("name", "axes"), KINDS)
def test_derivatives_of_torch(name, axes):
    """Of first and second order, in both modes; a rotation's about zero too, where the angle has a kink."""
    rows = np.stack([*drawn(name, axes, (3,)), np.array(IDENTITIES[name][axes], float)])
    parameters = torch.tensor(rows, requires_grad=True)
    assert torch.autograd.gradcheck(TRANSFORMS[name], (parameters,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(TRANSFORMS[name], (parameters,))


def test_second_derivative_of_a_rotation_at_zero():
    """About zero R = I + K + K K / 2 + ..., so that the second derivatives are those of K K / 2."""
    (hessian,) = torch.autograd.functional.hessian(
        lambda r: transforms.rotation(r)[0, 1] + 3 * transforms.rotation(r)[2, 2],
        (torch.zeros(3, dtype=torch.float64),),
    )
    expected = [[-3.0, 0.5, 0.0], [0.5, -3.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(hessian[0], expected, atol=1e-15)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_wrong_number_of_parameters_is_refused(name):
    for shape in ((), (5,), (2, 13)):
        with pytest.raises(ValueError, match=rf"`parameters` of '{name}' must have .* got shape"):
            TRANSFORMS[name](np.zeros(shape))


def test_unknown_identities_are_refused():
    with pytest.raises(ValueError, match=r"`transform` must be one of 'affine', .* got 'shear'"):
        transforms.identity_parameters("shear")
    with pytest.raises(ValueError, match="`transform` must be one of 'affine'"):
        transforms.axes_of("shear", (2,))
    with pytest.raises(TypeError, match="`shape` must be a tuple of integers, as arrays have it; got 6"):
        transforms.axes_of("affine", 6)
    with pytest.raises(ValueError, match="`axes` must be one of 2, 3 for 'rotation'; got 1"):
        transforms.identity_parameters("rotation", 1)


def test_control_points_are_those_of_splines():
    points = transforms.control_lattice((2, 3))
    assert transforms.identity_parameters("thin_plate_spline", control_points=points) == tuple(points.ravel())
    refused = "`control_points` are those of 'thin_plate_spline'; got some beside 'affine'"
    with pytest.raises(ValueError, match=refused):
        transforms.identity_parameters("affine", control_points=points)
    with pytest.raises(ValueError, match=refused):
        reader("affine", points)
    with pytest.raises(ValueError, match="`control_points` are collinear"):
        reader("thin_plate_spline", np.arange(6.0)[:, None] * [1.0, 2.0])
    with pytest.raises(ValueError, match=r"must have 12 \(2-D\) numbers along the last axis; got shape \(32,\)"):
        transforms.thin_plate_spline_from_parameters(np.zeros(32), points)


def test_the_namespace_may_be_given():
    parameters = torch.ones(2, 3)
    assert torch.equal(transforms.attention(parameters, xp=torch), transforms.attention(parameters))
    assert array_api_compat.array_namespace(parameters) is not torch


@pytest.mark.parametrize("name", ["identity_parameters", *(function.__name__ for function in TRANSFORMS.values())])
def test_examples(name):
    function = getattr(transforms, name)
    tests = doctest.DocTestFinder().find(function, name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 1
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_every_identity_leaves_an_image_as_it_is(plain):
    image = np.random.default_rng(0).random((1, 2, 4, 5))
    from stnkit.transforms.for_layers import reader

    for name, known in IDENTITIES.items():
        how, parameters = reader(name), np.array([known[2]], float)
        out = how.sample(image, how.theta(parameters, np))
        np.testing.assert_allclose(out, image, rtol=0, atol=1e-11 if name == "thin_plate_spline" else 1e-15)
