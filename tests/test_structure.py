"""The floor plan holds: who imports whom, what a kernel captures, what a leaf may say, what importing loads."""

import ast
import builtins
import functools
import graphlib
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stnkit
from stnkit.kernels.compiler import digests
from stnkit.kernels.cpu import factories
from stnkit.plans.layout import grid_spec
from stnkit.spec import AFFINE

ROOT = Path(stnkit.__file__).parent
ROOMS = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
FOLDERS = {name.removesuffix(".__init__") for name in ROOMS if name.endswith(".__init__")}
ROOMS = {name.removesuffix("__init__").rstrip("."): path for name, path in ROOMS.items()}
LONGEST = 350  # lines; what `api` has is documentation
LATER = {  # imported once they are asked for
    "_dispatch": {"api.fast_path", "dask", "jax", "tensorflow", "torch"},
    "": {"ndimage", "nn", "tiles", "transforms"},
}


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


def folder(room):
    """Return the folder that a room stands in; those in `kernels` are folders of their own."""
    parts = room.split(".")
    deep = 2 if parts[0] == "kernels" and ".".join(parts[:2]) in FOLDERS else 1
    return ".".join(parts[:deep]) if parts[0] in FOLDERS else room


def below(graph):
    """Put what each item of a graph needs before it, in floors; raise CycleError, which shows the circle."""
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        yield sorted(ready)
        sorter.done(*ready)


def test_rooms_import_without_circles():
    """But for those that are opened late: by `_dispatch`, for an array in hand, and by the package, when asked for."""
    graph = {room: set(imports(path)) - {room} for room, path in ROOMS.items()}
    for room, others in LATER.items():
        assert others <= graph[room]
        graph[room] -= others
    assert list(below(graph))


def test_folders_are_floors():
    """What a folder imports are folders below it: their order is found, and not kept by hand."""
    graph = {}
    for room, path in ROOMS.items():
        others = {folder(other) for other in set(imports(path)) - LATER.get(room, set())}
        graph.setdefault(folder(room), set()).update(others - {folder(room)})
    floors = {name: floor for floor, names in enumerate(below(graph)) for name in names}
    kernels = [f"kernels.{name}" for name in ("compiler", "simd", "leaves", "cpu")]
    order = ["spec", *kernels, "plans", "backends", "calls", "antialias", "prefilter", "api", "torch"]
    assert all(floors[low] < floors[high] for low, high in itertools.pairwise(order)), floors
    assert floors["kernels.cpu"] < floors["kernels.cuda"] < floors["backends"]


