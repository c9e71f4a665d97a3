"""Which part of an image a tile of the output reads, and reading it."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.antialias.footprints import MOST
from stnkit.bounds.reads import Reads
from stnkit.calls.arguments import Array, DataFormat, PaddingMode, Units
from stnkit.calls.control_points import key_of, viewed
from stnkit.calls.derivatives import NAMES
from stnkit.dtypes import FLOAT64
from stnkit.spec import AFFINE, DATA_FORMATS, FLOW, GRID, MAPS, PROJECTIVE, SPLINE2, THIN_PLATE_SPLINE

Box = tuple[slice, ...]

KINDS = {
    "affine": AFFINE,
    "projective": PROJECTIVE,
    "thin_plate_spline": THIN_PLATE_SPLINE,
    "flow": FLOW,
    "grid": GRID,
}
POLES = {2: 0.1716, 3: 0.2680, 4: 0.3614, 5: 0.4306}  # of a spline's filter, by its order: rounded up


def source_box(
    kind: str,
    source: Array | tuple[Any, Any],
    out_box: Sequence[slice],
    size: Sequence[int],
    image_size: Sequence[int],
    *,
    mode: str = "bilinear",
    padding_mode: PaddingMode = "zeros",
    align_corners: bool = False,
    coords: Units = "normalized",
    units: Units = "pixel",
    antialias: bool | int = False,
    prefilter: bool = True,
    control_points: Array | None = None,
    max_displacement: float | Sequence[float] | None = None,
    dtype: Any = "float32",
) -> Box | None:
    """Tell which box of an image is read for a box of a sampler's output.

    Pixels outside it may have any value, NaN too: they change no bit of the output there, if the sampler is called
    with `place=`, or with a source of double precision.

    Parameters
    ----------
    kind : {"affine", "projective", "thin_plate_spline", "flow", "grid"}
        Which sampler.
    source : array, or a pair of bounds
        Theta of the whole output, with or without a batch axis: the box is that of all items. Of a flow or a grid, what
        it is in `out_box`, of shape (N, *T, d) or (*T, d); or, for bounds that are known, a pair of the lowest and the
        highest numbers, each one number for each axis in x, y, z order. None for a flow with `max_displacement`.
    out_box : sequence of slice
        A range of locations for each axis of the output, in the order of `size`.
    size, image_size : sequence of int
        The spatial sizes of the whole output and of the whole image: (W,), (H, W) or (D, H, W).
    mode, padding_mode, align_corners, coords, units
        The options of the sampler.
    antialias : bool or int
        The option of the sampler. True stands for as many subsamples as there may be.
    prefilter : bool
        The option of the sampler. For modes "spline2" to "spline5" the box has a halo, as wide as the filter reaches
        before its weights are below the rounding of the coefficients.
    control_points : array of shape (K, d), optional
        Those of a thin plate spline.
    max_displacement : float or sequence of float, optional
        A bound of a flow's numbers, in its units, in place of the flow: one, or one for each axis in x, y, z order.
    dtype : dtype
        That of the image, which says how a spline's coefficients are rounded.

    Returns
    -------
    tuple of slice, or None
        A range of pixels for each spatial axis, in the order of `image_size`, for `read`: 0 <= start < n and
        start < stop <= start + n. One with stop > n goes on at pixel 0, as it may for paddings "wrap" and "periodic".
        None if no pixel is read: all is the fill value.

    Raises
    ------
    ValueError
        If a shape or a range does not fit, or a name is unknown.
    TypeError
        If a dtype is not supported or an argument is no array.

    Notes
    -----
    For an affine map, a flow and a grid it is the least box that holds what is read, but at the edge of an image that
    is padded by fill values, where a location may be outside on one axis and inside on another. A projective map
    is bounded at the corners of the part before the horizon, and a thin plate spline in up to 256 cells.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.tiles import source_box
    >>> half = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])  # the middle of the image, twice as large
    >>> source_box("affine", half, (slice(0, 256), slice(256, 512)), (1024, 1024), (1024, 1024))
    (slice(255, 385, None), slice(383, 513, None))
    """
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    options |= {"coords": coords, "units": units, "antialias": antialias, "prefilter": prefilter}
    whole = Boxes(kind, size, image_size, options, control_points, dtype)
    box = whole.out_box(out_box)
    if max_displacement is not None:
        source = whole.displaced(max_displacement)
    return whole.reads.box(whole.numbers(source, box), box)


class Boxes:
    """Boxes of one call: what is the same for all of them is checked once.

    Attributes
    ----------
    reads : Reads
        What is read, for numbers that `numbers` has checked.
    """

    def __init__(
        self,
        kind: str,
        size: Sequence[int],
        image_size: Sequence[int],
        options: dict[str, Any],
        control_points: Array | None = None,
        dtype: Any = "float32",
    ) -> None:
        code = validation.choice("kind", kind, KINDS)
        ndim = len(tuple(size))
        size = validation.size(size, ndim) if 1 <= ndim <= 3 else validation.lattice(size)
        extent = validation.size(image_size, ndim)
        unit = options.get("coords" if code in (GRID, AFFINE) else "units", "pixel" if code == FLOW else "normalized")
        choices = validation.options(
            ndim,
            options.get("mode", "bilinear"),
            options.get("padding_mode", "zeros"),
            options.get("align_corners", False),
            "channels_first",
            unit if code in (GRID, AFFINE, FLOW) else "normalized",
        )
        if code == THIN_PLATE_SPLINE:
            if control_points is None:
                msg = "`control_points` must be given for kind 'thin_plate_spline'"
                raise TypeError(msg)
            control = viewed(control_points)
            validation.control_axes(control.shape)
            choices = choices._replace(control=key_of(control))
            self.control = control.shape
        else:
            self.control = ()
        validation.not_empty(tuple(image_size), choices.without_margin(extent), size)
        many = validation.antialias(options.get("antialias", False), MOST)
        if many is not False and many != 1 and code in (GRID, FLOW):
            msg = f"`antialias` is for maps here; got {many!r} with kind {kind!r}"
            raise ValueError(msg)
        most = MOST if many is True else many or 1
        halo = 0
        if validation.prefiltered(options.get("mode", "bilinear"), options.get("prefilter", True)):
            halo = halo_of(choices.interp - SPLINE2 + 2, validation.coefficient_dtype("dtype", np.dtype(dtype).name))
        self.reads = Reads(code, size, extent, choices, halo, (most - 1) / (2 * most))

    def out_box(self, given: Sequence[slice]) -> Box:
        """Return a box of the output as ranges with both ends; refuse others."""
        size = self.reads.size
        box = tuple(given)
        if len(box) != len(size) or not all(isinstance(part, slice) for part in box):
            msg = f"`out_box` must be {len(size)} slices, one for each axis of size {size}; got {given!r}"
            raise ValueError(msg)
        found = [part.indices(n) for part, n in zip(box, size, strict=True)]
        for part, n in zip(box, size, strict=True):
            ends = [operator.index(end) for end in (part.start, part.stop) if end is not None]
            if part.step not in (None, 1) or not all(0 <= end <= n for end in ends):
                msg = f"`out_box` must lie within the output, of size {size}, without steps; got {given!r}"
                raise ValueError(msg)
        return tuple(slice(start, stop) for start, stop, _ in found)

    def displaced(self, most: float | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of a flow that displaces no location by more."""
        if self.reads.kind != FLOW:
            msg = "`max_displacement` is for kind 'flow'"
            raise ValueError(msg)
        ndim = len(self.reads.size)
        bound = np.broadcast_to(np.asarray(most, float), (ndim,)) if np.ndim(most) == 0 else np.asarray(most, float)
        if bound.shape != (ndim,) or not (bound >= 0).all() or not np.isfinite(bound).all():
            msg = f"`max_displacement` must be a finite number >= 0, or {ndim}, one for each axis; got {most!r}"
            raise ValueError(msg)
        return -bound, bound

    def numbers(self, source: Any, box: Box) -> Any:
        """Check a source; return it in the form that `reads.box` takes."""
        kind, ndim = self.reads.kind, len(self.reads.size)
        name = NAMES[kind]
        if kind not in MAPS and isinstance(source, (tuple, list)) and len(source) == 2:
            low, high = (np.asarray(bound, float) for bound in source)
            if low.shape != (ndim,) or high.shape != (ndim,) or not np.isfinite([low, high]).all():
                msg = f"`{name}` must be an array, or two bounds of {ndim} finite numbers each; got {source!r}"
                raise ValueError(msg)
            return low, high
        if source is None and kind == FLOW:
            msg = "`source` must be the flow within `out_box`, its bounds, or None with `max_displacement=`"
            raise TypeError(msg)
        array = self.entered(source)
        if kind not in MAPS and array.shape[-1 - ndim : -1] != tuple(part.stop - part.start for part in box):
            msg = f"`{name}` must be what it is within `out_box`, {box}; got shape {array.shape}"
            raise ValueError(msg)
        return self.reads.numbers(array)

    def entered(self, source: Any) -> np.ndarray:
        """Return a source as an array of NumPy; refuse one that does not fit."""
        kind, ndim = self.reads.kind, len(self.reads.size)
        name = NAMES[kind]
        array = source if isinstance(source, np.ndarray) else entered_as(name, source)
        axes = validation.source_axes(kind, array.shape, self.control)
        if axes != ndim:
            msg = f"`{name}` acts on {axes} axes, and `size` has {ndim}: {self.reads.size}; got shape {array.shape}"
            raise ValueError(msg)
        validation.coordinate_dtype(name, array.dtype)
        return array


