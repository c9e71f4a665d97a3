"""What a choice of `stnkit compile` stands for: calls of a public function, and their kernels."""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import stnkit
from stnkit.dtypes import FLOAT32, FLOAT64, bfloat16, is_float
from stnkit.kernels.compiler.monitor import Tally, collecting

OPERATIONS = tuple(name for name in stnkit.__all__ if name != "compile_ahead")
WORK = ((8, 8), (2, 1 << 14))  # batches, and locations of an item: derivatives are done in one pass, and in two
POINTS = 9  # control points of a spline

Shape = tuple[int, ...]


class Choice(NamedTuple):
    """One call's choices, without those that its function does not have."""

    operation: str
    axes: int
    dtype: str
    channels: int
    options: tuple[tuple[str, Any], ...]


class ShapeDtype(NamedTuple):
    """The shape and dtype of an array that is not there."""

    shape: Shape
    dtype: np.dtype[Any]


def choices(
    operations: Sequence[str],
    axes: Sequence[int],
    dtypes: Sequence[str],
    channels: Sequence[int],
    **options: Sequence[Any],
) -> list[Choice]:
    """List every choice once, in the order of the operations, which are names of public functions.

    Dtypes are those of images; coordinates are float64 beside float64, and float32 else. Functions that lack one of the
    options are taken without.
    """
    found: dict[Choice, None] = {}
    for operation in operations:
        parameters = inspect.signature(getattr(stnkit, operation)).parameters
        own = {word: given for word, given in options.items() if word in parameters}
        for d, dtype, *values in itertools.product(axes, dtypes, *own.values()):
            words = tuple(zip(own, values, strict=True))
            counts = channels if ("data_format", "channels_last") in words else channels[:1]  # else any will do
            found |= {Choice(operation, d, dtype, count, words): None for count in counts}
    return list(found)


def calls(choice: Choice) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Yield the calls whose kernels are all that a choice needs: stand-ins of positional arguments, and options.

    The stand-in is None for the tangent of an image that has none.
    """
    image_dtype = bfloat16("image") if choice.dtype == "bfloat16" else np.dtype(choice.dtype)
    wide = FLOAT64 if image_dtype == FLOAT64 else FLOAT32
    dtypes = {"image": image_dtype, "d_image": image_dtype, "dd_image": image_dtype, "values": image_dtype}
    options = dict(choice.options)
    function = getattr(stnkit, choice.operation)
    parameters = inspect.signature(function).parameters
    if "wrt" in options:
        image, source = parameters["wrt"].default
        options["wrt"] = {"both": (image, source), "image": image, "source": source}[options["wrt"]]
    arrays = names(function)
    if not choice.operation.endswith("_grid_vjp"):
        dtypes["cotangent"] = (
            wide if choice.operation == "spline_filter_vjp" or not is_float(image_dtype) else image_dtype
        )
    if "image" in arrays and "wrt" in parameters and not is_float(image_dtype):
        options["wrt"] = parameters["wrt"].default[1]  # the coordinates: images of integers have no derivative
    for batch, points in WORK:
        shapes = _shapes(choice, batch, (round(points ** (1 / choice.axes)),) * choice.axes)
        yield [_argument(name, shapes, dtypes, wide) for name in arrays], options


def compile_choice(choice: Choice) -> Tally:
    """Compile the kernels of a choice that are not there; return all that it has.

    These are none where stnkit refuses a call, as it refuses to blend 64-bit integers.
    """
    with collecting() as tally, contextlib.suppress(TypeError, ValueError):
        for arguments, options in calls(choice):
            stnkit.compile_ahead(getattr(stnkit, choice.operation), *arguments, **options)
    return tally


def names(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's positional arguments."""
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]


def _argument(name: str, shapes: dict[str, Shape], dtypes: dict[str, np.dtype[Any]], wide: np.dtype[Any]) -> Any:
    shape = shapes[name.removeprefix("dd_").removeprefix("d_")]
    if name in ("d_image", "dd_image") and not is_float(dtypes["image"]):
        return None
    return shape if name == "size" else ShapeDtype(shape, dtypes.get(name, wide))


def _shapes(choice: Choice, batch: int, size: Shape) -> dict[str, Shape]:
    """Return the shapes of arguments by name, for images and outputs of one size."""
    last = ("data_format", "channels_last") in choice.options
    d, picture = len(size), (batch, *size, choice.channels) if last else (batch, choice.channels, *size)
    field = (batch, *size, d)
    maps = {"affine": (batch, d, d + 1), "projective": (batch, d + 1, d + 1), "thin": (batch, POINTS, d)}
    return {
        **dict.fromkeys(("image", "values"), picture),
        **dict.fromkeys(("grid", "flow"), field),
        "theta": maps.get(choice.operation.partition("_")[0], ()),
        "control_points": (POINTS, d),
        "cotangent": field if choice.operation.endswith("_grid_vjp") else picture,
        "size": size,
    }
