"""The file of an archive: objects, each compressed, behind a table of their names, places and checksums.

It begins with `MAGIC`; 8 bytes, the length of the table; 32 bytes, the table's SHA-256; and the table, which is JSON.
All is checked before it is believed.
"""

import hashlib
import json
import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

MAGIC = b"stnkit kernels 1"
START = len(MAGIC) + 8 + 32  # of the table


class Damaged(Exception):  # it says what an archive is
    """What an archive holds is not what was written; the reason is its text."""


class Object(NamedTuple):
    """Machine code, and the name of the function in it."""

    symbol: str
    code: bytes


class Archive:
    """An archive on disk, of which no more is read than is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise Damaged(str(error)) from None  # an empty file
        if self._bytes[: len(MAGIC)] != MAGIC:
            msg = "it is no archive of this form"
            raise Damaged(msg)
        self._end = START + int.from_bytes(self._bytes[len(MAGIC) : len(MAGIC) + 8], "little")
        table = self._bytes[START : self._end]
        if hashlib.sha256(table).digest() != self._bytes[len(MAGIC) + 8 : START]:
            msg = "its table has another checksum than it had when it was written"
            raise Damaged(msg)
        self.about: dict[str, Any] = json.loads(table)
        self._objects = self.about.pop("objects")
        if self._end + sum(length for _, length, _ in self._objects.values()) != len(self._bytes):
            msg = "it has another length than it had when it was written"
            raise Damaged(msg)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Any:
        return iter(self._objects)

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return len(self._bytes)

    def find(self, name: str) -> Object | None:
        """Return an object by its name; None if it is not there."""
        if name not in self._objects:
            return None
        first, length, checksum = self._objects[name]
        packed = self._bytes[self._end + first : self._end + first + length]
        if hashlib.sha256(packed).hexdigest() != checksum:
            msg = f"{name} has another checksum than it had when it was written"
            raise Damaged(msg)
        symbol, _, code = zlib.decompress(packed).partition(b"\0")
        return Object(symbol.decode(), code)


def write(path: Path, about: Mapping[str, Any], objects: Mapping[str, Object]) -> None:
    """Write an archive, which says some words `about` itself, of objects by their names."""
    places, packed, first = {}, [], 0
    for name, (symbol, code) in sorted(objects.items()):
        packed.append(zlib.compress(symbol.encode() + b"\0" + code, 9))
        places[name] = first, len(packed[-1]), hashlib.sha256(packed[-1]).hexdigest()
        first += len(packed[-1])
    table = json.dumps({**about, "objects": places}).encode()
    head = MAGIC + len(table).to_bytes(8, "little") + hashlib.sha256(table).digest()
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(b"".join((head, table, *packed)))
    new.replace(path)  # so that who reads the old one still does
