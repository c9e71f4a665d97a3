"""Calls of kernels by machine code: all chunks of a call, or one of so many pieces of them.

Numba's threads and XLA's run the same pieces; see `parallel` and `jax.ffi.pool`.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from stnkit.kernels.cpu.call import CHUNKS, STATUS, WORDS


@intrinsic
def run(context, kernel, words, first, last):
    """Call a kernel, or what has its form, by its address."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word] * 3).as_pointer())
        return builder.call(function, args[1:])

    return types.int64(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def run_piece(context, kernel, words, piece, pieces):
    """Call a kernel for one of so many pieces of its chunks; a status that tells of an error is a word of the call.

    A sum of all would be an array to Numba, which takes a third of the time to compile.
    """

    def generate(context, builder, signature, args):
        kernel, words, piece, pieces = args
        word = ir.IntType(64)
        where = builder.inttoptr(builder.add(words, word(8 * CHUNKS)), word.as_pointer())
        chunks, after = builder.load(where), builder.add(piece, word(1))
        ends = [builder.udiv(builder.mul(end, chunks), pieces) for end in (piece, after)]
        function = builder.inttoptr(kernel, ir.FunctionType(word, [word] * 3).as_pointer())
        status = builder.call(function, [words, *ends])
        with builder.if_then(builder.icmp_signed("!=", status, word(0)), likely=False):
            builder.store(status, builder.inttoptr(builder.add(words, word(8 * STATUS)), word.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def word(context, address, offset):
    """Read the 8 bytes at an offset from an address."""

    def generate(context, builder, signature, args):
        return builder.load(builder.inttoptr(builder.add(*args), ir.IntType(64).as_pointer()))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def filled(context, block, *addresses):
    """Return the address of a copy of a block of words, on the stack, that begins with the addresses given."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        words = cgutils.alloca_once(builder, ir.ArrayType(word, WORDS))
        cgutils.raw_memcpy(builder, words, builder.inttoptr(args[0], words.type), ir.Constant(word, 8 * WORDS), 1)
        for slot, address in enumerate(cgutils.unpack_tuple(builder, args[1], len(addresses))):
            builder.store(address, cgutils.gep_inbounds(builder, words, 0, slot))
        return builder.ptrtoint(words, word)

    return types.int64(types.int64, types.BaseTuple.from_types(addresses)), generate
