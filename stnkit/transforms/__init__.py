"""Maps as arrays: theta from fewer numbers, maps composed and inverted, and theta in other libraries' units.

Theta maps output to input in normalised coordinates, x before y before z. The functions take and give arrays of any
framework, with any batch axes in front. They are made of array-namespace operations alone, so that the framework of
their arguments differentiates them.
"""

from stnkit.calls.control_points import control_lattice
from stnkit.transforms.algebra import compose, identity, invert
from stnkit.transforms.conventions import CONVENTIONS, affine_from_torchvision, from_pixel, to_pixel
from stnkit.transforms.identity_parameters import IDENTITIES, axes_of, identity_parameters
from stnkit.transforms.parameters import (
    TRANSFORMS,
    affine_from_parameters,
    attention,
    projective_from_parameters,
    rotation,
    similarity,
    thin_plate_spline_from_parameters,
)

__all__ = [
    "CONVENTIONS",
    "IDENTITIES",
    "TRANSFORMS",
    "affine_from_parameters",
    "affine_from_torchvision",
    "attention",
    "axes_of",
    "compose",
    "control_lattice",
    "from_pixel",
    "identity",
    "identity_parameters",
    "invert",
    "projective_from_parameters",
    "rotation",
    "similarity",
    "thin_plate_spline_from_parameters",
    "to_pixel",
]
