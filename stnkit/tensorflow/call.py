"""What every public function does with tensors: it runs on their memory, and has its gradient there."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from stnkit.backends.interop import misfit, no_array
from stnkit.calls.signatures import array_names, bound, refuse_written
from stnkit.calls.unknown_sizes import Shaped
from stnkit.tensorflow import gradients
from stnkit.tensorflow.memory import run
from stnkit.tensorflow.results import results

Tensor = Any


def signed(public: Callable[..., Any]) -> Callable[..., Any]:
    """Return a public function on tensors, of its name, its signature and its defaults.

    Where tensors are elsewhere, as control points or a fill value, the call is NumPy's.
    """
    signature, names = inspect.signature(public), array_names(public)

    @functools.wraps(public)
    def call(*args: Any, **options: Any) -> Any:
        arguments = bound(public, signature, args, options)
        given = {name: _read(arguments.pop(name)) for name in names}
        rest = {name: _constant(name, value) for name, value in arguments.items()}
        if not any(isinstance(array, tf.Tensor) for array in given.values()):
            return inspect.unwrap(public)(**given, **rest)
        misfit("tensorflow", given, tf.Tensor)
        refuse_written(rest, "TensorFlow's tensors")
        for name, array in given.items():
            if array is None and not ("image" in given and name.startswith("d")):  # tangents, of which None is zero
                raise no_array(name, array, "a tensorflow array")
            if array is not None and array.shape.rank is None:
                msg = f"`{name}` has a shape of unknown rank; set what is known of it: `{name}.set_shape(...)`"
                raise ValueError(msg)
        return _differentiated(public, given, rest)

    return call


def _read(given: Any) -> Any:
    """Return the tensor that a variable holds; anything else as it is."""
    return tf.convert_to_tensor(given) if isinstance(given, tf.Variable) else given


def _constant(name: str, value: Any) -> Any:
    """Return an option as NumPy's functions take it; refuse a tensor whose numbers are not known."""
    if isinstance(value, tf.TensorShape):
        return tuple(value)
    value = _read(value)
    if not isinstance(value, tf.Tensor):
        return value
    if not hasattr(value, "numpy"):
        msg = f"`{name}` is a tensor of a graph; it must be known when the graph is made: pass numbers"
        raise TypeError(msg)
    return tuple(value.numpy().tolist()) if name == "size" else value.numpy()


def _differentiated(public: Callable[..., Any], given: dict[str, Tensor], rest: dict[str, Any]) -> Any:
    """Call a function on tensors' memory, and say what its gradient is."""
    here = [name for name, tensor in given.items() if tensor is not None]

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # as TensorFlow's is
    def function(*tensors: Tensor) -> Any:
        found = _perform(public, given, here, rest, tensors)

        def pull(*bars: Tensor) -> Sequence[Tensor]:
            return gradients.pulled(public, dict(zip(here, tensors, strict=True)), rest, bars)

        return (found[0] if len(found) == 1 else found), pull

    found = function(*[given[name] for name in here])
    return gradients.named(public.__name__, given, rest, found if isinstance(found, (list, tuple)) else [found])


def _perform(
    public: Callable[..., Any],
    given: dict[str, Tensor],
    here: list[str],
    rest: dict[str, Any],
    tensors: Sequence[Tensor],
) -> list[Tensor]:
    """Return what a public function returns, but for what is None."""
    parameters = inspect.signature(public).parameters
    chosen = {name: value for name, value in rest.items() if value is not parameters[name].default}

    def on_memory(*views: np.ndarray) -> list[np.ndarray]:
        arrays = dict(zip(here, views, strict=True))
        made = public(*[arrays.get(name) for name in given], **chosen)
        return [one for one in (made if isinstance(made, tuple) else (made,)) if one is not None]

    def shaped() -> list[Shaped]:
        forms = {name: _shaped(tensor) for name, tensor in zip(here, tensors, strict=True)}
        return results(public.__name__, forms | rest)

    title = f"stnkit_{public.__name__}_in_Python"  # which TensorFlow's errors name, as of a SavedModel that lacks it
    return run(title, on_memory, tensors, shaped)


def _shaped(tensor: Tensor) -> Shaped:
    return Shaped(tuple(tensor.shape), np.dtype(tensor.dtype.as_numpy_dtype))
