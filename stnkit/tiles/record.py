"""Which blocks of an output are finished, in a file beside it, so that a run that was killed can go on."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ENDING = ".stnkit-blocks"
DONE = b"1"


class Record:
    """A file of a line that says what is done, and a byte for each block: a byte is written whole or not at all.

    The first run makes it; one that finds it goes on with it if it does the same. A lock is not kept: two runs at once
    write the same blocks twice.
    """

    def __init__(self, path: str | os.PathLike[str], key: str, count: int) -> None:
        self._path = Path(path)
        head = json.dumps({"stnkit": "blocks", "count": count, "key": key}).encode() + b"\n"
        if not self._path.exists():
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
            new.write_bytes(head + b"0" * count)
            new.replace(self._path)
        found = self._path.read_bytes()
        if found[: len(head)] != head or len(found) != len(head) + count:
            msg = (
                f"{self._path} records finished blocks of another warp, or other blocks; to go on, pass the same "
                "image, map, options, chunks and memory; to begin anew, remove it"
            )
            raise ValueError(msg)
        self._start = len(head)
        self._file: int | None = os.open(self._path, os.O_WRONLY)
        self._done = {i for i in range(count) if found[self._start + i : self._start + i + 1] == DONE}

    def left(self, blocks: Sequence[Any]) -> list[tuple[int, Any]]:
        """Return the blocks that are not finished, each after its number."""
        return [(i, block) for i, block in enumerate(blocks) if i not in self._done]

    def finished(self, i: int) -> None:
        """Record that a block is written."""
        assert self._file is not None
        os.pwrite(self._file, DONE, self._start + i)

    def close(self, complete: bool) -> None:
        """Close the file; remove it if all is done."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if complete:
            self._path.unlink(missing_ok=True)


def beside(out: Any) -> Path:
    """Return the name of the record of an output that is on disk: in the folder of a zarr store, or beside a file.

    ValueError if it is not known where the output is.
    """
    root = getattr(getattr(out, "store", None), "root", None)
    if root is not None:
        return Path(root) / getattr(out, "path", "") / ENDING
    name = getattr(getattr(out, "file", out), "filename", None)
    if name is None:
        msg = f"`resume=True` needs an output on disk, and {type(out).__name__} does not say where it is; pass a path"
        raise ValueError(msg)
    return Path(f"{os.fspath(name)}{ENDING}")
