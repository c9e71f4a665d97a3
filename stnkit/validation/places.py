"""Whether tiles of an output and of an image lie in the whole of each as a `Place` says."""

import operator
from typing import Any

from stnkit.spec import MARGIN_WIDTH, MARGINS, Options, Place

Shape = tuple[int, ...]
MOST = 2**63 - 1  # what kernels count to


def as_place(given: Any, ndim: int) -> Place:
    """Return a given place as a `Place` of tuples of integers, as many as there are axes."""
    try:
        found = Place(*(tuple(map(operator.index, part)) for part in given))
    except TypeError as error:
        msg = f"`place` must be a Place, of four sequences of integers: {', '.join(Place._fields)}; got {given!r}"
        raise TypeError(msg) from error
    for name, part in zip(Place._fields, found, strict=True):
        if len(part) != ndim:
            msg = f"`place.{name}` must have {ndim} integers, one for each spatial axis; got {part}"
            raise ValueError(msg)
        if any(abs(n) > MOST for n in part):
            msg = f"`place.{name}` must have integers of 64 bits; got {part}"
            raise ValueError(msg)
    return found


def place(given: Any, ndim: int, size: Shape | None, image: Shape | None, options: Options | None = None) -> Place:
    """Return a place as kernels take it: without what says nothing of a call.

    `size` is that of the output's tile, and `image` that of the image's; None for one that a call has no use for.
    `options` tell on which axes memory holds a margin beside the image.
    """
    found = as_place(given, ndim)
    if size is None:
        found = found._replace(out_start=(), out_size=())
    else:
        _refuse_output(found, size)
    if image is None:
        return found._replace(image_start=(), image_size=())
    _refuse_image(found, image)
    if options is not None:
        _refuse_margin(found, options)
    return found


def _refuse_output(place: Place, size: Shape) -> None:
    if not all(a >= 0 and a + t <= n for a, t, n in zip(place.out_start, size, place.out_size, strict=True)):
        msg = (
            f"`place` puts an output of size {size} at `out_start` {place.out_start}, which is not within "
            f"`out_size`, {place.out_size}"
        )
        raise ValueError(msg)


def _refuse_image(place: Place, image: Shape) -> None:
    if not all(0 <= a < n for a, n in zip(place.image_start, place.image_size, strict=True)):
        msg = (
            f"`place.image_start` must be pixels of the whole image, from 0 to less than `image_size`, "
            f"{place.image_size}; got {place.image_start}"
        )
        raise ValueError(msg)
    if not all(m <= n for m, n in zip(image, place.image_size, strict=True)):
        msg = (
            f"`place.image_size` must not be less than the size of `image`, which is a tile of it, {image}; "
            f"got {place.image_size}"
        )
        raise ValueError(msg)


def _refuse_margin(place: Place, options: Options) -> None:
    paddings = reversed(options.padding[: len(place.image_size)])
    for n, padding in zip(place.image_size, paddings, strict=True):
        if padding in MARGINS and n <= 2 * MARGIN_WIDTH:
            msg = (
                f"`place.image_size` must be more than {2 * MARGIN_WIDTH} on each axis with a margin, as it counts "
                f"{MARGIN_WIDTH} pixels of a margin at each end; got {place.image_size}"
            )
            raise ValueError(msg)
