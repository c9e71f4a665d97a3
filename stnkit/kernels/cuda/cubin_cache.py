"""Machine code for GPUs, kept on disk: where Numba keeps its own, and never trusted further than its checksum.

A file is a line of JSON, a line with the checksum of what follows it, and the code. It is written under another
name and then renamed, so that a reader sees all of it or nothing.
"""

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numba


class Code(NamedTuple):
    """A compiled kernel."""

    name: str  # of its entry
    cubin: bytes
    registers: int  # of each thread
    spilled: int  # bytes that each thread keeps in memory for want of registers
    ptx: str = ""  # which is not kept on disk


def find(key: str) -> Code | None:
    """Return what was kept under a key; None if there is nothing, or nothing whole."""
    path = _path(key)
    if path is None:
        return None
    try:
        head, _, rest = path.read_bytes().partition(b"\n")
        checksum, _, cubin = rest.partition(b"\n")
        if checksum.decode() != _checksum(head, cubin):
            return None
        about = json.loads(head)
        return Code(about["name"], cubin, about["registers"], about["spilled"]) if about["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def key_of(path: Path) -> str | None:
    """Return the key that a file was kept under; None if it is not whole enough to tell."""
    try:
        key = json.loads(path.read_bytes().partition(b"\n")[0])["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key if isinstance(key, str) else None


def keep(key: str, code: Code) -> None:
    """Keep a kernel under a key, if there is a directory that can be written to."""
    path = _path(key)
    if path is None:
        return
    about = {"key": key, "name": code.name, "registers": code.registers, "spilled": code.spilled}
    head = json.dumps(about).encode()
    handle, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b"\n".join([head, _checksum(head, code.cubin).encode(), code.cubin]))
        os.replace(draft, path)
    except OSError:  # a full disk is no reason not to run
        with contextlib.suppress(OSError):
            os.unlink(draft)


def _checksum(head: bytes, cubin: bytes) -> str:
    return hashlib.sha256(head + cubin).hexdigest()


def _path(key: str) -> Path | None:
    folder = directory(numba.config.CACHE_DIR)
    return None if folder is None else folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.cubin"


@functools.cache
def directory(wished: str) -> Path | None:
    """Return where code is kept: where the user wishes, beside this file, or in the user's own cache."""
    from numba.misc.appdirs import AppDirs

    here = Path(__file__).parent / "__pycache__"
    own = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir) / "stnkit"
    for folder in [Path(wished) / "stnkit_cubins"] if wished else [here, own]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None
