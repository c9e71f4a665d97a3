"""Theta from a row of numbers: what a localisation network has to output for each kind of map.

Every function takes parameters of shape (..., K) and returns theta, which maps output to input in normalised
coordinates, x before y before z: of shape (..., d, d + 1) where maps are affine. How many parameters there are tells
the number of axes; `IDENTITIES` has those that leave an image as it is. Integers become the default floating point of
their framework, and lists and numbers are what `numpy.asarray` makes of them.
"""

from collections.abc import Callable

from stnkit.transforms.identity_parameters import SPLINE, axes_of
from stnkit.transforms.namespaces import Array, Namespace, on_floats, shape_of
from stnkit.transforms.rotations import Rows, turn


@on_floats
def affine_from_parameters(parameters: Array, *, xp: Namespace = None) -> Array:
    """Arrange the entries of affine maps as matrices.

    Parameters
    ----------
    parameters : array of shape (..., d (d + 1))
        The entries of theta row by row, 2, 6 or 12 for d = 1, 2 or 3 axes: the numbers themselves, not their
        distance from the identity.
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., d, d + 1)
        Theta.

    Raises
    ------
    ValueError
        If the number of parameters does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import affine_from_parameters
    >>> affine_from_parameters(np.array([1.0, 0.0, 0.5, 0.0, 1.0, 0.0]))
    array([[1. , 0. , 0.5],
           [0. , 1. , 0. ]])
    """
    axes = axes_of("affine", parameters.shape)
    return xp.reshape(parameters, (*parameters.shape[:-1], axes, axes + 1))


@on_floats
def attention(parameters: Array, *, xp: Namespace = None) -> Array:
    """Read a window: an isotropic scale and a translation.

    Parameters
    ----------
    parameters : array of shape (..., d + 1)
        The size of the window as a share of the image, then its centre in x, y, z order.
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., d, d + 1)
        Theta.

    Raises
    ------
    ValueError
        If the number of parameters does not fit.

    References
    ----------
    Jaderberg et al., "Spatial Transformer Networks", 2015, equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import attention
    >>> attention(np.array([0.5, 0.25, -0.25]))
    array([[ 0.5 ,  0.  ,  0.25],
           [ 0.  ,  0.5 , -0.25]])
    """
    axes = axes_of("attention", parameters.shape)
    scale, *shift = _split(parameters)
    zero = xp.zeros_like(scale)
    rows = [[scale if i == j else zero for j in range(axes)] for i in range(axes)]
    return _theta(rows, shift, xp)


@on_floats
def similarity(parameters: Array, *, xp: Namespace = None) -> Array:
    """Read a turned window: an isotropic scale, a rotation and a translation.

    Parameters
    ----------
    parameters : array of shape (..., 4) or (..., 7)
        The scale; the rotation, as for `rotation`: 1 number on two axes, 3 on three; then the translation in
        x, y, z order. Theta is [scale R | translation].
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., 2, 3) or (..., 3, 4)
        Theta.

    Raises
    ------
    ValueError
        If the number of parameters does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import similarity
    >>> similarity(np.array([2.0, np.pi / 2, 0.0, 1.0])).round(3)
    array([[ 0., -2.,  0.],
           [ 2.,  0.,  1.]])
    """
    axes = axes_of("similarity", parameters.shape)
    scale, *rest = _split(parameters)
    angles, shift = rest[:-axes], rest[-axes:]
    return _theta([[scale * entry for entry in row] for row in turn(angles, xp)], shift, xp)


