"""Modes of SciPy: the padding that reads the same outside an image, and the margin that spline coefficients need."""

import operator
from typing import Any, NamedTuple

import numpy as np

import stnkit
from stnkit.ndimage.errors import ArgumentError, DtypeError
from stnkit.ndimage.frameworks import Array, Namespace, joined
from stnkit.spec import MARGIN_WIDTH

ORDERS = range(6)


class Boundary(NamedTuple):
    """What a mode is for samplers, and for filters."""

    padding: str
    align: bool  # whether reflections are at the centre of the outermost pixel
    margin: str = ""  # the padding of coefficients that go on beyond the image


MODES = {
    "reflect": Boundary("reflection", align=False),
    "grid-mirror": Boundary("reflection", align=False),
    "constant": Boundary("mask", align=True),
    "grid-constant": Boundary("zeros", align=True, margin="zeros_margin"),
    "nearest": Boundary("border", align=False, margin="border_margin"),
    "mirror": Boundary("reflection", align=True),
    "grid-wrap": Boundary("wrap", align=False),
    "wrap": Boundary("periodic", align=True),
}


def boundary(mode: Any) -> Boundary:
    """Return what a mode is; refuse one that is unknown."""
    if not isinstance(mode, str) or mode not in MODES:
        msg = f"`mode` must be one of {', '.join(map(repr, MODES))}; got {mode!r}: boundary mode not supported"
        raise ArgumentError(msg)
    return MODES[mode]


def degree(order: Any, least: int = 0) -> int:
    """Return the order of a spline as an int; refuse one that is unknown."""
    try:
        found = operator.index(order)
    except TypeError as error:
        msg = f"`order` must be an integer; got {order!r}: spline order not supported"
        raise DtypeError(msg) from error
    if found not in ORDERS[least:]:
        msg = f"`order` must be one of {', '.join(map(str, ORDERS[least:]))}; got {order!r}: spline order not supported"
        raise ArgumentError(msg)
    return found


def coefficients(
    image: Array, order: int, edge: Boundary, cval: np.ndarray, axes: tuple[int, ...], xp: Namespace
) -> tuple[Array, str]:
    """Return the coefficients of a spline through an image, and the padding that reads them.

    `axes` are counted from the last. `cval` is one number, or one for each channel, which come last then.
    """
    padding = edge.padding
    if edge.margin:
        fills = cval if edge.margin == "zeros_margin" else None
        image, padding = with_margins(image, axes, fills, xp), edge.margin
    given: dict[str, Any] = {"order": order, "padding_mode": padding, "align_corners": edge.align, "axes": axes}
    if edge.margin and isinstance(image, np.ndarray):
        given["out"] = image
    return stnkit.spline_filter(image, **given), padding


def with_margins(image: Array, axes: tuple[int, ...], fills: np.ndarray | None, xp: Namespace) -> Array:
    """Return a copy of an image with a margin at both ends of axes: of fill values, or of the outermost pixels."""
    if isinstance(image, np.ndarray):
        shape = tuple(n + 2 * MARGIN_WIDTH * (k - image.ndim in axes) for k, n in enumerate(image.shape))
        wide = np.empty(shape, image.dtype.newbyteorder("="))
        inner = [
            slice(MARGIN_WIDTH, -MARGIN_WIDTH) if k - image.ndim in axes else slice(None) for k in range(image.ndim)
        ]
        wide[tuple(inner)] = image
        for axis in axes:
            for end, rim in (
                (slice(None, MARGIN_WIDTH), MARGIN_WIDTH),
                (slice(-MARGIN_WIDTH, None), -MARGIN_WIDTH - 1),
            ):
                margin, edge = list(inner), list(inner)
                margin[axis], edge[axis] = end, slice(rim, rim + 1)
                wide[tuple(margin)] = wide[tuple(edge)] if fills is None else fills
            inner[axis] = slice(None)
        return wide
    for axis in axes:
        many = [MARGIN_WIDTH if k - image.ndim == axis else n for k, n in enumerate(image.shape)]
        ends = []
        for part in (slice(None, 1), slice(-1, None)):
            at = (..., part, *[slice(None)] * (-axis - 1))
            given = image[at] if fills is None else joined(fills, image, xp)
            ends.append(xp.broadcast_to(given, tuple(many)))
        image = xp.concat([ends[0], image, ends[1]], axis=axis)
    return image
