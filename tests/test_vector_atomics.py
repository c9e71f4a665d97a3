"""What a GPU adds to memory at once: by which instructions, for which capabilities, and only where all lie aligned."""

import importlib
import re

import numpy as np
import pytest
from emulation.pretended import lent, pretended, returned

from stnkit.kernels.cuda import kernels, runtime
from stnkit.spec import BILINEAR, FLOAT16, FLOAT64, Spec

INTERLEAVED = Spec(2, interp=BILINEAR, interleaved=True, lanes=4, aligned=True, image_bar=True, digest=1)
OPERATIONS = {
    "scatter": ({}, (0,) * 8 + (3, 3, 3, 5, 5, 3)),
    "sample_vjp": ({"source_bar": True, "group": 8}, (0,) * 9 + (3, 3, 3, 5, 5, 2)),
}


@pytest.mark.parametrize(
    ("name", "capability", "changes", "many"),
    [
        ("scatter", (8, 0), {}, 1),
        ("scatter", (9, 0), {}, 4),
        ("scatter", (9, 0), {"lanes": 2}, 2),
        ("scatter", (9, 0), {"lanes": 4, "aligned": False}, 1),
        ("scatter", (9, 0), {"lanes": 3, "aligned": False, "together": True}, 1),
        ("scatter", (9, 0), {"interleaved": False, "lanes": 1, "aligned": False, "together": True}, 1),
        ("scatter", (9, 0), {"lanes": 4, "image_dtype": FLOAT16, "dot_dtype": FLOAT16}, 4),
        ("scatter", (9, 0), {"lanes": 2, "image_dtype": FLOAT64, "dot_dtype": FLOAT64, "source_dtype": FLOAT64}, 1),
        ("scatter", (9, 0), {"interleaved": False, "lanes": 1, "aligned": False}, 1),
        ("sample_vjp", (9, 0), {}, 4),
        ("sample_vjp", (8, 0), {}, 1),
    ],
)
def test_neighbours_are_added_by_one_instruction_where_there_is_one(name, capability, changes, many):
    """A vector of float32 is added as a whole from capability 9.0 on, by machine code that spills nothing."""
    pytest.importorskip("numba_cuda")
    asked, template = OPERATIONS[name]
    spec = runtime.aimed(INTERLEAVED._replace(**asked, **changes), capability)
    code = runtime.compile(getattr(kernels, name)(spec), runtime.signature(template, True), capability)
    assert code.cubin.startswith(b"\x7fELF")
    assert code.spilled == 0
    assert not re.search(r"\bcall\b|\.local", code.ptx)
    vectors = re.findall(r"red\.global\.add\.v(\d)\.f32", code.ptx)
    numbers = re.findall(r"\b(?:red|atom)\S*\.add\.f(?:32|64)", code.ptx)
    found, other = (vectors, numbers) if many > 1 else (numbers, vectors)
    assert len(found) >= 4 * spec.lanes // many  # of four corners; the compiler may unroll the loop over channels
    assert not other
    assert set(vectors) <= {str(many)}


def test_code_is_made_for_the_capability_it_runs_on(monkeypatch):
    """The spec that a factory gets says the capability, so that kernels of two GPUs are never mixed up."""
    seen = []
    monkeypatch.setattr(runtime, "compile", lambda thread, signature, capability: seen.append((thread, capability)))
    monkeypatch.setattr(runtime.cubin_cache, "find", lambda key: seen.append(key))
    monkeypatch.setattr(runtime.cubin_cache, "keep", lambda key, code: None)
    monkeypatch.setattr(runtime, "tools", lambda: runtime.SimpleNamespace(versions={}))

    def factory(spec):
        return spec.capability

    for capability in ((8, 0), (9, 0), (12, 1)):
        runtime.code(factory, INTERLEAVED, (0,), True, capability)
    assert seen[1::2] == [(80, (8, 0)), (90, (9, 0)), (121, (12, 1))]
    assert len(set(seen[::2])) == 3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("offset", [0, 4, 8])
def test_memory_that_lies_askew_is_added_to_in_narrower_steps(plain, dtype, offset):
    """What a caller gives to add to begins anywhere; vectors are as long as its address, the image's too, allows."""
    importlib.import_module("stnkit.kernels.cuda.runtime")
    random, record = np.random.default_rng(0), []
    image, cotangent = (random.uniform(-1, 1, (2, *size, 8)).astype(dtype) for size in ((4, 5), (3, 4)))
    grid = random.uniform(-1, 1, (2, 3, 4, 2)).astype("float32")
    raw = np.zeros(image.size * 4 + 80, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    into = raw[start : start + image.size * 4].view("float32").reshape(image.shape)
    options = {"data_format": "channels_last"}
    expected, _ = plain.grid_sample_vjp(cotangent, image, grid, accumulate_into=np.zeros_like(into), **options)
    with pretended(record):
        bars = plain.grid_sample_vjp(*map(lent, (cotangent, image, grid)), accumulate_into=lent(into), **options)
    lanes = {spec.lanes for name, spec, *_ in record if name == "sample_vjp"}
    assert lanes == {{0: 4, 4: 1, 8: 2}[offset]}
    np.testing.assert_allclose(returned(bars)[0], expected, rtol=0, atol=48 * 2 * 2.0**-24)
