"""Kernels ahead of time: what a call would run is compiled and not run, and is all that the call asks for then."""

import importlib
import logging
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import numba
import numpy as np
import pytest
from cases import FUNCTIONS

import stnkit
from stnkit.kernels.compiler import monitor
from stnkit.kernels.cpu import factories, grids, threads
from stnkit.kernels.objects import shipped
from stnkit.plans import launch as plans
from stnkit.spec import BICUBIC, BORDER, UINT8, WRAP, Spec

THETA = np.array([[[0.5, 0.25]]])
GRID = stnkit.affine_grid, (1, 1, 2), (4,)  # of which the kernel is compiled in less than a second
IMAGES, GRIDS = (2, 3, 4, 5), (2, 4, 5, 2)


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Let kernels be kept in an empty directory; return what forgets those in memory, as a new process has none."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("STNKIT_ARCHIVE", "0")
    shipped.archive.cache_clear()

    def forget() -> None:
        grids.grid.cache_clear()
        factories.made.cache_clear()
        plans.grid.cache_clear()

    forget()
    yield forget
    forget()
    shipped.archive.cache_clear()


def kept(place: Path) -> list[Path]:
    """Return the kernels that are kept."""
    return sorted(place.rglob("*.nbc"))


@pytest.fixture
def launched(plain, monkeypatch: pytest.MonkeyPatch):
    """Return the kernels that are launched, or would be; none is compiled, and most take no time."""
    found: list[str] = []
    room = importlib.import_module("stnkit.kernels.compiler.monitor")
    taken = room.taken

    def note(kernel):
        found.append(kernel.key)
        return taken(kernel)

    monkeypatch.setattr(room, "taken", note)
    monkeypatch.setattr(room, "ahead", 1)  # so that every launch looks further
    return found


def test_a_kernel_that_is_compiled_ahead_is_found_by_the_call(empty, tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(monitor, "SLOW", 0.0)
    with caplog.at_level(logging.INFO, "stnkit"):
        first = stnkit.compile_ahead(*GRID, dtype="float64")
        assert first[:2] == (1, 1)
        assert first.seconds > 0
        assert Path(first.place).parent == tmp_path
        assert len(kept(tmp_path)) == 1
        for forget in (lambda: None, empty):
            forget()
            assert stnkit.compile_ahead(*GRID, dtype="float64")[:2] == (1, 0)
        empty()
        np.testing.assert_array_equal(stnkit.affine_grid(THETA, (4,)), [[[-0.125], [0.125], [0.375], [0.625]]])
    assert len(kept(tmp_path)) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"compiling grid for 1-D nearest zeros float64 (first call of its kind; kept in {first.place})"
    ]
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_what_compiles_soon_or_unheard_says_nothing(empty, caplog, monkeypatch) -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("stnkit").handlers)
    with caplog.at_level(logging.INFO, "stnkit"):
        monkeypatch.setattr(monitor, "SLOW", 1e6)
        stnkit.affine_grid(THETA, (4,))
    monkeypatch.setattr(threading, "Timer", None)  # no thread is started where nobody hears of it
    with caplog.at_level(logging.WARNING, "stnkit"):
        stnkit.affine_grid(THETA.astype(np.float32), (4,))
    assert caplog.records == []


def test_what_a_kernel_is_called() -> None:
    spec = Spec(3, BICUBIC, padding=(WRAP, BORDER, WRAP), image_dtype=UINT8, interleaved=True)
    assert monitor.described(spec) == "3-D bicubic wrap/border/wrap uint8 channels_last"


def test_without_a_directory_kernels_are_compiled_and_that_is_said(empty, monkeypatch, caplog) -> None:
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(monitor, "SLOW", 0.0)
    with caplog.at_level(logging.INFO, "stnkit"), pytest.warns(RuntimeWarning, match="set NUMBA_CACHE_DIR"):
        found = stnkit.compile_ahead(*GRID, dtype="float64")
    assert (found.kernels, found.compiled, found.place) == (1, 1, None)
    assert "not kept, as there is no directory to write to: set NUMBA_CACHE_DIR" in caplog.text


def test_uncompiled_there_is_nothing_to_compile(plain) -> None:
    assert plain.compile_ahead(plain.affine_grid, (1, 1, 2), (4,))._replace(seconds=0) == (1, 0, 0, None)


def test_other_threads_go_on_running_kernels() -> None:
    results = []
    with monitor.collecting() as tally:
        other = threading.Thread(target=lambda: results.append(stnkit.affine_grid(THETA, (4,))))
        other.start()
        other.join()
        assert not tally.kernels
        stnkit.affine_grid(THETA, (4,))
        assert len(tally.kernels) == 1
    np.testing.assert_array_equal(results[0], stnkit.affine_grid(THETA, (4,)))
    assert monitor.ahead == 0


