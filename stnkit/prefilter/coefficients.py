"""The coefficients of a call's image, and the transpose: margins, filters, and what stands for a fill value."""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.antialias.subsamples import part
from stnkit.antialias.supersampling import DEVICE, NUMPY, Array, Tools, dtype_name
from stnkit.backends import backend
from stnkit.backends.cuda.array import broadcast_to
from stnkit.spec import BORDER, MARGIN_WIDTH, MODES, PADDING_MODES, TAPS, ZEROS

Shape = Sequence[Any]  # of integers, or of symbols
Keywords = dict[str, Any]


class Framework(NamedTuple):
    """What differs between frameworks, beside what antialiasing needs of them."""

    tools: Tools
    block: Callable[[Array, list[float], Shape, Shape], Array]  # numbers, in a shape, broadcast to another
    repeat: Callable[[Array, Shape], Array]  # broadcasts
    total: Callable[[Array, int], Array]  # the sum along an axis, which stays
    filter: Callable[..., Array]  # `spline_filter`, or its transpose if `transpose`
    whole: Callable[[Array], Array]  # a part of an array as one of its own, without gaps


def _filtered_here(
    array: Array, *, order: int, padding_mode: str, align_corners: bool, axes: Sequence[int], transpose: bool
) -> Array:
    options = validation.spline(order, padding_mode, align_corners)
    return backend(array).spline_filter(array, axes, options, transpose)


def _block_on_gpu(like: Array, numbers: list[float], lines: Shape, shape: Shape) -> Array:
    from stnkit.backends.cuda.memory import constant  # which takes kernels

    return broadcast_to(constant(like.context, np.array(numbers, like.dtype).reshape(lines)), tuple(shape))


def _whole_on_gpu(array: Array) -> Array:
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
    _whole_on_gpu,
)


class Coefficients(NamedTuple):
    """How the image of a call becomes coefficients, and how these are read. Axes are negative, in the order x, y, z."""

    own: Framework
    order: int  # of the spline
    axes: tuple[int, ...]
    margins: tuple[bool, ...]  # whether an axis gets a margin
    paddings: tuple[str, ...]  # by which coefficients are read
    align: bool
    channel: int  # the axis of channels
    levels: list[float]  # fill values: one, or one for each channel

    def options(self) -> Keywords:
        """Return the options by which coefficients are read."""
        same = len(set(self.paddings)) == 1
        return {"padding_mode": self.paddings[0] if same else self.paddings, "prefilter": False}

    def size(self, spatial: Shape) -> tuple[Any, ...]:
        """Return the spatial size of what memory holds of an image's coefficients."""
        wider = zip(spatial, reversed(self.margins), strict=True)
        return tuple(n + 2 * MARGIN_WIDTH if margin else n for n, margin in wider)

    def dtype(self, image: Array) -> Any:
        """Return the dtype of coefficients, as the framework has it."""
        return getattr(self.own.tools.module, validation.coefficient_dtype("image", dtype_name(image)).name)

    def of(self, image: Array, *, is_tangent: bool = False, is_read: bool = True) -> Array:
        """Return the coefficients of an image; of a tangent, around which there are zeros.

        Of coefficients that are not read, the shape alone is right.
        """
        array = self.own.tools.cast(image, self.dtype(image))
        for axis, margin, padding in zip(self.axes, self.margins, self.paddings, strict=True):
            if margin:
                array = self._padded(array, axis, padding, [0.0] if is_tangent else self.levels)
        return self._filtered(array, transpose=False) if is_read else array

    def pulled(self, bar: Array) -> Array:
        """Return the cotangent of an image for one of its coefficients."""
        array = self._filtered(bar, transpose=True)
        for axis, margin, padding in zip(self.axes, self.margins, self.paddings, strict=True):
            if margin:
                array = self._unpadded(array, axis, padding)
        return self.own.whole(array) if any(self.margins) else array

    def _filtered(self, array: Array, *, transpose: bool) -> Array:
        """Filter along all axes; those of one padding at once."""
        for padding in dict.fromkeys(self.paddings):
            axes = tuple(axis for axis, one in zip(self.axes, self.paddings, strict=True) if one == padding)
            options = {"order": self.order, "padding_mode": padding, "align_corners": self.align}
            array = self.own.filter(array, **options, axes=axes, transpose=transpose)
        return array

    def _padded(self, array: Array, axis: int, padding: str, levels: list[float]) -> Array:
        shape = list(array.shape)
        shape[axis] = MARGIN_WIDTH
        if padding == "border_margin" and array.shape[axis] > 0:
            low, high = (self.own.repeat(end, shape) for end in _ends(array, axis, 1))
        else:
            lines = [1] * len(shape)
            lines[self.channel] = len(levels)
            low = high = self.own.block(array, levels, lines, shape)
        return self.own.tools.join([low, array, high], axis)

    def _unpadded(self, bar: Array, axis: int, padding: str) -> Array:
        """Do the transpose of padding: the copies of an edge are added to it."""
        inner = part(bar, axis, MARGIN_WIDTH, -MARGIN_WIDTH)
        if padding != "border_margin" or inner.shape[axis] == 0:
            return inner
        if inner.shape[axis] == 1:
            return self.own.total(bar, axis)
        low, high = (self.own.total(end, axis) for end in _ends(bar, axis, MARGIN_WIDTH + 1))
        return self.own.tools.join([low, part(inner, axis, 1, -1), high], axis)


def _ends(array: Array, axis: int, width: int) -> tuple[Array, Array]:
    return part(array, axis, None, width), part(array, axis, -width, None)


def coefficients(own: Framework, ndim: int, choices: Keywords) -> Coefficients:
    """Return how an image of so many axes is filtered, for the options of a call."""
    given, levels = choices["padding_mode"], validation.numbers(choices.get("fill_value", 0.0))
    names = [given] * ndim if isinstance(given, str) else list(given)
    codes = [PADDING_MODES[name] for name in names]
    finite = all(abs(level) < math.inf for level in levels)  # else it cannot be filtered
    kept = {ZEROS: "zeros_margin" if finite else "mask", BORDER: "border_margin"}
    last = choices.get("data_format") == "channels_last"
    return Coefficients(
        own,
        order=TAPS[MODES[choices["mode"]]] - 1,
        axes=tuple(-1 - last - k for k in range(ndim)),
        margins=tuple((code == ZEROS and finite) or code == BORDER for code in codes),
        paddings=tuple(kept.get(code, name) for code, name in zip(codes, names, strict=True)),
        align=bool(choices["align_corners"]),
        channel=-1 if last else -1 - ndim,
        levels=levels,
    )
