"""A layer for the networks of any JAX library."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax

from stnkit.api.call import PaddingMode
from stnkit.jax import affine_sample

Array = Any

SHAPES = {(2,): (1, 2), (6,): (2, 3), (12,): (3, 4)}  # of theta, by how many numbers it has


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["localise"],
    meta_fields=["size", "mode", "padding_mode", "align_corners", "data_format"],
)
@dataclasses.dataclass(frozen=True)
class SpatialTransformer:
    """Read a feature map where a network says: `affine_sample(image, localise(image))`.

    It is a pytree whose leaves are those of `localise`, so that its weights are found by every library that looks for
    them in pytrees.

    Parameters
    ----------
    localise : callable
        Gives theta for images, flat: of shape (N, 6), or (N, 2) in 1-D and (N, 12) in 3-D; N as the images have it.
    size : tuple of int, optional
        The output's spatial size; that of the image, if left out.
    mode, padding_mode, align_corners, data_format
        The options of `stnkit.affine_sample`.

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

    def __call__(self, image: Array) -> Array:
        """Transform images of shape (N, C, *S) or (N, *S, C), or one without N."""
        theta = self.localise(image)
        if theta.shape[-1:] not in SHAPES:
            msg = f"`localise` must give 2, 6 or 12 numbers along the last axis, for 1-D to 3-D; got {theta.shape}"
            raise ValueError(msg)
        return affine_sample(
            image,
            theta.reshape(*theta.shape[:-1], *SHAPES[theta.shape[-1:]]),
            self.size,
            mode=self.mode,
            padding_mode=self.padding_mode,
            align_corners=self.align_corners,
            data_format=self.data_format,
        )
