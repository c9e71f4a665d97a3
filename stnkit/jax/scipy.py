"""SciPy's way to ask for samples, as JAX has it, at the speed of `stnkit`."""

import functools
import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.ndimage

from stnkit.calls.arguments import BOUNDARY_MODES
from stnkit.dtypes import is_float
from stnkit.jax.samplers import sample_at

__all__ = ["map_coordinates"]


def map_coordinates(
    input: Any, coordinates: Sequence[Any], order: int, mode: str = "constant", cval: Any = 0.0
) -> jax.Array:
    """Interpolate an array at coordinates, as `jax.scipy.ndimage.map_coordinates` does.

    Parameters
    ----------
    input : array of shape S
        What to read.
    coordinates : sequence of arrays
        Where, in pixels: one array for each axis of `input`, in the order of its axes.
    order : {0, 1}
        0 for the nearest pixel, where halves are rounded away from 0, and 1 for linear interpolation.
    mode : {"constant", "nearest", "wrap", "mirror", "reflect"}
        What is read outside: `cval`, the nearest edge pixel, the array repeated, or reflected about the centres of its
        edge pixels or about their outer edges.
    cval : float
        What "constant" reads outside.

    Returns
    -------
    array of the shape of the coordinates
        In the dtype of `input`.

    Raises
    ------
    ValueError
        If there are not as many coordinates as axes.
    NotImplementedError
        If an order or a mode is unknown.

    Notes
    -----
    What `stnkit` does not do is left to JAX's own function: an `input` of integers or of more than three axes, and
    coordinates that are integers. Along an axis that the mode clamps or reflects, slopes with respect to coordinates
    are those of `stnkit.grid_sample`. A coordinate that is not finite reads `cval`. Linear interpolation and gradients
    are faster than JAX's; order 0 first rounds coordinates as JAX does, which may take as long as reading. That of
    `stnkit.ndimage.map_coordinates` rounds as SciPy does, in the kernel.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from stnkit.jax.scipy import map_coordinates
    >>> image = jnp.arange(6.0).reshape(2, 3)
    >>> map_coordinates(image, [jnp.array([0.5]), jnp.array([1.5])], order=1)
    Array([3.], dtype=float32)
    """
    image = input if isinstance(input, jax.Array) else jnp.asarray(input)
    if not isinstance(coordinates, jax.Array):  # which is not taken apart
        coordinates = [jnp.asarray(axis) for axis in coordinates]
    dtypes = [array.dtype for array in (image, *([coordinates] if isinstance(coordinates, jax.Array) else coordinates))]
    known = order in (0, 1) and mode in BOUNDARY_MODES and isinstance(cval, numbers.Real)
    shaped = 1 <= image.ndim <= 3 and len(coordinates) == image.ndim and all(image.shape)
    if not (known and shaped and all(map(is_float, dtypes))):
        return jax.scipy.ndimage.map_coordinates(input, coordinates, order, mode, cval)
    return _read(image, coordinates, order, mode, float(cval))


@functools.partial(jax.jit, static_argnames=("order", "mode", "cval"), inline=True)
def _read(image: jax.Array, coordinates: Sequence[Any], order: int, mode: str, cval: float) -> jax.Array:
    """Interpolate an array: a program, as steps that are called one by one take longer than their work."""
    indices = coordinates if isinstance(coordinates, jax.Array) else jnp.stack(jnp.broadcast_arrays(*coordinates))
    if order == 0:
        indices = jax.lax.round(indices, jax.lax.RoundingMethod.AWAY_FROM_ZERO)
    padding, align = BOUNDARY_MODES[mode]
    out: jax.Array = sample_at(
        image[None],
        indices.reshape(image.ndim, -1),
        mode=("nearest", "bilinear")[order],
        padding_mode=padding,
        fill_value=cval,
        align_corners=align,
        coords="pixel",
    )
    return out.reshape(indices.shape[1:])
