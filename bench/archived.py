"""Whether kernels of an archive are those that are compiled here for its level.

`python -m bench.archived FILE` compiles everything in the set `common` for the archive's level anew, and compares: what
random calls give in processes that take kernels from the archive and in others that compile them, bit for bit, and each
kernel's machine code, but for the names in it. `--every N` takes each N-th member of the set. `--cache DIR` keeps what
is compiled; what was there before is called, and its code is not compared.
"""

import argparse
import hashlib
import os
import struct
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from llvmlite import binding as llvm

import stnkit
from stnkit.cli import archiving, selection, sets
from stnkit.cli.pool import results
from stnkit.cli.selection import Choice
from stnkit.kernels.compiler import monitor
from stnkit.kernels.compiler.settings import processors
from stnkit.kernels.objects.archive import Archive, Object

Hashes = dict[str, str]  # by the names of calls, or of kernels


class Ran(NamedTuple):
    """What a member of a set came to: hashes of its calls' results, and of the code of kernels that were compiled."""

    results: Hashes
    code: Hashes
    origins: dict[str, str]


class Compared(NamedTuple):
    """What an archive and what is compiled have in common."""

    calls: int
    called: int  # kernels of the archive that these took
    differ: list[str]  # calls
    kernels: int
    other: list[str]  # kernels whose machine code is another one

    @property
    def said(self) -> str:
        """Say it."""
        return (
            f"{self.calls} calls of {self.called} kernels from the archive, {len(self.differ)} differ; "
            f"machine code of {self.kernels} kernels, {len(self.other)} differ"
        )


def drawn(draw: np.random.Generator, name: str, form: object) -> object:
    """Draw an argument: numbers about 0, coordinates in and around the image, maps near the identity."""
    if not hasattr(form, "dtype"):
        return form  # a size, or None
    shape, dtype = form.shape, form.dtype
    if dtype.kind in "iub":
        return draw.integers(0, 200, shape).astype(dtype)
    if name in ("grid", "control_points"):
        return draw.uniform(-1.2, 1.2, shape).astype(dtype)
    values = draw.standard_normal(shape) / (1 if name not in ("theta", "flow") else 5)
    if name == "theta":
        values += np.eye(*shape[-2:])
    return values.astype(dtype)


def called(choice: Choice) -> Hashes:
    """Call what a choice has, on random numbers; return a hash of each call's results."""
    function, found = getattr(stnkit, choice.operation), {}
    for number, (arguments, options) in enumerate(selection.calls(choice)):
        draw = np.random.default_rng(7)
        given = [drawn(draw, name, form) for name, form in zip(selection.names(function), arguments, strict=True)]
        try:
            answer = function(*given, **options)
        except (TypeError, ValueError):
            continue  # which stnkit refuses
        arrays = answer if isinstance(answer, tuple) else (answer,)
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        found[f"{choice} {number}"] = digest.hexdigest()
    return found


def code(one: Object) -> str:
    """Return a hash of what an object of Linux does: of its code, constants, and what it calls, but not of its name.

    Its name has a number in it, of what the process that made it had compiled before.
    """
    sections = [(section.name(), section.data()) for section in llvm.ObjectFileRef.from_data(one.code).sections()]
    symbols, names = (dict(sections)[table] for table in (b".symtab", b".strtab"))
    digest, own = hashlib.sha256(), one.symbol.rpartition("_ZN")[2].encode()
    for start, about in struct.iter_unpack("<I20s", symbols):
        name = names[start : names.index(b"\0", start)]
        digest.update((b"own" if name.endswith(own) else name) + about)
    for title, data in sections:
        if title not in (b".symtab", b".strtab"):
            digest.update(b"%b %d " % (title or b"", len(data)) + data)
    return digest.hexdigest()


def taken(member: Choice | sets.Single) -> Ran:
    """Call what a member has; of one kernel alone it is not known how it is called."""
    found = called(member) if isinstance(member, Choice) else {}
    return Ran(found, {}, dict(monitor.origins))


def compiled(member: Choice | sets.Single) -> Ran:
    """Compile a member, and call it."""
    objects = archiving.made(member).objects
    return taken(member)._replace(code={key: code(one) for key, one in objects.items() if one is not None})


def gathered(found: Iterable[Ran]) -> Ran:
    """Put what all members came to into one."""
    whole = Ran({}, {}, {})
    for one in found:
        for all_of_it, part in zip(whole, one, strict=True):
            all_of_it.update(part)
    return whole


def compared(path: Path, every: int = 1, kept: Path | None = None) -> Compared:
    """Compare an archive with what is compiled here, into a directory if one is given."""
    archive = Archive(path)
    members = sets.members("common")[::every]
    with tempfile.TemporaryDirectory() as cache:
        with archiving.compiling_for(archive.about["level"], str(kept or cache)):
            new = gathered(results(compiled, members, processors()))
        os.environ["STNKIT_ARCHIVE"] = str(path)  # of processes that are started from now on
        old = gathered(results(taken, members, processors()))
    there = {key for key, origin in old.origins.items() if origin == monitor.ARCHIVE}
    shared = {key: archive.find(key) for key in new.code}
    return Compared(
        calls=len(old.results),
        called=len(there),
        differ=[call for call, value in old.results.items() if new.results.get(call) != value],
        kernels=len(shared),
        other=[key for key, one in shared.items() if one is None or code(one) != new.code[key]],
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("file", type=Path)
    words.add_argument("--every", type=int, default=1, metavar="N")
    words.add_argument("--cache", type=Path, metavar="DIR")
    options = words.parse_args()
    found = compared(options.file.resolve(), options.every, options.cache and options.cache.resolve())
    print(found.said, *found.differ, *found.other, sep="\n")
    sys.exit(bool(found.differ or found.other) or not found.called)


if __name__ == "__main__":
    main()
