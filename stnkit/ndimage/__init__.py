"""SciPy's functions that resample images, `scipy.ndimage`, on the kernels of stnkit.

Signatures, defaults and numbers are SciPy's. Images may be arrays of NumPy, torch, JAX or CuPy, and gradients follow.
`patch` puts these functions in SciPy's place, for programs that cannot be edited.
"""

from stnkit.ndimage.callbacks import geometric_transform
from stnkit.ndimage.interpolation import affine_transform, map_coordinates, rotate, shift, zoom
from stnkit.ndimage.patching import patch
from stnkit.ndimage.splines import spline_filter, spline_filter1d

__all__ = [
    "affine_transform",
    "geometric_transform",
    "map_coordinates",
    "patch",
    "rotate",
    "shift",
    "spline_filter",
    "spline_filter1d",
    "zoom",
]
