"""Images that are warped in blocks: zarr and TIFF, and what is kept of a file beside its pixels."""

import copy
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from stnkit.tiles import warp_blocks
from stnkit.tiles.record import ENDING

TIFF = (".tif", ".tiff")
ZARR = ".zarr"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the errors of a disk without room

ARGUMENTS = {"memory": "--memory", "chunks": "--chunks", "workers": "--workers", "fill_value": "--fill"}

# Returns theta, (2, 3), for an image and an output of these heights and widths.
Matrix = Callable[[tuple[int, int], tuple[int, int]], NDArray[np.float64]]


class Blocks(NamedTuple):
    """How an image is cut."""

    memory: str  # as "1GB"
    chunks: tuple[int, int] | None  # height and width of a block; None leaves them to `warp_blocks`
    workers: int


class Large(NamedTuple):
    """An image on disk, of which parts are read."""

    pixels: Any  # (..., H, W), or (..., H, W, C)
    channels_last: bool
    metadata: Mapping[str, Any]  # of the group that it is in, for OME-Zarr
    path: str  # in that group
    photometric: str  # as TIFF has it: "rgb" or "minisblack"


class Parts:
    """The parts of an image on disk; one that is damaged is a ValueError that names the file."""

    def __init__(self, path: Path, pixels: Any) -> None:
        self._path, self._pixels = path, pixels
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __getitem__(self, key: Any) -> Any:
        """Read a part."""
        try:
            return self._pixels[key]
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a decoder may fail in any way
            message = f"{self._path}: damaged image ({error})"
            raise ValueError(message) from error


def is_large(source: Path, target: Path, in_blocks: bool) -> bool:
    """Tell whether an image is warped in blocks; ValueError if it was asked for and the files are no such."""
    endings = [path.suffix.lower() for path in (source, target)]
    if ZARR not in endings and not in_blocks:
        return False
    for path, ending in zip((source, target), endings, strict=True):
        if ending not in (ZARR, *TIFF):
            message = f"{path}: images are warped in blocks from and to {', '.join((ZARR, *TIFF))}"
            raise ValueError(message)
    return True


def warp(
    source: Path,
    target: Path,
    matrix: Matrix,
    canvas: tuple[int, int] | None,
    blocks: Blocks,
    *,
    mode: str,
    padding: str,
    fill: Sequence[float],
) -> None:
    """Warp the last two spatial axes of an image, block by block, into a file that a run before may have begun."""
    if os.path.realpath(source) == os.path.realpath(target):
        message = f"{target}: the output must be another file than the input, which is read while it is written"
        raise ValueError(message)
    with _opened(source) as image:
        shape = image.pixels.shape
        rows = len(shape) - 2 - image.channels_last
        extent = shape[rows], shape[rows + 1]
        size = canvas or extent
        theta = matrix(extent, size)
        made = _made(target, image, (*shape[:rows], *size, *shape[rows + 2 :]), extent)
        with _full(target), made as (out, record), _accepted(source, record):
            warp_blocks(
                Parts(source, image.pixels),
                theta,
                out,
                chunks="auto" if blocks.chunks is None else blocks.chunks,
                memory=blocks.memory,
                workers=blocks.workers,
                progress=Console(stderr=True).is_terminal,
                resume=record,
                mode=mode,
                padding_mode=padding,
                fill_value=fill[0] if len(fill) == 1 else fill,
                data_format="channels_last" if image.channels_last else "channels_first",
            )


@contextmanager
def _accepted(source: Path, record: Path) -> Iterator[None]:
    """Name options where arguments of `warp_blocks` are refused: then, and only then, there is no record."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if record.exists():
            raise
        named = {"image": str(source), **ARGUMENTS}
        message = re.sub("`([a-z_]+)`", lambda found: named.get(found[1], found[0]), str(error))
        raise ValueError(message) from error


@contextmanager
def _full(target: Path) -> Iterator[None]:
    """Say of a disk that is full what can be done."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = f"{target}: {error.strerror}; once there is room, the same command goes on with what is missing"
        raise OSError(message) from error


