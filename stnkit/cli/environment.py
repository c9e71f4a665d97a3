"""The facts that explain a difference between two machines: what `stnkit info` shows."""

import os
import platform
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import binding as llvm

from stnkit import __version__
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.compiler.settings import processors
from stnkit.kernels.cpu.threads import cache_directory
from stnkit.kernels.objects import shipped

Facts = dict[str, Any]

REPORTED = ("torch", "jax", "tensorflow", "keras", "cupy", "dask", "scipy", "cv2")  # by the names they are imported by

# Instruction sets that change how a sampler is vectorised, of the hundred that LLVM knows by name.
VECTORS = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512fp16", "neon", "fullfp16", "sve")


def facts() -> dict[str, Facts]:
    """Gather the facts, importing no framework: sections of named values, all of which JSON can hold.

    A device that cannot be asked is described by the reason.
    """
    return {
        "versions": {
            "stnkit": __version__,
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "numpy": np.__version__,
            "numba": numba.__version__,
            "llvmlite": metadata.version("llvmlite"),
            "system": platform.platform(),
        },
        "processor": processor(),
        "threads": threads(),
        "archive": shipped.described(digest()),
        "cache": cache(),
        "cuda": cuda(),
        "frameworks": frameworks(),
        "settings": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(("NUMBA_", "STNKIT_"))},
    }


def processor() -> Facts:
    """Describe the processor as the compiler sees it: its name, LLVM's name for it, and its vector instruction sets."""
    features = llvm.get_host_cpu_features()
    return {
        "name": _processor_name(),
        "llvm name": llvm.get_host_cpu_name(),
        "vector features": " ".join(name for name in VECTORS if features.get(name)),
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def threads() -> Facts:
    """Describe Numba's threads: how many, the threading layer and how its threads wait, or why there is none."""
    found: Facts = {"processors": processors(), "at most": numba.config.NUMBA_NUM_THREADS}
    try:
        found["in use"] = numba.get_num_threads()  # starts the layer, so that it can be named
        found["layer"] = numba.threading_layer()
        found["wait policy"] = waiting(found["layer"])
    except ValueError as error:
        found["layer"] = f"none ({error})"
    return found


def waiting(layer: str) -> str:
    """Tell how a threading layer's threads wait: GNU OpenMP's keep their cores busy at first, unless told otherwise."""
    if layer != "omp":
        return "the layer's own"
    policy, spins = os.environ.get("OMP_WAIT_POLICY", ""), os.environ.get("GOMP_SPINCOUNT", "")
    if spins:
        return f"busy for {spins} turns of a loop, then asleep (GOMP_SPINCOUNT={spins})"
    means = {"PASSIVE": "asleep at once", "ACTIVE": "busy for minutes"}.get(policy.strip().upper())
    if means:
        return f"{means} (OMP_WAIT_POLICY={policy})"
    return "busy for some milliseconds, then asleep (OMP_WAIT_POLICY is not set)"


def cache() -> Facts:
    """Describe where compiled kernels are kept: the directory, with the number of kernels in it and their size."""
    if numba.config.DISABLE_JIT:
        return {"directory": "none: NUMBA_DISABLE_JIT is set, and nothing is compiled"}
    path = cache_directory()
    if path is None:
        return {"directory": "none can be written to: kernels are compiled in every process"}
    files = list(Path(path).glob("*.nbc"))
    size = sum(file.stat().st_size for file in files)
    return {"directory": path, "kernels": len(files), "size": f"{size / 2**20:.1f} MiB"}


def cuda() -> Facts:
    """Describe the CUDA devices, or say why there is none."""
    try:
        version = metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        return {"devices": 'none: numba-cuda is not installed (pip install "stnkit[cuda]")'}
    found: Facts = {"numba-cuda": version}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from numba import cuda as driver

            devices = list(driver.list_devices()) if driver.is_available() else []
            for number, device in enumerate(devices):
                name = device.name.decode() if isinstance(device.name, bytes) else device.name
                major, minor = device.compute_capability
                found[f"device {number}"] = f"{name}, compute capability {major}.{minor}"
    except Exception as error:  # a driver may fail in any way, and that is the fact to report
        found["devices"] = f"none: {type(error).__name__}: {error}"
        return found
    if not devices:
        found["devices"] = "none: no driver or no device was found"
    return found


def frameworks() -> Facts:
    """Return the versions of the array frameworks that are installed, without importing one."""
    providers = metadata.packages_distributions()
    names = sorted({name for module in REPORTED for name in providers.get(module, [])})
    return {name: metadata.version(name) for name in names}
