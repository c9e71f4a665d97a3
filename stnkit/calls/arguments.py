"""What public functions take, as users say it."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from stnkit.spec import Place

Array = Any  # an array of any framework that `stnkit.backends.interop` can view
FillValue = float | Sequence[float] | np.ndarray
PaddingMode = str | Sequence[str]
Wrt = str | Sequence[str]
Units = Literal["normalized", "pixel"]
DataFormat = Literal["channels_first", "channels_last"]
Maybe = np.ndarray | None

# Each mode of `jax.scipy.ndimage`, and of Keras, with the padding and the `align_corners` that read the same pixels.
BOUNDARY_MODES = {
    "constant": ("zeros", False),
    "nearest": ("border", False),
    "wrap": ("wrap", False),
    "reflect": ("reflection", False),
    "mirror": ("reflection", True),
}


class Choices(NamedTuple):
    """The options of a call. A function has those that its signature names; the others are as they are here.

    Those that most functions have come first, so that they pass them by place.
    """

    mode: str = "bilinear"
    prefilter: bool = True  # whether the image of a spline is filtered, or has the coefficients
    padding_mode: PaddingMode = "zeros"
    fill_value: FillValue = 0.0
    align_corners: bool = False
    data_format: DataFormat = "channels_first"
    place: Place | None = None  # where output and image lie in the whole of each, if they are tiles
    deterministic: bool = False
    wrt: Wrt = ()
    control_points: Array | None = None
    size: Sequence[int] | None = None  # of the output; None where its cotangent, its source or the image has it
    coords: Units = "normalized"
    units: Units = "normalized"
