"""Archives of kernels: made for a level of processors, in processes that are told to compile for it.

`python -m stnkit.cli.archiving FILE LEVEL SET` makes one of a set, with nothing but NumPy and Numba, as a build of
stnkit does.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import stnkit
from stnkit.cli import sets
from stnkit.cli.pool import results
from stnkit.cli.selection import Choice, compile_choice
from stnkit.cli.sets import Single
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.settings import processors
from stnkit.kernels.cpu import start
from stnkit.kernels.objects import archive, levels, linking
from stnkit.kernels.objects.archive import Object

Objects = dict[str, Object | None]  # by the names of kernels; None is an object that another process has made


class Written(NamedTuple):
    """What an archive came to."""

    level: str
    kernels: int
    seconds: float  # of a processor

    def said(self, path: Path) -> str:
        """Say it of the archive that lies there."""
        size = path.stat().st_size / 2**20
        return f"{self.kernels} kernels for {self.level}, {size:.1f} MiB, in {self.seconds:.0f} CPU seconds: {path}"


class Made(NamedTuple):
    """What one member of a set came to."""

    objects: Objects
    seconds: float  # of a processor


def made(member: Choice | Single) -> Made:
    """Compile a kernel, or those of one choice, none if stnkit refuses such calls; return their objects."""
    before = time.process_time()
    if isinstance(member, Single):
        kernel = member.factory(member.spec)
        kernels = {kernel.key: kernel}
    else:
        kernels = compile_choice(member).kernels
    found = {key: kernel.written.object() for key, kernel in kernels.items()}
    objects: Objects = {key: None if one is None else Object(*one) for key, one in found.items()}
    return Made(objects, time.process_time() - before)


@contextlib.contextmanager
def compiling_for(level: str, cache: str) -> Iterator[None]:
    """Let processes that are started within compile for a level, and keep what they compile in a directory."""
    words = {
        "NUMBA_CPU_NAME": levels.LEVELS[level].processor,
        "NUMBA_CPU_FEATURES": levels.LEVELS[level].tuning,
        "NUMBA_CACHE_DIR": cache,
        "NUMBA_NUM_THREADS": "2",
        "STNKIT_ARCHIVE": "0",
    }
    before = {word: os.environ.get(word) for word in words}
    os.environ.update(words)
    try:
        yield
    finally:
        for word, value in before.items():
            if value is None:
                del os.environ[word]
            else:
                os.environ[word] = value


def outcomes(members: Sequence[Choice | Single], level: str, jobs: int) -> Iterator[Made]:
    """Compile kernels for a level, in so many processes at once; yield what each member of a set came to."""
    with tempfile.TemporaryDirectory() as cache, compiling_for(level, cache):
        yield from results(made, members, min(jobs, len(members)))


def write(path: Path, level: str, done: Iterable[Made]) -> Written:
    """Write an archive of what choices came to. ValueError if that is nothing."""
    objects: dict[str, Object] = {}
    seconds = 0.0
    for one in done:
        objects |= {key: found for key, found in one.objects.items() if found is not None}
        seconds += one.seconds
    if not objects:
        message = "these choices need no kernels, or are refused"
        raise ValueError(message)
    count = len(objects)
    name, text = start.written()
    objects[name] = Object(start.NAME, linking.compiled(text))
    about = {
        "version": stnkit.__version__,
        "system": levels.system(),
        "level": level,
        "digest": f"{digest():014x}",
    }
    archive.write(path, about, objects)
    return Written(level, count, seconds)


def main() -> None:
    """Make the archive that the command line asks for."""
    file, level, name = sys.argv[1:]
    path = Path(file)
    print(write(path, level, outcomes(sets.members(name), level, processors())).said(path))


if __name__ == "__main__":
    main()
