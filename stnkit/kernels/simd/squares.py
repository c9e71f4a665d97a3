"""Squares of numbers: as many rows as lanes, which are turned to columns in registers."""

from typing import Any

from llvmlite import ir
from numba import types

from stnkit.kernels.compiler.jit import intrinsic
from stnkit.kernels.simd.vectors import I32, I64, word
from stnkit.spec import LANES

# Of two rows a and b, in three stages: numbers 0 to 7 are those of a, and 8 to 15 those of b. Each pick is one
# instruction, as it stays within halves of a register, or moves whole ones.
_STAGES = (
    (1, (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
    (2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
    (4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
)
_COLUMNS = (0, 2, 1, 3, 4, 6, 5, 7)  # which columns the rows are in the end


def transpose(target: Any, to: Any, step: Any, source: Any, at: Any, apart: Any) -> None:
    """Copy a square of `LANES` rows, which begins at `at`, and make its rows columns.

    Rows are `apart` in the source, and `step` in the target.
    """
    for i in range(LANES):
        for j in range(LANES):
            target[to + j * step + i] = source[at + i * apart + j]


@intrinsic(transpose, lambda target, to, step, source, at, apart: types.void)
def _transpose(context, builder, signature, args):
    target, to, step, source, at, apart = (
        value if isinstance(value.type, ir.PointerType) else word(builder, value) for value in args
    )
    number = signature.args[3].dtype
    kind = ir.VectorType(source.type.pointee, LANES)

    def row(memory, first, between, k):
        return builder.gep(memory, [builder.add(first, builder.mul(between, ir.Constant(I64, k)))])

    size = context.get_abi_sizeof(context.get_value_type(number))
    rows = []
    for k in range(LANES):
        rows.append(builder.load(builder.bitcast(row(source, at, apart, k), kind.as_pointer())))
        rows[-1].align = size
    for apart_by, *picks in _STAGES:
        masks = [ir.Constant(ir.VectorType(I32, LANES), pick) for pick in picks]
        for k in (k for k in range(LANES) if not k & apart_by):
            pair = rows[k], rows[k + apart_by]
            rows[k], rows[k + apart_by] = (builder.shuffle_vector(*pair, mask) for mask in masks)
    for k, column in enumerate(_COLUMNS):
        where = builder.bitcast(row(target, to, step, column), kind.as_pointer())
        builder.store(rows[k], where).align = size
    return context.get_dummy_value()
