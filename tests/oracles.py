"""Independent answers: NumPy in float64, one line of mathematics at a time, and what other libraries say.

Nothing here shares code with stnkit. `grid_sample` and `grid_sample_vjp` walk the corners of each location's
footprint with `itertools.product`; weights and slopes come from the definition of the interpolation kernel.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import BSpline

MARGIN = 12  # pixels at each end that memory holds beyond the image, with a padding that says so
FEW_TAPS = ("nearest", "spline0", "bilinear")

Axis = tuple[np.ndarray, np.ndarray, np.ndarray]  # index (-1: outside), weight and d weight / d u of each tap


def keys(s: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel, a = -0.75, at distance `s` from a pixel."""
    a, s = -0.75, np.abs(s)
    near = (a + 2) * s**3 - (a + 3) * s**2 + 1
    far = a * (s**3 - 5 * s**2 + 8 * s - 4)
    return np.where(s <= 1, near, np.where(s < 2, far, 0))


def keys_slope(s: np.ndarray) -> np.ndarray:
    """d keys / d s."""
    a, r = -0.75, np.abs(s)
    near = 3 * (a + 2) * r**2 - 2 * (a + 3) * r
    far = a * (3 * r**2 - 10 * r + 8)
    return np.sign(s) * np.where(r <= 1, near, np.where(r < 2, far, 0))


@functools.cache
def _basis(degree: int, times: int = 0) -> Any:
    """Return the B-spline of a degree about 0, whose knots are a pixel apart, or a derivative of it."""
    spline = BSpline.basis_element(np.arange(degree + 2) - (degree + 1) / 2, extrapolate=False)
    return spline.derivative(times) if times else spline


def b_spline(s: np.ndarray, degree: int, times: int = 0) -> np.ndarray:
    """Return the B-spline of a degree at distance `s` from a pixel, or its derivative of order `times`."""
    return np.nan_to_num(_basis(degree, times)(s))


def mitchell(s: np.ndarray, times: int = 0) -> np.ndarray:
    """Return Mitchell and Netravali's kernel with B = C = 1/3 at distance `s` from a pixel, or its slope."""
    b = c = 1 / 3
    near = np.poly1d([12 - 9 * b - 6 * c, -18 + 12 * b + 6 * c, 0, 6 - 2 * b]) / 6
    far = np.poly1d([-b - 6 * c, 6 * b + 30 * c, -12 * b - 48 * c, 8 * b + 24 * c]) / 6
    r = np.abs(s)
    inside = np.where(r < 1, near.deriv(times)(r), np.where(r < 2, far.deriv(times)(r), 0))
    return np.sign(s) ** times * inside


