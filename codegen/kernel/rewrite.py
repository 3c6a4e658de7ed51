"""Rebuilds kernels bottom-up: one function over expressions, shared parts visited once.

What does not change keeps its identity, so sharing stays and a rewrite that does nothing returns
the same objects.
"""

from collections.abc import Callable
from dataclasses import fields, replace

from lepton_cc.codegen.kernel.expr import (
    Binary,
    Bitcast,
    Cast,
    Compare,
    Expr,
    Load,
    MulAdd,
    Select,
    Unary,
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
    MatrixDot,
    MatrixLoad,
    MatrixStore,
    Prefetch,
    Stmt,
    Store,
)
from lepton_cc.ir.diagnostics import InternalError

Rule = Callable[[Expr], Expr]


class Rewriter:
    """Applies a rule to every expression, operands first; leaves alone what the rule returns."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._known: dict[Expr, Expr] = {}

    def expression(self, root: Expr) -> Expr:
        """The rewritten expression. Iterative: expressions are deeper than Python's stack."""
        pending = [root]
        while pending:
            top = pending[-1]
            missing = [part for part in top.operands() if part not in self._known]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if top not in self._known:
                operands = tuple(self._known[part] for part in top.operands())
                self._known[top] = self._rule(with_operands(top, operands))
        return self._known[root]

    def block(self, block: Block) -> Block:
        """The rewritten statements."""
        statements = tuple(self.statement(statement) for statement in block)
        same = all(new is old for new, old in zip(statements, block, strict=True))
        return block if same else statements

    def statement(self, statement: Stmt) -> Stmt:
        """The rewritten statement."""
        match statement:
            case For(var, begin, end, body, kind):
                new: Stmt = For(
                    var, self.expression(begin), self.expression(end), self.block(body), kind
                )
            case Store(buffer, index, value):
                new = Store(buffer, self.expression(index), self.expression(value))
            case Let(var, value):
                new = Let(var, self.expression(value))
            case If(condition, then, otherwise):
                new = If(self.expression(condition), self.block(then), self.block(otherwise))
            case MatrixLoad(_, _, index) | MatrixStore(_, _, index) | Prefetch(_, index):
                new = replace(statement, index=self.expression(index))
            case MatrixDot():
                return statement
            case _:
                raise InternalError(f"no rewriting of {type(statement).__name__}")
        return statement if _same_parts(statement, new) else new


def rewrite(kernel: Kernel, rule: Rule) -> Kernel:
    """The kernel with the rule applied to all its expressions; itself if nothing changes."""
    body = Rewriter(rule).block(kernel.body)
    return kernel if body is kernel.body else replace(kernel, body=body)


def with_operands(expr: Expr, operands: tuple[Expr, ...]) -> Expr:
    """The expression over other operands; itself if they are its own."""
    if all(new is old for new, old in zip(operands, expr.operands(), strict=True)):
        return expr
    match expr, operands:
        case Load(type_, buffer), (index,):
            return Load(type_, buffer, index)
        case Unary(type_, op), (operand,):
            return Unary(type_, op, operand)
        case Binary(type_, op), (lhs, rhs):
            return Binary(type_, op, lhs, rhs)
        case Compare(type_, op), (lhs, rhs):
            return Compare(type_, op, lhs, rhs)
        case Select(type_), (condition, on_true, on_false):
            return Select(type_, condition, on_true, on_false)
        case Cast(type_) | Bitcast(type_), (operand,):
            return type(expr)(type_, operand)
        case MulAdd(type_), (lhs, rhs, addend):
            return MulAdd(type_, lhs, rhs, addend)
        case RoundedQuotient(type_, _, divisor, low, high), (value,):
            return RoundedQuotient(type_, value, divisor, low, high)
        case RoundedProduct(), (value, scale):
            return replace(expr, value=value, scale=scale)
        case Bitcast() | Saturate(), (operand,):
            return replace(expr, operand=operand)
        case QuantizedSum(), (lhs, rhs):
            return replace(expr, lhs=lhs, rhs=rhs)
        case LoadWord(type_, buffer), (index,):
            return LoadWord(type_, buffer, index)
        case PackedWord(type_), elements:
            return PackedWord(type_, elements)
        case Dot(type_, shape), (lhs, rhs, addend):
            return Dot(type_, shape, lhs, rhs, addend)
    raise InternalError(f"no rewriting of {type(expr).__name__}")


def _same_parts(old: Stmt, new: Stmt) -> bool:
    return all(getattr(old, part.name) is getattr(new, part.name) for part in fields(old))
