"""Which archive kernels are taken from: that of the best level which this processor is of.

Archives lie beside this file, one for each level, if the installation has any. `STNKIT_ARCHIVE` names another file, or
a directory of them, or is 0: then there is none. One that is damaged, or was made of other sources of stnkit or for
other machines, is as good as none, and that is said once.
"""

import functools
import os
import threading
import warnings
from pathlib import Path

from stnkit.kernels.objects import levels, linking
from stnkit.kernels.objects.archive import Archive, Damaged, Object

SUFFIX = ".kernels"
CHOICES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")  # with which a user asks for other machine code

_lock = threading.Lock()
_refused: set[Path] = set()


def place() -> Path | None:
    """Return where the archive would lie that this process takes kernels from; None if it takes them from none."""
    given = os.environ.get("STNKIT_ARCHIVE", "")
    if given == "0" or any(os.environ.get(choice) for choice in CHOICES):
        return None
    where = Path(given) if given else Path(__file__).parent
    if not where.is_dir():
        return where if where.is_file() or given else None  # it may stand in a zip
    files = [where / f"{level}{SUFFIX}" for level in levels.levels()]
    return next((file for file in files if file.is_file()), None)


@functools.cache
def archive(digest: int) -> Archive | None:
    """Return the archive that kernels of a digest are taken from, if there is one that can be believed."""
    path = place()
    if path is None:
        return None
    try:
        found = Archive(path)
        check(found, digest)
    except (OSError, Damaged) as error:
        refuse(path, error)
        return None
    return found


def check(found: Archive, digest: int) -> None:
    """Raise Damaged if an archive is not for this machine, or of other sources than those with a digest."""
    wanted = {"system": levels.system(), "digest": f"{digest:014x}"}
    for word, value in wanted.items():
        if found.about.get(word) != value:
            msg = f"its {word} is {found.about.get(word)}, and not {value}"
            raise Damaged(msg)
    if found.about.get("level") not in levels.levels():
        msg = f"its level is {found.about.get('level')}, and this processor has {', '.join(levels.levels()) or 'none'}"
        raise Damaged(msg)


def described(digest: int) -> dict[str, str | int]:
    """Say which archive kernels of a digest are taken from, or why from none."""
    path = place()
    if path is None:
        return {"file": "none: kernels are compiled"}
    try:
        found = Archive(path)
        check(found, digest)
    except (OSError, Damaged) as error:
        return {"file": f"{path}, which is not used: {error}"}
    return {
        "file": str(path),
        "level": found.about["level"],
        "kernels": sum(not name.startswith("start_") for name in found),
        "size": f"{found.size / 2**20:.1f} MiB",
    }


def find(name: str, digest: int) -> Object | None:
    """Return an object by its name, from the archive of kernels of a digest."""
    found = archive(digest)
    if found is None or found.path in _refused:
        return None
    try:
        return found.find(name)
    except Damaged as error:
        refuse(found.path, error)
        return None


def address(name: str, digest: int) -> int | None:
    """Return where a kernel's machine code is, linked from the archive; None if it is not there."""
    found = find(name, digest)
    if found is None:
        return None
    try:
        return linking.address(found.code, found.symbol)
    except RuntimeError as error:
        if (used := archive(digest)) is not None:
            refuse(used.path, error)
        return None


def refuse(path: Path, error: Exception) -> None:
    """Take no kernels from an archive, and say so once."""
    with _lock:
        new = path not in _refused
        _refused.add(path)
    if new:
        message = f"kernels are compiled, and not taken from {path}: {error}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
