"""What a wheel with archives of kernels gives: `python -m bench wheel [--wheel FILE]`.

It builds the wheel, as a release does, or takes FILE, of whose build FILE.log may tell. The wheel is installed with its
dependencies, and nothing else, into an environment of its own. There processes are measured that make one call, or run
what the README shows. Then its archives are compared with what the documentation and the benchmark call, and their
kernels with those that are compiled here: their speed, and their bits. Writes JSON to `bench/results` after every part,
and in the end the table to the documentation's page on performance. `--cache DIR` is for `bench.archived`.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from bench import archived, native, report, results, sittings, suite
from bench.tables import DASH, Table, figure
from docs.blocks import BLOCK
from stnkit.kernels.compiler import monitor
from stnkit.kernels.objects import levels, shipped
from stnkit.kernels.objects.archive import Archive

ROUNDS = 5  # of processes, of which the median counts
SAID = re.compile(r"(\d+) kernels for (\S+), .* in (\d+) CPU seconds")  # by a build, of each archive
NOT_KEPT = ("NUMBA_", "STNKIT_", "PYTHON", "OMP_", "GOMP_")  # settings that processes are measured without

NUMPY = "import numpy"
CALL = """
import numpy, stnkit
stnkit.affine_sample(numpy.ones((1, 3, 64, 64), numpy.float32), numpy.eye(2, 3, dtype=numpy.float32))
"""
TOLD = """
import json, re, sys
from pathlib import Path
from stnkit.kernels.compiler import monitor
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
print(json.dumps({"origins": list(monitor.origins.values()), "numba": "numba" in sys.modules, "memory": peak}))
"""


class Ended(NamedTuple):
    """What a process came to."""

    seconds: float  # of a processor, from start to end
    told: dict[str, Any]  # in its last line
    kept: int  # files, of what it compiled

    @property
    def compiled(self) -> int:
        """How many kernels it did not find."""
        return sum(origin != monitor.ARCHIVE for origin in self.told["origins"])


def built(folder: Path) -> Path:
    """Build a wheel with an archive for each level of this processor; beside it lies what the build said."""
    words = {"STNKIT_BUILD_ARCHIVES": ",".join(levels.levels())}
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-v", "--wheel-dir", str(folder), str(sittings.HERE)]
    done = subprocess.run(command, env=os.environ | words, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    wheel.with_name(f"{wheel.name}.log").write_text(done.stdout, encoding="utf-8")
    return wheel


def unpacked(wheel: Path, folder: Path) -> dict[str, Path]:
    """Take those archives out of a wheel that this processor can use; return their files by their levels."""
    found = {}
    with zipfile.ZipFile(wheel) as file:
        for name in map(Path, file.namelist()):
            if name.suffix == shipped.SUFFIX and name.stem in levels.levels():
                found[name.stem] = folder / name.name
                found[name.stem].write_bytes(file.read(name.as_posix()))
    return dict(sorted(found.items()))


@contextlib.contextmanager
def environment(*needs: str) -> Iterator[Path]:
    """Make an environment with nothing but what is asked for; yield its Python."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *needs], check=True)
        yield python


def ended(python: Path, script: str, **settings: str) -> Ended:
    """Run a script in a new process, which has no kernels but those of archives."""
    words = {name: value for name, value in os.environ.items() if not name.startswith(NOT_KEPT)}
    with tempfile.TemporaryDirectory() as folder:
        environment = words | {"NUMBA_CACHE_DIR": folder} | settings
        child = subprocess.Popen([python, "-P", "-c", script], env=environment, cwd=folder, stdout=subprocess.PIPE)
        assert child.stdout is not None
        printed = child.stdout.read().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"bench wheel: a process ended with {child.returncode}")
        told = json.loads(printed[-1]) if printed else {}
        return Ended(usage.ru_utime + usage.ru_stime, told, sum(1 for _ in Path(folder).rglob("*.nb?")))


