"""How LLVM's code is made of a leaf: block by block, first for types, and then for instructions.

A leaf's blocks are walked until what is known of its variables, at the begin of each block, no longer changes. A branch
that a known number decides is followed on one side only, so what a kernel's choices rule out has no type and no code.
"""

import functools
import hashlib
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir as code
from numba.core import bytecode, errors, interpreter, ir, types

from stnkit.kernels.compiler.expressions import UNKNOWN, Expressions, Value, has_code
from stnkit.spec import Spec


class Graph(NamedTuple):
    """The blocks of a function, and the variables that each of them, or one after it, reads before it sets them."""

    blocks: dict[int, Any]
    needs: dict[int, set[str]]


@functools.cache
def graph(function: Callable[..., Any]) -> Graph:
    """Read a function's byte code."""
    identity = bytecode.FunctionIdentity.from_function(function)
    blocks = interpreter.Interpreter(identity).interpret(bytecode.ByteCode(identity)).blocks
    sets: dict[int, set[str]] = {label: set() for label in blocks}
    needs: dict[int, set[str]] = {label: set() for label in blocks}
    for label, block in blocks.items():
        for statement in block.body:
            needs[label] |= _read(statement) - sets[label]
            if isinstance(statement, ir.Assign):
                sets[label].add(statement.target.name)
    changed = True
    while changed:
        changed = False
        for label in sorted(blocks, reverse=True):
            for target in blocks[label].terminator.get_targets():
                more = needs[target] - sets[label] - needs[label]
                needs[label] |= more
                changed |= bool(more)
    return Graph(blocks, needs)


def _read(statement: Any) -> set[str]:
    """Return the names of the variables that a statement reads."""
    if isinstance(statement, ir.Del):
        return set()
    if isinstance(statement, ir.Assign):
        value = statement.value
        variables = value.list_vars() if isinstance(value, ir.Expr) else [value] if isinstance(value, ir.Var) else []
    else:
        variables = statement.list_vars()
    return {variable.name for variable in variables}


def _argument(k: int, kind: Any) -> Value:
    """Return what argument number `k` holds; `Spec`s and leaves are known by their types."""
    if isinstance(kind, Spec):
        return Value(None, kind, path=(k,))
    return Value(kind, kind.dispatcher) if isinstance(kind, types.Dispatcher) else Value(kind)


