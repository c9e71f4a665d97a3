"""What leaves are written in, expression by expression: of which type it is, and which instructions compute it.

`Expressions` is used twice for each leaf. While types are looked for there is no builder, and no code is made. Whole
numbers that are known before a kernel runs, as fields of a `Spec` are, are computed here and now.
"""

import functools
import inspect
import operator
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core import cgutils, errors
from numba.core.dispatcher import Dispatcher

from stnkit.spec import Spec

UNKNOWN: Any = object()
KNOWN: dict[Any, Any] = {}  # functions whose result follows from types, those of known numbers among them


class Choices(types.Type):  # type: ignore[misc]
    """Numba's type of one `Spec`: its fields are constants to every leaf."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        super().__init__(f"Choices{tuple(spec)}")


class Value(NamedTuple):
    """What a variable holds: its type, its value if that is known by now, and the instruction that computes it."""

    kind: Any
    known: Any = UNKNOWN
    code: Any = None
    path: tuple[Any, ...] | None = None  # of an argument's `Spec`: which argument, and names of fields


def is_gpu(context: Any) -> bool:
    """Tell whether instructions are chosen for a GPU."""
    return type(context).__module__.startswith("numba.cuda")


def has_code(kind: Any) -> bool:
    """Tell whether values of a type are computed by a kernel; functions, types and specs are not."""
    return kind is not None and not isinstance(kind, (types.Callable, types.NumberClass, Choices))


class Expressions:
    """The expressions of one leaf. What is common to them comes first; then they follow by Numba's names."""

    def __init__(self, typing_context: Any, context: Any, leaf_of: Any) -> None:
        self.typing, self.context, self.leaf_of = typing_context, context, leaf_of
        self.builder: Any = None
        self.environment: dict[str, Value] = {}
        self.reads: dict[tuple[Any, ...], Any] = {}  # fields, by where their specs come from
        self.called: dict[Any, None] = {}  # leaves

    def take(self, variable: Any) -> Value:
        """Return what a variable holds, with its code."""
        raise NotImplementedError

    def coded(self, value: Value) -> Value:
        """Give a known value its code."""
        if self.builder and value.code is None and value.known is not UNKNOWN and has_code(value.kind):
            return value._replace(code=self.context.get_constant_generic(self.builder, value.kind, value.known))
        return value

    def constant(self, value: Any) -> Value:
        """Return what stands in the text, or is a global variable."""
        if isinstance(value, str | Spec):
            return Value(None, value)
        kind = types.unliteral(self.typing.resolve_value_type(value))
        return Value(kind, value.item() if isinstance(value, np.generic) else value)

    def cast(self, value: Value, kind: Any) -> Value:
        """Convert to a type."""
        kind = types.unliteral(kind)
        number = _number(value.known, kind)
        if number is not UNKNOWN:
            return self.coded(Value(kind, number))
        value = self.coded(value)
        if value.kind == kind or not self.builder:
            return value._replace(kind=kind)
        return Value(kind, code=self.context.cast(self.builder, value.code, value.kind, kind))

    def apply(self, function: Any, *arguments: Value) -> Value:
        """Apply what Numba has types and instructions for."""
        kinds = tuple(Choices(v.known) if isinstance(v.known, Spec) else v.kind for v in arguments)
        self.reads.update((v.path, v.known) for v in arguments if isinstance(v.known, Spec) and v.path is not None)
        kind, signature = _signature(self.typing, function, kinds)
        if signature is None:
            return self.refuse(f"{function}{kinds}")  # type: ignore[no-any-return]
        result = types.unliteral(signature.return_type)
        number = _number(_computed(function, arguments), result)
        if number is not UNKNOWN:
            return self.coded(Value(result, number))
        if not self.builder:
            return Value(result)
        pairs = zip(arguments, signature.args, strict=True)
        codes = [self.cast(v, want).code if has_code(v.kind) else self.context.get_dummy_value() for v, want in pairs]
        return Value(result, code=self.context.get_function(kind, signature)(self.builder, codes))

    def refuse(self, what: Any) -> Any:
        """Say that something is not understood."""
        msg = f"leaves are not written in `{what}`"
        raise errors.TypingError(msg)

    def expression(self, value: Any) -> Value:
        """Return what an expression stands for."""
        handler = getattr(self, f"_expr_{getattr(value, 'op', None)}", self.refuse)
        result: Value = handler(value)
        return result

    def _expr_binop(self, expr: Any) -> Value:
        return self.apply(expr.fn, self.take(expr.lhs), self.take(expr.rhs))

    def _expr_inplace_binop(self, expr: Any) -> Value:
        return self.apply(expr.immutable_fn, self.take(expr.lhs), self.take(expr.rhs))

    def _expr_unary(self, expr: Any) -> Value:
        return self.apply(expr.fn, self.take(expr.value))

    def _expr_cast(self, expr: Any) -> Value:
        return self.take(expr.value)

    def _expr_call(self, expr: Any) -> Value:
        if expr.kws or expr.vararg:
            return self.refuse(expr)  # type: ignore[no-any-return]
        kind, function, *_ = self.take(expr.func)
        arguments = [self.take(argument) for argument in expr.args]
        if function is type:
            return Value(types.NumberClass(arguments[0].kind), arguments[0].kind)
        if function is float and isinstance(arguments[0].known, str):
            return self.coded(Value(types.float64, float(arguments[0].known)))
        if function is range:
            return self.span(arguments)
        if function in (min, max):
            return functools.reduce(
                functools.partial(self.extreme, operator.lt if function is min else operator.gt), arguments
            )
        if function in KNOWN:
            return self.coded(self.constant(KNOWN[function](self.context, *map(_literal, arguments))))
        if function is bool or isinstance(kind, types.NumberClass):
            return self.cast(arguments[0], types.boolean if function is bool else kind.instance_type)
        if isinstance(function, Dispatcher):
            return self.call(function.py_func, arguments)
        if isinstance(function, type) and issubclass(function, tuple):
            return self.tuple_of(arguments, function)
        return self.apply(function, *arguments)

    def call(self, function: Any, arguments: list[Value]) -> Value:
        """Call a leaf; what it reads of a `Spec`, the caller does."""
        kinds = tuple(v.known if isinstance(v.known, Spec) else v.kind for v in arguments)
        leaf = self.leaf_of(function, kinds)
        for (k, *names), value in leaf.reads.items():
            path = arguments[k].path
            if path is not None:
                self.reads[(*path, *names)] = value
        if not self.builder:
            return Value(leaf.result)
        self.called[leaf] = None
        values = [v.code for v in arguments if has_code(v.kind)]
        return Value(leaf.result, code=leaf.call(self.context, self.builder, values))

    def _expr_getattr(self, expr: Any) -> Value:
        whole, name = self.take(expr.value), expr.attr
        if isinstance(whole.known, Spec):
            field, path = getattr(whole.known, name), None if whole.path is None else (*whole.path, name)
            if isinstance(field, Spec):
                return Value(None, field, path=path)
            if path is not None:
                self.reads[path] = field
            return self.coded(self.constant(field))
        if inspect.ismodule(whole.known):
            return self.coded(self.constant(getattr(whole.known, name)))
        if isinstance(whole.kind, types.BaseNamedTuple):
            return self.part(whole, whole.kind.fields.index(name))
        return self.refuse(expr)  # type: ignore[no-any-return]

    def _expr_build_tuple(self, expr: Any) -> Value:
        return self.tuple_of([self.take(item) for item in expr.items])

    def _expr_exhaust_iter(self, expr: Any) -> Value:
        return self.take(expr.value)

    def _expr_static_getitem(self, expr: Any) -> Value:
        whole = self.take(expr.value)
        if isinstance(whole.kind, types.BaseTuple):
            return self.part(whole, expr.index)
        return self.apply(operator.getitem, whole, self.take(expr.index_var))

    def _expr_getitem(self, expr: Any) -> Value:
        whole, index = self.take(expr.value), self.take(expr.index)
        if not isinstance(whole.kind, types.BaseTuple):
            return self.apply(operator.getitem, whole, index)
        if index.known is not UNKNOWN:
            return self.part(whole, index.known)
        if len(set(whole.kind.types)) > 1:
            return self.refuse(expr)  # type: ignore[no-any-return]
        picked = self.part(whole, 0)
        if self.builder:  # by the time a kernel is optimised, the index is a constant
            where = self.cast(index, types.int64).code
            for k in range(1, len(whole.kind)):
                here = self.builder.icmp_signed("==", where, where.type(k))
                code = self.builder.select(here, self.part(whole, k).code, picked.code)
                picked = Value(picked.kind, code=code)
        return picked._replace(known=UNKNOWN)

    def tuple_of(self, parts: list[Value], cls: Any = None) -> Value:
        """Return a tuple."""
        kind = types.BaseTuple.from_types([v.kind for v in parts], cls)
        if not self.builder:
            return Value(kind)
        return Value(kind, code=self.context.make_tuple(self.builder, kind, [v.code for v in parts]))

    def part(self, whole: Value, index: int) -> Value:
        """Return an element of a tuple."""
        if whole.known is not UNKNOWN:
            return self.coded(self.constant(whole.known[index]))
        kind = whole.kind.types[index]
        return Value(kind, code=self.builder.extract_value(whole.code, index) if self.builder else None)

    def extreme(self, compare: Any, best: Value, other: Value) -> Value:
        """Return `other` if it compares so to `best`, else that."""
        kind = self.typing.unify_types(best.kind, other.kind)
        better, best, other = self.apply(compare, other, best), self.cast(best, kind), self.cast(other, kind)
        if better.known is not UNKNOWN:
            return other if better.known else best
        return Value(kind, code=self.builder.select(better.code, other.code, best.code) if self.builder else None)

    # A loop over a range: (first, last), then a pointer to (next, last), then (next, whether it is one of them). For a
    # GPU the pointer is to (next, how many are left): compared with that, kernels with 250 registers spill some.

    def span(self, ends: list[Value]) -> Value:
        """Return the ends of a range of steps of 1."""
        if len(ends) > 2:
            self.refuse("range with a step")
        _, signature = _signature(self.typing, range, tuple(v.kind for v in ends))
        kind = signature.return_type.dtype
        return self.tuple_of(
            [self.cast(end, kind) for end in ([Value(types.int64, 0), *ends] if len(ends) < 2 else ends)]
        )

    def _expr_getiter(self, expr: Any) -> Value:
        ends, where = self.take(expr.value), None
        if self.builder:
            where = cgutils.alloca_once(self.builder, ends.code.type)
            if is_gpu(self.context):
                count = self.builder.sub(self.part(ends, 1).code, self.part(ends, 0).code)
                ends = ends._replace(code=self.builder.insert_value(ends.code, count, 1))
            self.builder.store(ends.code, where)
        return Value(types.CPointer(ends.kind), code=where)

    def _expr_iternext(self, expr: Any) -> Value:
        ends = self.take(expr.value)
        number = ends.kind.dtype.dtype
        if not self.builder:
            return Value(types.Tuple((number, types.boolean)))
        first, last = (cgutils.gep_inbounds(self.builder, ends.code, 0, k) for k in range(2))
        here, end = self.builder.load(first), self.builder.load(last)
        compare, flag = (self.builder.icmp_signed, "nsw") if number.signed else (self.builder.icmp_unsigned, "nuw")
        if is_gpu(self.context):
            there = self.builder.icmp_signed(">", end, end.type(0))
            self.builder.store(self.builder.sub(end, end.type(1)), last)
        else:
            there = compare("<", here, end)
        self.builder.store(self.builder.add(here, here.type(1), flags=[flag]), first)
        return self.tuple_of([Value(number, code=here), Value(types.boolean, code=there)])

    def _expr_pair_first(self, expr: Any) -> Value:
        return self.part(self.take(expr.value), 0)

    def _expr_pair_second(self, expr: Any) -> Value:
        return self.part(self.take(expr.value), 1)


