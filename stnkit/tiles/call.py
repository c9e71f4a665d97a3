"""A call of `warp_blocks`, checked, and what it does for a block of the output."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.antialias.footprints import FOOTPRINTS, groups
from stnkit.antialias.subsamples import lattice_of, lattice_of_pixels
from stnkit.api import affine, flow, grid, projective, thin_plate_spline
from stnkit.backends.interop import unmasked
from stnkit.calls.arguments import Array, DataFormat, FillValue
from stnkit.calls.control_points import as_float64
from stnkit.calls.derivatives import NAMES
from stnkit.spec import AFFINE, DATA_FORMATS, MAPS, THIN_PLATE_SPLINE, Place
from stnkit.tiles import blocks as cutting
from stnkit.tiles.boxes import Box, Boxes, loaded, part_of, stored

SAMPLERS: dict[str, Callable[..., Any]] = {
    "affine": affine.affine_sample,
    "projective": projective.projective_sample,
    "thin_plate_spline": thin_plate_spline.thin_plate_spline_sample,
    "flow": flow.flow_sample,
    "grid": grid.grid_sample,
}
UNIT_OF = {"affine": "coords", "grid": "coords", "flow": "units"}


class Call:
    """A call of `warp_blocks`, checked, and what it does for a block."""

    def __init__(
        self,
        image: Any,
        source: Any,
        out: Any,
        kind: str,
        options: dict[str, Any],
        fill_value: FillValue,
        data_format: DataFormat,
        control_points: Array | None,
    ) -> None:
        self.image, self.out, self.kind = image, out, kind
        self.last = int(validation.choice("data_format", data_format, DATA_FORMATS))
        stored("image", image)
        stored("out", out)
        is_map = kind in ("affine", "projective", "thin_plate_spline")
        if not is_map:
            stored("source", source)
        for name, array in (("image", image), ("source", source)):
            if isinstance(array, np.ndarray):
                unmasked(name, array)
        if isinstance(out, np.ndarray):
            inputs = {"image": image, "source": source}
            held = {name: array for name, array in inputs.items() if isinstance(array, np.ndarray)}
            validation.apart("out", out, **held)
        elif out is image or _in_one_store(image, out):
            msg = "`out` must not be `image`, which is read while it is written"
            raise ValueError(msg)
        self.source = np.asarray(source) if is_map else source
        points = None if control_points is None else as_float64(control_points)
        shape = tuple(self.source.shape)
        ndim = (shape[-1] if shape else 0) - (kind in ("affine", "projective"))
        if not 1 <= ndim <= 3 or len(image.shape) < ndim + self.last or len(out.shape) != len(image.shape):
            msg = (
                f"`image` and `out` must have the same number of axes, and at least those on which kind {kind!r} of "
                f"shape {shape} acts; got {tuple(image.shape)} and {tuple(out.shape)}"
            )
            raise ValueError(msg)
        axes = len(image.shape)
        self.spatial = slice(axes - self.last - ndim, axes - self.last)
        self.size, self.extent = tuple(out.shape[self.spatial]), tuple(image.shape[self.spatial])
        dtype = np.dtype(image.dtype)
        self.dtype = dtype.newbyteorder("=")
        options = dict(options)
        if options["antialias"] is True:
            options["antialias"] = _subsamples(kind, self.source, self.size, self.extent, options)
        self.boxes = Boxes(kind, self.size, self.extent, options, points, self.dtype)
        code = self.boxes.reads.kind
        batched = len(shape) == (3 if code in MAPS else ndim + 2)
        self.batched = batched and shape[0] > 1
        if code in MAPS:
            self.source = self.boxes.entered(self.source).astype(float)
        self._fits(shape, batched)
        validation.image_dtype("image", self.dtype, self.boxes.reads.options.interp)
        self.options = {name: options[name] for name in ("mode", "prefilter", "padding_mode", "align_corners")}
        self.options |= {"data_format": data_format, "fill_value": fill_value}
        if kind in UNIT_OF:
            self.options[UNIT_OF[kind]] = options[UNIT_OF[kind]]
        if code in MAPS and options["antialias"] not in (False, 1):
            self.options["antialias"] = options["antialias"]
        self.points = () if code != THIN_PLATE_SPLINE else (points,)
        self._numbers: dict[int, Any] = {}
        channels = image.shape[-1] if self.last else int(np.prod(image.shape[: self.spatial.start][-1:]))
        filling = channels, self.boxes.reads.options.interp, self.dtype, np.dtype(float)
        self.fill, _ = validation.fill(fill_value, *filling)

    def _fits(self, source: tuple[int, ...], batched: bool) -> None:
        """Refuse shapes and dtypes that do not fit."""
        image, out = self.image, self.out
        before, code = self.spatial.start, self.boxes.reads.kind
        if np.dtype(out.dtype).newbyteorder("=") != self.dtype:
            msg = f"`out` must have the dtype of `image`, {self.dtype.name}; got {np.dtype(out.dtype).name}"
            raise TypeError(msg)
        wanted = [*image.shape[:before], *self.size, *image.shape[self.spatial.stop :]]
        if self.batched:
            if before < 2 - self.last or image.shape[0] not in (1, source[0]):
                msg = (
                    f"`image` must have a batch axis of {source[0]}, or 1, beside {NAMES[code]} of shape {source}; "
                    f"got shape {tuple(image.shape)}"
                )
                raise ValueError(msg)
            wanted[0] = source[0]
        if list(out.shape) != wanted:
            msg = f"`out` must have shape {tuple(wanted)}; got {tuple(out.shape)}"
            raise ValueError(msg)
        if code not in MAPS and tuple(source[batched:-1]) != self.size:
            msg = f"`{NAMES[code]}` must have shape (N, *T, d) for an output of size {self.size}; got {source}"
            raise ValueError(msg)

    def bytes_each(self) -> int:
        """Return how many bytes a number of the output takes, with its part of what gives its coordinates."""
        ndim = len(self.size)
        field = 0 if self.boxes.reads.kind in MAPS else 8 * (3 * ndim + 2) + ndim * np.dtype(self.source.dtype).itemsize
        return int(self._copies() * self.dtype.itemsize + field)

    def _copies(self) -> int:
        """Return how often a part of the image, or of the output, is in memory at once."""
        reads = self.boxes.reads
        wide = max(8 // self.dtype.itemsize, 1)
        return 2 + (2 * wide if reads.halo else 0) + (2 * wide if reads.beside else 0)

    def key(self, shape: tuple[int, ...]) -> str:
        """Return what tells this call from others, with the blocks that it is cut into."""
        about = [
            self.kind,
            shape,
            self.dtype.name,
            *(tuple(array.shape) for array in (self.image, self.out, self.source)),
        ]
        about += [sorted((name, np.asarray(option).tolist()) for name, option in self.options.items())]
        digest = hashlib.sha256(repr(about).encode())
        for array in (self.source if self.boxes.reads.kind in MAPS else np.empty(0), *self.points):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def write(self, block: tuple[slice, ...], budget: int) -> None:
        """Do one block of the output."""
        if not self.batched:
            self._write(block, 0, budget)
            return
        for item in range(block[0].start, block[0].stop):
            self._write((slice(item, item + 1), *block[1:]), item, budget)

    def _write(self, block: tuple[slice, ...], item: int, budget: int) -> None:
        """Do one item of a block, in parts where it takes too much."""
        before, after = block[: self.spatial.start], block[self.spatial.stop :]
        parts = [block[self.spatial]]
        while parts:
            box = parts.pop()
            field, numbers = self._coordinates(item, box)
            found = self.boxes.reads.box(numbers, box)
            need = self._need(box, found, before, after)
            if need > budget:
                if max(part.stop - part.start for part in box) <= 1:
                    self._refuse(box, need)
                parts += reversed(list(cutting.halves(box)))
                continue
            target = (*before, *box, *after)
            self.out[target] = self._sampled(target, box, found, field)

    def _coordinates(self, item: int, box: Box) -> tuple[np.ndarray, Any]:
        """Return the source of a box of the output, and its numbers."""
        if self.boxes.reads.kind in MAPS:
            theta = self.source[item : item + 1] if self.batched else self.source
            if item not in self._numbers:
                self._numbers[item] = self.boxes.reads.numbers(theta)
            return theta, self._numbers[item]
        batch = len(self.source.shape) - len(box) - 1
        field = loaded("source", self.source[(*[slice(item, item + 1)] * batch, *box)])
        return field, self.boxes.numbers(field, box)

    def _need(self, box: Box, found: Box | None, before: Sequence[slice], after: Sequence[slice]) -> int:
        """Return how many bytes a part of a block takes."""
        many = math.prod(part.stop - part.start for part in (*before, *after))
        inner = 0 if found is None else math.prod(part.stop - part.start for part in found)
        outer = math.prod(part.stop - part.start for part in box)
        return int(many * (outer * self.bytes_each() + inner * self._copies() * self.dtype.itemsize))

    def _refuse(self, box: Box, need: int) -> None:
        start = tuple(part.start for part in box)
        msg = (
            f"one location of the output, {start}, takes {_bytes(need)} of memory for what its map reads, more than "
            "there is for a block; pass more `memory`, fewer `workers`, or `chunks` with fewer channels"
        )
        raise ValueError(msg)

    def _sampled(self, target: tuple[slice, ...], box: Box, found: Box | None, field: np.ndarray) -> np.ndarray:
        """Return a part of the output. Where no pixel is read, it is that of an image of one pixel."""
        before, after = target[: self.spatial.start], target[self.spatial.stop :]
        shape = tuple(part.stop - part.start for part in target)
        if found is None and not self.fill.any():
            return np.broadcast_to(np.zeros((), self.dtype), shape)
        inner = tuple(slice(0, 1) for _ in box) if found is None else found
        own = (slice(0, 1), *before[1:]) if self._shared() else before
        if found is None:
            tile = np.zeros([part.stop - part.start for part in (*own, *inner, *after)], self.dtype)
        else:
            tile = part_of(self.image, (*own, *inner, *after))
        tile = tile.reshape(*[-1] if self.last else (1, -1), *tile.shape[self.spatial.start :])
        given = [tile, field, *self.points]
        if self.boxes.reads.kind in MAPS:
            given.append(tuple(part.stop - part.start for part in box))
        starts = (tuple(part.start for part in ranges) for ranges in (box, inner))
        place = Place(next(starts), self.size, next(starts), self.extent)
        options = self.options | {"fill_value": self._fill_values(before, after)}
        result: np.ndarray = SAMPLERS[self.kind](*given, **options, place=place)
        return result.reshape(shape)

    def _shared(self) -> bool:
        """Tell whether all items of the output read the same image."""
        return self.batched and self.image.shape[0] == 1 < self.out.shape[0]

    def _fill_values(self, before: Sequence[slice], after: Sequence[slice]) -> np.ndarray:
        """Return the fill values of the channels of a block, which are those of all axes before the spatial ones."""
        if self.last:
            return self.fill[after[0]]
        channels = self.fill[before[-1]] if before else self.fill
        return np.tile(channels, math.prod(part.stop - part.start for part in before[:-1]))


def _in_one_store(image: Any, out: Any) -> bool:
    """Tell whether arrays of zarr lie in one place."""
    place = getattr(image, "store_path", None)
    return place is not None and getattr(out, "store_path", None) == place


def _subsamples(
    kind: str, theta: np.ndarray, size: tuple[int, ...], extent: tuple[int, ...], options: dict[str, Any]
) -> int:
    """Return how many subsamples an affine map needs along an axis, at most."""
    if kind != "affine":
        msg = f"`antialias=True` is for affine maps here, as other maps differ by place; pass a number for {kind!r}"
        raise ValueError(msg)
    align = bool(options["align_corners"])
    is_pixel = options["coords"] == "pixel"
    lattice = lattice_of_pixels(size, align) if is_pixel else lattice_of(extent, size, align, False)
    lengths = FOOTPRINTS[AFFINE](theta.astype(float), lattice, None)
    return max(max(factors) for _, factors in groups(True, lattice, lengths))


def _bytes(many: int) -> str:
    """Say how many bytes."""
    for prefix, base in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if many >= base:
            return f"{many / base:.1f} {prefix}B"
    return f"{many} bytes"
