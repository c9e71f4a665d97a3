"""How Numba compiles kernels, which are calls of one leaf: as it compiles any function, and it is said that it does."""

from typing import Any

from numba.core.compiler import Compiler

from stnkit.kernels.compiler import monitor


class KernelPipeline(Compiler):  # type: ignore[misc]
    """What Numba runs for a kernel."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a kernel that was not found on disk."""
        monitor.begin(function)
        return super().compile_extra(function)
