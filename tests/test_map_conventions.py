"""Theta in other libraries' units: each library, given the converted map, reads where stnkit reads."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.ndimage
import torch
from onnx import TensorProto, helper

from stnkit.transforms import affine_from_torchvision, compose, from_pixel, identity, invert, rotation, to_pixel

SIZE, OUT = (14, 17), (12, 9)
CONVENTIONS = ["opencv", "scipy", "torchvision"]
EPS = np.finfo(float).eps


def inner(shape, seed=0):
    """Draw a map that reads inside the image: no row's magnitudes add up to more than 0.8."""
    theta = np.random.default_rng(seed).uniform(-1, 1, shape)
    theta[:2] *= 0.8 / np.abs(theta[:2]).sum(axis=1, keepdims=True)
    if len(theta) == 3:
        theta[2] = [0.1, -0.1, 1.0]  # at most 1.2 and at least 0.8
        theta[:2] *= 0.8
    return theta


def ramps(size=SIZE):
    """Return x and y in pixels as two channels, last: interpolated, they tell where an image is read."""
    y, x = np.mgrid[: size[0], : size[1]].astype("float32")
    return np.ascontiguousarray(np.stack([x, y], axis=-1))


def read(theta, align):
    """Return where a map reads, by formula, in pixels."""
    rows, columns = (np.linspace(-1, 1, n) * (1 if align else (n - 1) / n) for n in OUT)
    v, u = np.meshgrid(rows, columns, indexing="ij")
    x, y, w = (np.vstack([theta, [0, 0, 1]])[:3] @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1)).reshape(3, *OUT)
    n = np.array(SIZE[::-1])
    uv = np.stack([x, y], axis=-1) / w[..., None]
    return (uv + 1) / 2 * (n - 1) if align else ((uv + 1) * n - 1) / 2


# OpenCV may round a coordinate to 1/32 pixel, and so err by 1/64; before that `warpAffine` rounds the part from the row
# and the part from the column to 1/1024 each. A pixel is one unit of the ramps, whose float32 arithmetic ends below 32.
OPENCV = 1 / 64 + 1 / 1024 + 32 * 4 * np.finfo("float32").eps


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("flags", [cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.INTER_LINEAR])
@pytest.mark.parametrize("shape", [(2, 3), (3, 3)])
def test_opencv(shape, flags, align):
    theta = inner(shape)
    matrix = to_pixel(theta, SIZE, OUT, align_corners=align)
    if not flags & cv2.WARP_INVERSE_MAP:
        matrix = invert(matrix)
    warp = cv2.warpAffine if shape == (2, 3) else cv2.warpPerspective
    theirs = warp(ramps(), matrix, OUT[::-1], flags=flags)
    np.testing.assert_allclose(theirs, read(theta, align), rtol=0, atol=OPENCV)


def test_a_rotation_of_opencv_is_sampled(plain):
    """`getRotationMatrix2D` gives a map from input to output."""
    matrix = cv2.getRotationMatrix2D((9.0, 6.0), 20.0, 1.5)
    theirs = cv2.warpAffine(ramps(), matrix, OUT[::-1], flags=cv2.INTER_LINEAR)
    ours = plain.affine_sample(ramps(), from_pixel(invert(matrix), SIZE, OUT), OUT, data_format="channels_last")
    inside = (theirs > 1) & (theirs < np.array(SIZE[::-1]) - 2)
    inside = inside.all(axis=-1)
    assert inside.sum() > 50
    np.testing.assert_allclose(theirs[inside], ours[inside], rtol=0, atol=OPENCV)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_scipy(axes, align, plain):
    rng = np.random.default_rng(axes)
    size, out_size = (5, 6, 4)[:axes], (4, 3, 5)[:axes]
    image = rng.standard_normal(size)
    theta = np.eye(axes, axes + 1) + rng.uniform(-0.3, 0.3, (axes, axes + 1))
    matrix = to_pixel(theta, size, out_size, convention="scipy", align_corners=align)
    expected = plain.affine_sample(image[None], theta, out_size, align_corners=align)[0]
    for given in ((matrix,), (matrix[:, :axes], matrix[:, axes])):  # the offset in the matrix, or beside it
        theirs = scipy.ndimage.affine_transform(image, *given, output_shape=out_size, order=1, mode="grid-constant")
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (3, 4, 5)])
def test_onnx_takes_theta_as_it_is(size, align, plain):
    axes = len(size)
    node = helper.make_node("AffineGrid", ["theta", "size"], ["grid"], align_corners=int(align))
    theta = helper.make_tensor_value_info("theta", TensorProto.FLOAT, [2, axes, axes + 1])
    shape = helper.make_tensor_value_info("size", TensorProto.INT64, [axes + 2])
    grid = helper.make_tensor_value_info("grid", TensorProto.FLOAT, [2, *size, axes])
    graph = helper.make_graph([node], "grids", [theta, shape], [grid])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    maps = np.random.default_rng(0).uniform(-1, 1, (2, axes, axes + 1)).astype("float32")
    (theirs,) = session.run(None, {"theta": maps, "size": np.array([2, 1, *size])})
    e = np.finfo("float32").eps  # sums of at most 4 products below 1
    np.testing.assert_allclose(plain.affine_grid(maps, size, align_corners=align), theirs, rtol=0, atol=16 * e)


