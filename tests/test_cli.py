"""The command line: how it refuses, what the console sees, and what `stnkit info` says."""

import ctypes
import functools
import importlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba.core.caching import FunctionCache
from pictures_on_disk import PIXELS, load, save
from PIL import Image

from stnkit import __main__, __version__
from stnkit.cli import cleaning, compiling, environment, interrupts, notices, pool, selection
from stnkit.cli.app import BLENDING, SURROUNDING, run
from stnkit.kernels.compiler import digests, jit
from stnkit.kernels.cpu import factories, grids, threads
from stnkit.kernels.cuda import cubin_cache
from stnkit.kernels.objects import shipped
from stnkit.plans import launch as plans
from stnkit.spec import MODES, PADDING_MODES, Spec


def console(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stnkit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "photo.png", PIXELS["RGB"])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run a command line that must be refused: status 2, one line, no file made or changed."""

    def check(*words: object, says: str) -> None:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert run([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("stnkit: ")
        assert says in captured.err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    return check


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["align", "--count", "0"], "--count must be from 1 to 1000; got 0"),
        (["align", "--count", "1001"], "--count must be from 1 to 1000; got 1001"),
        (["align", "--steps", "0"], "--steps must be at least 1; got 0"),
        (["align", "--seed", "-1"], "--seed must be at least 0; got -1"),
        (["align", "--seed", "x"], "--seed"),
        (["align", "--out", "sheet.jpg"], "sheet.jpg: the contact sheet is a .png file"),
        (["align", "--out", "none/sheet.png"], "none/sheet.png: cannot be written (No such file or directory)"),
        (["--epochs", "0"], "--epochs must be at least 1; got 0"),
        (["--seed", "-1"], "--seed must be at least 0; got -1"),
        (["--out", "picture.jpg"], "picture.jpg: the picture is a .png file"),
        (["--out", "none/picture.png"], "none/picture.png: cannot be written (No such file or directory)"),
        (["classify"], "classify"),
    ],
)
def test_options_of_demos_are_refused(refused, tmp_path, monkeypatch, words: list[str], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    refused("demo", *words, says=says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scale", "0"], "singular"),
        (["--scale", "1,0"], "singular"),
        (["--scale", "1e-310"], "not finite"),
        (["--scale", "1,2,3"], "--scale takes 1 to 2 numbers"),
        (["--scale", "big"], "--scale takes 1 to 2 numbers"),
        (["--scale", "inf"], "--scale takes finite numbers; got inf"),
        (["--shear", "90"], "not finite"),
        (["--rotate", "nan"], "--rotate takes finite numbers; got nan"),
        (["--rotate", "left"], "--rotate"),
        (["--shear", "inf"], "--shear takes finite numbers"),
        (["--translate", "nan", "0"], "--translate takes finite numbers"),
        (["--translate", "3"], "--translate"),
        (["--theta", "1", "0", "nan", "0", "1", "0"], "--theta takes finite numbers"),
        (["--theta", "1", "2", "0", "2", "4", "0"], "singular"),
        (["--theta", "1", "0", "0", "0", "1", "0", "--rotate", "5"], "--theta is the whole transform"),
        (["--size", "640"], "WIDTHxHEIGHT"),
        (["--size", ""], "WIDTHxHEIGHT"),
        (["--fill", ""], "--fill takes 1 to 4 numbers"),
        (["--size", "0x5"], "WIDTHxHEIGHT"),
        (["--size", "99999x99999"], "pixels; at most"),
        (["--mode", "cubic"], f"--mode must be one of {', '.join(BLENDING)}; got cubic"),
        (["--padding", "edge"], f"--padding must be one of {', '.join(SURROUNDING)}; got edge"),
        (["--padding", "border", "--fill", "1"], "--fill is read with --padding zeros and mask only"),
        (["--fill", "1,2"], "takes 1 number, or 3 (red, green, blue); got 2"),
        (["--fill", "256"], "between 0 and 255"),
        (["--fill", "nan"], "--fill takes finite numbers"),
        (["--workers", "1"], "images are warped in blocks from and to .zarr, .tif, .tiff"),
        (["--brightness", "2"], "--brightness"),
        (["third.png"], "third.png"),
    ],
)
def test_bad_options_are_refused_in_one_line(refused, photo: Path, words: list[str], says: str) -> None:
    refused("warp", photo, photo.parent / "out.png", *words, says=says)


def test_bad_files_are_refused_in_one_line(refused, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    refused("warp", photo, says="requires an argument")
    refused("warp", tmp_path / "none.png", out, says="none.png: No such file")
    refused("warp", tmp_path, out, says="Is a directory")
    (tmp_path / "text.png").write_text("no picture")
    refused("warp", tmp_path / "text.png", out, says="text.png: not a PNG or JPEG or TIFF image")
    (tmp_path / "empty.png").touch()
    refused("warp", tmp_path / "empty.png", out, says="empty.png: not a")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:200])
    refused("warp", tmp_path / "cut.png", out, says="cut.png: damaged image")
    refused("warp", photo, tmp_path / "out.gif", says="must end in .png, .jpg, .jpeg, .tif, .tiff")
    refused("warp", photo, tmp_path / "out", says="must end in")
    refused("warp", photo, tmp_path / "none" / "out.png", says="cannot be written (No such file or directory)")
    refused("warp", photo, photo / "out.png", says="cannot be written (Not a directory)")
    (tmp_path / "folder.png").mkdir()
    refused("warp", photo, tmp_path / "folder.png", says="cannot be written (Is a directory)")


@pytest.mark.parametrize(
    ("kind", "ending", "says"),
    [
        ("RGBA", "jpg", "JPEG files hold no transparency; write a PNG or TIFF file"),
        ("I;16", "jpg", "JPEG files hold no 16-bit values; write a PNG or TIFF file"),
        ("F", "png", "PNG files hold no floating point values; write a TIFF file"),
    ],
)
def test_formats_that_cannot_hold_the_picture(refused, tmp_path: Path, kind: str, ending: str, says: str) -> None:
    source = save(tmp_path / "in.tif", PIXELS[kind])
    refused("warp", source, tmp_path / f"out.{ending}", says=says)


def test_integers_beyond_16_bits_are_refused(refused, tmp_path: Path) -> None:
    save(tmp_path / "in.tif", np.array([[-1, 70000]], np.int32))
    refused("warp", tmp_path / "in.tif", tmp_path / "out.tif", says="integers beyond 16 bits")


def test_decompression_bombs_are_refused(refused, photo: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # the photo has 126 pixels, more than twice as many
    refused("warp", photo, tmp_path / "out.png", says="decompression bomb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # where Pillow would only warn
    assert run(["warp", str(photo), str(tmp_path / "out.png")]) == 0


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_write_that_fails_leaves_the_old_file(
    photo: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str], failure: BaseException
) -> None:
    def save_half(image: object, file, *rest: object, **options: object) -> None:
        file.write(b"half")
        raise failure

    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", save_half)
    assert run(["warp", str(photo), str(target)]) == (130 if isinstance(failure, KeyboardInterrupt) else 2)
    assert capsys.readouterr().err.count("\n") == 1
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "out.png"}


def test_the_console_reports_errors_by_status_and_one_line(photo: Path, tmp_path: Path) -> None:
    done = console("warp", photo, tmp_path / "out.png", "--scale", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "stnkit: the transform is singular: it flattens the image to a line or a point\n"


def test_the_console_warps(photo: Path, tmp_path: Path) -> None:
    done = console("warp", photo, tmp_path / "out.png", "--rotate", "180")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(load(tmp_path / "out.png"), np.rot90(PIXELS["RGB"], 2))


@pytest.mark.parametrize(("room", "words"), [("align", ["align", "--steps", "9"]), ("learn", ["--epochs", "9"])])
def test_an_interrupt_leaves_no_file(room: str, words: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupted(*_: object) -> None:
        assert list(tmp_path.iterdir())  # the file is there from the start
        raise KeyboardInterrupt

    module = importlib.import_module(f"stnkit.demo.{room}.task")
    monkeypatch.setattr(module, {"align": "alignment", "learn": "learning"}[room], interrupted)
    assert run(["demo", *words, "--out", str(tmp_path / "sheet.png")]) == 130
    assert capsys.readouterr().err == "stnkit: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_control_c_is_an_interrupt(tmp_path: Path) -> None:
    words = ["demo", "align", "--steps", "10000000", "--count", "2", "--out", str(tmp_path / "sheet.png")]
    command = [sys.executable, "-m", "stnkit", *words]
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells mute it in what they put behind
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=heard) as process:
        try:
            while not list(tmp_path.iterdir()) and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode in (130, -signal.SIGINT)  # Python ends by the signal if it was seen in `exec`
    assert errors == "stnkit: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_within_a_callback_from_c_is_kept() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    @interrupts.kept()
    def program() -> None:
        ctypes.CFUNCTYPE(None)(interrupted)()
        for _ in range(6000):  # a sleep is not cut short: what is kept is raised between two of them
            time.sleep(0.01)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells mute it in what they put behind
    try:
        with pytest.raises(KeyboardInterrupt):
            program()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_archive_is_not_cleaned(refused, tmp_path: Path) -> None:
    refused("compile", "--clean", "--archive", tmp_path / "kernels", says="compiles nothing: leave out --archive")


def test_a_missing_extra_is_named(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def without(name: str) -> object:
        return None if name in ("rich", "PIL") else importlib.util.find_spec(name)

    monkeypatch.setattr(__main__, "find_spec", without)
    assert __main__.main() == 2
    expected = 'stnkit: the command line needs rich, PIL; install: pip install "stnkit[cli]"\n'
    assert capsys.readouterr().err == expected


def test_an_interrupt_while_modules_are_imported(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(name: str) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "find_spec", interrupted)
    assert __main__.main() == 130
    assert capsys.readouterr().err == "stnkit: interrupted\n"


@pytest.mark.parametrize("words", [["info", "--json"], ["info"], ["--version"]])
def test_nobody_reads_what_is_printed(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "stnkit", *words]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_and_version(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["stnkit", "--version"])
    assert __main__.main() == 0
    assert capsys.readouterr().out.strip() == __version__
    assert run(["warp", "--help"]) == 0
    shown = capsys.readouterr().out
    for name in [*BLENDING, *SURROUNDING, "--theta", "WIDTHxHEIGHT"]:
        assert name in shown


def test_info_says_what_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["stnkit"] == __version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["numba"] == numba.__version__
    assert found["threads"]["at most"] >= 1
    assert found["processor"]["llvm name"]
    assert found["cache"]["directory"]
    assert run(["info"]) == 0
    shown = capsys.readouterr().out
    for section in found:
        assert section in shown or not found[section]


@pytest.mark.parametrize(
    ("layer", "settings", "means"),
    [
        ("omp", {}, "busy for some milliseconds, then asleep (OMP_WAIT_POLICY is not set)"),
        ("omp", {"OMP_WAIT_POLICY": "passive"}, "asleep at once (OMP_WAIT_POLICY=passive)"),
        ("omp", {"OMP_WAIT_POLICY": "ACTIVE"}, "busy for minutes (OMP_WAIT_POLICY=ACTIVE)"),
        (
            "omp",
            {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "9"},
            "busy for 9 turns of a loop, then asleep (GOMP_SPINCOUNT=9)",
        ),
        ("workqueue", {"OMP_WAIT_POLICY": "ACTIVE"}, "the layer's own"),
    ],
)
def test_info_says_how_threads_wait(monkeypatch, layer, settings, means) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(environment.numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(environment.numba, "threading_layer", lambda: layer)
    assert environment.threads()["wait policy"] == means


def test_info_says_where_no_kernels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert "NUMBA_DISABLE_JIT" in environment.cache()["directory"]
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])  # no place that may be written to
    assert environment.cache()["directory"].startswith("none can be written to")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return an empty directory of kernels."""
    remembered = factories.made, grids.grid, plans.grid, cubin_cache.directory, shipped.archive
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("STNKIT_ARCHIVE", "0")
    for each in remembered:
        each.cache_clear()
    yield Path(threads.cache_directory())
    for each in remembered:
        each.cache_clear()


