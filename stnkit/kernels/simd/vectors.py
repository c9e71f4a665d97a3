"""Lanes as LLVM's vectors: their type, and the instructions that read and arrange them."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from stnkit.kernels.compiler.expressions import is_gpu
from stnkit.kernels.simd.gpu_words import read_words

I32, I64 = ir.IntType(32), ir.IntType(64)


class Lanes(types.Type):  # type: ignore[misc]  # Numba has no types
    """Numba's type of `count` numbers of type `dtype`, kept in a vector register.

    Those that are `aligned` lie in memory where a multiple of their size is.
    """

    def __init__(self, dtype: types.Type, count: int, aligned: bool = False) -> None:
        self.dtype, self.count, self.aligned = dtype, count, aligned
        super().__init__(f"Lanes({dtype} x {count}{', aligned' if aligned else ''})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):  # type: ignore[misc]  # Numba has no types
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), kind.count))


def is_lanes(kind: Any) -> bool:
    return isinstance(kind, Lanes)


def alike(kind: Any, like: Any) -> Any:
    """Return the type of `kind`s, as many as `like`."""
    return Lanes(kind, like.count, like.aligned) if is_lanes(like) else kind


def pick(builder: Any, value: Any, lanes: list[int]) -> Any:
    order = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)


def join(builder: Any, parts: list[Any]) -> Any:
    """Concatenate vectors of equal length, two and two."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        order = ir.Constant(ir.VectorType(I32, n), list(range(n)))
        parts = [builder.shuffle_vector(*parts[k : k + 2], order) for k in range(0, len(parts), 2)]
    return parts[0]


def broadcast(builder: Any, value: Any, count: int) -> Any:
    kind = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return pick(builder, first, [0] * count)


def fitted(builder: Any, kind: Any, value: Any, like: Any) -> Any:
    """Return a number in all lanes, if `like` has lanes and it has not."""
    return broadcast(builder, value, like.count) if is_lanes(like) and not is_lanes(kind) else value


def word(builder: Any, value: Any) -> Any:
    """Return an integer with 64 bits, for addresses."""
    return value if value.type == I64 else builder.sext(value, I64)


def alignment(context: Any, number: Any, like: Any) -> int:
    """Return of how many bytes the address of a number, or of lanes of it, is a multiple."""
    size: int = context.get_abi_sizeof(context.get_value_type(number))
    return size * like.count if is_lanes(like) and like.aligned else size


def read(context: Any, builder: Any, number: Any, where: Any, like: Any) -> Any:
    """Read a number, or as many neighbours as `like` has lanes."""
    if is_lanes(like):
        kind = ir.VectorType(where.type.pointee, like.count)
        where = builder.bitcast(where, kind.as_pointer())
        if words := words_of(context, kind, like):
            return read_words(builder, where, kind, words)
    value = builder.load(where)
    value.align = alignment(context, number, like)
    return value


def read_three(context: Any, builder: Any, number: Any, where: Any) -> Any:
    """Read three neighbours by one access of four, of which the last is not made.

    For what was not written a moment ago: such an access would have to wait for two stores.
    """
    four = ir.VectorType(where.type.pointee, 4)
    mask = ir.Constant(ir.VectorType(ir.IntType(1), 4), [True, True, True, False])
    where = builder.bitcast(where, four.as_pointer())
    code = ir.FunctionType(four, [where.type, I32, mask.type, four])
    bits = context.get_abi_sizeof(context.get_value_type(number)) * 8
    kind = ("f" if isinstance(where.type.pointee.element, (ir.FloatType, ir.DoubleType)) else "i") + str(bits)
    name = f"llvm.masked.load.v4{kind}.p0v4{kind}"
    call = cgutils.get_or_insert_function(builder.module, code, name)
    align = ir.Constant(I32, context.get_abi_sizeof(context.get_value_type(number)))
    value = builder.call(call, [where, align, mask, ir.Constant(four, ir.Undefined)])
    return pick(builder, value, [0, 1, 2])


def words_of(context: Any, kind: Any, like: Any) -> int:
    """Return how many words of 32 bits aligned lanes of short numbers are, on a GPU; 0 for others."""
    short = isinstance(kind.element, ir.IntType) and kind.element.width < I32.width
    whole = is_gpu(context) and like.aligned and short
    return kind.element.width * kind.count // I32.width if whole else 0
