"""A tiled TIFF file into which tiles are written in any order, and that appears under its name when all are there."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from stnkit.tiles.record import ENDING

TILE = 256  # pixels along each side
PART = ".stnkit-part"


class Tiles:
    """The tiles of a file without compression, as an array of (..., H, W), or (..., H, W, C), to write to."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, last: bool, offsets: Sequence[Sequence[int]]):
        self.shape, self.dtype, self._last = shape, np.dtype(dtype), last
        self._rows = len(shape) - 2 - last
        self.chunks = (*[1] * self._rows, TILE, TILE, *shape[self._rows + 2 :])
        self._offsets = offsets
        self._file = os.open(path, os.O_RDWR)

    def __getitem__(self, key: Any) -> Any:
        """Nothing is read from it."""
        raise NotImplementedError

    def __setitem__(self, block: tuple[slice, ...], values: Any) -> None:
        """Write a block of whole tiles, or parts of tiles, which are read first."""
        lead = block[: self._rows]
        for number, index in enumerate(itertools.product(*[range(part.start, part.stop) for part in lead])):
            page = int(np.ravel_multi_index(index, self.shape[: self._rows])) if index else 0
            plane = np.asarray(values).reshape(-1, *values.shape[self._rows :])[number]
            self._write(page, block[self._rows], block[self._rows + 1], plane)

    def _write(self, page: int, rows: slice, columns: slice, plane: np.ndarray) -> None:
        many = -(-self.shape[self._rows + 1] // TILE)
        tile_shape = (TILE, TILE, *self.shape[self._rows + 2 :])
        for i, j in itertools.product(_tiles(rows), _tiles(columns)):
            offset = self._offsets[page][i * many + j]
            y, x = (
                slice(max(part.start, k * TILE), min(part.stop, (k + 1) * TILE))
                for part, k in ((rows, i), (columns, j))
            )
            values = plane[y.start - rows.start : y.stop - rows.start, x.start - columns.start : x.stop - columns.start]
            tile = np.zeros(tile_shape, self.dtype)
            if values.shape[:2] != (TILE, TILE):
                there = os.pread(self._file, tile.nbytes, offset)
                tile.reshape(-1).view(np.uint8)[: len(there)] = np.frombuffer(there, np.uint8)
            tile[y.start - i * TILE : y.stop - i * TILE, x.start - j * TILE : x.stop - j * TILE] = values
            _written(self._file, tile, offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _tiles(part: slice) -> range:
    return range(part.start // TILE, -(-part.stop // TILE))


def _written(file: int, tile: np.ndarray, offset: int) -> None:
    left = memoryview(tile.tobytes())
    while left:  # a disk that is nearly full takes a part
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done


@contextmanager
def made(
    target: Path, shape: tuple[int, ...], dtype: Any, photometric: str, tifffile: ModuleType
) -> Iterator[tuple[Tiles, Path]]:
    """Open the file that a run before began, or a new one; with the name of the record of its finished blocks."""
    last = len(shape) > 2 and photometric == "rgb"
    real = Path(os.path.realpath(target))
    part = real.with_name(f".{real.name}{PART}")
    record = part.with_name(part.name + ENDING)
    if not (part.exists() and record.exists()):
        record.unlink(missing_ok=True)
        with tifffile.TiffWriter(part, bigtiff=True) as writer:
            writer.write(
                None, shape=shape, dtype=np.dtype(dtype).newbyteorder("="), tile=(TILE, TILE), photometric=photometric
            )
    with tifffile.TiffFile(part) as file:
        found = file.series[0]
        offsets = [page.dataoffsets for page in found.pages]
        fits = found.shape == shape and found.dtype == dtype
    if not fits:
        message = f"{part} was begun with another shape or dtype; remove it and {record} to begin anew"
        raise ValueError(message)
    out = Tiles(part, shape, dtype, last, offsets)
    try:
        yield out, record
    except ValueError:
        if not record.exists():  # nothing was begun
            part.unlink()
        raise
    finally:
        out.close()
    part.replace(real)
