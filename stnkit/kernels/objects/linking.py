"""Machine code that is linked into this process by LLVM, through llvmlite alone."""

import functools
import itertools
import threading
from collections.abc import Mapping
from typing import Any

from llvmlite import binding as llvm

_linked: dict[str, Any] = {}  # what keeps the code of each function in memory: it is never let go
_one_at_a_time = threading.Lock()
_numbers = itertools.count()  # of libraries, which need names of their own


def machine(**options: Any) -> Any:
    """Return what makes objects of LLVM's code for a processor, as Numba does; without options, for any of its kind."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True, **options)


@functools.cache
def _linker() -> Any:
    """Return what links for this process; with it, what is missing is an error of Python's, and no abort."""
    return llvm.create_lljit_compiler(machine(), suppress_errors=True)


def compiled(text: str) -> bytes:
    """Make an object of LLVM's code, for any processor of this kind."""
    code: bytes = machine().emit_object(llvm.parse_assembly(text))
    return code


def address(code: bytes, symbol: str, imports: Mapping[str, int] | None = None) -> int:
    """Link an object, with symbols at the addresses given or else of this process; return a function's address.

    Raises
    ------
    RuntimeError
        If it is no object, or a symbol is missing.
    """
    with _one_at_a_time:
        if symbol not in _linked:
            library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(symbol)
            for name, where in (imports or {}).items():
                library.import_symbol(name, where)
            _linked[symbol] = library.link(_linker(), f"stnkit {next(_numbers)}")
        return int(_linked[symbol][symbol])
