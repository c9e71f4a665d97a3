"""The gradient of each function: another function of `stnkit`, by its name.

That of a function is its `_vjp`, and that of a sampler's `_vjp` is its `_double_vjp`. Grids of affine maps, flows and
splines, and the filter of splines, are linear: the gradient of their `_vjp` is the function again.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

import stnkit
from stnkit.calls.signatures import taken
from stnkit.tensorflow.results import asked

Tensor = Any
Arrays = dict[str, Tensor]

LINEAR = {
    "affine_grid_vjp": "affine_grid",
    "flow_grid_vjp": "flow_grid_vjp",  # as `flow_grid` adds the identity, which has no part in gradients
    "spline_filter_vjp": "spline_filter",
    "thin_plate_spline_grid_vjp": "thin_plate_spline_grid",
}


def pulled(
    public: Callable[..., Any], arrays: Arrays, rest: dict[str, Any], bars: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the cotangents of a function's arrays for those of its results."""
    name = public.__name__
    if name in LINEAR:
        return _linear(LINEAR[name], arrays, rest, bars[0])
    double = name.replace("_vjp", "_double_vjp")
    vjp: Callable[..., Any] | None
    if name.endswith("_sample_vjp") and (vjp := getattr(stnkit, double, None)) is not None:
        dots = {f"dd_{word}": bar for word, bar in zip(_words(name, rest), bars, strict=True)}
        first = [f"dd_{word}" for word in list(arrays)[1:]]
        options = _taken(name, vjp, rest, "wrt")
        return list(vjp(*[dots.get(word) for word in first], *arrays.values(), **options))
    vjp = None if name.endswith(("_vjp", "_jvp")) else getattr(stnkit, f"{name}_vjp", None)
    if vjp is None:
        msg = (
            f"`{name}` has no gradient in TensorFlow, as stnkit has no function that computes it; where it is itself "
            "the gradient of another function, that one can be differentiated only once"
        )
        raise NotImplementedError(msg)
    options = _taken(name, vjp, rest, "size")
    given = taken(vjp, arrays)
    if "wrt" not in inspect.signature(vjp).parameters:
        return [vjp(bars[0], **given, **options)]
    wrt = tuple(word for word, array in arrays.items() if array.dtype.is_floating)
    if tf.executing_eagerly():
        return list(vjp(bars[0], **given, **options, wrt=wrt))
    # A graph leaves out the step of a cotangent that nothing asks for, as of images that are data.
    steps = {word: vjp(bars[0], **given, **options, wrt=word) for word in wrt}
    return [steps[word][place] if word in wrt else None for place, word in enumerate(arrays)]


def _linear(name: str, arrays: Arrays, rest: dict[str, Any], bar: Tensor) -> list[Tensor | None]:
    """Return the cotangents of a function that is linear in its first argument; the others have no part in it."""
    function, cotangent = getattr(stnkit, name), arrays["cotangent"]
    options = taken(function, rest)
    if "size" in inspect.signature(function).parameters:
        options["size"] = tuple(cotangent.shape)[-1 - cotangent.shape[-1] : -1]
    return [function(bar, **options), *[None] * (len(arrays) - 1)]


def _taken(name: str, vjp: Callable[..., Any], rest: dict[str, Any], own: str) -> dict[str, Any]:
    """Return the options of a function that its gradient has too; refuse others, but for its own."""
    options = taken(vjp, rest)
    for word, value in rest.items():
        if word not in options and word != own and value:
            msg = f"`{name}` with `{word}` has no gradient in TensorFlow; got {word}={value!r}"
            raise NotImplementedError(msg)
    return options


def _words(name: str, rest: dict[str, Any]) -> list[str]:
    """Return what the results of a vjp belong to."""
    return [word for word in _default_wrt(name) if asked(word, rest)]


def _default_wrt(name: str) -> tuple[str, ...]:
    """Return all that a vjp can be asked for."""
    default: tuple[str, ...] = inspect.signature(getattr(stnkit, name)).parameters["wrt"].default
    return default


def named(name: str, given: Arrays, rest: dict[str, Any], found: Sequence[Tensor]) -> Any:
    """Return results as the public function does: None for what was not asked for, and one alone by itself."""
    if "wrt" in rest:
        some = dict(zip(_words(name, rest), found, strict=True))
        return tuple(some.get(word) for word in _default_wrt(name))
    if name.endswith("_double_vjp"):
        return (found[0], None, found[1]) if len(found) == 2 else tuple(found)
    return tuple(found) if len(found) > 1 else found[0]
