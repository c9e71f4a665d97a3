"""Which parameters leave an image as it is, and how many a transform has."""

import math

from stnkit import validation
from stnkit.calls.control_points import as_float64, control_lattice
from stnkit.transforms.namespaces import Array, entered

SPLINE = "thin_plate_spline"
SIDE = 4  # control points along each axis of a spline whose control points are not given
LATTICES = {axes: control_lattice((SIDE,) * axes) for axes in (1, 2, 3)}

IDENTITIES: dict[str, dict[int, tuple[float, ...]]] = {
    "affine": {1: (1, 0), 2: (1, 0, 0, 0, 1, 0), 3: (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)},
    "attention": {1: (1, 0), 2: (1, 0, 0), 3: (1, 0, 0, 0)},
    "similarity": {2: (1, 0, 0, 0), 3: (1, 0, 0, 0, 0, 0, 0)},
    "rotation": {2: (0,), 3: (0, 0, 0)},
    "projective": {1: (1, 0, 0), 2: (1, 0, 0, 0, 1, 0, 0, 0), 3: (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0)},
    SPLINE: {axes: tuple(points.ravel().tolist()) for axes, points in LATTICES.items()},
}
"""The parameters that leave an image as it is, by the name of the transform, and then by the number of axes."""


def identity_parameters(transform: str, axes: int = 2, *, control_points: Array = None) -> tuple[float, ...]:
    """Return the parameters under which a transform is the identity.

    Parameters
    ----------
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        Its name.
    axes : int
        The number of spatial axes, 1 to 3; a similarity and a rotation need 2 or 3.
    control_points : array of shape (K, d), optional
        Of a thin plate spline, which reads each where it is. They say the number of axes; a regular lattice of 4 along
        each axis is taken if they are left out.

    Returns
    -------
    tuple of float
        As many as the transform has parameters.

    Raises
    ------
    ValueError
        If the name is unknown, or the transform does not act on so many axes or has no control points.

    Examples
    --------
    >>> from stnkit.transforms import identity_parameters
    >>> identity_parameters("attention")
    (1, 0, 0)
    """
    own: dict[int, tuple[float, ...]] = validation.choice("transform", transform, IDENTITIES)
    if control_points is not None:
        refuse_points(transform)
        (points,), _ = entered(control_points=control_points)
        numbers: tuple[float, ...] = tuple(as_float64(points).ravel().tolist())
        return numbers
    if axes not in own:
        msg = f"`axes` must be one of {', '.join(map(str, own))} for {transform!r}; got {axes!r}"
        raise ValueError(msg)
    return own[axes]


def refuse_points(transform: str) -> None:
    """Refuse control points beside a transform that has none."""
    if transform != SPLINE:
        msg = f"`control_points` are those of {SPLINE!r}; got some beside {transform!r}"
        raise ValueError(msg)


def axes_of(transform: str, shape: tuple[int, ...], control: tuple[int, ...] | None = None) -> int:
    """Return on how many axes a transform acts, as the number of its parameters tells.

    Parameters
    ----------
    transform : str
        A name of `TRANSFORMS`.
    shape : tuple of int
        The shape of the parameters, whose last axis has all of one map.
    control : tuple of int, optional
        The shape (K, d) of a spline's control points, if they are given.

    Returns
    -------
    int
        1, 2 or 3.

    Raises
    ------
    ValueError
        If the name is unknown, the transform does not have so many parameters on any number of axes, or `control` is
        given to a transform without control points.
    TypeError
        If `shape` is a number.

    Examples
    --------
    >>> from stnkit.transforms import axes_of
    >>> axes_of("affine", (8, 6))
    2
    """
    own: dict[int, tuple[float, ...]] = validation.choice("transform", transform, IDENTITIES)
    accepted = {len(numbers): axes for axes, numbers in own.items()}
    if control is not None:
        refuse_points(transform)
        accepted = {math.prod(control): validation.control_axes(control)}
    if not hasattr(shape, "__getitem__"):
        msg = f"`shape` must be a tuple of integers, as arrays have it; got {shape!r}"
        raise TypeError(msg)
    if not shape or shape[-1] not in accepted:
        counts = " or ".join(f"{count} ({axes}-D)" for count, axes in accepted.items())
        msg = f"`parameters` of {transform!r} must have {counts} numbers along the last axis; got shape {tuple(shape)}"
        raise ValueError(msg)
    return accepted[shape[-1]]
