"""Keras' functions that warp images, with their signatures, and with every gradient on every backend.

`affine_transform`, `map_coordinates` and `perspective_transform` take the arguments of those in `keras.ops.image`.
"""

from typing import Any

import keras

from stnkit.keras.operations import AffineTransform, MapCoordinates, PerspectiveTransform, Read, eager

__all__ = ["affine_transform", "map_coordinates", "perspective_transform"]

Tensor = Any


def affine_transform(
    images: Tensor,
    transform: Tensor,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Read images under projective maps of pixels: a drop-in for `keras.ops.image.affine_transform`.

    Parameters
    ----------
    images : tensor of shape (N, H, W, C) or (N, C, H, W), or without N
        The images.
    transform : tensor of shape (N, 8) or (8,)
        In each row a0, a1, a2, b0, b1, b2, c0, c1: the output's pixel (x, y) reads the image's pixel
        ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), where k = c0 x + c1 y + 1. All of them count on every backend,
        and all have gradients.
    interpolation : {"bilinear", "nearest"}
        How pixels are read. A tie of "nearest" goes to the even pixel.
    fill_mode : {"constant", "nearest", "wrap", "reflect"}
        What stands outside; "mirror" is accepted too, as in `map_coordinates`.
    fill_value : float
        What "constant" reads there. Where k is 0, it is read in every mode.
    data_format : {"channels_first", "channels_last"}, optional
        That of Keras' configuration if left out.

    Returns
    -------
    tensor
        Of the shape and dtype of the images.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import ops
    >>> image = np.array([[[1.0], [2.0], [4.0]]], "float32")
    >>> shift = np.array([1, 0, 0.5, 0, 1, 0, 0, 0], "float32")
    >>> keras.ops.convert_to_numpy(ops.affine_transform(image, shift, data_format="channels_last")).tolist()
    [[[1.5], [3.0], [2.0]]]
    """
    options = interpolation, fill_mode, fill_value, _layout(data_format)
    return _called(AffineTransform, options, images, transform)


def perspective_transform(
    images: Tensor,
    start_points: Tensor,
    end_points: Tensor,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Read images so that four points move to four others: a drop-in for `keras.ops.image.perspective_transform`.

    Parameters
    ----------
    images : tensor of shape (N, H, W, C) or (N, C, H, W), or without N
        The images.
    start_points, end_points : tensor of shape (N, 4, 2) or (4, 2)
        Pixels (x, y) of the image, and where they are in the output.
    interpolation, fill_value, data_format
        The options of `affine_transform`, outside which is "constant".

    Returns
    -------
    tensor
        Of the shape and dtype of the images. It has gradients to both sets of points.

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is unknown.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import ops
    >>> image = np.arange(4, dtype="float32").reshape(2, 2, 1)
    >>> start = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32")
    >>> flipped = ops.perspective_transform(image, start, start[[1, 0, 3, 2]], data_format="channels_last")
    >>> keras.ops.convert_to_numpy(flipped).round(4)[..., 0].tolist()
    [[1.0, 0.0], [3.0, 2.0]]
    """
    options = interpolation, fill_value, _layout(data_format)
    return _called(PerspectiveTransform, options, images, start_points, end_points)


def map_coordinates(
    inputs: Tensor, coordinates: Tensor, order: int, fill_mode: str = "constant", fill_value: float = 0
) -> Tensor:
    """Read an array at coordinates: a drop-in for `keras.ops.image.map_coordinates`.

    Parameters
    ----------
    inputs : tensor of shape (D, H, W), or with fewer axes
        The array.
    coordinates : tensor of shape (d, ...)
        An index along each axis of `inputs`, in their order, for each location.
    order : {0, 1}
        0 reads the nearest element, and of a tie the even one; 1 interpolates linearly.
    fill_mode : {"constant", "nearest", "wrap", "mirror", "reflect"}
        What stands outside.
    fill_value : float
        What "constant" reads there.

    Returns
    -------
    tensor of shape (...)
        In the dtype of `inputs`.

    Raises
    ------
    ValueError
        If `inputs` has no axis or more than three, a shape does not fit, or a name is unknown.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import ops
    >>> read = ops.map_coordinates(np.array([1.0, 2.0, 4.0], "float32"), np.array([[0.5, 1.5]], "float32"), 1)
    >>> keras.ops.convert_to_numpy(read).tolist()
    [1.5, 3.0]
    """
    return _called(MapCoordinates, (order, fill_mode, fill_value), inputs, coordinates)


def _layout(data_format: str | None) -> str | None:
    """Return a layout, or that of Keras' configuration, which may change between calls."""
    return keras.config.image_data_format() if data_format is None else data_format


def _called(kind: type[Read], options: tuple[Any, ...], *tensors: Tensor) -> Tensor:
    """Call an operation; where a tensor is symbolic, one of its own, which becomes a node of a model."""
    if any(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        return kind(*options).symbolic_call(*tensors)
    return eager(kind, options).call(*tensors)
