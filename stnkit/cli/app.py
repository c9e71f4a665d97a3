"""The command line: `stnkit warp`, `stnkit info`, `stnkit compile` and `stnkit demo`.

A command does its work or raises; `run` turns what a user can do wrong into one line and the exit status 2.
Heavy modules are imported by the command that needs them, so that `--help` is quick.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stnkit import __version__
from stnkit.cli import ahead, arguments, interrupts, notices
from stnkit.cli.demos import demo
from stnkit.spec import LABEL, MARGINS, MASK, MODES, PADDING_MODES, ZEROS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = App(
    name="stnkit",
    help="Spatial transformer sampling: warp pictures, look at the installation, see the gradients at work.",
    version=__version__,
    default_parameter=Parameter(negative=()),
)
app.command(demo)

BLENDING = [name for name, code in MODES.items() if code != LABEL]  # as pictures hold no labels
SURROUNDING = [name for name, code in PADDING_MODES.items() if code not in MARGINS]  # as they hold no margins
Numbers = Annotated[str, Parameter(allow_leading_hyphen=True)]
Theta = tuple[float, float, float, float, float, float]


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Parameters
    ----------
    arguments : sequence of str
        The words after the program's name.

    Returns
    -------
    int
        The exit status: 0; 2 if it cannot be done, with the reason on one line of standard error; 130 if it
        was interrupted; 1 if nobody reads what it prints.

    """
    try:
        command, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
        with interrupts.kept(), notices.shown():
            command(*bound.args, **bound.kwargs)
    except KeyboardInterrupt:
        return refuse("interrupted", 130)
    except BrokenPipeError:  # who reads the output has gone, as `head` does: rich too returns 1 and says nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return refuse("not enough memory for pictures of this size", 2)
    except OSError as error:
        return refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except (CycloptsError, ValueError) as error:
        return refuse(str(error), 2)
    return 0


def refuse(reason: str, status: int) -> int:
    """Say in one line why nothing was done, and return the exit status.

    Parameters
    ----------
    reason : str
        What is wrong, what was given, what is accepted.
    status : int
        The exit status.

    Returns
    -------
    int
        `status`.

    """
    print("stnkit:", " ".join(reason.split()), file=sys.stderr)
    return status


@app.command
def warp(
    source: Path,
    target: Path,
    /,
    *,
    rotate: float = 0.0,
    scale: Numbers = "1",
    shear: float = 0.0,
    translate: tuple[float, float] = (0.0, 0.0),
    theta: Theta | None = None,
    size: str | None = None,
    mode: Annotated[str, Parameter(help=f"Interpolation: {', '.join(BLENDING)}.")] = "bilinear",
    padding: Annotated[str, Parameter(help=f"Outside the picture: {', '.join(SURROUNDING)}.")] = "zeros",
    fill: Numbers | None = None,
    memory: str | None = None,
    chunks: str | None = None,
    workers: int | None = None,
) -> None:
    """Transform a PNG, JPEG or TIFF picture, or an image of zarr, as it is seen, about its centre.

    The picture is scaled, then sheared, rotated and translated. Pixels keep their shape, and the canvas keeps
    its size unless --size gives another, about the same centre. An image of zarr, and with --memory, --chunks or
    --workers a TIFF, is done in blocks, and may be larger than memory; a run that was interrupted goes on if it is
    started again.

    Parameters
    ----------
    source
        The picture to read: PNG, JPEG, TIFF or .zarr.
    target
        The file to write: .png, .jpg, .jpeg, .tif, .tiff or .zarr.
    rotate
        Degrees, counter-clockwise.
    scale
        One factor, or two for x and y as in 2,0.5; a negative one mirrors.
    shear
        Degrees by which upright lines lean to the right.
    translate
        Pixels to the right and down.
    theta
        Instead of the four above: the sampler's own matrix by rows, from output to input in coordinates from
        -1 to 1 across each canvas.
    size
        The canvas of the output in pixels, WIDTHxHEIGHT, as in 640x480.
    fill
        What paddings zeros and mask read outside, in the file's own range: one number, or one per channel as in
        255,255,255. By default 0.
    memory
        For images in blocks: how much memory to use, as 2GB. By default 1GB.
    chunks
        For images in blocks: the size of a block, WIDTHxHEIGHT, in multiples of the chunks of the output.
    workers
        For images in blocks: how many are done at once. By default 1.

    """
    import numpy as np

    from stnkit.cli import large, pictures
    from stnkit.cli.warp import warped
    from stnkit.transforms import centred_affine

    in_blocks = large.is_large(source, target, (memory, chunks, workers) != (None, None, None))
    if not in_blocks:
        pictures.file_format(target)
    arguments.one_of("--mode", mode, BLENDING)
    arguments.one_of("--padding", padding, SURROUNDING)
    if fill is not None and PADDING_MODES[padding] not in (ZEROS, MASK):
        message = f"--fill is read with --padding zeros and mask only; got --padding {padding}"
        raise ValueError(message)
    factors = arguments.numbers("--scale", scale, most=2)
    values = arguments.numbers("--fill", "0" if fill is None else fill, most=2**16 if in_blocks else 4)
    seen = centred_affine.seen(
        arguments.finite("--rotate", rotate)[0],
        (factors[0], factors[-1]),
        arguments.finite("--shear", shear)[0],
        arguments.finite("--translate", *translate),
    )
    if theta is not None and (seen != centred_affine.seen()).any():
        message = "--theta is the whole transform: leave out --rotate, --scale, --shear and --translate"
        raise ValueError(message)
    canvas = None if size is None else arguments.canvas("--size", size, is_picture=not in_blocks)

    def matrix(extent: tuple[int, int], canvas: tuple[int, int]) -> "NDArray[np.float64]":
        if theta is None:
            return centred_affine.theta_of(seen, extent, canvas)
        given = np.array(arguments.finite("--theta", *theta)).reshape(2, 3)
        centred_affine.check_regular(given)
        return given

    if in_blocks:
        blocks = large.Blocks(
            "1GB" if memory is None else memory,
            None if chunks is None else arguments.canvas("--chunks", chunks),
            1 if workers is None else arguments.within("--workers", workers, 1),
        )
        large.warp(source, target, matrix, canvas, blocks, mode=mode, padding=padding, fill=values)
        return
    picture = pictures.read(source)
    pictures.file_format(target, picture.kind)
    for note in picture.notes:
        print("stnkit:", note, file=sys.stderr)
    extent = picture.pixels.shape[0], picture.pixels.shape[1]
    canvas = canvas or extent
    pictures.write(warped(picture, matrix(extent, canvas), canvas, mode=mode, padding=padding, fill=values), target)


@app.command
def info(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Show what a report of a problem should say: versions, processor, threads, cache, devices, frameworks.

    Parameters
    ----------
    as_json
        Print JSON instead of a table.

    """
    from stnkit.cli.environment import facts

    found = facts()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(title="stnkit and what it runs on", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_column(overflow="fold")
    for section, entries in found.items():
        for row, (name, value) in enumerate(entries.items()):
            table.add_row("" if row else section, name, Text(str(value)))
        table.add_section()
    Console().print(table)


app.command(ahead.compile_kernels, name="compile")
