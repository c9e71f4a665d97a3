"""Archives of kernels: what is taken from one is what would be compiled, and what is wrong with one is said once."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding as llvm

import stnkit
from bench import archived
from stnkit.cli import archiving, selection, sets
from stnkit.kernels.compiler import digests, monitor, settings
from stnkit.kernels.cpu import factories, grids, start, threads
from stnkit.kernels.objects import archive, levels, linking, shipped
from stnkit.kernels.objects.archive import Archive, Damaged, Object
from stnkit.plans import launch as plans

LEVEL = next((name for name in ("x86-64-v3", "armv8-a") if name in levels.levels()), None)  # not this machine's best
pytestmark = pytest.mark.skipif(LEVEL is None, reason="archives are for no processor of this kind")

CHOSEN = [  # kernels that are soon compiled
    *selection.choices(["affine_grid", "affine_grid_vjp"], [1, 2], ["float32", "float64"], [1]),
    *selection.choices(["affine_sample"], [2], ["float32"], [3], mode=["bilinear", "nearest"], padding_mode=["zeros"]),
    *selection.choices(["affine_sample_vjp"], [2], ["float32"], [3], mode=["bilinear"], padding_mode=["zeros"]),
]

# Calls whose kernels these are.
SCRIPT = """
import hashlib, json, sys
import numpy as np
import stnkit
draw = np.random.default_rng(3)
theta = draw.normal(size=(2, 2, 3)).astype(np.float32)
image = draw.normal(size=(2, 3, 40, 50)).astype(np.float32)
out = stnkit.affine_sample(image, theta, (128, 128))
results = [out, stnkit.affine_sample(image, theta, mode="nearest")]
results += [*stnkit.affine_sample_vjp(out, image, theta), *stnkit.affine_sample_vjp(out[:, :, :5, :5], image, theta)]
for dtype in (np.float32, np.float64):
    for matrix, size in ((theta[:, :1, :2], (9,)), (theta, (7, 8))):
        results.append(stnkit.affine_grid(matrix.astype(dtype), size))
        results.append(stnkit.affine_grid_vjp(draw.normal(size=(2, *size, len(size))).astype(dtype)))
