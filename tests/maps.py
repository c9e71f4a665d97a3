"""The maps that are no affine ones: calls of their functions, and arguments for them drawn away from knots."""

from typing import Any, NamedTuple

import numpy as np
import oracles

OPS = ("projective", "thin_plate_spline")
MARGIN = 0.02  # half pixels between a location and the next knot

EXTENT, SIZE, LATTICE = (3, 4, 5), (2, 2, 3), (2, 2, 3)


class Given(NamedTuple):
    """Arguments of one call, and a tangent and a cotangent for each."""

    op: str
    image: np.ndarray
    theta: np.ndarray
    control: np.ndarray | None
    cotangent: np.ndarray
    image_dot: np.ndarray
    theta_dot: np.ndarray
    options: dict[str, Any]

    @property
    def size(self) -> tuple[int, ...]:
        """The output's."""
        return self.cotangent.shape[2:]

    @property
    def fixed(self) -> tuple[np.ndarray, ...]:
        """What stands after the arrays that have derivatives."""
        return () if self.control is None else (self.control,)

    @property
    def making(self) -> dict[str, Any]:
        """The options of the grid."""
        return {"align_corners": self.options["align_corners"]}


def grid(package: Any, given: Given) -> np.ndarray:
    """Return the grid of the maps."""
    function = getattr(package, f"{given.op}_grid")
    return function(given.theta, *given.fixed, given.size, **given.making)


def grid_vjp(package: Any, given: Given, bar: np.ndarray) -> np.ndarray:
    """Pull a cotangent of the grid back."""
    return getattr(package, f"{given.op}_grid_vjp")(bar, given.theta, *given.fixed, **given.making)


def grid_jvp(package: Any, given: Given) -> tuple[np.ndarray, np.ndarray]:
    """Push the tangent of the maps forward to the grid."""
    function = getattr(package, f"{given.op}_grid_jvp")
    return function(given.theta, given.theta_dot, *given.fixed, given.size, **given.making)


def sample(package: Any, given: Given, **more: Any) -> np.ndarray:
    """Sample without a grid."""
    function = getattr(package, f"{given.op}_sample")
    return function(given.image, given.theta, *given.fixed, given.size, **given.options, **more)


def sample_vjp(package: Any, given: Given, **more: Any) -> tuple[Any, Any]:
    """Pull the cotangent of the output back."""
    function = getattr(package, f"{given.op}_sample_vjp")
    return function(given.cotangent, given.image, given.theta, *given.fixed, **given.options, **more)


def sample_jvp(package: Any, given: Given, image_dot: Any, theta_dot: Any) -> tuple[np.ndarray, np.ndarray]:
    """Push tangents forward."""
    function = getattr(package, f"{given.op}_sample_jvp")
    return function(given.image, given.theta, image_dot, theta_dot, *given.fixed, given.size, **given.options)


def exact(given: Given) -> np.ndarray:
    """Return the grid in float64, from the formula."""
    if given.control is None:
        return oracles.projective_grid(given.theta, given.size, given.options["align_corners"])
    table = oracles.thin_plate_spline_table(given.control, given.size, given.options["align_corners"])
    return np.einsum("...k,nkd->n...d", table, given.theta.astype(float))


def draw(op: str, d: int, mode: str, padding: str, align: bool, batch: int = 2, dtype: str = "float64") -> Given:
    """Draw a call, channels first, with no location at a knot; projective maps show no horizon."""
    random = np.random.default_rng([d, len(mode), len(padding), align])
    extent, size, channels = EXTENT[-d:], SIZE[-d:], 2 if d < 3 else 1
    control = None
    if op == "thin_plate_spline":
        lattice = np.stack([a.ravel() for a in np.meshgrid(*(np.linspace(-1, 1, n) for n in LATTICE[-d:]))], axis=-1)
        control = lattice + random.uniform(-0.2, 0.2, lattice.shape)
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 0.5}
    image, image_dot = random.uniform(-1, 1, (2, batch, channels, *extent)).astype(dtype)
    cotangent = random.uniform(-1, 1, (batch, channels, *size)).astype(dtype)
    given = Given(op, image, image, control, cotangent, image_dot, image, options)
    theta = np.stack([_theta(random, given, extent) for _ in range(batch)])
    theta_dot = random.uniform(-1, 1, theta.shape)
    return given._replace(theta=theta.astype(dtype), theta_dot=theta_dot.astype(dtype))


def _theta(random: np.random.Generator, given: Given, extent: tuple[int, ...]) -> np.ndarray:
    d, n = len(extent), np.array(extent[::-1], float)
    while True:
        if given.control is None:
            theta = random.uniform(-1, 1, (d + 1, d + 1))
            theta[d] = [*random.uniform(-0.8 / d, 0.8 / d, d), random.uniform(1, 2)]
        else:
            theta = given.control + random.uniform(-0.7, 0.7, given.control.shape)
        u = exact(given._replace(theta=theta[None]))
        half = (u + 1) * (n - 1) if given.options["align_corners"] else (u + 1) * n - 1  # twice the pixel
        if np.abs(half - np.rint(half)).min() > MARGIN:
            return theta
