"""Measure stnkit beside its peers: `python -m bench [--cases GLOB] [--peers NAME,NAME] [--threads N] [--quick]`.

Prints tables, and writes what it has measured to `bench/results` after every case. `python -m bench.report` then
writes the documentation's page. A case that is not known, and a peer that is not, are one line of standard error and
the exit status 2. An interrupt keeps the cases that are done, and gives 130.

`python -m bench compile`, `calls` and `busy` measure what compiling, a call, and a busy machine cost, `ndimage`
compares SciPy's functions with these, `dask` samplers on Dask's arrays with dask-image and with calls without Dask,
`groups` tells how fast every section is beside another checkout, `bits` whether results have the bits that they had,
and `wheel` what kernels give that come with a wheel: see `compile_times.py`, `call_costs.py`, `busy.py`,
`scipy_functions.py`, `dask_arrays.py`, `groups.py`, `bits.py` and `wheel.py`. Programs of their own are `large.py` and
`cluster.py`.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import (
    bits,
    busy,
    call_costs,
    compile_times,
    compiled,
    dask_arrays,
    derivatives,
    groups,
    harness,
    in_cuda,
    peers,
    results,
    scipy_functions,
    startup,
    suite,
    threads,
    torch_step,
    wheel,
)
from bench.cases import Case
from bench.memory import Gauge
from bench.peers import Peer
from bench.report import show
from bench.suite import Section

COMPILING = 35.0  # seconds of a quick run's minute that its kernels may take

OTHERS = {
    "bits": bits.main,
    "busy": busy.main,
    "calls": call_costs.main,
    "compile": compile_times.main,
    "dask": dask_arrays.main,
    "groups": groups.main,
    "ndimage": scipy_functions.main,
    "wheel": wheel.main,
}

Advance = Callable[[str], None]


class Words(argparse.ArgumentParser):
    """A parser that leaves it to `main` to say what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    words = Words(prog="python -m bench", description="Measure stnkit beside the libraries that are installed.")
    words.add_argument("--cases", metavar="GLOB", default="*", help="only the cases whose name fits")
    words.add_argument("--peers", metavar="NAME,NAME", help=f"only these peers, of {', '.join(peers.PEERS)}")
    words.add_argument("--threads", metavar="N", type=int, default=min(2, threads.usable()), help="of each library")
    words.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda has cases of its own")
    words.add_argument("--seconds", metavar="N", type=float, help="begin no case later; on cuda alone")
    words.add_argument("--quick", action="store_true", help="every operation once, on small images, within a minute")
    words.add_argument("--out", metavar="FILE", type=Path, help="the JSON file, else one in bench/results")
    return words


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    words = sys.argv[1:] if words is None else words
    if words and words[0] in OTHERS:
        return OTHERS[words[0]](words[1:])
    try:
        options = parser().parse_args(words)
        if options.device == "cuda":
            out = [] if options.out is None else ["--out", str(options.out)]
            out += [] if options.seconds is None else ["--seconds", str(options.seconds)]
            return in_cuda.main(["--quick"] * options.quick + out)
        sections = suite.selected(suite.QUICK if options.quick else suite.SECTIONS, options.cases)
        asked = peers.chosen(options.peers)
        if not 1 <= options.threads <= threads.usable():
            message = f"--threads must be from 1 to {threads.usable()}; got {options.threads}"
            raise ValueError(message)
    except ValueError as error:
        print("bench:", error, file=sys.stderr)
        return 2
    try:
        return carry_out(options, sections, asked)
    except KeyboardInterrupt:  # before there was anything to show
        print("bench: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"bench: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


def carry_out(options: argparse.Namespace, sections: Sequence[Section], asked: dict[str, Peer]) -> int:
    """Measure, write and show what was asked for, and return the exit status."""
    threads.fix(options.threads)
    if options.quick and options.peers is None:
        asked = {name: peer for name, peer in asked.items() if not peer.compiles}
    versions = {name: peers.version(peer) for name, peer in asked.items()}
    threads.use(options.threads)
    whole = not options.quick and options.cases == "*" and options.peers is None
    run = results.started(options.threads, versions, whole=whole, quick=options.quick)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = options.out or results.FOLDER / f"{'quick-' if options.quick else ''}{stamp}.json"
    status = 0
    try:
        measure(run, sections, [peer for name, peer in asked.items() if versions[name]], path)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        status = 130
    show(run)
    if late := run.get("late"):
        print(f"left out: {len(late)}, as compiling their kernels took too long; what was compiled is kept: call again")
    print(f"results: {path}")
    return status


def measure(run: results.Run, sections: Sequence[Section], found: Sequence[Peer], path: Path) -> None:
    """Measure all there is to measure, and write the run after every case."""
    effort = harness.QUICK if run["quick"] else harness.THOROUGH
    names = [case.name for section in sections for case in section.cases]
    results.save(run, path)
    with progress(len(names)) as advance, Gauge() as gauge:
        advance("compiling kernels")
        ready = compiled.ahead(names, run["threads"], COMPILING if run["quick"] else math.inf)
        run["late"] = [name for name in names if name not in ready]
        run["bandwidth"] = harness.bandwidth(run["threads"])
        for section in sections:
            records: list[harness.Record] = []
            run["sections"].append({"title": section.title, "cases": records})
            wanted = [peer for peer in found if section.peers is None or peer.name in section.peers]
            for case in section.cases:
                if case.name in run["late"]:
                    continue
                advance(case.name)
                record = harness.measure(case, wanted, run["bandwidth"], effort)
                weigh(record, gauge, [] if run["quick"] else wanted)
                records.append(record)
                results.save(run, path)
        if run["whole"]:
            advance("start-up")
            run["start"] = startup.figures()
            advance("derivatives and formats")
            run["relations"] = derivatives.figures(effort)
            advance("threads")
            run["scaling"] = scaling(run["threads"], found, effort)
            if "torch" in (peer.name for peer in found):
                advance("training in torch")
                run["training"] = torch_step.figures(effort)
    run["complete"] = True
    results.save(run, path)


def weigh(record: harness.Record, gauge: Gauge, found: Sequence[Peer]) -> None:
    """Add to the record of a case how much memory each side takes that was timed."""
    sides = {"stnkit": record["stnkit"]} | {p.name: record["peers"].get(p.name, {}) for p in found if not p.compiles}
    for name, side in sides.items():
        if "median" in side:
            side["memory"] = gauge.extra(name, record["name"])


def scaling(
    most: int, found: Sequence[Peer], effort: harness.Effort, cases: Sequence[Case] = suite.SCALED
) -> list[dict[str, Any]]:
    """Time some cases on 1, 2, 4, ... threads, beside torch where it is there."""
    numbers = [2**k for k in range(most.bit_length()) if 2**k < most] + [most]
    rivals = [peer for peer in found if peer.name == "torch"]
    entries = []
    for case in cases:
        sides: dict[str, list[harness.Record]] = {}
        for number in numbers:
            threads.use(number)
            record = harness.measure(case, rivals, 1.0, effort)
            for name, times in ({"stnkit": record["stnkit"]} | record["peers"]).items():
                if "median" in times:
                    sides.setdefault(name, []).append(times)
        entries.append({"name": case.name, "threads": numbers, "sides": sides})
    threads.use(most)
    return entries


@contextmanager
def progress(count: int) -> Iterator[Advance]:
    """Show on standard error how far the run is, if that is a terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=console, transient=True)
    with bar if console.is_terminal else nullcontext():
        task = bar.add_task("", total=count, completed=-2)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=name)

        yield advance


if __name__ == "__main__":
    sys.exit(main())
