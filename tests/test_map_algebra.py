"""Maps as matrices, in NumPy, torch and JAX: composed, inverted, differentiated."""

import doctest
import functools
import os
import subprocess
import sys

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from covering import every_two_of
from jax.test_util import check_grads

from stnkit import transforms
from stnkit.transforms import compose, identity, invert, rotation

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


@every_two_of(framework=FRAMEWORKS, dtype=["float16", "float32"], shape=SHAPES)
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
    for tiny, dtype in ((1e-30, "float32"), (1e30, "float32"), (1e-200, "float64"), (1e200, "float64")):
        scaled = identity(3, like=np.ones(1, dtype)) * np.dtype(dtype).type(tiny)
        np.testing.assert_allclose(invert(scaled)[:, :3] * tiny, np.eye(3), rtol=4 * np.finfo(dtype).eps, atol=0)
        with pytest.raises(ValueError, match="singular"):
            invert(scaled * [[1], [0], [1]])
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
        assert torch.autograd.gradcheck(function, given, check_forward_ad=True, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


def test_derivatives_of_jax():
    np.random.seed(0)  # noqa: NPY002  # from which `check_grads` draws its directions
    with jax.enable_x64(True):
        a, b = jnp.asarray(drawn((2, 3))), jnp.asarray(drawn((3, 3)))
        check_grads(jax.jit(lambda x, y: compose(invert(x), y)), (a, b), order=2, modes=("fwd", "rev"))
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
        (lambda: compose(np.eye(2, 3), np.eye(2, 4)), r"`thetas\[1\]` must have shape .*; got \(2, 4\)"),
        (
            lambda: compose(np.ones((3, 2, 3)), np.ones((5, 1, 2, 3)), np.ones((4, 2, 3))),
            r"the same batch axes, or of length 1; got \(3,\) and \(5, 1\) and \(4,\)",
        ),
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
        (lambda: compose(np.eye(2, 3), torch.eye(2, 3)), r"`thetas\[1\]` is a torch array and `thetas\[0\]` a numpy"),
        (lambda: compose(torch.eye(2, 3), np.eye(2, 3), xp=torch), r"`thetas\[1\]` is a numpy .* a torch array"),
        (lambda: compose(jnp.eye(2, 3), np.eye(2, 3)), r"`thetas\[1\]` is a numpy .* `thetas\[0\]` a JAX array"),
        (lambda: invert("theta"), "`theta` must be an array or numbers; got builtins.str"),
        (lambda: invert(None), "`theta` must be an array or numbers; got builtins.NoneType"),
        (lambda: invert(Labelled()), r"`theta` must be .* got xarray.core.Labelled; pass `theta.to_numpy\(\)`"),
        (lambda: rotation([torch.tensor(0.3)]), "`parameters` must be .*; got a sequence with a torch.Tensor in it"),
        (lambda: rotation(["0.3"]), "`parameters` must be .*; got a sequence with a builtins.str in it"),
        (lambda: rotation(np.array([object()])), "`parameters` must have dtype float32, .*; got object"),
        (lambda: invert(np.ma.array(np.eye(2, 3))), r"`theta` is a masked array.*\.filled\("),
        (lambda: invert(np.eye(2, 3, dtype=np.longdouble)), "`theta` must have dtype float32"),
        (lambda: identity(2, projective=1), "`projective` must be True or False; got 1"),
    ],
)
def test_wrong_types_are_refused(call, says):
    with pytest.raises(TypeError, match=says):
        call()


class Labelled:
    """An array of a library that labels its axes."""

    dtype, shape = np.dtype(float), (2, 3)

    def to_numpy(self):
        return np.eye(2, 3)


Labelled.__module__ = "xarray.core"


