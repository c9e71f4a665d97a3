"""What a thin plate spline is made of: a function of the distance from a control point.

Compilers do not vectorise a call of a library's logarithm, so it is written out here: in operations that they do, and
that give the same bits everywhere.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from stnkit.kernels.compiler.jit import intrinsic, leaf


@leaf
def radial(x, rest, spec):
    """Return U(r) for r^2 = x^2 + rest: |r|^3 on one axis, r^2 log r^2 on two, |r| on three.

    Bookstein (1989), and Duchon (1977) for other numbers of axes. It is 0 at r = 0, as `log` is finite there.
    """
    square = x * x + rest
    if spec.ndim == 1:
        return square * root(square)
    if spec.ndim == 2:
        return square * log(square)
    return root(square)


@leaf
def log(x):
    """Return the natural logarithm of x > 0, to an ulp or so; at 0 some number below all others.

    As in fdlibm: x = 2^k (1 + f), and with s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - s (f - R(s^2)), where R is
    a polynomial; its rounding is kept small by f^2 / 2.
    """
    T = type(x)
    f, k = mantissa_and_exponent(x)
    s = f / (T(2) + f)
    z = s * s
    r = (T(0.1479819860511658591) * z + T(0.1531383769920937332)) * z + T(0.1818357216161805012)
    r = (r * z + T(0.2222219843214978396)) * z + T(0.2857142874366239149)
    r = ((r * z + T(0.3999999999940941908)) * z + T(0.6666666666666735130)) * z
    half = T(0.5) * f * f
    high, low = T(0.693145751953125), T(1.4286068203094172e-06)  # of log 2: k times the first has no rounding
    return k * high - ((half - (s * (half + r) + k * low)) - f)


# x = 2^k (1 + f), 1/2 < (1 + f)^2 < 2: bits are shifted, which NumPy and LLVM call by other names.

_FORMATS = {32: (23, 0x3F3504F3), 64: (52, 0x3FE6A09E667F3BCD)}  # places of the fraction, and the bits of sqrt(1/2)


def mantissa_and_exponent(x: Any) -> tuple[Any, Any]:
    """Return (f, k) with x = 2^k (1 + f) and 1 + f about 1, both of the type of `x`."""
    bits = x.dtype.itemsize * 8
    word = np.dtype(f"int{bits}").type
    places, middle = (word(number) for number in _FORMATS[bits])
    k = (x.view(word) - middle) >> places
    return (x.view(word) - (k << places)).view(x.dtype) - x.dtype.type(1), x.dtype.type(k)


def root(x: Any) -> Any:
    """Return the square root."""
    return np.sqrt(x)


@intrinsic(mantissa_and_exponent, lambda x: types.UniTuple(x, 2))
def _split(context, builder, signature, args):
    kind = signature.args[0]
    word, real = ir.IntType(kind.bitwidth), context.get_value_type(kind)
    places, middle = (ir.Constant(word, number) for number in _FORMATS[kind.bitwidth])
    bits = builder.bitcast(args[0], word)
    k = builder.ashr(builder.sub(bits, middle), places)
    one = builder.bitcast(builder.sub(bits, builder.shl(k, places)), real)
    short = k if kind.bitwidth == 32 else builder.trunc(k, ir.IntType(32))  # of which more processors make numbers
    f = builder.fsub(one, ir.Constant(real, 1.0))
    return context.make_tuple(builder, signature.return_type, (f, builder.sitofp(short, real)))


@intrinsic(root, lambda x: x)
def _root(context, builder, signature, args):
    real = context.get_value_type(signature.args[0])
    return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [real]), args)
