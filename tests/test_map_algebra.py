"""Maps as matrices, in NumPy, torch and JAX: composed, inverted, differentiated."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

from stnkit import transforms
from stnkit.transforms import compose, identity, invert

SHAPES = [(axes + projective, axes + 1) for axes in (1, 2, 3) for projective in (False, True)]
FRAMEWORKS = {"numpy": np.asarray, "torch": torch.from_numpy, "jax": jnp.asarray}
EPS = np.finfo(float).eps


def drawn(shape, batch=(4,), seed=0):
    """Draw maps near the identity: the square part is diagonally dominant, so its inverse is below 2 in every norm."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (*batch, *shape))
    return np.eye(*shape) + noise / (2 * shape[1])


def through(theta, points):
    """Carry points (K, d) through one map."""
    whole = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ theta.T
    d = points.shape[1]
    return whole if theta.shape[0] == d else whole[:, :d] / whole[:, d:]


@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("projective", [False, True])
def test_a_composition_takes_points_through_the_last_map_first(first, projective):
    axes = first[1] - 1
    a, b, c = drawn(first), drawn((axes + projective, axes + 1), (), 1), drawn(first, (3, 1), 2)
    both = compose(a, b, c)
    assert both.shape == (3, 4, max(first[0], axes + projective), axes + 1)
    points = np.random.default_rng(3).uniform(-0.3, 0.3, (5, axes))
    for i, j in np.ndindex(3, 4):
        expected = through(a[j], through(b, through(c[i, 0], points)))
        np.testing.assert_allclose(through(both[i, j], points), expected, rtol=0, atol=64 * EPS)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_inverse_takes_every_point_back(shape):
    theta = drawn(shape, (2, 3))
    whole = compose(theta, invert(theta))
    np.testing.assert_allclose(whole, np.broadcast_to(np.eye(*shape), whole.shape), rtol=0, atol=32 * EPS)
    assert invert(theta[:0]).shape == (0, 3, *shape)


def test_two_samplings_are_one_under_their_composition(plain):
    """Of a linear image, which interpolation reproduces, so nothing is lost by the first."""
    y, x = np.mgrid[:9.0, :11.0]
    image = np.stack([3 * x - y, 2 * y + 1])
    a, b = drawn((2, 3), (), 5) * 0.6, drawn((2, 3), (), 6) * 0.6
    twice = plain.affine_sample(plain.affine_sample(image, a), b)
    np.testing.assert_allclose(plain.affine_sample(image, compose(a, b)), twice, rtol=0, atol=64 * 30 * EPS)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_frameworks_and_dtypes(framework, dtype, shape):
    given = drawn(shape).astype(dtype)
    theta = FRAMEWORKS[framework](given)
    wide, eps = given.astype(float), np.finfo(dtype).eps
    for mine, expected in (
        (compose(theta, theta), compose(wide, wide)),  # entries below 4, of 4 products below 2
        (invert(theta), invert(wide)),  # condition below 4
        (compose(identity(shape[1] - 1, like=theta), theta), wide),
    ):
        assert type(mine) is type(theta)
        assert mine.dtype == theta.dtype
        np.testing.assert_allclose(np.asarray(mine, float), expected, rtol=0, atol=32 * eps)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_map_without_an_inverse_is_named(framework, shape):
    theta = drawn(shape).astype("float32")
    for bad, what in ((0.0, "is singular"), (np.nan, "is not finite"), (np.inf, "is not finite")):
        broken = theta.copy()
        broken[2, 0] = bad  # a row of zeros, where it is zero
        with pytest.raises(ValueError, match=f"`theta` must .* item 2 of the batch {what}"):
            invert(FRAMEWORKS[framework](broken))
    with pytest.raises(ValueError, match="this one is singular"):
        invert(FRAMEWORKS[framework](theta[0] * 0))
    with pytest.raises(ValueError, match=r"item \(1, 3\) of the batch is singular"):
        invert(FRAMEWORKS[framework](np.stack([theta, theta * [[[1.0]], [[1.0]], [[1.0]], [[0.0]]]]).astype("float32")))


