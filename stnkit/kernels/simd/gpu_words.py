"""What is spelled out in the language of NVIDIA's assembler: whole words of a GPU's memory, and reductions to it.

Its compiler reads and writes vectors of numbers shorter than 32 bits in several pieces, and sees through what calls
them words. And it makes an atomic addition whose result nobody takes wait for that result: `red` gives none.
"""

from typing import Any

from llvmlite import ir

WORD, ADDRESS = ir.IntType(32), ir.IntType(64)
PLACE = "{{ .reg .u64 a; cvta.to.global.u64 a, ${}; {} }}"  # an address, and what is done there


def read_words(builder: Any, where: Any, kind: Any, words: int) -> Any:
    """Read a vector of a type, which is so many words."""
    many = words > 1
    given = ir.LiteralStructType([WORD] * words) if many else WORD
    code = PLACE.format(words, f"ld.global{_suffix(words)} {_registers(words, 0)}, [a];")
    address = builder.ptrtoint(where, ADDRESS)
    got = builder.asm(ir.FunctionType(given, [ADDRESS]), code, ",".join(["=r"] * words + ["l"]), [address], False)
    value = ir.Constant(ir.VectorType(WORD, words), ir.Undefined)
    for k in range(words):
        value = builder.insert_element(value, builder.extract_value(got, k) if many else got, ir.Constant(WORD, k))
    return builder.bitcast(value, kind)


def write_words(builder: Any, where: Any, value: Any, words: int) -> None:
    """Write a vector, which is so many words."""
    value = builder.bitcast(value, ir.VectorType(WORD, words))
    parts = [builder.extract_element(value, ir.Constant(WORD, k)) for k in range(words)]
    code = PLACE.format(0, f"st.global{_suffix(words)} [a], {_registers(words, 1)};")
    kind = ir.FunctionType(ir.VoidType(), [ADDRESS, *[WORD] * words])
    builder.asm(kind, code, ",".join(["l"] + ["r"] * words), [builder.ptrtoint(where, ADDRESS), *parts], True)


def reduce(builder: Any, operation: str, where: Any, parts: list[Any]) -> None:
    """Add numbers to neighbours, or do another operation, while other threads may too; `add.f32` is one."""
    letters = {ir.FloatType(): "f", ir.DoubleType(): "d", ADDRESS: "l"}
    given = [letters[part.type] for part in parts]
    code = PLACE.format(0, f"red.global.{operation} [a], {_registers(len(parts), 1)};")
    kind = ir.FunctionType(ir.VoidType(), [ADDRESS, *(part.type for part in parts)])
    builder.asm(kind, code, ",".join(["l", *given]), [builder.ptrtoint(where, ADDRESS), *parts], True)


def _suffix(words: int) -> str:
    return f".v{words}.b32" if words > 1 else ".b32"


def _registers(words: int, first: int) -> str:
    names = ", ".join(f"${first + k}" for k in range(words))
    return f"{{{names}}}" if words > 1 else names