from stnkit.kernels.compiler import monitor
sums = [hashlib.sha256(np.ascontiguousarray(result).tobytes()).hexdigest() for result in results]
print(json.dumps({"sums": sums, "origins": monitor.origins, "numba": "numba" in sys.modules}))
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive of a dozen kernels; beside it is what Numba keeps of compiling them."""
    folder = tmp_path_factory.mktemp("archive")
    with archiving.compiling_for(LEVEL, str(folder / "numba")):
        done = list(archiving.results(archiving.made, CHOSEN, 1))
    written = archiving.write(folder / f"{LEVEL}.kernels", LEVEL, done)
    assert written.kernels == 12
    return folder / f"{LEVEL}.kernels"


def called(**words: str) -> dict:
    """Run the script in a new process."""
    paths = os.pathsep.join([str(Path(stnkit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    other = {word: value for word, value in os.environ.items() if not word.startswith(("NUMBA_", "STNKIT_"))}
    environment = {**other, "PYTHONPATH": paths, **words}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def test_kernels_of_an_archive_have_the_bits_of_those_that_are_compiled(made: Path, tmp_path: Path) -> None:
    """Nor do calls that find all in it import Numba."""
    found = called(STNKIT_ARCHIVE=str(made), NUMBA_CACHE_DIR=str(tmp_path))
    assert set(found["origins"].values()) == {monitor.ARCHIVE}
    assert not found["numba"]
    assert list(tmp_path.iterdir()) == []
    level = {"NUMBA_CPU_NAME": levels.LEVELS[LEVEL].processor, "NUMBA_CPU_FEATURES": levels.LEVELS[LEVEL].tuning}
    compiled = called(NUMBA_CACHE_DIR=str(made.parent / "numba"), STNKIT_ARCHIVE=str(made), **level)
    assert set(compiled["origins"].values()) == {monitor.CACHE}  # where a level is asked for, no archive is used
    assert found["sums"] == compiled["sums"]
    assert set(found["origins"]) == set(compiled["origins"]) <= set(Archive(made))


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch):
    """Return what lets this process look for an archive, and for kernels, as a new process does."""

    def forget(path: Path | str | None = None) -> None:
        if path is None:
            monkeypatch.delenv("STNKIT_ARCHIVE", raising=False)
        else:
            monkeypatch.setenv("STNKIT_ARCHIVE", str(path))
        for each in (factories.made, grids.grid, plans.grid, shipped.archive):
            each.cache_clear()

    monkeypatch.setattr(shipped, "_refused", set())
    for choice in shipped.CHOICES:
        monkeypatch.delenv(choice, raising=False)
    yield forget
    monkeypatch.undo()
    for each in (factories.made, grids.grid, plans.grid, shipped.archive):
        each.cache_clear()


THETA = np.array([[[0.5, 0.25]]])


def line() -> str:
    """Call a function of which the archive has the kernel; return where that came from."""
    monitor.origins.clear()
    np.testing.assert_array_equal(stnkit.affine_grid(THETA, (4,)), [[[-0.125], [0.125], [0.375], [0.625]]])
    (origin,) = monitor.origins.values()
    return origin


def test_where_kernels_are_looked_for(made: Path, anew, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (made, made.parent):
        anew(place)
        assert line() == monitor.ARCHIVE
        monitor.origins.clear()
        stnkit.affine_grid(THETA, (5,))
        assert not monitor.origins  # it is in memory
    anew(0)
    assert line() != monitor.ARCHIVE
    anew(made)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert line() != monitor.ARCHIVE


def changed(table: dict, whole: bytes) -> bytes:
    """Return an archive with another table, whose checksum fits."""
    length = int.from_bytes(whole[16:24], "little")
    text = json.dumps(json.loads(whole[archive.START : archive.START + length]) | table).encode()
    sums = archive.hashlib.sha256(text).digest()
    return archive.MAGIC + len(text).to_bytes(8, "little") + sums + text + whole[archive.START + length :]


def flipped(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


DAMAGES = {
    "empty": lambda whole: b"",
    "head": lambda whole: whole[:20],
    "table": lambda whole: whole[:100],
    "cut": lambda whole: whole[: archive.START + int.from_bytes(whole[16:24], "little") + 9],
    "other": lambda whole: b"PK" + whole[2:],
    "length": lambda whole: whole[:16] + b"\xff" * 8 + whole[24:],
    "letter": lambda whole: flipped(whole, archive.START + 5),
    "object": lambda whole: flipped(whole, len(whole) - 1),
    "sources": lambda whole: changed({"digest": "0" * 14}, whole),
    "system": lambda whole: changed({"system": "plan9-vax"}, whole),
    "level": lambda whole: changed({"level": "x86-64-v9"}, whole),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_archive_that_cannot_be_believed_is_not_used_and_that_is_said_once(
    made: Path, anew, tmp_path: Path, damage: str
) -> None:
    """Every object is damaged where one is, so that it does not matter which is asked for."""
    path, whole = tmp_path / "wrong.kernels", made.read_bytes()
    wrong = DAMAGES[damage](whole)
    if damage == "object":
        end = archive.START + int.from_bytes(whole[16:24], "little")
        wrong = whole[:end] + bytes(byte ^ 1 for byte in whole[end:])
    path.write_bytes(wrong)
    anew(path)
    with pytest.warns(RuntimeWarning, match="kernels are compiled, and not taken from .*wrong.kernels") as said:
        assert line() != monitor.ARCHIVE
    assert len(said) == 1
    for each in (factories.made, grids.grid, plans.grid):
        each.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert line() != monitor.ARCHIVE
    if damage != "object":
        assert "which is not used: " in shipped.described(digests.digest())["file"]


@pytest.mark.parametrize("code", [b"", b"no object", "half", "zeros", "symbol"], ids=str)
def test_an_object_that_cannot_be_linked_is_compiled(made: Path, anew, tmp_path: Path, code: bytes | str) -> None:
    """Who writes such archives can do worse; but an accident of a linker must not end a process."""
    old, objects = Archive(made), {}
    for name in old:
        symbol, good = old.find(name)
        bad = {"half": good[: len(good) // 2], "zeros": bytes(len(good)), "symbol": good}.get(code, code)
        objects[name] = Object(f"{symbol}_{code!r}", bad) if name.startswith("grid_") else Object(symbol, good)
    archive.write(tmp_path / "wrong.kernels", old.about, objects)
    anew(tmp_path / "wrong.kernels")
    with pytest.warns(RuntimeWarning, match="kernels are compiled, and not taken from"):
        assert line() != monitor.ARCHIVE


def test_a_path_without_an_archive_is_said(anew, tmp_path: Path) -> None:
    anew(tmp_path / "none.kernels")
    with pytest.warns(RuntimeWarning, match=r"not taken from .*none.kernels: .*No such file"):
        assert line() != monitor.ARCHIVE
    (tmp_path / "none").mkdir()
    anew(tmp_path / "none")
    assert line() != monitor.ARCHIVE  # a directory without archives is what most installations have
    assert shipped.described(digests.digest()) == {"file": "none: kernels are compiled"}


def test_what_is_compiled_ahead_is_in_the_archive(made: Path, anew) -> None:
    anew(made)
    found = stnkit.compile_ahead(stnkit.affine_grid, (1, 1, 2), (4,), dtype="float64")
    assert (found.kernels, found.compiled) == (1, 0)
    assert shipped.described(digests.digest())["kernels"] == 12


def test_what_starts_kernels_checks_what_it_is_given(made: Path, anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is linked from the archive, too."""
    anew(made)
    monkeypatch.setattr(linking, "compiled", None)
    monkeypatch.setattr(linking, "_linked", {})
    run = start.starter.__wrapped__()
    for given in ((), (0,) * 10, (0,) * 12, ("a",) * 11, (0.5,) * 11, (0, None, *(0,) * 9)):
        with pytest.raises(TypeError):
            run(*given)


