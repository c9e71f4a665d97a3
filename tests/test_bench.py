"""The benchmark tells the truth: sides agree, what goes wrong is reported, and the page follows from the JSON.

No time is judged here. Most cases run uncompiled, on a few pixels.
"""

import json
import re
import zipfile

import numpy as np
import pytest
from cases import CASES, FUNCTIONS

import stnkit
from bench import __main__ as program
from bench import (
    agreement,
    archived,
    bits,
    busy,
    call_costs,
    calls,
    cases,
    compile_times,
    compiled,
    groups,
    harness,
    memory,
    native,
    peers,
    report,
    results,
    scipy_functions,
    sittings,
    suite,
    tables,
    torch_step,
    wheel,
)
from bench.calls import Side
from bench.peers import Peer
from stnkit.cli import archiving
from stnkit.kernels.objects import archive, levels
from stnkit.kernels.objects.archive import Object

ONCE = harness.Effort(seconds=0.0, least=2, most=2, sample=0.0)
SMALLEST = {one._replace(name=""): one for one in map(cases.reduced, suite.everything().values())}.values()
CASE = cases.reduced(suite.case("grid_sample", (2, 3, 32, 32)))


@pytest.mark.parametrize("case", SMALLEST, ids=lambda case: case.name)
def test_peers_agree(case, plain):
    inputs = cases.Inputs(case)
    way = calls.stnkit(case, inputs)
    mine = way.arrays(way.call())
    for peer in peers.PEERS.values():
        if peer.compiles or peers.version(peer) is None:
            continue
        side = peer.side(case, inputs)
        if side is not None:
            theirs = side.arrays(side.call())
            assert agreement.disagreement(case, mine, theirs, peer.tolerances[case.dtype]) is None, peer.name


def test_grid_and_matrices_are_those_of_theta(plain):
    inputs = cases.Inputs(CASE._replace(dtype="float64", size=(4, 9)))
    np.testing.assert_allclose(inputs["grid"], plain.affine_grid(inputs["theta"], (4, 9)), atol=1e-14)
    identity = np.stack(np.meshgrid(np.arange(9.0), np.arange(4.0)), axis=-1)
    carried = (
        np.einsum("nij,hwj->nhwi", inputs["matrices"][..., :2], identity) + inputs["matrices"][:, None, None, :, 2]
    )
    np.testing.assert_allclose(inputs["pixels"], carried, atol=1e-12)


def test_quick_covers_every_function():
    covered = {name for section in suite.QUICK for case in section.cases for name in calls.functions(case)}
    assert covered == set(FUNCTIONS)


def test_names_are_unique_and_known():
    names = [one.name for section in suite.SECTIONS + suite.QUICK for one in section.cases]
    assert len(names) == len(set(names))
    assert {case.name for goal in suite.GOALS for case in goal.cases} <= set(names)
    assert {goal.against for goal in suite.GOALS} <= {"floor", *peers.PEERS}
    assert all(type(one) is cases.Case for one in CASES)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (["--cases", "none/*"], ["none/*", *(one.name for section in suite.SECTIONS for one in section.cases)]),
        (["--peers", "torch,numpy"], ["numpy", *peers.PEERS]),
        (["--threads", "0"], ["--threads", "1"]),
        (["--speed"], ["--speed"]),
    ],
)
def test_bad_words_are_one_line(words, known, capsys):
    assert program.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert all(name in printed.err for name in known)


def peer(name, call):
    def prepare(case, inputs):
        return Side(lambda: call(inputs), lambda answer: [answer])

    return Peer(name, name, prepare, {"float32": agreement.ROUNDING})


def fake_peers(plain):
    count = iter(range(100))

    def right(inputs):
        return plain.grid_sample(inputs["image"], inputs["grid"])

    def breaks(inputs):
        raise RuntimeError("no such kernel\nand more")  # noqa: EM101

    def tires(inputs):
        return right(inputs) if next(count) == 0 else breaks(inputs)

    return [
        peer("right", right),
        peer("wrong", lambda inputs: right(inputs) * np.float32(1.03)),
        peer("breaks", breaks),
        peer("tires", tires),
        peer("flat", lambda inputs: right(inputs)[0]),
        peer("lost", lambda inputs: right(inputs) * np.float32(np.nan)),
        Peer("lacks", "lacks", lambda *_: None, {"float32": agreement.ROUNDING}),
    ]


