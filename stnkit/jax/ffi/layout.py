"""Where the fields of XLA's call frame lie, and whether the installed jaxlib agrees.

The frame is made of C structures, declared in the header `c_api.h` that jaxlib ships. A handler in machine code reads
it by the offsets below; `is_known` works them out from the header, so that another layout is noticed, and never read.
"""

import functools
import re
from pathlib import Path

import jax
import numpy as np

VERSION = (0, 1)  # the oldest version of the interface that has all of this; newer ones accept it

# Bytes from the start of a structure; names are those of C, without the prefix XLA_FFI_.
OFFSETS = {
    "CallFrame": {"extension_start": 8, "api": 16, "ctx": 24, "stage": 32, "args": 40, "rets": 80, "attrs": 120},
    "Args": {"size": 16, "args": 32},
    "Rets": {"size": 16, "rets": 32},
    "Attrs": {"size": 16, "types": 24, "attrs": 40},
    "Buffer": {"dtype": 16, "data": 24, "rank": 32, "dims": 40},
    "Array": {"dtype": 0, "size": 8, "data": 16},
    "Extension_Base": {"struct_size": 0, "type": 8},
    "Metadata_Extension": {"metadata": 24},
    "Metadata": {"api_version": 8, "traits": 32},
    "Api_Version": {"major_version": 16, "minor_version": 20},
    "Api": {"Error_Create": 48, "Error_Destroy": 64, "ThreadPool_Schedule": 136, "ThreadPool_NumThreads": 144},
    "Error_Create_Args": {"struct_size": 0, "extension_start": 8, "message": 16, "errc": 24},
    "Error_Destroy_Args": {"struct_size": 0, "extension_start": 8, "error": 16},
    "ThreadPool_Schedule_Args": {"struct_size": 0, "extension_start": 8, "ctx": 16, "task": 24, "data": 32},
    "ThreadPool_NumThreads_Args": {"struct_size": 0, "extension_start": 8, "ctx": 16, "num_threads": 24},
}
VALUES = {
    "Extension_Metadata": 1, "ExecutionStage_EXECUTE": 3, "AttrType_ARRAY": 1, "Error_Code_INVALID_ARGUMENT": 3,
    "Error_Code_RESOURCE_EXHAUSTED": 8,
}  # fmt: skip
# What XLA calls a format, and its number there, by its NumPy name.
_FORMATS = {
    "bool": ("PRED", 1), "int8": ("S8", 2), "int16": ("S16", 3), "int32": ("S32", 4), "int64": ("S64", 5),
    "uint8": ("U8", 6), "uint16": ("U16", 7), "uint32": ("U32", 8), "uint64": ("U64", 9), "float16": ("F16", 10),
    "float32": ("F32", 11), "float64": ("F64", 12), "bfloat16": ("BF16", 16),
}  # fmt: skip
_RENAMED = {"InternalExtension": "Extension_Base"}  # since jaxlib 0.11
_SIZES = {"int": 4, "uint32_t": 4, "int32_t": 4}  # what is no structure, no enumeration and not here has 8 bytes


def code(dtype: np.dtype[np.generic]) -> int:
    """Return XLA's number for a dtype."""
    return _FORMATS[dtype.name][1]


@functools.cache
def is_known() -> bool:
    """Tell whether the header of the installed jaxlib has the layout that handlers read."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        text = header.read_text(encoding="utf-8")
    except OSError:
        return False
    return agrees(text)


def agrees(text: str) -> bool:
    """Tell whether a header declares every field, and every value, where and as it is expected."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).replace("XLA_FFI_", "")
    for new, old in _RENAMED.items():
        text = re.sub(rf"\b{new}\b", old, text)
    major = re.search(r"#define API_MAJOR (\d+)", text)
    if major is None or int(major[1]) != VERSION[0]:
        return False
    found, declared = offsets(text), values(text)
    wanted = VALUES | {f"DataType_{name}": number for name, number in _FORMATS.values()}
    return all(
        found.get(struct, {}).get(field) == at for struct, fields in OFFSETS.items() for field, at in fields.items()
    ) and all(declared.get(name) == number for name, number in wanted.items())


def values(text: str) -> dict[str, int]:
    """Return the values of enumerations."""
    return {name: int(number) for name, number in re.findall(r"^\s*(\w+) = (\d+),?\s*$", text, re.MULTILINE)}


def offsets(text: str) -> dict[str, dict[str, int]]:
    """Lay out structures as C does on a 64-bit machine: a field begins at a multiple of its alignment."""
    sizes = _SIZES | dict.fromkeys(re.findall(r"typedef enum \{[^}]*\} (\w+);", text), 4)
    sizes |= {alias: sizes.get(name, 8) for name, alias in re.findall(r"typedef (\w+) (\w+);", text)}
    found: dict[str, dict[str, int]] = {}
    for name, body in re.findall(r"struct (\w+) \{([^}]*)\}", text):
        at, fields = 0, {}
        for line in filter(None, map(str.strip, body.split(";"))):
            kind, field = _declared(line)
            size = sizes.get(kind, 8)
            at += -at % min(size, 8)
            fields[field] = at
            at += size
        found[name], sizes[name] = fields, at + -at % 8
    return found


def _declared(line: str) -> tuple[str, str]:
    """Return the type and the name of a field; the type of a pointer is "*"."""
    if made := re.fullmatch(r"_API_STRUCT_FIELD\((\w+)\)", line):
        return "*", made[1]
    if function := re.search(r"\(\*(\w+)\)", line):
        return "*", function[1]
    *kind, name = line.replace("*", " * ").split()
    return "*" if "*" in kind else kind[-1], name
