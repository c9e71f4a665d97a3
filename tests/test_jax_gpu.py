"""JAX programs for GPUs: lowered without one, and run on main memory that pretends to be one's.

What a GPU's threads do is done one after another, uncompiled, on XLA's own buffers.
"""

import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from emulation.pretended import pretended
from jax.interpreters import mlir

from stnkit.jax import _compat
from stnkit.transforms import control_lattice

EPS = np.finfo(np.float64).eps


@pytest.fixture(autouse=True)
def _precise():
    with _compat.enable_x64():
        yield


@pytest.fixture
def on_gpu(plain, monkeypatch):
    """Lower every operation on this machine as for a GPU; return what is launched."""
    from stnkit.jax import cuda, registration

    record = []
    monkeypatch.setattr(cuda, "stream", lambda execution: 5)
    monkeypatch.setattr(sys.modules["stnkit.kernels.cuda.runtime"], "tools", lambda: None)
    importlib.import_module("stnkit.kernels.cuda.runtime")
    lower(registration.for_gpus)
    with pretended(record):
        yield record
    lower(registration.for_cpus)


def lower(choose):
    """Lower every operation on this machine by another rule from now on."""
    from stnkit.jax import registration

    for rules in registration.OPERATIONS:
        mlir.register_lowering(rules.primitive, choose(rules), platform="cpu")
    registration.compiled.cache_clear()
    jax.clear_caches()


