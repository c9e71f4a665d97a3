"""The command `stnkit compile`."""

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from stnkit.cli import arguments, sets
from stnkit.cli.selection import Choice
from stnkit.cli.sets import SETS
from stnkit.kernels.compiler.settings import interpreted, processors
from stnkit.kernels.objects import levels
from stnkit.kernels.objects.levels import LEVELS
from stnkit.spec import DATA_FORMATS, DTYPES, MODES, PADDING_MODES

CHOICES = {"--ops", "--modes", "--padding", "--dtypes", "--layout", "--axes", "--channels", "--corners"}


def compile_kernels(
    *,
    ops: str = "grid_sample,grid_sample_vjp,affine_sample,affine_sample_vjp",
    modes: Annotated[str, Parameter(help=f"Interpolations: {', '.join(MODES)}; or all.")] = "bilinear",
    padding: Annotated[str, Parameter(help=f"Paddings: {', '.join(PADDING_MODES)}; or all.")] = "zeros",
    dtypes: Annotated[str, Parameter(help=f"Dtypes of images: {', '.join(DTYPES)}; or all.")] = "float32",
    layout: Annotated[
        str, Parameter(help=f"Where channels are: {', '.join(DATA_FORMATS)}; or all.")
    ] = "channels_first",
    axes: str = "2",
    channels: str = "3",
    corners: bool = False,
    jobs: int | None = None,
    clean: bool = False,
    archive: Path | None = None,
    level: Annotated[str | None, Parameter(help=f"The processors that an archive is for: {', '.join(LEVELS)}.")] = None,
    kernels: Annotated[str | None, Parameter(name="--set", help=f"What an archive holds: {', '.join(SETS)}.")] = None,
) -> None:
    """Compile kernels ahead of time and keep them on disk, so that no process waits for them at its first call.

    Where an option takes several names, they are separated by commas. Every choice of one is compiled with every
    choice of the others.

    Parameters
    ----------
    ops
        Functions of stnkit, as grid_sample,grid_sample_vjp; or all.
    axes
        Numbers of spatial axes: 1, 2, 3; or all.
    channels
        How many channels images have whose channels are last: up to 8, each number has kernels of its own.
    corners
        Compile for align_corners=True.
    jobs
        In how many processes at once; by default one for each processor.
    clean
        Compile nothing, and remove the kernels of other versions of stnkit's sources.
    archive
        Write kernels to this file, and do not keep them elsewhere. All are compiled.
    level
        The processors that the archive is for; by default the best level of this one.
    kernels
        A set of kernels, in place of the choices above.

    """
    words, parameters = dict(locals()), inspect.signature(compile_kernels).parameters
    given = {f"--{name}" for name, parameter in parameters.items() if words[name] != parameter.default}

    from stnkit.cli import compiling, environment, selection
    from stnkit.cli.cleaning import clean as cleaned

    if archive is None and (level or kernels):
        message = "--level and --set say what an archive holds: name its file, --archive FILE"
        raise ValueError(message)
    arguments.beside("--clean compiles nothing", clean, given - {"--clean"})
    arguments.beside("--set names all that is compiled", kernels is not None, given & CHOICES)
    cache = environment.cache()
    if archive is None and "kernels" not in cache:
        message = f"kernels cannot be kept; the directory for them: {cache['directory']}"
        raise ValueError(message)
    if clean:
        removed = cleaned()
        print(f"{removed.files} files removed, {removed.size / 2**20:.1f} MiB")
        return
    chosen = selection.choices(
        arguments.several("--ops", ops, {name: name for name in selection.OPERATIONS}),
        [int(n) for n in arguments.several("--axes", axes, {n: n for n in "123"})],
        arguments.several("--dtypes", dtypes, DTYPES),
        [int(n) for n in arguments.several("--channels", channels, {n: n for n in "12345678"})],
        mode=arguments.several("--modes", modes, MODES),
        padding_mode=arguments.several("--padding", padding, PADDING_MODES),
        data_format=arguments.several("--layout", layout, DATA_FORMATS),
        align_corners=[corners],
    )
    jobs = processors() if jobs is None else arguments.within("--jobs", jobs, 1)
    if archive is not None:
        _write(archive, chosen, level, kernels, jobs)
        return
    with compiling.progress(compiling.outcomes(chosen, jobs), len(chosen)) as arriving:
        done = list(arriving)
    if not any(one.kernels for one in done):
        message = (
            "these choices need no kernels, or are refused: bool and 64-bit integers are read by --modes nearest,label"
        )
        raise ValueError(message)
    Console().print(compiling.outcome(done))
    cache = environment.cache()
    print(f"{cache['kernels']} kernels, {cache['size']}, in {cache['directory']}")


def _write(archive: Path, chosen: Sequence[Choice], level: str | None, kernels: str | None, jobs: int) -> None:
    """Write an archive of kernels."""
    from stnkit.cli import archiving, compiling

    level = level or next(iter(levels.levels()), "")
    arguments.one_of("--level", level, LEVELS)
    if kernels is not None:
        arguments.one_of("--set", kernels, SETS)
    if interpreted():
        message = "NUMBA_DISABLE_JIT is set, and nothing is compiled"
        raise ValueError(message)
    if archive.is_dir() or not os.access(archive.parent, os.W_OK):  # said before all is compiled, not after it
        message = f"{archive}: cannot be written"
        raise ValueError(message)
    members = chosen if kernels is None else sets.members(kernels)
    with compiling.progress(archiving.outcomes(members, level, jobs), len(members)) as arriving:
        made = archiving.write(archive, level, arriving)
    print(made.said(archive))
