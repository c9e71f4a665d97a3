"""Theta in the units of other libraries, and back.

The change of units is an affine map too, from normalised coordinates to a library's: along an axis of n pixels a
coordinate u lies at h u + c, where h is n / 2, or (n - 1) / 2 with align_corners, and c is where the image's centre is.
So theta in other units is a composition.
"""

import math
from collections.abc import Sequence
from typing import Any

from stnkit import validation
from stnkit.transforms.algebra import axes_of_map, compose
from stnkit.transforms.namespaces import Array, Namespace, constant, entered

UnitMap = tuple[list[list[float]], list[list[float]]]  # from normalised coordinates, and back

CONVENTIONS = {"opencv": (False, False), "scipy": (True, False), "torchvision": (False, True)}
"""The names that `to_pixel` and `from_pixel` accept.

For each library, whether coordinates are in the order of an array's axes (z, y, x), and whether 0 is the image's centre
and not that of the first pixel.
"""


def to_pixel(
    theta: Array,
    size: Sequence[int],
    out_size: Sequence[int] | None = None,
    *,
    convention: str = "opencv",
    align_corners: bool = False,
    xp: Namespace = None,
) -> Array:
    """Return maps in pixels, as another library takes them.

    Parameters
    ----------
    theta : array of shape (..., d, d + 1) or (..., d + 1, d + 1)
        Affine or projective maps from output to input, normalised. Integers become the framework's default floating
        point.
    size : sequence of int
        The image's spatial size S.
    out_size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    convention : {"opencv", "scipy", "torchvision"}
        Of the result, which maps output to input in every convention. "opencv": pixels in the order x, y, z, 0 the
        first pixel's centre. "scipy": the same in the order of an array's axes, z, y, x. "torchvision": pixels in the
        order x, y, z, counted from the image's centre.
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or (default) the image's outer edges.
    xp : module, optional
        The array namespace of `theta`; found by array-api-compat if left out.

    Returns
    -------
    array of the shape of `theta`, and of its dtype if that is a floating point
        For OpenCV's `warpAffine` and `warpPerspective` with the flag `WARP_INVERSE_MAP`; without it, they take its
        `invert`. For SciPy's `affine_transform`, which takes the offset as the matrix's last column.

    Raises
    ------
    ValueError
        If a shape or a size does not fit, or the convention is unknown.
    TypeError
        If `theta` is neither an array nor numbers, or is not real.

    Notes
    -----
    ONNX's `AffineGrid` and torch's `affine_grid` take theta as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import to_pixel
    >>> mirror = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> to_pixel(mirror, (4, 6))
    array([[-1.,  0.,  5.],
           [ 0.,  1.,  0.]])
    """
    (theta,), namespace = entered(xp, theta=theta)
    ours, theirs = _unit_maps(axes_of_map(theta), size, out_size, convention, align_corners)
    to, back = constant(ours[0], theta, namespace), constant(theirs[1], theta, namespace)
    return compose(to, theta, back, xp=namespace)


def from_pixel(
    matrix: Array,
    size: Sequence[int],
    out_size: Sequence[int] | None = None,
    *,
    convention: str = "opencv",
    align_corners: bool = False,
    xp: Namespace = None,
) -> Array:
    """Return theta of maps in pixels: the inverse of `to_pixel`.

    Parameters
    ----------
    matrix : array of shape (..., d, d + 1) or (..., d + 1, d + 1)
        Affine or projective maps from output to input, in the units of `convention`. Of a map from input to output, as
        `cv2.getRotationMatrix2D` makes it, give `invert(matrix)`. Integers become the framework's default floating
        point.
    size : sequence of int
        The image's spatial size S.
    out_size : sequence of int, optional
        The output's spatial size T; that of the image by default.
    convention : {"opencv", "scipy", "torchvision"}
        As for `to_pixel`.
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or (default) the image's outer edges.
    xp : module, optional
        The array namespace of `matrix`; found by array-api-compat if left out.

    Returns
    -------
    array of the shape of `matrix`, and of its dtype if that is a floating point
        Theta.

    Raises
    ------
    ValueError
        If a shape or a size does not fit, or the convention is unknown; and if, with align_corners, the image has one
        pixel along an axis, for then theta cannot say where.
    TypeError
        If `matrix` is neither an array nor numbers, or is not real.

    Examples
    --------
    To turn an image whose sides differ, without shear:

    >>> import numpy as np
    >>> from stnkit.transforms import from_pixel, rotation
    >>> quarter = rotation(np.array([np.pi / 2]))
    >>> from_pixel(quarter, (40, 80), convention="torchvision").round(3)
    array([[ 0. , -0.5,  0. ],
           [ 2. ,  0. ,  0. ]])
    """
    (matrix,), namespace = entered(xp, matrix=matrix)
    axes = axes_of_map(matrix, "matrix")
    ours, theirs = _unit_maps(axes, size, out_size, convention, align_corners)
    if align_corners and 1 in validation.size(size, axes):
        msg = f"with `align_corners` an axis of one pixel has no length to measure by; got an image of {tuple(size)}"
        raise ValueError(msg)
    back, to = constant(ours[1], matrix, namespace), constant(theirs[0], matrix, namespace)
    return compose(back, matrix, to, xp=namespace)


