"""What a kernel's machine code was made of, as a number: Numba's cache does not see a change in a function it calls.

A kernel is made of the module it stands in, and of what that imports from this package. So an edit compiles anew what
depends on it, and kernels for GPUs do not compile those for CPUs anew.
"""

import functools
import hashlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterable
from types import CodeType
from typing import Any

from stnkit.spec import Spec

PACKAGE = __name__.partition(".")[0] + "."
CPU = tuple(
    f"{PACKAGE}kernels.cpu.{name}" for name in ("loops", "bands", "grids", "order", "prefilter", "take", "tangents")
)
IMPORT = re.compile(r"^\s*(?:from|import) (.*\([^)]*\)|.*)", re.MULTILINE)  # what follows the first word


@functools.cache
def digest(*modules: str) -> int:
    """Hash all that is compiled into the kernels of some modules, or of all modules with kernels for CPUs.

    That is the text of these modules and of what they import from this package, or its byte code where that alone is
    installed.
    """
    text = "".join(map(_text, sorted(reached(modules or CPU))))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def qualified(name: str, spec: Spec) -> str:
    """Return the name by which a kernel is kept.

    It carries a hash of the spec, so that each kernel has a cache index of its own: two processes that compile
    different kernels at once then never write to one index. It carries the digest too, by which old files are known.
    """
    return f"{name}_{spec.digest:014x}_{hashlib.sha256(repr(spec).encode()).hexdigest()[:16]}"


def reached(modules: Iterable[str]) -> set[str]:
    """Return those of some modules that are of this package, what they import from it, what that imports, and so on."""
    found: set[str] = set()
    coming = {module for module in modules if module.startswith(PACKAGE)}
    while coming:
        found |= coming
        coming = set().union(*map(_imported, coming)) - found
    return found


@functools.cache
def _imported(module: str) -> frozenset[str]:
    """Return the modules that a module imports, from the words of its imports: `a.b`, or `a` and then `b`."""
    loader = _loader(module)
    text = loader.get_source(module)
    if text is None:  # one module too many does no harm
        statements = [_named(loader.get_code(module))]
    else:
        statements = [set(re.findall(r"[\w.]+", statement)) for statement in IMPORT.findall(text)]
    found = {
        name
        for words in statements
        for word in words
        if word.startswith(PACKAGE)
        for name in (_inside(word) & {f"{word}.{other}" for other in words} or {word})
    }
    return frozenset(name for name in found if not _inside(name))


@functools.cache
def _inside(name: str) -> frozenset[str]:
    """Return the modules and packages in a package; none where the name is that of a module."""
    folders = importlib.util.find_spec(name).submodule_search_locations  # type: ignore[union-attr]  # as it exists
    return frozenset(f"{name}.{module.name}" for module in pkgutil.iter_modules(folders or ()))


def _named(code: CodeType) -> set[str]:
    """Return the names in byte code, modules that are imported among them."""
    inner = [_named(value) for value in code.co_consts if isinstance(value, CodeType)]
    return set(code.co_names).union(*inner)


def _loader(module: str) -> Any:
    """Return what a module was read by, as it need not be a file: it may stand in a zip, or in a frozen program."""
    return importlib.util.find_spec(module).loader  # type: ignore[union-attr]  # as it exists


def _text(module: str) -> str:
    loader = _loader(module)
    return loader.get_source(module) or _constant(loader.get_code(module))


def _constant(value: Any) -> str:
    """Spell a constant of byte code, a function's code among them, alike in every process, wherever its lines stand."""
    if isinstance(value, CodeType):
        names = value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
        counts = value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags
        return _constant((value.co_code, value.co_exceptiontable, names, counts, value.co_consts))
    if isinstance(value, tuple | frozenset):
        spelled = map(_constant, value)
        return f"({','.join(spelled)})" if isinstance(value, tuple) else f"{{{','.join(sorted(spelled))}}}"
    return repr(value)
