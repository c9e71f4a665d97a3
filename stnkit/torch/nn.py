"""Modules: a spatial transformer around any localisation network, and the samplers with their options kept.

None of them has parameters of its own; a localisation network keeps its. `identity_head` makes the last layer of one,
which starts at the identity, so that training begins with images as they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import fx, nn

import stnkit
from stnkit.calls.arguments import Units
from stnkit.torch.unsupported import refuse_tracing
from stnkit.transforms import IDENTITIES, axes_of, identity_parameters
from stnkit.transforms.for_layers import Reader, reader
from stnkit.transforms.identity_parameters import LATTICES, SPLINE
from stnkit.transforms.layer_options import checked

__all__ = ["AffineSample", "GridSample", "SpatialTransformer", "identity_", "identity_head"]


# torch's exporter keeps a NumPy array as a tensor without numbers
_LATTICES = {axes: torch.from_numpy(points) for axes, points in LATTICES.items()}


# `torch.fx` records a call of either as one step: what is inside needs the shapes of tensors.


@fx.wrap  # type: ignore[untyped-decorator]  # torch's types are not followed
def maps(parameters: torch.Tensor, transform: str, control_points: Any) -> torch.Tensor:
    """Return the maps that parameters stand for."""
    return Reader(transform, control_points, {}).theta(parameters, torch)


@fx.wrap  # type: ignore[untyped-decorator]  # as above
def read(
    image: torch.Tensor, theta: torch.Tensor, size: Any, transform: str, points: Any, lattices: Any, **options: Any
) -> Any:
    """Read images under the maps of a transform."""
    return Reader(transform, points, lattices).sample(image, theta, size, **options)


class Sampler(nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """What the samplers' modules share: the options of sampling, checked once and shown when printed."""

    def __init__(
        self,
        options: dict[str, Any],
        size: Sequence[int] | None = None,
        axes: int | None = None,
        **own: Any,
    ) -> None:
        super().__init__()
        self.options, self.size = checked(options, size, axes, **own)
        if self.options["prefilter"]:
            del self.options["prefilter"]

    def extra_repr(self) -> str:
        """Write the options, for `print`."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which calls this for every module it finds."""
        msg = "torch.jit cannot script a module of stnkit; use torch.compile, or torch.export and its ONNX exporter"
        raise NotImplementedError(msg)


