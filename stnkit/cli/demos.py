"""The command line's demonstrations: `stnkit demo learn` and `stnkit demo align`."""

from pathlib import Path

from cyclopts import App
from rich.console import Console

from stnkit.cli import arguments

demo = App(name="demo", help="See the sampler's gradients at work on real digits (alone: `demo learn`).")


def learn(
    *,
    out: Path = Path("stnkit-demo.png"),
    seed: int = 0,
    epochs: int = 400,
) -> None:
    """Train a classifier with a spatial transformer in front and one without, side by side, on distorted digits.

    Prints the test error of both, and draws what the transformer made of ten digits while it learnt.

    Parameters
    ----------
    out
        The PNG file of the picture.
    seed
        Which weights and which distortions: the same seed gives the same results.
    epochs
        How often every digit is learnt.

    """
    from stnkit.cli.pictures import replacing
    from stnkit.demo.learn.report import errors, outcome
    from stnkit.demo.learn.sheet import draw
    from stnkit.demo.learn.task import learning
    from stnkit.demo.terminal import progress

    arguments.within("--seed", seed, 0)
    arguments.within("--epochs", epochs, 1)
    arguments.png(out, "the picture")
    with replacing(out) as file:  # refuses before the work what it would refuse after it
        with progress(epochs) as advance:
            result = learning(epochs, seed, lambda *both: advance(errors(*both)))
        draw(result, file)
    Console().print(outcome(result))
    print(f"picture: {out}")


def align(
    *,
    out: Path = Path("stnkit-demo.png"),
    seed: int = 0,
    count: int = 256,
    steps: int = 400,
) -> None:
    """Distort real digits by unknown affine maps and find each map again by gradient descent.

    Prints how far the digits were off before and after, and draws a contact sheet of ten of them.

    Parameters
    ----------
    out
        The PNG file of the contact sheet.
    seed
        Which digits and which distortions: the same seed gives the same results.
    count
        How many digits, at most 1000.
    steps
        Steps of gradient descent.

    """
    from stnkit.cli.pictures import replacing
    from stnkit.demo.align.report import outcome
    from stnkit.demo.align.sheet import draw
    from stnkit.demo.align.task import alignment
    from stnkit.demo.terminal import progress

    arguments.within("--seed", seed, 0)
    arguments.within("--count", count, 1, 1000)
    arguments.within("--steps", steps, 1)
    arguments.png(out, "the contact sheet")
    with replacing(out) as file:  # refuses before the work what it would refuse after it
        with progress(steps) as advance:
            result = alignment(count, steps, seed, lambda: advance("gradient descent"))
        draw(result, file)
    Console().print(outcome(result))
    print(f"contact sheet: {out}")


demo.command(learn)
demo.command(align)
demo.default(learn)
