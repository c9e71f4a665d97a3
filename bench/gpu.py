"""What a machine with an NVIDIA GPU shows, in one go: `python -m bench.gpu [--out DIR] [--minutes 8] [--dry-run]`.

Nothing has to be installed and nothing is fetched: it runs from the source tree, with what is there; wheels, or folders
of unpacked ones, may be put on `PYTHONPATH`. Each step is a process of its own with a time limit of its own, and what
it finds is on disk at once, in DIR. What fails, is missing or takes too long does not stop the rest; Ctrl-C keeps what
is there.

    environment.json   versions, devices, and what is older than the code for GPUs needs
    log.txt            what the steps print
    cuda.json          the benchmark on the GPU, case by case
    threads.json       three cases on 1, 2, 4, ... threads of the CPU
    summary.json, summary.md

`--dry-run` lists the steps and checks that what they need can be imported; it takes no GPU.
"""

import argparse
import contextlib
import importlib
import importlib.util
import json
import math
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from statistics import geometric_mean
from typing import Any, NamedTuple

from bench import threads

ROOT = Path(__file__).parents[1]
Facts = dict[str, Any]

MINUTES = 8.0  # that the limits of the steps below add up to
WRITTEN = ("environment.json", "log.txt", "cuda.json", "threads.json")
PARTS = ("stnkit", "bench")
LEAST = 2.0  # seconds that a step has, however late it is
LAST = 25.0  # seconds that the start of the benchmark and its last case may take
WIDTH = 500  # letters of what a step has found, in the summary
GRACE = 10.0  # seconds in which a step that is interrupted may say what it has found
WORKERS = 14  # processes that run tests, at most: compiling takes longer than running

