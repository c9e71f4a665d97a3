"""Maps as matrices: the identity, one map after another, and the way back."""

import functools
import itertools
from typing import Any

import numpy as np

from stnkit import validation
from stnkit.dtypes import dtype_name
from stnkit.transforms.namespaces import (
    Array,
    Namespace,
    bool_or_none,
    compiling,
    constant,
    converted,
    entered,
    widened,
)

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def identity(axes: int = 2, *, projective: bool = False, like: Array = None, xp: Namespace = None) -> Array:
    """Return the map that leaves everything where it is.

    Parameters
    ----------
    axes : int
        The number of spatial axes d, 1 to 3.
    projective : bool
        Whether the last row, (0, .., 0, 1), is written out.
    like : array, optional
        Whose framework, dtype and device to take, where integers stand for the framework's default floating point; a
        NumPy array of float64 is made if left out.
    xp : module, optional
        The array namespace of `like`; found by array-api-compat if left out.

    Returns
    -------
    array of shape (d, d + 1) or (d + 1, d + 1)
        Theta, without a batch axis: the samplers share it, and `compose` broadcasts it.

    Raises
    ------
    ValueError
        If the number of axes is not 1, 2 or 3.

    Examples
    --------
    >>> from stnkit.transforms import identity
    >>> identity(2)
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    if axes not in (1, 2, 3):
        msg = f"`axes` must be 1, 2 or 3; got {axes!r}"
        raise ValueError(msg)
    rows = [[float(i == j) for j in range(axes + 1)] for i in range(axes + validation.flag("projective", projective))]
    if like is None:
        return np.array(rows)
    (model,), namespace = entered(xp, like=like)
    return constant(rows, model, namespace)


def compose(*thetas: Array, xp: Namespace = None) -> Array:
    """Return the map that takes a point through several maps, the last one first.

    To sample an image under `a`, and what comes out under `b`, is to sample it under `compose(a, b)`, but for what is
    lost by interpolating twice: a location p of the output reads the image at a(b(p)).

    Parameters
    ----------
    *thetas : array of shape (..., d, d + 1) or (..., d + 1, d + 1)
        Affine and projective maps, one or more, on the same number of axes. Their batch axes broadcast. Integers
        become the framework's default floating point, or float64 beside float64.
    xp : module, optional
        The array namespace of the maps; found by array-api-compat if left out.

    Returns
    -------
    array of shape (..., d, d + 1) or (..., d + 1, d + 1)
        The product of the matrices: affine if all maps are, else projective.

    Raises
    ------
    ValueError
        If no map is given, or shapes do not fit.
    TypeError
        If a map is neither an array nor numbers, or is not real, or if maps belong to different frameworks.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import compose
    >>> halve, move = np.array([[0.5, 0.0]]), np.array([[1.0, 0.2]])
    >>> compose(halve, move)
    array([[0.5, 0.1]])
    >>> compose(move, halve)
    array([[0.5, 0.2]])
    """
    if not thetas:
        msg = "`compose` takes one map or more; got none"
        raise ValueError(msg)
    taken, namespace = entered(xp, **{f"thetas[{i}]": theta for i, theta in enumerate(thetas)})
    counts = {axes_of_map(theta, f"thetas[{i}]") for i, theta in enumerate(taken)}
    if len(counts) > 1:
        msg = f"maps must act on the same number of axes; got maps on {' and '.join(map(str, sorted(counts)))}"
        raise ValueError(msg)
    batches = [tuple(theta.shape[:-2]) for theta in taken]
    for sizes in itertools.zip_longest(*(reversed(batch) for batch in batches), fillvalue=1):
        if len({n for n in sizes if isinstance(n, int) and n != 1}) > 1:  # symbols of a compiler are no integers
            msg = f"maps must have the same batch axes, or of length 1; got {' and '.join(map(str, batches))}"
            raise ValueError(msg)
    return functools.reduce(functools.partial(_product, xp=namespace), taken)


def invert(theta: Array, *, xp: Namespace = None) -> Array:
    """Return the map that takes every point back.

    Parameters
    ----------
    theta : array of shape (..., d, d + 1) or (..., d + 1, d + 1)
        Affine or projective maps. Integers become the framework's default floating point.
    xp : module, optional
        The array namespace of `theta`; found by array-api-compat if left out.

    Returns
    -------
    array of the shape of `theta`, and of its dtype if that is a floating point
        Its inverse. That of a projective map is the inverse matrix, not scaled to any last entry.

    Raises
    ------
    ValueError
        If the shape does not fit, or if an item of the batch is not finite or has no inverse; it names the item.
    TypeError
        If `theta` is neither an array nor numbers, or is not real.

    Notes
    -----
    A matrix has no inverse if its determinant is zero within the rounding of its entries: a rule that no scale of a row
    or column changes. Where the numbers are not known yet, under `jax.jit`, `jax.vmap`, `torch.compile` and
    `torch.vmap`, nothing can be looked at, and a singular map gives what the framework's own inverse gives: infinities
    or NaN, or an error of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit.transforms import invert
    >>> invert(np.array([[0.5, 0.0, 0.1], [0.0, 2.0, 0.0]]))
    array([[ 2. ,  0. , -0.2],
           [ 0. ,  0.5, -0. ]])
    """
    (theta,), namespace = entered(xp, theta=theta)
    axes = axes_of_map(theta)
    wide = widened(theta, namespace)
    square = wide if is_projective(wide) else wide[..., :axes]
    if not compiling():
        with np.errstate(invalid="ignore", over="ignore"):
            _refuse_singular(wide, square, namespace)
    inverse = namespace.linalg.inv(square)
    if square is not wide:
        inverse = namespace.concat([inverse, -_times(inverse, wide[..., axes:], namespace)], axis=-1)
    return inverse if wide is theta else converted(inverse, theta.dtype, namespace)


def axes_of_map(theta: Array, name: str = "theta") -> int:
    """Return on how many axes an affine or a projective map acts, or refuse its shape."""
    rows, columns = theta.shape[-2:] if theta.ndim > 1 else (0, 0)
    if columns - 1 not in (1, 2, 3) or rows not in (columns - 1, columns):
        msg = (
            f"`{name}` must have shape (..., d, d + 1), or (..., d + 1, d + 1) if it is projective, for d = 1, 2 or 3; "
            f"got {tuple(theta.shape)}"
        )
        raise ValueError(msg)
    return int(columns - 1)


def is_projective(theta: Array) -> bool:
    """Tell whether a map's last row is written out."""
    return bool(theta.shape[-2] == theta.shape[-1])


