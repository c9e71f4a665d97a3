"""Resampling: an image is laid out as samplers take it, filtered, read, and laid out as it was."""

import math
from typing import Any, NamedTuple

import numpy as np

import stnkit
from stnkit.backends.interop import framework_of, mixture
from stnkit.dtypes import dtype_name
from stnkit.ndimage.boundaries import boundary, coefficients, degree
from stnkit.ndimage.errors import ArgumentError
from stnkit.ndimage.frameworks import (
    COMPLEX,
    FLOATS,
    Array,
    Namespace,
    cast,
    dtype_of,
    is_foreign,
    is_lazy,
    is_of_jax,
    joined,
    wide_float,
)
from stnkit.ndimage.outputs import Output, arithmetic, delivered, rounded
from stnkit.ndimage.separable import is_separable, separable

Shape = tuple[int, ...]


class How(NamedTuple):
    """The options that all functions have."""

    order: int = 3
    mode: str = "constant"
    cval: Any = 0.0
    prefilter: bool = True

    @property
    def filters(self) -> bool:
        """Whether there are coefficients to be found."""
        return bool(self.prefilter) and degree(self.order) > 1

    @property
    def passes(self) -> bool:
        """Whether what is read at the centre of a pixel is the pixel."""
        return self.filters or degree(self.order) < 2

    def options(self, padding: Any) -> dict[str, Any]:
        """Return the options of a sampler that reads coefficients, but for the fill value."""
        align = boundary(self.mode).align
        return {
            "mode": f"spline{degree(self.order)}",
            "padding_mode": padding,
            "align_corners": align,
            "coords": "pixel",
        }


class Layout(NamedTuple):
    """How the axes of an image lie in what a sampler takes: others than those that are sampled first, or one last."""

    rest: Shape  # axes that are not sampled
    axes: Shape  # axes that are
    is_complex: bool

    @property
    def last(self) -> bool:
        """Whether channels come last: real and imaginary parts, or the one axis that is not sampled."""
        return self.is_complex or self.rest == (len(self.axes),)

    @property
    def turned(self) -> Shape:
        """The axes in the order in which they are laid out."""
        return (*self.axes, *self.rest) if self.last and not self.is_complex else (*self.rest, *self.axes)

    def split(self, shape: Shape, size: Shape) -> Shape:
        """Return the shape that a sampler takes, of an image whose sampled axes have a size."""
        others = tuple(shape[k] for k in self.rest)
        if self.is_complex:
            return (*((math.prod(others),) if others else ()), *size, 2)
        return (*size, *others) if self.last else (math.prod(others), *size)

    def joined(self, shape: Shape, size: Shape) -> Shape:
        """Return the shape of a real result with its axes apart, in the order in which they are laid out."""
        others = tuple(shape[k] for k in self.rest)
        whole = (*size, *others) if self.last and not self.is_complex else (*others, *size)
        return (*whole, 2) if self.is_complex else whole


def resampled(
    image: Array, axes: Shape, size: Shape, source: Array, is_map: bool, how: How, output: Output, xp: Namespace
) -> Array:
    """Read an image at the pixel coordinates that a map, or a grid, gives for an output of a size on some axes."""
    order, edge = degree(how.order), boundary(how.mode)
    shape, given = tuple(image.shape), dtype_name(image)
    layout = Layout(tuple(k for k in range(image.ndim) if k not in axes), tuple(axes), given in COMPLEX)
    fills = _fills(how.cval, layout.is_complex)
    if 0 in [shape[k] for k in axes] and 0 not in size:
        msg = f"`input` must have at least one pixel along every axis that is resampled; got shape {shape}"
        raise ArgumentError(msg)
    work = _arithmetic(image, order, fills, output, xp)
    parts = _parts(image, xp) if layout.is_complex else image
    turned = _permuted(parts, (*layout.turned, image.ndim) if layout.is_complex else layout.turned, xp)
    picture = cast(turned.reshape(layout.split(shape, tuple(shape[k] for k in axes))), work, xp)
    padding, lazy = edge.padding, is_lazy(image)
    if how.filters and not lazy:  # Dask's chunks are filtered one by one, with what lies around them
        filtered = tuple(range(-len(axes), 0)) if not layout.last else tuple(range(-len(axes) - 1, -1))
        picture, padding = coefficients(picture, order, edge, fills if layout.is_complex else fills[0], filtered, xp)
    precise = wide_float(xp) if order == 0 or work == "float64" or lazy else "float32"
    placed = _placed(source, picture, precise if is_map else None, xp)
    into = _written(output, layout, work, (image, placed), shape, size)
    options = how.options(_paddings(padding, len(axes), len(size)))
    options |= {
        "prefilter": how.filters and lazy,
        "fill_value": fills.tolist() if layout.is_complex else float(fills[0]),
    }
    if is_map and not layout.last and is_separable(picture, source, size, order + 1):
        result = separable(picture, source, placed.dtype, tuple(size), into, options)
    else:
        options |= {"data_format": "channels_last" if layout.last else "channels_first"}
        result = _read(picture, placed, size if is_map else None, into, **options)
    if into is not None:
        return output.array
    result = result.reshape(layout.joined(shape, tuple(size)))
    result = rounded(result, output.real, xp)
    if layout.is_complex:
        result = _complex(result, output.dtype, xp)
    return delivered(_permuted(result, tuple(np.argsort(layout.turned).tolist()), xp), output, xp)


