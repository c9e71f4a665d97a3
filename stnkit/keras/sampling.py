"""What every layer that samples has: options, dtypes, and the shape of what it reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from stnkit.calls.arguments import FillValue, PaddingMode
from stnkit.calls.unknown_sizes import Shaped, output
from stnkit.dtypes import bfloat16
from stnkit.keras._compat import backend
from stnkit.transforms.layer_options import checked

Tensor = Any
HALVES = ("float16", "bfloat16")


class Sampling(keras.layers.Layer):  # type: ignore[misc]  # as Keras' layers are not typed
    """A layer that reads images at coordinates.

    Images are brought to the layer's compute dtype, but for those of integers; coordinates, and what they come from,
    stay in float32 under a mixed policy, and in float64 under that of float64.
    """

    def __init__(
        self,
        own: Mapping[str, Any],
        size: Sequence[int] | None = None,
        axes: int | None = None,
        /,
        *,
        mode: str = "bilinear",
        prefilter: bool = True,
        padding_mode: PaddingMode = "zeros",
        fill_value: FillValue = 0.0,
        align_corners: bool = False,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(autocast=False, **options)
        given = {
            "mode": mode,
            "prefilter": prefilter,
            "padding_mode": padding_mode,
            "fill_value": fill_value,
            "align_corners": align_corners,
            "data_format": keras.config.image_data_format() if data_format is None else data_format,
        }
        kept, self.size = checked(given, size, axes, **own)
        for name, value in kept.items():
            setattr(self, name, value)
        if backend() == "tensorflow":
            self.supports_jit = False  # XLA calls no function of NumPy's arrays

    def _trackable_children(self, save_type: str = "checkpoint", **options: Any) -> Any:
        """Return what TensorFlow saves of the layer; refuse a SavedModel, which nothing could load."""
        if save_type == "savedmodel":
            msg = (
                f"the layer {self.name!r} cannot be in a SavedModel, which holds no Python: TensorFlow calls stnkit's "
                "functions in the process that made the graph; save the model as a .keras file, or export it from "
                "another backend of Keras"
            )
            raise NotImplementedError(msg)
        return super()._trackable_children(save_type, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make a layer like this one."""
        return {**super().get_config(), **self._options(), "data_format": self.data_format}

    def _options(self) -> dict[str, Any]:
        """Return the options of the sampler but for the data format."""
        return {
            "mode": self.mode,
            "prefilter": self.prefilter,
            "padding_mode": self.padding_mode,
            "fill_value": self.fill_value,
            "align_corners": self.align_corners,
        }

    def _image(self, image: Tensor) -> Tensor:
        """Return images in the dtype that the layer computes in."""
        dtype = keras.backend.standardize_dtype(image.dtype)
        return keras.ops.cast(image, self.compute_dtype) if "float" in dtype else image

    def _source(self, source: Tensor) -> Tensor:
        """Return coordinates, or what they come from, in a dtype that has digits enough for them."""
        return keras.ops.cast(source, self._wide())

    def _wide(self) -> str:
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _read(self, kind: int, image: Any, source: Sequence[int | None], **own: Any) -> Any:
        """Return the symbolic tensor of what is read, for that of images and the shape of the coordinates' source."""
        given = keras.backend.standardize_dtype(image.dtype)
        dtype = self.compute_dtype if "float" in given else given
        shaped = Shaped(tuple(image.shape), bfloat16("image") if dtype == "bfloat16" else np.dtype(dtype))
        where = Shaped(tuple(source), np.dtype(self._wide()))
        out = output(kind, shaped, where, **self._options(), data_format=self.data_format, **own)
        return keras.KerasTensor(out.shape, dtype=dtype)