def test_a_peer_that_fails_is_reported_and_not_timed(plain):
    record = harness.measure(CASE, fake_peers(plain), 1e9, ONCE)
    cells = dict(zip(("right", "wrong", "breaks", "tires", "flat", "lost", "lacks"), tables.row(record, (
        "right", "wrong", "breaks", "tires", "flat", "lost", "lacks"))[3:-2], strict=True))  # fmt: skip
    assert float(cells.pop("right")) > 0
    assert cells == {
        "wrong": "differs 3e-02", "breaks": "error", "tires": "error", "flat": "differs", "lost": "differs nan",
        "lacks": "-",
    }  # fmt: skip
    assert record["peers"]["breaks"]["reason"] == "RuntimeError: no such kernel"
    assert "median" in record["stnkit"]
    json.dumps(record)


def test_a_case_that_stnkit_refuses_is_reported(plain):
    record = harness.measure(CASE._replace(mode="cubist"), fake_peers(plain), 1e9, ONCE)
    assert tables.row(record, ("right",)) == (CASE.name, "error", "-", "-", "-", "-")


def test_sides_are_timed_in_turn():
    order = []
    times, errors = harness.in_turn({name: lambda name=name: order.append(name) for name in "abc"}, ONCE)
    assert "".join(order) == "aabbcc" + "abc" + "bca"
    assert set(times) == set("abc")
    assert errors == {}


@pytest.fixture
def idle(monkeypatch):
    """Let a run neither compile, nor weigh, nor change the threads of the tests."""
    monkeypatch.setattr(program.compiled, "ahead", lambda names, *_: set(names))
    monkeypatch.setattr(program.threads, "fix", lambda *_: None)
    monkeypatch.setattr(program.threads, "use", lambda *_: None)
    monkeypatch.setattr(harness, "bandwidth", lambda *_: 1e10)
    monkeypatch.setattr(memory.Gauge, "extra", lambda *_: None)


def test_an_interrupt_keeps_what_is_done(idle, monkeypatch, tmp_path, capsys):
    done = []

    def measured(case, *_):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(case.name)
        return {"name": case.name, "stnkit": {"failure": "error"}, "peers": {}}

    monkeypatch.setattr(harness, "measure", measured)
    assert program.main(["--quick", "--peers", "scipy", "--out", str(tmp_path / "run.json")]) == 130
    run = results.load(tmp_path / "run.json")
    assert list(results.records(run)) == done
    assert not run["complete"]
    assert "interrupted" in capsys.readouterr().err


def test_what_is_not_compiled_in_time_is_left_out_and_named(idle, monkeypatch, tmp_path, capsys):
    asked = []

    def late(names, processes, seconds):
        asked.append(seconds)
        return set(names[1:])

    monkeypatch.setattr(program.compiled, "ahead", late)
    monkeypatch.setattr(
        harness, "measure", lambda case, *_: {"name": case.name, "stnkit": {"failure": "error"}, "peers": {}}
    )
    words = ["--quick", "--peers", "scipy", "--cases", "affine_grid*", "--out", str(tmp_path / "run.json")]
    assert program.main(words) == 0
    run, names = results.load(tmp_path / "run.json"), [one.name for one in suite.QUICK[0].cases]
    first = next(name for name in names if name.startswith("affine_grid"))
    assert asked == [program.COMPILING]
    assert run["late"] == [first]
    assert first not in results.records(run)
    assert results.records(run)
    assert "left out: 1, as compiling" in capsys.readouterr().out


def test_compiling_ends_when_its_time_is_over():
    assert compiled.ahead([suite.QUICK[0].cases[0].name], 1, seconds=0.0) == set()


