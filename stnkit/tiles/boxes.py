"""Which part of an image a tile of the output reads, and reading it."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.antialias.footprints import MOST
from stnkit.backends.interop import unmasked
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
OWN = {  # options of some kinds alone, with what stands for leaving them out
    "coords": (("affine", "grid"), "normalized"),
    "units": (("flow",), "pixel"),
    "control_points": (("thin_plate_spline",), None),
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
        for name, (kinds, default) in OWN.items():
            own = control_points if name == "control_points" else options.get(name, default)
            if kind not in kinds and (own is not None if default is None else own != default):
                msg = f"`{name}` is for {' and '.join(map(repr, kinds))}, and `kind` is {kind!r}; leave it out"
                raise ValueError(msg)
        if not hasattr(size, "__len__"):
            msg = f"`size` must be a sequence of 1 to 3 integers; got {size!r}"
            raise TypeError(msg)
        ndim = len(size)
        size = validation.size(size, ndim) if 1 <= ndim <= 3 else validation.lattice(size)
        extent = validation.size(image_size, ndim, "image_size")
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
        validation.not_empty(tuple(image_size), choices.without_margin(extent), size, "image_size")
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
        box = tuple(given) if isinstance(given, Sequence) else ()
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
        try:
            bound = np.asarray(most, float)
        except (TypeError, ValueError):
            bound = np.array(np.nan)
        bound = np.broadcast_to(bound, (ndim,)) if bound.ndim == 0 else bound
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
        array = unmasked(name, source) if isinstance(source, np.ndarray) else entered_as(name, source)
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

    Raises
    ------
    ValueError
        If a range does not fit.
    TypeError
        If an argument is no array, or what is read is masked.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.tiles import read
    >>> read(np.arange(5.0), (slice(3, 7),))
    array([3., 4., 0., 1.])
    """
    last = int(validation.choice("data_format", data_format, DATA_FORMATS))
    stored("image", image)
    if box is None:
        msg = "`box` is None, by which `source_box` says that no pixel is read"
        raise TypeError(msg)
    ranges = tuple(box) if isinstance(box, Sequence) else ()
    before = len(image.shape) - len(ranges) - last
    if (
        before < 0
        or not isinstance(box, Sequence)
        or not all(isinstance(part, slice) and part.step in (None, 1) for part in ranges)
    ):
        msg = f"`box` must be a range for each spatial axis of an image of shape {tuple(image.shape)}; got {box!r}"
        raise ValueError(msg)
    found = []
    for part, n in zip(ranges, image.shape[before:], strict=False):
        start, stop = 0 if part.start is None else part.start, n if part.stop is None else part.stop
        if not 0 <= start <= stop:
            msg = f"`box` must have ranges with 0 <= start <= stop; got {box!r}"
            raise ValueError(msg)
        found.append(slice(start, stop))
    return part_of(image, (*[slice(0, n) for n in image.shape[:before]], *found))


def stored(name: str, given: Any) -> None:
    """Refuse what is no array of NumPy's dtypes, in memory or not."""
    if not all(hasattr(given, word) for word in ("shape", "dtype", "__getitem__")):
        msg = f"`{name}` must have `shape`, `dtype` and `[]`; got {type(given).__name__}"
        raise TypeError(msg)
    try:
        np.dtype(given.dtype)
    except TypeError as error:
        msg = f"`{name}` must have a dtype of NumPy; got {given.dtype}, of {type(given).__module__}"
        raise TypeError(msg) from error


def part_of(image: Any, box: Sequence[slice]) -> np.ndarray:
    """Read ranges of the first axes; those that go on at index 0 in two parts."""
    for axis, part in enumerate(box):
        n = image.shape[axis]
        if part.stop > n:
            ends = slice(part.start, n), slice(0, part.stop - n)
            first, second = (part_of(image, (*box[:axis], end, *box[axis + 1 :])) for end in ends)
            return np.concatenate([first, second], axis)
    return loaded("image", image[tuple(box)])


def loaded(name: str, part: Any) -> np.ndarray:
    """Return what a store gave as an array of NumPy; refuse numbers that it masks."""
    return np.asarray(unmasked(name, part) if np.ma.is_masked(part) else part)