def test_arrays_shapes_and_forms_are_one(launched, plain) -> None:
    def asked(image, grid, **options):
        launched.clear()
        plain.compile_ahead(plain.grid_sample, image, grid, **options)
        return set(launched)

    image, grid = np.ones(IMAGES, np.float32), np.ones(GRIDS, np.float32)
    expected = asked(image, grid)
    assert len(expected) == 1
    assert asked(IMAGES, GRIDS) == expected
    assert asked(jax.ShapeDtypeStruct(IMAGES, np.float32), jax.numpy.asarray(grid)) == expected
    assert asked(SimpleNamespace(shape=IMAGES, dtype="float32"), grid) == expected
    double = asked(IMAGES, GRIDS, dtype=np.float64)
    assert double == asked(image.astype(float), grid.astype(float))
    assert double != expected
    across = np.ones((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)  # an array's own strides count
    assert asked(across, GRIDS) != expected
    assert asked(np.broadcast_to(image, IMAGES)[..., ::-1], GRIDS) != expected


def test_nothing_that_was_given_is_written_to(plain) -> None:
    image, grid = np.ones(IMAGES, np.float32), np.zeros(GRIDS, np.float32)
    out, sums = np.full(IMAGES, 7, np.float32), np.full(IMAGES, 7, np.float32)
    assert plain.compile_ahead(plain.grid_sample, image, grid, out=out).kernels == 1
    assert plain.compile_ahead(plain.grid_sample_vjp, image, image, grid, accumulate_into=sums).kernels == 1
    theta = np.eye(2, 3, dtype=np.float32)
    plain.compile_ahead(plain.affine_sample, image, theta, antialias=2, out=out)
    plain.compile_ahead(plain.affine_sample_vjp, image, image, theta, antialias=2, accumulate_into=sums)
    assert (out == 7).all()
    assert (sums == 7).all()
    with pytest.raises(ValueError, match="`out` must have the shape of the output"):
        plain.compile_ahead(plain.grid_sample, image, grid, out=out[:1])


@pytest.mark.parametrize(("d", "layout"), [(1, "channels_last"), (2, "channels_first"), (3, "channels_last")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_asked_for_is_what_the_call_runs(launched, plain, name: str, d: int, layout: str) -> None:
    """And the calls that the command line makes are ones that every function takes."""
    selection = importlib.import_module("stnkit.cli.selection")
    (choice,) = selection.choices([name], [d], ["float32"], [2], mode=["bilinear"], data_format=[layout])
    (forms, options), _ = selection.calls(choice)

    def array(form):
        if not hasattr(form, "dtype"):
            return form
        return np.random.default_rng(0).uniform(-1, 1, form.shape).astype(form.dtype)

    getattr(plain, name)(*map(array, forms), **options)
    ran, launched[:] = set(launched), []
    assert ran or name == "flow_grid_vjp"  # which is a product
    plain.compile_ahead(getattr(plain, name), *forms, **options)
    assert set(launched) == ran


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "_sample" in name])
def test_narrow_images_are_compiled_for(plain, name: str, dtype: str) -> None:
    selection = importlib.import_module("stnkit.cli.selection")
    (choice,) = selection.choices([name], [2], [dtype], [2])
    for forms, options in selection.calls(choice):
        assert plain.compile_ahead(getattr(plain, name), *forms, **options).kernels > 0


@pytest.mark.parametrize("name", ["affine", "projective", "thin_plate_spline", "flow"])
@pytest.mark.parametrize("kind", ["", "_vjp"])
def test_antialiased_calls_need_no_kernel_more(launched, plain, name: str, kind: str) -> None:
    """The number of places follows from numbers that a shape does not have."""
    image, size = np.zeros((1, 2, 7, 7), np.float16), (3, 3)
    points = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
    source = {
        "affine": np.eye(2, 3, dtype=np.float32)[None],
        "projective": np.eye(3, dtype=np.float32)[None],
        "thin_plate_spline": points[None],
        "flow": np.zeros((1, *size, 2), np.float32),
    }[name]
    cotangent = [np.zeros((1, 2, *size), np.float16)] if kind else []
    control = [points] if name == "thin_plate_spline" else []
    sizes = [] if kind or name == "flow" else [size]
    function = getattr(plain, f"{name}_sample{kind}")
    function(*cotangent, image, source, *control, *sizes, antialias=True)
    ran, launched[:] = set(launched), []
    assert ran
    forms = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in (*cotangent, image, source, *control)]
    plain.compile_ahead(function, *forms, *sizes, antialias=True)
    assert ran <= set(launched)


class OnGPU:
    shape, dtype = IMAGES, np.dtype(np.float32)
    __dlpack__ = None

    def __dlpack_device__(self):
        return 2, 0


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda c: c(np.sin, (2,)), TypeError, "`function` must be a function of stnkit on arrays"),
        (lambda c: c(c, (2,)), TypeError, "`function` must be a function of stnkit on arrays"),
        (lambda c: c(stnkit.grid_sample, IMAGES, GRIDS, dtype="foo"), TypeError, "`dtype` must be .*; got 'foo'"),
        (lambda c: c(stnkit.grid_sample, IMAGES), TypeError, "missing a required argument: 'grid'"),
        (lambda c: c(stnkit.grid_sample, IMAGES, GRIDS, wrong=1), TypeError, "unexpected keyword argument 'wrong'"),
        (lambda c: c(stnkit.grid_sample, IMAGES, (2, 4, 5, 4)), ValueError, r"`grid` must have shape"),
        (lambda c: c(stnkit.grid_sample, IMAGES, GRIDS, mode="cubic"), ValueError, "`mode` must be one of"),
        (
            lambda c: c(stnkit.grid_sample, IMAGES, GRIDS, dtype=int),
            TypeError,
            "`image` of dtype int64 can be",
        ),
        (lambda c: c(stnkit.grid_sample, IMAGES, [1, 2]), TypeError, "`grid` must be a NumPy array"),
        (lambda c: c(stnkit.grid_sample, OnGPU(), GRIDS), TypeError, "`image` must be in main memory, or a shape"),
    ],
)
def test_what_is_refused(call, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call(stnkit.compile_ahead)
    assert monitor.tally() is None
    assert monitor.ahead == 0


def test_the_place_of_kernels_is_told_without_compiling_one(empty, tmp_path: Path) -> None:
    assert Path(threads.cache_directory()).parent == tmp_path
    assert not list(tmp_path.rglob("*.nb?"))
