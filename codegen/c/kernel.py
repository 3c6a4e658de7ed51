"""One kernel as a static C99 function."""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.codegen.c.expressions import ExpressionEmitter
from lepton_cc.codegen.c.matrix_unit import (
    DOT_SUPPORT,
    LOAD_SUPPORT,
    STORE_SUPPORT,
    declaration,
    dot_call,
    move_call,
)
from lepton_cc.codegen.c.support import SupportFunction
from lepton_cc.codegen.c.types import comment, element_type, identifier, memory_type, value_type
from lepton_cc.codegen.kernel.expr import Cast, Const, Expr, Load, Var
from lepton_cc.codegen.kernel.integer_expr import LoadWord
from lepton_cc.codegen.kernel.ir import (
    Block,
    For,
    If,
    Kernel,
    Let,
    MatrixDot,
    MatrixLoad,
    MatrixStore,
    Prefetch,
    Stmt,
    Store,
    expressions,
    walk,
)
from lepton_cc.codegen.kernel.legalize import expand
from lepton_cc.codegen.kernel.parallel import over_range, parallel_extent
from lepton_cc.codegen.kernel.types import INDEX, Buffer, ScalarType, is_unsigned
from lepton_cc.ir.diagnostics import InternalError

_INDENT = "    "


@dataclass(frozen=True, slots=True)
class CFunction:
    """A kernel's text, and the support functions that it calls."""

    text: str
    support: tuple[SupportFunction, ...]


def emit_kernel(
    kernel: Kernel,
    symbol: str | None = None,
    *,
    aliased: frozenset[str] = frozenset(),
    nodes: Sequence[str] = (),
) -> CFunction:
    """`static void symbol(parameters)`; a parallel loop's kernel takes its range as well.

    Roundings and square roots, which C without a library lacks, are expanded into arithmetic.
    `aliased` names the parameters whose storage may be that of another one: the others are
    `restrict`. `nodes` are the ONNX nodes that the comment names.
    """
    expanded = expand(kernel, roundings=True, square_roots=True)
    return _KernelEmitter(expanded).function(symbol or identifier(kernel.name), aliased, nodes)