def draw(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


IMAGE, GRID, THETA, FLOW = draw(2, 3, 4, 5), draw(2, 3, 2, 2, seed=1), draw(2, 2, 3, seed=2), draw(2, 4, 5, 2, seed=3)
OUT, TILE = draw(2, 3, 3, 2, seed=4), draw(2, 3, 4, 5, seed=5)


def calls(stnkit, **words):
    """Return public functions with their arguments; together they reach every operation."""
    grid, affine = {"image": IMAGE, "grid": GRID}, {"image": IMAGE, "theta": THETA}
    return [
        (stnkit.grid_sample, grid, words),
        (stnkit.grid_sample_vjp, {"cotangent": OUT, **grid}, words),
        (stnkit.grid_sample_jvp, {**grid, "d_image": TILE, "d_grid": GRID[::-1].copy()}, words),
        (stnkit.grid_sample_jvp, {**grid, "d_image": None, "d_grid": GRID[::-1].copy()}, words),
        (stnkit.grid_gradient, grid, words),
        (
            stnkit.grid_sample_double_vjp,
            {"dd_image": TILE, "dd_grid": GRID[::-1].copy(), "cotangent": OUT, **grid},
            words,
        ),
        (stnkit.affine_sample, affine, words),
        (stnkit.affine_sample_vjp, {"cotangent": TILE, **affine}, words),
        (stnkit.flow_sample_vjp, {"cotangent": TILE, "image": IMAGE, "flow": FLOW}, words),
    ]


def close(mine, wanted):
    """Bounds: a few dozen float64 numbers of size 1 are added, in an order of the device's own."""
    for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(wanted), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_operations_on_xla_buffers(on_gpu, plain, mode):
    for function, arrays, words in calls(plain, mode=mode, padding_mode="border"):
        wanted = function(**arrays, **words)
        assert not on_gpu, "NumPy arrays do not lie on a GPU"
        mine = jax.jit(lambda arrays, f=function, w=words: f(**arrays, **w))(jax.tree.map(jnp.asarray, arrays))
        close(mine, wanted)
        assert on_gpu or not np.any(wanted), "nothing was launched"
        assert all(stream == 5 for *_, stream, _ in on_gpu)
        on_gpu.clear()


def test_grids_splats_and_maps(on_gpu, plain):
    values, theta3 = draw(2, 3, 3, 2), np.eye(3) + 0.1 * draw(2, 3, 3)
    for function, *arrays, words in (
        (plain.affine_grid, THETA, {"size": (3, 4)}),
        (plain.affine_grid_vjp, draw(2, 3, 4, 2), {}),
        (plain.flow_grid, FLOW, {"units": "pixel"}),
        (plain.grid_splat, values, GRID, {"size": (4, 5)}),
        (plain.grid_splat_vjp, draw(2, 3, 4, 5), values, GRID, {}),
        (plain.grid_count, GRID, {"size": (4, 5)}),
        (plain.projective_sample, IMAGE, theta3, {}),
        (plain.projective_sample_vjp, TILE, IMAGE, theta3, {}),
    ):
        close(
            jax.jit(lambda *a, f=function, w=words: f(*a, **w))(*map(jnp.asarray, arrays)), function(*arrays, **words)
        )
        assert on_gpu
        on_gpu.clear()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint8"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_formats(on_gpu, plain, dtype, data_format):
    """The CPU and a GPU do the same arithmetic, but for products and sums that one contracts: uncompiled, none."""
    image = jnp.asarray(100 * np.abs(draw(2, 3, 4, 5))).astype(dtype)
    image = image if data_format == "channels_first" else jnp.moveaxis(image, 1, -1)
    words = {"data_format": data_format, "padding_mode": "reflection", "fill_value": 1}
    wanted = plain.grid_sample(np.asarray(image), GRID.astype(np.float32), **words)
    mine = plain.grid_sample(image, jnp.asarray(GRID, np.float32), **words)
    assert mine.dtype == image.dtype
    np.testing.assert_array_equal(np.asarray(mine), wanted)
    assert on_gpu


def test_transformations(on_gpu, plain):
    """Derivatives to the third order, mapped over images and maps, are those on the CPU."""

    def loss(image, theta):
        return (plain.affine_sample(image, theta, mode="bicubic") ** 2).sum()

    def third(image, theta):
        return jax.jvp(lambda t: jax.grad(lambda s: jax.grad(loss, 1)(image, s).sum())(t), (theta,), (theta,))[1]

    def mixed(image, theta):
        return jax.grad(lambda x: jax.jvp(lambda t: loss(x, t), (theta,), (theta,))[1])(image)

    def everything(images, thetas):
        return (
            jax.jit(jax.vmap(third))(images, thetas),
            jax.vmap(mixed, (0, None))(images, thetas[0]),
            jax.vmap(jax.grad(loss, (0, 1)), (None, 0))(images[0], thetas),
        )

    images, thetas = jnp.asarray(IMAGE), jnp.asarray(THETA)
    mine = everything(images, thetas)
    launched = {name for name, *_ in on_gpu}
    assert {"sample_order", "scatter", "sample_vjp", "sample_jvp"} <= launched
    lower(lambda rules: rules.lower)
    close(mine, everything(images, thetas))


def test_indices_in_the_order_of_axes(on_gpu, plain):
    """They become a grid, and their cotangent comes from its own."""
    from stnkit.jax.samplers import sample_at

    indices = jnp.asarray(draw(2, 6, seed=6) * 3 + 1)
    grid = indices[::-1].T[None]

    def loss(read, where):
        return (read(jnp.asarray(IMAGE[0]), where, coords="pixel") ** 2).sum()

    mine = jax.value_and_grad(lambda where: loss(sample_at, where))(indices)
    value, bar = jax.value_and_grad(lambda where: loss(plain.grid_sample, where))(grid)
    close(mine, (value, bar[0].T[::-1]))
    assert on_gpu


def test_means_of_subsamples(on_gpu, plain):
    """A number of places in a compiled program; where gradients are not compiled, the number that maps ask for."""
    points = control_lattice((2, 3)) + 0.05 * draw(6, 2)
    rows = np.eye(2, 3) * np.array([0.9, 0.3])[:, None, None] + 0.05 * THETA
    maps = [
        ("affine", rows, {"size": (2, 3)}),
        ("projective", np.concatenate([rows, [[[0.1, -0.05, 1]]] * 2], axis=1), {"size": (2, 3)}),
        ("thin_plate_spline", 0.9 * points[None] + 0.05 * draw(2, 6, 2), {"control_points": points, "size": (2, 3)}),
        ("flow", 0.3 * FLOW[:, :2, :3], {}),
    ]
    for name, source, words in maps:
        sample, vjp, jvp = (getattr(plain, f"{name}_sample{end}") for end in ("", "_vjp", "_jvp"))
        fixed = {word: value for word, value in words.items() if word != "size"}
        cotangent, arrays = draw(2, 1, 2, 3, seed=6), (IMAGE[:, :1], source)
        for antialias in (True, 2) if name == "affine" else (True,):
            asked = {**words, "antialias": antialias}
            wanted = sample(*arrays, **asked)
            bars = vjp(cotangent, *arrays, antialias=antialias, **fixed)
            dots = jvp(*arrays, *arrays, **asked)
            assert not on_gpu, "NumPy arrays do not lie on a GPU"

            def everything(cotangent, image, source, sample=sample, jvp=jvp, asked=asked):
                out, pull = jax.vjp(lambda *given: sample(*given, **asked), image, source)
                return out, pull(cotangent), jvp(image, source, image, source, **asked)

            run = everything if antialias is True else jax.jit(everything)
            close(run(*map(jnp.asarray, (cotangent, *arrays))), (wanted, bars, dots))
            assert on_gpu
            on_gpu.clear()


@pytest.mark.parametrize("asked", [{"deterministic": True}, "--xla_foo --xla_gpu_deterministic_ops=true"])
def test_the_same_bits_where_they_are_asked_for(on_gpu, plain, monkeypatch, asked):
    words = asked if isinstance(asked, dict) else monkeypatch.setenv("XLA_FLAGS", asked) or {}
    plain.grid_sample_vjp(jnp.asarray(OUT), jnp.asarray(IMAGE), jnp.asarray(GRID), **words)
    launched = {name for name, *_ in on_gpu}
    assert "scatter_binned" in launched
    assert not {"scatter"} & launched
    on_gpu.clear()
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    plain.grid_sample_vjp(jnp.asarray(OUT), jnp.asarray(IMAGE), jnp.asarray(GRID))
    assert "scatter_binned" not in {name for name, *_ in on_gpu}


def lowered_for_gpus(function, *arrays):
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=("cuda",)).as_text()


