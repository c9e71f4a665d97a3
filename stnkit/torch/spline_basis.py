"""What the grid of thin plate splines takes of theta: a table, made of the control points alone."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from stnkit import validation
from stnkit.calls.control_points import as_float64
from stnkit.dtypes import FLOAT64
from stnkit.plans import thin_plates
from stnkit.torch import _compat, memory
from stnkit.torch.autograd import stands_for_another, transformed
from stnkit.torch.operations import NAMESPACE
from stnkit.torch.registration import LIBRARY


def constant_tensor(control_points: Any) -> torch.Tensor:
    """Return control points of any framework as a tensor; refuse those that have a derivative."""
    if isinstance(control_points, np.ndarray):
        control_points = torch.from_numpy(control_points)
    elif not isinstance(control_points, torch.Tensor):
        control_points = torch.from_numpy(as_float64(control_points))
    moves = _compat.is_forward_mode_on() and forward_ad.unpack_dual(control_points).tangent is not None
    if control_points.requires_grad or moves:
        msg = "`control_points` are constants, of which no derivative is given; pass `control_points.detach()`"
        raise TypeError(msg)
    return control_points


def table(control_points: torch.Tensor, size: Sequence[Any], align: bool, like: torch.Tensor) -> torch.Tensor:
    """Return what theta is multiplied by. A compiler, which does not know the control points, records the call."""
    if transformed():
        found = getattr(torch.ops, NAMESPACE).thin_plate_spline_table(control_points, size, align)
    else:
        found = computed(control_points, size, align)
    return found.to(like.dtype).to(like.device)


def constant(control_points: Any) -> Any:
    """Return control points in float64: as a NumPy array, where their numbers are known."""
    if isinstance(control_points, np.ndarray) and not torch.compiler.is_compiling():
        return as_float64(control_points)
    control_points = constant_tensor(control_points)
    refuse_integers("control_points", control_points)
    wide = control_points.detach().double()
    return wide if torch.compiler.is_compiling() or stands_for_another(wide) else memory.as_array(wide.cpu())


def computed(control_points: torch.Tensor, size: Sequence[int], align: bool) -> torch.Tensor:
    """Return the table of control points whose numbers are known, which is shared."""
    refuse_integers("control_points", control_points)
    control = np.ascontiguousarray(control_points.detach().double().cpu().numpy(), FLOAT64)
    return torch.from_numpy(thin_plates.table(control.tobytes(), tuple(size), align))


def _kept(control_points: torch.Tensor, size: Sequence[int], align: bool) -> torch.Tensor:
    """Return the table as the operation does: its result is the caller's own."""
    return computed(control_points, size, align).clone().to(control_points.device)


def _described(control_points: torch.Tensor, size: Sequence[Any], align: bool) -> torch.Tensor:
    points = functools.reduce(lambda a, b: a * b, size, 1)
    return control_points.new_empty((points, control_points.shape[0]), dtype=torch.float64)


def register() -> None:
    """Register what compilers record, once in a process."""
    name = "thin_plate_spline_table"
    if not hasattr(getattr(torch.ops, NAMESPACE), name):
        schema = f"{name}(Tensor control_points, SymInt[] size, bool align_corners) -> Tensor"
        LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        for device in ("CPU", "CUDA"):
            LIBRARY.impl(name, _kept, device)
        torch.library.register_fake(f"{NAMESPACE}::{name}", _described, lib=LIBRARY)


def refuse_integers(name: str, tensor: torch.Tensor) -> None:
    """Refuse a tensor that is no floating point."""
    if not tensor.is_floating_point():
        validation.coordinate_dtype(name, np.dtype(str(tensor.dtype).removeprefix("torch.")))


register()
