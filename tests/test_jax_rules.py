"""The rules of the JAX operations, uncompiled, in float64: every derivative, every batching, against NumPy's functions.

What is compiled is tested in `test_jax`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from stnkit.jax import _compat

SPATIAL, POINTS = (4, 3, 3), (2, 1, 1)
STEP = float(np.cbrt(np.finfo(float).eps))  # of central differences: truncation is then as small as rounding


@pytest.fixture(autouse=True)
def _precise():
    np.random.seed(0)  # noqa: NPY002  # from which `check_grads` draws its directions
    with _compat.enable_x64(), jax.numpy_rank_promotion("raise"):
        yield


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def pixels(shape, seed=1):
    """Draw pixel coordinates of an axis of three at least 0.2 away from knots; some lie at the rim."""
    random = np.random.default_rng(seed)
    return random.integers(-1, 3, shape) + random.uniform(0.2, 0.8, shape)


def projective(theta):
    """Add rows to affine maps, under which no location is far or lost."""
    row = 0.1 * draw((*theta.shape[:-2], 1, theta.shape[-1]), 10)
    row[..., -1] += 1
    return np.concatenate([theta, row], axis=-2)


def inputs(op, ndim):
    """Return the function of an operation and its differentiable arguments."""
    import stnkit

    spatial, points = SPATIAL[:ndim], POINTS[:ndim]
    image, flow = draw((1, 1, *spatial)), np.random.default_rng(2).uniform(0.2, 0.4, (1, *points, ndim))
    theta = 0.7 * np.eye(ndim, ndim + 1)[None] + 0.05 * draw((1, ndim, ndim + 1), 3)
    grid = pixels((1, *points, ndim))
    return {
        "grid_sample": (lambda x, u: stnkit.grid_sample(x, u, coords="pixel", fill_value=0.3), image, grid),
        "affine_sample": (lambda x, t: stnkit.affine_sample(x, t, points), image, theta),
        "projective_sample": (lambda x, t: stnkit.projective_sample(x, t, points), image, projective(theta)),
        "flow_sample": (lambda x, f: stnkit.flow_sample(x, f), image, flow),
        "grid_splat": (lambda v, u: stnkit.grid_splat(v, u, spatial, coords="pixel"), draw((1, 1, *points)), grid),
        "affine_grid": (lambda t: stnkit.affine_grid(t, (2,) * ndim), theta),
        "flow_grid": (lambda f: stnkit.flow_grid(f), flow),
    }[op]


OPS = ("grid_sample", "affine_sample", "projective_sample", "flow_sample", "grid_splat", "affine_grid", "flow_grid")


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("op", OPS)
def test_derivatives_of_high_order(op, ndim, plain):
    """To the third on one axis, and of `grid_sample`, of which others are made, on three; else to the second.

    Projective maps' formula has many steps, each of which would be a program of its own.
    """
    function, *arrays = inputs(op, ndim)
    arrays = tuple(map(jnp.asarray, arrays))
    np.testing.assert_array_equal(function(*arrays), function(*map(np.asarray, arrays)))
    order = 3 if ndim == 1 or (op, ndim) == ("grid_sample", 3) else 2
    if op == "projective_sample":
        function, order = jax.jit(function), 2
    check_grads(function, arrays, order=order, modes=("fwd", "rev"), eps=STEP)


@pytest.mark.parametrize(
    ("ndim", "mode", "padding"),
    [(1, "bicubic", "reflection"), (2, "bicubic", "wrap"), *((1, f"spline{n}", "border") for n in (2, 3, 4, 5)),
     (2, "spline3", "zeros"), (1, "mitchell", "wrap")],
)  # fmt: skip
def test_derivatives_of_smooth_modes(ndim, mode, padding, plain):
    """Of splines to the degree in one coordinate, beyond which they vanish; of bicubic and mitchell it is 3.

    In one coordinate each order is the difference quotient of the one before, whose third derivative is below 1000:
    truncation stays below 1000 STEP^2 / 6, and rounding, of values below 100, below 100 eps / STEP.
    """
    import stnkit

    image, grid = draw((1, 1, *SPATIAL[:ndim])), pixels((1, *POINTS[:ndim], ndim))

    def function(x, u):
        return stnkit.grid_sample(x, u, coords="pixel", mode=mode, prefilter=False, padding_mode=padding)

    order = 3 if mode == "bicubic" and ndim == 2 else 2
    check_grads(function, tuple(map(jnp.asarray, (image, grid))), order=order, modes=("fwd", "rev"), eps=STEP)
    if ndim == 1:

        def along(s):
            return function(jnp.asarray(image), s * jnp.ones((1, 1, 1))).sum()

        degree = int(mode[-1]) if mode.startswith("spline") else 3
        orders = [along]
        for _ in range(degree):
            last = jax.grad(orders[-1])
            quotient = (orders[-1](1.3 + STEP) - orders[-1](1.3 - STEP)) / (2 * STEP)
            assert float(last(1.3)) == pytest.approx(float(quotient), rel=0, abs=1e-8)
            orders.append(last)
        assert abs(float(last(1.3))) > 0.01
        assert float(last(1.3)) == pytest.approx(float(last(1.4)), rel=1e-9)  # between knots, constant
        assert float(jax.grad(last)(1.3)) == 0


def test_derivatives_of_lanczos(plain):
    """No polynomial: to the second order along one axis, and refused beyond."""
    import stnkit

    image, grid = jnp.asarray(draw((1, 1, *SPATIAL[:2]))), jnp.asarray(pixels((1, *POINTS[:2], 2)))

    def function(x, u):
        return stnkit.grid_sample(x, u, coords="pixel", mode="lanczos3", padding_mode="reflection")

    check_grads(function, (image, grid), order=2, modes=("fwd", "rev"), eps=STEP)

    def along(s):
        return function(image, grid.at[0, 0, 0, 0].add(s)).sum()

    second = jax.grad(jax.grad(along))
    with pytest.raises(NotImplementedError, match="third derivatives of `mode` 'lanczos3' along one axis are not"):
        jax.grad(second)(0.1)


SHAPES = {
    "grid_sample": ((2, 3, 4, 3), (2, 2, 2, 2)),
    "affine_sample": ((2, 3, 4, 3), (2, 2, 3)),
    "projective_sample": ((2, 3, 4, 3), (2, 2, 3)),  # and a row more
    "flow_sample": ((2, 3, 4, 3), (2, 4, 3, 2)),
    "grid_splat": ((2, 3, 2, 2), (2, 2, 2, 2)),
}


def subject(op):
    import stnkit

    function = getattr(stnkit, op)
    return (lambda v, u: function(v, u, (4, 3))) if op == "grid_splat" else function


def pair(op, n=2, m=2, stacked=((), ())):
    """Draw both arguments of an operation, of batch sizes n and m, with axes in front to map over."""
    first, second = SHAPES[op]
    u = draw((*stacked[1], m, *second[1:]), 5) * 0.4
    return draw((*stacked[0], n, *first[1:]), 4), projective(u) if op == "projective_sample" else u


@pytest.mark.parametrize(
    ("op", "n", "m"),
    [
        *((op, 2, 2) for op in SHAPES),
        *(("grid_sample", *sizes) for sizes in ((1, 2), (2, 1))),
        ("affine_sample", 2, 1),
        ("projective_sample", 2, 1),
        ("projective_sample", 1, 2),
        ("grid_splat", 1, 2),
    ],
)
def test_vmap_over_each_subset(op, n, m, plain):
    """The function and its gradients, mapped over either argument or both, once and twice, equal a loop."""
    function = subject(op)
    weights = jnp.asarray(draw(function(*pair(op, n, m)).shape, 6))

    def everything(x, u):
        out, back = jax.vjp(function, x, u)
        return out, back(weights)

    for dims in ((0, None), (None, 0), (0, 0)):
        x, u = map(jnp.asarray, pair(op, n, m, [(3,) if dim == 0 else () for dim in dims]))
        mapped = jax.vmap(everything, dims)(x, u)
        for i in range(3):
            alone = everything(*(a if dim is None else a[i] for a, dim in zip((x, u), dims, strict=True)))
            for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(mapped), strict=True):
                np.testing.assert_allclose(one, other[i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", ["affine_sample", "grid_splat"])
def test_nested_vmap(op, plain):
    function = subject(op)
    x, u = map(jnp.asarray, pair(op, stacked=((3,), (2,))))
    every = jax.vmap(jax.vmap(function, (None, 0)), (0, None))(x, u)
    last = jax.vmap(jax.vmap(function, (None, 0), -1), (0, None), -1)(x, u)
    np.testing.assert_array_equal(jnp.moveaxis(last, (-1, -2), (0, 1)), every)
    for i, j in itertools.product(range(3), range(2)):
        np.testing.assert_allclose(every[i, j], function(x[i], u[j]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("op", "n", "m"),
    [("grid_sample", 2, 2), ("grid_sample", 1, 2), ("affine_sample", 2, 1), ("projective_sample", 2, 1)],
)
def test_jacobians_and_hessian(op, n, m, plain):
    """Forward and reverse mode agree, in every combination."""
    function = subject(op)
    x, u = map(jnp.asarray, pair(op, n, m))
    x, u = x[:, :1], u[:, :1] if op == "grid_sample" else u
    for argnums in (0, 1):
        forth, back = (jax.jit(make(function, argnums))(x, u) for make in (jax.jacfwd, jax.jacrev))
        np.testing.assert_allclose(forth, back, rtol=1e-12, atol=1e-12)

    def loss(u):
        return (function(x, u) ** 2).sum()

    orders = jax.hessian(loss), jax.jacrev(jax.jacrev(loss)), jax.jacrev(jax.jacfwd(loss))
    hessian, *others = (jax.jit(order)(u) for order in orders)  # programs: one by one, each step would be another
    for other in others:
        np.testing.assert_allclose(hessian, other, rtol=1e-11, atol=1e-11)


def gradients(op, x, u, **options):
    import stnkit

    arguments = ((4, 3),) if op == "grid_splat" else ()
    out, back = jax.vjp(lambda x, u: getattr(stnkit, op)(x, u, *arguments, **options), x, u)
    return out, back


@pytest.mark.parametrize(
    ("mode", "data_format"),
    [("nearest", "channels_first"), ("bilinear", "channels_last"), ("bicubic", "channels_first")],
)
@pytest.mark.parametrize("op", SHAPES)
def test_derivatives_are_those_of_numpy(op, data_format, mode, plain):
    """`jax.grad` and the public `_vjp`, `_jvp` and `_double_vjp` give what NumPy's functions do."""
    import stnkit

    x, u = pair(op)
    options = {"mode": mode, "data_format": data_format, "padding_mode": ("border", "reflection")}
    if data_format == "channels_last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    out, back = gradients(op, jnp.asarray(x), jnp.asarray(u), **options)
    g = draw(out.shape, 7)

    def close(mine, theirs):
        return np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)

    expected = getattr(stnkit, f"{op}_vjp")(g, x, u, **options)
    for mine, theirs in zip(back(jnp.asarray(g)), expected, strict=True):
        close(mine, theirs)
    for mine, theirs in zip(
        getattr(stnkit, f"{op}_vjp")(*map(jnp.asarray, (g, x, u)), **options), expected, strict=True
    ):
        close(mine, theirs)
    if op == "grid_splat":
        return
    dots = draw(x.shape, 8), draw(u.shape, 9)
    every = [("jvp", (x, u, *dots)), ("double_vjp", (*dots, g, x, u))]
    for name, arguments in every[:1] if op == "projective_sample" else every:
        function = getattr(stnkit, f"{op}_{name}")
        for mine, theirs in zip(
            function(*map(jnp.asarray, arguments), **options), function(*arguments, **options), strict=True
        ):
            close(mine, theirs)