class _KernelEmitter:
    """Prints one kernel; every variable has a name of its own, so that nothing is shadowed."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._taken: set[str] = set()
        self._buffers = {
            buffer: self._unique(buffer.name) for buffer in (*kernel.parameters, *kernel.locals)
        }
        self._matrices = {matrix: self._unique(matrix.name) for matrix in kernel.matrices}
        self._variables: dict[Var, str] = {}
        self._lines: list[str] = []
        self._support: set[SupportFunction] = set()
        self._temporaries = 0
        self._read_buffers, self._read_variables = _what_is_read(kernel)

    def function(self, symbol: str, aliased: frozenset[str], nodes: Sequence[str]) -> CFunction:
        """The whole function."""
        kernel = self._kernel
        parameters = [self._parameter(buffer, aliased) for buffer in kernel.parameters]
        body = kernel.body
        if parallel_extent(kernel) is not None:
            begin, end = Var(INDEX, "begin"), Var(INDEX, "end")
            for bound in (begin, end):
                self._variables[bound] = self._unique(bound.name)
                parameters.append(f"const ptrdiff_t {self._variables[bound]}")
            body = over_range(kernel, begin, end)
        self._declare_locals()
        self._block(body, 1)
        note = [f"/* {comment(', '.join(nodes))} */"] if nodes else []
        head = f"static void {symbol}({', '.join(parameters) or 'void'})"
        text = "\n".join([*note, head, "{", *self._lines, "}"]) + "\n"
        return CFunction(text, tuple(sorted(self._support)))

    def _parameter(self, buffer: Buffer, aliased: frozenset[str]) -> str:
        const = "" if buffer.written else "const "
        restrict = "" if buffer.name in aliased else "restrict "
        return f"{const}{memory_type(buffer.dtype)} *{restrict}{self._buffers[buffer]}"

    def _declare_locals(self) -> None:
        for buffer in self._kernel.parameters:
            if buffer not in self._read_buffers:
                self._lines.append(f"{_INDENT}(void){self._buffers[buffer]};")
        for buffer in self._kernel.locals:
            if buffer in self._read_buffers:
                kind = element_type(buffer.dtype)
                self._lines.append(f"{_INDENT}{kind} {self._buffers[buffer]}[{buffer.size}];")

        for matrix, name in self._matrices.items():
            self._lines.append(f"{_INDENT}{declaration(matrix, name)}")

    def _unique(self, name: str) -> str:
        base = candidate = identifier(name)
        number = 1
        while candidate in self._taken:
            number += 1
            candidate = f"{base}_{number}"
        self._taken.add(candidate)
        return candidate

    # Statements

    def _block(self, block: Block, depth: int) -> None:
        for statement in block:
            self._statement(statement, depth)

    def _statement(self, statement: Stmt, depth: int) -> None:
        match statement:
            case For():
                self._for(statement, depth)
            case Store(buffer, index, value):
                at, text = self._emit(depth, index, value)
                if isinstance(value, Cast) and is_unsigned(value.type):
                    # GCC warns of a cast's sign on its way into a type that may alias.
                    text = self._temporary(value.type, text, depth)
                cast = f"({element_type(buffer.dtype)})" if value_type(value.type) == "int" else ""
                operand = f"({text})" if cast else text
                self._line(depth, f"{self._buffers[buffer]}[{at}] = {cast}{operand};")
            case Let(var, value):
                if var in self._read_variables:
                    (text,) = self._emit(depth, value)
                    self._variables[var] = self._unique(var.name)
                    self._line(
                        depth, f"const {value_type(var.type)} {self._variables[var]} = {text};"
                    )
            case If(condition, then, otherwise):
                (text,) = self._emit(depth, condition)
                self._line(depth, f"if ({text}) {{")
                self._block(then, depth + 1)
                if otherwise:
                    self._line(depth, "} else {")
                    self._block(otherwise, depth + 1)
                self._line(depth, "}")
            case MatrixDot(total, lhs, rhs):
                names = (self._matrices[total], self._matrices[lhs], self._matrices[rhs])
                self._support.update(DOT_SUPPORT)
                self._line(depth, dot_call(statement, names))
            case MatrixLoad(matrix, buffer, index) | MatrixStore(matrix, buffer, index):
                (at,) = self._emit(depth, index)
                is_load = isinstance(statement, MatrixLoad)
                self._support.update(LOAD_SUPPORT if is_load else STORE_SUPPORT)
                place = f"&{self._buffers[buffer]}[{at}]"
                self._line(depth, move_call(statement, self._matrices[matrix], place))
            case Prefetch():
                pass  # a pointer beyond a buffer is not C
            case _:
                raise InternalError(f"no C for {type(statement).__name__}")

    def _for(self, loop: For, depth: int) -> None:
        begin = self._bound(loop.begin, depth)
        end = self._bound(loop.end, depth)
        name = self._unique(loop.var.name)
        self._variables[loop.var] = name
        self._line(depth, f"for (ptrdiff_t {name} = {begin}; {name} < {end}; ++{name}) {{")
        self._block(loop.body, depth + 1)
        self._line(depth, "}")

    def _bound(self, expr: Expr, depth: int) -> str:
        (text,) = self._emit(depth, expr)
        return text if isinstance(expr, Const | Var) else self._temporary(INDEX, text, depth)

    def _emit(self, depth: int, *expressions: Expr) -> tuple[str, ...]:
        emitter = ExpressionEmitter(
            self._variables,
            self._buffers,
            lambda type_, text: self._temporary(type_, text, depth),
            self._support,
        )
        return emitter.emit(*expressions)

    def _temporary(self, type_: ScalarType, text: str, depth: int) -> str:
        self._temporaries += 1
        name = self._unique(f"t{self._temporaries}")
        self._line(depth, f"const {value_type(type_)} {name} = {text};")
        return name

    def _line(self, depth: int, text: str) -> None:
        self._lines.append(_INDENT * depth + text)


def _what_is_read(kernel: Kernel) -> tuple[set[Buffer], set[Var]]:
    """The buffers that statements read or write, and the variables that they read."""
    buffers: set[Buffer] = set()
    variables: set[Var] = set()
    seen: set[Expr] = set()
    pending: list[Expr] = []
    for statement in walk(kernel.body):
        if isinstance(statement, Store | MatrixLoad | MatrixStore):
            buffers.add(statement.buffer)
        pending.extend(expressions(statement))
    while pending:
        expr = pending.pop()
        if expr in seen:
            continue
        seen.add(expr)
        pending.extend(expr.operands())
        if isinstance(expr, Load | LoadWord):
            buffers.add(expr.buffer)
        elif isinstance(expr, Var):
            variables.add(expr)
    return buffers, variables