def test_what_is_singular():
    """Rank is what counts, whatever the scale of rows and columns, and whatever rounding did to the entries."""
    for matrix in ([[0.1, 0.2], [0.3, 0.6]], [[1 / 3, 1 / 7], [1 / 30, 1 / 70]], [[0.1, 1e9], [1e-10, 1.0]]):
        for dtype in ("float32", "float64"):
            with pytest.raises(ValueError, match="singular"):
                invert(np.column_stack([np.array(matrix), [0, 0]]).astype(dtype))
    rows, columns = np.array([1e-9, 1e9]), np.array([1e-6, 1e7])
    regular = np.column_stack([rows[:, None] * np.array([[1, 2], [3, 4]]) * columns, [1, -1]]).astype("float32")
    with np.errstate(all="raise"):
        inverse = invert(regular)[:, :2] * rows * columns[:, None]
    np.testing.assert_allclose(inverse, [[-2, 1], [1.5, -0.5]], rtol=64 * np.finfo("float32").eps)
    perspective = np.array([[1, 0, 4000], [0, 1, 4000], [1e-6, 1e-6, 1]], "float32")
    expected = np.linalg.inv(perspective.astype(float))
    np.testing.assert_allclose(invert(perspective), expected, rtol=1e-4, atol=0)  # the entries' rounding, 4000 times


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_of_torch(shape):
    maps = [torch.tensor(drawn(shape, (2,), seed), requires_grad=True) for seed in (1, 2)]
    size, out_size = (5, 4, 3)[: shape[1] - 1], (3, 6, 2)[: shape[1] - 1]
    for function, given in (
        (compose, maps),
        (invert, maps[:1]),
        (lambda t: transforms.to_pixel(t, size, out_size, convention="scipy"), maps[:1]),
        (lambda t: transforms.from_pixel(t, size, out_size, align_corners=True), maps[:1]),
    ):
        assert torch.autograd.gradcheck(function, given, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, given)


def test_derivatives_of_jax():
    np.random.seed(0)  # noqa: NPY002  # from which `check_grads` draws its directions
    with jax.enable_x64(True):
        a, b = jnp.asarray(drawn((2, 3))), jnp.asarray(drawn((3, 3)))
        check_grads(lambda x, y: compose(invert(x), y), (a, b), order=2, modes=("fwd", "rev"))
        function = jax.jit(jax.vmap(lambda x: transforms.to_pixel(invert(x), (4, 5))))
        expected = transforms.to_pixel(invert(np.asarray(b)), (4, 5))
        np.testing.assert_allclose(function(b), expected, rtol=0, atol=64 * EPS)


def test_where_numbers_are_not_known_the_framework_decides():
    zero = np.zeros((1, 2, 3), "float32")
    assert not np.isfinite(jax.jit(invert)(zero)).any()
    assert not np.isfinite(jax.vmap(invert)(jnp.asarray(zero))).any()
    with pytest.raises(ValueError, match="item 0 of the batch is singular"):
        jax.grad(lambda x: invert(x).sum())(jnp.asarray(zero))  # which knows them
    with pytest.raises(RuntimeError, match="singular"):
        torch.vmap(invert)(torch.from_numpy(zero))


def test_under_torch_compile():
    maps = torch.from_numpy(drawn((3, 3), (2,)))

    def function(x):
        back = invert(compose(x, x, xp=torch), xp=torch)
        return transforms.to_pixel(back, (4, 6), xp=torch), identity(2, like=x, xp=torch)

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    for mine, expected in zip(compiled(maps), function(maps), strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (compose, "`compose` takes one map or more; got none"),
        (lambda: compose(np.eye(2, 3), np.eye(3, 4)), "the same number of axes; got maps on 2 and 3"),
        (lambda: compose(np.eye(2, 4)), r"`theta` must have shape .*; got \(2, 4\)"),
        (lambda: invert(np.eye(4, 5)), r"got \(4, 5\)"),
        (lambda: invert(np.ones(3)), r"got \(3,\)"),
        (lambda: identity(4), "`axes` must be 1, 2 or 3; got 4"),
    ],
)
def test_wrong_shapes_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: invert(np.eye(2, 3, dtype=int)), "`theta` must have dtype float32, .* got int64"),
        (lambda: compose(np.eye(2, 3), torch.eye(2, 3)), r"one framework; got numpy.ndarray and torch.Tensor"),
        (lambda: compose([[1.0, 0.0]]), "one framework; got builtins.list"),
        (lambda: identity(2, projective=1), "`projective` must be True or False; got 1"),
    ],
)
def test_wrong_types_are_refused(call, says):
    with pytest.raises(TypeError, match=says):
        call()


@pytest.mark.parametrize("name", ["identity", "compose", "invert", "to_pixel", "from_pixel", "affine_from_torchvision"])
def test_examples(name):
    tests = doctest.DocTestFinder().find(getattr(transforms, name), name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 1
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
