"""ONNX: what stands for stnkit's ops in a file that knows nothing of stnkit.

`torch.onnx.export(model, inputs, dynamo=True, custom_translation_table=translation_table())` writes the standard
GridSample and AffineGrid, with standard nodes around them for what they lack: a fill value, pixel coordinates,
channels last, a shared batch, one axis, other dtypes. What cannot be said so is refused, with the reason.

AffineGrid, and GridSample on three axes, are of opset 20, which is the exporter's default; but that of torch 2.8 is 18.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from onnxscript import ir
from onnxscript import opset18 as op
from onnxscript import opset20 as op20

import stnkit.torch  # noqa: F401  (it registers the ops)
from stnkit import validation
from stnkit.spec import BICUBIC, BILINEAR, BORDER, NEAREST, REFLECTION, ZEROS
from stnkit.torch.onnx.coordinates import (
    Choice,
    Sizes,
    Value,
    batched,
    evaluated,
    extent_of,
    from_pixels,
    integers,
    lattice,
    moved,
    need_opset_20,
    refuse,
    repeated,
)
from stnkit.torch.spline_basis import computed

__all__ = ["translation_table"]

INTERPOLATIONS = {NEAREST: "nearest", BILINEAR: "bilinear", BICUBIC: "bicubic"}
INTERPOLATIONS_20 = {NEAREST: "nearest", BILINEAR: "linear", BICUBIC: "cubic"}
PADDINGS = {ZEROS: "zeros", BORDER: "border", REFLECTION: "reflection"}
FLOATS = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
LONG = {ir.DataType.INT32, ir.DataType.UINT32}  # which are computed in float64
INTEGERS = {ir.DataType.INT8, ir.DataType.INT16, ir.DataType.UINT8, ir.DataType.UINT16, *LONG}


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what `torch.onnx.export(..., dynamo=True)` takes as `custom_translation_table`.

    Returns
    -------
    dict
        From stnkit's ops to functions that write ONNX nodes. A call that ONNX cannot express fails the export with a
        message that names the option.

    Examples
    --------
    >>> from stnkit.torch.onnx import translation_table
    >>> sorted(str(op) for op in translation_table())[:2]
    ['stnkit.affine_grid.default', 'stnkit.affine_sample.default']
    """
    written: dict[str, Callable[..., Any]] = {
        "grid_sample": _grid_sample,
        "affine_sample": _affine_sample,
        "flow_sample": _flow_sample,
        "affine_grid": _affine_grid,
        "flow_grid": _flow_grid,
        "grid_splat": _grid_splat,
        "spline_filter": _spline_filter,
        "thin_plate_spline_table": _thin_plate_spline_table,
    }
    return {getattr(torch.ops.stnkit, name).default: function for name, function in written.items()}


def _grid_sample(image: Value, grid: Value, *, coords: str = "normalized", **choices: Any) -> Value:
    choice = _choice(image, grid, int(grid.shape[-1]), coords=coords, **choices)
    points = batched(choice.cast(grid), grid, choice.axes + 2)
    if choice.options.pixel:
        extent = extent_of(image, choice.axes, choice.options.channels_last)
        choice, points = from_pixels(choice, points, extent)
    return _read(choice, image, points, grid, choice.axes + 2)


def _affine_sample(image: Value, theta: Value, size: Sizes, **choices: Any) -> Value:
    choice = _choice(image, theta, len(size), **choices)
    if choice.options.pixel:
        refuse("`coords='pixel'` of `affine_sample`; bring theta to normalised coordinates")
    points = lattice(choice, batched(choice.cast(theta), theta, 3), size)
    return _read(choice, image, points, theta, 3)


def _flow_sample(image: Value, flow: Value, *, units: str = "pixel", **choices: Any) -> Value:
    choice = _choice(image, flow, int(flow.shape[-1]), units=units, **choices)
    return _read(choice, image, moved(choice, flow), flow, choice.axes + 2)


def _affine_grid(theta: Value, size: Sizes, *, align_corners: bool = False) -> Value:
    choice = _choice(theta, theta, len(size), align_corners=align_corners)
    grid = lattice(choice, batched(choice.cast(theta), theta, 3), size)
    return grid if len(theta.shape) == 3 else op.Squeeze(grid, integers([0]))


def _flow_grid(flow: Value, *, units: str = "pixel", align_corners: bool = False) -> Value:
    choice = _choice(flow, flow, int(flow.shape[-1]), units=units, align_corners=align_corners)
    grid = moved(choice, flow)
    return grid if len(flow.shape) == choice.axes + 2 else op.Squeeze(grid, integers([0]))


def _grid_splat(*_: Value, **__: Any) -> NoReturn:
    refuse("`grid_splat`: it has no operation that adds to an image at coordinates")


def _spline_filter(*_: Value, order: int, **__: Any) -> NoReturn:
    _refuse_mode(f"spline{order}")