def test_a_file_that_cannot_be_written_is_one_line(idle, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert program.main(["--quick", "--peers", "scipy", "--out", str(tmp_path / "file" / "run.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_is_written_and_shown(idle, plain, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(harness, "QUICK", ONCE)
    monkeypatch.setitem(peers.PEERS, "none", Peer("none", "no_such_module", lambda *_: None, {}))
    words = ["--quick", "--peers", "none", "--cases", "grid_sample/2x3x32x32", "--out", str(tmp_path / "run.json")]
    with monkeypatch.context() as patch:
        patch.setattr(harness, "Inputs", lambda _: cases.Inputs(CASE))
        assert program.main(words) == 0
    run = results.load(tmp_path / "run.json")
    assert run["complete"]
    assert run["peers"] == {"none": None}
    record = run["sections"][0]["cases"][0]
    assert record["fraction"] == pytest.approx(record["floor"] / record["stnkit"]["median"])
    assert "none not installed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.skipif(not memory.RESET.exists(), reason="the peak is read from /proc")
def test_memory_is_that_of_the_result():
    """4 MiB, and scratch of a few hundred KB a thread; the kernel counts pages in batches, so it may say less."""
    with memory.Gauge() as gauge:
        taken = gauge.extra("stnkit", "affine_sample/1x1x1024x1024")
        assert gauge.extra("scipy", "affine_sample/2x3x32x32/channels_last") is None
    assert 3 * 2**20 < taken < 8 * 2**20


def test_training_in_torch_gives_the_same_losses():
    """A spatial transformer learns the digits by stnkit as by torch: 50 losses agree to 1e-5, and they fall."""
    setting = torch_step.SETTINGS[0]
    ours, theirs = (torch_step.losses(setting, sampler) for sampler in torch_step.SAMPLERS.values())
    assert len(ours) == 50
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-5
    assert ours[-1] < 0.5 * ours[0]


def test_figures_of_training_become_tables(monkeypatch):
    monkeypatch.setattr(torch_step, "losses", lambda *_: [2.0, 1.0])
    setting = torch_step.Setting("small", 2, 28)
    run = {"training": torch_step.figures(ONCE, (setting,))}
    json.dumps(run)
    ((name, *_, fall, gap),) = tables.training(run).rows
    assert (name, fall, gap) == ("small", "2.00 to 1.00", "0e+00")


RUN = {
    "date": "2001-02-03 04:05 UTC", "complete": True, "quick": False, "whole": True, "threads": 2, "bandwidth": 2e10,
    "machine": {"processor": "Abacus", "cores": 4}, "versions": {"stnkit": "1.2"},
    "peers": {"torch": "3.4", "jax": None},
    "sections": [
        {"title": "Sampling", "cases": [
            {
                "name": "grid_sample/32x3x224x224", "bytes": 4e7, "floor": 2e-3, "fraction": 0.5,
                "stnkit": {"median": 4e-3, "low": 3.8e-3, "high": 4.2e-3, "memory": 2**20},
                "peers": {"torch": {"median": 1.2e-2, "low": 1.1e-2, "high": 1.3e-2, "ratio": 3.0}},
            },
            {
                "name": "grid_sample/1x3x1080x1920", "bytes": 4e7, "floor": 2e-3, "fraction": 0.01,
                "stnkit": {"median": 2e-1, "low": 2e-1, "high": 2e-1, "memory": None},
                "peers": {"torch": {"failure": "error", "reason": "ValueError: no"}},
            },
        ]},
    ],
    "start": {"import": 0.0123},
    "relations": [{"what": "jvp / forward", "cases": ["a", "b"], "seconds": 2e-3, "ratio": 1.5}],
    "training": [{
        "name": "net", "steps": 50, "first": 2.3, "last": 0.5, "gap": 2e-6,
        "sampling": {"stnkit": 1e-3, "torch": 3e-3}, "step": {"stnkit": 1e-2, "torch": 1.2e-2},
    }],
    "scaling": [{"name": "a", "threads": [1, 2], "sides": {"stnkit": [{"median": 4e-3}, {"median": 2e-3}]}}],
}  # fmt: skip

PAGE = """# Title

By hand.

<!-- run: generated by python -m bench.report -->
old
<!-- end of run -->

Also by hand.
<!-- comparisons: generated by python -m bench.report -->
<!-- end of comparisons -->
<!-- goals: generated by python -m bench.report -->
<!-- end of goals -->
<!-- reasons: generated by python -m bench.report -->
<!-- end of reasons -->
<!-- sections: generated by python -m bench.report -->
<!-- end of sections -->
<!-- scaling: generated by python -m bench.report -->
<!-- end of scaling -->
<!-- relations: generated by python -m bench.report -->
<!-- end of relations -->
<!-- training: generated by python -m bench.report -->
<!-- end of training -->
<!-- start: generated by python -m bench.report -->
<!-- end of start -->
"""

REASONS = """# Reasons

## the floor, 3 channels first

Gathers.

## another group

Unseen.
"""

FILLED = """# Title

By hand.

<!-- run: generated by python -m bench.report -->

<!-- from run.json -->

2001-02-03 04:05 UTC: Abacus, 4 cores, 2 threads, a copy moves 20.0 GB/s; stnkit 1.2, torch 3.4, jax not installed.

<!-- end of run -->

Also by hand.
<!-- comparisons: generated by python -m bench.report -->

| takes times as long | cases | geometric mean | least | most |
| --- | ---: | ---: | ---: | ---: |
| torch `grid_sample` | 1 | 3.00 | 3.00 | 3.00 |

<!-- end of comparisons -->
<!-- goals: generated by python -m bench.report -->

| group | cases | geometric mean | least | in | goal |  |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| torch grid_sample, forward | 1 of 6 | 3.00 | 3.00 | grid_sample/32x3x224x224 | 2.00, each 1.10 | short |
| the floor, 3 channels first | 2 of 2 | 0.0707 | 0.0100 | grid_sample/1x3x1080x1920 | 0.350 | short |

<!-- end of goals -->
<!-- reasons: generated by python -m bench.report -->

**torch grid_sample, forward.** Not understood yet.

**the floor, 3 channels first.** Gathers.

<!-- end of reasons -->
<!-- sections: generated by python -m bench.report -->

### Sampling

| case | stnkit ms | spread | torch | jax | of the floor | memory MiB |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| grid_sample/32x3x224x224 | 4.00 | 10% | 3.00 | - | 0.500 | 1.0 |
| grid_sample/1x3x1080x1920 | 200 | 0% | error | - | 0.0100 | - |

<!-- end of sections -->
<!-- scaling: generated by python -m bench.report -->

| case | side | ms on one thread | times as fast on 1, 2 |
| --- | ---: | ---: | ---: |
| a | stnkit | 4.00 | 1.00, 2.00 |

<!-- end of scaling -->
<!-- relations: generated by python -m bench.report -->

| what | ms of the second | ratio |
| --- | ---: | ---: |
| jvp / forward | 2.00 | 1.50 |

<!-- end of relations -->
<!-- training: generated by python -m bench.report -->

| model | sampling ms | torch | whole step ms | torch | loss | largest difference |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| net | 1.00 | 3.00 | 10.0 | 1.20 | 2.30 to 0.500 | 2e-06 |

<!-- end of training -->
<!-- start: generated by python -m bench.report -->

| what | ms |
| --- | ---: |
| import | 12.3 |

<!-- end of start -->
"""


def test_page_follows_from_the_run():
    page = report.filled(PAGE, RUN, "run.json", REASONS)
    assert page == FILLED
    assert report.filled(page, RUN, "run.json", REASONS) == page


@pytest.mark.parametrize("page", [report.PAGE, report.README], ids=lambda page: page.name)
def test_the_page_is_that_of_its_run(page):
    text, path = page.read_text(encoding="utf-8"), report.source(page)
    assert report.filled(text, results.load(path), path.name, report.REASONS.read_text(encoding="utf-8")) == text
    assert path == report.source()


SITTINGS = {"compile": compile_times, "calls": call_costs, "busy": busy, "ndimage": scipy_functions}
PARTS = {**SITTINGS, "wheel": wheel}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_the_page_are_those_of_their_runs(name):
    page = report.PAGE.read_text(encoding="utf-8")
    part = sittings.part(name, page)
    run = results.load(results.FOLDER / re.search(r"<!-- from (\S+) -->", part)[1])
    assert part == sittings.shown(run, re.search(r"<!-- from (\S+) -->", part)[1], PARTS[name].table)


def test_reasons_are_of_known_groups():
    text = report.REASONS.read_text(encoding="utf-8")
    named = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert set(named) <= {goal.title for goal in suite.GOALS}


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    from bench import in_cuda

    monkeypatch.setattr(in_cuda, "missing", lambda: "torch finds none")
    assert program.main(["--device", "cuda", "--quick"]) == 2
    assert capsys.readouterr().err == "bench: no GPU to measure on: torch finds none\n"


def test_what_a_gpu_gave_is_shown():
    from bench import in_cuda

    case = {
        "picture": "2x8x32x32", "channels_last": True, "operation": "grid_sample", "bytes": 10**9, "floor": 1e-3,
        "seconds": {"stnkit": 2e-3, "torch": 5e-3}, "failures": {"CuPy": "error: ValueError: no"},
    }  # fmt: skip
    failed = case | {"seconds": {"torch": 1.0}, "failures": {"stnkit": "differs by 1.0e-01"}}
    run = {"cases": [case, failed], "overhead": {"stnkit": 15e-6}}
    measured, calls = in_cuda.tables(run)
    assert measured.rows[0][1:] == ("1.00", "1.00", "2.00", "50 %", "2.50", "-", "error", "-")
    assert measured.rows[1][3] == "differs by 1.0e-01"
    assert calls.rows == [("stnkit", "15.0")]


# What a process that measures answers, by the module whose text it runs.
ANSWERS = {
    "compile": {"seconds": dict.fromkeys(compile_times.ROWS.values(), 1.5), "kernels": 9, "memory": 3 * 2**20},
    "calls": {
        name: {"us": 2.0, "frames": 7}
        for name in ("torch, grid_sample, no gradient", "own torch, grid_sample, no gradient")
    },
    "busy": {"stnkit": {"alone": 1e-3, "beside": 4e-3}, "torch": {"alone": 2e-3, "beside": 1e-1}},
    "ndimage": {"zoom": {"stnkit": [1e-3, 2e-3], "scipy": [2e-2, 2e-2], "floor": 5e-4}},
}  # fmt: skip
SHOWN = {
    "compile": [
        ("2-D bilinear, forward, CPU s", "1.50", "1.50"), ("a process with a first call, wall s", "2.50", "2.50"),
        ("memory kept for each kernel, MiB", "3.00", "3.00"),
    ],
    "calls": [("torch, grid_sample, no gradient", "2.00", "7", "2.00", "7", "2.00")],
    "busy": [
        ("torch", "OMP_WAIT_POLICY=PASSIVE", "2.00", "100", "50.0"), ("stnkit, before", "none", "1.00", "4.00", "4.00"),
        ("stnkit, now", "GOMP_SPINCOUNT=10000", "1.00", "4.00", "4.00"),
    ],
    "ndimage": [("zoom, now", "1.00", "20.0", "20.0", "10.0", "0.500", "40.0")],
}  # fmt: skip


@pytest.mark.parametrize("name", SITTINGS)
def test_two_checkouts_are_measured_in_one_sitting(name, monkeypatch, tmp_path, capsys):
    asked = []

    def answer(script, tree, *words, **settings):
        asked.append(tree)
        return ANSWERS[name]

    monkeypatch.setattr(sittings, "answer", answer)
    monkeypatch.setattr(sittings, "revision", lambda tree: f"of {tree.name}")
    monkeypatch.setattr(compile_times.startup, "process_seconds", lambda *_: 2.5)
    assert program.main([name, "--before", str(tmp_path), "--out", str(tmp_path / "run.json")]) == 0
    run = results.load(tmp_path / "run.json")
    assert set(asked) == {tmp_path, sittings.HERE}
    assert run["complete"]
    assert not run["whole"]
    assert run["revisions"] == {"before": f"of {tmp_path.name}", "now": f"of {sittings.HERE.name}"}
    assert set(SHOWN[name]) <= set(SITTINGS[name].table(run["sides"]).rows)
    assert f"commit `of {tmp_path.name}`" in sittings.shown(run, "run.json", SITTINGS[name].table)
    capsys.readouterr()


def test_groups_are_compared_with_another_checkout(monkeypatch, tmp_path, capsys):
    """Checkouts take turns, a group's figure is the geometric mean, and what one has not is left out."""
    asked = []

    def answer(script, tree, place, names, root):
        asked.append(tree)
        assert (place, root) == (str(sittings.HERE), str(tree))
        before, found = tree == tmp_path, dict.fromkeys(json.loads(names), 1.0)
        assert len(found) == groups.FEW
        first, second, *others = found
        late = asked.count(tree) == 2  # one process of three, which does not count
        return found | ({first: 4.0, second: 90.0 if late else 2.25} if before else {others[0]: 1.0, "new": 1.0})

    monkeypatch.setattr(sittings, "answer", answer)
    monkeypatch.setattr(sittings, "revision", lambda tree: tree.name)
    words = ["groups", "--before", str(tmp_path), "--out", str(tmp_path / "run.json")]
    assert program.main([*words, "--groups", "Bicubic"]) == 0
    now = sittings.HERE
    assert asked == [tmp_path, now, now, tmp_path, tmp_path, now]
    sides = results.load(tmp_path / "run.json")["sides"]
    assert groups.table(sides).rows == [("Bicubic", "1.73", "1.00", "4.00", "4")]
    capsys.readouterr()
    with pytest.raises(SystemExit, match="give --before PATH"):
        groups.measure({"now": now})
    with pytest.raises(SystemExit, match="some of: Sampling at a grid;"):
        groups.measure({"before": tmp_path, "now": now}, groups="none")


def test_cases_of_a_group_stand_apart():
    assert groups.picked(suite.SECTIONS[0].cases[:3]) == suite.SECTIONS[0].cases[:3]
    assert groups.picked(range(10), most=4) == (0, 2, 5, 7)


def test_a_part_of_a_page_is_written_anew(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- calls: generated by python -m bench calls -->\nold\n<!-- end of calls -->\nb\n")
    sittings.put("calls", "new \\1\n", page)
    sittings.put("calls", "new \\1\n", page)
    text = page.read_text()
    assert text == "a\n<!-- calls: generated by python -m bench calls -->\n\nnew \\1\n\n<!-- end of calls -->\nb\n"
    assert sittings.part("calls", text) == "new \\1\n"


def test_a_checkout_is_measured_in_its_own_process(monkeypatch, tmp_path):
    """Its stnkit is found first, and no setting of OpenMP is left over."""
    (tmp_path / "stnkit.py").write_text("place = __file__")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    script = "import json, os, stnkit; print(json.dumps([stnkit.place, [n for n in os.environ if 'OMP_' in n]]))"
    place, settings = sittings.answer(script, tmp_path, GOMP_SPINCOUNT="5")
    assert place == str(tmp_path / "stnkit.py")
    assert settings == ["GOMP_SPINCOUNT"]


@pytest.mark.parametrize("script", [compile_times.SCRIPT, busy.SCRIPT, *call_costs.SCRIPTS.values(), wheel.CALL])
def test_what_processes_run_is_python_that_calls_public_functions(script):
    compile(script, "script", "exec")
    assert set(re.findall(r"stnkit\.(\w+)\(", script)) <= set(stnkit.__all__)
    assert "stnkit." in script


@pytest.fixture
def packed(tmp_path):
    """Return a wheel of archives: one of this processor's, and one of no processor's."""
    level = levels.levels()[0]
    code = {"start_1": Object("start", b""), "sample_1": Object("sample", b"1"), "sample_2": Object("sample", b"2")}
    archive.write(tmp_path / "some", {"level": level}, code)
    path = tmp_path / "stnkit-0.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name in (level, "z80"):
            file.write(tmp_path / "some", f"stnkit/kernels/objects/{name}.kernels")
        file.writestr("stnkit/kernels/objects/levels.py", "")
    return path


def test_archives_are_taken_out_of_a_wheel(packed, tmp_path):
    level = levels.levels()[0]
    (tmp_path / "out").mkdir()
    archives = wheel.unpacked(packed, tmp_path / "out")
    assert archives == {level: tmp_path / "out" / f"{level}.kernels"}
    (size,) = wheel.sizes(packed, archives).values()
    assert (size["kernels"], size["seconds"], size["wheel"]) == (2, None, packed.stat().st_size)
    said = archiving.Written(level, 2, 7.4).said(archives[level])
    packed.with_name("stnkit-0.whl.log").write_text(f"  building\n  {said}\n", encoding="utf-8")
    assert wheel.sizes(packed, archives)[level]["seconds"] == 7


def test_a_wheel_is_measured_part_by_part(packed, tmp_path, monkeypatch, capsys):
    level, out = levels.levels()[0], tmp_path / "run.json"
    process = {"numpy": 0.1, "call": 0.2, "without": 2.5, "memory": 80 << 20, "readme": 4, "readme compiled": 1}
    monkeypatch.setattr(wheel, "processes", lambda *_: {level: process})
    monkeypatch.setattr(wheel, "documented", lambda archives: {level: {"kernels": 100, "there": 95}})
    beside = native.Beside({"a": 1.0, "b": 4.0}, cases=3, there=5, kernels=6)
    monkeypatch.setattr(wheel.native, "measure", lambda *_: {level: beside})
    bits = archived.Compared(calls=9, called=2, differ=["x"], kernels=2, other=[])
    monkeypatch.setattr(wheel.archived, "compared", lambda path, kept: bits)
    assert program.main(["wheel", "--wheel", str(packed), "--out", str(out)]) == 0
    run = results.load(out)
    assert run["complete"]
    assert [row[1] for row in wheel.table(run["sides"]).rows][2:-1] == [
        "2", "-", "0.100", "0.200", "80.0", "2.50", "1 of 4", "95 of 100", "5 of 6",
        "2.00 times as long (1.00 to 4.00)", "1 of 9", "2", "0 of 2",
    ]  # fmt: skip
    run["sides"][level] = {"size": run["sides"][level]["size"]}
    assert [row[1] for row in wheel.table(run["sides"]).rows][4:] == ["-"] * 12
    results.save(run, out)
    monkeypatch.setattr(wheel, "sizes", None)
    monkeypatch.setattr(sittings, "put", lambda *_: None)
    assert program.main(["wheel", "--wheel", str(packed), "--resume", str(out)]) == 0
    assert results.load(out)["sides"][level]["speed"]["kernels"] == 6
    capsys.readouterr()


def test_kernels_of_archives_are_timed_in_turn_with_compiled_ones(monkeypatch):
    """What each round says of a side stands beside that of the same round; a case without a kernel is left out."""
    order = []

    class Process:
        def __init__(self, path):
            self.path, self.calls = path, 0

        def ask(self, what, value):
            if what == "ready":
                self.calls = 0
                return {"shared": True, value: value == "first" or self.path != "few"}
            self.calls += 1
            order.append(self.path)
            return {None: 3.0, "whole": 1.0, "few": 2.0}[self.path] * (self.calls + 1)

        def end(self):
            order.append("end")

    monkeypatch.setattr(native, "Process", Process)
    cases = [CASE._replace(name="first"), CASE._replace(name="second")]
    found = native.measure({"whole": "whole", "few": "few"}, cases)
    assert found["whole"] == native.Beside({"first": 3.0, "second": 3.0}, 2, 3, 3)
    assert found["few"] == native.Beside({"first": 1.5}, 2, 2, 3)
    assert order[6:15] == [None, "whole", "few", "whole", "few", None, "few", None, "whole"]
    assert order[-3:] == ["end"] * 3
    assert native.table(found).rows[-1] == ("geometric mean", "3.00", "1.50")


def test_a_process_answers_which_kernels_a_case_calls_and_what_it_takes():
    side = native.Process(None)
    found = side.ask("ready", "affine_grid/2x3x32x32")
    assert [*found.values()] == [False]
    assert next(iter(found)).startswith("grid_")
    assert 0 < side.ask("call", 3) < 60
    side.end()
    assert side.child.returncode == 0


def test_recorded_calls_cover_functions_and_choices():
    called = {name for case, _ in bits.cases().values() for name in calls.functions(case)}
    assert called == set(FUNCTIONS)
    chosen = bits.covering()
    assert {bits.name(call) for call in chosen} <= bits.cases().keys()
    assert all(map(bits.possible, chosen))
    assert len({*map(bits.name, chosen)}) == len(chosen)
    met = {pair for call in chosen for pair in bits.met(call)}
    for function in bits.SAMPLERS + bits.SPLATS:
        for word in ("mode", "axes", "data_format"):
            missing = [value for value in bits.CHOICES[word] if (("function", function), (word, value)) not in met]
            assert not missing, (function, word)


def test_other_bits_are_named(monkeypatch):
    of, values = next(iter(bits.cases())), np.ones(3, np.float32)
    monkeypatch.setattr(bits.calls, "stnkit", lambda *_: Side(lambda: (values, None), bits.calls.results))
    before = bits.hashed(of, ("numpy",))
    assert bits.differences(before, bits.hashed(of, ("numpy",))) == []
    values[1] = np.nextafter(values[1], values.dtype.type(2))
    (line,) = bits.differences(before, bits.hashed(of, ("numpy",)))
    assert line.startswith(f"{of} numpy: ")
    assert bits.differences({}, before) == [f"{of} numpy: missing before"]
    assert bits.differences(before, {})[0].endswith("missing now")


def test_calls_of_every_framework_are_hashed():
    of = next(name for name in bits.cases() if name.startswith("affine_grid.forward/1"))
    found = bits.hashed(of, ("numpy", "torch"))
    assert set(found) == {f"{of} numpy", f"{of} torch"}
    assert len(set(found.values())) == 1
    assert ":" not in found[f"{of} numpy"]


def test_a_call_that_raises_is_recorded_as_its_error(monkeypatch):
    of = next(iter(bits.cases()))
    monkeypatch.setattr(bits.calls, "stnkit", lambda *_: 1 / 0)
    assert bits.hashed(of, ("numpy",)) == {f"{of} numpy": "ZeroDivisionError: division by zero"}