def torchvision_matrix(angle, translate, scale, shear, center):
    """Return torchvision's map from output to input, in pixels from the image's centre, as it documents it.

    It is the inverse of T C R(angle) S(scale) SHy(shear y) SHx(shear x) C^-1.
    """

    def moved(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    a, sx, sy = np.radians([angle, *shear])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    leans = np.array([[1, 0, 0], [-np.tan(sy), 1, 0], [0, 0, 1]]) @ np.array(
        [[1, -np.tan(sx), 0], [0, 1, 0], [0, 0, 1]]
    )
    forward = moved(*translate) @ moved(*center) @ turn @ np.diag([scale, scale, 1]) @ leans @ moved(*-np.array(center))
    return np.linalg.inv(forward)[:2]


@pytest.mark.parametrize("center", [None, (3.0, 11.0)])
def test_torchvision(center):
    rng = np.random.default_rng(0)
    offset = (0.0, 0.0) if center is None else (center[0] - SIZE[1] / 2, center[1] - SIZE[0] / 2)
    rows = rng.uniform([-180, -8, -8, 0.5, -40, -40], [180, 8, 8, 2, 40, 40], (20, 6))
    theta = affine_from_torchvision(rows, SIZE, center=center)
    for row, ours in zip(rows, to_pixel(theta, SIZE, convention="torchvision"), strict=True):
        expected = torchvision_matrix(row[0], row[1:3], row[3], row[4:], offset)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_derivatives_of_torchvisions_numbers():
    rows = torch.tensor([[30.0, 1, -2, 1.5, 10, -20], [0, 0, 0, 1, 0, 0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: affine_from_torchvision(p, SIZE, center=(1, 2)), rows)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("projective", [False, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_there_and_back(axes, projective, convention, align):
    rng = np.random.default_rng(axes)
    theta = rng.uniform(-1, 1, (2, axes + projective, axes + 1))
    sizes = (5, 6, 4)[:axes], (3, 2, 7)[:axes]
    options = {"convention": convention, "align_corners": align}
    there = to_pixel(theta, *sizes, **options)
    np.testing.assert_allclose(from_pixel(there, *sizes, **options), theta, rtol=0, atol=256 * EPS)
    assert there.astype("float32").dtype == to_pixel(theta.astype("float32"), *sizes, **options).dtype
    same = to_pixel(identity(axes), sizes[0], **options)
    np.testing.assert_allclose(same, np.eye(axes, axes + 1), rtol=0, atol=16 * EPS)


def test_conventions_differ_by_the_origin_and_the_order():
    theta = inner((2, 3))
    pixel, turned, centred = (to_pixel(theta, SIZE, OUT, convention=name) for name in CONVENTIONS)
    np.testing.assert_array_equal(turned[:, :2], pixel[::-1, 1::-1])
    np.testing.assert_array_equal(turned[:, 2], pixel[::-1, 2])
    to, back = np.eye(2, 3), np.eye(2, 3)
    to[:, 2], back[:, 2] = (1 - np.array(SIZE[::-1])) / 2, (np.array(OUT[::-1]) - 1) / 2
    np.testing.assert_allclose(centred, compose(to, pixel, back), rtol=0, atol=64 * EPS)


def test_a_rotation_in_pixels_does_not_shear():
    theta = from_pixel(rotation(np.array([0.3])), (40, 80), convention="torchvision")
    linear = np.diag([80, 40]) @ theta[:, :2] @ np.diag([1 / 80, 1 / 40])
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), rtol=0, atol=4 * EPS)


def test_an_axis_of_one_pixel(plain):
    """With align_corners it has no length: all of it is pixel 0 going there, and nothing can be said coming back."""
    theta = np.array([[0.5, 0.2, 0.1], [0.3, 0.4, -0.2]])
    matrix = to_pixel(theta, (1, 5), (4, 1), align_corners=True)
    np.testing.assert_allclose(matrix, [[0, 0.4 / 1.5, 2 * (1.1 - 0.2)], [0, 0, 0]], rtol=0, atol=8 * EPS)
    with pytest.raises(ValueError, match=r"an axis of one pixel has no length .* got an image of \(1, 5\)"):
        from_pixel(matrix, (1, 5), (4, 1), align_corners=True)
    image = np.arange(20.0).reshape(1, 4, 5)
    steady = from_pixel(np.array([[0, 0, 1.5], [0, 0, 2]]), (4, 5), (1, 1), align_corners=True)
    np.testing.assert_allclose(plain.affine_sample(image, steady, (1, 1), align_corners=True), [[[11.5]]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: to_pixel(np.eye(2, 3), (4, 5), convention="pil"), "'opencv', 'scipy', 'torchvision'; got 'pil'"),
        (lambda: to_pixel(np.eye(2, 3), (4, 5, 6)), "`size` must be 2 integers"),
        (lambda: to_pixel(np.eye(2, 3), (4, 0)), r"`size` must be at least 1 .* got \(4, 0\)"),
        (lambda: to_pixel(np.eye(2, 3), (4, 5), (0, 5)), r"`out_size` must be at least 1 .* got \(0, 5\)"),
        (lambda: to_pixel(np.eye(2, 3), (4, 5), (5,)), r"`out_size` must be 2 integers"),
        (lambda: from_pixel(np.eye(2), (4, 5)), "`size` must be 1 integers"),
        (
            lambda: affine_from_torchvision(np.ones(6), (4, 5), center=(1, 2, 3)),
            "`center` must be two numbers, x and y",
        ),
        (lambda: affine_from_torchvision(np.ones(6), (4, 5), center="a"), "`center` must be two numbers, x and y"),
        (lambda: affine_from_torchvision(np.ones(5), (4, 5)), r"`parameters` must have shape \(..., 6\); got \(5,\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
