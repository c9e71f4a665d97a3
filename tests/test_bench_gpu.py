"""The command for a machine with a GPU, where there is none: its steps, what it says of them, and that it goes on."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from bench import gpu, in_cuda
from bench.gpu import Step


def python(script, name="step", read=None, **needs):
    """Return a step that runs a script."""
    read = read or (lambda folder, printed: (True, printed.strip()))
    return Step(name, 60, lambda folder, limit: [sys.executable, "-c", script], read, **needs)


def results(folder):
    return {record["step"]: record for record in json.loads((folder / "summary.json").read_text())}


def test_a_dry_run_imports_all_that_there_is():
    words = [sys.executable, "-m", "bench.gpu", "--dry-run", "--minutes", "4"]
    environment = {**os.environ, "PYTHONPATH": str(gpu.ROOT), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=gpu.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in gpu.STEPS:
        assert f"{step.name:<12} {step.seconds / 2:>4.0f} s  " in done.stdout
    assert "all that is there can be imported" in done.stdout
    assert sum(step.seconds for step in gpu.STEPS) == 60 * gpu.MINUTES


def test_a_dry_run_tells_what_cannot_be_imported(monkeypatch, tmp_path, capsys):
    (tmp_path / "broken_for_bench.py").write_text("raise ImportError('cannot import name of torch')")
    (tmp_path / "lacks_for_bench.py").write_text("import no_such_package.part")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(gpu, "found", lambda module: False)
    for names, status in ((["lacks_for_bench"], 0), (["broken_for_bench"], 1), (["bench.no_such_module"], 1)):
        monkeypatch.setattr(gpu, "modules", lambda names=names: iter(names))
        assert gpu.rehearsed(tmp_path, 8) == status
    printed = capsys.readouterr().out
    assert "lacks_for_bench is left out: no_such_package is not installed" in printed
    assert "broken_for_bench cannot be imported: ImportError: cannot import name of torch" in printed
    assert "bench.no_such_module cannot be imported" in printed
    assert "(left out: pytest is not installed)" in printed


def test_what_fails_does_not_stop_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "sanitizer", lambda: "")

    def unread(folder, printed):
        raise FileNotFoundError

    steps = [
        python("print('well')", "good"),
        python("print('a'); raise SystemExit(3)", "bad"),
        python("print('nothing written')", "silent", unread),
        python("import time; print('so far', flush=True); time.sleep(1000)", "slow"),
        python("", "lacking", modules=("no_such_package",)),
        python("", "without", tool="a tool"),
        python(
            "import os; print(os.environ['ASKED'], os.environ['PYTHONPATH'])", "last", environment=(("ASKED", "1"),)
        ),
    ]
    monkeypatch.setattr(gpu, "allowed", lambda left, scale, later: 4.0 if len(later) == 3 else 60.0)
    monkeypatch.setattr(gpu, "GRACE", 1)  # for processes that a shell started in the background ignore interrupts
    assert gpu.carry_out(tmp_path / "out", 8, steps) == 1
    found = results(tmp_path / "out")
    assert {name: record["result"] for name, record in found.items()} == {
        "good": "passed", "bad": "failed", "silent": "failed", "slow": "timed out", "lacking": "left out",
        "without": "left out", "last": "passed",
    }  # fmt: skip
    assert found["good"]["found"] == "well"
    assert found["slow"]["found"].startswith("so far")
    assert found["lacking"]["found"] == "no_such_package is not installed"
    assert found["without"]["found"] == "a tool is not found"
    assert found["last"]["found"].startswith(f"1 {gpu.ROOT}")
    assert "=== slow\nso far\n" in (tmp_path / "out" / "log.txt").read_text()
    text = (tmp_path / "out" / "summary.md").read_text()
    assert text.count("\n") == 2 + len(steps)
    assert "| good | passed |" in text


def test_what_steps_leave_is_for_those_after_them():
    later = [python("")] * 3
    assert gpu.allowed(480, 1, later) == 300
    assert gpu.allowed(240, 0.5, later) == 150
    assert gpu.allowed(100, 1, later) == gpu.LEAST
    assert gpu.allowed(100, 1, []) == 100


def test_what_passes_gives_zero(tmp_path):
    (tmp_path / "log.txt").write_text("of a run before")
    assert gpu.carry_out(tmp_path, 8, [python("print(1)")]) == 0
    assert (tmp_path / "log.txt").read_text() == "\n=== step\n1\n"


def test_an_interrupt_keeps_what_is_there(tmp_path):
    script = (
        "import signal, sys; from pathlib import Path; from bench import gpu; from bench.gpu import Step\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which some shells mute\n"
        "kill = 'import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(1000)'\n"
        "steps = [Step(str(k), 60, lambda f, s, t=text: [sys.executable, '-c', t], lambda f, p: (True, p))\n"
        "         for k, text in enumerate(('print(5)', kill, 'print(6)'))]\n"
        "sys.exit(gpu.carry_out(Path(sys.argv[1]), 8, steps))"
    )
    environment = {**os.environ, "PYTHONPATH": str(gpu.ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, env=environment)
    assert done.returncode == 130
    assert [record["result"] for record in results(tmp_path).values()] == ["passed", "interrupted"]


ONE_BY_ONE = """
tests/test_gpu.py::test_samplers[grid-2-float32-False] PASSED            [ 20%]
tests/test_gpu.py::test_cupy SKIPPED (could not import 'cupy')           [ 40%]
tests/test_gpu.py::test_modes[border-bicubic] FAILED                     [ 60%]
tests/test_gpu.py::test_strides
FAILED tests/test_gpu.py::test_modes[border-bicubic] - AssertionError
========= ERROR SUMMARY: 0 errors
"""
TOGETHER = """
[gw0] [ 50%] PASSED tests/test_gpu.py::test_strides
[gw1] [100%] ERROR tests/test_gpu.py::test_jax
ERROR tests/test_gpu.py::test_jax - RuntimeError
"""


def test_tests_are_counted_as_they_end(tmp_path):
    passed, said = gpu.outcomes(tmp_path, ONE_BY_ONE)
    assert not passed
    assert said == "1 passed, 1 skipped, 1 failed; 0 errors: test_modes[border-bicubic]"
    assert gpu.outcomes(tmp_path, TOGETHER) == (False, "1 passed, 1 error: test_jax")
    assert gpu.outcomes(tmp_path, "[gw0] [ 50%] PASSED tests/test_gpu.py::test_strides") == (True, "1 passed")
    assert gpu.outcomes(tmp_path, "no tests ran") == (False, "no test ended")


def test_a_wheel_on_the_path_counts(tmp_path, monkeypatch):
    wheel = tmp_path / "numba_cuda-0.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("numba_cuda-0.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: numba-cuda\nVersion: 0.2\n")
    monkeypatch.syspath_prepend(wheel)
    assert gpu.installed("numba-cuda") == {"version": "0.2", "at": str(wheel)}
    assert gpu.installed("no-such-package") is None


def test_what_is_older_than_needed_is_told():
    told = gpu.older({"numpy": "99.1rc1", "numba": "0.60.9", "numba-cuda": "0.3.1", "ml_dtypes": "99", "jax": "0.7"})
    assert "numba 0.60.9 is older than 0.61" in told
    assert any(word.startswith("numba-cuda 0.3.1 is older than ") for word in told)
    assert "torch is not installed" in told
    assert [word for word in told if word.startswith("numpy")] == ["numpy 99.1rc1 is not below 2.5"]
    assert not any(word.startswith(("ml_dtypes", "jax")) for word in told)
    assert gpu.numbers("2.8.0+cu128") == gpu.numbers("2.8") < gpu.numbers("2.11.0a1")


def test_the_environment_is_written_where_there_is_no_driver(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError(2, "no such file", "nvidia-smi")

    monkeypatch.setattr(gpu.subprocess, "run", missing)
    monkeypatch.setattr("stnkit.kernels.cuda.runtime.machine", lambda number: missing())
    gpu.environment(tmp_path)
    facts = json.loads((tmp_path / "environment.json").read_text())
    assert facts["packages"]["numba"]["version"]
    assert not facts["usable"]
    assert [line.partition(":")[0] for line in facts["devices"]] == ["smi", "driver"]
    passed, said = gpu.told(tmp_path, "")
    assert not passed
    assert "nvidia-smi" in said


CASE = {"picture": "2x8x32x32", "channels_last": True, "operation": "grid_sample", "bytes": 1, "floor": 1.0}


@pytest.mark.parametrize("times", [{"stnkit": 2.0, "torch": 8.0}, {"stnkit": 2.0}])
def test_ratios_are_those_of_what_was_measured(tmp_path, times):
    cases = [CASE | {"seconds": times, "failures": {}}, CASE | {"seconds": times, "failures": {"CuPy": "error"}}]
    (tmp_path / "cuda.json").write_text(json.dumps({"cases": cases}))
    said = "; torch's time over stnkit's 4.00, at least 4.00, at most 4.00" if "torch" in times else ""
    assert gpu.ratios(tmp_path, "") == (True, "2 cases" + said)
    cases.append(CASE | {"seconds": {"torch": 1.0}, "failures": {"stnkit": "differs by 1"}})
    (tmp_path / "cuda.json").write_text(json.dumps({"cases": cases}))
    assert gpu.ratios(tmp_path, "") == (False, "3 cases, 1 wrong" + said)


def test_threads_are_those_of_what_was_measured(tmp_path):
    entry = {
        "name": "a",
        "threads": [1, 2, 4],
        "sides": {"stnkit": [{"median": 6.0}, {"median": 3.0}, {"median": 2.0}]},
    }
    (tmp_path / "threads.json").write_text(json.dumps({"scaling": [entry, entry | {"name": "b", "sides": {}}]}))
    assert gpu.speedups(tmp_path, "") == (True, "a 3.0 on 4")


def test_the_compiler_s_cases_come_last_and_again():
    keys = list(in_cuda.ordered(in_cuda.PICTURES))
    plain, compiled = ([key for key, late in keys if late == wanted] for wanted in (False, True))
    assert [late for _, late in keys] == [False] * len(plain) + [True] * len(compiled)
    assert len(set(plain)) == len(plain) == 2 * len(in_cuda.PICTURES) * len(in_cuda.OPERATIONS)
    assert set(compiled) == {key for key in plain if not key[1] and "backward" not in key[2]}


def test_a_case_that_cannot_be_measured_has_its_reason(monkeypatch):
    def measure(*_):
        msg = "out of memory"
        raise RuntimeError(msg)

    monkeypatch.setattr(in_cuda, "measure", measure)
    case = in_cuda.attempted(in_cuda.PICTURES[0], False, "grid_sample", 1e12, 5, False)
    measured, _ = in_cuda.tables({"cases": [case]})
    assert measured.rows[0][3] == "error: RuntimeError: out of memory"
