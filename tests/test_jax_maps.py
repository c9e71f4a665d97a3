"""Projective maps and thin plate splines on JAX arrays: the same numbers, and every derivative. Uncompiled."""

import importlib

import jax
import jax.numpy as jnp
import maps
import numpy as np
import pytest
from jax.test_util import check_grads
from maps import OPS

from stnkit.jax import _compat

STEP = float(np.cbrt(np.finfo(float).eps))  # of central differences: truncation is then as small as rounding


@pytest.fixture(autouse=True)
def _wide():
    np.random.seed(0)  # noqa: NPY002  # from which `check_grads` draws its directions
    with _compat.enable_x64(), jax.numpy_rank_promotion("raise"):
        yield


def draw(op, d, mode="bilinear"):
    return maps.draw(op, d, mode, "zeros", False)


def in_jax(given):
    names = "image", "theta", "cotangent", "image_dot", "theta_dot"
    return given._replace(**{name: jnp.asarray(getattr(given, name)) for name in names})


def close(got, expected):
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert isinstance(a, jax.Array)
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("op", OPS)
def test_numbers(plain, op, d):
    given = draw(op, d)
    mine, bar = in_jax(given), np.random.default_rng(0).uniform(-1, 1, maps.exact(given).shape)
    close(maps.grid(plain, mine), maps.grid(plain, given))
    close(maps.grid_vjp(plain, mine, jnp.asarray(bar)), maps.grid_vjp(plain, given, bar))
    close(maps.grid_jvp(plain, mine), maps.grid_jvp(plain, given))
    close(maps.sample(plain, mine), maps.sample(plain, given))
    for wrt in (("image", "theta"), "theta", "image"):
        close(maps.sample_vjp(plain, mine, wrt=wrt), maps.sample_vjp(plain, given, wrt=wrt))
    for dots in ((True, True), (False, True), (True, False)):
        pairs = [
            maps.sample_jvp(plain, g, *(dot if asked else None for dot, asked in zip(each, dots, strict=True)))
            for g, each in ((mine, (mine.image_dot, mine.theta_dot)), (given, (given.image_dot, given.theta_dot)))
        ]
        close(*pairs)


@pytest.mark.parametrize("op", OPS)
def test_derivatives(plain, op):
    """JAX's own rules, to the second order, against finite differences; and `jit` and `vmap`."""
    given = draw(op, 1, "bicubic")
    mine = in_jax(given)

    def sample(image, theta):
        return maps.sample(plain, mine._replace(image=image, theta=theta))

    order = 2 if op == "projective" else 1  # the grid of the other is linear
    check_grads(jax.jit(sample), (mine.image, mine.theta), order=order, modes=("fwd", "rev"), eps=STEP)
    out, pull = jax.vjp(jax.jit(sample), mine.image, mine.theta)
    close(out, maps.sample(plain, given))
    close(pull(mine.cotangent), maps.sample_vjp(plain, given))
    close(jax.vmap(sample)(mine.image, mine.theta), maps.sample(plain, given))


def test_the_horizon_passes_nothing(plain):
    theta = np.tile(np.eye(3), (3, 1, 1))
    theta[0, 2] = [1, 0, 0]
    theta[1, 2, 2] = np.finfo(float).tiny
    theta[2, 0, 0] = np.inf
    image = np.random.default_rng(0).uniform(-1, 1, (3, 1, 3, 4))
    expected = plain.projective_sample_vjp(np.ones_like(image), image, theta)
    bars = jax.grad(lambda i, t: plain.projective_sample(i, t).sum(), (0, 1))(jnp.asarray(image), jnp.asarray(theta))
    close(bars, expected)
    assert bars[1][0].any()


