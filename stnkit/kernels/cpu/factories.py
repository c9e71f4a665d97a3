"""The kernels of CPUs by name. The room that one is written in is imported, and Numba with it, to compile it."""

import functools
import importlib
from typing import Any, NamedTuple

from stnkit.kernels import cpu
from stnkit.kernels.compiler import monitor
from stnkit.kernels.compiler.digests import qualified
from stnkit.kernels.objects import shipped
from stnkit.spec import Spec


class Kernel:
    """A function `status = kernel(words, first, last)`, compiled for a `Spec`; see `call`."""

    def __init__(self, room: str, name: str, spec: Spec) -> None:
        self.room, self.name, self.spec = room, name, spec
        self.key = qualified(name, spec)

    @functools.cached_property
    def address(self) -> int:
        """Where its machine code is: from an archive, from Numba's cache, or compiled now."""
        found = shipped.address(self.key, self.spec.digest)
        if found is None:
            return int(self.written.address)
        monitor.note(self.key, monitor.ARCHIVE)
        return found

    @property
    def function(self) -> Any:
        """What it is compiled of: a function of Python's."""
        return self.written.function

    @functools.cached_property
    def written(self) -> Any:
        """The kernel as `compiler.jit` has it."""
        room = getattr(cpu, self.room, None) or importlib.import_module(f"{cpu.__name__}.{self.room}")
        return getattr(room, self.name)(self.spec)


class Factory(NamedTuple):
    """A kernel by the room that it is written in, and its name there; called, it returns the kernel for a `Spec`."""

    room: str
    name: str

    def __call__(self, spec: Spec) -> Kernel:  # noqa: D102  # as said above
        return made(self, spec)


@functools.cache
def made(factory: Factory, spec: Spec) -> Kernel:
    """Return a kernel: one for each name and `Spec` in a process."""
    return Kernel(factory.room, factory.name, spec)


SAMPLE = Factory("loops", "sample")
SAMPLE_VJP = Factory("loops", "sample_vjp")
SAMPLE_VJP_BANDED = Factory("bands", "sample_vjp_banded")
GRID = Factory("grids", "grid")
GRID_VJP = Factory("grids", "grid_vjp")
THIN_PLATE_GRID = Factory("grids", "thin_plate_grid")
MAP_GRID_VJP = Factory("grids", "map_grid_vjp")
MAP_GRID_JVP = Factory("grids", "map_grid_jvp")
SAMPLE_JVP = Factory("tangents", "sample_jvp")
SAMPLE_DOUBLE_VJP = Factory("tangents", "sample_double_vjp")
SAMPLE_GRADIENT = Factory("tangents", "sample_gradient")
SAMPLE_ORDER = Factory("order", "sample_order")
SPLAT_ORDER = Factory("order", "splat_order")
SPLINE_FILTER = Factory("prefilter", "spline_filter")
TAKE = Factory("take", "take")
