"""What is spelled out for NVIDIA's assembler: whole words of a GPU's memory, reductions to it, exchange in a warp.

Its compiler reads and writes vectors of numbers shorter than 32 bits in several pieces, and sees through what calls
them words. And it makes an atomic addition whose result nobody takes wait for that result: `red` gives none.
"""

from typing import Any

from llvmlite import ir

WORD, ADDRESS, SINGLE = ir.IntType(32), ir.IntType(64), ir.FloatType()
WARP = 32  # threads that go in step
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


def unless_negative(builder: Any, sign: Any, value: Any, other: Any) -> Any:
    """Return one of two words, `other` if an integer is negative, bit by bit.

    Of a plain choice, the assembler makes a read into the register of `other`, once that is used no more: of all reads
    of a location, the last then waits until the others are back.
    """
    mask = builder.ashr(sign, sign.type(sign.type.width - 1))
    mask = mask if mask.type == WORD else builder.trunc(mask, WORD)
    parts = [builder.bitcast(value, WORD), builder.bitcast(other, WORD), mask]
    code = "lop3.b32 $0, $1, $2, $3, 0xD8;"  # the second where the third has a bit, else the first
    bits = builder.asm(ir.FunctionType(WORD, [WORD] * 3), code, "=r,r,r,r", parts, False)
    return builder.bitcast(bits, value.type)


def thread_of_warp(builder: Any) -> Any:
    """Return the number of a thread in its warp."""
    code = ir.FunctionType(WORD, [])
    return builder.call(builder.module.declare_intrinsic("llvm.nvvm.read.ptx.sreg.laneid", (), code), [])


def shuffled(builder: Any, how: str, value: Any, other: Any) -> Any:
    """Return what another thread of the warp has, all of which must be here, word by word.

    `idx` takes the number of the thread, and `bfly` the bits in which it differs.
    """
    if isinstance(value.type, ir.IntType) and value.type.width < WORD.width:
        return builder.trunc(shuffled(builder, how, builder.zext(value, WORD), other), value.type)
    if value.type in (SINGLE, WORD):
        kind = "f32" if value.type == SINGLE else "i32"
        code = ir.FunctionType(value.type, [WORD, value.type, WORD, WORD])
        shuffle = builder.module.declare_intrinsic(f"llvm.nvvm.shfl.sync.{how}.{kind}", (), code)
        return builder.call(shuffle, [WORD(-1), value, other, WORD(WARP - 1)])
    bits = builder.bitcast(value, ADDRESS)
    low, high = builder.trunc(bits, WORD), builder.trunc(builder.lshr(bits, ADDRESS(32)), WORD)
    low, high = (shuffled(builder, how, half, other) for half in (low, high))
    bits = builder.or_(builder.zext(low, ADDRESS), builder.shl(builder.zext(high, ADDRESS), ADDRESS(32)))
    return builder.bitcast(bits, value.type)


def _suffix(words: int) -> str:
    return f".v{words}.b32" if words > 1 else ".b32"


def _registers(words: int, first: int) -> str:
    names = ", ".join(f"${first + k}" for k in range(words))
    return f"{{{names}}}" if words > 1 else names
