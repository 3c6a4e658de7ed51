"""Kernels as text: for dumps, and as the key by which identical kernels are emitted once.

Shared subexpressions are printed where they stand: the text shows what is computed, the emitters
decide what is computed once.
"""

from lepton_cc.codegen.kernel.expr import (
    Binary,
    Bitcast,
    Cast,
    Compare,
    Const,
    Expr,
    Load,
    MulAdd,
    Select,
    Unary,
    Var,
)
from lepton_cc.codegen.kernel.integer_expr import (
    Dot,
    LoadWord,
    PackedWord,
    QuantizedSum,
    RoundedProduct,
    RoundedQuotient,
    Saturate,
)
from lepton_cc.codegen.kernel.ir import (
    Block,
    For,
    If,
    Kernel,
    Let,
    LoopKind,
    MatrixDot,
    MatrixLoad,
    MatrixStore,
    Prefetch,
    Stmt,
    Store,
)
from lepton_cc.codegen.kernel.types import INDEX, Buffer, ScalarType
from lepton_cc.ir.diagnostics import InternalError


def print_kernel(kernel: Kernel) -> str:
    """The kernel, one statement a line, indented by depth."""
    parameters = ", ".join(_declaration(buffer) for buffer in kernel.parameters)
    lines = [f"kernel {kernel.name}({parameters}) {{"]
    lines += [f"  local {_declaration(buffer)}" for buffer in kernel.locals]
    lines += [f"  matrix {m.name}: {m.rows} x {m.words}" for m in kernel.matrices]
    lines += _Printer().block(kernel.body, 1)
    return "\n".join([*lines, "}"]) + "\n"


def _declaration(buffer: Buffer) -> str:
    mark = "out " if buffer.written else ""
    return f"{mark}{buffer.name}: {buffer.dtype.value}[{buffer.size}]"


def _type_name(type_: ScalarType) -> str:
    return "index" if type_ is INDEX else str(type_.value)


class _Printer:
    """Prints statements; big shared expressions of one statement are named once."""

    def __init__(self) -> None:
        self._named: dict[int, str] = {}
        self._pending: list[str] = []

    def block(self, block: Block, depth: int) -> list[str]:
        lines: list[str] = []
        for statement in block:
            self._named = {}
            lines += self._statement(statement, depth)
        return lines

    def _statement(self, statement: Stmt, depth: int) -> list[str]:
        pad = "  " * depth
        if isinstance(statement, For):
            kind = "" if statement.kind is LoopKind.SERIAL else f" {statement.kind.value}"
            bounds = f"{self._text(statement.begin)} .. {self._text(statement.end)}"
            head = f"{pad}for{kind} {statement.var.name} in {bounds} {{"
            return [*self._flush(pad), head, *self.block(statement.body, depth + 1), f"{pad}}}"]
        if isinstance(statement, Store):
            target = f"{statement.buffer.name}[{self._text(statement.index)}]"
            line = f"{pad}{target} = {self._text(statement.value)}"
            return [*self._flush(pad), line]
        if isinstance(statement, Let):
            line = f"{pad}let {statement.var.name} = {self._text(statement.value)}"
            return [*self._flush(pad), line]
        if isinstance(statement, If):
            head = f"{pad}if {self._text(statement.condition)} {{"
            lines = [*self._flush(pad), head, *self.block(statement.then, depth + 1)]
            if statement.otherwise:
                lines += [f"{pad}}} else {{", *self.block(statement.otherwise, depth + 1)]
            return [*lines, f"{pad}}}"]
        if isinstance(statement, MatrixDot):
            total, lhs, rhs = statement.total.name, statement.lhs.name, statement.rhs.name
            return [f"{pad}{total} += dot({lhs}, {rhs})"]
        if isinstance(statement, Prefetch):
            line = f"{pad}prefetch {statement.buffer.name}[{self._text(statement.index)}]"
            return [*self._flush(pad), line]
        if isinstance(statement, MatrixLoad | MatrixStore):
            memory = f"{statement.buffer.name}[{self._text(statement.index)}; {statement.stride}]"
            sides = (statement.matrix.name, memory)
            left, right = sides if isinstance(statement, MatrixLoad) else sides[::-1]
            return [*self._flush(pad), f"{pad}{left} = {right}"]
        raise InternalError(f"no text for {type(statement).__name__}")

    def _flush(self, pad: str) -> list[str]:
        lines = [f"{pad}{line}" for line in self._pending]
        self._pending = []
        return lines

    def _text(self, expr: Expr) -> str:
        # Operands come first by a list of our own: math functions are deeper than Python's stack.
        pending = [expr]
        while pending:
            top = pending[-1]
            missing = [part for part in top.operands() if id(part) not in self._named]
            if missing:
                pending.extend(reversed(missing))
                continue
            pending.pop()
            if id(top) not in self._named:
                self._named[id(top)] = self._short_text(top)
        return self._named[id(expr)]

    def _short_text(self, expr: Expr) -> str:
        text = self._new_text(expr)
        # Naming by size keeps the text linear in the number of expressions.
        if len(text) > 60:
            name = f"${len(self._named)}"
            self._pending.append(f"{name} = {text}")
            text = name
        return text

    def _new_text(self, expr: Expr) -> str:
        if isinstance(expr, Const):
            value = float(expr.value).hex() if isinstance(expr.value, float) else str(expr.value)
            return value if expr.type is INDEX else f"{value}:{_type_name(expr.type)}"
        if isinstance(expr, Var):
            return expr.name
        if isinstance(expr, Load):
            return f"{expr.buffer.name}[{self._text(expr.index)}]"
        parts = [self._text(operand) for operand in expr.operands()]
        if isinstance(expr, Binary | Compare):
            return f"({parts[0]} {expr.op.value} {parts[1]})"
        if isinstance(expr, Unary):
            return f"{expr.op.value}({parts[0]})"
        if isinstance(expr, Select):
            return f"({parts[0]} ? {parts[1]} : {parts[2]})"
        if isinstance(expr, Cast | Bitcast):
            word = "cast" if isinstance(expr, Cast) else "bitcast"
            return f"{word}<{_type_name(expr.type)}>({parts[0]})"
        if isinstance(expr, MulAdd):
            return f"mul_add({', '.join(parts)})"
        if isinstance(expr, RoundedProduct):
            bounds = f"{expr.low}, {expr.high}, {expr.bound!r}"
            return f"rounded_product<{bounds}>({', '.join(parts)})"
        if isinstance(expr, RoundedQuotient):
            return f"rounded_quotient<{expr.low}, {expr.high}>({parts[0]}, {expr.divisor.hex()})"
        if isinstance(expr, Saturate):
            return f"saturate<{_type_name(expr.type)}, {expr.addend}>({parts[0]})"
        if isinstance(expr, QuantizedSum):
            scales = f"{expr.lhs_scale!r}, {expr.rhs_scale!r}, {expr.offset!r}"
            bounds = f"{expr.magnitude}, {expr.low}, {expr.high}"
            return f"quantized_sum<{scales}, {bounds}>({', '.join(parts)})"
        if isinstance(expr, LoadWord):
            return f"word({expr.buffer.name}, {parts[0]})"
        if isinstance(expr, PackedWord):
            return f"pack({', '.join(parts)})"
        if isinstance(expr, Dot):
            return f"dot<{expr.shape.value}>({', '.join(parts)})"
        raise InternalError(f"no text for {type(expr).__name__}")
