"""What the learning demo says on the terminal: both errors while it runs, and a table of the outcome."""

from rich.table import Table

from stnkit.demo.learn.task import Result


def errors(plain: float, transformed: float) -> str:
    """Return the last measured test errors of both networks in words."""
    return f"test error: plain {plain:6.1%}, with a transformer {transformed:6.1%}"


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
