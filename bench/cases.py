"""Named workloads as data, shared by the tests and the benchmarks."""

from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Case(NamedTuple):
    """One call of an operation or of a derivative: shapes, options and dtype."""

    name: str
    batch: int
    channels: int
    extent: Shape  # of the image: (W,), (H, W) or (D, H, W)
    size: Shape  # of the output
    mode: str = "bilinear"
    padding_mode: str = "zeros"
    align_corners: bool = False
    coords: str = "normalized"
    data_format: str = "channels_first"
    dtype: str = "float32"
    op: str = "grid_sample"
    derivative: str = "forward"  # or a name in DERIVATIVES
    antialias: int = 0  # places along each axis; 0 leaves the option out
    prefilter: bool = False  # of splines: the image is not the coefficients, which are found first

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of a call of `grid_sample`."""
        names = ("mode", "padding_mode", "align_corners", "coords", "data_format")
        return {name: getattr(self, name) for name in names}

    @property
    def last(self) -> bool:
        """Whether channels come last."""
        return self.data_format == "channels_last"

    def planes(self, spatial: Shape) -> Shape:
        """The shape of an image of this layout."""
        channels = (self.channels,)
        return (self.batch, *spatial, *channels) if self.last else (self.batch, *channels, *spatial)


# What each derivative of a sampler returns: does it jump where a coordinate passes from one pixel to the next?
# "step" is a training step: the forward pass, then the reverse one.
DERIVATIVES: dict[str, tuple[bool, ...]] = {
    "forward": (False,),
    "vjp": (False, True),
    "vjp_image": (False,),
    "vjp_source": (True,),
    "jvp": (False, True),
    "double_vjp": (True, True, True),
    "step": (False, False, True),
}


def reduced(one: Case) -> Case:
    """Return a case with the same choices on an image of a few pixels, which may even run uncompiled."""
    extent = tuple(min(n, most) for n, most in zip(one.extent, (5, 6, 7)[-len(one.extent) :], strict=True))
    batch, channels = min(one.batch, 2), min(one.channels, 3)
    return one._replace(name=f"{one.name}/reduced", batch=batch, channels=channels, extent=extent, size=extent)


class Inputs:
    """The arrays of a case, drawn when they are asked for by name, with seeds of their own.

    The maps are of the kind that a localisation network gives: a rotation within 30 degrees, a zoom between 0.8
    and 1.2 and a small shift for each item of the batch. The grid is theirs, so some locations lie outside.
    """

    def __init__(self, of: Case) -> None:
        self.case = of
        self._drawn: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._drawn:
            self._drawn[name] = getattr(self, f"_{name}")()
        return self._drawn[name]

    def _draw(self, seed: int, shape: Shape, dtype: str) -> np.ndarray:
        random = np.random.default_rng(seed)
        if np.dtype(dtype if dtype != "bfloat16" else "float32").kind == "u":
            return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        drawn = random.random(shape, np.float32 if dtype != "float64" else np.float64)
        return drawn.astype(_dtype(dtype), copy=False)

    @property
    def _coordinate(self) -> str:
        return "float64" if self.case.dtype == "float64" else "float32"

    def _size(self) -> Shape:
        return self.case.size

    def _image(self) -> np.ndarray:
        return self._draw(0, self.case.planes(self.case.extent), self.case.dtype)

    def _d_image(self) -> np.ndarray:
        return self._draw(1, self.case.planes(self.case.extent), self.case.dtype)

    def _cotangent(self) -> np.ndarray:
        return self._draw(2, self.case.planes(self.case.size), self.case.dtype)

    def _theta(self) -> np.ndarray:
        random = np.random.default_rng(3)
        n, d = self.case.batch, len(self.case.extent)
        linear = np.eye(d) * random.uniform(0.8, 1.2, (n, 1, 1))
        for i in range(d):
            for j in range(i + 1, d):
                angle = np.radians(random.uniform(-30, 30, n))
                turn = np.tile(np.eye(d), (n, 1, 1))
                turn[:, i, i] = turn[:, j, j] = np.cos(angle)
                turn[:, i, j], turn[:, j, i] = -np.sin(angle), np.sin(angle)
                linear = turn @ linear
        return np.concatenate([linear, random.uniform(-0.1, 0.1, (n, d, 1))], axis=-1).astype(self._coordinate)

    def _d_theta(self) -> np.ndarray:
        return self._draw(4, self["theta"].shape, self._coordinate)

    def _projection(self) -> np.ndarray:
        """The maps of `theta`, seen at a slant: no horizon is in sight."""
        theta, (n, d) = self["theta"], (self.case.batch, len(self.case.extent))
        last = np.random.default_rng(8).uniform(-0.2 / d, 0.2 / d, (n, 1, d))
        return np.concatenate([theta, np.concatenate([last, np.ones((n, 1, 1))], axis=-1)], axis=1).astype(theta.dtype)

    def _d_projection(self) -> np.ndarray:
        return self._draw(9, self["projection"].shape, self._coordinate)

    def _control(self) -> np.ndarray:
        """Four control points along every axis."""
        d = len(self.case.extent)
        axes = np.meshgrid(*[np.linspace(-1, 1, 4)] * d, indexing="ij")[::-1]
        return np.stack([axis.ravel() for axis in axes], axis=-1)

    def _spline(self) -> np.ndarray:
        """The maps of `theta`, bent: every control point is moved by up to a tenth."""
        theta, control = self["theta"].astype(float), self["control"]
        moved = np.einsum("nij,kj->nki", theta[..., :-1], control) + theta[:, None, :, -1]
        return (moved + np.random.default_rng(10).uniform(-0.1, 0.1, moved.shape)).astype(self._coordinate)

    def _d_spline(self) -> np.ndarray:
        return self._draw(11, self["spline"].shape, self._coordinate)

    def _grid(self) -> np.ndarray:
        theta, d = self["theta"], len(self.case.size)
        axes = [((2 * np.arange(n) + 1) / n - 1).astype(self._coordinate) for n in self.case.size]
        steps = np.meshgrid(*axes, indexing="ij", sparse=True)[::-1]  # x, y, z
        grid = np.empty((self.case.batch, *self.case.size, d), self._coordinate)
        for item, matrix in zip(grid, theta, strict=True):
            for axis, row in enumerate(matrix):
                item[..., axis] = sum(map(np.multiply, row[:d], steps)) + row[d]
        return grid

    def _d_grid(self) -> np.ndarray:
        return self._draw(5, self["grid"].shape, self._coordinate)

    def _grid_bar(self) -> np.ndarray:
        return self._draw(6, self["grid"].shape, self._coordinate)

    def _flow(self) -> np.ndarray:
        identity = np.stack(np.meshgrid(*map(np.arange, self.case.size), indexing="ij")[::-1], axis=-1)
        return (self["pixels"] - identity).astype(self._coordinate)

    def _d_flow(self) -> np.ndarray:
        return self._draw(7, self["grid"].shape, self._coordinate)

    def _pixels(self) -> np.ndarray:
        """The grid in pixels, x, y, z, in float64: what libraries take that know no normalised coordinates."""
        n = np.array(self.case.extent[::-1], float)
        return ((self["grid"] + 1.0) * n - 1) / 2

    def _matrices(self) -> np.ndarray:
        """Theta in pixels, (N, d, d + 1) in float64, from output to input.

        With u = (2 p + 1) / m - 1 in the output and p = ((u + 1) n - 1) / 2 in the input, the map u -> L u + t is
        p -> n/2 L 2/m p + n/2 (L (1/m - 1) + t + 1) - 1/2.
        """
        theta = self["theta"].astype(float)
        n, m = (np.array(extent[::-1], float) for extent in (self.case.extent, self.case.size))
        linear, shift = theta[..., :-1], theta[..., -1]
        moved = n / 2 * (linear @ (1 / m - 1) + shift + 1) - 0.5
        return np.concatenate([linear * (n / 2)[:, None] * (2 / m), moved[..., None]], axis=-1)

    def _homographies(self) -> np.ndarray:
        """The projection in pixels, (N, d + 1, d + 1) in float64, from output to input."""
        d = len(self.case.size)

        def unit(extent: Shape) -> np.ndarray:
            """Return the matrix that takes pixels to normalised coordinates."""
            n = np.array(extent[::-1], float)
            matrix = np.diag([*(2 / n), 1.0])
            matrix[:d, d] = 1 / n - 1
            return matrix

        return np.linalg.inv(unit(self.case.extent)) @ self["projection"].astype(float) @ unit(self.case.size)


def _dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(name)
