"""How numba-cuda calls a leaf: as a device function whose modules are written already."""

import itertools
from collections.abc import Callable
from typing import Any

from numba import types

from stnkit.kernels.compiler.leaves import Leaf


class Text:
    """A module of LLVM's language, for numba-cuda, which asks its functions for no change and then writes it out."""

    functions = ()

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def device_function(thread: Callable[..., None]) -> Callable[..., Any]:
    """Return the definition of an intrinsic `body(i, arguments)` of numba-cuda that calls `thread(i, *arguments)`.

    NVIDIA's compiler drops a leaf that nothing before it calls. So each module is linked by the one before it, and
    callers come first.
    """

    def body(typing_context, i, arguments):
        def write(context, builder, signature, values):
            leaf = Leaf(thread, (i, *arguments), typing_context, context)
            libraries = [context.active_code_library]
            for part in leaf.parts:
                libraries.append(context.codegen().create_library(part.name))
                libraries[-1].add_ir_module(Text(part.text))
            for caller, library in reversed(list(itertools.pairwise(libraries))):
                library.finalize()
                caller.add_linking_library(library)
            item, whole = values
            leaf.call(context, builder, [item, *(builder.extract_value(whole, k) for k in range(len(arguments)))])
            return context.get_dummy_value()

        return types.void(i, arguments), write

    return body