def test_the_horizon_passes_nothing_to_the_second_order(plain):
    """Derivatives of an operation that kernels do are those of the grid that it stands for."""
    theta = np.tile(np.eye(3), (2, 1, 1))
    theta[0, 2] = [1, 0, 0]
    theta[1, 0, 0] = np.inf
    image = np.random.default_rng(0).uniform(-1, 1, (2, 1, 3, 4))
    given = jnp.asarray(image), jnp.asarray(theta)

    def composed(i, t):
        return plain.grid_sample(i, plain.projective_grid(t, image.shape[2:]))

    def second(sampled):
        slope = jax.grad(lambda i, t: (given[0] * sampled(i, t) ** 2).sum(), 1)
        return jax.jit(jax.grad(lambda i, t: slope(i, t)[..., :2].sum(), (0, 1)))(*given)

    expected = second(composed)
    close(second(plain.projective_sample), expected)
    assert expected[1][0].any()


def test_control_points_are_constants(plain):
    given = draw("thin_plate_spline", 2)
    mine, control = in_jax(given), jnp.asarray(given.control)
    close(plain.thin_plate_spline_grid(mine.theta, control, (3, 4)), maps.grid(plain, given._replace(
        cotangent=np.ones((2, 1, 3, 4)))))  # fmt: skip
    for transform in (jax.jit, lambda f: jax.grad(lambda c: f(c).sum())):
        with pytest.raises(TypeError, match="`control_points` are traced by JAX"):
            transform(lambda c: plain.thin_plate_spline_grid(mine.theta, c, (3, 4)))(control)


REFUSED = [
    (ValueError, lambda p, t: p.projective_grid(t[..., :2], (3, 4)), r"`theta` must have shape.*\(2, 3, 2\)"),
    (ValueError, lambda p, t: p.projective_sample(t[:, 0], t), r"`image` must have shape \(N, C, H, W\)"),
    (ValueError, lambda p, t: p.projective_sample(jnp.ones((3, 1, 4, 4)), t), r"`image` and `theta`.*3 and 2"),
    (ValueError, lambda p, t: p.projective_grid_vjp(jnp.ones((1, 4, 4, 2)), t), r"`cotangent`.*\(2, 4, 4, 2\)"),
    (TypeError, lambda p, t: p.projective_grid(t.astype(int), (3, 4)), r"`theta` must have dtype.*int"),
    (TypeError, lambda p, t: p.projective_sample(t[:, None], t, out=t), r"`out` cannot be written"),
    (ValueError, lambda p, t: p.thin_plate_spline_grid(t[..., :2], np.zeros((3, 2)), (3, 4)), "must differ"),
]


@pytest.mark.parametrize(("kind", "call", "words"), REFUSED)
def test_refused(plain, kind, call, words):
    with pytest.raises(kind, match=words):
        call(plain, jnp.tile(jnp.eye(3), (2, 1, 1)))


def test_tables_have_a_size(plain, monkeypatch):
    """As many are kept as fit into a number of bytes; one that is too large is right all the same."""
    spline = importlib.import_module("stnkit.plans.thin_plates")
    kept = spline.Memo(30_000)
    monkeypatch.setattr(spline, "KEPT", kept)
    given = draw("thin_plate_spline", 2)
    for n in (1, 5, 9, 13, 200):
        grid = plain.thin_plate_spline_grid(in_jax(given).theta, given.control, (n, 4))
        assert 0 < kept.nbytes <= 30_000
        close(grid, plain.thin_plate_spline_grid(given.theta, given.control, (n, 4)))


def test_maps_of_different_ranks_are_composed():
    """Where JAX refuses to add axes in front by itself, as it does in all of these tests."""
    from stnkit import transforms

    theta = np.random.default_rng(0).uniform(-1, 1, (4, 2, 3))
    affine, projective = jnp.asarray(theta), jnp.eye(3) + 0.1
    # A sum of three products rounds six times, of numbers below 4; in pixels twice, of numbers below 40.
    for pair in ((affine[0], affine), (projective, affine), (affine, projective)):
        expected = transforms.compose(*map(np.asarray, pair))
        np.testing.assert_allclose(transforms.compose(*pair), expected, rtol=0, atol=6 * 4 * 2**-53)
    for convert in (transforms.to_pixel, transforms.from_pixel):
        expected = convert(theta, (8, 10))
        np.testing.assert_allclose(convert(affine, (8, 10)), expected, rtol=0, atol=2 * 6 * 40 * 2**-53)
