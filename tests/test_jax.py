"""JAX arrays with compiled kernels: handlers in the program, formats, transformations, errors; and the way back.

The rules themselves are tested uncompiled, in `test_jax_rules`.
"""

import ctypes
import functools
import json
import re
import threading
import types
from pathlib import Path

import indices
import jax
import jax.numpy as jnp
import numba
import numpy as np
import pytest
import torch
from conftest import uncompiled
from jax import export as exporting
from processes import run

import stnkit
from stnkit import ndimage
from stnkit.jax import _compat, samplers
from stnkit.jax.ffi import export, handlers, layout, lower, pool
from stnkit.kernels.compiler.jit import FORM, kernel
from stnkit.kernels.cpu import call as calls
from stnkit.kernels.cpu.call import SHORT_OF_MEMORY, Arguments
from stnkit.kernels.cpu.words import arguments_at, words_at
from stnkit.plans.launch import Launch
from stnkit.spec import Spec

pytestmark = pytest.mark.usefixtures("optimised")

SHAPE, LAST = (2, 5, 6, 3), {"data_format": "channels_last"}


def draw(shape=SHAPE, dtype=np.float32, seed=0):
    values = np.random.default_rng(seed).uniform(0, 1, shape)
    return (values * 255).astype(dtype) if np.dtype(dtype).kind == "u" else values.astype(dtype)


def points(batch=2, dtype=np.float32, seed=1):
    return np.random.default_rng(seed).uniform(-1.3, 1.3, (batch, 4, 3, 2)).astype(dtype)


def sample(image, grid):
    return stnkit.grid_sample(image, grid, **LAST)


def loss(image, grid):
    return (sample(image, grid) ** 2).sum()


TARGET = re.compile(r'custom_call_target="(\w+)"')


def test_the_program_holds_a_custom_call_and_no_callback():
    for function in (sample, jax.grad(loss, (0, 1)), lambda x, u: jax.jvp(sample, (x, u), (x, u))):
        program = jax.jit(function).lower(draw(), points()).compile().as_text()
        assert {target.partition("_")[0] for target in TARGET.findall(program)} == {"stnkit"}


