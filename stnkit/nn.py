"""A spatial transformer for networks in plain NumPy: a layer with a forward and a backward pass.

Where a framework differentiates, its own module is the better one: `stnkit.torch.nn` or `stnkit.jax.nn`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stnkit.transforms.for_layers import reader
from stnkit.transforms.layer_options import checked

__all__ = ["SpatialTransformer"]

Floats = NDArray[Any]

STEP = 1e-30  # along the imaginary axis: its square is nothing beside 1, and it is a number in complex64 too


class Layer(Protocol):
    """What a localisation network has to be able to do."""

    def forward(self, image: Floats) -> Floats:
        """Return the parameters, (N, K), for images."""

    def backward(self, cotangent: Floats) -> Floats:
        """Take the parameters' cotangent, keep those of the weights, and return the images'."""


class SpatialTransformer:
    """A spatial transformer: a localisation network computes the parameters of a map, and a sampler reads under it.

    Parameters
    ----------
    localization : object
        With `forward`, from images to the transform's parameters (N, K), and `backward`, from the cotangent of the
        parameters to that of the images.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What the parameters mean, as in `stnkit.transforms`.
    size : sequence of int, optional
        The output's spatial size; the images' if left out.
    control_points : array of shape (K, d), optional
        Of a thin plate spline: where in the output. A regular lattice of 4 along each axis if left out.
    **options
        The options of `stnkit.affine_sample`: `mode`, `prefilter`, `padding_mode`, `fill_value`, `align_corners`,
        `data_format` and `antialias`.

    Raises
    ------
    ValueError
        If the transform or the name of a choice is unknown, or control points do not fit it.
    TypeError
        If an option is unknown.

    References
    ----------
    Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.nn import SpatialTransformer
    >>> class Constant:
    ...     parameters = np.array([[0.5, 0.0, 0.0]])
    ...     def forward(self, image):
    ...         return self.parameters
    ...     def backward(self, cotangent):
    ...         self.cotangent = cotangent
    ...         return 0.0
    >>> look = Constant()
    >>> layer = SpatialTransformer(look, "attention", size=(2, 2))
    >>> layer.forward(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  6.],
             [ 9., 10.]]]])
    >>> d_image = layer.backward(np.ones((1, 1, 2, 2)))
    >>> look.cotangent
    array([[ 0.,  8., 32.]])
    """

    def __init__(
        self,
        localization: Layer,
        transform: str = "affine",
        size: Sequence[int] | None = None,
        *,
        control_points: Any = None,
        **options: Any,
    ) -> None:
        self.localization = localization
        self.reader = reader(transform, control_points)
        points = self.reader.control_points
        antialias = options.pop("antialias", False)
        self.options, self.size = checked(
            options, size, None if points is None else points.shape[-1], antialias=antialias
        )
        self._image: Floats | None = None
        self._parameters: Floats | None = None

    def forward(self, image: Floats) -> Floats:
        """Sample each image where the localisation network says, and remember both for `backward`."""
        self._image, self._parameters = image, self.localization.forward(image)
        out: Floats = self.reader.sample(image, self.theta(self._parameters), self.size, **self.options)
        return out

    def theta(self, parameters: Floats) -> Floats:
        """Return the maps that parameters stand for."""
        maps: Floats = self.reader.theta(parameters, np)
        return maps

    def backward(self, cotangent: Floats, *, image: bool = True) -> Floats | None:
        """Pull the output's cotangent back through the sampler and the localisation network.

        Parameters
        ----------
        cotangent : array
            Of the output of the last `forward`.
        image : bool
            Whether the cotangent of the images is wanted, as it is when there is a layer in front.

        Returns
        -------
        array or None
            The images' cotangent: what comes through their pixels, and what comes through the localisation network.

        Raises
        ------
        RuntimeError
            If there was no `forward` before.
        """
        if self._image is None or self._parameters is None:
            msg = "`backward` needs what `forward` remembers: call it first"
            raise RuntimeError(msg)
        wrt = ("image", "theta") if image else ("theta",)
        theta = self.theta(self._parameters)
        image_bar: Floats | None
        theta_bar: Any
        image_bar, theta_bar = self.reader.sample_vjp(cotangent, self._image, theta, wrt=wrt, **self.options)
        through = self.localization.backward(self._pull(self._parameters, theta_bar))
        return image_bar + through if image_bar is not None else None

    def _pull(self, parameters: Floats, theta_bar: Floats) -> Floats:
        """Pull theta's cotangent back to the parameters.

        Every transform is analytic, so f(p + i h e) = f(p) + i h f'(p) e without a difference that could cancel: the
        imaginary part is the tangent, exact to rounding.
        """
        steps = 1j * STEP * np.eye(parameters.shape[-1])
        along = parameters[..., None, :] + steps.astype(np.result_type(parameters, np.complex64))
        tangents = self.reader.continued(along, np).imag / STEP
        pulled: Floats = np.einsum("...kij,...ij->...k", tangents, theta_bar)
        return pulled
