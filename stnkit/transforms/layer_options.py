"""Options of layers, checked when a layer is made, and not only when it is called."""

from collections.abc import Mapping
from typing import Any

from stnkit import validation
from stnkit.antialias.footprints import MOST
from stnkit.calls.arguments import Choices
from stnkit.validation.options import AXES

SHARED = ("mode", "padding_mode", "fill_value", "align_corners", "data_format", "prefilter")  # by all samplers
DEFAULTS = {name: Choices._field_defaults[name] for name in SHARED}
NAMES = ("mode", "padding_mode", "align_corners", "data_format", "coords", "units")


def checked(
    options: Mapping[str, Any], size: Any = None, axes: int | None = None, **own: Any
) -> tuple[dict[str, Any], tuple[int, ...] | None]:
    """Return options of a sampler, and the size that is read, as a layer keeps them; refuse what no call would take.

    They come in types that have a hash. `own` are those that not every sampler has. `axes` is the number of spatial
    axes, where something else than the size says it. What only shapes and dtypes tell is left to calls.
    """
    for name in options:
        if name not in DEFAULTS:
            msg = f"`{name}` is no option here; options are {', '.join(map(repr, [*own, *DEFAULTS]))}"
            raise TypeError(msg)
    kept = {**DEFAULTS, **options, **own}
    if isinstance(kept["padding_mode"], list):
        kept["padding_mode"] = tuple(kept["padding_mode"])
    sizes = None if size is None else validation.size(size, axes)
    if sizes is not None:
        axes = len(sizes)
    elif axes is None and isinstance(kept["padding_mode"], tuple) and len(kept["padding_mode"]) in AXES:
        axes = len(kept["padding_mode"])
    validation.options(axes or 2, **{name: kept[name] for name in NAMES if name in kept})
    kept["fill_value"] = validation.any_fill(kept["fill_value"])
    kept["prefilter"] = validation.flag("prefilter", kept["prefilter"])
    if "antialias" in kept:
        kept["antialias"] = validation.antialias(kept["antialias"], MOST)
    return kept, sizes