def _fills(cval: Any, is_complex: bool) -> np.ndarray:
    """Return what is read outside: one number, or its real and imaginary parts."""
    kind = complex if is_complex else float
    try:
        found = kind(cval) if np.ndim(cval) == 0 and not isinstance(cval, (str, bytes)) else None
    except (TypeError, OverflowError):
        found = None
    if found is None:
        msg = f"`cval` must be one {'' if is_complex else 'real '}number; got {cval!r}"
        raise TypeError(msg)
    return np.array([found.real, found.imag] if is_complex else [found])


def _permuted(array: Array, order: Shape, xp: Namespace) -> Array:
    """Return an array with its axes in another order."""
    if order == tuple(range(len(order))):
        return array
    return array.transpose(order) if xp is np else xp.permute_dims(array, order)


def _read(picture: Array, source: Array, size: Shape | None, out: Any, **options: Any) -> Array:
    """Call a sampler."""
    options |= {} if out is None else {"out": out}
    if size is None and is_of_jax(picture):
        from stnkit.jax.samplers import sample_at

        return sample_at(picture, source, **options)
    if size is None:
        return stnkit.grid_sample(picture, source, **options)
    return stnkit.affine_sample(picture, source, size, **options)


def _arithmetic(image: Array, order: int, fills: np.ndarray, output: Output, xp: Namespace) -> str:
    """Return the dtype of the picture that is read; that of the image, where pixels are moved or halves widened."""
    own = dtype_name(image)
    if own == output.dtype and order < 2 and own in ("float16", "bfloat16"):
        return own
    if own == output.dtype and order == 0 and own not in FLOATS and own not in COMPLEX:
        low, high = (0, 1) if own == "bool" else (np.iinfo(own).min, np.iinfo(own).max)
        fill = float(fills[0])
        if fill.is_integer() and low <= fill <= high:
            return own
    return arithmetic(image, output, xp)


def _parts(image: Array, xp: Namespace) -> Array:
    """Return an array of complex numbers with an axis more: real and imaginary parts."""
    if xp is np:
        whole = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
        return whole.view(COMPLEX[whole.dtype.name]).reshape(*image.shape, 2)
    return xp.stack([xp.real(image), xp.imag(image)], axis=-1)


def _complex(parts: Array, name: str, xp: Namespace) -> Array:
    if xp is np:
        return np.ascontiguousarray(parts).view(name)[..., 0]
    return cast(parts[..., 0] + 1j * parts[..., 1], name, xp)


def _placed(source: Array, like: Array, dtype: str | None, xp: Namespace) -> Array:
    """Return a source of coordinates as an array of the image's framework, and of a dtype if one is said."""
    if is_lazy(like) and isinstance(source, np.ndarray):  # of which Dask's samplers want the numbers
        return source if dtype is None else source.astype(dtype)
    if is_foreign(source) and framework_of(source) != framework_of(like):
        name = "coordinates" if dtype is None else "matrix"
        raise mixture(name, source, "input", like)
    if is_foreign(source) or xp is np:
        return source if dtype is None else cast(source, dtype, xp)
    return joined(source, like, xp, dtype_of(dtype or wide_float(xp), xp))


def _paddings(padding: str, own: int, count: int) -> Any:
    """Return the padding of each of `count` axes, x first, of which an image has `own`: others have one pixel."""
    return padding if count == own else (padding,) * own + ("border",) * (count - own)


def _written(output: Output, layout: Layout, work: str, read: tuple[Array, Array], shape: Shape, size: Shape) -> Any:
    """Return the array of an output as a sampler can write into it while it reads arrays, or None."""
    array = output.array
    if not (isinstance(array, np.ndarray) and isinstance(read[0], np.ndarray)):
        return None
    if layout.is_complex or layout.turned != tuple(range(len(layout.turned))):
        return None
    plain = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative and array.dtype.name == work
    if not plain or any(isinstance(other, np.ndarray) and np.may_share_memory(array, other) for other in read):
        return None
    return array.reshape(layout.split(shape, tuple(size)))
