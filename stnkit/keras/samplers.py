"""Samplers as layers of two inputs: images, and where to read them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import stnkit
from stnkit.calls.control_points import as_float64, key_of
from stnkit.keras.sampling import Sampling, Tensor
from stnkit.spec import AFFINE, FLOW, GRID, PROJECTIVE, THIN_PLATE_SPLINE
from stnkit.transforms.identity_parameters import LATTICES

registered = keras.saving.register_keras_serializable(package="stnkit")


class _Sampler(Sampling):
    """A layer that calls one of the samplers."""

    kind: int
    _function: Callable[..., Tensor]
    named: tuple[str, ...] = ()  # options of its own, which are attributes

    def call(self, image: Tensor, source: Tensor) -> Tensor:
        """Read images."""
        image, source = self._image(image), self._source(source)
        return self._function(image, source, **self._options(), data_format=self.data_format, **self._own(source))

    def compute_output_spec(self, image: Any, source: Any) -> Any:
        """Return the symbolic tensor of what is read."""
        return self._read(self.kind, image, source.shape, **self._own(source))

    def compute_output_shape(self, image_shape: Sequence[int | None], source_shape: Sequence[int | None]) -> Any:
        """Return the shape of what is read."""
        given = [keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in (image_shape, source_shape)]
        return self.compute_output_spec(*given).shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make a layer like this one."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self.named}}

    def _own(self, source: Any) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.named}


@registered
class GridSample(_Sampler):
    """Read images at the coordinates of a grid: `stnkit.grid_sample` as a layer, called with images and a grid.

    Parameters
    ----------
    coords : {"normalized", "pixel"}
        The unit of the grid, of shape (N, *T, d) in the order x, y, z.
    data_format : {"channels_first", "channels_last"}, optional
        Where images have their channels; that of Keras' configuration if left out.
    **options
        `mode`, `prefilter`, `padding_mode`, `fill_value` and `align_corners` of `stnkit.grid_sample`; and those of a
        layer of Keras, as `name` and `dtype`.

    Raises
    ------
    ValueError
        If the name of a choice is unknown; when it is called, if shapes do not fit.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import GridSample
    >>> image = np.array([[[1.0], [2.0], [3.0]]], "float32")
    >>> grid = np.array([[[2.0], [0.5]]], "float32")
    >>> layer = GridSample(coords="pixel", data_format="channels_last")
    >>> keras.ops.convert_to_numpy(layer(image, grid)).tolist()
    [[[3.0], [1.5]]]
    """

    kind, named = GRID, ("coords",)
    _function = staticmethod(stnkit.grid_sample)

    def __init__(self, *, coords: str = "normalized", **options: Any) -> None:
        super().__init__({"coords": coords}, **options)


@registered
class FlowSample(_Sampler):
    """Read images where a flow leads: `stnkit.flow_sample` as a layer, called with images and a flow.

    Parameters
    ----------
    units : {"pixel", "normalized"}
        The unit of the flow, of shape (N, *T, d) in the order x, y, z.
    antialias : bool or int
        Whether locations are supersampled, as in `stnkit.flow_sample`.
    **options
        As for `GridSample`.

    Raises
    ------
    ValueError
        If the name of a choice is unknown; when it is called, if shapes do not fit.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import FlowSample
    >>> image = np.array([[[1.0], [2.0], [3.0]]], "float32")
    >>> flow = np.ones((1, 3, 1), "float32")
    >>> layer = FlowSample(padding_mode="border", data_format="channels_last")
    >>> keras.ops.convert_to_numpy(layer(image, flow)).round(5).tolist()
    [[[2.0], [3.0], [3.0]]]
    """

    kind, named = FLOW, ("units", "antialias")
    _function = staticmethod(stnkit.flow_sample)

    def __init__(self, *, units: str = "pixel", antialias: bool | int = False, **options: Any) -> None:
        super().__init__({"units": units, "antialias": antialias}, **options)


@registered
class AffineSample(_Sampler):
    """Read images under affine maps: `stnkit.affine_sample` as a layer, called with images and theta.

    Parameters
    ----------
    size : sequence of int, optional
        The output's spatial size; that of the images if left out.
    coords : {"normalized", "pixel"}
        The unit of both sides of theta, of shape (N, d, d + 1).
    antialias : bool or int
        Whether locations are supersampled, as in `stnkit.affine_sample`.
    **options
        As for `GridSample`.

    Raises
    ------
    ValueError
        If the name of a choice or `size` is none that a call would take; when it is called, if shapes do not fit.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import AffineSample
    >>> image = np.array([[[1.0], [2.0], [3.0]]], "float32")
    >>> flip = np.array([[[-1.0, 0.0]]], "float32")
    >>> layer = AffineSample(data_format="channels_last")
    >>> keras.ops.convert_to_numpy(layer(image, flip)).tolist()
    [[[3.0], [2.0], [1.0]]]
    """

    kind, named = AFFINE, ("size", "coords", "antialias")
    _function = staticmethod(stnkit.affine_sample)

    def __init__(
        self,
        size: Sequence[int] | None = None,
        *,
        coords: str = "normalized",
        antialias: bool | int = False,
        **options: Any,
    ) -> None:
        super().__init__({"coords": coords, "antialias": antialias}, size, **options)


@registered
class ProjectiveSample(_Sampler):
    """Read images under projective maps: `stnkit.projective_sample` as a layer, called with images and theta.

    Parameters
    ----------
    size : sequence of int, optional
        The output's spatial size; that of the images if left out.
    antialias : bool or int
        Whether locations are supersampled, as in `stnkit.projective_sample`.
    **options
        As for `GridSample`.

    Raises
    ------
    ValueError
        If the name of a choice or `size` is none that a call would take; when it is called, if shapes do not fit.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import ProjectiveSample
    >>> image = np.array([[[1.0], [2.0], [3.0]]], "float32")
    >>> layer = ProjectiveSample(data_format="channels_last")
    >>> keras.ops.convert_to_numpy(layer(image, np.array([[[-2.0, 0.0], [0.0, 2.0]]], "float32"))).tolist()
    [[[3.0], [2.0], [1.0]]]
    """

    kind, named = PROJECTIVE, ("size", "antialias")
    _function = staticmethod(stnkit.projective_sample)

    def __init__(self, size: Sequence[int] | None = None, *, antialias: bool | int = False, **options: Any) -> None:
        super().__init__({"antialias": antialias}, size, **options)


@registered
class ThinPlateSplineSample(_Sampler):
    """Read images under thin plate splines: `stnkit.thin_plate_spline_sample` as a layer, called with images and theta.

    Parameters
    ----------
    size : sequence of int, optional
        The output's spatial size; that of the images if left out.
    control_points : array of shape (K, d), optional
        Where in the output; a regular lattice of 4 along each axis if left out. Theta, of shape (N, K, d), says where
        in the image each reads.
    antialias : bool or int
        Whether locations are supersampled, as in `stnkit.thin_plate_spline_sample`.
    **options
        As for `GridSample`.

    Raises
    ------
    ValueError
        If a name is unknown, or control points determine no spline; when it is called, if shapes do not fit.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from stnkit.keras import ThinPlateSplineSample
    >>> image = np.array([[[1.0], [2.0], [3.0]]], "float32")
    >>> layer = ThinPlateSplineSample(control_points=[[-1.0], [1.0]], data_format="channels_last")
    >>> keras.ops.convert_to_numpy(layer(image, np.array([[[1.0], [-1.0]]], "float32"))).round(5).tolist()
    [[[3.0], [2.0], [1.0]]]
    """

    kind, named = THIN_PLATE_SPLINE, ("size", "control_points", "antialias")
    _function = staticmethod(stnkit.thin_plate_spline_sample)

    def __init__(
        self,
        size: Sequence[int] | None = None,
        *,
        control_points: Any = None,
        antialias: bool | int = False,
        **options: Any,
    ) -> None:
        points = listed(control_points)
        super().__init__({"antialias": antialias}, size, axes_of(points), **options)
        self.control_points = points

    def _own(self, source: Any) -> dict[str, Any]:
        given = self.control_points
        points = LATTICES.get(source.shape[-1], LATTICES[2]) if given is None else np.asarray(given)
        return {**super()._own(source), "control_points": points}


def axes_of(points: list[list[float]] | None) -> int | None:
    """Return the number of axes of control points, if there are some."""
    return None if points is None else len(points[0])


def listed(control_points: Any) -> list[list[float]] | None:
    """Return control points as a file can hold them; refuse those that determine no spline."""
    if control_points is None:
        return None
    rows = isinstance(control_points, (list, tuple))
    points = as_float64(np.asarray(control_points, float) if rows else control_points)
    key_of(points)  # refuses those that determine no spline
    return points.tolist()  # type: ignore[no-any-return]  # of the type that the signature says