def test_every_public_function_takes_jax_arrays(plain):
    """Those with no sampler behind them, and unbatched arguments."""
    import stnkit

    theta, grid, flow = draw((2, 3), 1), draw((2, 3, 2), 2), draw((2, 3, 2), 3)
    image = draw((2, 4, 3), 4)
    calls = [
        ("affine_grid", (theta, (2, 3))),
        ("affine_grid_vjp", (grid,)),
        ("affine_grid_jvp", (theta, theta, (2, 3))),
        ("flow_grid", (flow,)),
        ("flow_grid_vjp", (grid,)),
        ("flow_grid_jvp", (flow, flow)),
        ("grid_count", (grid, (4, 3))),
        ("grid_gradient", (image, grid)),
        ("grid_sample", (image, grid)),
        ("affine_sample", (image, theta)),
        ("flow_sample", (image, flow)),
        ("grid_splat", (draw((2, 2, 3), 5), grid, (4, 3))),
    ]
    for name, arguments in calls:
        function = getattr(stnkit, name)
        mine = function(*(jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments))
        expected = function(*arguments)
        for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(expected), strict=True):
            assert isinstance(one, jax.Array), name
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint8", "int32"])
@pytest.mark.parametrize("op", ["grid_sample", "affine_sample", "projective_sample", "flow_sample"])
def test_formats(op, dtype, plain):
    """Values and derivatives have the dtypes, and the bits, of NumPy's functions."""
    import stnkit

    x, u = pair(op)
    whole = "int" in dtype
    x, u = (np.abs(x * 60) if whole else x).astype(jnp.dtype(dtype)), u.astype(np.float32)
    g = draw(getattr(stnkit, op)(x, u).shape).astype(np.float32 if whole else x.dtype)
    wrt = ({"grid_sample": "grid", "flow_sample": "flow"}.get(op, "theta"),)
    wrt = wrt if whole else ("image", *wrt)
    for function, arguments, options in (
        (getattr(stnkit, op), (x, u), {}),
        (getattr(stnkit, f"{op}_vjp"), (g, x, u), {"wrt": wrt}),
    ):
        mine, expected = function(*map(jnp.asarray, arguments), **options), function(*arguments, **options)
        for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(expected), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=2**-22 if one.dtype == np.float32 else 0, atol=0)


