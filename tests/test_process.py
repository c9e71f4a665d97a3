"""What a process may do around a call: fork, start threads, share or lose the cache, watch its memory.

Each case is a script of its own process: a crash is then an exit status, not the end of the test run. Nothing here
depends on what a kernel computes, so those are called that compile soonest.
"""

import compileall
import itertools
import os
import py_compile
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import processes
import pytest

import stnkit

PACKAGE = Path(stnkit.__file__).parent

PRELUDE = """
import numpy as np
import stnkit

theta = np.array([[[0.9, 0.2]]], np.float32)

def lattice(count, **options):
    return stnkit.affine_grid(theta, (count,), **options)

SMALL, LARGE = 4, 1 << 20  # locations: for one thread, and for several
"""


def run(script: str, *args: str, cwd: Path | None = None, **environment: str) -> str:
    """Run a script in a process of its own, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(script), *args],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd or PACKAGE.parent), **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def machine_code(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.nbc"))


FORK = """
import os
import sys

first = lattice(LARGE)
lattice(SMALL)
child = os.fork()
if child == 0:
    same = np.array_equal(lattice(LARGE), first)
    lattice(SMALL)
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.array_equal(lattice(LARGE), first)
"""

# Python 3.12 warns of any fork in a process with threads; that it works all the same is what is tested.
FORK = "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n" + FORK


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_child_gives_the_parents_results(layer: str) -> None:
    run(FORK, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_calls_from_several_threads_at_once(layer: str) -> None:
    script = """
    from concurrent.futures import ThreadPoolExecutor

    first = lattice(LARGE)
    bar = stnkit.affine_grid_vjp(first)

    def call(_):
        return np.array_equal(lattice(LARGE), first) and np.array_equal(stnkit.affine_grid_vjp(first), bar)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(64)))
    """
    run(script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")


def test_first_calls_from_several_threads_at_once(tmp_path: Path) -> None:
    script = """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: lattice(SMALL), range(4)))
    assert all(np.array_equal(result, results[0]) for result in results)
    """
    run(script, NUMBA_CACHE_DIR=str(tmp_path))


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"NUMBA_CACHE_DIR": "/proc/nowhere", "HOME": "/proc/nowhere"}, id="unwritable directory"),
        pytest.param({"NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}, id="no directory at all"),
    ],
)
def test_without_a_place_for_the_cache_kernels_still_compile(environment: dict[str, str]) -> None:
    assert run("print(lattice(SMALL).shape)", **environment).strip() == "(1, 4, 1)"


@pytest.mark.parametrize(("ending", "left"), [("nbi", b""), ("nbc", b"junk")], ids=["index", "machine code"])
def test_files_that_a_crash_left_damaged_are_written_anew(tmp_path: Path, ending: str, left: bytes) -> None:
    script = "print(lattice(SMALL).tobytes().hex())"
    first = run(script, NUMBA_CACHE_DIR=str(tmp_path))
    files = sorted(tmp_path.rglob(f"*.{ending}"))
    assert files
    for file in files:
        file.write_bytes(left)
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == first
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == first
    assert all(file.stat().st_size > len(left) for file in files)


def test_kernels_compile_where_a_disk_has_no_room_for_them(tmp_path: Path) -> None:
    script = """
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))  # bytes that a file may have
    print(lattice(SMALL).shape)
    """
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)).strip() == "(1, 4, 1)"
    assert not machine_code(tmp_path)


def test_a_second_process_finds_every_kernel_in_the_cache(tmp_path: Path) -> None:
    script = "print(lattice(SMALL).tobytes().hex())"
    first = run(script, NUMBA_CACHE_DIR=str(tmp_path))
    files = machine_code(tmp_path)
    stamps = [file.stat().st_mtime_ns for file in files]
    assert files
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == first
    assert machine_code(tmp_path) == files
    assert [file.stat().st_mtime_ns for file in files] == stamps


def test_an_edited_leaf_is_compiled_anew(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "stnkit", ignore=shutil.ignore_patterns("__pycache__"))
    script = "print(lattice(SMALL).tolist())"
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    before = run(script, cwd=tmp_path, **environment)
    count = len(machine_code(tmp_path / "cache"))
    sources = tmp_path / "stnkit" / "kernels" / "leaves" / "sources.py"
    text = sources.read_text()
    leaf = "return T(theta[at]) * x + T(theta[at + 1])\n"
    assert leaf in text
    sources.write_text(text.replace(leaf, leaf.replace("*", "-")))
    assert run(script, cwd=tmp_path, **environment) != before
    assert len(machine_code(tmp_path / "cache")) == count + 1


@pytest.fixture(scope="module")
def byte_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package's byte code alone, as what hides or freezes programs installs it."""
    folder = tmp_path_factory.mktemp("byte code")
    shutil.copytree(PACKAGE, folder / "stnkit", ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(folder, quiet=1, legacy=True)
    for source in folder.rglob("*.py"):
        source.unlink()
    return folder


def test_byte_code_alone_computes_from_a_zip_and_keeps_its_kernels(byte_code: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", byte_code))
    environment = {"PYTHONPATH": str(packed), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    script = """
    assert "packed.zip" in stnkit.__file__
    print(stnkit.affine_grid(np.array([[2.0, 1.0]]), (4,)).ravel())
    """
    assert run(script, cwd=tmp_path, **environment) == "[-0.5  0.5  1.5  2.5]\n"
    files = machine_code(tmp_path / "cache")
    stamps = [file.stat().st_mtime_ns for file in files]
    assert files
    assert run(script, cwd=tmp_path, **environment) == "[-0.5  0.5  1.5  2.5]\n"
    assert machine_code(tmp_path / "cache") == files
    assert [file.stat().st_mtime_ns for file in files] == stamps


def test_frameworks_and_data_are_reached_from_byte_code_alone(byte_code: Path) -> None:
    script = """
    import jax
    import torch

    from stnkit.demo.data import load_digits

    assert load_digits()[0].shape == (1000, 28, 28)
    theta = torch.eye(1, 2, dtype=torch.float64, requires_grad=True)
    stnkit.affine_sample(torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64), theta).sum().backward()
    slope = jax.grad(lambda theta: stnkit.affine_sample(jax.numpy.array([[1.0, 2.0, 4.0]]), theta).sum())
    print(theta.grad.numpy().tolist(), slope(jax.numpy.eye(1, 2)).tolist())
    """
    expected = [[-5.0, -1.5]]  # 1.5 pixels a unit; slopes 1, 2, -4 at -2/3, 0, 2/3
    assert run(script, cwd=byte_code, NUMBA_DISABLE_JIT="1") == f"{expected} {expected}\n"


def test_byte_code_of_an_edited_leaf_has_another_digest(byte_code: Path, tmp_path: Path) -> None:
    """And that of the same leaf the same one, wherever its lines stand, and in whatever order sets are."""
    shutil.copytree(byte_code, tmp_path / "copy")
    text = (PACKAGE / "kernels" / "leaves" / "axis.py").read_text()
    edited = text.replace("return v + finite", "return v - finite")
    assert edited != text
    digests = []
    for seed, leaf in enumerate([text, f"# a line above\n{text}", edited]):
        (tmp_path / "axis.py").write_text(leaf)
        byte_code_of_it = tmp_path / "copy" / "stnkit" / "kernels" / "leaves" / "axis.pyc"
        py_compile.compile(str(tmp_path / "axis.py"), str(byte_code_of_it))
        script = "from stnkit.kernels.compiler import digests; print(digests.digest())"
        digests.append(run(script, cwd=tmp_path / "copy", NUMBA_DISABLE_JIT="1", PYTHONHASHSEED=str(seed)))
    assert digests[0] == digests[1] != digests[2]


def test_an_edit_of_what_gpus_run_leaves_the_kernels_of_cpus(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "stnkit", ignore=shutil.ignore_patterns("__pycache__"))
    script = """
    from stnkit.kernels.compiler import digests

    print(digests.digest(), digests.digest("stnkit.kernels.cuda.kernels", "stnkit.kernels.cuda.runtime"))
    """
    found = []
    for edited in (None, "cuda/runtime.py", "cuda/thread.py", "leaves/axis.py"):
        if edited is not None:
            with (tmp_path / "stnkit" / "kernels" / edited).open("a") as file:
                file.write("# a line below")
        found.append(run(script, cwd=tmp_path, NUMBA_DISABLE_JIT="1").split())
    cpu, gpu = zip(*found, strict=True)
    assert cpu[0] == cpu[1] == cpu[2] != cpu[3]
    assert len(set(gpu)) == 4


def test_processes_may_compile_different_kernels_into_one_cache(tmp_path: Path) -> None:
    script = """
    import sys

    for ndim, kind in zip(map(int, sys.argv[1::2]), sys.argv[2::2]):
        theta = np.eye(ndim, ndim + 1)[None]
        print(stnkit.affine_grid(theta, (3,) * ndim, align_corners=kind == "aligned").tobytes().hex())
    """
    kinds = [("1", "centres"), ("1", "aligned"), ("2", "centres"), ("2", "aligned")]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script)]
    together = [
        subprocess.Popen([*command, *kind], stdout=subprocess.PIPE, text=True, env=environment) for kind in kinds
    ]
    results = [process.communicate(timeout=600)[0] for process in together]
    assert [process.returncode for process in together] == [0] * len(kinds)
    assert len(set(results)) == len(kinds)
    files = machine_code(tmp_path)
    assert run(script, *itertools.chain(*kinds), NUMBA_CACHE_DIR=str(tmp_path)) == "".join(results)
    assert machine_code(tmp_path) == files


def test_importing_stnkit_imports_no_framework_and_no_compiler() -> None:
    script = "import stnkit, sys; print({'numba', 'torch', 'jax', 'cupy', 'scipy', 'rich'} & set(sys.modules))"
    assert processes.run(script, PYTHONPATH=str(PACKAGE.parent)) == "set()\n"


def test_importing_stnkit_for_torch_imports_no_compiler_of_torch() -> None:
    """Whose import takes almost as long as that of torch."""
    script = "import stnkit.torch, sys; print({'torch._dynamo', 'torch.onnx', 'sympy', 'scipy'} & set(sys.modules))"
    assert processes.run(script, PYTHONPATH=str(PACKAGE.parent)) == "set()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("twin", ["serial", "parallel"])
def test_affine_sample_needs_no_memory_beyond_its_output(twin: str) -> None:
    script = """
    from pathlib import Path

    image = np.ones((1, 3, 64, 64), np.float32)
    theta = np.array([[[0.9, 0.2, 0.0], [-0.2, 0.9, 0.1]]], np.float32)

    def peak():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

    stnkit.affine_sample(image, theta, (512, 512))
    before = peak()
    out = stnkit.affine_sample(image, theta, (4096, 4096))
    print((peak() - before - out.nbytes) // 1024)
    """
    extra = run(script, NUMBA_NUM_THREADS="1" if twin == "serial" else "2")
    assert int(extra) < 2 * 512  # KiB; a grid would be 131072