MATRIX, ROW = [[1, 0, 10], [0, 1, 5]], [2, 0, 3, -4]
WHOLE = {  # functions of numbers that are integers, and what comes
    "from_pixel": (lambda a, xp: transforms.from_pixel(a(MATRIX), (80, 100), xp=xp), [[1, 0, 0.2], [0, 1, 0.125]]),
    "from_pixel of a projective map": (
        lambda a, xp: transforms.from_pixel(a([*MATRIX, [0, 0, 2]]), (80, 100), xp=xp),
        [[1, 0, -0.79], [0, 1, -0.8625], [0, 0, 2]],  # x 50 (u + 1) - 1/2 + 10 over 2, in units of 50 from the centre
    ),
    "to_pixel": (
        lambda a, xp: transforms.to_pixel(a([[1, 0, 1], [0, 1, 0]]), (80, 100), xp=xp),
        [[1, 0, 50], [0, 1, 0]],
    ),
    "affine_from_torchvision": (
        lambda a, xp: transforms.affine_from_torchvision(a([0, 10, 0, 2, 0, 0]), (40, 80), xp=xp),
        [[0.5, 0, -0.125], [0, 0.5, 0]],
    ),
    "invert": (lambda a, xp: invert(a([[2, 0, 1], [0, 4, 2]]), xp=xp), [[0.5, 0, -0.5], [0, 0.25, -0.5]]),
    "compose": (lambda a, xp: compose(a(MATRIX), a([[1, 0, 1], [0, 3, 0]]), xp=xp), [[1, 0, 11], [0, 3, 5]]),
    "identity": (lambda a, xp: identity(2, like=a(MATRIX), xp=xp), [[1, 0, 0], [0, 1, 0]]),
    "affine": (lambda a, xp: transforms.affine_from_parameters(a([*MATRIX[0], *MATRIX[1]]), xp=xp), MATRIX),
    "attention": (lambda a, xp: transforms.attention(a([2, 3, -4]), xp=xp), [[2, 0, 3], [0, 2, -4]]),
    "similarity": (lambda a, xp: transforms.similarity(a(ROW), xp=xp), [[2, 0, 3], [0, 2, -4]]),
    "similarity in 3-D": (
        lambda a, xp: transforms.similarity(a([2, 0, 0, 0, 3, -4, 5]), xp=xp),
        [[2, 0, 0, 3], [0, 2, 0, -4], [0, 0, 2, 5]],
    ),
    "rotation": (lambda a, xp: rotation(a([0]), xp=xp), [[1, 0, 0], [0, 1, 0]]),
    "projective": (
        lambda a, xp: transforms.projective_from_parameters(a([*MATRIX[0], *MATRIX[1], 0, 0]), xp=xp),
        [*MATRIX, [0, 0, 1]],
    ),
    "spline": (
        lambda a, xp: transforms.thin_plate_spline_from_parameters(a(ROW), a([[0, 0], [1, 1]]), xp=xp),
        [[2, 0], [3, -4]],
    ),
}
NUMBERS = {  # how they come, with the namespace and the dtype of what is made of them
    "numpy": (np.array, np, "float64"),
    "numpy.int8": (functools.partial(np.array, dtype="int8"), np, "float64"),
    "numpy, big-endian integers": (functools.partial(np.array, dtype=">i4"), np, "float64"),
    "numpy, big-endian": (functools.partial(np.array, dtype=">f4"), np, "float32"),
    "numpy.matrix": (
        lambda rows: np.array(rows).view(np.matrix) if np.ndim(rows) == 2 else np.array(rows),
        np,
        "float64",
    ),
    "list": (lambda rows: rows, np, "float64"),
    "tuple": (lambda rows: tuple(map(tuple, rows)) if np.ndim(rows) == 2 else tuple(rows), np, "float64"),
    "torch": (torch.tensor, torch, "float32"),
    "torch.int16": (functools.partial(torch.tensor, dtype=torch.int16), torch, "float32"),
    "jax": (jnp.array, jnp, "float32"),
    "array_api_strict": (array_api_strict.asarray, array_api_strict, "float64"),
}


@pytest.mark.parametrize("given", [False, True], ids=["", "xp"])
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", WHOLE)
def test_integers_and_numbers_become_floating_point(name, kind, given):
    make, xp, dtype = NUMBERS[kind]
    call, expected = WHOLE[name]
    result = call(make, xp if given else None)
    assert type(result) is type(xp.asarray(0.0) if xp is not np else np.empty(0))
    assert str(result.dtype).rpartition(".")[-1] == dtype
    assert result.shape == np.shape(expected)
    if xp is np:
        assert result.dtype.isnative
    # entries are sums of at most 4 products below 100, rounded once each
    np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=8 * 100 * np.finfo(dtype).eps)


