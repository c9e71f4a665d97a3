"""The samplers on JAX arrays, each with its derivatives as functions, for every source of coordinates alike.

`jax.grad` and its like need none of these derivatives; they are here so that every public function takes JAX arrays.
A function takes which derivative it is and the kind of its source, and then the arguments of the public one, by name.
"""

from typing import Any

from stnkit.calls.arguments import Words
from stnkit.calls.derivatives import DOUBLE_VJP, JVP, SAMPLE, VJP, Derivative, array_names, optional
from stnkit.jax import call
from stnkit.jax.call import import_arrays, not_written, prepare

RUN = {SAMPLE: call.sample, VJP: call.vjp, JVP: call.jvp, DOUBLE_VJP: call.double_vjp}


def sampled(what: Derivative[Any], kind: int, **arguments: Any) -> Any:
    """Do a call of a sampler, or of a derivative of one."""
    if what.written:
        not_written(what.written, arguments.pop(what.written))
    given = import_arrays(*optional(what, kind), **{name: arguments.pop(name) for name in array_names(what, kind)})
    words = Words(**arguments)
    cotangent = None if what.cotangent is None else given[what.cotangent]
    began = prepare(kind, given[what.image], given[what.image + 1], words, cotangent)
    return RUN[what](began, given, words)
