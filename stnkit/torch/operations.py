"""The table of operations: what each takes and gives. Schemas, shapes and rules of batching follow from it.

An operation has the name of the public function that computes it on NumPy arrays. Its options and their defaults
are read off that function, so that they are stated once.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

import stnkit
from stnkit import validation
from stnkit.backends import backend
from stnkit.calls.derivatives import NAMES, SAMPLERS, Derivative, array_names, optional
from stnkit.calls.splatting import splat_double_jvp
from stnkit.spec import AFFINE, FLOW, GRID

NAMESPACE = "stnkit"

Options = dict[str, Any]

# The options that operations have, and their types in a schema.
_TYPES = {
    "mode": "str",
    "padding_mode": "str[]",
    "fill_value": "float[]",
    "align_corners": "bool",
    "coords": "str",
    "units": "str",
    "data_format": "str",
    "deterministic": "bool",
}


class Operation(NamedTuple):
    """What an operation takes and gives, by names: arrays of one name have one shape, and "out" is a shape too."""

    name: str
    source: str  # where coordinates come from: "grid", "theta" or "flow"
    arrays: tuple[str, ...]
    shapes: tuple[str, ...]  # of the arrays, by the name of the array whose shape they have
    results: tuple[str, ...]  # and of the results
    optional: tuple[str, ...]  # arrays that may be None, which stands for zero
    sized: bool  # whether the output's size is an argument
    chosen: bool  # whether `wrt` chooses among the results
    plain: Callable[..., Any]  # the function on NumPy arrays
    names: tuple[str, ...]  # of results, as `wrt` has them
    where: int  # which argument the coordinates come from
    picture: int | None  # which argument gives results their channel axis, dtype and memory format
    rounds: bool  # whether an image of integers is sampled, and the result rounded to them
    summing: bool  # whether it adds up what many locations give, in an order that can be asked for
    options: dict[str, Any]  # and their defaults
    schema: str


def registered(operation: Operation, end: str = "") -> Any:
    """Return an operation as torch has it, or one whose name has another end."""
    return getattr(torch.ops.stnkit, operation.name + end).default


def _operation(
    public: Callable[..., Any],
    source: str,
    arrays: tuple[str, ...],
    results: tuple[str, ...],
    *,
    shapes: tuple[str, ...] | None = None,
    optional: tuple[str, ...] = (),
    name: str = "",
) -> Operation:
    plain = inspect.unwrap(public)
    name, parameters = name or plain.__name__, inspect.signature(plain).parameters
    options = {option: p.default for option, p in parameters.items() if option in _TYPES}
    sized, chosen = "size" in parameters, "wrt" in parameters
    takes = [f"Tensor{'?' if array in optional else ''} {array}" for array in arrays]
    takes += ["SymInt[] size"] * sized + ["bool[2] wrt"] * chosen + ["*"]
    takes += [_TYPES[option] + " " + option + _default(_TYPES[option], given) for option, given in options.items()]
    gives = "Tensor" if len(results) == 1 else f"({', '.join(['Tensor'] * len(results))})"
    schema = f"{name}({', '.join(takes)}) -> {gives}"
    pictures = [array for array in ("values", "image") if array in arrays]
    shapes = shapes or arrays
    return Operation(
        name=name,
        source=source,
        arrays=arrays,
        shapes=shapes,
        results=results,
        optional=optional,
        sized=sized,
        chosen=chosen,
        plain=plain,
        names=arrays[1:],
        where=max(n for n, shape in enumerate(shapes) if shape == source and arrays[n] not in optional),
        picture=arrays.index(pictures[0]) if pictures else None,
        rounds=arrays[0] == "image" and len(results) == 1,
        summing="deterministic" in parameters,
        options=options,
        schema=schema,
    )


def _default(kind: str, value: Any) -> str:
    """Write a default as a schema has it; a list of names can have none there."""
    return {"str": f'="{value}"', "str[]": "", "float[]": f"=[{value}]", "bool": f"={value}"}[kind]


def _sampler(public: Callable[..., Any], derivative: Derivative[Any], kind: int) -> Operation:
    """Return a sampler, or a derivative of one: a tangent has the shape of what it belongs to."""
    source = NAMES[kind]
    shape_of = {"source": source, "dot": source, "out_dot": "out"}
    takes, gives = (tuple(shape_of.get(role, role) for role in roles) for roles in (derivative.takes, derivative.gives))
    arrays = array_names(derivative, kind)
    dots = tuple(name for name in optional(derivative, kind) if name in arrays)
    return _operation(public, source, arrays, gives, shapes=takes, optional=dots)


def grid_splat_jvp(values: Any, grid: Any, d_values: Any, d_grid: Any, size: Sequence[int], **options: Any) -> Any:
    """Return a splat and its tangent: splatting is linear in values, and the adjoint of sampling in the image.

    So its tangent along a grid's is what the second order of sampling gives an image, of which nothing is read.
    """
    out = stnkit.grid_splat(values, grid, size, **options)
    terms = [] if d_values is None else [stnkit.grid_splat(d_values, grid, size, **options)]
    if d_grid is not None:
        shared = out.shape[: -1 - grid.shape[-1]]
        cotangent = np.broadcast_to(values, (*shared, *values.shape[-1 - grid.shape[-1] :]))
        terms.append(stnkit.grid_sample_double_vjp(None, d_grid, cotangent, out, grid, **options)[1])
    return out, backend(out).added(out, terms)


for _function in (grid_splat_jvp, splat_double_jvp):
    vars(_function)["__signature__"] = inspect.signature(stnkit.grid_splat)


OPERATIONS = {
    operation.name: operation
    for operation in [
        *(_sampler(getattr(stnkit, n), *row) for n, row in SAMPLERS.items() if row[1] in (GRID, AFFINE, FLOW)),
        _operation(stnkit.affine_grid, "theta", ("theta",), ("grid",)),
        _operation(stnkit.affine_grid_vjp, "grid", ("cotangent",), ("theta",), shapes=("grid",)),
        _operation(stnkit.flow_grid, "flow", ("flow",), ("grid",)),
        _operation(stnkit.flow_grid_vjp, "grid", ("cotangent",), ("flow",), shapes=("grid",)),
        _operation(stnkit.grid_splat, "grid", ("values", "grid"), ("image",), shapes=("out", "grid")),
        _operation(stnkit.grid_splat_vjp, "grid", ("cotangent", "values", "grid"), ("out", "grid"),
                   shapes=("image", "out", "grid")),
        _operation(grid_splat_jvp, "grid", ("values", "grid", "d_values", "d_grid"), ("image", "image"),
                   shapes=("out", "grid") * 2, optional=("d_values", "d_grid")),
        _operation(splat_double_jvp, "grid", ("values", "grid", "d_grid", "dd_grid"), ("image",),
                   shapes=("out", "grid", "grid", "grid"), name="grid_splat_double_jvp"),
    ]
}  # fmt: skip


def to_schema(operation: Operation, options: Options) -> Options:
    """Return options in the types of a schema, where one word for all axes, and one number, are lists of one.

    It has none for a filter: operations read what they are given.
    """
    if "padding_mode" not in operation.options:
        return options
    options = {word: value for word, value in options.items() if word != "prefilter"}
    listed = {**options, "padding_mode": _names(options.get("padding_mode", operation.options["padding_mode"]))}
    if "fill_value" in options:
        listed["fill_value"] = validation.numbers(options["fill_value"])
    return listed


def from_schema(schema: Options) -> Options:
    """Return options as the public functions take them."""
    return {
        option: _one(value) if option in ("padding_mode", "fill_value") else value for option, value in schema.items()
    }


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _names(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