TINY = ["compile", "--ops", "affine_grid", "--axes", "1", "--jobs", "1"]


def table(shown: str, operation: str) -> list[str]:
    """Return what the table says of an operation."""
    (line,) = [line for line in shown.splitlines() if line.startswith(f"\u2502 {operation} ")]
    return [cell.strip() for cell in line.split("\u2502")[2:-1]]


def test_compile_fills_the_cache_and_says_with_what(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(TINY) == 0
    shown = capsys.readouterr().out
    files = sorted(place.glob("*.nbc"))
    assert len(list(place.glob("grids.grid_*.nbc"))) == 1
    assert table(shown, "affine_grid")[:2] == table(shown, "all")[:2] == ["1", "1"]
    assert f"{len(files)} kernels, " in shown
    assert f" MiB, in {place}" in shown
    for each in (factories.made, grids.grid, plans.grid):
        each.cache_clear()
    assert run(TINY) == 0
    assert table(capsys.readouterr().out, "affine_grid")[:2] == ["1", "0"]
    assert sorted(place.glob("*.nbc")) == files


def test_compile_in_several_processes(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    words = ["compile", "--ops", "affine_grid", "--axes", "1", "--dtypes", "float32,float64", "--jobs", "2"]
    done = console(*words, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.rglob("grids.grid_*.nbc"))) == 2
    assert table(done.stdout, "all")[:2] == ["2", "2"]


def test_a_process_that_is_killed_while_it_compiles_is_reported(monkeypatch) -> None:
    class Pool:
        def __init__(self, *words: object) -> None: ...
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *error: object) -> None: ...
        def shutdown(self, **words: object) -> None: ...
        def submit(self, *words: object) -> Future:
            future: Future = Future()
            future.set_exception(BrokenProcessPool())
            return future

    monkeypatch.setattr(pool, "ProcessPoolExecutor", Pool)
    chosen = selection.choices(["affine_grid"], [1, 2], ["float32"], [1])
    with pytest.raises(ValueError, match="fewer --jobs"):
        list(compiling.outcomes(chosen, 2))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--level", "x86-64-v3"], "name its file, --archive FILE"),
        (["--archive", "kernels", "--level", "z80"], "--level must be one of x86-64-v4, x86-64-v3"),
        (["--archive", "kernels", "--set", "all"], "--set must be one of common, "),
        (["--archive", "kernels", "--set", "few", "--modes", "nearest", "--corners"], "leave out --corners, --modes"),
        (["--clean", "--modes", "nearest", "--jobs", "0"], "--clean compiles nothing: leave out --jobs, --modes"),
        (["--archive", "nowhere/kernels"], "nowhere/kernels: cannot be written"),
        (["--archive", "."], ".: cannot be written"),
        (["--ops", "warp"], "--ops takes all, or some of affine_grid, "),
        (["--ops", "grid_sample, grid_count"], "separated by commas only; got grid_sample, grid_count"),
        (["--modes", "cubic"], f"--modes takes all, or some of {', '.join(MODES)}, separated"),
        (["--padding", "edge"], f"--padding takes all, or some of {', '.join(PADDING_MODES)}, separated"),
        (["--dtypes", "complex64"], "--dtypes takes all, or some of float32, float64"),
        (["--layout", "NHWC"], "--layout takes all, or some of channels_first, channels_last"),
        (["--axes", "4"], "--axes takes all, or some of 1, 2, 3"),
        (["--channels", "9"], "--channels takes all, or some of 1, 2"),
        (["--jobs", "0"], "--jobs must be at least 1; got 0"),
        (["--ops", "flow_grid_vjp", "--jobs", "1"], "these choices need no kernels"),
        (["--ops", "grid_splat", "--dtypes", "int16", "--jobs", "1"], "or are refused"),
    ],
)
def test_compile_refuses_what_it_cannot_do(refused, words: list[str], says: str) -> None:
    refused("compile", *words, says=says)


