"""Rotation matrices from angles, smooth about the angle 0."""

from stnkit.transforms.namespaces import Array, Namespace

Rows = list[list[Array]]


def turn(angles: list[Array], xp: Namespace) -> Rows:
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
