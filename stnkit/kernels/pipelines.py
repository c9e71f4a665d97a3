"""How Numba compiles kernels and leaves: which of its passes are added or replaced, and why.

Both are compiled for one `Spec`. `FoldSpec` puts the values of its fields into the code before types are inferred, so
that what a choice leaves out is neither typed nor lowered. A leaf is only ever linked into a kernel, so `LeafLowering`
stops at its LLVM code. That is optimised, although the kernel's is once more: kernels are slower without.
"""

from typing import Any

from numba._dynfunc import make_function
from numba.core import ir, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NativeLowering
from numba.core.untyped_passes import InlineInlinables, IRProcessing

from stnkit.kernels import compiling
from stnkit.spec import Spec


class Choices(types.Type):
    """Numba's type of one `Spec`: its fields are constants to every leaf, also where that is compiled by itself."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        super().__init__(f"Choices{tuple(spec)}")


@register_pass(mutates_CFG=False, analysis_only=False)
class FoldSpec(FunctionPass):  # type: ignore[misc]
    """Replace each field of a `Spec` that is a number or a truth value by a constant."""

    _name = "stnkit_fold_spec"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Fold the function in hand; branches on what became constant are pruned by the next pass."""
        specs: dict[str, Spec] = {}
        folded = False
        for block in state.func_ir.blocks.values():  # in the order of the code: a variable is set before it is read
            for statement in block.find_insts(ir.Assign):
                name, value = statement.target.name, statement.value
                found = _spec(value, specs, state.args)
                if isinstance(found, Spec):
                    specs[name] = found
                elif isinstance(found, bool | int):
                    statement.value = ir.Const(found, statement.loc)
                    definitions = state.func_ir._definitions[name]
                    definitions[definitions.index(value)] = statement.value
                    folded = True
        return folded


def _spec(value: Any, specs: dict[str, Spec], arguments: Any) -> Any:
    """Return the spec, or the field of one, that an expression of Numba's intermediate representation stands for."""
    if isinstance(value, ir.Arg):
        return getattr(arguments[value.index], "spec", None)
    if isinstance(value, ir.FreeVar | ir.Global):
        return value.value if isinstance(value.value, Spec) else None
    if isinstance(value, ir.Var):
        return specs.get(value.name)
    if isinstance(value, ir.Expr) and value.op == "getattr" and value.value.name in specs:
        return getattr(specs[value.value.name], value.attr)
    return None


class LeafLibrary(JITCodeLibrary):  # type: ignore[misc]
    """LLVM code that is linked into kernels, and of which no machine code is made."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class LeafLowering(NativeLowering):  # type: ignore[misc]
    """Lower a leaf to LLVM code, and let kernels find it by an entry point without an address."""

    _name = "stnkit_leaf_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower the function in hand."""
        state.library = LeafLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        name = lowered.fndesc.qualname.rpartition(".")[-1]
        entry = make_function(lowered.fndesc.lookup_module(), name, "", 0, lowered.env, (state.library,))
        state.targetctx.insert_user_function(entry, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=entry)
        return True


def _passes(state: Any) -> Any:
    """Return Numba's passes, with choices folded where a function's own code, or what was inlined, is known."""
    passes = DefaultPassBuilder.define_nopython_pipeline(state)
    for step in (IRProcessing, InlineInlinables):
        passes.add_pass_after(FoldSpec, step)
    passes.finalize()
    return passes


class KernelPipeline(CompilerBase):  # type: ignore[misc]
    """Numba's passes for a kernel, of which it is said that it is compiled."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a kernel that was not found on disk."""
        compiling.begin(function)
        return super().compile_extra(function)

    def define_pipelines(self) -> list[Any]:
        """Return the passes, in order."""
        return [_passes(self.state)]


class LeafPipeline(CompilerBase):  # type: ignore[misc]
    """Numba's passes for a leaf."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes, in order."""
        passes = _passes(self.state)
        passes.passes = [(LeafLowering if step is NativeLowering else step, text) for step, text in passes.passes]
        passes.finalize()
        return [passes]
