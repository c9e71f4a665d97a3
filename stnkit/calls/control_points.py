"""Control points of thin plate splines: laid out, viewed, and what their lattice is known by."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.backends import interop
from stnkit.backends.cuda.array import DeviceArray
from stnkit.calls.arguments import Array
from stnkit.dtypes import FLOAT32, FLOAT64, arithmetic


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


def entered(control_points: Array) -> np.ndarray:
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


def fixed(control: np.ndarray, *dtypes: np.dtype[Any]) -> bytes:
    """Return control points as what their lattice is known by; refuse those that determine no spline.

    If dtypes are given, of theta and of an image, those are refused too for which the kernels would need more digits.
    """
    from stnkit.plans import thin_plates

    validation.coordinate_dtype("control_points", control.dtype)
    key = np.ascontiguousarray(control, FLOAT64).tobytes()
    thin_plates.solution(key, control.shape[-1])
    if dtypes and arithmetic(*dtypes) == FLOAT32:
        thin_plates.refuse_float32(key, control.shape[-1])
    return key


def known(control_points: Array) -> np.ndarray:
    """Return control points of any framework in float64."""
    control = entered(control_points)
    validation.coordinate_dtype("control_points", control.dtype)
    return np.asarray(control, FLOAT64)
