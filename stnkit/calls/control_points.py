"""Control points of thin plate splines: a lattice of them, views of them, and the key of their solution."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.backends import interop
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls.arguments import Array
from stnkit.dtypes import FLOAT32, FLOAT64, arithmetic
from stnkit.plans import thin_plates


def control_lattice(shape: Sequence[int]) -> np.ndarray:
    """Lay control points out as a regular lattice from -1 to 1 along every axis.

    Parameters
    ----------
    shape : sequence of int
        How many points there are along each axis: (W,), (H, W) or (D, H, W), 2 or more each.

    Returns
    -------
    numpy.ndarray of shape (K, d)
        Positions in x, y, z order, K of them, the last axis of `shape` running fastest. As `theta`, they are the
        identity.

    Raises
    ------
    ValueError
        If there are fewer than 1 or more than 3 axes, or fewer than 2 points along one.
    TypeError
        If `shape` is no sequence of integers.

    Examples
    --------
    >>> from stnkit.transforms import control_lattice
    >>> control_lattice((2, 2))
    array([[-1., -1.],
           [ 1., -1.],
           [-1.,  1.],
           [ 1.,  1.]])
    """
    counts = validation.lattice(shape)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in counts), indexing="ij")
    return np.stack([axis.ravel() for axis in axes[::-1]], axis=-1)


def viewed(control_points: Array) -> np.ndarray:
    """View control points, which are constants: they may be of another framework than what has derivatives."""
    if getattr(control_points, "requires_grad", False):
        msg = "`control_points` are constants, of which no derivative is given; pass `control_points.detach()`"
        raise TypeError(msg)
    (control,), _ = interop.import_arrays(control_points=control_points)
    if type(control) is DeviceArray:
        msg = (
            f"`control_points` lie on CUDA device {control.context.device}; "
            "they are constants: pass them in main memory"
        )
        raise TypeError(msg)
    view: np.ndarray = control
    return view


def key_of(control: np.ndarray, *dtypes: np.dtype[Any]) -> bytes:
    """Return the key of control points: their bytes in float64. Refuse those that determine no spline.

    If dtypes are given, of theta and of an image, those are refused too for which the kernels would need more digits.
    """
    validation.coordinate_dtype("control_points", control.dtype)
    key = np.ascontiguousarray(control, FLOAT64).tobytes()
    thin_plates.solution(key, control.shape[-1])
    if dtypes and arithmetic(*dtypes) == FLOAT32:
        thin_plates.refuse_float32(key, control.shape[-1])
    return key


def as_float64(control_points: Array) -> np.ndarray:
    """Return control points of any framework in float64."""
    control = viewed(control_points)
    validation.coordinate_dtype("control_points", control.dtype)
    return np.asarray(control, FLOAT64)
