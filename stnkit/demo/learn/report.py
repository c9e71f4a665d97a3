"""What the learning demo says on the terminal: both errors while it runs, and a table of the outcome."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from stnkit.demo.learn.task import Result


@contextmanager
def progress(epochs: int) -> Iterator[Callable[[float, float], None]]:
    """Show a progress bar of epochs with both test errors on standard error, if that is a terminal.

    Yield what is called after each epoch, with the last measured errors.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda plain, transformed: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("compiling kernels", total=epochs)

        def advance(plain: float, transformed: float) -> None:
            said = f"test error: plain {plain:6.1%}, with a transformer {transformed:6.1%}"
            bar.update(task, advance=1, description=said)

        yield advance


def outcome(result: Result) -> Table:
    """Put errors and times of both networks in a table."""
    title = f"two networks on turned, scaled and moved digits, {result.epochs} epochs"
    table = Table(title=title, title_justify="left")
    table.add_column()
    table.add_column("plain", justify="right")
    table.add_column("with a transformer", justify="right", style="bold")
    table.add_row("test error", f"{result.plain[-1]:.1%}", f"{result.transformed[-1]:.1%}")
    table.add_row("that of the plain network times", "", f"{result.transformed[-1] / result.plain[-1]:.2f}")
    table.add_row("weights", *(f"{count:,}" for count in result.weights))
    table.add_row("seconds per epoch", *(f"{seconds:.3f}" for seconds in result.seconds))
    table.add_row("share of the time in sampling, both ways", "", f"{result.sampling:.0%}", end_section=True)
    first, last = result.poses[0], result.poses[-1]
    table.add_row("digits as the classifier sees them differ by", "", "")
    table.add_row("  turn (standard deviation)", f"{first.turn:.0f}°", f"{last.turn:.0f}°")
    table.add_row("  size", f"{first.size:.0%}", f"{last.size:.0%}")
    table.add_row("  place, of the width", f"{first.place:.0%}", f"{last.place:.0%}", end_section=True)
    table.add_row("first calls (compiled, or loaded from the cache)", "", f"{result.compile_seconds:.1f} s")
    table.add_row("all together", "", f"{result.total:.1f} s")
    return table
