"""Levels: kinds of processors that archives of kernels are compiled for, and which of them this processor is of."""

import functools
import platform
import sys
from typing import NamedTuple

from llvmlite import binding as llvm


class Level(NamedTuple):
    """A kind of processors."""

    machine: str
    processor: str  # as LLVM names it
    features: tuple[str, ...]  # that a processor must have, beside what every machine of this kind has
    tuning: str = ""  # what LLVM is told beside the name


_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

LEVELS = {  # the best of each kind of machine comes first
    # By its name LLVM keeps to half of a vector, as the first processors of this level became slower by whole ones. On
    # Zen 5 some kernels take a third less time with these.
    "x86-64-v4": Level("x86_64", "x86-64-v4", (*_V3, *_V4), "-prefer-256-bit"),
    "x86-64-v3": Level("x86_64", "x86-64-v3", _V3),
    "armv8-a": Level("aarch64", "generic", ()),
}

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # what others call them


def machine() -> str:
    """Return what kind of machine this is."""
    name = platform.machine().lower()
    return _MACHINES.get(name, name)


def system() -> str:
    """Return the system that objects are made for, and the kind of machine."""
    return f"{sys.platform}-{machine()}"


@functools.cache
def levels() -> tuple[str, ...]:
    """Return the levels that this processor is of, the best one first."""
    has = llvm.get_host_cpu_features()
    return tuple(
        name
        for name, level in LEVELS.items()
        if level.machine == machine() and all(has.get(feature) for feature in level.features)
    )