@functools.cache
def _signature(typing_context: Any, function: Any, kinds: tuple[Any, ...]) -> Any:
    """Return the type of a function, and that of a call of it."""
    kind = typing_context.resolve_value_type(function)
    return kind, typing_context.resolve_function_type(kind, kinds, {})


def _computed(function: Any, arguments: tuple[Value, ...]) -> Any:
    """Return what an operator makes of known whole numbers."""
    whole = all(isinstance(v.kind, (types.Integer, types.Boolean)) and v.known is not UNKNOWN for v in arguments)
    if not whole or not inspect.isbuiltin(function):
        return UNKNOWN
    try:
        return function(*(v.known for v in arguments))
    except (ArithmeticError, ValueError):
        return UNKNOWN


def _literal(value: Value) -> Any:
    """Return the type of a value: of a whole number that is known, its own."""
    return types.literal(value.known) if type(value.known) is int else value.kind


def _number(value: Any, kind: Any) -> Any:
    """Return a number in a type, as Python has it; of fractions, integers are made by instructions."""
    if isinstance(value, bool | int):
        if isinstance(kind, types.Boolean):
            return bool(value)
        if isinstance(kind, types.Integer):
            return int(value) if kind.minval <= value <= kind.maxval else UNKNOWN
    if isinstance(value, bool | int | float) and isinstance(kind, types.Float):
        return float(np.dtype(kind.name).type(value))
    return UNKNOWN
