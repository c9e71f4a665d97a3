"""The balance of `kernels.cpu.busy` in machine code: between XLA and a kernel there is no Python that could keep it.

What it knows is in memory of 8-byte words, which begin as zeros. XLA's threads share it: what they lose by that is
accuracy.
"""

import time

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from stnkit.kernels.compiler.jit import pointer
from stnkit.kernels.cpu.busy import CREDIT, DEBT, GUESS, LONGEST, PATIENCE, PAUSE
from stnkit.kernels.cpu.parallel import run
from stnkit.kernels.cpu.words import words_at

SAVED, LENGTH, UNTIL, TABLE = range(4)  # seconds saved, those of the next pause, its end, and where kinds begin
KINDS = 251  # that are told apart; each has two words: what it is, and its seconds for a tap on one thread
WORDS = TABLE + 2 * KINDS
inline = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
CLOCK = getattr(time, "CLOCK_MONOTONIC", None)  # None on Windows, where launches are not timed


@intrinsic
def seconds(context):
    """Read the system's clock."""

    def generate(context, builder, signature, args):
        number, form = ir.DoubleType(), ir.LiteralStructType([ir.IntType(64)] * 2)
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), form.as_pointer()])
        found = builder.module.globals.get("clock_gettime")
        read = found if found is not None else ir.Function(builder.module, kind, "clock_gettime")
        at = cgutils.alloca_once(builder, form)
        builder.call(read, [ir.IntType(32)(CLOCK or 0), at])
        whole, billionths = (builder.sitofp(builder.load(cgutils.gep(builder, at, 0, k)), number) for k in (0, 1))
        return builder.fadd(whole, builder.fmul(billionths, number(1e-9)))

    return types.float64(), generate


@intrinsic
def state(context):
    """Return the address of the balance of this program."""

    def generate(context, builder, signature, args):
        form, name = ir.ArrayType(ir.IntType(64), WORDS), "stnkit_balance"
        memory = builder.module.globals.get(name)
        if memory is None:
            memory = ir.GlobalVariable(builder.module, form, name)
            memory.linkage, memory.initializer, memory.align = "internal", ir.Constant(form, None), 8
        return builder.ptrtoint(memory, ir.IntType(64))

    return types.int64(), generate


@inline
def balanced(balance, function, given, kernel, chunks, work):
    """Run a kernel that reads `work` taps by what hands its chunks to threads, or alone where threads have lost."""
    begin = seconds()
    if begin < pointer(balance, 1.0)[UNTIL]:
        status = run(kernel, given, 0, chunks)
        note_alone(balance, kind(kernel, work), work, seconds() - begin)
        return status
    status = run(function, given, kernel, chunks)
    end = seconds()
    note_threads(balance, kind(kernel, work), work, end - begin, end)
    return status


@inline
def kind(kernel, work):
    """Return a number for a kernel and the binary order of its work."""
    order, rest = 0, work
    while rest > 0:
        order, rest = order + 1, rest >> 1
    return 64 * kernel + order


@inline
def note_alone(balance, kind, work, seconds):
    """Note how long a launch took on one thread; of two kinds that share a place, the last is known."""
    kinds, numbers, at = words_at(balance), pointer(balance, 1.0), TABLE + 2 * (kind % KINDS)
    if kinds[at] != kind:
        kinds[at], numbers[at + 1] = kind, 1.0
    numbers[at + 1] = min(numbers[at + 1], seconds / work)


@inline
def note_threads(balance, kind, work, seconds, now):
    """Note how long a launch took on threads; begin a pause if they lose, as `Balance.note_threads` does."""
    kinds, numbers, at = words_at(balance), pointer(balance, 1.0), TABLE + 2 * (kind % KINDS)
    alone = (numbers[at + 1] if kinds[at] == kind else GUESS) * work
    change = alone - seconds if seconds < alone else min(2 * alone - seconds, 0.0)
    saved = min(numbers[SAVED] + change, CREDIT)
    pause = max(numbers[LENGTH], PAUSE)
    if saved < -(DEBT + PATIENCE * alone):
        numbers[UNTIL], numbers[LENGTH] = now + pause, min(2 * pause, LONGEST)
        for i in range(KINDS):
            kinds[TABLE + 2 * i] = 0
        saved = 0.0
    elif saved == CREDIT:
        numbers[LENGTH] = PAUSE
    numbers[SAVED] = saved
