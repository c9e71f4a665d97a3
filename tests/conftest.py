"""What every test shares: the Hypothesis profile, a fixed number of threads, and an uncompiled copy of stnkit."""

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType

os.environ.setdefault("NUMBA_NUM_THREADS", "3")  # so that threads are real, and parts uneven, on any machine
os.environ.setdefault("KERAS_BACKEND", "jax")  # for whoever imports Keras in a worker; its tests choose themselves
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # there are several workers: threads that wait must not keep a core
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # XLA then compiles programs in half the time
os.environ["STNKIT_ARCHIVE"] = os.environ.get("STNKIT_TESTS_ARCHIVE", "0")  # a file, of the kernels that it has

import numpy as np
import pytest
from costs import pytest_runtest_protocol, pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown  # noqa: F401
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_copy: dict[str, ModuleType] = {}


def pytest_collection_finish() -> None:
    """Keep the millions of objects of imported frameworks from being looked at for garbage again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _take() -> dict[str, ModuleType]:
    """Take stnkit out of the imported modules, and return what was taken."""
    names = [name for name in sys.modules if name.startswith("stnkit")]  # of thousands, before and after each test
    return {name: sys.modules.pop(name) for name in names}


@contextlib.contextmanager
def uncompiled() -> Iterator[ModuleType]:
    """Swap in a second copy of stnkit whose kernels and leaves are plain Python functions.

    It runs the same source without waiting for a compiler, so that breadth is cheap. Overflow warnings are
    off: machine code raises none.
    """
    import numba

    if "torch" in sys.modules:  # whose dispatcher has one table of operations: those of machine code, in any order
        importlib.import_module("stnkit.torch")
    compiled, before = _take(), numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = 1
    sys.modules.update(_copy)
    try:
        with np.errstate(all="ignore"):
            yield importlib.import_module("stnkit")
    finally:
        numba.config.DISABLE_JIT = before
        _copy.update(_take())
        sys.modules.update(compiled)


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """Return the uncompiled stnkit."""
    with uncompiled() as package:
        return package


@pytest.fixture
def compiler() -> None:
    """Ask for NVIDIA's compiler. Tests are skipped without it, but fail where `STNKIT_TESTS_NEED` names it."""
    if importlib.util.find_spec("numba_cuda") is None:
        if "numba_cuda" in os.environ.get("STNKIT_TESTS_NEED", "").split():
            pytest.fail('numba-cuda is needed and not installed: run pip install "stnkit[cuda]"')
        pytest.skip("numba-cuda is not installed")


@pytest.fixture(autouse=True)
def _rooms(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let `import stnkit` find the uncompiled copy during the tests that ask for it, and only then.

    stnkit imports its kernels at the first call, so the copy must be in place for as long as it is called.
    """
    with uncompiled() if "plain" in request.fixturenames else contextlib.nullcontext():
        yield


@pytest.fixture
def optimised() -> Iterator[None]:
    """Let XLA optimise programs, as it does for users."""
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