class Compilation(Expressions):
    """One leaf that is being compiled."""

    def __init__(
        self, function: Callable[..., Any], kinds: tuple[Any, ...], typing_context: Any, context: Any, leaf_of: Any
    ) -> None:
        super().__init__(typing_context, context, leaf_of)
        self.function, self.graph = function, graph(function)
        self.arguments = [_argument(k, kind) for k, kind in enumerate(kinds)]
        self.inputs: dict[int, dict[str, Value]] = {min(self.graph.blocks): {}}  # what is known as a block begins
        self.assigned: set[str] = set()  # in the block at hand
        self.slots: dict[Any, Any] = {}  # memory of variables that more than one block needs
        self.returns: dict[int, Any] = {}
        self._infer()
        self.result = functools.reduce(self._unified, self.returns.values())
        text = self._write()
        self.name = f"{function.__name__}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.text = text.replace('@"leaf"', f'@"{self.name}"')

    def _infer(self) -> None:
        """Find out what is known of variables, and which blocks are reached."""
        pending = set(self.inputs)
        while pending:
            label = min(pending)
            pending.remove(label)
            for target in self._walk(label):
                new = {name: v for name, v in self.environment.items() if name in self.graph.needs[target]}
                old = self.inputs.get(target)
                if old is not None:
                    both = {name: self._joined(old[name], new[name]) for name in old if name in new}
                    new = {name: value for name, value in both.items() if value is not None}
                if new != old:
                    self.inputs[target] = new
                    pending.add(target)

    def _joined(self, a: Value, b: Value) -> Value | None:
        """Return what a variable may hold that holds one of two things; None if these have no common type."""
        if a.kind == b.kind and a.path == b.path and type(a.known) is type(b.known) and a.known == b.known:
            return a
        kind = self._unified(a.kind, b.kind) if has_code(a.kind) and has_code(b.kind) else None
        return None if kind is None else Value(kind)

    def _unified(self, a: Any, b: Any) -> Any:
        return a if a == b else self.typing.unify_types(a, b)

    def _write(self) -> str:
        """Write the code of all blocks that are reached."""
        module = self.context.codegen()._create_empty_module(self.function.__name__)
        coded = [v.kind for v in self.arguments if has_code(v.kind)]
        form = code.FunctionType(self.context.get_value_type(self.result), map(self.context.get_value_type, coded))
        function = code.Function(module, form, "leaf")
        function.linkage = "linkonce_odr"
        function.attributes.add("alwaysinline")
        entry = function.append_basic_block("entry")
        self.blocks = {label: function.append_basic_block(f"b{label}") for label in sorted(self.inputs)}
        values = iter(function.args)
        self.arguments = [v._replace(code=next(values)) if has_code(v.kind) else v for v in self.arguments]
        with self.context.push_code_library(self):
            for label, block in self.blocks.items():
                self.builder = code.IRBuilder(block)
                self._walk(label)
        code.IRBuilder(entry).branch(self.blocks[min(self.blocks)])
        return str(module)

    def add_linking_library(self, library: Any) -> None:
        """Refuse instructions that call functions of Numba's own."""
        self.refuse(library)

    def _walk(self, label: int) -> list[int]:
        """Go through a block: `environment` is then what variables hold at its end. Return the blocks that follow."""
        self.environment, self.assigned = dict(self.inputs[label]), set()
        targets: list[int] = []
        for statement in self.graph.blocks[label].body:
            try:
                targets = self._statement(label, statement)
            except (KeyError, NotImplementedError, errors.NumbaError) as error:
                msg = f"{self.function.__qualname__}, {statement.loc}: {statement}: {error}"
                raise errors.TypingError(msg) from error
        return targets

    def _statement(self, label: int, statement: Any) -> list[int]:
        """Do one statement; return the blocks that follow, if it is the last one."""
        if isinstance(statement, ir.Assign):
            self.environment[statement.target.name] = self._right(statement.value)
            self.assigned.add(statement.target.name)
        elif isinstance(statement, ir.SetItem):
            self.apply(operator.setitem, *map(self.take, (statement.target, statement.index, statement.value)))
        elif isinstance(statement, ir.Jump):
            return self._leave(label, [statement.target])
        elif isinstance(statement, ir.Branch):
            condition, targets = self.cast(self.take(statement.cond), types.boolean), statement.get_targets()
            if condition.known is not UNKNOWN:
                targets = [statement.truebr if condition.known else statement.falsebr]
            return self._leave(label, targets, condition)
        elif isinstance(statement, ir.Return):
            value = self.take(statement.value)
            self.returns[label] = value.kind
            if self.builder:
                self.builder.ret(self.cast(value, self.result).code)
        elif not isinstance(statement, ir.Del):
            self.refuse(statement)
        return []

    def _leave(self, label: int, targets: list[int], condition: Value | None = None) -> list[int]:
        """Keep in memory what later blocks need, and go on to them."""
        if not self.builder:
            return targets
        begin = self.inputs[label]
        for target in targets:
            for name, value in self.inputs[target].items():
                if value.known is UNKNOWN and has_code(value.kind):
                    there = name in begin and begin[name].known is UNKNOWN and begin[name].kind == value.kind
                    if name in self.assigned or not there:
                        self.builder.store(self.cast(self._load(name), value.kind).code, self._slot(name, value.kind))
        blocks = [self.blocks[target] for target in targets]
        if len(blocks) > 1 and condition is not None:
            self.builder.cbranch(condition.code, *blocks)
        else:
            self.builder.branch(blocks[0])
        return targets

    def _right(self, value: Any) -> Value:
        """Return what the right side of an assignment stands for."""
        if isinstance(value, ir.Var):
            return self.take(value)
        if isinstance(value, ir.Arg):
            argument: Value = self.arguments[value.index]
            return argument
        if isinstance(value, ir.Const | ir.Global | ir.FreeVar):
            return self.constant(value.value)
        return self.expression(value)

    def take(self, variable: Any) -> Value:
        """Return what a variable holds, with its code."""
        return self._load(variable.name)

    def _load(self, name: str) -> Value:
        value = self.coded(self.environment[name])
        if self.builder and value.code is None and has_code(value.kind):
            value = value._replace(code=self.builder.load(self._slot(name, value.kind)))
            self.environment[name] = value
        return value

    def _slot(self, name: str, kind: Any) -> Any:
        """Return the memory of a variable while it has one type."""
        if (name, kind) not in self.slots:
            with self.builder.goto_block(self.builder.function.entry_basic_block):
                self.slots[name, kind] = self.builder.alloca(self.context.get_value_type(kind), name=name)
        return self.slots[name, kind]