def test_the_best_level_is_taken(made: Path, anew, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [name for name, level in levels.LEVELS.items() if level.machine == "x86_64"]
    monkeypatch.setattr(levels, "levels", lambda: tuple(names))
    for name in reversed(names):
        (tmp_path / f"{name}.kernels").touch()
        anew(tmp_path)
        assert shipped.place() == tmp_path / f"{name}.kernels"


def test_numba_is_imported_for_threads_once_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "numba", lambda: None)
    monkeypatch.setattr(threads, "_alone", 0)
    monkeypatch.setattr(threads, "_count", None)
    monkeypatch.setattr(threads, "_numba_threads", lambda: 2)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    work = int(threads.IMPORT / threads.busy.GUESS / 2.5)
    assert [threads.pays(work) for _ in range(4)] == [False, False, True, True]
    assert not threads.pays(threads.SMALL - 1)
    monkeypatch.setattr(threads, "_alone", 0)
    assert threads.pays(3 * work)  # which is not waited for
    with threads.at_most(1):
        assert not threads.pays(3 * work)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert not threads.pays(3 * work)


@pytest.mark.parametrize(("text", "meant"), [("", False), ("0", False), ("1", True)])
def test_numba_need_not_be_imported_to_know_that_nothing_is_compiled(monkeypatch, text: str, meant: bool) -> None:
    monkeypatch.setattr(settings, "numba", lambda: None)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", text)
    assert settings.interpreted() == meant


def test_a_set_lists_each_choice_once() -> None:
    for name in sets.SETS:
        listed = sets.members(name)
        assert len(set(listed)) == len(listed) > 1
        for member in listed[::20]:
            assert isinstance(member, sets.Single) or list(selection.calls(member))


def test_the_kernels_of_the_documentation_are_written_as_they_are_read() -> None:
    listed = sets.singles(sets.DOCUMENTED)
    assert sets.kept(listed) == sets.DOCUMENTED.read_text(encoding="utf-8")
    assert len(set(listed)) == len(listed) > 50
    for factory, spec in listed:
        assert factory in vars(factories).values()
        assert spec.digest == digests.digest()


def test_machine_code_is_compared_without_the_kernels_name(made: Path) -> None:
    """That has a number in it, of what a process has compiled before."""
    found = {name: Archive(made).find(name) for name in Archive(made)}
    codes = {name: archived.code(one) for name, one in found.items()}
    assert len(set(codes.values())) == len(codes)
    for name, (symbol, code) in found.items():
        own = symbol.rpartition("_ZN")[2]  # the name of what Numba keeps beside it ends so, too
        other = Object(symbol.replace(own, own.swapcase()), code.replace(own.encode(), own.swapcase().encode()))
        assert other.code.count(own.swapcase().encode()) == (1 if name.startswith("start") else 2)
        assert archived.code(other) == codes[name]
        instructions = max((section.data() for section in llvm.ObjectFileRef.from_data(code).sections()), key=len)
        at = code.index(instructions) + len(instructions) // 2
        assert archived.code(Object(symbol, flipped(code, at))) != codes[name]
    (vjp,) = [one for name, one in found.items() if name.startswith("sample_vjp_banded")][:1]
    assert b"\0malloc\0" in vjp.code
    assert archived.code(Object(vjp.symbol, vjp.code.replace(b"\0malloc\0", b"\0calloc\0"))) != archived.code(vjp)


def test_what_differs_from_an_archive_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STNKIT_ARCHIVE", "0")
    monkeypatch.setattr(sets, "members", lambda name: [])
    first, second = [name for name in Archive(made) if not name.startswith("start_")][:2]
    code = {first: archived.code(Archive(made).find(first)), second: "other", "none": "other"}
    ran = [
        [archived.Ran({"a": "1", "b": "2"}, {}, {first: monitor.COMPILED}), archived.Ran({"c": "3"}, code, {})],
        [archived.Ran({"a": "1", "b": "4", "c": "3"}, {}, {first: monitor.ARCHIVE, second: monitor.COMPILED})],
    ]
    monkeypatch.setattr(archived, "results", lambda *_: ran.pop(0))
    found = archived.compared(made)
    assert found == archived.Compared(calls=3, called=1, differ=["b"], kernels=3, other=[second, "none"])
    assert os.environ["STNKIT_ARCHIVE"] == str(made)


def test_an_archive_of_nothing_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need no kernels"):
        archiving.write(tmp_path / "none.kernels", LEVEL, [archiving.Made({}, 0.0)])
    assert not list(tmp_path.iterdir())


def test_a_damaged_archive_says_what_is_wrong(made: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_bytes(b"x" * 100)
    with pytest.raises(Damaged, match="no archive"):
        Archive(tmp_path / "wrong")
    assert Archive(made).find("none") is None