def processes(wheel: Path, archives: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Measure processes in an environment with the wheel alone, and then in one with torch too."""
    runs: dict[str, list[Ended]] = {level: [] for level in archives}
    numpy, without = [], []
    with environment(str(wheel)) as python:
        ended(python, CALL)  # so that all files have been read once
        for _ in range(ROUNDS):
            numpy.append(ended(python, NUMPY).seconds)
            without.append(ended(python, CALL, STNKIT_ARCHIVE="0").seconds)
            for level, path in archives.items():
                runs[level].append(ended(python, CALL + TOLD, STNKIT_ARCHIVE=str(path)))
    torch = metadata.version("torch").partition("+")[0]
    with environment(f"{wheel}[torch]", f"torch=={torch}") as python:
        shown = {level: ended(python, readme() + TOLD, STNKIT_ARCHIVE=str(path)) for level, path in archives.items()}
    return {
        level: {
            "numpy": statistics.median(numpy),
            "without": statistics.median(without),
            "call": statistics.median(one.seconds for one in those),
            "memory": max(one.told["memory"] for one in those),
            "numba": any(one.told["numba"] for one in those),
            "compiled": max(one.compiled + one.kept for one in those),
            "readme": len(shown[level].told["origins"]),
            "readme compiled": shown[level].compiled,
            "readme kept": shown[level].kept,
            "readme numba": shown[level].told["numba"],
        }
        for level, those in runs.items()
    }


def readme() -> str:
    """Return the code that the README shows: calls on NumPy's arrays, and a training step in torch."""
    text = (sittings.HERE / "README.md").read_text(encoding="utf-8")
    return "\n".join(block["code"] for block in BLOCK.finditer(text))


def documented(archives: dict[str, Path]) -> dict[str, dict[str, int]]:
    """Count the kernels that the documentation calls, and those of them that are in archives; it runs with the best."""
    best = str(next(archives[level] for level in levels.levels() if level in archives))
    words = {"STNKIT_ARCHIVE": best, "STNKIT_TESTS_ARCHIVE": best, "PYTHONPATH": str(sittings.HERE)}
    command = [sys.executable, "-m", "bench.documented", "--list"]
    done = subprocess.run(command, env=os.environ | words, cwd=sittings.HERE, check=True, stdout=subprocess.PIPE)
    origins = json.loads(done.stdout.splitlines()[-1])
    taken = sum(origin == monitor.ARCHIVE for origin in origins.values())
    return {
        level: {"kernels": len(origins), "there": len(set(Archive(path)) & set(origins)), "taken from the best": taken}
        for level, path in archives.items()
    }


def sizes(wheel: Path, archives: dict[str, Path]) -> dict[str, dict[str, int | None]]:
    """Tell how large a wheel and its archives are, and how long they took, if its build has said that."""
    log = wheel.with_name(f"{wheel.name}.log")
    said = SAID.findall(log.read_text(encoding="utf-8")) if log.is_file() else []
    return {
        level: {
            "wheel": wheel.stat().st_size,
            "archive": path.stat().st_size,
            "kernels": sum(not key.startswith("start_") for key in Archive(path)),
            "seconds": next((int(seconds) for _, other, seconds in said if other == level), None),
        }
        for level, path in archives.items()
    }


def speeds(archives: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Time kernels of archives beside those that are compiled for this processor, in all cases of the benchmark."""
    cases = [case for section in suite.SECTIONS for case in section.cases]
    return {level: found._asdict() for level, found in native.measure(archives, cases).items()}


def bits(archives: dict[str, Path], kept: Path | None) -> dict[str, dict[str, Any]]:
    """Compare kernels of archives with those that are compiled for the same level."""
    return {level: archived.compared(path, kept=kept and kept / level)._asdict() for level, path in archives.items()}


def table(sides: dict[str, Any]) -> Table:
    """Return what was found, a column for each level."""
    rows = []
    for what, part, cell in ROWS:
        rows.append((what, *(cell(side[part]) if part in side else DASH for side in sides.values())))
    return Table("A wheel with archives", ("", *sides), rows)


ROWS = (
    ("the wheel with its archives, MB", "size", lambda one: figure(one["wheel"] / 1e6)),
    ("the archive, MB", "size", lambda one: figure(one["archive"] / 1e6)),
    ("its kernels", "size", lambda one: str(one["kernels"])),
    ("making it, CPU s", "size", lambda one: figure(one["seconds"])),
    ("a process that imports NumPy, CPU s", "processes", lambda one: figure(one["numpy"])),
    ("one that calls `affine_sample`, CPU s", "processes", lambda one: figure(one["call"])),
    ("its largest resident memory, MiB", "processes", lambda one: figure(one["memory"] / 2**20)),
    ("the same with neither archive nor cache, CPU s", "processes", lambda one: figure(one["without"])),
    (
        "compiled for the README's code, a training step in torch among it",
        "processes",
        lambda one: f"{one['readme compiled']} of {one['readme']}",
    ),
    (
        "of the kernels that all of the documentation calls, it has",
        "documented",
        lambda one: f"{one['there']} of {one['kernels']}",
    ),
    ("of those that the benchmark calls", "speed", lambda one: f"{one['there']} of {one['kernels']}"),
    ("the benchmark's cases take with compiled kernels", "speed", lambda one: speed(one["speeds"])),
    ("random calls with other bits than compiled kernels give", "bits", lambda one: differ(one, "differ", "calls")),
    ("kernels that these took from it", "bits", lambda one: str(one["called"])),
    ("kernels with other machine code than they have here", "bits", lambda one: differ(one, "other", "kernels")),
    ("processes that wanted the machine, on average of 5 minutes", "load", lambda one: figure(one["mean"])),
)


def speed(speeds: dict[str, float]) -> str:
    """Write how many times as long compiled kernels take: on geometric average, and least and most in a case."""
    least, most = (figure(end(speeds.values())) for end in (min, max))
    return f"{figure(statistics.geometric_mean(speeds.values()))} times as long ({least} to {most})"


def differ(one: dict[str, Any], which: str, all_of_them: str) -> str:
    """Write how many differ."""
    return f"{len(one[which])} of {one[all_of_them]}"


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench wheel", description=__doc__)
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="measure this one, and build none")
    parser.add_argument("--cache", metavar="DIR", type=Path, help="of kernels compiled for levels, a folder for each")
    parser.add_argument(
        "--resume", metavar="FILE", type=Path, help="go on with a run of this wheel that was interrupted"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write JSON there, and leave the documentation's page")
    options = parser.parse_args(words)
    path = options.out or results.FOLDER / f"wheel-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}.json"
    run = results.started(1, {"torch": metadata.version("torch")}, whole=False, quick=False)
    run |= {"revisions": {"now": sittings.revision(sittings.HERE)}}
    if options.resume:
        path, run = options.resume, results.load(options.resume)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = options.wheel.resolve() if options.wheel else built(folder)
        archives = unpacked(wheel, folder)
        run.setdefault("sides", {level: {} for level in archives})
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "load": lambda: {side: {"mean": os.getloadavg()[1]} for side in archives},
            "size": lambda: sizes(wheel, archives),
            "processes": lambda: processes(wheel, archives),
            "documented": lambda: documented(archives),
            "speed": lambda: speeds(archives),
            "bits": lambda: bits(archives, options.cache and options.cache.resolve()),
        }
        for part, measured in parts.items():
            if all(part in side for side in run["sides"].values()):
                continue
            print(f"bench wheel: {part}", file=sys.stderr, flush=True)
            for level, found in measured().items():
                run["sides"][level][part] = found
            results.save(run, path)
    run["complete"] = True
    results.save(run, path)
    report.printed([table(run["sides"])], report.where(run))
    if not options.out:
        sittings.put("wheel", sittings.shown(run, path.name, table))
    print(f"results: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
