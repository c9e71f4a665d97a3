"""The samplers on Dask arrays and stores: chunk by chunk, with the bits of the whole.

`stnkit.affine_sample` and its like come here when an argument is a Dask array, so there is nothing to import. Images
that are no arrays of Dask, as those of zarr, are given to the functions here.
"""

import typing as _typing

from stnkit.dask.derivatives import affine_sample_vjp, flow_sample_vjp
from stnkit.dask.extremes import Extremes, bounds
from stnkit.dask.lattices import flow_sample, grid_sample
from stnkit.dask.maps import affine_sample, projective_sample, thin_plate_spline_sample

if _typing.TYPE_CHECKING:
    from stnkit.dask.plugin import Prepare as Prepare
else:

    def __getattr__(name: str) -> _typing.Any:
        if name == "Prepare":  # imports distributed, which arrays do not need
            from stnkit.dask.plugin import Prepare

            return Prepare
        msg = f"module 'stnkit.dask' has no attribute {name!r}"
        raise AttributeError(msg)


__all__ = [
    "Extremes",
    "Prepare",
    "affine_sample",
    "affine_sample_vjp",
    "bounds",
    "flow_sample",
    "flow_sample_vjp",
    "grid_sample",
    "projective_sample",
    "thin_plate_spline_sample",
]
