"""Names: every choice a user can make, and the `Spec` that a kernel is compiled for.

A table maps what users write to the small integer that kernels branch on. Validation, error messages and
the command line are generated from these tables, so a new mode is named here once.
"""

from typing import NamedTuple

# Interpolation: how many neighbours along one axis, and how they are weighted.
NEAREST, SPLINE0, LABEL, BILINEAR, BICUBIC, SPLINE2, SPLINE3, SPLINE4, SPLINE5, MITCHELL, LANCZOS3 = range(11)
MODES = {
    "nearest": NEAREST,
    "bilinear": BILINEAR,
    "linear": BILINEAR,
    "bicubic": BICUBIC,
    "spline0": SPLINE0,
    "spline1": BILINEAR,
    "spline2": SPLINE2,
    "spline3": SPLINE3,
    "spline4": SPLINE4,
    "spline5": SPLINE5,
    "mitchell": MITCHELL,
    "lanczos3": LANCZOS3,
    "label": LABEL,
}
CHOOSING = (NEAREST, SPLINE0, LABEL)  # which move a pixel as it is, and have no slope
TAPS = (1, 1, 2, 2, 4, 3, 4, 5, 6, 4, 6)  # that one axis reads, by interpolation
DEGREES = (0, 0, 1, 1, 3, 2, 3, 4, 5, 3, None)  # of the weights, as polynomials of the coordinate, if they are such

# Padding: what stands outside the image.    a b c d  is the image
ZEROS = 0  #       f f f | a b c d | f f f   (f: the fill value)
BORDER = 1  #      a a a | a b c d | d d d
REFLECTION = 2  #  d c b | a b c d | c b a   (align_corners; otherwise c b a | a b c d | d c b)
WRAP = 3  #        b c d | a b c d | a b c
MASK = 4  #        f f f | a b c d | f f f   (of locations outside; others' taps outside: d c b | a b c d | c b a)
PERIODIC = 5  #    b c d | a b c d | b c d   (the last pixel stands where the first does; taps as MASK has them)
ZEROS_MARGIN = 6  #  as ZEROS and as BORDER, but beyond a margin of pixels at each end, which memory holds
BORDER_MARGIN = 7
MARGINS = (ZEROS_MARGIN, BORDER_MARGIN)
MARGIN_WIDTH = 12  # powers of the poles of a spline's filter, so far from the edge, are below 5e-5
PADDING_MODES = {
    "zeros": ZEROS,
    "constant": ZEROS,
    "border": BORDER,
    "reflection": REFLECTION,
    "wrap": WRAP,
    "mask": MASK,
    "periodic": PERIODIC,
    "zeros_margin": ZEROS_MARGIN,
    "border_margin": BORDER_MARGIN,
}

COORDS = {"normalized": False, "pixel": True}
UNITS = {"pixel": True, "normalized": False}
DATA_FORMATS = {"channels_first": False, "channels_last": True}

# Where a coordinate comes from: one leaf in `kernels/leaves/sources.py` for each.
GRID, AFFINE, FLOW, PROJECTIVE, THIN_PLATE_SPLINE = range(5)
MAPS = (AFFINE, PROJECTIVE, THIN_PLATE_SPLINE)  # a few numbers for a whole output, and not some for each location

# Storage formats that kernels read, by NumPy name.
FLOAT32, FLOAT64, FLOAT16, BFLOAT16, UINT8 = range(5)
BOOL, INT8, INT16, UINT16, INT32, UINT32, INT64, UINT64 = range(5, 13)
DTYPES = {
    "float32": FLOAT32,
    "float64": FLOAT64,
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
    "uint8": UINT8,
    "bool": BOOL,
    "int8": INT8,
    "int16": INT16,
    "uint16": UINT16,
    "int32": INT32,
    "uint32": UINT32,
    "int64": INT64,
    "uint64": UINT64,
}
LONG = (INT32, UINT32)  # integers of more digits than float32 has
MOVED = (BOOL, INT64, UINT64)  # what has no fractions, or more digits than float64: it is never blended


