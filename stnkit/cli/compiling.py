"""Kernels ahead of time, in several processes, with a bar that shows how far they are, and a table of the outcome."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from stnkit.cli.pool import results
from stnkit.cli.selection import Choice, compile_choice

Kernels = frozenset[str]  # their names
Done = TypeVar("Done")


class Outcome(NamedTuple):
    """What one choice came to."""

    choice: Choice
    kernels: Kernels  # none if stnkit refuses such calls
    compiled: int  # of these, those that were not there
    seconds: float  # of a processor


def compiled(choice: Choice) -> Outcome:
    """Compile the kernels of one choice that are not there."""
    before = time.process_time()
    tally = compile_choice(choice)
    return Outcome(choice, frozenset(tally.kernels), tally.compiled, time.process_time() - before)


def outcomes(choices: Sequence[Choice], jobs: int) -> Iterator[Outcome]:
    """Compile the kernels of choices in so many processes at once, of which one is this process.

    Yield the outcome of each choice once it is done; ValueError if a process ended before its work was done.
    """
    jobs = min(jobs, len(choices))
    yield from map(compiled, choices) if jobs < 2 else results(compiled, choices, jobs)


@contextlib.contextmanager
def progress(done: Iterable[Done], total: int) -> Iterator[Iterator[Done]]:
    """Show a progress bar on standard error, if that is a terminal, for an iteration over so many outcomes."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield iter(bar.track(done, total, description="compiling kernels"))


def outcome(done: Sequence[Outcome]) -> Table:
    """Put kernels and processor time of each operation in a table. One that several share is counted once for all."""
    table = Table(title="kernels ahead of time", title_justify="left")
    table.add_column("operation")
    for name in ("kernels", "compiled now", "CPU seconds"):
        table.add_column(name, justify="right")
    for operation in dict.fromkeys(one.choice.operation for one in done):
        table.add_row(operation, *_row([one for one in done if one.choice.operation == operation]))
    table.add_section()
    table.add_row("all", *_row(done))
    return table


def _row(done: Sequence[Outcome]) -> tuple[str, str, str]:
    kernels = frozenset[Any]().union(*(one.kernels for one in done))
    seconds = sum(one.seconds for one in done)
    return str(len(kernels)), str(sum(one.compiled for one in done)), f"{seconds:.1f}"