def _lanczos3(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sinc(s) sinc(s / 3) and its slope, of distances below 3 or equal."""
    where = np.where(s == 0, 1, s)

    def sinc(a: int) -> tuple[np.ndarray, np.ndarray]:
        return np.sinc(s / a), np.where(s == 0, 0, (np.cos(np.pi * where / a) - np.sinc(where / a)) / where)

    (wave, d_wave), (window, d_window) = sinc(1), sinc(3)
    wave = np.where(s == np.rint(s), s == 0, wave)  # sin(pi s) is rounded
    return wave * window, d_wave * window + wave * d_window


def lanczos3(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of six taps at distances `s`, along the first axis, and their slopes; weights sum to 1."""
    weight, slope = _lanczos3(s)
    total = weight.sum(axis=0)
    return weight / total, (slope * total - weight * slope.sum(axis=0)) / total**2


def locate(u: np.ndarray, n: int, align: bool, coords: str) -> tuple[np.ndarray, float]:
    """Return pixel coordinates, computed in the dtype of `u`, and d pixel / d unit."""
    u = np.clip(u, -(2.0**90), 2.0**90)
    if coords == "pixel":
        return u.astype(float), 1.0
    if align:
        return ((u + 1) / 2 * (n - 1)).astype(float), (n - 1) / 2
    return (((u + 1) * n - 1) / 2).astype(float), n / 2


def settle(x: np.ndarray, n: int, padding: str, align: bool) -> tuple[np.ndarray, np.ndarray]:
    """border and reflection of the coordinate itself, as nearest and bilinear have it: (x, slope)."""
    slope = np.ones_like(x)
    if padding == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        if span == 0:
            return np.zeros_like(x), np.zeros_like(x)
        phase = np.mod(np.mod(x, 2 * span) - low, 2 * span)
        x, slope = low + span - np.abs(phase - span), np.where(phase > span, -1.0, 1.0)
    return np.clip(x, 0, n - 1), np.where((x > 0) & (x < n - 1), slope, 0)


def _period(n: int, padding: str, align: bool) -> list[int]:
    """Return the pixels that one period of a padding that repeats consists of."""
    if padding in ("mask", "periodic"):
        padding, align = "reflection", True
    if padding == "reflection":
        return [*range(n), *(range(n - 2, 0, -1) if align else range(n - 1, -1, -1))]
    return [*range(n)] if padding == "wrap" else []


def pad(i: np.ndarray, n: int, padding: str, align: bool) -> np.ndarray:
    """Return the pixel that index `i`, a whole number of any size, reads; -1 outside."""
    if padding == "zeros":
        return np.where((i >= 0) & (i < n), i, -1).astype(int)
    if padding == "border_margin":
        return (np.clip(i, -MARGIN, n + MARGIN - 1) + MARGIN).astype(int)
    if padding == "zeros_margin":
        return np.where((i >= -MARGIN) & (i < n + MARGIN), i + MARGIN, -1).astype(int)
    if padding == "border":
        return np.clip(i, 0, n - 1).astype(int)
    line = _period(n, padding, align)
    return np.array(line)[np.mod(i, len(line)).astype(int)]


def around(x: np.ndarray, n: int) -> np.ndarray:
    """Move a coordinate that is outside by whole periods of n - 1 pixels; from below to the last pixel's side."""
    span = max(n - 1, 1)
    r = np.mod(x, span)
    return np.where((x < 0) & (r == 0), span, r) if n > 1 else np.zeros_like(x)


def axis_taps(u: np.ndarray, n: int, mode: str, padding: str, align: bool, coords: str) -> Axis:
    """Return the taps of finite coordinates on one axis, each array of shape (taps, *u.shape)."""
    if "margin" in padding:
        n -= 2 * MARGIN
    x, chain = locate(u, n, align, coords)
    located = x
    slope = np.ones_like(x)
    outside = (x < 0) | (x > n - 1)
    if padding == "mask":
        index, weight, d_weight = axis_taps(np.where(outside, 0, x), n, mode, "reflection", True, "pixel")
        return np.where(outside, -1, index), weight, np.where(outside, 0, d_weight * chain)
    if padding == "periodic":
        index, weight, d_weight = axis_taps(np.where(outside, around(x, n), x), n, mode, "reflection", True, "pixel")
        return index, weight, d_weight * chain
    if mode in FEW_TAPS and padding in ("border", "reflection"):
        x, slope = settle(x, n, padding, align)
    line = len(_period(n, padding, align))
    x = np.where(np.abs(x) < 1e6, x, np.mod(x, line) if line else np.clip(x, -29, n + 29))  # so that x + 1 > x
    if mode == "spline0" and padding == "reflection" and align and n > 1:  # the tie past the last pixel goes right
        x = np.where((np.mod(located, 2 * (n - 1)) == n - 0.5) & (located > 0), n - 2, x)
    if mode in ("nearest", "spline0"):
        i = np.rint(x) if mode == "nearest" else np.floor(x + 0.5)
        return pad(i[None], n, padding, align), np.ones((1, *x.shape)), np.zeros((1, *x.shape))
    if mode.startswith("spline"):
        degree = int(mode[-1])
        i = np.stack([np.floor(x - (degree - 1) / 2) + k for k in range(degree + 1)])
        weight, d_weight = b_spline(x - i, degree), b_spline(x - i, degree, 1)
        return pad(i, n, padding, align), weight, d_weight * slope * chain
    reach = {"bilinear": [0, 1], "lanczos3": [-2, -1, 0, 1, 2, 3]}.get(mode, [-1, 0, 1, 2])
    i = np.stack([np.floor(x) + k for k in reach])
    if mode == "bilinear":
        weight, d_weight = 1 - np.abs(x - i), np.stack([-np.ones_like(x), np.ones_like(x)])
    elif mode == "mitchell":
        weight, d_weight = mitchell(x - i), mitchell(x - i, 1)
    elif mode == "lanczos3":
        weight, d_weight = lanczos3(x - i)
    else:
        weight, d_weight = keys(x - i), keys_slope(x - i)
    return pad(i, n, padding, align), weight, d_weight * slope * chain


def _corners(grid: np.ndarray, extent: tuple[int, ...], options: dict[str, Any]) -> Any:
    """Yield (where it reads, whether it is outside, weight, d weight / d u per axis) of every corner."""
    d = len(extent)
    padding = options["padding_mode"]
    paddings = [padding] * d if isinstance(padding, str) else padding
    axes = [
        axis_taps(
            grid[..., k],
            extent[d - 1 - k],
            options["mode"],
            paddings[k],
            options["align_corners"],
            options["coords"],
        )
        for k in range(d)
    ]
    for corner in itertools.product(*(range(len(axis[0])) for axis in axes)):
        taps = [[part[tap] for part in axis] for axis, tap in zip(axes, corner, strict=True)]
        index, weight, slope = zip(*taps, strict=True)
        slopes = [np.prod([*weight[:k], slope[k], *weight[k + 1 :]], axis=0) for k in range(d)]
        outside = np.any(np.array(index) < 0, axis=0)
        yield tuple(np.where(outside, 0, i) for i in index[::-1]), outside, np.prod(weight, axis=0), slopes


def _defaults(options: dict[str, Any]) -> dict[str, Any]:
    names = {"linear": "bilinear", "constant": "zeros"}
    full = {
        "mode": "bilinear", "padding_mode": "zeros", "fill_value": 0.0, "align_corners": False,
        "coords": "normalized", "data_format": "channels_first",
    } | options  # fmt: skip
    return {k: names.get(v, v) if isinstance(v, str) else v for k, v in full.items()}


def _walk(image: np.ndarray, grid: np.ndarray, options: dict[str, Any]) -> Any:
    """Yield per batch item: (item, channels-first image, lost locations, fill per channel, corners)."""
    d = grid.shape[-1]
    if options["data_format"] == "channels_last":
        image = np.moveaxis(image, -1, 1)
    image = image.astype(float)
    fill = np.broadcast_to(np.asarray(options["fill_value"], float), (image.shape[1],))
    fill = fill.reshape(-1, *[1] * d)
    for n in range(max(len(image), len(grid)) if len(image) and len(grid) else 0):
        u = grid[n % len(grid)]
        lost = ~np.isfinite(u).all(axis=-1)
        u = np.where(lost[..., None], 0, u).astype(grid.dtype)
        yield n, image[n % len(image)], lost, fill, _corners(u, image.shape[2:], options)


def grid_sample(image: np.ndarray, grid: np.ndarray, **options: Any) -> np.ndarray:
    """Return the output in float64; image and grid have a batch axis, which may be 1 on either side.

    A coordinate is brought to pixels in the dtype of the grid, as it decides which pixel a far coordinate
    reads; everything after that is float64.
    """
    options = _defaults(options)
    outs = []
    for _, plane, lost, fill, corners in _walk(image, grid, options):
        out = np.zeros((len(plane), *lost.shape))
        for where, outside, weight, _ in corners:
            out += weight * np.where(outside, fill, plane[:, *where])
        outs.append(np.where(lost, fill, out))
    out = np.array(outs)
    return np.moveaxis(out, 1, -1) if options["data_format"] == "channels_last" else out


def grid_sample_vjp(
    cotangent: np.ndarray, image: np.ndarray, grid: np.ndarray, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return (d_image, d_grid) in float64, from the taps' own slopes."""
    options = _defaults(options)
    last = options["data_format"] == "channels_last"
    cotangent = np.moveaxis(cotangent, -1, 1) if last else cotangent
    d_image = np.zeros((np.moveaxis(image, -1, 1) if last else image).shape)
    d_grid = np.zeros(grid.shape)
    for n, plane, lost, fill, corners in _walk(image, grid, options):
        g = np.where(lost, 0, cotangent[n].astype(float))
        for where, outside, weight, slopes in corners:
            share = np.where(outside, 0, g * weight)
            np.add.at(d_image[n % len(image)], (slice(None), *where), share)
            value = (g * np.where(outside, fill, plane[:, *where])).sum(axis=0)
            for axis, slope in enumerate(slopes):
                d_grid[n % len(grid), ..., axis] += np.where(lost | (slope == 0), 0, value * slope)
    return np.moveaxis(d_image, 1, -1) if last else d_image, d_grid


def readers(image: np.ndarray, grid: np.ndarray, **options: Any) -> np.ndarray:
    """Return how many taps read each pixel of the image."""
    options = _defaults(options)
    last = options["data_format"] == "channels_last"
    count = np.zeros((np.moveaxis(image, -1, 1) if last else image).shape)
    for n, _, lost, _, corners in _walk(image, grid, options):
        for where, outside, _, _ in corners:
            np.add.at(count[n % len(image)], (slice(None), *where), ~(outside | lost))
    return np.moveaxis(count, 1, -1) if last else count


def weighs_fill(image: np.ndarray, grid: np.ndarray, **options: Any) -> np.ndarray:
    """Tell which locations, (N, *T), read the fill value with a weight that is not 0."""
    found = []
    for _, _, lost, _, corners in _walk(image, grid, _defaults(options)):
        found.append(
            functools.reduce(np.logical_or, (outside & (weight != 0) for _, outside, weight, _ in corners), lost)
        )
    return np.array(found)


def base(size: Sequence[int], align: bool) -> np.ndarray:
    """Return (x, y, z, 1) of every output location, of shape (*size, d + 1)."""
    lines = [np.linspace(-1, 1, n) if n > 1 else np.zeros(n) for n in size]
    if not align:
        lines = [line * (n - 1) / max(n, 1) for line, n in zip(lines, size, strict=True)]
    axes = np.meshgrid(*lines, indexing="ij")[::-1]
    return np.stack([*axes, np.ones(size)], axis=-1)


def affine_grid(theta: np.ndarray, size: Sequence[int], align_corners: bool = False) -> np.ndarray:
    """Return theta [x, y, z, 1] at every output location, in float64."""
    return np.einsum("nij,...j->n...i", theta.astype(float), base(size, align_corners))


def affine_grid_vjp(d_grid: np.ndarray, align_corners: bool = False) -> np.ndarray:
    """Return the cotangent of theta in float64."""
    lattice = base(d_grid.shape[1:-1], align_corners)
    d, n = d_grid.shape[-1], len(d_grid)
    return np.einsum(
        "npi,pj->nij", d_grid.astype(float).reshape(n, lattice[..., 0].size, d), lattice.reshape(-1, d + 1)
    )


def projective_grid(theta: np.ndarray, size: Sequence[int], align_corners: bool = False) -> np.ndarray:
    """Return (theta [x, y, z, 1]), divided by its last row, in float64; NaN where that is not positive."""
    rows = affine_grid(theta, size, align_corners)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rows[..., -1:] > 0, rows[..., :-1] / rows[..., -1:], np.nan)


def thin_plate_spline_table(
    control: np.ndarray, size: Sequence[int], align_corners: bool = False, way: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return the matrix (*T, K) that takes theta to the grid, in float64: row by row from the system, transposed.

    `way` leads from each location to another place, whose coordinates are asked for.

    The spline's value is b(p) [w; A], where the system L [w; A] = [theta; 0] is symmetric: so it is the solution of
    L x = b(p), times [theta; 0].
    """
    count, d = control.shape
    bend = {1: lambda r: r**3, 2: lambda r: r**2 * np.log(np.maximum(r, 1e-99) ** 2), 3: lambda r: r}[d]

    def row(places: np.ndarray) -> np.ndarray:
        apart = np.linalg.norm(places[..., None, :] - control, axis=-1)
        return np.concatenate([bend(apart), places, np.ones((*places.shape[:-1], 1))], axis=-1)

    system = np.zeros((count + d + 1,) * 2)
    system[:count] = row(control.astype(float))
    system[count:] = system[:, count:].T
    rows = row(base(size, align_corners)[..., :-1] + way)
    return np.moveaxis(np.linalg.solve(system, rows.reshape(-1, count + d + 1).T)[:count].reshape(count, *size), 0, -1)
