"""A spatial transformer as a layer."""

from collections.abc import Sequence
from typing import Any

import keras

from stnkit.keras.samplers import axes_of, listed, registered
from stnkit.keras.sampling import Sampling, Tensor
from stnkit.spec import AFFINE, PROJECTIVE, THIN_PLATE_SPLINE
from stnkit.transforms.for_layers import reader
from stnkit.transforms.identity_parameters import LATTICES, SPLINE, identity_parameters

KINDS = {"projective": PROJECTIVE, SPLINE: THIN_PLATE_SPLINE}  # of the transforms whose maps are not affine
ALONG = {1: "W", 2: "H, W", 3: "D, H, W"}


@registered
class SpatialTransformer(Sampling):
    """A spatial transformer: a localisation network computes the parameters of a map, and a sampler reads under it.

    Parameters
    ----------
    localization : keras.Layer
        A layer or a model from images to the transform's parameters, (N, K). `IdentityHead` is a good last layer.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What the parameters mean, as in `stnkit.transforms`.
    size : sequence of int, optional
        The output's spatial size; that of the images if left out.
    control_points : array of shape (K, d), optional
        Of a thin plate spline: where in the output. A regular lattice of 4 along each axis if left out.
    antialias : bool or int
        Whether locations are supersampled, as in `stnkit.affine_sample`.
    data_format : {"channels_first", "channels_last"}, optional
        Where images have their channels; that of Keras' configuration if left out.
    **options
        `mode`, `prefilter`, `padding_mode`, `fill_value` and `align_corners` of `stnkit.affine_sample`; and those of a
        layer of Keras, as `name` and `dtype`.

    Raises
    ------
    ValueError
        If the transform or the name of a choice is unknown, or `size` or control points do not fit; when it is built,
        if the network does not give as many numbers as the transform has parameters.
    TypeError
        If `localization` is no layer.

    References
    ----------
    Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", 2015.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import IdentityHead, SpatialTransformer
    >>> localization = keras.Sequential([keras.layers.Flatten(), IdentityHead()])
    >>> transformer = SpatialTransformer(localization, padding_mode="border", data_format="channels_last")
    >>> images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    >>> bool(abs(keras.ops.convert_to_numpy(transformer(images)) - images).max() < 1e-6)
    True
    """

    def __init__(
        self,
        localization: Any,
        transform: str = "affine",
        size: Sequence[int] | None = None,
        *,
        control_points: Any = None,
        antialias: bool | int = False,
        **options: Any,
    ) -> None:
        if not isinstance(localization, keras.Layer):
            kind = f"{type(localization).__module__}.{type(localization).__qualname__}"
            msg = f"`localization` must be a layer or a model of Keras; got {kind}"
            raise TypeError(msg)
        points = listed(control_points)
        how = reader(transform, points)
        super().__init__({"antialias": antialias}, size, axes_of(points), **options)
        self.localization = localization
        self.transform = transform
        self.control_points = points
        self._reader = how

    def build(self, image_shape: Sequence[int | None]) -> None:
        """Build the localisation network, and see that its output has as many numbers as the transform needs."""
        axes = self._axes(image_shape)
        count = len(identity_parameters(self.transform, axes, control_points=self.control_points))
        given = self.localization(keras.KerasTensor(image_shape, dtype=self.compute_dtype))
        if len(given.shape) != 2 or given.shape[-1] != count:
            msg = (
                f"`localization` must give {count} numbers for each image, the parameters of {self.transform!r} on "
                f"{axes} axes: an output of shape (N, {count}); got {tuple(given.shape)}"
            )
            raise ValueError(msg)
        self.built = True

    def theta(self, image: Tensor) -> Tensor:
        """Return the maps for images: what the localisation network says, as theta."""
        return self._reader.theta(self._source(self.localization(image)), None)

    def call(self, image: Tensor, training: bool | None = None) -> Tensor:
        """Read images where the localisation network says; Keras tells it whether it is trained."""
        theta = self.theta(image)
        options = {**self._options(), "data_format": self.data_format, "antialias": self.antialias}
        return self._reader.sample(self._image(image), theta, self.size, **options)

    def compute_output_spec(self, image: Any, training: bool | None = None) -> Any:
        """Return the symbolic tensor of what is read."""
        axes = self._axes(image.shape)
        kind = KINDS.get(self.transform, AFFINE)
        own: dict[str, Any] = {"size": self.size}
        source = (None, axes + (kind == PROJECTIVE), axes + 1)
        if kind == THIN_PLATE_SPLINE:
            own["control_points"] = LATTICES[axes] if self.control_points is None else self._reader.control_points
            source = (None, *own["control_points"].shape)
        return self._read(kind, image, source, **own)

    def compute_output_shape(self, image_shape: Sequence[int | None]) -> Any:
        """Return the shape of what is read."""
        return self.compute_output_spec(keras.KerasTensor(image_shape, dtype=self.compute_dtype)).shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make a layer like this one."""
        return {
            **super().get_config(),
            "localization": keras.saving.serialize_keras_object(self.localization),
            "transform": self.transform,
            "size": self.size,
            "control_points": self.control_points,
            "antialias": self.antialias,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "SpatialTransformer":
        """Make a layer of what `get_config` returns."""
        network = keras.saving.deserialize_keras_object(config["localization"], custom_objects)
        return cls(**{**config, "localization": network})

    def _axes(self, image_shape: Sequence[int | None]) -> int:
        """Return the number of spatial axes of images; refuse a shape of another rank."""
        axes = len(image_shape) - 2
        if axes not in ALONG:
            last = self.data_format == "channels_last"
            shapes = [f"(N, {along}, C)" if last else f"(N, C, {along})" for along in ALONG.values()]
            msg = f"images must have the shape {', '.join(shapes)} in {self.data_format}; got {tuple(image_shape)}"
            raise ValueError(msg)
        return axes
