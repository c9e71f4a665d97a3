"""What stnkit calls for a case."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.cases import Case, Inputs


class Side(NamedTuple):
    """One library's way to compute a case: the call, and its results as arrays of stnkit's layout."""

    call: Callable[[], Any]
    arrays: Callable[[Any], Sequence[np.ndarray]]


_SOURCES = {
    "grid_sample": "grid",
    "affine_sample": "theta",
    "flow_sample": "flow",
    "projective_sample": "projection",
    "thin_plate_spline_sample": "spline",
}
_WORDS = {"projection": "theta", "spline": "theta"}  # of `wrt`, where they differ
_FIXED = {"spline": " control"}  # constants beside a source
_ARGUMENTS = {
    "affine_grid": "theta size",
    "affine_grid.vjp": "grid_bar",
    "affine_grid.jvp": "theta d_theta size",
    "flow_grid": "flow",
    "flow_grid.vjp": "grid_bar",
    "flow_grid.jvp": "flow d_flow",
    "projective_grid": "projection size",
    "projective_grid.vjp": "grid_bar projection",
    "projective_grid.jvp": "projection d_projection size",
    "thin_plate_spline_grid": "spline control size",
    "thin_plate_spline_grid.vjp": "grid_bar spline control",
    "thin_plate_spline_grid.jvp": "spline d_spline control size",
    "grid_splat": "cotangent grid size",
    "grid_splat.vjp": "image cotangent grid",
    "grid_count": "grid size",
    "grid_gradient": "image grid",
    "spline_filter": "image",
    "spline_filter.vjp": "cotangent",
}
for _op, _source in _SOURCES.items():
    _rest = _FIXED.get(_source, "")
    _ARGUMENTS |= {
        _op: f"image {_source}{_rest}",
        f"{_op}.vjp": f"cotangent image {_source}{_rest}",
        f"{_op}.jvp": f"image {_source} d_image d_{_source}{_rest}",
        f"{_op}.double_vjp": f"d_image d_{_source} cotangent image {_source}",
    }


def kind(case: Case) -> str:
    """Return "forward", or the derivative that a case's last function computes."""
    return "vjp" if case.derivative in ("vjp_image", "vjp_source", "step") else case.derivative


def arguments(case: Case) -> list[str]:
    """Return the names of the arguments of a case's call, in order."""
    return _ARGUMENTS[case.op + {"forward": ""}.get(kind(case), f".{kind(case)}")].split()


def keywords(case: Case) -> dict[str, Any]:
    """Return the options that a case's function takes."""
    if case.op.endswith("_grid"):
        return {"align_corners": case.align_corners}
    if case.op == "spline_filter":
        return {name: case.options[name] for name in ("padding_mode", "align_corners")}
    own: dict[str, Any] = {"antialias": case.antialias} if case.antialias else {}
    if case.op == "affine_sample" and case.size != case.extent:
        own["size"] = case.size
    absent = {"grid_count": "data_format"} | {op: "coords" for op in _SOURCES if op != "grid_sample"}
    if case.mode.startswith("spline"):
        own["prefilter"] = case.prefilter
    return own | {name: value for name, value in case.options.items() if name != absent.get(case.op)}


def results(answer: Any) -> tuple[np.ndarray, ...]:
    """Return what a function of stnkit returned as a tuple, without what was not asked for."""
    return tuple(array for array in (answer if isinstance(answer, tuple) else (answer,)) if array is not None)


def functions(case: Case) -> tuple[str, ...]:
    """Return the names of the functions that a case calls."""
    last = case.op if kind(case) == "forward" else f"{case.op}_{kind(case)}"
    return (case.op, last) if case.derivative == "step" else (last,)


def stnkit(case: Case, inputs: Inputs) -> Side:
    """Return stnkit's way to compute a case."""
    import stnkit as library

    *before, last = (getattr(library, name) for name in functions(case))
    options = keywords(case)
    given = [inputs[name] for name in arguments(case)]
    if case.derivative in ("vjp_image", "vjp_source"):
        source = _SOURCES[case.op]
        options |= {"wrt": "image" if case.derivative == "vjp_image" else _WORDS.get(source, source)}
    if not before:
        return Side(lambda: last(*given, **options), results)
    forward = before[0]
    return Side(lambda: (forward(*given[1:], **options), *last(*given, **options)), results)
