"""The floor plan holds: who imports whom, what a kernel captures, what a leaf may say, what importing loads."""

import ast
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stnkit
from stnkit.kernels import digests
from stnkit.plans.layout import grid_spec
from stnkit.spec import AFFINE

ROOT = Path(stnkit.__file__).parent
FLOORS = [
    {"spec"},
    {"dtypes", "hints", "kernels.compiling", "kernels.digests", "kernels.expressions"},
    {"kernels.lowering", "kernels.pipelines"},
    {"kernels.leaves"},
    {"kernels.jit", "kernels.cubins", "check", "device_arrays", "doors", "memo"},
    {"kernels.words"},
    {"kernels.lanes", "kernels.bins", "kernels.warp", "kernels.device"},
    {"kernels.twin", "lenders"},
    {"arrays", "boxes"},
    {"kernels.axis", "kernels.formats", "kernels.radial"},
    {"kernels.point", "kernels.sources", "kernels.elements"},
    {"kernels.maps", "kernels.nearest", "kernels.place"},
    {"kernels.survey", "kernels.tile"},
    {"kernels.busy", "kernels.call"},
    {"kernels.cpu", "kernels.threads"},
    {"kernels.cpu_grids", "kernels.cpu_order", "kernels.cpu_tangent", "plans", "plans.layout", "spline"},
    {"kernels.thread_maps"},
    {"kernels.thread"},
    {"kernels.cuda", "kernels.gather", "device_memory"},
    {"kernels.cuda_gather", "device_threads"},
    {"device_scatter", "device_maps"},
    {"device_gather"},
    {"device_ops"},
    {"device_tangents"},
    {"plans.launch"},
    {"plans.maps", "plans.tangents"},
    {"ops"},
    {"maps", "tangents"},
    {"api", "api.call", "api.shifts"},
    {"api.control"},
    {"api.footprints", "api.tools"},
    {"api.antialias"},
    {"api.grid", "api.affine", "api.flow", "api.projective", "api.splat", "api.thin_plate_spline"},
    {"api.ahead"},
    {"fast_path"},
    {""},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ANNEX = len(FLOORS)  # rooms that use the library: they may use one another
LATER = {  # imported once they are asked for
    ("doors", "torch"),
    ("doors", "jax"),
    ("doors", "fast_path"),
    ("", "nn"),
    ("", "transforms"),
}
ROOMS = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
ROOMS = {name.removesuffix("__init__").rstrip("."): path for name, path in ROOMS.items()}


def imports(path):
    """Return the rooms of stnkit that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "stnkit":
            base = node.module.removeprefix("stnkit").lstrip(".")
            for name in node.names:
                below = f"{base}.{name.name}".lstrip(".")
                yield below if below in ROOMS else base
        elif isinstance(node, ast.Import):
            yield from (n.name.removeprefix("stnkit").lstrip(".") for n in node.names if n.name.startswith("stnkit"))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_from_floors_below_it(room):
    here = FLOOR.get(room, ANNEX)
    for other in imports(ROOMS[room]):
        there = FLOOR.get(other, ANNEX)
        opens = (room, other) in LATER
        assert there < here or there == here == ANNEX or opens, f"{room} imports {other}"


def test_every_room_has_a_floor():
    """What is not on a floor is an annex, and known as one."""
    annexes = {room.partition(".")[0] for room in set(ROOMS) - set(FLOOR)}
    assert annexes <= {
        "__main__",
        "cli",
        "coordinates",
        "demo",
        "jax",
        "nn",
        "pixel_affine",
        "transforms",
        "torch",
        "kernels",
    }
    assert {room for room in set(ROOMS) - set(FLOOR) if room.startswith("kernels.")} == set()


def leaves():
    for path in sorted((ROOT / "kernels").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                decorators = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
                if "leaf" in decorators:
                    yield pytest.param(node, id=f"{path.stem}.{node.name}")


def casts(call):
    """Tell whether a call converts to a type in hand: `T(...)` or `type(x)(...)`."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "T"
    return isinstance(function, ast.Call) and getattr(function.func, "id", "") == "type"


@pytest.mark.parametrize("leaf", list(leaves()))
def test_leaf(leaf):
    """A leaf is scalar: no NumPy, no exceptions, and no floating-point constant of a type of its own."""
    inside = {id(n) for call in ast.walk(leaf) if isinstance(call, ast.Call) and casts(call) for n in ast.walk(call)}
    for node in ast.walk(leaf):
        assert not (isinstance(node, ast.Name) and node.id in ("np", "numpy", "math")), ast.unparse(node)
        assert not isinstance(node, ast.Raise | ast.Try | ast.Import | ast.ImportFrom)
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            assert id(node) in inside, f"bare {node.value}"


def test_kernels_capture_their_spec_alone(plain):
    rooms = [
        importlib.import_module(f"stnkit.kernels.{name}") for name in ("cpu", "cpu_grids", "cpu_order", "cpu_tangent")
    ]
    spec = grid_spec(2, np.dtype("float32"), AFFINE, False)
    factories = [f for room in rooms for f in vars(room).values() if isinstance(f, functools._lru_cache_wrapper)]
    assert len(factories) >= 12
    for factory in factories:
        kernel = factory(spec)
        assert kernel.function.__code__.co_freevars in (("spec",), ()), kernel
        assert kernel.function.__defaults__ is None


def test_threads_are_started_in_one_room():
    users = {room for room, path in ROOMS.items() if "prange" in path.read_text()}
    assert users == {"kernels.threads"}


def test_one_room_knows_how_a_gpu_is_programmed():
    users = {room for room, path in ROOMS.items() for module in modules(path) if module in ("cuda", "numba_cuda")}
    assert users == {"kernels.device", "cli.environment"}  # which tells what is there, for bug reports


def modules(path):
    """Return what a file imports from elsewhere, anywhere in it, by package; Numba's part for GPUs by its own name."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name.name}" for name in node.names]
        yield from ("cuda" if name.startswith("numba.cuda") else name.partition(".")[0] for name in names)


def test_the_digest_of_a_kernel_follows_imports():
    """The text of what is compiled into kernels for CPUs is that of these rooms, and of all that they import."""
    users = {room for room, path in ROOMS.items() if "kernels.jit.kernel" in set(named(path))}
    assert {f"stnkit.{room}" for room in users} == set(digests.CPU)
    expected, coming = set(), users
    while coming:
        expected |= coming
        coming = {other for room in coming for other in imports(ROOMS[room])} - expected
    assert digests.reached(digests.CPU) == {f"stnkit.{room}" for room in expected}
    assert not {"kernels.device", "kernels.thread", "kernels.cuda", "kernels.cubins"} & expected
    assert {"spec", "kernels.point", "kernels.axis", "kernels.jit", "kernels.pipelines"} <= expected


def named(path):
    """Return what a file imports from rooms of stnkit, each name after its room's."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("stnkit."):
            yield from (f"{node.module.removeprefix('stnkit.')}.{name.name}" for name in node.names)


def test_importing_loads_no_framework():
    """Nor does a call on NumPy arrays; and the kernels of tangents wait for a call that needs them."""
    script = """
import sys
import stnkit
heavy = {"numba", "torch", "jax", "cupy", "scipy", "rich", "PIL", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import numpy as np
image, grid = np.ones((1, 1, 2, 2)), np.zeros((1, 1, 1, 2))
stnkit.grid_sample_vjp(stnkit.grid_sample(image, grid), image, grid)
stnkit.grid_splat(stnkit.flow_sample(image, grid), stnkit.flow_grid(grid), (2, 2))
tangents = {"stnkit.tangents", "stnkit.kernels.cpu_tangent"}
assert not tangents & set(sys.modules)
stnkit.flow_sample_jvp(image, grid, None, grid)
stnkit.grid_gradient(image, grid)
assert tangents <= set(sys.modules)
assert not {"torch", "jax", "cupy", "numba.cuda"} & set(sys.modules)
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT.parent)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
