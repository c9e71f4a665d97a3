"""How Numba compiles kernels, which are calls of one leaf: as any function, but that they are not optimised anew."""

from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from stnkit.kernels.compiler import monitor


class KernelLibrary(JITCodeLibrary):  # type: ignore[misc]  # as Numba is not typed
    """A kernel, and the leaf that it calls, which is optimised: to do it once more takes a quarter of compiling."""

    def _optimize_final_module(self) -> None:
        """Put the leaf into the kernel, and drop what would handle an error: none is raised."""
        builder = llvm.create_pass_builder(self._codegen._tm, llvm.create_pipeline_tuning_options(speed_level=0))
        passes = builder.getModulePassManager()
        if not hasattr(passes, "add_ipsccp_pass"):
            super()._optimize_final_module()  # llvmlite 0.44 has no passes for it
            return
        passes.add_ipsccp_pass()
        passes.add_simplify_cfg_pass()
        passes.add_global_dead_code_eliminate_pass()
        passes.run(self._final_module, builder)


class KernelPipeline(Compiler):  # type: ignore[misc]  # as Numba is not typed
    """What Numba runs for a kernel."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a kernel that was not found on disk."""
        monitor.begin(function)
        self.state.library = KernelLibrary(self.state.targetctx.codegen(), function.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(function)