def test_missing_tangents_are_zero(plain):
    import stnkit

    x, u = map(jnp.asarray, pair("grid_sample"))
    out, out_dot = stnkit.grid_sample_jvp(x, u, None, None)
    np.testing.assert_array_equal(out, stnkit.grid_sample(x, u))
    assert not out_dot.any()
    assert stnkit.grid_sample_vjp(out, x, u, wrt="image")[1] is None
    for bar in stnkit.grid_sample_double_vjp(None, None, out, x, u):
        assert not bar.any()


def test_infinite_pixels_do_not_reach_what_does_not_move(plain):
    """Where border clamps, derivatives of any order are 0, be the image infinite there."""
    import stnkit

    image = jnp.array([[[1.0, 2.0, jnp.inf]]])

    def along(s):
        return stnkit.grid_sample(image, jnp.full((1, 1, 1), s), coords="pixel", padding_mode="border").sum()

    for function in (jax.grad(along), jax.grad(jax.grad(along)), jax.grad(jax.grad(jax.grad(along)))):
        assert float(function(5.0)) == 0


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_fill_value_that_is_not_finite_has_no_part_in_derivatives_at_the_rim(mode, plain):
    """Nor where border clamps, or a coordinate is not finite: derivatives of any order are those of a fill of 0."""
    import stnkit

    image = jnp.asarray(draw((1, 2, 3, 4)))
    rim = np.array([[2.0, 0.0], [1.0, 2.0], [2.0, 1.0], [np.nan, 1.0]])

    def sums(u, fill, padding):
        out = stnkit.grid_sample(
            image, u.reshape(1, -1, 1, 2), mode=mode, padding_mode=padding, fill_value=fill, coords="pixel"
        )
        return out[:, :, :3].sum()

    for padding, place in (("zeros", rim), ("border", [[9.0, -3.0], [-4.0, 1.5], [0.5, 7.0], [1.0, np.nan]])):
        for order in (jax.grad, jax.hessian, lambda f: jax.jacfwd(jax.hessian(f))):
            got, expected = (
                jax.jit(order(functools.partial(sums, fill=fill, padding=padding)))(jnp.asarray(place))
                for fill in ([np.inf, np.nan], 0.0)
            )
            assert np.isfinite(got).all()
            np.testing.assert_array_equal(got, expected)


def test_an_empty_batch(plain):
    import stnkit

    x, u = jnp.zeros((0, 2, 4, 3)), jnp.zeros((0, 2, 2, 2))
    out, back = jax.vjp(stnkit.grid_sample, x, u)
    assert out.shape == (0, 2, 2, 2)
    assert [bar.shape for bar in back(out)] == [x.shape, u.shape]
    shared = jax.grad(lambda x: stnkit.grid_sample(x, u).sum())(jnp.ones((1, 2, 4, 3)))
    assert shared.shape == (1, 2, 4, 3)
    assert not shared.any()
