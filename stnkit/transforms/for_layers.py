"""Readers: what every layer does with a transform's parameters, whatever framework differentiates it."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from stnkit import validation
from stnkit.api.affine import affine_sample, affine_sample_vjp
from stnkit.api.projective import projective_sample, projective_sample_vjp
from stnkit.api.thin_plate_spline import thin_plate_spline_sample, thin_plate_spline_sample_vjp
from stnkit.calls.control_points import as_float64, key_of
from stnkit.transforms.identity_parameters import LATTICES, SPLINE, identity_parameters, refuse_points
from stnkit.transforms.namespaces import Array, Namespace
from stnkit.transforms.parameters import TRANSFORMS

Sampling = tuple[Callable[..., Any], Callable[..., Any]]  # a sampler and its vjp

AFFINE: Sampling = (affine_sample, affine_sample_vjp)
SAMPLING: dict[str, Sampling] = {  # of the transforms whose theta is not affine
    "projective": (projective_sample, projective_sample_vjp),
    SPLINE: (thin_plate_spline_sample, thin_plate_spline_sample_vjp),
}


class Reader(NamedTuple):
    """How images are read under the parameters of a transform."""

    transform: str
    control_points: Array = None  # of splines, if they are not those of a lattice
    lattices: dict[int, Array] = LATTICES  # by the number of axes

    def theta(self, parameters: Array, xp: Namespace) -> Array:
        """Return the maps that parameters stand for."""
        return TRANSFORMS[self.transform](parameters, **self._own(), xp=xp)

    def continued(self, parameters: Array, xp: Namespace) -> Array:
        """Return the maps' continuation to complex parameters, where their formulas are analytic."""
        return inspect.unwrap(TRANSFORMS[self.transform])(parameters, **self._own(), xp=xp)

    def sample(self, image: Array, theta: Array, size: Any = None, **options: Any) -> Array:
        """Read images under maps."""
        sample, _ = SAMPLING.get(self.transform, AFFINE)
        return sample(image, theta, *self._fixed(theta), size, **options)

    def sample_vjp(self, cotangent: Array, image: Array, theta: Array, **options: Any) -> tuple[Array, Array]:
        """Pull the cotangent of what was read back to images and maps."""
        _, vjp = SAMPLING.get(self.transform, AFFINE)
        image_bar, theta_bar = vjp(cotangent, image, theta, *self._fixed(theta), **options)
        return image_bar, theta_bar

    def _own(self) -> dict[str, Array]:
        """Return what transforms take beside parameters."""
        return {} if self.control_points is None else {"control_points": self.control_points}

    def _fixed(self, theta: Array) -> tuple[Array, ...]:
        """Return what samplers take beside maps."""
        if self.transform != SPLINE:
            return ()
        return (self.lattices[theta.shape[-1]] if self.control_points is None else self.control_points,)


def reader(transform: str, control_points: Array = None) -> Reader:
    """Return a transform's reader; refuse an unknown name, and control points that determine no spline."""
    identity_parameters(transform)  # which knows the names
    if control_points is None:
        return Reader(transform)
    refuse_points(transform)
    points = as_float64(control_points)
    validation.control_axes(points.shape)
    key_of(points)  # refuses those that determine no spline
    return Reader(transform, points.copy())
