"""The coefficients of a call's image, and the transpose: margins, filters, and what stands for a fill value."""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.antialias.subsamples import part
from stnkit.antialias.supersampling import DEVICE, NUMPY, Array, Tools
from stnkit.backends import backend
from stnkit.backends.cuda.array import broadcast_to
from stnkit.dtypes import dtype_name
from stnkit.spec import BORDER, MARGIN_WIDTH, MODES, PADDING_MODES, TAPS, ZEROS, Place

Shape = Sequence[Any]  # of integers, or of symbols
Keywords = dict[str, Any]
Margin = tuple[bool, bool]  # whether there is one at the low and at the high end of an axis


class Framework(NamedTuple):
    """What differs between frameworks, beside what antialiasing needs of them."""

    tools: Tools
    block: Callable[[Array, list[float], Shape, Shape], Array]  # numbers, in a shape, broadcast to another
    repeat: Callable[[Array, Shape], Array]  # broadcasts
    total: Callable[[Array, int], Array]  # the sum along an axis, which stays
    filter: Callable[..., Array]  # `spline_filter`, or its transpose if `transpose`
    contiguous: Callable[[Array], Array]  # a part of an array as one of its own, without gaps


def _filtered_here(
    array: Array, *, order: int, padding_mode: str, align_corners: bool, axes: Sequence[int], transpose: bool
) -> Array:
    options = validation.spline(order, padding_mode, align_corners)
    return backend(array).spline_filter(array, axes, options, transpose)


def _block_on_gpu(like: Array, numbers: list[float], lines: Shape, shape: Shape) -> Array:
    from stnkit.backends.cuda.memory import constant  # which takes kernels

    return broadcast_to(constant(like.context, np.array(numbers, like.dtype).reshape(lines)), tuple(shape))


def _contiguous_on_gpu(array: Array) -> Array:
    from stnkit.backends.cuda.memory import product  # as above

    return product(array)


NUMPY_FILTERS = Framework(
    NUMPY,
    lambda like, numbers, lines, shape: np.broadcast_to(np.array(numbers, like.dtype).reshape(lines), shape),
    np.broadcast_to,
    lambda array, axis: array.sum(axis, keepdims=True),
    _filtered_here,
    np.ascontiguousarray,
)
DEVICE_FILTERS = Framework(
    DEVICE,
    _block_on_gpu,
    np.broadcast_to,
    lambda array, axis: functools.reduce(operator.add, [part(array, axis, k, k + 1) for k in range(array.shape[axis])]),
    _filtered_here,
    _contiguous_on_gpu,
)


class Coefficients(NamedTuple):
    """How the image of a call becomes coefficients, and how these are read. Axes are negative, in the order x, y, z."""

    own: Framework
    order: int  # of the spline
    axes: tuple[int, ...]
    margins: tuple[tuple[bool, bool], ...]  # whether an axis gets a margin at its low and at its high end
    filters: tuple[str, ...]  # the paddings by which an image is filtered
    paddings: tuple[str, ...]  # by which coefficients are read
    align: bool
    channel: int  # the axis of channels
    levels: list[float]  # fill values: one, or one for each channel
    place: Place | None = None  # of the coefficients of a tile

    def options(self) -> Keywords:
        """Return the options by which coefficients are read."""
        same = len(set(self.paddings)) == 1
        options = {"padding_mode": self.paddings[0] if same else self.paddings, "prefilter": False}
        return options if self.place is None else options | {"place": self.place}

    def size(self, spatial: Shape) -> tuple[Any, ...]:
        """Return the spatial size of what memory holds of an image's coefficients."""
        wider = zip(spatial, reversed(self.margins), strict=True)
        return tuple(n + sum(margin) * MARGIN_WIDTH if any(margin) else n for n, margin in wider)

    def dtype(self, image: Array) -> Any:
        """Return the dtype of coefficients, as the framework has it."""
        return getattr(self.own.tools.module, validation.coefficient_dtype("image", dtype_name(image)).name)

    def of(self, image: Array, *, is_tangent: bool = False, is_read: bool = True) -> Array:
        """Return the coefficients of an image; of a tangent, around which there are zeros.

        Of coefficients that are not read, the shape alone is right.
        """
        array = self.own.tools.cast(image, self.dtype(image))
        for axis, margin, padding in zip(self.axes, self.margins, self.paddings, strict=True):
            if any(margin):
                array = self._padded(array, axis, margin, padding, [0.0] if is_tangent else self.levels)
        return self._filtered(array, transpose=False) if is_read else array

    def pulled(self, bar: Array) -> Array:
        """Return the cotangent of an image for one of its coefficients."""
        array = self._filtered(bar, transpose=True)
        for axis, margin, padding in zip(self.axes, self.margins, self.paddings, strict=True):
            if any(margin):
                array = self._unpadded(array, axis, margin, padding)
        return self.own.contiguous(array) if any(map(any, self.margins)) else array

    def _filtered(self, array: Array, *, transpose: bool) -> Array:
        """Filter along all axes; those of one padding at once."""
        for padding in dict.fromkeys(self.filters):
            axes = tuple(axis for axis, one in zip(self.axes, self.filters, strict=True) if one == padding)
            options = {"order": self.order, "padding_mode": padding, "align_corners": self.align}
            array = self.own.filter(array, **options, axes=axes, transpose=transpose)
        return array

    def _padded(self, array: Array, axis: int, margin: Margin, padding: str, levels: list[float]) -> Array:
        shape = list(array.shape)
        shape[axis] = MARGIN_WIDTH
        if padding == "border_margin" and array.shape[axis] > 0:
            low, high = (self.own.repeat(end, shape) for end in _ends(array, axis, 1))
        else:
            lines = [1] * len(shape)
            lines[self.channel] = len(levels)
            low = high = self.own.block(array, levels, lines, shape)
        return self.own.tools.join([*[low] * margin[0], array, *[high] * margin[1]], axis)

    def _unpadded(self, bar: Array, axis: int, margin: Margin, padding: str) -> Array:
        """Do the transpose of padding: the copies of an edge are added to it."""
        inner = part(bar, axis, MARGIN_WIDTH if margin[0] else None, -MARGIN_WIDTH if margin[1] else None)
        if padding != "border_margin" or inner.shape[axis] == 0:
            return inner
        if inner.shape[axis] == 1:
            return self.own.total(bar, axis)
        low, high = (
            self.own.total(end, axis) if wide else pixel
            for end, pixel, wide in zip(_ends(bar, axis, MARGIN_WIDTH + 1), _ends(bar, axis, 1), margin, strict=True)
        )
        return self.own.tools.join([low, part(inner, axis, 1, -1), high], axis)


