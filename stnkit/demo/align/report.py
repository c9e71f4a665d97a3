"""What the alignment demo says on the terminal in the end: a table of the outcome."""

import numpy as np
from rich.table import Table

from stnkit.demo.align.task import Result
from stnkit.demo.descent import Images


def image_error(images: Images, originals: Images) -> float:
    """Return the root mean square difference of two sets of images, in units of full ink."""
    return float(np.sqrt(np.mean((images - originals) ** 2)))


def outcome(result: Result) -> Table:
    """Put errors before and after, and speed, in a table."""
    count, steps = len(result.labels), len(result.history) - 1
    table = Table(title=f"{count} digits, {steps} steps of gradient descent", title_justify="left")
    table.add_column()
    table.add_column("before", justify="right")
    table.add_column("after", justify="right", style="bold")
    table.add_row(
        "image error, root mean square (1 is full ink)",
        f"{image_error(result.distorted, result.originals):.3f}",
        f"{image_error(result.recovered, result.originals):.3f}",
    )
    for name, share in (("median", 0.5), ("9 of 10 below", 0.9)):
        before, after = (np.quantile(values, share) for values in (result.before, result.after))
        table.add_row(f"worst corner of a digit's box, {name}", f"{before:.2f} px", f"{after:.2f} px")
    before, after = (np.mean(values < 1.0) for values in (result.before, result.after))
    table.add_row("digits aligned to less than 1 px", f"{before:.1%}", f"{after:.1%}", end_section=True)
    table.add_row("images sampled per second", "", f"{result.samples_per_second:,.0f}")
    table.add_row("gradients to theta per second", "", f"{result.gradients_per_second:,.0f}")
    table.add_row("first calls (compiled, or loaded from the cache)", "", f"{result.compile_seconds:.1f} s")
    table.add_row("all together", "", f"{result.seconds:.1f} s")
    return table