def test_benchmarks_and_docs_import_what_is_there():
    """Also within functions, which no test runs: those of a cluster, and of large files, take minutes."""
    found = 0
    for path in (path for place in ("bench", "docs") for path in sorted((ROOT.parent / place).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "stnkit":
                module = importlib.import_module(node.module)
                for name in (alias.name for alias in node.names):
                    room = hasattr(module, "__path__") and importlib.util.find_spec(f"{node.module}.{name}")
                    assert room or hasattr(module, name), f"{path}:{node.lineno}: {node.module} has no {name}"
                    found += 1
    assert found > 20


def test_layout():
    """Few rooms stand at the root, none is long, and none is a folder spelled as the beginning of a name."""
    root = {room for room in ROOMS if room and "." not in room and room not in FOLDERS}
    assert len(root | {"__init__"}) <= 8, root
    for room, path in ROOMS.items():
        lines = len(path.read_text().splitlines())
        assert lines <= LONGEST or room.startswith("api."), f"{room}: {lines} lines"
        parent, _, name = room.rpartition(".")
        beside = {other.rpartition(".")[2] for other in ROOMS if other.rpartition(".")[0] == parent} - {""}
        beside |= {"cpu", "cuda", "device", "torch", "jax", "dask"}
        assert not any(name.startswith(f"{other}_") for other in beside), room


def shadows(scope, outside):
    """Yield the variables of comprehensions in functions that have the name of something outside of the function."""
    bound, variables, inner = set(), {}, []
    nodes = list(ast.iter_child_nodes(scope))
    for node in nodes:  # which grows
        children = list(ast.iter_child_nodes(node))
        match node:
            case ast.comprehension():
                variables |= {n.id: n.lineno for n in ast.walk(node.target) if isinstance(n, ast.Name)}
                children = [node.iter, *node.ifs]
            case ast.Name(ctx=ast.Store()):
                bound.add(node.id)
            case ast.arg():
                bound.add(node.arg)
            case ast.alias():
                bound.add((node.asname or node.name).partition(".")[0])
            case ast.FunctionDef() | ast.ClassDef() | ast.Lambda():
                bound.add(getattr(node, "name", ""))
                inner.append(node)
                children = []
        nodes += children
    if not isinstance(scope, ast.Module):
        yield from (f"line {line}: {name}" for name, line in variables.items() if name in outside - bound)
    for one in inner:
        yield from shadows(one, outside if isinstance(scope, ast.ClassDef) else outside | bound)


@pytest.mark.parametrize("place", ["stnkit", "bench", "tests", "docs"])
def test_no_comprehension_hides_a_name_that_is_not_its_own(place):
    """CPython 3.12 inlines comprehensions, and takes a global name in one for the variable of an earlier one."""
    paths, outside = sorted((ROOT.parent / place).rglob("*.py")), set(dir(builtins)) - {"_"}  # what a shell showed last
    found = {path: list(shadows(ast.parse(path.read_text()), outside)) for path in paths}
    assert not {path: lines for path, lines in found.items() if lines}


def leaves():
    for path in sorted((ROOT / "kernels").rglob("*.py")):
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


def test_leaves_cast_by_types_of_numpy():
    """Numba's, called as Python functions, would take a third of the time of what is tested uncompiled."""
    for path in (ROOT / "kernels").rglob("*.py"):
        found = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.module == "numba"
        ]
        names = {name.name for node in found for name in node.names}
        assert not {name for name in names if hasattr(np, name)}, path


def test_kernels_capture_their_spec_alone(plain):
    rooms = [importlib.import_module(name) for name in digests.CPU]
    spec = grid_spec(2, np.dtype("float32"), AFFINE, False)
    written = {
        (room.__name__.rpartition(".")[2], name): factory
        for room in rooms
        for name, factory in vars(room).items()
        if isinstance(factory, functools._lru_cache_wrapper)
    }
    named = [one for one in vars(factories).values() if isinstance(one, factories.Factory)]
    assert sorted(written) == sorted(named)
    for factory in written.values():
        kernel = factory(spec)
        assert kernel.function.__code__.co_freevars in (("spec",), ()), kernel
        assert kernel.function.__defaults__ is None


def test_threads_are_started_in_one_room():
    users = {room for room, path in ROOMS.items() if "prange" in path.read_text()}
    assert users == {"kernels.cpu.parallel"}


def test_one_room_knows_how_a_gpu_is_programmed():
    users = {room for room, path in ROOMS.items() for module in modules(path) if module in ("cuda", "numba_cuda")}
    assert users == {"kernels.cuda.runtime", "cli.environment"}  # which tells what is there, for bug reports


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
    users = {room for room, path in ROOMS.items() if "kernels.compiler.jit.kernel" in set(named(path))}
    assert {f"stnkit.{room}" for room in users} == set(digests.CPU)
    expected, coming = set(), users
    while coming:
        expected |= coming
        coming = {other for room in coming for other in imports(ROOMS[room])} - expected
    assert digests.reached(digests.CPU) == {f"stnkit.{room}" for room in expected}
    assert (
        not {"kernels.cuda.runtime", "kernels.cuda.thread", "kernels.cuda.kernels", "kernels.cuda.cubin_cache"}
        & expected
    )
    assert {
        "spec",
        "kernels.leaves.point",
        "kernels.leaves.axis",
        "kernels.compiler.jit",
        "kernels.compiler.pipelines",
    } <= expected


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
heavy = {"numba", "torch", "jax", "tensorflow", "keras", "cupy", "dask", "scipy", "rich", "PIL", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import numpy as np
image, grid = np.ones((1, 1, 2, 2)), np.zeros((1, 1, 1, 2))
stnkit.grid_sample_vjp(stnkit.grid_sample(image, grid), image, grid)
stnkit.grid_splat(stnkit.flow_sample(image, grid), stnkit.flow_grid(grid), (2, 2))
tangents = {"stnkit.backends.cpu.tangents", "stnkit.kernels.cpu.tangents"}
assert not tangents & set(sys.modules)
stnkit.flow_sample_jvp(image, grid, None, grid)
stnkit.grid_gradient(image, grid)
assert tangents <= set(sys.modules)
assert not {"torch", "jax", "tensorflow", "keras", "cupy", "numba.cuda"} & set(sys.modules)
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT.parent)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
