"""The last layer of a localisation network, which begins with the identity."""

from collections.abc import Sequence
from typing import Any

import keras

from stnkit.keras.samplers import listed, registered
from stnkit.keras.sampling import HALVES
from stnkit.transforms.identity_parameters import identity_parameters


@registered
class IdentityParameters(keras.initializers.Initializer):  # type: ignore[misc]  # as Keras' are not typed
    """An initializer whose values are the parameters of a transform that leaves images as they are.

    Parameters
    ----------
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What the parameters mean, as in `stnkit.transforms`.
    axes : int
        The number of spatial axes, 1 to 3.
    control_points : array of shape (K, d), optional
        Of a thin plate spline, as for `SpatialTransformer`; they say the number of axes.

    Raises
    ------
    ValueError
        If the transform is unknown, or does not act on so many axes or has no control points; when it is called, if
        the shape is not that of the parameters.

    Examples
    --------
    >>> import keras
    >>> from stnkit.keras import IdentityParameters
    >>> keras.ops.convert_to_numpy(IdentityParameters("attention")((3,))).tolist()
    [1.0, 0.0, 0.0]
    """

    def __init__(self, transform: str = "affine", axes: int = 2, *, control_points: Any = None) -> None:
        self.transform = transform
        self.axes = axes
        self.control_points = listed(control_points)
        self._numbers = identity_parameters(transform, axes, control_points=self.control_points)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return the parameters as a tensor."""
        if tuple(shape) != (len(self._numbers),):
            msg = f"the identity of {self.transform!r} has shape ({len(self._numbers)},); got {tuple(shape)}"
            raise ValueError(msg)
        return keras.ops.convert_to_tensor([float(number) for number in self._numbers], dtype=dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an initializer like this one."""
        return {"transform": self.transform, "axes": self.axes, "control_points": self.control_points}


@registered
class IdentityHead(keras.layers.Dense):  # type: ignore[misc]  # as Keras' layers are not typed
    """The last layer of a localisation network, whose output is the identity whatever its input is, until it learns.

    Under a mixed policy it computes in float32, unless `dtype` says otherwise: half precision has too few digits for
    coordinates.

    Parameters
    ----------
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What its outputs mean, as in `stnkit.transforms`.
    axes : int
        The number of spatial axes, 1 to 3.
    control_points : array of shape (K, d), optional
        Of a thin plate spline, as for `SpatialTransformer`; they say the number of axes.
    kernel_initializer
        Of the weights, which are zeros if it is left out.
    dtype : str or keras.DTypePolicy, optional
        Of the layer.
    **options
        Other options of `keras.layers.Dense`, but for `units`, `use_bias` and `bias_initializer`.

    Raises
    ------
    ValueError
        If the transform is unknown, or does not act on so many axes or has no control points.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import IdentityHead
    >>> keras.ops.convert_to_numpy(IdentityHead("attention")(np.ones((2, 8), "float32"))).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        transform: str = "affine",
        axes: int = 2,
        *,
        control_points: Any = None,
        kernel_initializer: Any = "zeros",
        dtype: Any = None,
        **options: Any,
    ) -> None:
        identity = IdentityParameters(transform, axes, control_points=control_points)
        if dtype is None and keras.config.dtype_policy().compute_dtype in HALVES:
            dtype = "float32"
        super().__init__(
            len(identity_parameters(transform, axes, control_points=identity.control_points)),
            use_bias=True,
            kernel_initializer=kernel_initializer,
            bias_initializer=identity,
            dtype=dtype,
            **options,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make a layer like this one."""
        config = super().get_config()
        own = ("units", "use_bias", "bias_initializer")
        rest = {name: value for name, value in config.items() if name not in own}
        return {**rest, **self.bias_initializer.get_config()}