def _ends(array: Array, axis: int, width: int) -> tuple[Array, Array]:
    return part(array, axis, None, width), part(array, axis, -width, None)


def coefficients(own: Framework, ndim: int, choices: Keywords, shape: Shape = ()) -> Coefficients:
    """Return how an image of so many axes is filtered, for the options of a call; a tile has a `shape`."""
    given, levels = choices["padding_mode"], validation.numbers(choices.get("fill_value", 0.0))
    names = [given] * ndim if isinstance(given, str) else list(given)
    codes = [PADDING_MODES[name] for name in names]
    finite = all(abs(level) < math.inf for level in levels)  # else it cannot be filtered
    kept = {ZEROS: "zeros_margin" if finite else "mask", BORDER: "border_margin"}
    last = choices.get("data_format") == "channels_last"
    margins = tuple((margin, margin) for margin in [(code == ZEROS and finite) or code == BORDER for code in codes])
    paddings = tuple(kept.get(code, name) for code, name in zip(codes, names, strict=True))
    axes, filters, place = tuple(-1 - last - k for k in range(ndim)), paddings, choices.get("place")
    if place is not None:
        margins, filters, place = tiled(
            validation.as_place(place, ndim), [shape[axis] for axis in axes], margins, paddings
        )
    return Coefficients(
        own,
        order=TAPS[MODES[choices["mode"]]] - 1,
        axes=axes,
        margins=margins,
        filters=filters,
        paddings=paddings,
        align=bool(choices["align_corners"]),
        channel=-1 if last else -1 - ndim,
        levels=levels,
        place=place,
    )


def tiled(
    place: Place, sizes: Sequence[int], margins: tuple[Margin, ...], paddings: tuple[str, ...]
) -> tuple[tuple[Margin, ...], tuple[str, ...], Place]:
    """Return the margins of a tile, by which paddings it is filtered, and where its coefficients lie; axes are x, y, z.

    A margin is where the whole image ends. Elsewhere a tile goes on as if it were reflected: how far that is felt, it
    has to be larger than what is read of it.
    """
    filters, starts, wholes = list(paddings), list(place.image_start[::-1]), list(place.image_size[::-1])
    ends = list(margins)
    for k, (start, size, n) in enumerate(zip(starts, sizes, wholes, strict=True)):
        if paddings[k] == "wrap":
            filters[k] = "wrap" if size == n else "reflection"
        elif start + size > n:
            msg = (
                f"`place` lets the image go around its axis {'xyz'[k]}, on from its last pixel to its first, where a "
                f"spline has to end under `padding_mode` {paddings[k]!r}; pass a tile that ends there, or coefficients "
                "and `prefilter=False`"
            )
            raise ValueError(msg)
        if any(margins[k]):
            ends[k] = start == 0, start + size == n
            starts[k], wholes[k] = start + MARGIN_WIDTH if start else 0, n + 2 * MARGIN_WIDTH
    return tuple(ends), tuple(filters), place._replace(image_start=tuple(starts[::-1]), image_size=tuple(wholes[::-1]))
