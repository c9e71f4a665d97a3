"""What a user sees: the names, their signatures, their documentation, and that its examples run."""

import doctest
import inspect
import itertools
import types

import pytest

import stnkit

SAMPLING = {"mode": "bilinear", "padding_mode": "zeros", "fill_value": 0.0, "align_corners": False}
GRID = SAMPLING | {"coords": "normalized", "data_format": "channels_first"}
AFFINE = SAMPLING | {"data_format": "channels_first"}
EXACT = {"deterministic": False}

SIGNATURES = {  # positional parameters, and keywords with their defaults
    "grid_sample": (["image", "grid"], GRID),
    "grid_sample_vjp": (["cotangent", "image", "grid"], {"wrt": ("image", "grid")} | GRID | EXACT),
    "affine_grid": (["theta", "size"], {"align_corners": False}),
    "affine_grid_vjp": (["cotangent"], {"align_corners": False} | EXACT),
    "affine_sample": (["image", "theta", "size"], AFFINE),
    "affine_sample_vjp": (["cotangent", "image", "theta"], {"wrt": ("image", "theta")} | AFFINE | EXACT),
}


def test_all_is_what_is_public():
    public = {
        name
        for name, value in vars(stnkit).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(stnkit.__all__) == set(SIGNATURES)
    assert stnkit.__all__ == sorted(stnkit.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    """Arrays are positional, every option is keyword-only, and defaults are those documented."""
    positional, keywords = SIGNATURES[name]
    parameters = inspect.signature(getattr(stnkit, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    assert {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} == keywords
    assert len(positional) + len(keywords) == len(parameters)


@pytest.mark.parametrize("name", SIGNATURES)
def test_documentation(name):
    """Each function has every section, and documents every parameter."""
    function = getattr(stnkit, name)
    text = inspect.getdoc(function)
    lines = text.splitlines()
    assert lines[0].endswith(".")
    sections = [line for line, rule in itertools.pairwise(lines) if rule and set(rule) == {"-"}]
    wanted = ["Parameters", "Returns", "Raises", "Notes", "References", "Examples"]
    assert sections == [section for section in wanted if section in sections]
    assert {"Parameters", "Returns", "Raises", "Examples"} <= set(sections)
    documented = text.split("Returns\n-------")[0]
    heads = {name for line in documented.splitlines() if line[:1].strip() for name in line.split(" :")[0].split(", ")}
    assert set(inspect.signature(function).parameters) <= heads


@pytest.mark.parametrize("name", SIGNATURES)
def test_examples(plain, name):
    function = getattr(plain, name)
    tests = doctest.DocTestFinder().find(function, name, module=False, globs={})
    assert sum(len(test.examples) for test in tests) > 2
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_version():
    assert [int(part) >= 0 for part in stnkit.__version__.split(".")] == [True] * 3