def _refuse_mode(mode: str) -> NoReturn:
    refuse(f"`mode` {mode!r}; only {', '.join(map(repr, INTERPOLATIONS.values()))}")


def _thin_plate_spline_table(control_points: Value, size: Sizes, align_corners: bool) -> Value:
    """Write what theta is multiplied by: a constant of the file, computed when the control points are known."""
    if not all(isinstance(n, int) for n in size):
        refuse("a thin plate spline whose output's size is known only when the file is run; pass `size` as integers")
    what = "a thin plate spline whose `control_points` are an input of the file; make them a constant or a buffer"
    known = evaluated(control_points, what)
    shape = ir.Shape((math.prod(size), int(control_points.shape[0])))
    found = ir.LazyTensor(lambda: ir.tensor(computed(known(), size, align_corners).numpy()), ir.DataType.DOUBLE, shape)
    return op.Constant(value=found)


def _choice(
    image: Value,
    source: Value,
    axes: int,
    *,
    mode: str = "bilinear",
    padding_mode: Sequence[str] = ("zeros",),
    fill_value: Sequence[float] = (0.0,),
    align_corners: bool = False,
    data_format: str = "channels_first",
    **unit: str,
) -> Choice:
    """Read the choices of a call, and refuse what ONNX lacks."""
    padding = padding_mode[0] if len(padding_mode) == 1 else tuple(padding_mode)
    options = validation.options(axes, mode, padding, align_corners, data_format, **unit)
    if len(set(options.padding[:axes])) > 1:
        refuse(f"a `padding_mode` for each axis, {padding!r}")
    if options.padding[0] not in PADDINGS:
        refuse(f"`padding_mode` {padding!r}; only {', '.join(map(repr, PADDINGS.values()))}")
    if options.padding[0] == ZEROS and not np.isfinite(fill_value).all():  # which is subtracted, and added again
        refuse(f"a `fill_value` that is not finite, {', '.join(map(str, fill_value))}")
    if image.dtype not in FLOATS | INTEGERS:
        names = sorted(dtype.name for dtype in FLOATS | INTEGERS)
        refuse(f"an image of {image.dtype.name}; only of {', '.join(names)}")
    if options.interp not in INTERPOLATIONS:
        _refuse_mode(mode)
    wide = image.dtype in LONG or ir.DataType.DOUBLE in (image.dtype, source.dtype)
    return Choice(axes, options, fill_value, np.dtype(np.float64 if wide else np.float32))


def _read(choice: Choice, image: Value, points: Value, source: Value, rank: int) -> Value:
    """Sample an image at normalised points, (N, *T, d); `rank` is that of the source with a batch axis."""
    axes, options = choice.axes, choice.options
    planes = batched(choice.cast(image), image, axes + 2)
    if options.channels_last:
        planes = op.Transpose(planes, perm=[0, axes + 1, *range(1, axes + 1)])
    items, others = (v.shape[0] if len(v.shape) == r else 1 for v, r in ((image, axes + 2), (source, rank)))
    if items != others and items == 1:
        planes = repeated(planes, points, axes)
    elif items != others and others == 1:
        points = repeated(points, planes, axes)
    fill = np.asarray(choice.fill) if options.padding[0] == ZEROS else np.zeros(1)
    level = choice.constant(fill.reshape(1, -1, *[1] * axes)) if fill.any() else None
    out = _grid_sample_node(choice, planes if level is None else op.Sub(planes, level), points)
    out = out if level is None else op.Add(out, level)
    if image.dtype in INTEGERS and options.interp != NEAREST:  # round half to even, and saturate
        limits = np.iinfo(image.dtype.numpy())
        out = op.Clip(op.Round(out), choice.constant(limits.min), choice.constant(limits.max))
    if image.dtype != ir.DataType.from_numpy(choice.dtype):
        out = op.Cast(out, to=image.dtype.value)
    if options.channels_last:
        out = op.Transpose(out, perm=[0, *range(2, axes + 2), 1])
    unbatched = len(image.shape) == axes + 1 and len(source.shape) == rank - 1
    return op.Squeeze(out, integers([0])) if unbatched else out


def _grid_sample_node(choice: Choice, planes: Value, points: Value) -> Value:
    """Write a GridSample, on one axis as that of an image one pixel high."""
    options = choice.options
    attributes = {"align_corners": int(options.align), "padding_mode": PADDINGS[options.padding[0]]}
    if choice.axes == 3:
        need_opset_20("three axes")
        return op20.GridSample(planes, points, mode=INTERPOLATIONS_20[options.interp], **attributes)
    if choice.axes == 2:
        return op.GridSample(planes, points, mode=INTERPOLATIONS[options.interp], **attributes)
    planes = op.Unsqueeze(planes, integers([2]))
    points = op.Unsqueeze(op.Pad(points, integers([0, 0, 0, 0, 0, 1])), integers([1]))  # y = 0
    out = op.GridSample(planes, points, mode=INTERPOLATIONS[options.interp], **attributes)
    return op.Squeeze(out, integers([2]))
