"""The shape of a sampler's output where sizes are not known yet, as in graphs and symbolic models: these are None."""

from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.calls.arguments import Choices
from stnkit.calls.control_points import as_float64
from stnkit.calls.sampling import sampling_form
from stnkit.spec import AFFINE, FLOW, GRID, MAPS, PROJECTIVE, THIN_PLATE_SPLINE

Size = tuple[int | None, ...]


class Shaped(NamedTuple):
    """The shape of an array, and its dtype as NumPy has it."""

    shape: Size
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


def output(kind: int, image: Shaped, source: Shaped, **options: Any) -> Shaped:
    """Describe the output of a sampler. Refuse what does not fit; a size that is not known fits."""
    choices = {option: value for option, value in options.items() if option in Choices._fields}
    if kind == THIN_PLATE_SPLINE:
        choices["control_points"] = as_float64(choices["control_points"])
    some = [one._replace(shape=tuple(1 if n is None else n for n in one.shape)) for one in (image, source)]
    sampling_form(kind, some[0], some[1], Choices(**choices))
    return Shaped(output_shape(kind, image, source, **options), image.dtype)


def axes_of(kind: int, source: Shaped) -> int:
    """Return the number of spatial axes."""
    return int(source.shape[-1] or 0) - (kind in (AFFINE, PROJECTIVE))


def output_shape(kind: int, image: Shaped, source: Shaped, *, data_format: str, size: Any = None, **_: Any) -> Size:
    """Return the shape of a sampler's output."""
    d, last = axes_of(kind, source), data_format == "channels_last"
    if kind in (GRID, FLOW):
        size = source.shape[-1 - d : -1]
    elif size is not None:
        size = validation.size(size, d)
    else:
        size = image.shape[-1 - d : -1] if last else image.shape[-d:]
    batch = batch_of(image, source, d + 2, 3 if kind in MAPS else d + 2)
    channels = image.shape[-1] if last else image.shape[-1 - d]
    return (*batch, *size, channels) if last else (*batch, channels, *size)


def batch_of(first: Shaped, second: Shaped, axes: int, others: int) -> Size:
    """Return the batch axis that two arrays give: that of the one that is not 1; none, if neither has one."""
    ours, theirs = first.shape[: first.ndim - axes + 1], second.shape[: second.ndim - others + 1]
    given = [n for n in (*ours, *theirs) if n != 1]
    return (next((n for n in given if n is not None), None if given else 1),) if ours or theirs else ()
