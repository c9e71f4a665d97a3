"""The words of the toolkit: every choice a user can name, and the `Spec` that a kernel is compiled for.

A table maps what users write to the small integer that kernels branch on. Validation, error messages and
the command line are generated from these tables, so a new mode is named here once.
"""

from typing import NamedTuple

# Interpolation: how many neighbours along one axis, and how they are weighted.
NEAREST, BILINEAR, BICUBIC = 0, 1, 2
MODES = {"nearest": NEAREST, "bilinear": BILINEAR, "linear": BILINEAR, "bicubic": BICUBIC}

# Padding: what stands outside the image.    a b c d  is the image
ZEROS = 0  #       f f f | a b c d | f f f   (f: the fill value)
BORDER = 1  #      a a a | a b c d | d d d
REFLECTION = 2  #  d c b | a b c d | c b a   (align_corners; otherwise c b a | a b c d | d c b)
WRAP = 3  #        b c d | a b c d | a b c
PADDING_MODES = {
    "zeros": ZEROS,
    "constant": ZEROS,
    "border": BORDER,
    "reflection": REFLECTION,
    "wrap": WRAP,
}

COORDS = {"normalized": False, "pixel": True}
DATA_FORMATS = {"channels_first": False, "channels_last": True}

# Where a coordinate comes from: one leaf in `kernels/sources.py` for each.
GRID, AFFINE = 0, 1

# Storage formats that kernels read, by NumPy name.
DTYPES = {"float32": 0, "float64": 1}


class Options(NamedTuple):
    """The choices of one call, in the kernels' words."""

    interp: int
    padding: tuple[int, int, int]  # x, y, z
    align: bool
    pixel: bool
    channels_last: bool


class Spec(NamedTuple):
    """Everything that changes the machine code of a kernel: its compile-time constants.

    A kernel captures one `Spec` and nothing else, so the on-disk cache finds it again in another process;
    `digest` stands for the source text of the leaves, so an edited leaf is a different kernel.
    """

    ndim: int
    interp: int
    padding: tuple[int, int, int]
    align: bool
    pixel: bool
    interleaved: bool  # the channels of one pixel are neighbours (channels_last)
    source: int
    image_dtype: int
    source_dtype: int
    wide: bool  # offsets within one plane need 64 bits
    image_bar: bool  # vjp: the image's cotangent is asked for
    source_bar: bool  # vjp: the cotangent of grid or theta is asked for
    parallel: bool
    digest: int
