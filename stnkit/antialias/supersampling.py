"""An antialiased call: its arrays by their roles, its options, and the framework that it is of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from stnkit.antialias.subsamples import Lattice, Steps, lattice_of, lattice_of_pixels, moved_points
from stnkit.backends import backend
from stnkit.calls.derivatives import Derivative
from stnkit.dtypes import FLOAT32, FLOAT64, dtype_name
from stnkit.spec import AFFINE, DTYPES, FLOW, LONG, MAPS, MARGIN_WIDTH, MARGINS, PADDING_MODES, PROJECTIVE

Array = Any
Keywords = dict[str, Any]

MATRICES = (AFFINE, PROJECTIVE)  # whose theta has a column for each axis, and one for the shift
OUTPUTS = ("out", "out_dot")
CACHED = 1 << 22  # bytes that are read again from a cache: 32 small pictures took 1.5 times as long without


class Tools(NamedTuple):
    """What differs between frameworks."""

    module: Any  # with `concatenate`, `round`, `clip` and the dtypes
    cast: Callable[[Array, Any], Array]
    see: Callable[[str, Array], np.ndarray]  # the numbers of an array, or an error that says they are not known
    checks: Callable[[], bool]  # whether shapes are known, and can be checked
    portion: int = 0  # bytes of images whose subsamples are read before those of others; 0 where all are read at once

    def join(self, arrays: Sequence[Array], axis: int) -> Array:
        """Put arrays one after another along an axis."""
        return arrays[0] if len(arrays) == 1 else self.module.concatenate(list(arrays), axis=axis)

    def rounded(self, array: Array, image: Array) -> Array:
        """Return an array in the dtype of an image: integers are rounded half to even, and saturated."""
        name = dtype_name(image)
        if "int" in name and array.dtype != image.dtype:
            limits = np.iinfo(name)
            array = self.module.clip(self.module.round(array), limits.min, limits.max)
        return self.cast(array, image.dtype)


NUMPY = Tools(np, lambda array, dtype: array.astype(dtype, copy=False), lambda _, array: array, lambda: True, CACHED)
DEVICE = Tools(
    SimpleNamespace(
        concatenate=np.concatenate,
        round=lambda array: array,  # as the cast to integers rounds and clips
        clip=lambda array, low, high: array,
        float32=FLOAT32,
        float64=FLOAT64,
    ),
    lambda array, dtype: backend(array).converted(backend(array).aligned(array), dtype),
    lambda _, array: backend(array).aligned(array),  # footprints are measured where it lies
    lambda: True,
)


@dataclass(frozen=True)  # and no named tuple, of which torch's compiler cannot read properties before 2.9
class Supersampling:
    """An antialiased call: what it takes, and which plain function it is made of."""

    function: Callable[..., Any]
    derivative: Derivative[Any]
    kind: int  # of the source
    given: Sequence[Array]
    keywords: Keywords
    tools: Tools

    @property
    def image(self) -> Array:
        """The image itself."""
        return self.given[self.derivative.image]

    @property
    def source(self) -> Array:
        """Theta or the flow itself."""
        return self.given[self.derivative.image + 1]

    @property
    def axes(self) -> int:
        """On how many spatial axes it acts."""
        return int(self.source.shape[-1]) - int(self.kind in MATRICES)

    def common(self, role: str) -> bool:
        """Tell whether all items of the batch have one array of a role; then it has no batch axis, or one of 1."""
        if role in OUTPUTS:
            return False
        mapped = self.kind in MAPS and role != "image"
        array, batched = self.image if role == "image" else self.source, 3 if mapped else self.axes + 2
        return bool(array.ndim < batched or array.shape[0] == 1)

    @property
    def integers(self) -> bool:
        """Whether the image is of integers."""
        return "int" in dtype_name(self.image)

    @property
    def narrow(self) -> bool:
        """Whether means are taken in the dtype of the arithmetic, which is not the image's, and rounded once."""
        return dtype_name(self.image) not in ("float32", "float64")

    @property
    def wide(self) -> Any:
        """The dtype of the arithmetic."""
        long = DTYPES[dtype_name(self.image)] in LONG
        return self.float_dtype(long or "float64" in (dtype_name(self.image), dtype_name(self.source)))

    def float_dtype(self, double: bool) -> Any:
        """Return the framework's float64, or its float32."""
        return getattr(self.tools.module, "float64" if double else "float32")

    @property
    def points(self) -> Array | None:
        """The control points of a spline: a NumPy array where a framework need not see them."""
        return self.keywords.get("control_points")

    def seen_points(self) -> np.ndarray | None:
        """Return the control points' numbers."""
        if self.points is None or isinstance(self.points, np.ndarray):
            return self.points
        return np.asarray(self.tools.see("control_points", self.points))

    def run(self, given: Sequence[Array], steps: Steps, lattice: Lattice) -> tuple[Array, ...]:
        """Call the plain function with maps that are moved; control points move here."""
        keywords = self.keywords
        if self.points is not None:
            join = NUMPY.join if isinstance(self.points, np.ndarray) else self.tools.join
            keywords = keywords | {"control_points": moved_points(self.points, steps, lattice, join)}
        results = self.function(*given, **keywords)
        return results if isinstance(results, tuple) else (results,)

    def lattice(self) -> Lattice:
        """Return the lattice of the call; that of the whole output, if a tile of it is at hand."""
        last, d = self.keywords["data_format"] == "channels_last", self.axes

        def spatial(array: Array) -> Sequence[int]:
            return tuple(array.shape[-1 - d : -1] if last else array.shape[-d:])

        size = self.keywords.get("size")
        if self.kind == FLOW:
            size = tuple(self.source.shape[-1 - d : -1])
        elif size is None:
            outputs = [array for role, array in zip(self.derivative.takes, self.given, strict=True) if role in OUTPUTS]
            size = spatial(outputs[0] if outputs else self.image)
        extent, place = spatial(self.image), self.keywords.get("place")
        if place is not None:
            size, extent = place.out_size, place.image_size
        pixel = "pixel" in (self.keywords.get("units"), self.keywords.get("coords"))
        if pixel and self.kind == AFFINE:
            return lattice_of_pixels(size, bool(self.keywords["align_corners"]))
        return lattice_of(self._without_margins(extent), size, bool(self.keywords["align_corners"]), pixel)

    def _without_margins(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the size of the image, of what memory holds of it."""
        given = self.keywords["padding_mode"]
        names = [given] * len(spatial) if isinstance(given, str) else reversed(given)
        held = [PADDING_MODES[name] in MARGINS for name in names]
        return tuple(n - 2 * MARGIN_WIDTH if margin else n for n, margin in zip(spatial, held, strict=True))