def affine_from_torchvision(
    parameters: Array, size: Sequence[int], *, center: Sequence[float] | None = None, xp: Namespace = None
) -> Array:
    """Return theta of the numbers that torchvision's `affine` takes.

    Parameters
    ----------
    parameters : array of shape (..., 6)
        Angle in degrees, clockwise as it is seen; translation in x and y, in pixels; scale; shear in x and y, in
        degrees. These are the arguments of `torchvision.transforms.functional.affine` in their order.
    size : (int, int)
        The image's spatial size (H, W), which is the output's too.
    center : (float, float), optional
        The point x, y that stays, but for the translation: in pixels from the upper left corner of the image. The
        image's centre by default.
    xp : module, optional
        The array namespace of `parameters`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., 2, 3)
        Theta, for `align_corners=False`. A scale of 0, which torchvision refuses, gives infinities or NaN.

    Raises
    ------
    ValueError
        If the number of parameters does not fit, or `center` is not two numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import affine_from_torchvision
    >>> affine_from_torchvision(np.array([0.0, 10.0, 0.0, 2.0, 0.0, 0.0]), (40, 80))
    array([[ 0.5  ,  0.   , -0.125],
           [ 0.   ,  0.5  ,  0.   ]])
    """
    (parameters,), namespace = entered(xp, parameters=parameters)
    if parameters.ndim < 1 or parameters.shape[-1] != 6:
        msg = f"`parameters` must have shape (..., 6); got {tuple(parameters.shape)}"
        raise ValueError(msg)
    height, width = validation.size(size, 2)
    x, y = (0.0, 0.0) if center is None else _from_centre(center, width, height)
    angle, right, down, scale, lean, rise = (parameters[..., i] for i in range(6))
    angle, lean, rise = (number * (math.pi / 180) for number in (angle, lean, rise))
    # A point p goes to scale M (p - c) + c + t with M = [[a, b], [c, d]] = R(angle) [[1, 0], [-tan(rise), 1]]
    # [[1, -tan(lean)], [0, 1]], whose determinant is 1: its inverse is [[d, -b], [-c, a]].
    cosine, sine = (f(angle - rise) / namespace.cos(rise) for f in (namespace.cos, namespace.sin))
    a, b = cosine, -cosine * namespace.tan(lean) - namespace.sin(angle)
    c, d = sine, -sine * namespace.tan(lean) + namespace.cos(angle)
    rows = [(d / scale, -b / scale), (-c / scale, a / scale)]
    moved_x, moved_y = x + right, y + down
    entries = [
        entry
        for (first, second), stays in zip(rows, (x, y), strict=True)
        for entry in (first, second, stays - first * moved_x - second * moved_y)
    ]
    flat = namespace.stack(entries, axis=-1)
    matrix = namespace.reshape(flat, (*flat.shape[:-1], 2, 3))
    return from_pixel(matrix, size, convention="torchvision", xp=namespace)


def _from_centre(point: Any, width: int, height: int) -> tuple[Any, Any]:
    """Return how far a point, in pixels from the upper left corner, is from an image's centre."""
    try:
        x, y = point
        return x - width / 2, y - height / 2
    except (TypeError, ValueError) as error:
        msg = f"`center` must be two numbers, x and y; got {point!r}"
        raise ValueError(msg) from error


def _unit_maps(axes: int, size: Any, out_size: Any, convention: str, align_corners: bool) -> tuple[UnitMap, UnitMap]:
    """Return the changes of units of the image and of the output."""
    validation.choice("convention", convention, CONVENTIONS)
    align = validation.flag("align_corners", align_corners)
    sizes = {"size": validation.size(size, axes)}
    sizes["out_size"] = sizes["size"] if out_size is None else validation.size(out_size, axes, "out_size")
    for name, one in sizes.items():
        if min(one) < 1:
            msg = f"`{name}` must be at least 1 along every axis; got {one}"
            raise ValueError(msg)
    ours, theirs = (_unit_map(one, convention, align) for one in sizes.values())
    return ours, theirs


def _unit_map(size: tuple[int, ...], convention: str, align: bool) -> UnitMap:
    """Return the map from normalised coordinates to a library's, and the way back.

    With align_corners an axis of one location has h = 0: every coordinate is that location, and back comes 0.
    """
    turned, centred = CONVENTIONS[convention]
    d = len(size)
    to, back = ([[0.0] * (d + 1) for _ in size] for _ in range(2))
    for i, n in enumerate(reversed(size)):
        j = d - 1 - i if turned else i
        h, c = (n - align) / 2, 0.0 if centred else (n - 1) / 2
        to[j][i], to[j][d] = h, c
        if h:
            back[i][j], back[i][d] = 1 / h, -c / h
    return to, back
