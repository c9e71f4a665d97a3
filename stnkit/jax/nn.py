"""A spatial transformer for the networks of any JAX library, as a function of parameters and as a layer."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stnkit.calls.arguments import FillValue, PaddingMode
from stnkit.jax.maps import constant
from stnkit.transforms.for_layers import reader
from stnkit.transforms.layer_options import DEFAULTS, checked

__all__ = ["SpatialTransformer", "spatial_transform"]

Array = Any
Points = tuple[tuple[float, ...], ...]


def spatial_transform(
    image: Array,
    parameters: Array,
    transform: str = "affine",
    size: Sequence[int] | None = None,
    *,
    control_points: Any = None,
    **options: Any,
) -> Array:
    """Read images where a transform's parameters say: all of a spatial transformer but its localisation network.

    Parameters
    ----------
    image : array of shape (N, C, *S) or (N, *S, C), or without N
        The images, or feature maps.
    parameters : array of shape (N, K), or (K,)
        What a localisation network outputs.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What the parameters mean, as in `stnkit.transforms`.
    size : sequence of int, optional
        The output's spatial size; that of the image, if left out.
    control_points : array of shape (K, d), optional
        Of a thin plate spline: where in the output. They are constants; a regular lattice of 4 along each axis if left
        out.
    **options
        The options of `stnkit.affine_sample`: `mode`, `prefilter`, `padding_mode`, `fill_value`, `align_corners`,
        `data_format` and `antialias`.

    Returns
    -------
    array of shape (N, C, *T) or (N, *T, C), or without N
        What is read.

    Raises
    ------
    ValueError
        If the transform is unknown, or the number of parameters does not fit.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from stnkit.jax.nn import spatial_transform
    >>> spatial_transform(jnp.array([[[1.0, 2.0, 3.0, 4.0]]]), jnp.array([[0.5, 0.5]]), "attention", size=(2,))
    Array([[[3., 4.]]], dtype=float32)
    """
    image = jnp.asarray(image) if isinstance(image, np.ndarray) else image
    how = reader(transform, None if control_points is None else constant(control_points))
    return how.sample(image, how.theta(jnp.asarray(parameters), jnp), size, **options)


@dataclasses.dataclass(frozen=True)
class SpatialTransformer:
    """Read a feature map where a network says: `spatial_transform(image, localise(image), ...)`.

    It is a pytree whose leaves are those of `localise`, so that its weights are found by every library that looks for
    them in pytrees.

    Parameters
    ----------
    localise : callable
        Gives the transform's parameters for images, (N, K); N as the images have it. For "affine" they are theta,
        flat: 6 numbers, or 2 in 1-D and 12 in 3-D.
    size : tuple of int, optional
        The output's spatial size; that of the image, if left out.
    mode, padding_mode, align_corners, data_format, antialias, prefilter, fill_value
        The options of `stnkit.affine_sample`.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What the parameters mean, as in `stnkit.transforms`.
    control_points : array of shape (K, d), optional
        Of a thin plate spline, as for `spatial_transform`; kept as tuples, by which JAX knows one layer from another.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from stnkit.jax.nn import SpatialTransformer
    >>> flip = SpatialTransformer(lambda image: jnp.array([-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
    >>> flip(jnp.array([[[1.0, 2.0, 3.0]]]))
    Array([[[3., 2., 1.]]], dtype=float32)
    """

    localise: Callable[[Array], Array]
    size: tuple[int, ...] | None = None
    mode: str = "bilinear"
    padding_mode: PaddingMode = "zeros"
    align_corners: bool = False
    data_format: str = "channels_first"
    transform: str = "affine"
    control_points: Points | None = None
    antialias: bool | int = False
    prefilter: bool = True
    fill_value: FillValue = 0.0

    def __post_init__(self) -> None:
        """Keep options as what has a hash; refuse those that no call would take."""
        points: Any = self.control_points
        if points is not None:  # those of a layer are tuples, and JAX makes a layer anew of what it is made of
            points = np.array(points) if isinstance(points, tuple) else constant(points)
        reader(self.transform, points)
        own = {name: getattr(self, name) for name in DEFAULTS}
        kept, size = checked(own, self.size, None if points is None else points.shape[-1], antialias=self.antialias)
        kept |= {"size": size, "control_points": None if points is None else tuple(map(tuple, points.tolist()))}
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def __call__(self, image: Array) -> Array:
        """Transform images of shape (N, C, *S) or (N, *S, C), or one without N."""
        options = {name: getattr(self, name) for name in OPTIONS}
        if self.control_points is not None:
            options["control_points"] = np.array(self.control_points)
        return spatial_transform(image, self.localise(image), **options)


OPTIONS = [field.name for field in dataclasses.fields(SpatialTransformer) if field.name != "localise"]
jax.tree_util.register_dataclass(SpatialTransformer, data_fields=["localise"], meta_fields=OPTIONS)
