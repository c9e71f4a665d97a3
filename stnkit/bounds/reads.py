"""The box of an image that a box of its output reads, for every kind of source."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit.bounds import coordinates, pixels, plates
from stnkit.bounds.coordinates import Parts, Span
from stnkit.plans import thin_plates
from stnkit.spec import AFFINE, FLOW, GRID, PROJECTIVE, THIN_PLATE_SPLINE, Options

Shape = tuple[int, ...]
Box = tuple[slice, ...]  # a range for each spatial axis, in the order z, y, x


class Reads(NamedTuple):
    """What is the same for all boxes of an output."""

    kind: int
    size: Shape  # of the output
    extent: Shape  # of what memory holds of the image
    options: Options
    halo: int = 0  # pixels beyond those of the taps, for a spline's filter
    beside: float = 0.0  # steps of the output, within which subsamples lie beside a location
    epsilon: float = float(np.finfo(float).eps)  # of the arithmetic
    rounding: float = 0.0  # of a coordinate, beside the size of the image; if there is any, a pixel more is read, too

    def numbers(self, source: np.ndarray) -> Any:
        """Return a map, (N, ...) or without N, in the form that `box` takes. A grid or a flow is taken as it is."""
        if self.kind in (GRID, FLOW):
            return source
        items = source.astype(float).reshape(-1, *source.shape[-2:])
        if self.kind == AFFINE:
            return items.tolist()
        return thin_plates.block(items, self.options.control) if self.kind == THIN_PLATE_SPLINE else items

    def box(self, numbers: Any, box: Box) -> Box | None:
        """Return what is read of the image, an axis that has no end going on at pixel 0; None if nothing is."""
        if any(part.start >= part.stop for part in box):
            return None
        inner = self.options.without_margin(self.extent)[::-1]
        found: list[list[pixels.Range]] = [[] for _ in inner]
        for spans in self._spans(numbers, box[::-1], inner):
            rows = []
            for axis, (span, n) in enumerate(zip(spans, inner, strict=True)):
                if self.rounding:
                    off = 1 + self.rounding * max(n, abs(span[0]), abs(span[1]))
                    span = span[0] - off, span[1] + off
                rows.append(pixels.ranges(span, n, axis, self.options, self.halo))
                if not rows[-1]:
                    break
            else:
                for row, ranges in zip(found, rows, strict=True):
                    row += ranges
        parts = []
        for axis, n in enumerate(self.extent[::-1]):
            part = pixels.united(found[axis], n, self.options.padding[axis])
            if part is None:
                return None
            parts.append(part)
        return tuple(parts[::-1])

    def _spans(self, numbers: Any, box: Sequence[slice], inner: Shape) -> Iterable[Sequence[Span]]:
        """Yield bounds of the pixel coordinates, for items of a batch and parts of the box; in the order x, y, z."""
        size = self.size[::-1]
        if self.kind in (GRID, FLOW):
            within = [pixels.within(n, axis, self.options) for axis, n in enumerate(inner)]
            starts = [part.start for part in box] if self.kind == FLOW else None
            if isinstance(numbers, np.ndarray):
                return _each(coordinates.of_locations(numbers, starts, size, inner, self.options, within))
            if starts is None:
                low, high = (np.array([_located(b, inner, self.options)]) for b in numbers)
                return _each((low, high))
            ends = [(part.start, part.stop - 1) for part in box]
            return _each(coordinates.drifted(numbers, ends, size, inner, self.options))
        align, is_index = self.options.align, self.options.pixel and self.kind == AFFINE
        lines = [
            (
                coordinates.lattice(part.start - self.beside, n, align, is_index),
                coordinates.lattice(part.stop - 1 + self.beside, n, align, is_index),
            )
            for part, n in zip(box, size, strict=True)
        ]
        if self.kind == AFFINE:
            items = [coordinates.affine(rows, lines) for rows in numbers]
            found = [spans for spans in items if spans is not None]
            if self.beside:
                most = [max(map(abs, line)) for line in lines] + [1.0]
                found = [self._loose(rows, spans, most) for rows, spans in zip(numbers, items, strict=True) if spans]
        elif self.kind == PROJECTIVE:
            found = [s for one in numbers for s in _each(coordinates.projective(one, lines, self.epsilon))]
        else:
            found = [s for one in numbers for s in _each(self._plate(one, lines))]
        return [
            [
                (coordinates.located(low, n, self.options), coordinates.located(high, n, self.options))
                for (low, high), n in zip(spans, inner, strict=True)
            ]
            for spans in found
        ]

    def _loose(self, rows: Sequence[Sequence[float]], spans: Sequence[Span], most: Sequence[float]) -> list[Span]:
        """Widen bounds by the roundings of a map that was moved."""
        loose = []
        for row, (low, high) in zip(rows, spans, strict=True):
            off = coordinates.ROUNDINGS * self.epsilon * (1 + sum(abs(a) * b for a, b in zip(row, most, strict=True)))
            loose.append((low - off, high + off))
        return loose

    def _plate(self, numbers: np.ndarray, lines: Sequence[Span]) -> Parts | None:
        """Bound a spline, given by what kernels read of it."""
        d = len(lines)
        points, weights = numbers[: -d * (d + 1)].reshape(2, -1, d)
        return plates.plate(points, weights, numbers[-d * (d + 1) :].reshape(d, d + 1), lines, self.epsilon)


def _each(parts: Parts | None) -> list[list[Span]]:
    """List the bounds of all parts, axis by axis."""
    if parts is None:
        return []
    low, high = parts
    return [list(zip(a, b, strict=True)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _located(bounds: Sequence[float], extent: Shape, options: Options) -> list[float]:
    return [coordinates.located(float(u), n, options) for u, n in zip(bounds, extent, strict=True)]
