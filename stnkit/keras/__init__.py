"""Spatial transformers as layers of Keras 3, on all of its backends that differentiate: torch, JAX and TensorFlow.

What they do is done by the functions of `stnkit`, on the tensors of the backend that Keras was imported with. `ops` has
functions with the signatures of some of `keras.ops.image`.
"""

from stnkit.keras._compat import OLDEST as OLDEST  # first: what follows needs a Keras that is new enough

# isort: split
from stnkit.keras import ops as ops
from stnkit.keras.heads import IdentityHead, IdentityParameters
from stnkit.keras.samplers import AffineSample, FlowSample, GridSample, ProjectiveSample, ThinPlateSplineSample
from stnkit.keras.transformer import SpatialTransformer

__all__ = [
    "AffineSample",
    "FlowSample",
    "GridSample",
    "IdentityHead",
    "IdentityParameters",
    "ProjectiveSample",
    "SpatialTransformer",
    "ThinPlateSplineSample",
    "ops",
]
