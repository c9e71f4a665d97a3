"""Old machine code: files of kernels that no kernel of this stnkit will be read from again."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numba

from stnkit.kernels.compiler import digests
from stnkit.kernels.cpu import threads
from stnkit.kernels.cuda import cubin_cache

# What Numba calls the files of a kernel: module, name, digest (which was not always there), Spec, line, Python's
# release. What starts kernels has no Spec.
NAMES = r"([^.]+)\.[a-z_]+?_(?:([0-9a-f]{14})(?:_[0-9a-f]{16})?|[0-9a-f]{16})-\d+\.py\w+" + (
    r"\.(?:nbi|\d+\.nbc)(?:\.tmp\.\w+)?"
)

# The modules of what starts kernels, each with a digest of its own, by the name in a file's.
STARTERS = {
    "parallel": "stnkit.kernels.cpu.parallel",
    "frame": "stnkit.jax.ffi.frame",
    "pool": "stnkit.jax.ffi.pool",
}


class Removed(NamedTuple):
    """What was removed."""

    files: int
    size: int  # bytes


def clean() -> Removed:
    """Remove the kernels of other versions of stnkit's sources, for CPUs and for GPUs, from where they are kept."""
    old = [*_old(), *_old_on_gpus()]
    size = sum(path.stat().st_size for path in old)
    for path in old:
        path.unlink(missing_ok=True)
    return Removed(len(old), size)


def _old() -> Iterator[Path]:
    folder = threads.cache_directory()
    for path in sorted(Path(folder).iterdir()) if folder else ():
        found = re.fullmatch(NAMES, path.name)
        if found and found[2] != _todays(found[1]):
            yield path


def _todays(module: str) -> str | None:
    """Return the digest of this stnkit's kernels, or of what starts them; None where JAX is not there any more."""
    rooms = (STARTERS[module],) if module in STARTERS else ()
    try:
        return f"{digests.digest(*rooms):014x}"
    except ImportError:
        return None


def _old_on_gpus() -> Iterator[Path]:
    folder = cubin_cache.directory(numba.config.CACHE_DIR)
    for path in sorted(folder.glob("*.cubin")) if folder else ():
        key = cubin_cache.key_of(path)
        if key is None or not _is_todays(key):
            yield path


def _is_todays(key: str) -> bool:
    """Tell whether a kernel for GPUs is of this stnkit and this Numba, from its key, which `runtime` writes."""
    try:
        name, spec, _, _, _, version, _ = ast.literal_eval(key)
        module = name.rpartition(".")[0]
        there = find_spec(module) is not None
    except (ValueError, SyntaxError, ImportError):
        return False
    return there and spec[-1] == digests.digest(module, "stnkit.kernels.cuda.runtime") and version == numba.__version__
