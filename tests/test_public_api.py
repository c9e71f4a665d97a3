"""What a user sees: the names, their signatures, their documentation, and that its examples run."""

import doctest
import inspect
import itertools
import subprocess
import sys
import types

import pytest

import stnkit

SAMPLING = {"mode": "bilinear", "prefilter": True, "padding_mode": "zeros", "fill_value": 0.0, "align_corners": False}
PLACED = {"place": None}
GRID = SAMPLING | {"coords": "normalized", "data_format": "channels_first"} | PLACED
MAP = SAMPLING | {"data_format": "channels_first", "antialias": False} | PLACED
ALIGN = {"align_corners": False} | PLACED
FLOW = MAP | {"units": "pixel"}
SPLAT = {name: default for name, default in GRID.items() if name != "fill_value"}
COUNT = {name: default for name, default in SPLAT.items() if name not in ("data_format", "prefilter")}
PIXELS = MAP | {"coords": "normalized"}
FIELD = {"units": "pixel"} | ALIGN
FILTER = {"order": 3, "padding_mode": "zeros", "align_corners": False, "axes": None}
EXACT = {"deterministic": False}
OUT, INTO = {"out": None}, {"accumulate_into": None}

SIGNATURES = {  # positional parameters, and keywords with their defaults
    "grid_sample": (["image", "grid"], GRID | OUT),
    "grid_sample_vjp": (["cotangent", "image", "grid"], {"wrt": ("image", "grid")} | GRID | INTO | EXACT),
    "grid_sample_jvp": (["image", "grid", "d_image", "d_grid"], GRID),
    "grid_sample_double_vjp": (["dd_image", "dd_grid", "cotangent", "image", "grid"], GRID | EXACT),
    "affine_grid": (["theta", "size"], ALIGN),
    "affine_grid_vjp": (["cotangent"], ALIGN | EXACT),
    "affine_grid_jvp": (["theta", "d_theta", "size"], ALIGN),
    "affine_sample": (["image", "theta", "size"], PIXELS | OUT),
    "affine_sample_vjp": (["cotangent", "image", "theta"], {"wrt": ("image", "theta")} | PIXELS | INTO | EXACT),
    "affine_sample_jvp": (["image", "theta", "d_image", "d_theta", "size"], PIXELS),
    "affine_sample_double_vjp": (["dd_image", "dd_theta", "cotangent", "image", "theta"], PIXELS | EXACT),
    "flow_grid": (["flow"], FIELD),
    "flow_grid_vjp": (["cotangent"], FIELD | EXACT),
    "flow_grid_jvp": (["flow", "d_flow"], FIELD),
    "flow_sample": (["image", "flow"], FLOW | OUT),
    "flow_sample_vjp": (["cotangent", "image", "flow"], {"wrt": ("image", "flow")} | FLOW | INTO | EXACT),
    "flow_sample_jvp": (["image", "flow", "d_image", "d_flow"], FLOW),
    "flow_sample_double_vjp": (["dd_image", "dd_flow", "cotangent", "image", "flow"], FLOW | EXACT),
    "projective_grid": (["theta", "size"], ALIGN),
    "projective_grid_vjp": (["cotangent", "theta"], ALIGN | EXACT),
    "projective_grid_jvp": (["theta", "d_theta", "size"], ALIGN),
    "projective_sample": (["image", "theta", "size"], MAP | OUT),
    "projective_sample_vjp": (["cotangent", "image", "theta"], {"wrt": ("image", "theta")} | MAP | INTO | EXACT),
    "projective_sample_jvp": (["image", "theta", "d_image", "d_theta", "size"], MAP),
    "thin_plate_spline_grid": (["theta", "control_points", "size"], ALIGN),
    "thin_plate_spline_grid_vjp": (["cotangent", "theta", "control_points"], ALIGN | EXACT),
    "thin_plate_spline_grid_jvp": (["theta", "d_theta", "control_points", "size"], ALIGN),
    "thin_plate_spline_sample": (["image", "theta", "control_points", "size"], MAP | OUT),
    "thin_plate_spline_sample_vjp": (
        ["cotangent", "image", "theta", "control_points"],
        {"wrt": ("image", "theta")} | MAP | INTO | EXACT,
    ),
    "thin_plate_spline_sample_jvp": (["image", "theta", "d_image", "d_theta", "control_points", "size"], MAP),
    "grid_splat": (["values", "grid", "size"], SPLAT | EXACT),
    "grid_splat_vjp": (["cotangent", "values", "grid"], {"wrt": ("values", "grid")} | SPLAT | EXACT),
    "grid_count": (["grid", "size"], COUNT | EXACT),
    "grid_gradient": (["image", "grid"], GRID),
    "spline_filter": (["image"], FILTER | OUT),
    "spline_filter_vjp": (["cotangent"], FILTER),
}


def test_all_is_what_is_public():
    public = {
        name
        for name, value in vars(stnkit).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(stnkit.__all__) == {*SIGNATURES, "compile_ahead"}
    assert stnkit.__all__ == sorted(stnkit.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    """Arrays are positional, every option is keyword-only, and defaults are those documented."""
    positional, keywords = SIGNATURES[name]
    parameters = inspect.signature(getattr(stnkit, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    assert {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} == keywords
    assert len(positional) + len(keywords) == len(parameters)


def test_signature_of_compile_ahead():
    shown = inspect.signature(stnkit.compile_ahead).replace(return_annotation=inspect.Signature.empty)
    bare = [parameter.replace(annotation=parameter.empty) for parameter in shown.parameters.values()]
    assert str(shown.replace(parameters=bare)) == "(function, *arrays, dtype='float32', **options)"


@pytest.mark.parametrize("name", stnkit.__all__)
def test_documentation(name):
    """Each function has every section, and documents every parameter."""
    function = getattr(stnkit, name)
    text = inspect.getdoc(function)
    lines = text.splitlines()
    assert lines[0].endswith(".")
    sections = [line for line, rule in itertools.pairwise(lines) if rule and set(rule) == {"-"}]
    wanted = ["Parameters", "Returns", "Raises", "Warns", "Notes", "References", "Examples"]
    assert sections == [section for section in wanted if section in sections]
    assert {"Parameters", "Returns", "Raises", "Examples"} <= set(sections)
    documented = text.split("Returns\n-------")[0]
    heads = {name for line in documented.splitlines() if line[:1].strip() for name in line.split(" :")[0].split(", ")}
    assert set(inspect.signature(function).parameters) <= {head.lstrip("*") for head in heads}


@pytest.mark.parametrize("name", stnkit.__all__)
def test_examples(plain, name):
    function = getattr(plain, name)
    tests = doctest.DocTestFinder().find(function, name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 2
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_modules_that_need_no_framework_come_when_they_are_asked_for():
    script = """
import sys
import stnkit
assert {"ndimage", "nn", "transforms"} < set(dir(stnkit))
assert not {"stnkit.ndimage", "stnkit.nn", "stnkit.transforms", "stnkit.torch"} & set(sys.modules)
print(stnkit.transforms.from_pixel([[1, 0, 10], [0, 1, 5]], (80, 100)).round(9).tolist())
print(stnkit.nn.SpatialTransformer.__module__)
assert not {"numba", "torch", "jax", "scipy"} & set(sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.split("\n")[:2] == ["[[1.0, 0.0, 0.2], [0.0, 1.0, 0.125]]", "stnkit.nn"]
    with pytest.raises(AttributeError, match="module 'stnkit' has no attribute 'transform'"):
        stnkit.transform  # noqa: B018


def test_version():
    assert [int(part) >= 0 for part in stnkit.__version__.split(".")] == [True] * 3