PACKAGES = (  # distributions that a report on a GPU names
    *("numpy", "numba", "llvmlite", "numba-cuda", "cuda-bindings", "cuda-core", "cuda-pathfinder", "cuda-toolkit"),
    *("nvidia-nvjitlink", "nvidia-cuda-nvrtc", "nvidia-cuda-nvcc", "ml_dtypes", "array-api-compat", "scipy"),
    *("torch", "triton", "jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "cupy-cuda13x", "cupy-cuda12x"),
    *("pytest", "pytest-xdist", "hypothesis", "rich"),
)
EXTRAS = ("cuda", "torch", "jax")  # whose lowest versions count, beside what is always needed

FEW = (  # tests that go through kernels of every kind, for tools that make these many times slower
    "test_samplers[grid-2-float32-False]",
    "test_samplers[theta-2-float32-True]",
    "test_modes[border-bicubic]",
    "test_items_that_are_gathered_and_scattered[bilinear-zeros-True]",
    "test_means_of_subsamples[flow-2]",
)
WHOLE = ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1")  # each tensor is an allocation, so that its end is seen


class Step(NamedTuple):
    """Something to run in a process of its own."""

    name: str
    seconds: float  # of its limit, if all may take `MINUTES`; what others leave is added
    words: Callable[[Path, float], list[str]]  # the command, for a folder and a limit
    read: Callable[[Path, str], tuple[bool, str]]  # whether it passed, and what it found, from the folder and its print
    modules: tuple[str, ...] = ()  # without which it is left out
    tool: str = ""  # likewise
    environment: tuple[tuple[str, str], ...] = ()


# ------------------------------------------------------------------------------------------------------------- steps


def own(name: str) -> Callable[[Path, float], list[str]]:
    """Return the command of a step that is a function here."""
    return lambda folder, seconds: [sys.executable, "-m", "bench.gpu", "--step", name, "--out", str(folder)]


def tests(folder: Path, seconds: float) -> list[str]:
    """Return the command of the tests that need a GPU; in few processes, if pytest-xdist is there."""
    workers = min(WORKERS, threads.usable())
    spread = ["-n", str(workers), "--dist", "load"] if found("xdist") and workers > 1 else []
    return pytest(*spread, "tests/test_gpu.py")


def sanitized(tool: str) -> Callable[[Path, float], list[str]]:
    def words(folder: Path, seconds: float) -> list[str]:
        return [
            *(sanitizer() or "compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"),
            *("--report-api-errors", "no"),  # frameworks try what a driver may refuse
            *pytest(*(f"tests/test_gpu.py::{name}" for name in FEW)),
        ]

    return words


def pytest(*words: str) -> list[str]:
    """Return a command that runs tests for GPUs one after another, and prints each as it ends.

    Warnings of versions that these tests have not seen are shown, and fail nothing. What they share with other tests
    asks for Hypothesis, which these need not have.
    """
    alone = [] if found("hypothesis") else ["--noconftest"]
    plain = ["-o", "addopts=", "-W", "default", "-p", "no:cacheprovider", "--color=no", "-v", "-ra", "-m", "gpu"]
    return [sys.executable, "-m", "pytest", *plain, *alone, *words]


def measured(folder: Path, seconds: float) -> list[str]:
    command = [sys.executable, "-m", "bench", "--device", "cuda", "--out", str(folder / "cuda.json")]
    return [*command, "--seconds", str(round(max(seconds - LAST, seconds / 2)))]


def outcomes(folder: Path, printed: str) -> tuple[bool, str]:
    """Return how many tests ended how, as they say it one by one, and name those that failed."""
    ended: dict[str, list[str]] = {}
    for line in printed.splitlines():
        told = re.match(r"(?:\[gw\d+\] .*?)?(PASSED|FAILED|ERROR|SKIPPED) (tests/\S+)$", line.rstrip())
        alone = re.match(r"(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", line)
        if line.startswith("[gw") and told:
            ended.setdefault(told[1].lower(), []).append(told[2])
        elif alone:
            ended.setdefault(alone[2].lower(), []).append(alone[1])
    bad = ended.get("failed", []) + ended.get("error", [])
    counts = ", ".join(f"{len(names)} {how}" for how, names in ended.items()) or "no test ended"
    errors = re.findall(r"ERROR SUMMARY: (.+)|RACECHECK SUMMARY: (.+)", printed)
    counts += "".join(f"; {one or other}" for one, other in errors)
    listed = f": {', '.join(name.partition('::')[2] for name in bad)}" if bad else ""
    return bool(ended.get("passed")) and not bad, counts + listed


def told(folder: Path, printed: str) -> tuple[bool, str]:
    """Return what is said of the machine."""
    facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    said = [*facts["older"], *facts["devices"]]
    return facts["usable"], "; ".join(said)


def ratios(folder: Path, printed: str) -> tuple[bool, str]:
    """Return how many cases were measured, and how many times as long torch takes."""
    run = json.loads((folder / "cuda.json").read_text(encoding="utf-8"))
    done = [case for case in run["cases"] if "stnkit" in case["seconds"]]
    wrong = [case for case in run["cases"] if "stnkit" in case["failures"]]
    times = [case["seconds"]["torch"] / case["seconds"]["stnkit"] for case in done if "torch" in case["seconds"]]
    said = f"{len(run['cases'])} cases" + f", {len(wrong)} wrong" * bool(wrong)
    if times:
        average = f"{geometric_mean(times):.2f}, at least {min(times):.2f}, at most {max(times):.2f}"
        said += f"; torch's time over stnkit's {average}"
    return bool(done) and not wrong, said


def speedups(folder: Path, printed: str) -> tuple[bool, str]:
    """Return how many times as fast each case is on all threads as on one."""
    entries = json.loads((folder / "threads.json").read_text(encoding="utf-8"))["scaling"]
    said = []
    for entry in entries:
        times = [one["median"] for one in entry["sides"].get("stnkit", [])]
        if len(times) == len(entry["threads"]):
            said.append(f"{entry['name']} {times[0] / times[-1]:.1f} on {entry['threads'][-1]}")
    return bool(said), "; ".join(said)


TESTED = ("pytest", "torch", "numba_cuda")
STEPS = (
    Step("environment", 20, own("environment"), told),
    Step("tests", 180, tests, outcomes, TESTED),
    Step("memcheck", 50, sanitized("memcheck"), outcomes, TESTED, "compute-sanitizer", (WHOLE,)),
    Step("racecheck", 40, sanitized("racecheck"), outcomes, TESTED, "compute-sanitizer", (WHOLE,)),
    Step("measure", 140, measured, ratios, ("torch", "numba_cuda", "rich")),
    Step("threads", 50, own("threads"), speedups, ("rich",)),
)


def found(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def sanitizer() -> str:
    """Return where compute-sanitizer is; nothing if it is not found."""
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin") or ""


def lacks(step: Step) -> str:
    """Say what a step needs and is not there."""
    missing = [name for name in step.modules if not found(name)]
    if missing:
        return f"{missing[0]} is not installed"
    return f"{step.tool} is not found" if step.tool and not sanitizer() else ""


# --------------------------------------------------------------------------------------------------- what steps do


def environment(folder: Path) -> None:
    """Write down what the machine has: first what is installed, and then what has to be asked."""
    versions = {name: one for name in PACKAGES if (one := installed(name)) is not None}
    facts: Facts = {
        "python": sys.version,
        "packages": versions,
        "path": os.environ.get("PYTHONPATH", ""),
        "older": older({name: one["version"] for name, one in versions.items()}),
        "compute-sanitizer": sanitizer() or None,
        "devices": [],
        "usable": False,
    }
    save(facts, folder / "environment.json")
    for ask in (smi, driver):
        try:
            facts |= ask(facts)
        except Exception as error:  # which is the fact to report
            facts["devices"].append(f"{ask.__name__}: {type(error).__name__}: {error}")
        save(facts, folder / "environment.json")
    print(json.dumps(facts, indent=1))


def installed(name: str) -> Facts | None:
    """Return the version of a distribution, and where it lies: in a wheel on the path, too."""
    try:
        one = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return {
        "version": one.version,
        "at": str(one.locate_file("")).removesuffix("/"),
    }  # which some finders end a wheel's path with


def older(versions: dict[str, str]) -> list[str]:
    """Say which versions are lower than `pyproject.toml` asks for, too high, or missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [word for extra in EXTRAS for word in project["optional-dependencies"].get(extra, [])]
    said = []
    for word in dict.fromkeys([*project["dependencies"], *extras]):
        asked = re.match(r"([\w-]+)(?:\[[\w,]+\])?(>=|<)([\d.]+)", word)
        if asked is None:
            continue
        name, bound, limit = asked.groups()
        have = versions.get(name)
        if have is None:
            said.append(f"{name} is not installed")
        elif bound == ">=" and numbers(have) < numbers(limit):
            said.append(f"{name} {have} is older than {limit}")
        elif bound == "<" and numbers(have) >= numbers(limit):
            said.append(f"{name} {have} is not below {limit}")
    return said


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers, without zeros at their end."""
    parts = [int(part) for part in re.match(r"\d+(?:\.\d+)*", version)[0].split(".")]  # type: ignore[index]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def smi(facts: Facts) -> Facts:
    """Ask the driver's own program."""
    fields = "name,driver_version,memory.total,compute_cap"
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True, text=True, check=True
    )
    return {"devices": [*facts["devices"], *done.stdout.splitlines()]}


def driver(facts: Facts) -> Facts:
    """Open the first GPU as kernels do."""
    from stnkit.kernels.cuda import runtime

    major, minor = runtime.machine(0).capability
    known = {name: str(version) for name, version in runtime.tools().versions.items()}
    return {"usable": True, "compilers": known, "capability": f"{major}.{minor}"}


def scaling(folder: Path) -> None:
    """Time three cases on 1, 2, 4, ... threads, beside torch where it is there."""
    most = min(16, threads.usable())
    threads.fix(most)
    from bench import __main__ as program
    from bench import compiled, harness, peers, results, suite

    rivals = [peers.PEERS["torch"]] if found("torch") else []
    run: Facts = results.started(most, {peer.name: peers.version(peer) for peer in rivals}, quick=True, scaling=[])
    compiled.ahead([case.name for case in suite.SCALED], most, math.inf)
    for case in suite.SCALED:
        run["scaling"] += program.scaling(most, rivals, harness.Effort(0.5, 5), (case,))
        results.save(run, folder / "threads.json")


OWN = {"environment": environment, "threads": scaling}


# ----------------------------------------------------------------------------------------------------------- running


def carry_out(folder: Path, minutes: float, steps: Sequence[Step]) -> int:
    """Run the steps, one after another, and write what came of each; return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in WRITTEN:  # by a run before, of which nothing is to be read
        (folder / name).unlink(missing_ok=True)
    ends, scale = time.monotonic() + 60 * minutes, minutes / MINUTES
    summary: list[Facts] = []
    for number, step in enumerate(steps):
        limit = allowed(ends - time.monotonic(), scale, steps[number + 1 :])
        record: Facts = {"step": step.name, "limit": round(limit)}
        record |= {"result": "left out", "seconds": 0.0, "found": lacks(step)}
        if not record["found"]:
            record |= performed(step, folder, limit)
        summary.append(record)
        written(summary, folder)
        if record["result"] == "interrupted":
            return 130
    return 0 if all(record["result"] == "passed" for record in summary) else 1


def allowed(left: float, scale: float, later: Sequence[Step]) -> float:
    """Return the seconds that a step may take: all that is left but what later ones have of their own."""
    return max(left - scale * sum(step.seconds for step in later), LEAST)


def performed(step: Step, folder: Path, limit: float) -> Facts:
    """Run a step, and return what came of it."""
    log = folder / "log.txt"
    start, result, status = time.monotonic(), "", 0
    with log.open("ab") as file:
        file.write(f"\n=== {step.name}\n".encode())
        file.flush()
        began = file.tell()
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        child = subprocess.Popen(
            step.words(folder.resolve(), limit),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **dict(step.environment)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            result = "timed out"
        except KeyboardInterrupt:
            result = "interrupted"
        finally:
            stopped(child)
    with log.open("rb") as file:
        file.seek(began)
        printed = file.read().decode(errors="replace")
    try:
        passed, said = step.read(folder, printed)
    except (OSError, ValueError, KeyError):
        passed, said = False, ""
    if status and not said:
        said = ([line for line in printed.splitlines() if line.strip()] or [f"exit status {status}"])[-1]
    said = " ".join(said.split())[:WIDTH]
    result = result or ("passed" if passed and status == 0 else "failed")
    return {"result": result, "seconds": round(time.monotonic() - start, 1), "found": said}


def stopped(child: subprocess.Popen[bytes]) -> None:
    """Interrupt a step, if it still runs, with all that it has started; kill what does not end."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            if child.poll() is None or number is signal.SIGKILL:
                os.killpg(child.pid, number)
                child.wait(GRACE)


def save(facts: Any, path: Path) -> None:
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def written(summary: list[Facts], folder: Path) -> None:
    """Write the summary, and print its last line."""
    save(summary, folder / "summary.json")
    rows = [tuple(str(record[name]) for name in ("step", "result", "seconds", "found")) for record in summary]
    lines = ["| step | result | seconds | found |", "| --- | --- | ---: | --- |"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    text = "\n".join(lines) + "\n"
    with contextlib.suppress(ImportError, OSError, ValueError):  # of what was measured, where that can be shown
        from bench import in_cuda
        from bench.report import markdown

        run = json.loads((folder / "cuda.json").read_text(encoding="utf-8"))
        text += f"\n{in_cuda.where(run)}.\n\n" + "\n".join(map(markdown, in_cuda.tables(run)))
    (folder / "summary.md").write_text(text, encoding="utf-8")
    name, result, seconds, said = rows[-1]
    print(f"{name:<12} {result:<10} {seconds:>6} s  {said}", flush=True)


# ----------------------------------------------------------------------------------------------------------- dry run


def rehearsed(folder: Path, minutes: float) -> int:
    """List the steps with their limits, and check that what they need can be imported; return the exit status."""
    for step in STEPS:
        limit, missing = step.seconds * minutes / MINUTES, lacks(step)
        words = " ".join(step.words(folder, limit)).replace(sys.executable, "python")
        print(f"{step.name:<12} {limit:>4.0f} s  {words}", f"  (left out: {missing})" * bool(missing), sep="")
    failed = 0
    for name in modules():
        try:
            importlib.import_module(name)
        except BaseException as error:
            absent = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
            if absent and absent not in PARTS and not found(absent):
                print(f"{name} is left out: {absent} is not installed")
                continue
            failed += 1
            print(f"{name} cannot be imported: {''.join(traceback.format_exception_only(error))}", end="")
    if found("pytest"):
        listed = pytest("--collect-only", "-q", "tests/test_gpu.py", *(f"tests/test_gpu.py::{name}" for name in FEW))
        done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            failed += 1
            print(f"the tests for GPUs cannot be collected:\n{done.stdout}{done.stderr}")
    print(f"{failed} failed" if failed else "all that is there can be imported")
    return 1 if failed else 0


def modules() -> Iterator[str]:
    """Name the modules of the library and of the benchmark."""
    for package in PARTS:
        yield from (one.name for one in pkgutil.walk_packages([str(ROOT / package)], f"{package}."))


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description="Check and measure stnkit on a GPU.")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("gpu-report"), help="where to write")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all steps together")
    parser.add_argument("--dry-run", action="store_true", help="list the steps, and import what they need")
    parser.add_argument("--step", choices=OWN, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.step:
        OWN[options.step](options.out)
        return 0
    if options.dry_run:
        return rehearsed(options.out, options.minutes)
    status = carry_out(options.out, options.minutes, STEPS)
    print(f"results: {options.out}")
    return status


if __name__ == "__main__":
    sys.exit(main())