def test_the_default_floating_point_is_the_frameworks():
    torch.set_default_dtype(torch.float64)
    try:
        assert invert(torch.tensor(MATRIX)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with jax.enable_x64(True):
        assert invert(jnp.array(MATRIX)).dtype == np.float64


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "array_api_strict"])
@pytest.mark.parametrize("order", [1, -1])
def test_integers_beside_floats(framework, order):
    """They keep the digits that the floats have: 2^24 + 1 is no float32."""
    from_numpy = FRAMEWORKS.get(framework, array_api_strict.asarray)
    with jax.enable_x64(True):
        move, half = from_numpy(np.array([[1, 2**24 + 1]])), from_numpy(np.array([[0.5, 0.0]]))
        result = compose(*(move, half)[::order])
        expected = [[0.5, 2**24 + 1 if order == 1 else 2**23 + 0.5]]
        np.testing.assert_array_equal(np.asarray(result), expected)
        beside = compose(*([[1, 2**24 + 1]], half)[::order])  # a list joins
        assert type(beside) is type(half)
        np.testing.assert_array_equal(np.asarray(beside), expected)


def test_booleans_and_half_precision_beside_integers():
    np.testing.assert_array_equal(invert(np.eye(2, 3, dtype=bool)), np.eye(2, 3))
    assert compose(torch.eye(2, 3).half(), torch.tensor(MATRIX)).dtype == torch.float32
    assert compose(torch.eye(2, 3).bfloat16(), torch.eye(2, 3).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["numpy", "list", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("name", WHOLE)
def test_complex_numbers_are_refused(name, kind):
    make, _, _ = NUMBERS[kind]

    def imaginary(rows):
        return make((np.array(rows) * 1j).tolist())

    with pytest.raises(TypeError, match=r"` must have dtype float32, .*; got complex(64|128)"):
        WHOLE[name][0](imaginary, None)


def test_integers_are_converted_where_frameworks_trace():
    theta = np.array([MATRIX])
    expected = transforms.from_pixel(theta, (80, 100)).astype("float32")
    eps = 8 * 100 * np.finfo("float32").eps
    for function in (jax.jit, jax.vmap):
        np.testing.assert_allclose(function(lambda x: transforms.from_pixel(x, (80, 100)))(theta), expected, atol=eps)
    given = torch.from_numpy(theta)
    np.testing.assert_allclose(torch.vmap(lambda x: transforms.from_pixel(x, (80, 100)))(given), expected, atol=eps)

    def function(x):
        turn = rotation(x[:, 0, 1:2], xp=torch)
        return transforms.from_pixel(x, (80, 100), xp=torch), turn, invert(x, xp=torch)

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    for mine, eager in zip(compiled(given), function(given), strict=True):
        torch.testing.assert_close(mine, eager, rtol=0, atol=0)


def test_maps_that_are_sharded_over_devices():
    """The matrices that they are composed with lie wherever JAX puts them."""
    script = """
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from stnkit import transforms
theta = np.tile(np.array([[1, 0, 10], [0, 1, 5]], "float32"), (2, 1, 1))
for kind in (AxisType.Explicit, AxisType.Auto):
    sharding = NamedSharding(jax.make_mesh((2,), ("d",), axis_types=(kind,)), PartitionSpec("d"))
    maps = jax.device_put(theta, sharding)
    for function in (
        lambda x: transforms.from_pixel(x, (80, 100)),
        lambda x: transforms.to_pixel(x, (80, 100)),
        lambda x: transforms.compose([[1, 0, 1], [0, 1, 0]], x, transforms.identity(2, like=x)),
    ):
        result = function(maps)
        assert result.sharding.is_equivalent_to(sharding, 3), result.sharding
        np.testing.assert_array_equal(np.asarray(result), np.asarray(function(jax.numpy.asarray(theta))))
"""
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | devices)


def test_identity_parameters_of_control_points():
    for points in (
        [[0, 1], [1, 1], [0, 0]],
        np.array([[0, 1], [1, 1], [0, 0]]),
        torch.tensor([[0, 1], [1, 1], [0, 0]]),
    ):
        numbers = transforms.identity_parameters("thin_plate_spline", control_points=points)
        assert numbers == (0.0, 1.0, 1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["identity", "compose", "invert", "to_pixel", "from_pixel", "affine_from_torchvision"])
def test_examples(name):
    tests = doctest.DocTestFinder().find(getattr(transforms, name), name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 1
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