def entered_as(name: str, array: Array) -> np.ndarray:
    """View an array of any framework."""
    from stnkit.backends import interop

    (view,), _ = interop.import_arrays(**{name: array})
    return np.asarray(view)


def halo_of(order: int, dtype: np.dtype[Any]) -> int:
    """Return after how many pixels the weights of a spline's filter are below the rounding of a dtype."""
    digits = 53 if dtype == FLOAT64 else 24
    return math.ceil(digits * math.log(2) / -math.log(POLES[order]))


def read(image: Any, box: Sequence[slice], data_format: DataFormat = "channels_first") -> np.ndarray:
    """Read a box of an image, all of its channels and items.

    Parameters
    ----------
    image : array, or anything with `shape`, `dtype` and `[]`
        Of shape (..., *S), or (..., *S, C) for channels last: a NumPy array, one of zarr or HDF5, or a memory map.
    box : sequence of slice
        What `source_box` returns. Where a range goes on at pixel 0, its two parts are read, and joined.
    data_format : {"channels_first", "channels_last"}
        Where the channels are.

    Returns
    -------
    numpy.ndarray
        Of the size of the box. It may share memory with an `image` of NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.tiles import read
    >>> read(np.arange(5.0), (slice(3, 7),))
    array([3., 4., 0., 1.])
    """
    last = int(validation.choice("data_format", data_format, DATA_FORMATS))
    before = len(image.shape) - len(box) - last
    if before < 0:
        msg = f"`box` must be a range for each spatial axis of an image of shape {tuple(image.shape)}; got {box!r}"
        raise ValueError(msg)
    return part_of(image, (*[slice(0, n) for n in image.shape[:before]], *box))


def part_of(image: Any, box: Sequence[slice]) -> np.ndarray:
    """Read ranges of the first axes; those that go on at index 0 in two parts."""
    for axis, part in enumerate(box):
        n = image.shape[axis]
        if part.stop > n:
            ends = slice(part.start, n), slice(0, part.stop - n)
            first, second = (part_of(image, (*box[:axis], end, *box[axis + 1 :])) for end in ends)
            return np.concatenate([first, second], axis)
    return np.asarray(image[tuple(box)])