def test_values_and_derivatives_are_those_of_numpy():
    image, grid = draw(), points()
    mine = jax.jit(sample)(image, grid)
    np.testing.assert_array_equal(mine, sample(image, grid))
    np.testing.assert_array_equal(sample(jnp.asarray(image), jnp.asarray(grid)), mine)
    expected = stnkit.grid_sample_vjp(2 * np.asarray(mine), image, grid, **LAST)
    for one, other in zip(jax.jit(jax.grad(loss, (0, 1)))(image, grid), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    dots = draw(seed=2), points(seed=3)
    for one, other in zip(
        jax.jit(lambda *a: jax.jvp(sample, a[:2], a[2:]))(image, grid, *dots),
        stnkit.grid_sample_jvp(image, grid, *dots, **LAST),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_second_order_in_machine_code():
    """Kernels of higher order agree with those of the second order, which are others; on lines, to compile sooner."""
    image, grid, g = draw((2, 6, 3)), points()[:, 0, :, :1], draw((2, 3, 3), seed=4)
    dots = draw((2, 6, 3), seed=2), points(seed=3)[:, 0, :, :1]

    def first(g, x, u):
        return jax.vjp(sample, x, u)[1](g)

    with uncompiled() as plain:
        expected = plain.grid_sample_double_vjp(*dots, g, image, grid, **LAST)
    for mine, theirs in zip(jax.jit(lambda *a: jax.vjp(first, *a)[1](dots))(g, image, grid), expected, strict=True):
        # The same sums in another order: 3 locations of 3 channels with 2 taps each, and no term is above 3 * 3,
        # the squared slope of a coordinate.
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=3 * 3 * 2 * 9 * 2**-23)


def test_affine_maps_are_fused_and_pulled_back():
    image, theta = draw(), np.array([[[0.9, 0.1, 0.2], [-0.1, 1.1, 0.0]]], np.float32)

    def function(x, t):
        return stnkit.affine_sample(x, t, **LAST)

    out, back = jax.vjp(jax.jit(function), image, theta)
    np.testing.assert_array_equal(out, function(image, theta))
    image_bar, theta_bar = back(out)
    expected = stnkit.affine_sample_vjp(np.asarray(out), image, theta, **LAST)
    np.testing.assert_array_equal(image_bar, expected[0])
    np.testing.assert_allclose(theta_bar, expected[1], rtol=2**-23)  # partial sums of 64 bits, rounded once


@pytest.mark.parametrize("dtype", ["bfloat16", "uint8", "int32"])
def test_formats(dtype):
    image, grid = draw((2, 6, 3), jnp.dtype(dtype)), points()[:, 0, :, :1]
    mine = jax.jit(sample)(image, grid)
    assert mine.dtype == image.dtype
    np.testing.assert_array_equal(mine, sample(image, grid))


def test_64_bits_are_for_those_who_ask():
    image, grid = jnp.asarray(draw(dtype=np.float64)), jnp.asarray(points(dtype=np.float64))
    assert sample(image, grid).dtype == np.float32


def test_inside_scan_cond_checkpoint_and_with_donated_buffers():
    image, grid = jnp.asarray(draw()), jnp.asarray(points())
    plain = jax.grad(loss, (0, 1))(image, grid)

    def scanned(x, u):
        return jax.lax.scan(lambda total, _: (total + loss(x, u) / 3, None), jnp.float32(0), None, 3)[0]

    def branched(x, u):
        return jax.lax.cond(u.sum() < 100, loss, lambda x, u: x.sum(), x, u)

    for function in (scanned, branched, jax.checkpoint(loss)):
        for one, other in zip(jax.jit(jax.grad(function, (0, 1)))(image, grid), plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=4 * 2**-23, atol=1e-6)  # scan adds three thirds
    step = jax.jit(lambda x, u: (x - jax.grad(loss)(x, u), u), donate_argnums=0)
    np.testing.assert_array_equal(step(jnp.array(image), grid)[0], image - plain[0])


SQUARE, LATTICE = np.eye(3, dtype="float32"), stnkit.transforms.control_lattice((2, 2)).astype("float32")
BESIDE = {  # which arrays are JAX's, and which are NumPy's
    "image and grid": (lambda j, n: stnkit.grid_sample(n(IMAGE), j(GRID)), "image", "numpy", "grid", "JAX"),
    "grid and image": (lambda j, n: stnkit.grid_sample(j(IMAGE), grid=n(GRID)), "grid", "numpy", "image", "JAX"),
    "cotangent": (lambda j, n: stnkit.grid_sample_vjp(n(OUT), j(IMAGE), j(GRID)), "cotangent", "numpy", "image", "JAX"),
    "tangent": (
        lambda j, n: stnkit.projective_sample_jvp(n(IMAGE), n(SQUARE), j(IMAGE), None),
        *("image", "numpy", "d_image", "JAX"),
    ),
    "antialias": (
        lambda j, n: stnkit.projective_sample(j(IMAGE), n(SQUARE), antialias=2),
        *("theta", "numpy", "image", "JAX"),
    ),
    "splat": (lambda j, n: stnkit.grid_splat(n(OUT), j(GRID), (4, 4)), "values", "numpy", "grid", "JAX"),
    "torch": (
        lambda j, n: stnkit.grid_sample(j(IMAGE), torch.from_numpy(GRID)),
        *("grid", "torch", "image", "JAX"),
    ),
    "JAX beside torch": (
        lambda j, n: stnkit.grid_sample(torch.from_numpy(IMAGE), j(GRID)),
        *("grid", "JAX", "image", "torch"),
    ),
}
IMAGE, GRID, OUT = (np.zeros(shape, "float32") for shape in ((1, 1, 4, 4), (1, 2, 2, 2), (1, 1, 2, 2)))


@pytest.mark.parametrize("name", BESIDE)
def test_arrays_of_another_framework_beside_jax_arrays(name):
    """They are refused as beside tensors, also while a program is traced."""
    call, one, its, other, theirs = BESIDE[name]
    says = f"`{one}` is a {its} array and `{other}` a {theirs} array; pass arrays of one framework"
    with pytest.raises(TypeError, match=says):
        call(jnp.asarray, np.asarray)
    with pytest.raises(TypeError, match=says):
        jax.eval_shape(lambda zero: call(lambda array: jnp.asarray(array) + zero, np.asarray), np.float32(0))


def test_constants_may_be_of_another_framework(plain):
    """Control points and fill values have no derivatives. With NumPy's arrays they make a call of NumPy."""
    image, theta = np.ones((1, 1, 4, 4), "float32"), LATTICE[None]
    expected = plain.thin_plate_spline_sample(image, theta, LATTICE)
    for control in (jnp.asarray(LATTICE), torch.from_numpy(LATTICE)):
        for antialias in (False, 1):
            result = plain.thin_plate_spline_sample(image, theta, control, antialias=antialias)
            assert type(result) is np.ndarray
            np.testing.assert_array_equal(result, expected)
    for fill in (jnp.ones(1), torch.ones(1), np.ones(1), [1.0], 1):
        result = plain.grid_sample(image, GRID + 9, fill_value=fill)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, np.ones((1, 1, 2, 2)))
    with pytest.raises(TypeError, match="`control_points` is traced by JAX"):
        jax.jit(lambda points: stnkit.thin_plate_spline_sample(image, theta, points))(LATTICE)
    for control in (LATTICE, torch.from_numpy(LATTICE)):
        shape = jax.eval_shape(lambda x, c=control: stnkit.thin_plate_spline_sample(x, jnp.asarray(theta), c), image)
        assert shape.shape == image.shape


