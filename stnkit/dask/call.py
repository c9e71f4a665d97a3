"""From the call of a sampler to a Dask array: its graph, its chunks, and an empty array of its dtype."""

from functools import partial
from typing import Any

from stnkit.calls.arguments import Choices
from stnkit.dask import graphs, layers
from stnkit.dask.cutting import Asked
from stnkit.dask.entry import entered

Array = Any


def sampled(asked: Asked, image: Array, source: Array, choices: Choices, antialias: bool | int = False) -> Array:
    """Return the Dask array that a sampler gives."""
    call = entered(asked, image, source, choices, antialias)
    make = partial(graphs.sampled, call.job, call.reads)
    meta = layers.blank(image, len(call.job.output_chunks), call.form.image_dtype)
    return layers.array(call.prefix, call.token, make, call.job.output_chunks, meta, call.inputs)
