"""How Numba compiles kernels: which of its passes are added, and why.

A kernel is compiled for one `Spec`. `FoldSpec` puts the values of its fields into the code before types are inferred,
so that what a choice leaves out is neither typed nor lowered.
"""

from typing import Any

from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import InlineInlinables, IRProcessing

from stnkit.kernels import compiling
from stnkit.spec import Spec


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