class GridSample(Sampler):
    """`stnkit.grid_sample` as a module.

    Parameters
    ----------
    coords : {"normalized", "pixel"}
        The unit of the grids.
    **options
        The other options of `stnkit.grid_sample`: `mode`, `prefilter`, `padding_mode`, `fill_value`, `align_corners`
        and `data_format`.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.nn import GridSample
    >>> sample = GridSample(coords="pixel", padding_mode="border")
    >>> sample(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[0.5], [9.0]]]))
    tensor([[[0.5000, 2.0000]]])
    """

    def __init__(self, *, coords: Units = "normalized", **options: Any) -> None:
        super().__init__(options, coords=coords)

    def forward(self, image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Interpolate an image of shape (N, C, *S) at a grid of shape (N, *T, d)."""
        return stnkit.grid_sample(image, grid, **self.options)


class MapSample(Sampler):
    """What samplers under maps share: the output's size, and how a reader reads."""

    def __init__(
        self, how: Reader, size: Sequence[int] | None = None, *, antialias: bool | int = False, **options: Any
    ) -> None:
        points = how.control_points
        super().__init__(options, size, None if points is None else points.shape[-1], antialias=antialias)
        self.reader = how

    def forward(self, image: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """Interpolate an image of shape (N, C, *S) under maps: of shape (N, d, d + 1), if they are affine."""
        how = self.reader
        return read(image, theta, self.size, how.transform, how.control_points, how.lattices, **self.options)

    def extra_repr(self) -> str:
        """Write the options, for `print`."""
        return f"size={self.size}, {super().extra_repr()}"


class AffineSample(MapSample):
    """`stnkit.affine_sample` as a module: it samples under affine maps, and stores no grid.

    Parameters
    ----------
    size : sequence of int, optional
        The output's spatial size; the image's if left out.
    antialias : bool or int
        Whether locations are supersampled, for maps that shrink, or the number of samples along each axis.
    **options
        The other options of `stnkit.affine_sample`: `mode`, `prefilter`, `padding_mode`, `fill_value`, `align_corners`
        and `data_format`.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.nn import AffineSample
    >>> AffineSample(size=(2,))(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[-1.0, 0.0]]]))
    tensor([[[3.5000, 1.5000]]])
    """

    def __init__(self, size: Sequence[int] | None = None, *, antialias: bool | int = False, **options: Any) -> None:
        super().__init__(reader("affine")._replace(lattices={}), size, antialias=antialias, **options)


class SpatialTransformer(nn.Module):  # type: ignore[misc]  # as above
    """A spatial transformer: a localisation network computes the parameters of a map, and a sampler reads under it.

    Parameters
    ----------
    localization : Module
        Outputs the transform's parameters, (N, K), from images.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"} or callable
        What the parameters mean, as in `stnkit.transforms`; or a function from them to theta, (N, d, d + 1).
    size : sequence of int, optional
        The output's spatial size; the images' if left out.
    control_points : array of shape (K, d), optional
        Of a thin plate spline: where in the output. A regular lattice of 4 along each axis if left out.
    **options
        The options of `stnkit.affine_sample`: `mode`, `prefilter`, `padding_mode`, `fill_value`, `align_corners`,
        `data_format` and `antialias`.

    References
    ----------
    Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", 2015.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.nn import SpatialTransformer, identity_head
    >>> localization = torch.nn.Sequential(torch.nn.Flatten(), identity_head(28 * 28, "attention"))
    >>> transformer = SpatialTransformer(localization, "attention", padding_mode="border")
    >>> images = torch.rand(4, 1, 28, 28)
    >>> torch.allclose(transformer(images), images, atol=1e-5)
    True
    """

    def __init__(
        self,
        localization: nn.Module,
        transform: str | Callable[[torch.Tensor], torch.Tensor] = "affine",
        size: Sequence[int] | None = None,
        *,
        control_points: Any = None,
        **options: Any,
    ) -> None:
        if not (isinstance(transform, str) or callable(transform)):
            msg = f"`transform` must be one of {', '.join(map(repr, IDENTITIES))} or a function; got {transform!r}"
            raise TypeError(msg)
        super().__init__()
        self.localization = localization
        self.transform = transform
        how = reader(transform if isinstance(transform, str) else "affine", control_points)
        points = None if how.control_points is None else torch.from_numpy(how.control_points)
        lattices = _LATTICES if how.transform == SPLINE else {}
        self.sample = MapSample(how._replace(control_points=points, lattices=lattices), size, **options)

    def theta(self, image: torch.Tensor) -> torch.Tensor:
        """Return the maps for images: what the localisation network says, as theta."""
        parameters = self.localization(image)
        if isinstance(self.transform, str):
            return maps(parameters, self.transform, self.sample.reader.control_points)
        return self.transform(parameters)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Sample each image where the localisation network says."""
        if torch.jit.is_tracing():  # the sampler says so too, but transforms, which come first, fail without a word
            refuse_tracing()
        return self.sample(image, self.theta(image))

    def extra_repr(self) -> str:
        """Write the options, for `print`."""
        return f"transform={self.transform!r}"


def identity_(layer: nn.Module, transform: str = "affine", *, control_points: Any = None) -> nn.Module:
    """Set a layer's weight to zero and its bias to the identity of a transform, in place.

    Parameters
    ----------
    layer : Module
        The last layer of a localisation network, with a `weight` and a `bias`.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What the layer's outputs mean.
    control_points : array of shape (K, d), optional
        Of a thin plate spline, as for `SpatialTransformer`.

    Returns
    -------
    Module
        The layer.

    Raises
    ------
    ValueError
        If the layer has no bias, or not as many outputs as the transform has parameters.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.nn import identity_
    >>> identity_(torch.nn.Linear(8, 4), "similarity").bias.tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    bias = getattr(layer, "bias", None)
    if bias is None:
        msg = f"`layer` must have a bias, which holds the identity; got {layer}"
        raise ValueError(msg)
    control = None if control_points is None else tuple(control_points.shape)
    axes = axes_of(transform, tuple(bias.shape), control)
    numbers = identity_parameters(transform, axes, control_points=control_points)
    with torch.no_grad():
        nn.init.zeros_(layer.weight)
        bias.copy_(bias.new_tensor(numbers))
    return layer


def identity_head(
    in_features: int,
    transform: str = "affine",
    axes: int = 2,
    *,
    control_points: Any = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Linear:
    """Make the last layer of a localisation network, whose output is the identity whatever its input is.

    Parameters
    ----------
    in_features : int
        How many features the layer sees.
    transform : {"affine", "attention", "similarity", "rotation", "projective", "thin_plate_spline"}
        What its outputs mean.
    axes : int
        The number of spatial axes, 1 to 3.
    control_points : array of shape (K, d), optional
        Of a thin plate spline, as for `SpatialTransformer`; they say the number of axes.
    device, dtype
        Of the layer, as for `torch.nn.Linear`.

    Returns
    -------
    Linear
        With a weight of zero and a bias of the transform's identity. It learns from the first step on.

    Raises
    ------
    ValueError
        If the transform is unknown, or does not act on so many axes or has no control points.

    Examples
    --------
    >>> import torch
    >>> from stnkit.torch.nn import identity_head
    >>> identity_head(32, "attention")(torch.rand(2, 32)).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    count = len(identity_parameters(transform, axes, control_points=control_points))
    layer = nn.Linear(in_features, count, device=device, dtype=dtype)
    identity_(layer, transform, control_points=control_points)
    return layer
