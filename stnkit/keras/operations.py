"""The operations of `stnkit.keras.ops`: eager, or nodes of a functional model, which a file can hold."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import keras

import stnkit
from stnkit import validation
from stnkit.calls.arguments import BOUNDARY_MODES
from stnkit.keras._compat import backend, is_compiling
from stnkit.spec import DATA_FORMATS

Tensor = Any

INTERPOLATIONS = {"nearest": "nearest", "bilinear": "bilinear"}
WIDER = {"bool": "float32", "int64": "float64"}  # in which is interpolated what kernels only move; halves go to even
ORDERS = {0: "nearest", 1: "bilinear"}

registered = keras.saving.register_keras_serializable(package="stnkit")


class Read(keras.Operation):  # type: ignore[misc]  # as Keras' operations are not typed
    """An operation that reads an array elsewhere: `read` does it with an array that has been checked."""

    options: tuple[Any, ...]  # the arguments that make an operation like this one
    read: Callable[..., Tensor]

    def call(self, *given: Tensor) -> Tensor:
        """Read an array; in JAX as one program, as steps that are called one by one take longer than all their work."""
        tensors = [keras.ops.convert_to_tensor(one) for one in given]
        self.compute_output_spec(*tensors)  # refuses what does not fit
        read = self.read
        if backend() == "jax":
            read = _program(type(self), *self.options)  # type: ignore[arg-type]  # mypy has it that classes have no hash
        return read(*tensors)


def eager(kind: type[Read], options: tuple[Any, ...]) -> Read:
    """Return an operation for eager calls: it is kept, as Keras takes longer to make one than a small call does."""
    if is_compiling() or not all(isinstance(option, (str, int, float)) and option == option for option in options):
        return kind(*options)  # a fill value may be a tensor of one number, which may change
    return _kept(kind, *options)  # type: ignore[arg-type]  # mypy has it that classes have no hash


@functools.lru_cache(maxsize=256, typed=True)  # 0 and 0.0 differ for images of integers
def _kept(kind: type[Read], *options: Any) -> Read:
    return kind(*options)


@functools.lru_cache(maxsize=256, typed=True)
def _program(kind: type[Read], *options: Any) -> Callable[..., Tensor]:
    import jax

    program: Callable[..., Tensor] = jax.jit(kind(*options).read)
    return program


class Warp(Read):
    """An operation that reads images at pixels that a row of eight numbers gives for each of the output's."""

    def __init__(
        self,
        interpolation: str = "bilinear",
        fill_mode: str = "constant",
        fill_value: float = 0,
        data_format: str | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        validation.choice("interpolation", interpolation, INTERPOLATIONS)
        validation.choice("fill_mode", fill_mode, BOUNDARY_MODES)
        self.interpolation = interpolation
        self.fill_mode = fill_mode
        self.fill_value = _number(fill_value)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        validation.choice("data_format", self.data_format, DATA_FORMATS)
        self.options = self.interpolation, self.fill_mode, self.fill_value, self.data_format

    def _check(self, images: Any) -> None:
        if len(images.shape) not in (3, 4):
            layout = "(N, H, W, C)" if self.data_format == "channels_last" else "(N, C, H, W)"
            msg = f"`images` must have shape {layout}, N optional; got {tuple(images.shape)}"
            raise ValueError(msg)

    def _warp(self, images: Tensor, rows: Tensor) -> Tensor:
        """Read images under projective maps of pixels."""
        if len(images.shape) == 3 and len(rows.shape) == 2:
            rows = rows[0]
        dtype = rows.dtype
        shape = keras.ops.shape(images)
        *_, height, width, _ = shape if self.data_format == "channels_last" else (*shape, None)
        x = keras.ops.arange(width, dtype=dtype)[None, :]
        y = keras.ops.arange(height, dtype=dtype)[:, None]
        a0, a1, a2, b0, b1, b2, c0, c1 = (rows[..., i, None, None] for i in range(8))
        depth = c0 * x + c1 * y + 1
        planes = keras.ops.stack([(a0 * x + a1 * y + a2) / depth, (b0 * x + b1 * y + b2) / depth])
        grid = keras.ops.moveaxis(planes, 0, -1)  # in JAX much faster than a stack along the last axis
        return _read(images, grid, self.interpolation, self.fill_mode, self.fill_value, self.data_format)


@registered
class AffineTransform(Warp):
    """What `ops.affine_transform` does."""

    def read(self, images: Tensor, transform: Tensor) -> Tensor:
        """Read images."""
        return self._warp(images, keras.ops.cast(transform, _wide(images, transform)))

    def compute_output_spec(self, images: Any, transform: Any) -> Any:
        """Return the symbolic tensor of what is read; refuse what does not fit."""
        self._check(images)
        shape = tuple(transform.shape)
        if len(shape) not in (1, 2) or shape[-1] not in (8, None):
            msg = f"`transform` must have shape (N, 8) or (8,); got {shape}"
            raise ValueError(msg)
        return _read_spec(images, "transform", shape[:-1])


@registered
class PerspectiveTransform(Warp):
    """What `ops.perspective_transform` does."""

    def __init__(
        self,
        interpolation: str = "bilinear",
        fill_value: float = 0,
        data_format: str | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(interpolation, "constant", fill_value, data_format, name=name)
        self.options = self.interpolation, self.fill_value, self.data_format

    def read(self, images: Tensor, start_points: Tensor, end_points: Tensor) -> Tensor:
        """Read images."""
        wide = _wide(images, start_points)
        return self._warp(images, homography(*(keras.ops.cast(points, wide) for points in (start_points, end_points))))

    def compute_output_spec(self, images: Any, start_points: Any, end_points: Any) -> Any:
        """Return the symbolic tensor of what is read; refuse what does not fit."""
        self._check(images)
        for name, points in (("start_points", start_points), ("end_points", end_points)):
            if len(points.shape) not in (2, 3) or tuple(points.shape[-2:]) != (4, 2):
                msg = f"`{name}` must have shape (N, 4, 2) or (4, 2); got {tuple(points.shape)}"
                raise ValueError(msg)
        if tuple(start_points.shape) != tuple(end_points.shape):
            shapes = f"{tuple(start_points.shape)} and {tuple(end_points.shape)}"
            msg = f"`start_points` and `end_points` must have the same shape; got {shapes}"
            raise ValueError(msg)
        return _read_spec(images, "start_points", tuple(start_points.shape[:-2]))


@registered
class MapCoordinates(Read):
    """What `ops.map_coordinates` does."""

    def __init__(
        self, order: int, fill_mode: str = "constant", fill_value: float = 0, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        validation.choice("fill_mode", fill_mode, BOUNDARY_MODES)
        if not hasattr(order, "__index__") or operator.index(order) not in ORDERS:
            msg = f"`order` must be one of {', '.join(map(str, ORDERS))}; got {order!r}"
            raise ValueError(msg)
        self.order = operator.index(order)
        self.fill_mode = fill_mode
        self.fill_value = _number(fill_value)
        self.options = self.order, self.fill_mode, self.fill_value

    def read(self, inputs: Tensor, coordinates: Tensor) -> Tensor:
        """Read an array."""
        axes = len(inputs.shape)
        points = keras.ops.cast(coordinates, _wide(inputs, coordinates))
        shape = keras.ops.shape(points)[1:]
        points = keras.ops.reshape(points, (axes, -1))
        sampler: Callable[..., Tensor] = stnkit.grid_sample
        if backend() == "jax":  # where a grid would be a copy
            from stnkit.jax.samplers import sample_at

            sampler = sample_at
        else:
            grid = keras.ops.transpose(keras.ops.flip(points, axis=0))
            points = keras.ops.reshape(grid, (*(1,) * (axes - 1), -1, axes))
        options = ORDERS[self.order], self.fill_mode, self.fill_value, "channels_first"
        return keras.ops.reshape(_read(inputs[None], points, *options, sampler), shape)

    def compute_output_spec(self, inputs: Any, coordinates: Any) -> Any:
        """Return the symbolic tensor of what is read; refuse what does not fit."""
        axes, shape = len(inputs.shape), tuple(coordinates.shape)
        if axes not in (1, 2, 3):
            msg = f"`inputs` must have 1 to 3 axes; got shape {tuple(inputs.shape)}"
            raise ValueError(msg)
        if len(shape) < 2 or shape[0] != axes:
            msg = f"`coordinates` must have shape ({axes}, ...), an index along each axis of `inputs`; got {shape}"
            raise ValueError(msg)
        return keras.KerasTensor(shape[1:], dtype=inputs.dtype)


def _number(fill_value: Any) -> float:
    """Return a fill value as a number of Python's, which tells programs apart."""
    try:
        number = fill_value if isinstance(fill_value, int) else float(fill_value)
    except (TypeError, ValueError) as error:
        msg = f"`fill_value` must be a real number; got {fill_value!r}"
        raise TypeError(msg) from error
    return number if number == number else math.nan  # one NaN: others are not even equal to themselves


def homography(start: Tensor, end: Tensor) -> Tensor:
    """Return the rows of eight numbers under which the output's points `end` read the points `start`.

    Each pair gives two equations that are linear in the eight: a0 x + a1 y + a2 - u (c0 x + c1 y) = u, for the end
    (x, y) and the first coordinate u of the start, and the like with b for the second.
    """
    x, y = end[..., 0], end[..., 1]
    one, zero = keras.ops.ones_like(x), keras.ops.zeros_like(x)
    first, second = [x, y, one, zero, zero, zero], [zero, zero, zero, x, y, one]
    sides = [start[..., 0], start[..., 1]]
    rows = [[*terms, -u * x, -u * y] for terms, u in zip((first, second), sides, strict=True)]
    matrix = keras.ops.concatenate([keras.ops.stack(row, axis=-1) for row in rows], axis=-2)
    return keras.ops.solve(matrix, keras.ops.concatenate(sides, axis=-1)[..., None])[..., 0]


def _read(
    images: Tensor,
    grid: Tensor,
    mode: str,
    fill_mode: str,
    fill_value: float,
    data_format: Any,
    sampler: Callable[..., Tensor] = stnkit.grid_sample,
) -> Tensor:
    own = keras.backend.standardize_dtype(images.dtype)
    if mode == "bilinear" and own in WIDER:
        wide = keras.ops.cast(images, WIDER[own])
        read = _read(wide, grid, mode, fill_mode, fill_value, data_format, sampler)
        return keras.ops.cast(keras.ops.round(read), own)
    padding, align = BOUNDARY_MODES[fill_mode]
    return sampler(
        images,
        grid,
        mode=mode,
        padding_mode=padding,
        fill_value=fill_value,
        align_corners=align,
        coords="pixel",
        data_format=data_format,
    )


def _wide(images: Tensor, coordinates: Tensor) -> str:
    """Return the dtype of coordinates."""
    given = [keras.backend.standardize_dtype(array.dtype) for array in (images, coordinates)]
    return "float64" if "float64" in given else "float32"


def _read_spec(images: Any, name: str, batch: tuple[int | None, ...]) -> Any:
    """Return the symbolic tensor of images read under a batch of maps; refuse batches that do not fit."""
    ours, (theirs,) = images.shape[0] if len(images.shape) == 4 else 1, batch or (1,)
    sizes = {ours, theirs} - {1, None}
    if len(sizes) > 1 or (sizes and len(images.shape) == 3):
        msg = f"`images` and `{name}` must have the same batch size, or one of them 1; got {ours} and {theirs}"
        raise ValueError(msg)
    shape = tuple(images.shape)
    if len(shape) == 4:
        shape = (theirs if ours == 1 else ours, *shape[1:])
    return keras.KerasTensor(shape, dtype=keras.backend.standardize_dtype(images.dtype))