class Place(NamedTuple):
    """Where a tile of an output, and a tile of an image, lie in the whole of each.

    Every field has an integer for each spatial axis, in the order of `size`: (W,), (H, W) or (D, H, W).

    Parameters
    ----------
    out_start : tuple of int
        The first location of the output's tile, in the whole output.
    out_size : tuple of int
        The size of the whole output.
    image_start : tuple of int
        The first pixel of the image's tile, in the whole image: from 0 to less than its size. A tile goes around: after
        the last pixel of an axis comes the first.
    image_size : tuple of int
        The size of the whole image.
    """

    out_start: tuple[int, ...]
    out_size: tuple[int, ...]
    image_start: tuple[int, ...]
    image_size: tuple[int, ...]


class Options(NamedTuple):
    """The choices of one call, as kernels take them."""

    interp: int
    padding: tuple[int, int, int]  # x, y, z
    align: bool
    pixel: bool
    channels_last: bool
    fill_finite: bool = True  # no channel's fill value is NaN or infinite
    control: bytes = b""  # the control points of a thin plate spline: float64, one after the other
    place: Place | None = None  # where output and image lie in the whole of each, if they are tiles

    def without_margin(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of the image, of what memory holds of it: less by the margin on axes that have one."""
        paddings = reversed(self.padding[: len(spatial)])
        return tuple(n - 2 * MARGIN_WIDTH if p in MARGINS else n for n, p in zip(spatial, paddings, strict=True))


LANES = 8  # numbers that kernels do at once, at most
TILE = 1024  # locations that are staged together


class Spec(NamedTuple):
    """Everything that changes the machine code of a kernel: its compile-time constants.

    A kernel captures one `Spec` and nothing else, so the on-disk cache finds it again in another process;
    `digest` stands for the source text of the leaves, so an edited leaf is a different kernel.
    """

    ndim: int
    interp: int = NEAREST
    padding: tuple[int, int, int] = (ZEROS, ZEROS, ZEROS)
    align: bool = False
    pixel: bool = False
    interleaved: bool = False  # the channels of one pixel are neighbours (channels_last)
    lanes: int = 1  # how many numbers the innermost loop does at once: locations, or channels if interleaved
    aligned: bool = False  # on a GPU, lanes begin at a multiple of their size
    together: bool = False  # on a GPU, warps write and add what their neighbouring locations have as a whole
    group: int = 1  # on a GPU, how many neighbouring threads share the channels of one location
    packed: bool = False  # neighbours have no gaps: pixels of a row, or channels of a pixel if interleaved
    source: int = GRID
    dense: bool = False  # the coordinates of a row of locations have no gaps
    apart: bool = False  # those of each axis have a plane of their own, in whose rows they have none
    image_dtype: int = FLOAT32
    dot_dtype: int = FLOAT32  # of tangents and cotangents: the image's, or the coordinates' beside integers
    source_dtype: int = FLOAT32
    fill_finite: bool = True  # else a fill value of weight 0 must not count, as 0 times it would be NaN
    wide: bool = False  # offsets within one plane need 64 bits
    image_dot: bool = False  # a tangent of the image is given
    source_dot: bool = False  # a tangent of grid or theta is given
    image_bar: bool = False  # the cotangent of the image is asked for
    source_bar: bool = False  # the cotangent of grid or theta is asked for
    planar: bool = False  # the channels of a cotangent are planes, though those of the image are not
    beside: bool = False  # channels are planes, but those of an image's cotangent are neighbours while it is summed
    out_bar: bool = False  # the cotangent of the output's cotangent is asked for
    placed: bool = False  # output and image are tiles of the whole of each
    around: bool = False  # an image's tile goes on from the last pixel of an axis to the first
    near: bool = False  # the caller has checked coordinates: all are finite, and |x| <= 2^22
    capability: int = 0  # of the GPU that is compiled for: ten times the major number, and the minor
    digest: int = 0

    @property
    def taps(self) -> int:
        """How many neighbours one axis reads."""
        return TAPS[self.interp]

    @property
    def degree(self) -> int | None:
        """The degree of the weights as polynomials of the coordinate, if they are such."""
        return DEGREES[self.interp]

    @property
    def nearest(self) -> bool:
        """Whether a location reads one pixel, as it is, whatever its coordinate is in detail."""
        return self.taps == 1

    @property
    def spline(self) -> bool:
        """Whether weights are those of B-splines, whose taps are coefficients."""
        return SPLINE2 <= self.interp <= SPLINE5

    @property
    def looped(self) -> bool:
        """Whether the taps of an axis are staged and read in loops, as those of splines and filters are."""
        return SPLINE2 <= self.interp <= LANCZOS3

    @property
    def contact(self) -> int:
        """As which power of the distance, at least, a weight leaves 0 where it has none."""
        return self.taps - 1 if self.spline else 2 if self.interp == MITCHELL else 1

    @property
    def rows(self) -> int:
        """How many rows of taps, along x, one location reads."""
        rows: int = self.taps ** (self.ndim - 1)
        return rows

    @property
    def whole(self) -> bool:
        """Whether all channels of a pixel fit the lanes."""
        return self.interleaved and self.packed and 1 < self.lanes < LANES

    @property
    def triples(self) -> bool:
        """Whether threads of a GPU exchange the three channels of their pixels, so that neighbours reach neighbours."""
        return self.together and self.interleaved

    @property
    def paired(self) -> bool:
        """Whether the two taps of a row lie within two neighbouring pixels, be they dead or one pixel twice."""
        return self.packed and self.interp == BILINEAR and self.padding[0] != WRAP and not self.around

    @property
    def margined(self) -> bool:
        """Whether memory holds more than the image on some axis."""
        return any(padding in MARGINS for padding in self.padding[: self.ndim])

    @property
    def stepped(self) -> bool:
        """Whether planes have rows whose taps, if all are alive, are a stride apart but where bits say otherwise."""
        outer = self.padding[1 : self.ndim]
        return self.paired and not self.interleaved and all(padding in (ZEROS, MASK) for padding in outer)

    @property
    def mapped(self) -> bool:
        """Whether the source is a few numbers for a whole output."""
        return self.source in MAPS

    @property
    def lines(self) -> int:
        """How many rows the matrix of a map has."""
        return self.ndim + (self.source == PROJECTIVE)

    @property
    def lattice_rows(self) -> int:
        """How many rows of a stage hold the coordinates of output locations: of thin plate splines, one per axis."""
        return self.ndim if self.source == THIN_PLATE_SPLINE else 0

    @property
    def sloped(self) -> bool:
        """Whether derivatives of the weights are staged: those of bilinear are constants."""
        return self.taps > 2 and (self.source_bar or self.source_dot)

    @property
    def arithmetic_dtype(self) -> int:
        """The format that is computed in: float64 if an array has it, for tiles, and for integers of 32 bits."""
        long = self.image_dtype in LONG and self.interp not in CHOOSING
        wide = long or self.placed or FLOAT64 in (self.image_dtype, self.source_dtype)
        return FLOAT64 if wide else FLOAT32

    @property
    def image_bar_dtype(self) -> int:
        """The format in which an image's cotangent is summed: the image's, or the arithmetic's for halves."""
        return self.image_dtype if self.image_dtype in (FLOAT32, FLOAT64) else self.arithmetic_dtype

    @property
    def source_bar_dtype(self) -> int:
        """The format in which a source's cotangent is summed: a map's has a part for each tile."""
        return FLOAT64 if self.mapped else self.source_dtype

    @property
    def index_dtype(self) -> int:
        """The format of offsets within one plane."""
        return INT64 if self.wide else INT32

    @property
    def reading(self) -> "Spec":
        """The choices that staging and reading depend on: leaves compiled for one operation serve the others."""
        return self._replace(
            image_dot=False,
            source_dot=False,
            image_bar=False,
            source_bar=self.sloped,
            out_bar=False,
            planar=False,
            beside=False,
        )

    @property
    def checked(self) -> "Spec":
        """The choices of staging coordinates that are checked to be finite and near."""
        return self._replace(near=True)

    @property
    def one_location(self) -> "Spec":
        """The choices of loops over locations: where channels are in lanes, one location is done at a time."""
        return self._replace(lanes=1) if self.interleaved else self

    @property
    def sums(self) -> "Spec":
        """The choices of sums over locations, which are in lanes whatever the layout of channels is."""
        return self._replace(lanes=LANES)