def _package(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f'this needs the package {name}: pip install "stnkit[cli,tiles]"'
        raise ValueError(message) from error


@contextmanager
def _opened(path: Path) -> Iterator[Large]:
    """Open an image; OSError if there is none, ValueError if it is of another kind."""
    if not path.exists():
        raise FileNotFoundError(2, os.strerror(2), str(path))
    zarr = _package("zarr")
    if path.suffix.lower() == ZARR:
        yield _of_zarr(path, _zarr(path, zarr))
        return
    tifffile = _package("tifffile")
    try:
        file = tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        message = f"{path}: not a TIFF image ({error})"
        raise ValueError(message) from None
    with file:
        series = file.series[0]
        last = series.axes.endswith("S")
        pixels = zarr.open(series.aszarr(level=0), mode="r")
        yield Large(pixels, last, {}, "", "rgb" if last and series.shape[-1] > 2 else "minisblack")


def _zarr(path: Path, zarr: ModuleType, mode: str = "r") -> Any:
    try:
        return zarr.open(path, mode=mode)
    except Exception as error:  # of many types, by what is there
        message = f"{path}: not a zarr array or group ({error})"
        raise ValueError(message) from None


def _of_zarr(path: Path, found: Any) -> Large:
    """Return an array of zarr, or of a group of OME-Zarr the one of full resolution."""
    if hasattr(found, "shape"):
        _check(path, found.shape)
        return Large(found, False, {}, "", "minisblack")
    metadata = found.attrs.asdict()
    images = _multiscales(metadata)
    if not images:
        message = f"{path}: a zarr group without `multiscales`; name the array in it, as {path / 'ARRAY'}{ZARR}"
        raise ValueError(message)
    name = images[0]["datasets"][0]["path"]
    _check(path, found[name].shape)
    axes = [axis["name"] if isinstance(axis, dict) else axis for axis in images[0].get("axes", ())]
    if axes and axes[-2:] != ["y", "x"]:
        message = f"{path}: the last two axes must be y and x; got {', '.join(axes)}"
        raise ValueError(message)
    return Large(found[name], False, metadata, name, "minisblack")


def _check(path: Path, shape: Sequence[int]) -> None:
    if len(shape) < 2 or 0 in shape:
        message = f"{path}: an image has two axes or more, and none is empty; got shape {tuple(shape)}"
        raise ValueError(message)


def _multiscales(metadata: Mapping[str, Any]) -> list[Any]:
    """Return the images that the metadata of a group describe; they are apart in newer versions."""
    found: list[Any] = metadata.get("ome", metadata).get("multiscales", [])
    return found


@contextmanager
def _made(target: Path, image: Large, shape: tuple[int, ...], extent: tuple[int, int]) -> Iterator[tuple[Any, Path]]:
    """Open the output, which a run before may have begun, with the name of the record of its finished blocks.

    What was made for arguments that are refused is removed, as its shape may be refused next time.
    """
    zarr = _package("zarr")
    if target.suffix.lower() == ZARR:
        there = target.exists()
        out = _zarr_output(target, image, shape, extent, zarr)
        record = Path(out.store.root) / out.path / ENDING
        try:
            yield out, record
        except ValueError:
            if not (there or record.exists()):
                shutil.rmtree(target)
            raise
        return
    from stnkit.cli.tiff import made

    with made(target, shape, image.pixels.dtype, image.photometric, _package("tifffile")) as both:
        yield both


def _zarr_output(target: Path, image: Large, shape: tuple[int, ...], extent: tuple[int, int], zarr: ModuleType) -> Any:
    pixels = image.pixels
    store, name = target, image.path
    there = target.exists()
    found = _zarr(target, zarr, "r+") if there else None
    if found is not None and name:
        found = found.get(name) if not hasattr(found, "shape") else found
    if found is not None:
        if not hasattr(found, "shape") or found.shape != shape or found.dtype != pixels.dtype:
            have = f"{found.shape} of {found.dtype}" if hasattr(found, "shape") else "a group"
            message = (
                f"{target} exists, and is not of shape {shape} and dtype {pixels.dtype}: {have}; nothing was written"
            )
            raise ValueError(message)
        return found
    is_zarr = isinstance(getattr(pixels.store, "root", None), Path)
    form = pixels.metadata.zarr_format if is_zarr else 3
    chunks = [min(n, many) for n, many in zip(pixels.chunks, shape, strict=True)]
    options: dict[str, Any] = {"shape": shape, "dtype": pixels.dtype, "chunks": chunks}
    if is_zarr:
        options |= {"fill_value": pixels.fill_value, "compressors": pixels.compressors, "filters": pixels.filters}
        options |= {"attributes": pixels.attrs.asdict()}
        if form == 3:
            options |= {"dimension_names": pixels.metadata.dimension_names, "shards": pixels.shards}
    if not name:
        return zarr.create_array(store, zarr_format=form, **options)
    group = zarr.open_group(store, mode="a", zarr_format=form)
    group.attrs.update(_carried(image.metadata, extent, shape[-2:]))
    return group.create_array(name, **options)


def _carried(metadata: Mapping[str, Any], extent: Sequence[int], size: Sequence[int]) -> dict[str, Any]:
    """Return what metadata say of an image with one resolution; a canvas of another size has its corner elsewhere."""
    carried = copy.deepcopy(dict(metadata))
    images = _multiscales(carried)
    del images[1:]
    datasets = images[0]["datasets"]
    del datasets[1:]
    if tuple(size) != tuple(extent):
        steps = datasets[0].setdefault("coordinateTransformations", [])
        scale = next((step["scale"] for step in steps if step["type"] == "scale"), None)
        if scale is not None:
            moved = [0.0] * (len(scale) - 2)
            moved += [(n - m) / 2 * s for n, m, s in zip(extent, size, scale[-2:], strict=True)]
            own = next((step for step in steps if step["type"] == "translation"), None)
            if own is None:
                steps.append({"type": "translation", "translation": moved})
            else:
                own["translation"] = [a + b for a, b in zip(own["translation"], moved, strict=True)]
    return carried