@on_floats
def rotation(parameters: Array, *, xp: Namespace = None) -> Array:
    """Turn about the centre, in normalised coordinates.

    Parameters
    ----------
    parameters : array of shape (..., 1) or (..., 3)
        On two axes the angle in radians, from x towards y: what the image shows is turned counter-clockwise. On
        three axes a rotation vector: its direction is the axis and its length the angle.
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., 2, 3) or (..., 3, 4)
        Theta, whose translation is zero.

    Raises
    ------
    ValueError
        If the number of parameters does not fit.

    Notes
    -----
    Normalised coordinates run from -1 to 1 along every axis, so an image whose sides differ is sheared by a
    rotation of them.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import rotation
    >>> rotation(np.array([np.pi / 2])).round(3)
    array([[ 0., -1.,  0.],
           [ 1.,  0.,  0.]])
    """
    axes = axes_of("rotation", parameters.shape)
    angles = _split(parameters)
    return _theta(turn(angles, xp), [xp.zeros_like(angles[0])] * axes, xp)


@on_floats
def projective_from_parameters(parameters: Array, *, xp: Namespace = None) -> Array:
    """Arrange the entries of projective maps as matrices, whose last entry is 1.

    Parameters
    ----------
    parameters : array of shape (..., (d + 1)^2 - 1)
        The entries of theta row by row but for the last, 3, 8 or 15 for d = 1, 2 or 3 axes: the numbers themselves,
        not their distance from the identity.
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., d + 1, d + 1)
        Theta.

    Raises
    ------
    ValueError
        If the number of parameters does not fit.

    Notes
    -----
    Theta and a positive multiple of it are the same map, so that one number is free. A last entry of 1 keeps the
    output's centre in front of the horizon, and leaves out only maps that show nothing there.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import projective_from_parameters
    >>> projective_from_parameters(np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0]))
    array([[1. , 0. , 0. ],
           [0. , 1. , 0. ],
           [0.5, 0. , 1. ]])
    """
    axes = axes_of("projective", parameters.shape)
    numbers = _split(parameters)
    entries = xp.stack([*numbers, xp.ones_like(numbers[0])], axis=-1)
    return xp.reshape(entries, (*parameters.shape[:-1], axes + 1, axes + 1))


@on_floats
def thin_plate_spline_from_parameters(
    parameters: Array, control_points: Array = None, *, xp: Namespace = None
) -> Array:
    """Arrange where the control points of thin plate splines read.

    Parameters
    ----------
    parameters : array of shape (..., K d)
        Coordinates in the input, of one control point after the other, each in x, y, z order: the coordinates
        themselves, not their distance from the control points.
    control_points : array of shape (K, d), optional
        The control points, of which only the shape is taken; those of a regular lattice of 4 along each axis if left
        out: 4, 16 or 64 for d = 1, 2 or 3 axes.
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., K, d)
        Theta of `thin_plate_spline_sample`.

    Raises
    ------
    ValueError
        If the number of parameters does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import control_lattice, thin_plate_spline_from_parameters
    >>> points = control_lattice((2,))
    >>> thin_plate_spline_from_parameters(np.array([-0.5, 0.5]), points)
    array([[-0.5],
           [ 0.5]])
    """
    control = None if control_points is None else shape_of(control_points)
    axes = axes_of(SPLINE, parameters.shape, control)
    return xp.reshape(parameters, (*parameters.shape[:-1], parameters.shape[-1] // axes, axes))


TRANSFORMS: dict[str, Callable[..., Array]] = {
    "affine": affine_from_parameters,
    "attention": attention,
    "similarity": similarity,
    "rotation": rotation,
    "projective": projective_from_parameters,
    SPLINE: thin_plate_spline_from_parameters,
}
"""The functions that make theta of parameters, by the name of the transform, as layers take it."""


def _split(parameters: Array) -> list[Array]:
    return [parameters[..., i] for i in range(parameters.shape[-1])]


def _theta(rows: Rows, shift: list[Array], xp: Namespace) -> Array:
    """Put the entries of linear maps and their translations together."""
    entries = [entry for row, last in zip(rows, shift, strict=True) for entry in (*row, last)]
    flat = xp.stack(entries, axis=-1)
    return xp.reshape(flat, (*flat.shape[:-1], len(rows), len(rows) + 1))
