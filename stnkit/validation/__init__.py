"""What a call may look like: options, shapes and dtypes are checked here, once, and errors are worded here.

Every check is a function of hashable options and shapes, memoised, so that a repeated call pays for a
dictionary look-up. Messages say what is wrong, what was given and what is accepted, and the accepted names
come from the tables of `spec`.
"""

from stnkit.validation.dtypes import addable as addable
from stnkit.validation.dtypes import averaged as averaged
from stnkit.validation.dtypes import coordinate_dtype as coordinate_dtype
from stnkit.validation.dtypes import differentiable as differentiable
from stnkit.validation.dtypes import image_dtype as image_dtype
from stnkit.validation.dtypes import same_dtype as same_dtype
from stnkit.validation.fill_values import any_fill as any_fill
from stnkit.validation.fill_values import fill as fill
from stnkit.validation.fill_values import numbers as numbers
from stnkit.validation.options import antialias as antialias
from stnkit.validation.options import choice as choice
from stnkit.validation.options import count as count
from stnkit.validation.options import flag as flag
from stnkit.validation.options import lattice as lattice
from stnkit.validation.options import names as names
from stnkit.validation.options import options as options
from stnkit.validation.options import size as size
from stnkit.validation.options import units as units
from stnkit.validation.places import as_place as as_place
from stnkit.validation.places import place as place
from stnkit.validation.prefilter import coefficient_dtype as coefficient_dtype
from stnkit.validation.prefilter import filtered_axes as filtered_axes
from stnkit.validation.prefilter import prefiltered as prefiltered
from stnkit.validation.prefilter import spline as spline
from stnkit.validation.shapes import apart as apart
from stnkit.validation.shapes import batch as batch
from stnkit.validation.shapes import control_axes as control_axes
from stnkit.validation.shapes import grid_axes as grid_axes
from stnkit.validation.shapes import image_shape as image_shape
from stnkit.validation.shapes import not_empty as not_empty
from stnkit.validation.shapes import not_too_large as not_too_large
from stnkit.validation.shapes import projective_axes as projective_axes
from stnkit.validation.shapes import same_shape as same_shape
from stnkit.validation.shapes import source_axes as source_axes
from stnkit.validation.shapes import spline_axes as spline_axes
from stnkit.validation.shapes import theta_axes as theta_axes
from stnkit.validation.shapes import writable as writable
