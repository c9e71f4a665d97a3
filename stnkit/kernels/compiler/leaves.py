"""How leaves are compiled: once for each kind of arguments, and linked into every kernel that calls them.

Numba's own pipeline is made for any function, and takes some 40 ms for each. What leaves are written in is little:
numbers, tuples, pointers, loops, and calls of other leaves. `lowering` makes LLVM's code of that in a tenth of the
time, with the types and the instructions that Numba has for each operation.

A leaf is compiled for the fields of a `Spec` that it, and the leaves it calls, have read. Kernels whose other choices
differ share it.
"""

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir as code
from numba import types
from numba.core import cgutils, typing
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, compile_result

from stnkit.kernels.compiler.expressions import Choices, has_code
from stnkit.kernels.compiler.lowering import Compilation
from stnkit.spec import Spec


class Leaf:
    """A leaf's LLVM code, and what it depends on."""

    def __init__(self, function: Any, kinds: tuple[Any, ...], typing_context: Any, context: Any) -> None:
        self.kinds = [kind for kind in kinds if not isinstance(kind, Spec) and has_code(kind)]
        written = Compilation(
            function, kinds, typing_context, context, lambda f, k: compiled(f, k, typing_context, context)
        )
        self.name, self.result, self.text, self.reads = written.name, written.result, written.text, written.reads
        self.parts = [self]  # and all that it calls, callers first, as LLVM links them
        for leaf in written.called:
            self.parts += [part for part in leaf.parts if part not in self.parts]

    @functools.cached_property
    def bitcode(self) -> bytes:
        """The code as LLVM keeps it, which is read faster than text."""
        return llvm.parse_assembly(self.text).as_bitcode()  # type: ignore[no-any-return]  # llvmlite has no types

    def call(self, context: Any, builder: Any, values: Any) -> Any:
        """Write a call; return its result."""
        kinds = [context.get_value_type(kind) for kind in self.kinds]
        form = code.FunctionType(context.get_value_type(self.result), kinds)
        function = cgutils.get_or_insert_function(builder.module, form, self.name)
        return builder.call(function, values)


class LeafLibrary(JITCodeLibrary):  # type: ignore[misc]
    """A leaf and all that it calls, as kernels link it. No machine code is made of it, and no live module is kept."""

    def __init__(self, codegen: Any, leaf: Leaf) -> None:
        super().__init__(codegen, leaf.name)
        self._leaf = leaf
        self._bitcode = b""

    def finalize(self) -> None:
        """Put everything into the leaf's own function, and optimise that: kernels are slower if they do it alone."""
        own, *others = (llvm.parse_bitcode(part.bitcode) for part in self._leaf.parts)
        own.get_function(self.name).linkage = "external"  # so that linking keeps it
        for other in others:
            own.link_in(other)
        self._final_module: Any = own
        self._optimize_final_module()
        own.get_function(self.name).linkage = "linkonce_odr"
        self._bitcode, self._final_module = own.as_bitcode(), None
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        self._ensure_finalized()
        return llvm.parse_bitcode(self._bitcode)


_leaves: dict[Any, list[Leaf]] = {}


def compiled(function: Any, kinds: tuple[Any, ...], typing_context: Any, context: Any) -> Leaf:
    """Return a function's leaf for the types of its arguments; in place of the type of a `Spec` stands itself."""
    key = type(context), function, tuple(None if isinstance(kind, Spec) else kind for kind in kinds)
    known = _leaves.setdefault(key, [])
    for leaf in known:
        if all(_field(kinds, path) == value for path, value in leaf.reads.items()):
            return leaf
    known.append(Leaf(function, kinds, typing_context, context))
    return known[-1]


def _field(kinds: tuple[Any, ...], path: tuple[Any, ...]) -> Any:
    """Follow a path: the number of an argument, then names of fields."""
    return functools.reduce(getattr, path[1:], kinds[path[0]])


_libraries: dict[Leaf, LeafLibrary] = {}


class LeafPipeline(CompilerBase):  # type: ignore[misc]
    """What Numba runs for a leaf that a kernel calls."""

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        """Compile a leaf, and tell Numba how it is called."""
        state = self.state
        kinds = tuple(kind.spec if isinstance(kind, Choices) else types.unliteral(kind) for kind in state.args)
        leaf = compiled(function, kinds, state.typingctx, state.targetctx)
        if leaf not in _libraries:
            _libraries[leaf] = LeafLibrary(state.targetctx.codegen(), leaf)

        def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = [value for value, kind in zip(args, signature.args, strict=True) if has_code(kind)]
            return leaf.call(context, builder, values)

        call.libs = (_libraries[leaf],)  # type: ignore[attr-defined]
        entry = leaf.__reduce__  # Numba asks for a built-in function: it stands for the leaf, and is never called
        state.targetctx._defns[entry].append(call, tuple(state.args))
        return compile_result(
            typing_context=state.typingctx,
            target_context=state.targetctx,
            entry_point=entry,
            signature=typing.signature(leaf.result, *state.args),
            objectmode=False,
            library=_libraries[leaf],
        )
