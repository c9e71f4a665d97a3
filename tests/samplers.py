"""The three samplers as one: their names, and arguments for them drawn away from knots."""

from typing import Any, NamedTuple

import numpy as np
import oracles
from cases import margin, unit

SOURCES = {"grid": "grid", "affine": "theta", "flow": "flow"}
MODES = ("nearest", "bilinear", "bicubic")
SPLINES = ("spline2", "spline3", "spline4", "spline5")
FILTERS = ("mitchell", "lanczos3")
EACH = [  # number of axes, and mode
    *((d, mode) for d in (1, 2, 3) for mode in MODES),
    *((1, mode) for mode in (*SPLINES, *FILTERS)),
]
REACH = 0.04  # pixels that a tangent of 1 may move a location, and still meet no knot

_SUM = {  # of weights, of slopes, per axis
    "nearest": (1.0, 0.0),
    "bilinear": (1.0, 2.0),
    "bicubic": (1.375, 3.0),
    **dict.fromkeys(SPLINES, (1.0, 2.0)),
    "mitchell": (1.14, 2.34),
    "lanczos3": (1.55, 3.2),
}


class Given(NamedTuple):
    """Arguments of one call, and a tangent and a cotangent for each."""

    image: np.ndarray
    source: np.ndarray
    cotangent: np.ndarray
    image_dot: np.ndarray
    source_dot: np.ndarray
    options: dict[str, Any]


def of(package: Any, op: str, kind: str = "") -> Any:
    """Return one of the functions of a sampler."""
    return getattr(package, f"{op}_sample{kind}")


def sized(op: str, given: Given) -> dict[str, Any]:
    """Return the keyword that `affine_sample` alone has."""
    d = given.image.ndim - 2
    return {"size": given.cotangent.shape[-d:]} if op == "affine" else {}


def draw(op: str, d: int, mode: str, padding: str, align: bool, batch: int = 2, dtype: str = "float64") -> Given:
    """Draw a call, channels first: locations 0.05 pixels or more away from every multiple of one half.

    A tangent of the source moves no location by more than one pixel.
    """
    random = np.random.default_rng([d, len(mode), len(padding), align])
    extent, size, channels = (3, 4, 5)[-d:], (2, 2, 3)[-d:], 2 if d < 3 else 1
    n = np.array(extent[::-1], float)
    u = unit(np.stack([margin(random, (batch, *size), -k, 2 * k) for k in n], axis=-1), extent, align, "normalized")
    pixel = 2 / (n - 1) if align else 2 / n
    source_dot = random.uniform(-1, 1, u.shape) * pixel
    source = u
    if op == "affine":
        source = np.stack([_theta(random, extent, size, align) for _ in range(batch)])
        source_dot = random.uniform(-1, 1, source.shape) * pixel[:, None] / (d + 1)
    if op == "flow":
        t = np.array(size[::-1], float)
        pitch = 2 / (t - 1) if align else 2 / t
        source, source_dot = (u - oracles.base(size, align)[..., :-1]) / pitch, source_dot / pitch
    image, image_dot = random.uniform(-1, 1, (2, batch, channels, *extent)).astype(dtype)
    cotangent = random.uniform(-1, 1, (batch, channels, *size)).astype(dtype)
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 0.5}
    options |= {"prefilter": False} if mode in SPLINES else {}
    return Given(image, source.astype(dtype), cotangent, image_dot, source_dot.astype(dtype), options)


def _theta(random: np.random.Generator, extent: tuple[int, ...], size: tuple[int, ...], align: bool) -> np.ndarray:
    n = np.array(extent[::-1], float)
    while True:
        theta = random.uniform(-1, 1, (len(size), len(size) + 1))
        u = oracles.affine_grid(theta[None], size, align)
        half = (u + 1) * (n - 1) if align else (u + 1) * n - 1  # twice the pixel
        if np.abs(half - np.rint(half)).min() > 2 * 1.2 * REACH:
            return theta


def magnitude(given: Given) -> float:
    """Bound the sum of the magnitudes of all terms of a location's value and tangent, for pixels moved by 1 at most."""
    d = given.image.ndim - 2
    weights, slopes = _SUM[given.options["mode"]]
    return weights**d + d * weights ** (d - 1) * max(slopes, weights)