def test_compile_needs_a_place_for_kernels(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    refused(*TINY, says="kernels cannot be kept; the directory for them: none can be written to")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    refused(*TINY, says="NUMBA_DISABLE_JIT is set, and nothing is compiled")
    refused(*TINY, "--archive", "kernels", says="NUMBA_DISABLE_JIT is set, and nothing is compiled")


def test_choices_are_listed_once() -> None:
    one = {"mode": ["nearest", "bilinear"], "data_format": ["channels_first", "channels_last"]}
    listed = selection.choices(["affine_grid", "grid_sample"], [2], ["float32"], [1, 3], **one)
    assert [choice.operation for choice in listed] == ["affine_grid"] + ["grid_sample"] * 6
    assert listed[0] == ("affine_grid", 2, "float32", 1, ())
    assert {(choice.channels, *dict(choice.options).values()) for choice in listed[1:]} == {
        (count, mode, layout)
        for mode in one["mode"]
        for count, layout in [(1, "channels_first"), (1, "channels_last"), (3, "channels_last")]
    }


def test_clean_removes_the_kernels_of_other_sources(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    today = digests.digest()
    spec = Spec(1, digest=today)
    kept = Path(FunctionCache(jit.kernel(lambda: spec, spec).function)._cache_file._index_path)  # as Numba names it
    assert f"_{today:014x}_" in kept.name
    starters = [("parallel", "kernels.cpu.parallel"), ("answer", "jax.ffi.frame"), ("helper", "jax.ffi.pool")]
    others = ["cpu.pyc", "jit.place-217.py311.nbi"] + [
        f"{room.rpartition('.')[2]}.{name}_{digests.digest(f'stnkit.{room}'):014x}-196.py311.1.nbc"
        for name, room in starters
    ]
    old = [kept.name.replace(f"{today:014x}", f"{today ^ 1:014x}"), "cpu.sample_vjp_0123456789abcdef-49.py311.nbi"]
    old += [f"{room}_{today:014x}-196.py311.nbi" for room in ("parallel.parallel", "frame.answer", "pool.helper")]
    old += [name.replace(".nbi", ".12.nbc") for name in old] + [f"{old[0]}.tmp.0123456789abcdef"]
    for name in [kept.name, *others, *old]:
        (place / name).write_bytes(b"12345678")
    shelf, code = cubin_cache.directory(numba.config.CACHE_DIR), cubin_cache.Code("k", b"", 1, 0)
    room, device = "stnkit.kernels.cuda.elementwise", "stnkit.kernels.cuda.runtime"
    for name, digest, version in [
        (f"{room}.constant", digests.digest(room, device), numba.__version__),
        (f"{room}.constant", digests.digest(room, device) ^ 1, numba.__version__),
        (f"{room}.constant", digests.digest(room, device), "0.0"),
        ("stnkit.kernels.gone.constant", today, numba.__version__),
    ]:
        cubin_cache.keep(repr((name, tuple(Spec(0, digest=digest)), (0, 2), True, (9, 0), version, {})), code)
    (shelf / "broken.cubin").touch()
    mine = cubin_cache._path(repr((f"{room}.constant", tuple(Spec(0, digest=digests.digest(room, device))),
                              (0, 2), True, (9, 0), numba.__version__, {})))  # fmt: skip
    before = sum(path.stat().st_size for path in [*place.iterdir(), *shelf.iterdir()])
    removed = cleaning.clean()
    assert {path.name for path in place.iterdir()} == {kept.name, *others}
    assert [*shelf.iterdir()] == [mine]
    assert removed.files == len(old) + 4
    assert removed.size == before - sum(path.stat().st_size for path in [*place.iterdir(), *shelf.iterdir()])
    assert run(["compile", "--clean"]) == 0
    assert capsys.readouterr().out == "0 files removed, 0.0 MiB\n"


def test_the_log_is_shown_on_a_terminal_alone(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("stnkit")
    before = logger.level, list(logger.handlers)
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with notices.shown():
            logger.info("compiling %s", "a kernel")
    assert capsys.readouterr().err == "stnkit: compiling a kernel\n"
    assert (logger.level, logger.handlers) == before


def test_info_imports_no_framework() -> None:
    script = (
        "import sys; from stnkit.cli.environment import facts; facts();"
        "print([name for name in ('torch', 'jax', 'cupy', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_info_describes_devices_and_survives_drivers(monkeypatch) -> None:
    monkeypatch.setattr(environment.metadata, "version", lambda name: "1.0")
    device = SimpleNamespace(name=b"GPU", compute_capability=(9, 0))
    driver = SimpleNamespace(is_available=lambda: True, list_devices=lambda: [device])
    monkeypatch.setattr(numba, "cuda", driver, raising=False)
    assert environment.cuda() == {"numba-cuda": "1.0", "device 0": "GPU, compute capability 9.0"}
    driver.is_available = lambda: False
    assert environment.cuda()["devices"].startswith("none: no driver")
    driver.is_available = lambda: 1 // 0
    assert environment.cuda()["devices"].startswith("none: ZeroDivisionError")