def test_programs_for_gpus_are_lowered_without_one():
    pytest.importorskip("numba_cuda")
    import stnkit

    def step(image, theta):
        return jax.grad(lambda x, t: (stnkit.affine_sample(x, t) ** 2).sum(), (0, 1))(image, theta)

    text = lowered_for_gpus(step, jnp.asarray(IMAGE), jnp.asarray(THETA))
    assert text.count("xla_buffer_python_gpu_callback") == 2
    assert "stnkit_sample_" not in text  # the CPU's


def test_what_is_missing_is_told_while_a_program_is_lowered(monkeypatch):
    import stnkit
    from stnkit.jax import cuda
    from stnkit.kernels.cuda import runtime

    def sample(image, grid):
        return stnkit.grid_sample(image, grid)

    arrays = jnp.asarray(IMAGE), jnp.asarray(GRID)
    runtime.tools.cache_clear()
    real = importlib.util.find_spec  # which finds the kernels' sources, too
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba_cuda" else real(name))
        with pytest.raises(ImportError, match=r'pip install "stnkit\[cuda\]"'):
            lowered_for_gpus(sample, *arrays)
    monkeypatch.setattr(runtime, "tools", lambda: None)
    monkeypatch.setattr(cuda, "buffer_callback", None)
    with pytest.raises(NotImplementedError, match="has no buffer_callback"):
        lowered_for_gpus(sample, *arrays)