ERRORS = {
    "batch": lambda a: stnkit.grid_sample(a((2, 1, 4, 4)), a((3, 2, 2, 2))),
    "axes": lambda a: stnkit.grid_sample(a((2, 1, 4, 4)), a((3, 2, 2, 4))),
    "mode": lambda a: stnkit.grid_sample(a((1, 1, 4, 4)), a((1, 2, 2, 2)), mode="cubic"),
    "option": lambda a: stnkit.affine_sample(a((1, 1, 4, 4)), a((1, 2, 3)), coords="polar"),
    "theta": lambda a: stnkit.affine_sample(a((1, 1, 4, 4)), a((1, 2, 2))),
    "size": lambda a: stnkit.affine_grid(a((1, 2, 3)), (4,)),
    "huge": lambda a: stnkit.affine_sample(a((1, 1, 4, 4)), a((1, 2, 3)), (2**40, 2**40)),
    "huge grid": lambda a: stnkit.affine_grid(a((1, 2, 3)), (2**40, 2**40)),
    "huge splat": lambda a: stnkit.grid_splat(a((1, 1, 2, 2)), a((1, 2, 2, 2)), (2**40, 2**40)),
    "empty": lambda a: stnkit.grid_sample(a((1, 1, 0, 4)), a((1, 2, 2, 2))),
    "dtype": lambda a: stnkit.grid_sample(a((1, 1, 4, 4)).astype(bool), a((1, 2, 2, 2))),
    "complex": lambda a: stnkit.grid_sample(a((1, 1, 4, 4)).astype(np.complex64), a((1, 2, 2, 2))),
    "cotangent": lambda a: stnkit.grid_sample_vjp(a((1, 1, 2, 3)), a((1, 1, 4, 4)), a((1, 2, 2, 2))),
    "wrt": lambda a: stnkit.grid_sample_vjp(a((1, 1, 2, 2)), a((1, 1, 4, 4)), a((1, 2, 2, 2)), wrt="theta"),
    "tangent": lambda a: stnkit.grid_sample_jvp(a((1, 1, 4, 4)), a((1, 2, 2, 2)), a((1, 1, 4)), None),
    "fill": lambda a: stnkit.grid_sample(a((1, 1, 4, 4)), a((1, 2, 2, 2)), fill_value=[1.0, 2.0]),
    "splat": lambda a: stnkit.grid_splat(a((1, 1, 2, 3)), a((1, 2, 2, 2)), (4, 4)),
    "flow": lambda a: stnkit.flow_sample(a((1, 1, 4, 4)), a((1, 2, 2, 2)), units="metre"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_come_when_a_program_is_traced_in_the_words_of_numpy(name):
    call = ERRORS[name]
    with pytest.raises((TypeError, ValueError)) as expected:
        call(lambda shape: np.zeros(shape, np.float32))
    with pytest.raises(expected.type) as found:
        jax.eval_shape(lambda zero: call(lambda shape: jnp.zeros(shape, np.float32) + zero), np.float32(0))
    assert str(found.value) == str(expected.value)


def test_calls_on_arrays_that_are_there_are_programs(monkeypatch):
    """A call like an earlier one is not checked again; options are told apart by their types too."""
    image, grid = jnp.asarray(draw((1, 1, 3, 3))), jnp.asarray(points(1))
    theta, indices = jnp.array([[[1.0, 0, 0], [0, 1, 0]]]), jnp.array([[0.5, 1], [1, 1.5]])

    def calls(padding="zeros", align=True, size=(2, 2), order=1):
        options = {"padding_mode": padding, "align_corners": align}
        yield lambda: stnkit.grid_sample(image, grid, **options)
        yield lambda: stnkit.grid_sample_vjp(sample_of(image, grid), image, grid, wrt="grid", **options)
        yield lambda: stnkit.affine_sample(image, theta, size, **options)
        yield lambda: ndimage.map_coordinates(image[0, 0], indices, order=order)
        yield lambda: ndimage.map_coordinates(image[0, 0], list(indices), order=order)
        yield lambda: stnkit.affine_sample(image, theta, size, antialias=2, **options)

    def sample_of(image, grid):
        return jnp.ones((1, 1, *grid.shape[1:3]))

    first = [call() for _ in range(2) for call in calls()][-6:]  # to know the type of arrays takes one
    monkeypatch.setattr("stnkit.jax.call.bound", None)
    monkeypatch.setattr("stnkit.ndimage.interpolation.entered", None)
    for call, expected in zip(calls(), first, strict=True):
        for got, wanted in zip(jax.tree.leaves(call()), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(got, wanted)
    for nothing in (float("nan"), [float("nan")]):
        with pytest.raises(TypeError, match="not callable"):  # by another way, which makes no program each time
            stnkit.grid_sample(image, grid, fill_value=nothing)
    with pytest.raises(TypeError, match="not callable"):  # as it goes by the numbers of theta
        stnkit.affine_sample(image, theta, antialias=True)
    for odd in (*calls("border", size=[2, 2], order=2), *list(calls(align=1, order=True))[:3]):
        with pytest.raises(TypeError, match="not callable"):
            odd()


def test_errors_of_jax_alone():
    image, grid = jnp.zeros((1, 1, 4, 4)), jnp.zeros((1, 2, 2, 2))
    with pytest.raises(TypeError, match="`out` cannot be written to"):
        stnkit.grid_sample(image, grid, out=jnp.zeros((1, 1, 2, 2)))
    with pytest.raises(TypeError, match="`accumulate_into` cannot be written to"):
        stnkit.grid_sample_vjp(jnp.zeros((1, 1, 2, 2)), image, grid, accumulate_into=image)
    with pytest.raises(TypeError, match="`fill_value` is traced"):
        jax.jit(lambda fill: stnkit.grid_sample(image, grid, fill_value=fill))(1.0)
    with pytest.raises(TypeError, match=r"`grid` must be a JAX array.*got builtins\.list"):
        stnkit.grid_sample(image, [[0.0]])


def test_a_handler_refuses_buffers_that_it_was_not_made_for():
    """With an error of XLA, rather than by reading wild memory."""
    program = jax.jit(sample).lower(draw(), points()).as_text()
    name = program.partition("custom_call @")[2].partition("(")[0]
    numbers = np.array(json.loads(program.partition("words = dense<")[2].partition(">")[0]), np.int64)
    image, grid, fill = jnp.asarray(draw()), jnp.asarray(points()), jnp.zeros(3)
    form = jax.ShapeDtypeStruct((2, 4, 3, 3), np.float32)

    def call(*operands, words=numbers, form=form):
        return jax.block_until_ready(jax.jit(lambda *a: jax.ffi.ffi_call(name, form)(*a, words=words))(*operands))

    np.testing.assert_array_equal(call(image, grid, fill), sample(draw(), points()))
    for odd in (
        lambda: call(image[:1], grid, fill),
        lambda: call(image.astype(np.float16), grid, fill),
        lambda: call(image, grid, fill, form=jax.ShapeDtypeStruct((2, 4, 3, 4), np.float32)),
    ):
        with pytest.raises(Exception, match="stnkit: a buffer of a custom call has another dtype or size"):
            odd()
    for odd in (lambda: call(image, grid), lambda: call(image, grid, fill, words=numbers[:-1])):
        with pytest.raises(Exception, match="stnkit: a custom call has other operands, results or attributes"):
            odd()


def test_indices_are_read_where_they_lie():
    """No copy of them is in the program, and numbers and derivatives are those of the grid that they are."""

    def read(image, indices):
        return ndimage.map_coordinates(image, indices, order=1, mode="mirror")

    where = jax.ShapeDtypeStruct((2, 64, 64), np.float32)
    program = jax.jit(read).lower(jax.ShapeDtypeStruct((32, 32), np.float32), where).compile().as_text()
    assert TARGET.search(program)
    assert not re.search(r" (copy|transpose|reverse|fusion)\(", program)
    indices.check(stnkit.grid_sample, samplers.sample_at, 2, "bilinear", np.float32, rounding=2**-20)


@functools.cache
def short(spec):
    """Build a kernel that finds no memory for one chunk, of the number where a batch size stands in others."""

    def short(words, first, last):
        return SHORT_OF_MEMORY if first <= arguments_at(words_at(words), spec).batch < last else 0

    return kernel(short, spec)


@pytest.mark.parametrize("work", [1, pool.LEAST_WORK], ids=["serial", "parallel"])
def test_an_error_of_a_kernel_is_one_of_xla(work):
    form = jax.ShapeDtypeStruct((3,), np.float32)
    launch = Launch(short, Spec(1), work, Arguments(chunks=8), (calls.OUT,))
    assert handlers.threaded(launch) is (work > 1)
    name, about = handlers.target(launch), [0, 1, layout.code(np.dtype(np.float32)), 3, 12, calls.OUT, 0]

    def call(chunk):
        words = np.array([*about, *launch.call._replace(batch=chunk).words], np.int64)
        return jax.jit(lambda: jax.ffi.ffi_call(name, form)(words=words))()

    np.testing.assert_array_equal(call(-1), np.zeros(3))
    for chunk in (0, 5):
        with pytest.raises(Exception, match="RESOURCE_EXHAUSTED: stnkit: a kernel found no memory to work in"):
            jax.block_until_ready(call(chunk))
    np.testing.assert_array_equal(call(8), np.zeros(3))


class Frame:
    """A call frame of which handlers see no more than XLA's functions for threads, in Python here."""

    def __init__(self, threads, schedule):
        self.late, self.errors, self.destroyed = [], 0, 0
        one, counted = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64), layout.OFFSETS["ThreadPool_NumThreads_Args"]

        def count(given):
            if threads is None:
                return self.error()
            ctypes.c_int64.from_address(word(given + counted["num_threads"])).value = threads
            return 0

        def ask(given):
            fields = layout.OFFSETS["ThreadPool_Schedule_Args"]
            task = ctypes.CFUNCTYPE(None, ctypes.c_int64)(word(given + fields["task"]))
            return schedule(self, functools.partial(task, word(given + fields["data"])))

        def destroy(given):
            assert word(given + layout.OFFSETS["Error_Destroy_Args"]["error"]) == 1
            self.destroyed += 1
            return 0

        names = {"ThreadPool_NumThreads": count, "ThreadPool_Schedule": ask, "Error_Destroy": destroy}
        self.functions = {name: one(function) for name, function in names.items()}
        self.api, self.words = (np.zeros(64, np.int64) for _ in range(2))
        for name, function in self.functions.items():
            self.api[layout.OFFSETS["Api"][name] // 8] = ctypes.cast(function, ctypes.c_void_p).value
        self.words[layout.OFFSETS["CallFrame"]["api"] // 8] = self.api.ctypes.data

    def error(self):
        self.errors += 1
        return 1

    def in_a_thread(self, task):
        self.late.append(threading.Thread(target=task))
        self.late[-1].start()
        return 0


def word(address):
    return ctypes.c_int64.from_address(address).value


@pytest.mark.parametrize(
    ("threads", "chunks", "schedule", "asked", "errors"),
    [
        (4, 11, Frame.in_a_thread, 3, 0),
        (4, 50, Frame.in_a_thread, 3, 0),  # more chunks than pieces
        (4, 2, Frame.in_a_thread, 1, 0),
        (4, 11, lambda frame, task: task() or 0, 3, 0),  # on the thread that asks, which XLA may do
        (4, 11, lambda frame, task: frame.late.append(task) or 0, 3, 0),  # once all is done: XLA promises no time
        (4, 11, lambda frame, task: frame.error(), 3, 3),
        (1, 11, None, 0, 0),
        (0, 11, None, 0, 0),
        (None, 11, None, 0, 1),  # XLA has no threads for the call
    ],
    ids=["threads", "many chunks", "few chunks", "at once", "late", "refused", "one", "none", "unknown"],
)
def test_every_chunk_is_done_once_whenever_the_threads_of_xla_come(threads, chunks, schedule, asked, errors):
    tasks, done = [], np.zeros(chunks, np.int64)

    def ask(frame, task):
        tasks.append(task)
        return schedule(frame, task)

    def kernel(words, first, last):
        done[first:last] += 1
        return 0

    code = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(kernel)
    launch, frame, given = numba.njit(pool.on_threads.py_func), Frame(threads, ask), np.zeros(calls.WORDS, np.int64)
    given[calls.CHUNKS] = len(done)
    address = ctypes.cast(code, ctypes.c_void_p).value
    status = launch(frame.words.ctypes.data, pool.helper(), address, given.ctypes.data, len(done))
    for task in frame.late:
        task.join() if isinstance(task, threading.Thread) else task()
    assert status == 0
    assert done.tolist() == [1] * len(done)
    assert len(tasks) == asked
    assert frame.destroyed == frame.errors == errors


def test_a_status_comes_from_whatever_thread_finds_it():
    seen = numba.cfunc(FORM)(lambda words, first, last: 7 if first <= 5 < last else 0)
    launch, given = numba.njit(pool.on_threads.py_func), np.zeros(calls.WORDS, np.int64)
    given[calls.CHUNKS] = 8
    for schedule in (Frame.in_a_thread, lambda frame, task: task() or 0, lambda frame, task: frame.error()):
        given[calls.STATUS], frame = 0, Frame(3, schedule)
        assert launch(frame.words.ctypes.data, pool.helper(), seen.address, given.ctypes.data, 8) == 7
        for thread in frame.late:
            thread.join()


def test_what_threads_share_is_freed_once_and_by_the_last(monkeypatch):
    shared = np.zeros(pool.SIZE // 8 + 1, np.int64)  # and how often it was freed
    address, freed = shared.ctypes.data, numba.njit(lambda given: pool.word(given, pool.SIZE))
    monkeypatch.setattr(pool, "malloc", numba.njit(lambda size: address))
    monkeypatch.setattr(pool, "free", numba.njit(lambda given: pool.write(given, pool.SIZE, freed(given) + 1)))
    monkeypatch.setattr(pool, "release", numba.njit(pool.release.py_func))
    monkeypatch.setattr(pool, "cached", lambda compiler, function, *form: compiler(*form)(function))
    helper, launch = pool.helper.__wrapped__(), numba.njit(pool.on_threads.py_func)
    nothing = numba.cfunc(FORM)(lambda words, first, last: 0)
    given = np.zeros(calls.WORDS, np.int64)
    given[calls.CHUNKS] = 50

    def late(frame, task):
        frame.late.append(task)
        return 0

    def first_late(frame, task):
        return frame.error() if frame.late else late(frame, task)

    at_once, refused = (lambda frame, task: task() or 0), (lambda frame, task: frame.error())
    for schedule, missed in ((at_once, 0), (refused, 0), (late, 3), (first_late, 1)):
        shared[:], frame = 0, Frame(4, schedule)
        launch(frame.words.ctypes.data, helper, nothing.address, given.ctypes.data, 50)
        assert len(frame.late) == missed
        for task in frame.late:
            assert shared[-1] == 0
            task()
        assert shared[-1] == 1


BOTH = """
import ctypes, threading, jax, numpy as np
from stnkit.jax.ffi import handlers, layout, pool
from stnkit.kernels.cpu import call as calls

both, chunks = threading.Barrier(2), []

def kernel(words, first, last):
    both.wait(60)
    chunks.append((threading.get_ident(), first, last))
    return 0

code = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 4)(kernel)
handler = handlers.handler(ctypes.cast(code, ctypes.c_void_p).value, pool.helper())
handlers.register("both", handler.ctypes)
words = [0, 1, layout.code(np.dtype("f")), 3, 12, calls.OUT, 0, *calls.Arguments(chunks=2).words]
call = jax.ffi.ffi_call("both", jax.ShapeDtypeStruct((3,), np.float32))
jax.block_until_ready(jax.jit(lambda: call(words=np.array(words, np.int64)))())
print(len({thread for thread, *_ in chunks}), sorted(part for _, *part in chunks))
"""


def test_threads_of_xla_work_at_the_same_time():
    """Each waits for the other, so no chunk is done if XLA gives a handler no threads."""
    assert run(BOTH, NPROC="2", JAX_PLATFORMS="cpu") == "2 [[0, 1], [1, 2]]\n"


def test_operations_are_compiled_where_jit_is_disabled():
    image, grid = map(jnp.asarray, (draw(), points()))
    theta = jnp.array([[[0.9, 0.1, 0.2], [-0.1, 1.1, 0.0]]])

    def every():
        out = sample(image, grid), stnkit.affine_sample(image, theta, **LAST), stnkit.affine_grid(theta, (4, 3))
        return out, jax.grad(loss, (0, 1))(image, grid), jax.jvp(sample, (image, grid), (image, grid))

    expected = every()
    with jax.disable_jit():
        found = every()
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def exported(function, *arrays):
    checks = [exporting.DisabledSafetyCheck.custom_call(export.TARGET)]
    return exporting.export(jax.jit(function), disabled_checks=checks)(*arrays)


IMPORTED = """
import sys, jax, numba, numpy as np, stnkit.jax
from jax import export

program = export.deserialize(bytearray(open("program", "rb").read()))
given = np.load("given.npz")
image, grid = given["image"], given["grid"]
results = program.call(image, grid), *jax.grad(lambda *a: (program.call(*a) ** 2).sum(), (0, 1))(image, grid)
np.savez("results", *results)
try:
    print(numba.threading_layer())
except ValueError:
    print("no threads were started")
"""


def test_an_exported_program_runs_in_another_process(tmp_path):
    """With its gradient; that process never lowers what the program calls, and starts no threads for little work."""

    def filtered(image, grid):
        return sample(stnkit.spline_filter(image), grid)

    image, grid = draw(), points()
    (tmp_path / "program").write_bytes(exported(filtered, image, grid).serialize(vjp_order=1))
    np.savez(tmp_path / "given.npz", image=image, grid=grid)
    assert run(IMPORTED, folder=tmp_path, JAX_PLATFORMS="cpu") == "no threads were started\n"
    image, grid = jnp.asarray(image), jnp.asarray(grid)
    expected = filtered(image, grid), *jax.grad(lambda *a: (filtered(*a) ** 2).sum(), (0, 1))(image, grid)
    for one, other in zip(np.load(tmp_path / "results.npz").values(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_operation_can_be_exported():
    """Nothing is compiled: a program says what it calls."""
    maps, flow = jnp.zeros((2, 2, 3)), jnp.zeros((2, 5, 6, 2))

    def every(image, grid):
        second = jax.jvp(jax.grad(loss, (0, 1)), (image, grid), (image, grid))
        grids = stnkit.affine_grid(maps, (4, 3)), stnkit.flow_grid(flow), stnkit.affine_grid_vjp(grid)
        return (
            second,
            grids,
            stnkit.grid_splat(image, flow, (4, 4), **LAST),
            stnkit.spline_filter(image),
            jax.jvp(sample, (image, grid), (image, grid)),
        )

    image = draw(dtype=jnp.bfloat16)
    program = exported(every, image, points()).mlir_module()
    assert set(re.findall(r"custom_call @(\w+)", program)) == {export.TARGET}


def test_an_exported_program_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(stnkit, "__version__", "0.0.1")
    program = exported(lambda *arrays: sample(*arrays), draw(), points())  # which JAX has not lowered before
    monkeypatch.undo()
    with pytest.raises(Exception, match=r"was exported by stnkit 0\.0\.1, and this is .*: export it anew"):
        jax.block_until_ready(program.call(draw(), points()))


@pytest.mark.parametrize("shapes", [("n, 5, 6, 3", "n, 4, 3, 2"), ("2, h, 6, 3", "2, 4, 3, 2")])
def test_a_program_with_open_sizes_is_refused(shapes):
    scope = exporting.SymbolicScope()
    forms = [jax.ShapeDtypeStruct(exporting.symbolic_shape(shape, scope=scope), np.float32) for shape in shapes]
    with pytest.raises(ValueError, match=r"`image` has the shape \(.*\), where a size is a symbol.*for each size"):
        exported(sample, *forms)


def test_handlers_run_at_once_in_several_threads():
    """Each on work that is large enough for threads of its own."""
    image, grid = draw((4, 64, 64, 3)), np.random.default_rng(5).uniform(-1, 1, (4, 64, 64, 2)).astype(np.float32)
    program = jax.jit(sample).lower(image, grid).compile()
    expected, found = sample(image, grid), {}

    def work(i):
        found[i] = [np.asarray(program(image, grid)) for _ in range(20)]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for results in found.values():
        for result in results:
            np.testing.assert_array_equal(result, expected)


HEADER = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"


def test_the_header_of_jaxlib_has_the_layout_that_handlers_read():
    assert layout.is_known()
    assert layout.agrees(HEADER.read_text())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("#define XLA_FFI_API_MAJOR 0", "#define XLA_FFI_API_MAJOR 1"),
        ("XLA_FFI_DataType_F32 = 11", "XLA_FFI_DataType_F32 = 12"),
        ("XLA_FFI_ExecutionStage_EXECUTE = 3", "XLA_FFI_ExecutionStage_EXECUTE = 4"),
        ("  int64_t rank;", "  int32_t rank;\n  int32_t more;\n  int64_t still;"),
        ("  const XLA_FFI_Api* api;\n", ""),
        ("XLA_FFI_InternalApi* internal_api;", "void* more; void* internal_api;"),
        ("XLA_FFI_Metadata* metadata;", "void* more; XLA_FFI_Metadata* metadata;"),
    ],
)
def test_another_layout_is_noticed(before, after):
    text = HEADER.read_text()
    assert before in text
    assert not layout.agrees(text.replace(before, after))


@pytest.mark.parametrize("shared", [True, False])
def test_an_unknown_layout_is_left_to_callbacks_with_one_warning(monkeypatch, shared):
    """They share XLA's memory, or copy it where JAX has nothing else."""
    monkeypatch.setattr(layout, "is_known", lambda: False)
    if not shared:
        monkeypatch.setattr(_compat, "buffer_callback", None)
    lower.known.cache_clear()
    jax.clear_caches()
    image, grid = draw((1, 5, 6, 3)), points(1)
    try:
        with pytest.warns(RuntimeWarning, match="its operations run by callbacks") as warned:
            out, bars = jax.jit(lambda x, u: (sample(x, u), jax.grad(loss, (0, 1))(x, u)))(image, grid)
        assert len(warned) == 1
        program = jax.jit(sample).lower(image, grid).compile().as_text()
        (target,) = set(TARGET.findall(program))
        assert target == ("xla_buffer_python_cpu_callback" if shared else "xla_ffi_python_cpu_callback")
    finally:
        lower.known.cache_clear()
    np.testing.assert_array_equal(out, sample(image, grid))
    for one, other in zip(bars, stnkit.grid_sample_vjp(2 * np.asarray(out), image, grid, **LAST), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_old_jax_gets_one_clear_message(monkeypatch):
    monkeypatch.setattr(_compat, "jax", types.SimpleNamespace(__version__="0.4.30", __version_info__=(0, 4, 30)))
    with pytest.raises(ImportError, match=r"stnkit needs jax 0\.\d+\.0 or newer for JAX arrays; got jax 0\.4\.30"):
        _compat.check_release()


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, stnkit
from jax.sharding import PartitionSpec as P
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("n",))
random = np.random.default_rng(0)
image, theta = random.normal(size=(4, 5, 6, 3)).astype("f"), random.normal(size=(4, 2, 3)).astype("f") * 0.5
one = image[:1]
function = lambda x, t: stnkit.affine_sample(x, t, data_format="channels_last")
for x, spec in ((image, P("n")), (one, P())):  # an image for each map, and one that the devices share
    split = jax.shard_map(function, mesh=mesh, in_specs=(spec, P("n")), out_specs=P("n"))
    loss = lambda f: lambda x, t: (f(x, t) ** 2).sum()
    assert len(jax.devices()) == 2
    np.testing.assert_array_equal(jax.jit(split)(x, theta), function(x, theta))
    mine, theirs = (jax.jit(jax.grad(loss(f), (0, 1)))(x, theta) for f in (split, function))
    for mine, theirs in zip(mine, theirs):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * abs(theirs).max())  # sums of two devices
print("same")
"""


def test_shard_map_over_two_devices():
    flags = "--xla_force_host_platform_device_count=2"
    assert run(SHARDED, XLA_FLAGS=flags, JAX_PLATFORMS="cpu", NUMBA_DISABLE_JIT="1") == "same\n"


AT_ONCE = """
import threading, jax, numba, numpy as np, stnkit
image, grid = np.ones((4, 64, 64, 3), "f"), np.zeros((4, 96, 96, 2), "f")
program = jax.jit(lambda x, u: stnkit.grid_sample(x, u, data_format="channels_last")).lower(image, grid).compile()
workers = [threading.Thread(target=lambda: [program(image, grid) for _ in range(50)]) for _ in range(3)]
[worker.start() for worker in workers], [worker.join() for worker in workers]
print(float(program(image, grid).sum()))
try:
    print(numba.threading_layer())
except ValueError:
    print("no threads of Numba")
"""


def test_programs_on_several_threads_start_none_of_numba():
    found = run(AT_ONCE, JAX_PLATFORMS="cpu")
    assert found == f"{4 * 96 * 96 * 3:.1f}\nno threads of Numba\n"
