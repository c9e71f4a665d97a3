"""From arguments to a job: arrays are checked against each other, and the output is cut into chunks."""

from typing import Any

import dask.array as da
import numpy as np

import stnkit
from stnkit import validation
from stnkit.backends.interop import no_array, unmasked
from stnkit.calls.arguments import Choices
from stnkit.calls.control_points import as_float64
from stnkit.calls.derivatives import NAMES
from stnkit.calls.sampling import Form, fits_output, sampling_form
from stnkit.calls.signatures import taken
from stnkit.dask.cutting import Asked, Cut, Fitted
from stnkit.dask.stores import in_chunks, stored
from stnkit.spec import AFFINE, MAPS, THIN_PLATE_SPLINE

Array = Any


BY_TASKS = ("size", "place", "deterministic")  # options that a task sets for its chunk, or that mean nothing to it


def entered(
    asked: Asked, image: Array, source: Array, choices: Choices, antialias: bool | int, cotangent: Array = None
) -> Fitted:
    """Check a call, and cut its output into chunks, or take those of its cotangent."""
    image = in_chunks("image", image) if isinstance(image, da.Array) else stored("image", image)
    source = _map(asked.kind, source) if asked.kind in MAPS else _lattice(asked.kind, source)
    if cotangent is not None:
        cotangent = in_chunks("cotangent", cotangent)
    if antialias is True and asked.kind != AFFINE:
        msg = (
            "`antialias=True` counts the subsamples that the whole output needs, of which a task has a chunk; "
            "pass their number"
        )
        raise ValueError(msg)
    if asked.kind == THIN_PLATE_SPLINE:
        choices = choices._replace(control_points=as_float64(choices.control_points))
    form = _form(asked.kind, image, source, choices, cotangent)
    options = taken(getattr(stnkit, asked.function), choices._asdict() | {"antialias": antialias})
    options = {word: value for word, value in options.items() if word not in BY_TASKS}
    return Cut(asked, image, source, options, cotangent, form).fitted()


def _map(kind: int, theta: Any) -> np.ndarray:
    if isinstance(theta, da.Array):
        msg = (
            "`theta` must be a NumPy array, as its numbers say which chunks of the image are read; "
            "pass `theta.compute()`"
        )
        raise TypeError(msg)
    name = NAMES[kind]
    if not isinstance(theta, np.ndarray):
        raise no_array(name, theta, "a NumPy array")
    return unmasked(name, theta)


def _lattice(kind: int, source: Any) -> Array:
    """Return a flow or a grid whose chunks are known; its last axis has one."""
    name = NAMES[kind]
    if isinstance(source, np.ndarray):
        return unmasked(name, source)
    if not isinstance(source, da.Array):
        raise no_array(name, source, "a Dask array or a NumPy array", "dask")
    source = in_chunks(name, source)
    return source if source.ndim == 0 or len(source.chunks[-1]) == 1 else source.rechunk({source.ndim - 1: -1})


def _form(kind: int, image: Array, source: Array, choices: Choices, cotangent: Array) -> Form:
    """Check shapes, dtypes and options, as the plain function does."""
    form = sampling_form(kind, image, source, choices, cotangent)
    validation.fill(choices.fill_value, form.channels, form.options.interp, form.image_dtype, np.dtype(source.dtype))
    if cotangent is not None:
        fits_output(cotangent, form)
    return form
