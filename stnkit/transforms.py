"""Theta from fewer numbers: what a localisation network has to output for a restricted affine map.

Every function takes parameters of shape (..., K), of any framework, and returns theta of shape (..., d, d + 1), which
maps output to input in normalised coordinates, x before y before z. They are made of array-namespace operations
alone, so that the framework of the parameters differentiates them. How many parameters there are tells the number of
axes; `IDENTITIES` has those that leave an image as it is.
"""

from collections.abc import Callable
from typing import Any

from stnkit.api.thin_plate_spline import control_lattice as control_lattice

Array = Any  # of any framework that array-api-compat knows
Namespace = Any
Rows = list[list[Array]]

IDENTITIES: dict[str, dict[int, tuple[float, ...]]] = {  # by the name of the transform, then by the number of axes
    "affine": {1: (1, 0), 2: (1, 0, 0, 0, 1, 0), 3: (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)},
    "attention": {1: (1, 0), 2: (1, 0, 0), 3: (1, 0, 0, 0)},
    "similarity": {2: (1, 0, 0, 0), 3: (1, 0, 0, 0, 0, 0, 0)},
    "rotation": {2: (0,), 3: (0, 0, 0)},
}


def identity_parameters(transform: str, axes: int = 2) -> tuple[float, ...]:
    """Return the parameters under which a transform is the identity.

    Parameters
    ----------
    transform : {"affine", "attention", "similarity", "rotation"}
        Its name.
    axes : int
        The number of spatial axes, 1 to 3; a similarity and a rotation need 2 or 3.

    Returns
    -------
    tuple of float
        As many as the transform has parameters.

    Raises
    ------
    ValueError
        If the name is unknown, or the transform does not act on so many axes.

    Examples
    --------
    >>> from stnkit.transforms import identity_parameters
    >>> identity_parameters("attention")
    (1, 0, 0)
    """
    if transform not in IDENTITIES:
        msg = f"`transform` must be one of {', '.join(map(repr, IDENTITIES))}; got {transform!r}"
        raise ValueError(msg)
    known = IDENTITIES[transform]
    if axes not in known:
        msg = f"`axes` must be one of {', '.join(map(str, known))} for {transform!r}; got {axes!r}"
        raise ValueError(msg)
    return known[axes]


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
    namespace = _namespace(parameters) if xp is None else xp
    return namespace.reshape(parameters, (*parameters.shape[:-1], axes, axes + 1))


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
    namespace = _namespace(parameters) if xp is None else xp
    scale, *shift = _split(parameters)
    zero = namespace.zeros_like(scale)
    rows = [[scale if i == j else zero for j in range(axes)] for i in range(axes)]
    return _theta(rows, shift, namespace)


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
    namespace = _namespace(parameters) if xp is None else xp
    scale, *rest = _split(parameters)
    angles, shift = rest[:-axes], rest[-axes:]
    return _theta([[scale * entry for entry in row] for row in _turn(angles, namespace)], shift, namespace)


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
    namespace = _namespace(parameters) if xp is None else xp
    angles = _split(parameters)
    return _theta(_turn(angles, namespace), [namespace.zeros_like(angles[0])] * axes, namespace)


TRANSFORMS: dict[str, Callable[..., Array]] = {
    "affine": affine_from_parameters,
    "attention": attention,
    "similarity": similarity,
    "rotation": rotation,
}


def _namespace(array: Array) -> Namespace:
    try:
        from array_api_compat import array_namespace
    except ImportError as error:
        msg = "to find an array's namespace takes array-api-compat: pip install array-api-compat, or pass `xp`"
        raise ImportError(msg) from error
    return array_namespace(array)


def axes_of(transform: str, shape: tuple[int, ...]) -> int:
    """Return on how many axes a transform of so many parameters acts, or refuse their number."""
    accepted = {len(numbers): axes for axes, numbers in IDENTITIES[transform].items()}
    if not shape or shape[-1] not in accepted:
        counts = " or ".join(f"{count} ({axes}-D)" for count, axes in accepted.items())
        msg = f"`parameters` of {transform!r} must have {counts} numbers along the last axis; got shape {tuple(shape)}"
        raise ValueError(msg)
    return accepted[shape[-1]]


def _split(parameters: Array) -> list[Array]:
    return [parameters[..., i] for i in range(parameters.shape[-1])]


def _theta(rows: Rows, shift: list[Array], xp: Namespace) -> Array:
    """Put the entries of linear maps and their translations together."""
    entries = [entry for row, last in zip(rows, shift, strict=True) for entry in (*row, last)]
    flat = xp.stack(entries, axis=-1)
    return xp.reshape(flat, (*flat.shape[:-1], len(rows), len(rows) + 1))


def _turn(angles: list[Array], xp: Namespace) -> Rows:
    """Return rotation matrices: of one angle on two axes, of a rotation vector on three.

    With the angle t = |r| and K the matrix of the cross product with r, Rodrigues' formula is
    R = I + a K + b K K, where a = sin(t) / t, b = (1 - cos(t)) / t^2 and K K = r r' - t^2 I.
    """
    if len(angles) == 1:
        cosine, sine = xp.cos(angles[0]), xp.sin(angles[0])
        return [[cosine, -sine], [sine, cosine]]
    x, y, z = angles
    square = x * x + y * y + z * z
    a, half = _sinc(square, xp), _sinc(square / 4, xp)
    b = half * half / 2  # 1 - cos(t) = 2 sin(t / 2)^2, without its cancellation
    cosine = 1 - b * square
    return [
        [cosine + b * x * x, b * x * y - a * z, b * x * z + a * y],
        [b * y * x + a * z, cosine + b * y * y, b * y * z - a * x],
        [b * z * x - a * y, b * z * y + a * x, cosine + b * z * z],
    ]


def _sinc(square: Array, xp: Namespace) -> Array:
    """Return sin(t) / t of t^2: a function without a kink, whose derivatives are those of its series about 0.

    Where the square is below 1/64 the series' next term is below 64^-6 / 13! = 2.3e-21, and that of its second
    derivative below 30 / 64^4 / 13! = 2.9e-16. Elsewhere its argument is replaced, so that no branch divides by 0.
    """
    near = square < 1 / 64
    series, term = 1.0, 1.0
    for k in range(1, 6):
        term = term * square / (-2 * k * (2 * k + 1))
        series = series + term
    far = xp.sqrt(xp.where(near, xp.ones_like(square), square))
    return xp.where(near, series, xp.sin(far) / far)