def _product(first: Array, second: Array, xp: Namespace) -> Array:
    left = _whole(first, xp) if is_projective(second) else first
    return _times(left, _whole(second, xp), xp)


def _whole(theta: Array, xp: Namespace) -> Array:
    """Write out the last row of an affine map."""
    if is_projective(theta):
        return theta
    row = [xp.zeros_like(theta[..., :1, :-1]), xp.ones_like(theta[..., :1, -1:])]
    return xp.concat([theta, xp.concat(row, axis=-1)], axis=-2)


def _times(first: Array, second: Array, xp: Namespace) -> Array:
    """Multiply matrices: a few numbers each, which frameworks may not multiply in fewer digits, as they may in `@`."""
    rank = max(first.ndim, second.ndim)  # axes in front are written out, as JAX can be told to refuse others
    left, right = (xp.reshape(m, (*(1,) * (rank - m.ndim), *m.shape)) for m in (first, second))
    return xp.sum(left[..., :, :, None] * right[..., None, :, :], axis=-2)


def _refuse_singular(theta: Array, square: Array, xp: Namespace) -> None:
    """Refuse maps that are not finite, or whose square part has no inverse.

    A determinant is a sum of products, one entry from each row and column, with signs; without signs and of magnitudes
    it is the permanent. Entries that are rounded, here three times, n factors and the sum change a determinant by no
    more than 3 n eps times that. What is not greater could be zero. Rows and columns are scaled before, as a product of
    small entries would be 0, and one of large ones infinite.
    """
    n = square.shape[-1]
    for axis in (-1, -2):
        scale = xp.sum(abs(square), axis=axis, keepdims=True)
        square = square / xp.where(scale > 0, scale, xp.ones_like(scale))
    entries = [[square[..., i, j] for j in range(n)] for i in range(n)]
    magnitudes = [[abs(entry) for entry in row] for row in entries]
    doubt = 3 * n * EPS[dtype_name(square)]
    regular = abs(_expansion(entries, -1)) > doubt * _expansion(magnitudes, 1)
    finite = xp.all(xp.isfinite(theta), axis=(-2, -1))
    if bool_or_none(xp.all(regular & finite)) is not False:
        return
    good = xp.reshape(regular & finite, (-1,))
    bad = next(i for i in range(good.shape[0]) if not good[i])
    where = tuple(int(i) for i in np.unravel_index(bad, theta.shape[:-2]))
    what = "is singular" if xp.reshape(finite, (-1,))[bad] else "is not finite"
    who = f"item {where[0] if len(where) == 1 else where} of the batch" if where else "this one"
    msg = f"`theta` must be finite and have an inverse; {who} {what}"
    raise ValueError(msg)


def _expansion(rows: list[list[Any]], sign: int) -> Any:
    """Return a determinant, for a sign of -1, or a permanent, for 1, by the entries of the first row."""
    first, *rest = rows
    if not rest:
        return first[0]
    minors = ([[*row[:j], *row[j + 1 :]] for row in rest] for j in range(len(first)))
    pairs = enumerate(zip(first, minors, strict=True))
    return sum(sign**j * entry * _expansion(minor, sign) for j, (entry, minor) in pairs)
